"""Which files go when a key is trusted no longer, and what is forgotten with them. Decisions; nothing is changed.

Masks stay, and so does what is in the system layer.
"""

import errno
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from acistore.errors import FileUnusable, ProgramMissing
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.keys import Place
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.selecting import matching, not_found, rule_of, wanted_places
from acistore.trust.schemes import describe


@dataclass(frozen=True, slots=True)
class Removal:
    """The files of a key that go, those of the system layer, which stay, and all copies that there were."""

    places: tuple[Place, ...]
    left: tuple[Place, ...]
    copies: tuple[KeyFile, ...]


def removal(reading: Reading, fingerprint: str, prefix: str | None, *, root: bool) -> tuple[Removal, list[Change]]:
    """What goes. Raises InvalidName, UsageError, KeyNotFound, FileUnusable (all of it is of the system layer)."""
    files = reading.all_files(wanted_places(reading, prefix, root))
    found = [file.place for file in matching((file for file in files if not file.is_mask), fingerprint)]
    if not found:
        raise not_found("key", fingerprint, prefix, root)
    own = tuple(place for place in found if place.layer != "system")
    left = tuple(place for place in found if place.layer == "system")
    if not own:
        raise not_ours(left)
    copies = tuple(reading.copies(found[0].fingerprint))
    return Removal(own, left, copies), [Change(place, None) for place in own]


def what_is_forgotten(done: Removal) -> str | None:
    """That a revocation was known from these files alone, as a sentence for whoever removes them; else None."""
    try:
        known = describe(file.block for file in done.copies if file.block)
    except ProgramMissing:  # then it isn't told
        return None
    telling = {file.place for file in done.copies if file.block in known and known[file.block].revoked}
    if not telling or not telling.issubset(done.places):
        return None
    fingerprint = done.places[0].fingerprint
    masks = "; ".join(dict.fromkeys(_mask_command(place) for place in done.places))
    return (
        f"key {shown_fingerprint(fingerprint)} was revoked by its owner, and that is forgotten here with its last "
        f"copy; what keeps older copies out: {masks}"
    )


def _mask_command(place: Place) -> str:
    return shlex.join(["acistore", "trust", "mask", *rule_of(place), option_fingerprint(place.fingerprint)])


def not_allowed(error: FileUnusable, fingerprint: str, rule: Collection[str]) -> FileUnusable:
    """The error of who may not remove files of a key, who can do without it all the same."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        mask = shlex.join(["acistore", "trust", "mask", *rule, fingerprint])
        error.next_step = f"as root, or for you alone: {mask}"
    return error


def not_ours(places: Sequence[Place]) -> FileUnusable:
    """The error when a key lies nowhere but in the system layer."""
    fingerprint = places[0].fingerprint
    return FileUnusable(
        f"key {shown_fingerprint(fingerprint)} belongs to the system layer, which acistore does not change",
        facts={"file": ", ".join(str(place.path) for place in places)},
        next_step=f"acistore trust mask {option_fingerprint(fingerprint)}",
    )
