"""Keys that somebody offers, before anybody has agreed to trust them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from acistore.errors import KeyRefused
from acistore.fingerprints import normal_fingerprint, shown_fingerprint
from acistore.trust.keys import PublicKey


class Material(Protocol):
    """The bytes of a key file, and where they came from (a URL, a path)."""

    @property
    def source(self) -> str: ...
    @property
    def material(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Offer:
    """Keys that one source (a URL, a path) offers, as they would be trusted: all that it has, or some of them."""

    source: str
    keys: tuple[PublicKey, ...]


def choose(offers: Sequence[Offer], fingerprints: Collection[str]) -> tuple[list[Offer], list[PublicKey]]:
    """What is to be trusted of what is offered, each key once, and what is left out.

    `fingerprints` are whole ones; without any, everything is. Raises UsageError, and KeyRefused for one that isn't
    there.
    """
    wanted = {normal_fingerprint(each) for each in fingerprints}
    chosen: list[Offer] = []
    left_out: list[PublicKey] = []
    seen: set[str] = set()
    for offer in offers:
        fresh = [key for key in offer.keys if key.fingerprint not in seen]
        seen.update(key.fingerprint for key in fresh)
        keys = tuple(key for key in fresh if not wanted or key.fingerprint in wanted)
        left_out += [key for key in fresh if key not in keys]
        if keys:
            chosen.append(replace(offer, keys=keys))
    for missing in sorted(wanted - seen):
        raise KeyRefused(
            f"key {shown_fingerprint(missing)} is not among those found",
            facts={shown_fingerprint(key.fingerprint): key.user_id or "no user ID" for key in left_out},
        )
    return chosen, left_out
