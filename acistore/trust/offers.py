"""Keys that somebody offers, before anybody has agreed to trust them."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from acistore.errors import KeyRefused
from acistore.fingerprints import normal_fingerprint, option_fingerprint, shown_fingerprint
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


def choose(
    offers: Sequence[Offer], fingerprints: Collection[str], prefix: str | None = None
) -> tuple[list[Offer], list[PublicKey]]:
    """What is to be trusted of what is offered, each key once, and what is left out.

    `fingerprints` are whole ones; without any, everything is. `prefix` is what the keys are to be trusted for, for
    the message. Raises UsageError, and KeyRefused for one that isn't there.
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
        found = {shown_fingerprint(key.fingerprint): key.user_id or "no user ID" for key in left_out}
        rule = ["--root"] if prefix is None else ["--prefix", prefix]
        flags = [*rule, "--fingerprint", option_fingerprint(missing)]
        raise KeyRefused(
            f"key {shown_fingerprint(missing)} is not among those found",
            facts={**found, "looked in": ", ".join(dict.fromkeys(offer.source for offer in offers))},
            next_step=shlex.join(["acistore", "trust", "add", *flags, "KEYFILE"]),
        )
    return chosen, left_out


def told_of(error: KeyRefused, source: str) -> KeyRefused:
    """The error over a key file with the name of that: there may be several."""
    next_step = error.next_step
    if next_step and "://" not in source:
        next_step = next_step.replace("KEYFILE", shlex.quote(source))
    return KeyRefused(f"{source}: {error.message}", facts=error.facts, next_step=next_step)
