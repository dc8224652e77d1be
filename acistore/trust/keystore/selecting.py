"""Which key, and which of its places, somebody means who writes a fingerprint or the end of one."""

from collections.abc import Iterable, Sequence

from acistore.errors import KeyNotFound, UsageError
from acistore.fingerprints import fingerprint_tail, shown_fingerprint
from acistore.trust.keys import Place
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.places import check_prefix


def wanted_places(reading: Reading, prefix: str | None, root: bool) -> tuple[str | None, ...]:
    """What is meant of all that keys are trusted for: one prefix, with `root` every name (None), else everything.

    Raises InvalidName.
    """
    if root:
        return (None,)
    return reading.places() if prefix is None else (check_prefix(prefix),)


def matching(files: Iterable[KeyFile], fingerprint: str) -> list[KeyFile]:
    """The files of one key, whose whole fingerprint or last 16 or more digits these are.

    Raises UsageError: not a fingerprint, or one that fits several keys.
    """
    tail = fingerprint_tail(fingerprint)
    found = [file for file in files if file.fingerprint.endswith(tail)]
    keys = sorted({file.fingerprint for file in found})
    if len(keys) > 1:
        raise UsageError(
            f"{fingerprint} fits several keys", facts={"keys": ", ".join(map(shown_fingerprint, keys))}
        )
    return found


def not_found(what: str, fingerprint: str, prefix: str | None, root: bool) -> KeyNotFound:
    """The error when there is no such file (`key`, `mask`) where it was looked for."""
    where = " for every name" if root else f" for {prefix}" if prefix else ""
    return KeyNotFound(f"there is no {what} {fingerprint}{where}", next_step="acistore trust list")


def damaged(places: Sequence[Place]) -> KeyNotFound:
    """The error when no file that is named like a key holds it."""
    fingerprint = places[0].fingerprint
    return KeyNotFound(
        f"there is no key {shown_fingerprint(fingerprint)}: what is named so is not in order",
        facts={"file": ", ".join(str(place.path) for place in places)},
        next_step="acistore trust check",
    )


def rule_of(place: Place) -> tuple[str, ...]:
    """The options that name a place on a command line."""
    return ("--root",) if place.prefix is None else ("--prefix", place.prefix)
