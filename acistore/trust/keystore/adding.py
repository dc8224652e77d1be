"""Whether keys that are offered can be trusted, and what that makes of them here. Decisions; nothing is changed.

Where keys come from and whether somebody has agreed is asked elsewhere.
"""

import shlex
from collections.abc import Collection, Sequence
from datetime import datetime

from acistore.errors import KeyRefused, raising
from acistore.fingerprints import normal_fingerprint, option_fingerprint, shown_fingerprint
from acistore.trust.keys import PublicKey
from acistore.trust.keystore.arriving import Arrival, Coming, arrivals
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.listing import blocks_of, in_force
from acistore.trust.keystore.merging import with_what_is_known
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.selecting import rule_of
from acistore.trust.lifetime import ends_at, standing
from acistore.trust.offers import Offer
from acistore.trust.places import Own
from acistore.trust.schemes import describe


def keys_to_trust(
    reading: Reading,
    offers: Sequence[Offer],
    *,
    prefix: str | None,
    layer: Own,
    largest: int,
    now: datetime,
) -> list[Arrival]:
    """The keys that are offered as they would be kept, each once, all of them new, changed or known.

    `largest` is what a key file may hold, in bytes; `now` is noted as the time when they came. Raises KeyRefused,
    ProgramMissing.
    """
    sources = {key.fingerprint: offer.source for offer in reversed(offers) for key in offer.keys}
    keys = with_what_is_known(reading, [key for offer in offers for key in offer.keys])
    for key in keys:
        _check_fit(reading, key, sources[key.fingerprint], largest)
    coming = [
        Coming(key, reading.place(layer, prefix, key.fingerprint), Origin(sources[key.fingerprint], now))
        for key in keys
    ]
    arriving = arrivals(reading, coming)
    for each in arriving:
        if each.outcome == "masked":
            raise _masked(each, reading.place(layer, each.prefix, each.fingerprint).path.as_posix())
    return arriving


def _check_fit(reading: Reading, key: PublicKey, source: str, largest: int) -> None:
    shown = shown_fingerprint(key.fingerprint)
    if key.revoked:
        raise _revoked(reading, key, source)
    if standing(key) == "expired":
        raise KeyRefused(f"key {shown} has expired", facts={"from": source, "expired": f"{ends_at(key):%Y-%m-%d}"})
    check_size(key, largest, source)


def check_size(key: PublicKey, largest: int, source: str) -> None:
    """Raises KeyRefused when the file of a key would have more than so many bytes."""
    if len(key.block.as_file) > largest:
        shown = shown_fingerprint(key.fingerprint)
        raise KeyRefused(
            f"key {shown} is too large: its file would have more than {largest} bytes",
            facts={"from": source} if source else None,
            next_step=raising("limits.key_size"),
        )


def _masked(arrival: Arrival, path: str) -> KeyRefused:
    """The error for a key that somebody has masked for the names that it is to be trusted for."""
    mask = next((each for each in reversed(arrival.here) if each.layer != "system"), None)
    fingerprint = option_fingerprint(arrival.fingerprint)
    command = ["acistore", "trust", "unmask", *rule_of(mask or arrival.here[0]), fingerprint]
    if mask is None:  # what the distribution says is overridden by nobody's accident
        command = ["install", "-D", "-m", "644", "KEYFILE", path]
    return KeyRefused(
        f"key {shown_fingerprint(arrival.fingerprint)} is masked for {arrival.prefix or 'every name'}",
        facts={"masked by": ", ".join(str(each.path) for each in arrival.here)},
        next_step=shlex.join(command),
    )


def _revoked(reading: Reading, key: PublicKey, source: str) -> KeyRefused:
    """The error for a revoked key, with where that was known before, or else where the key still counts."""
    shown = shown_fingerprint(key.fingerprint)
    facts = {"user ID": str(key.user_id), "from": source}
    next_step = None
    known = {block for block, each in describe(blocks_of(reading, key.fingerprint)).items() if each.revoked}
    if files := [str(file.place.path) for file in reading.copies(key.fingerprint) if file.block in known]:
        facts["known from"] = ", ".join(files)
    elif places := in_force(reading, key.fingerprint):
        facts["still trusted for"] = ", ".join(place.prefix or "every name" for place in places)
        next_step = f"acistore trust remove {option_fingerprint(key.fingerprint)}"
    return KeyRefused(f"key {shown} was revoked by its owner", facts=facts, next_step=next_step)


def chosen(keys: Sequence[PublicKey], only: Collection[str] | None, source: str) -> tuple[PublicKey, ...]:
    """The keys that are wanted, by whole fingerprints; all without any. Raises UsageError, and KeyRefused for one
    that isn't there."""
    if only is None:
        return tuple(keys)
    wanted = [normal_fingerprint(fingerprint) for fingerprint in only]
    for fingerprint in wanted:
        if fingerprint not in {key.fingerprint for key in keys}:
            there = ", ".join(shown_fingerprint(key.fingerprint) for key in keys)
            raise KeyRefused(f"key {shown_fingerprint(fingerprint)} is not in {source}", facts={"there is": there})
    return tuple(key for key in keys if key.fingerprint in wanted)
