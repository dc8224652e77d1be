"""Masks: which empty files take a key out of force, and which of them go. Decisions; nothing is changed here.

A mask works on what comes before it in rkt's order: root keys, then each layer's prefixes, the shortest first. So
it can't lie where the key's own file lies, in the same layer for the same names, nor below a layer that trusts the
key again.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from acistore.errors import FileUnusable, UsageError
from acistore.fingerprints import normal_fingerprint, option_fingerprint, shown_fingerprint
from acistore.trust.keys import KeyBlock, Layer, Place
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.selecting import matching, not_found, rule_of, wanted_places
from acistore.trust.places import Own, changeable, default_layer


def masks_to_make(
    reading: Reading, fingerprint: str, *, prefix: str | None, root: bool, layer: Own | None
) -> tuple[str, list[Change]]:
    """The whole fingerprint of a key, and what takes it out of force for a prefix, for every name, or everywhere.

    Where it is not in force already, nothing. A key that isn't here can be masked beforehand, by its whole
    fingerprint, in one place. Raises InvalidName, UsageError (also: a mask would have to be the key's own file),
    KeyNotFound.
    """
    named = prefix is not None or root
    files = matching(reading.all_files(), fingerprint)
    if not files and not named:
        raise not_found("key", fingerprint, prefix, root)
    whole = files[0].fingerprint if files else normal_fingerprint(fingerprint)
    wanted = wanted_places(reading, prefix, root)
    if not named:
        wanted = tuple(dict.fromkeys(file.place.prefix for file in files if not file.is_mask))
    found = (mask_to_make(reading, whole, each, layer) for each in wanted)
    return whole, [change for change in found if change]


def mask_to_make(reading: Reading, fingerprint: str, prefix: str | None, layer: Own | None) -> Change | None:
    """What takes a key out of force for a prefix, or for every name when that is None; None when it is masked.

    `fingerprint` is a whole one. With a layer, what masks it above that does not count: others don't see it.
    Raises UsageError (a mask would have to be the key's own file).
    """
    there = reading.beside(prefix, fingerprint)
    if _is_masked(reading.up_to(layer) if layer else reading, prefix, fingerprint):
        return None
    candidates = _candidates(layer)
    free = [each for each in candidates if each not in there or there[each].is_mask]
    masks = [_mask(reading, each, prefix, fingerprint) for each in free]
    works = [mask for mask in masks if not reading.counting(prefix, fingerprint, [mask])]
    # Whoever names a layer gets the mask there; what trusts the key nevertheless is told to them.
    chosen = works or (masks if layer else [])
    if chosen:
        return Change(chosen[0].place, b"")
    raise _own_file(reading, there, fingerprint, prefix, layer)


def masks_that_come(
    reading: Reading, fingerprint: str, prefix: str | None, layer: Own | None, besides: Sequence[KeyFile]
) -> tuple[Place, ...]:
    """Where masks have to be put when somebody else's mask of a key is taken over; nowhere when it is masked.

    Unlike one that is asked for here, such a mask takes the place of the key's own file, in the layer that is
    named or where keys are added: what a key is masked for on many machines holds for all users of each. Above
    that there is another one when the key would be in force nevertheless. `besides`: as if there were these files
    too.
    """
    there = reading.beside(prefix, fingerprint)
    lowest, *higher = (_mask(reading, each, prefix, fingerprint) for each in _candidates(layer))
    own = there.get(lowest.place.layer)
    takes_its_place = own is not None and not own.is_mask
    if not takes_its_place and _is_masked(
        reading.up_to(layer) if layer else reading, prefix, fingerprint, besides
    ):
        return ()
    masks = [lowest]
    for mask in higher:
        if reading.counting(prefix, fingerprint, [*besides, *masks]):
            masks.append(mask)
    return tuple(mask.place for mask in masks if mask != there.get(mask.place.layer))


def masks_against(reading: Reading, place: Place, block: KeyBlock) -> tuple[KeyFile, ...]:
    """The masks that a key would undo if its file was put into a place, or that would take it away there.

    Those for the very same names, unless a key is in force above them, or the one that has the last word.
    """
    beside = list(reading.beside(place.prefix, place.fingerprint).values())
    masks = tuple(file for file in beside if file.is_mask)
    if masks and beside[-1].is_mask:
        return masks
    if taken := [mask for mask in masks if mask.place == place]:
        return tuple(taken)
    supposed = KeyFile(place, block, is_mask=False)
    last = reading.deciding(place.prefix, place.fingerprint, [supposed]) or supposed
    return (last,) if last.is_mask else ()


def masks_of(reading: Reading, fingerprint: str, prefixes: Sequence[str | None]) -> tuple[Place, ...]:
    """Where masks of a key lie, by its whole fingerprint."""
    files = reading.all_files(prefixes)
    return tuple(file.place for file in files if file.is_mask and file.fingerprint == fingerprint)


def _is_masked(reading: Reading, prefix: str | None, fingerprint: str, besides: Sequence[KeyFile] = ()) -> bool:
    """Whether there is a mask for the very same names, and the key is not in force for them."""
    if not any(file.is_mask for file in reading.beside(prefix, fingerprint).values()):
        return False
    return reading.counting(prefix, fingerprint, besides) is None


def _candidates(layer: Own | None) -> Sequence[Own]:
    """The layers that a mask may lie in: the one that is named, else from the one where keys are added upwards."""
    return changeable() if layer is None else (layer,)


def _mask(reading: Reading, layer: Own, prefix: str | None, fingerprint: str) -> KeyFile:
    return KeyFile(reading.place(layer, prefix, fingerprint), None, is_mask=True)


def _own_file(
    reading: Reading, there: dict[Layer, KeyFile], fingerprint: str, prefix: str | None, layer: Own | None
) -> UsageError:
    """The error when a mask would have to be the file of the key itself."""
    shown, what = shown_fingerprint(fingerprint), f"for {prefix}" if prefix else "for every name"
    where = layer or "user"
    place = there[where].place if where in there else reading.place(where, prefix, fingerprint)
    remove = shlex.join(["acistore", "trust", "remove", *rule_of(place), option_fingerprint(fingerprint)])
    return UsageError(
        f"key {shown} can't be masked {what} in the {where} layer: the mask would be the file of the key itself",
        facts={"file": str(place.path)},
        next_step=remove,
    )


def masks_to_remove(
    reading: Reading, fingerprint: str, *, prefix: str | None, root: bool, layer: Own | None
) -> tuple[str, list[Change]]:
    """The whole fingerprint of a key, and the masks of it that go: for a prefix, for every name, or everywhere.

    Raises InvalidName, UsageError, KeyNotFound, FileUnusable (the masks are the system's alone).
    """
    files = reading.all_files(wanted_places(reading, prefix, root))
    masks = matching(_masks(files, layer), fingerprint)
    if not masks:
        raise not_found("mask of key", fingerprint, prefix, root)
    own = [mask for mask in masks if mask.place.layer != "system"]
    if not own:
        raise FileUnusable(
            f"key {shown_fingerprint(masks[0].fingerprint)} is masked in the system layer, which acistore does "
            "not change",
            facts={"file": ", ".join(str(mask.place.path) for mask in masks)},
            next_step=shlex.join(["install", "-D", "-m", "644", "KEYFILE", str(_above(reading, masks[0].place))]),
        )
    return masks[0].fingerprint, [Change(mask.place, None) for mask in own]


def _above(reading: Reading, mask: Place) -> Path:
    """Where a key file overrides a mask of the system layer. No command puts it there: that is no accident."""
    return reading.place(default_layer(), mask.prefix, mask.fingerprint).path


def _masks(files: Iterator[KeyFile], layer: Own | None) -> Iterator[KeyFile]:
    return (file for file in files if file.is_mask and layer in (None, file.place.layer))
