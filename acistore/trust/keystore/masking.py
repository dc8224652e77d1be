"""Masks: which empty files take a key out of force, and which of them go. Decisions; nothing is changed here.

A mask works on what comes before it in rkt's order: root keys, then each layer's prefixes, the shortest first. So
it can't lie where the key's own file lies, in the same layer for the same names, nor below a layer that trusts the
key again.
"""

import shlex
from collections.abc import Iterator, Sequence

from acistore.errors import FileUnusable, UsageError
from acistore.fingerprints import normal_fingerprint, option_fingerprint, shown_fingerprint
from acistore.trust.keys import Layer
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.selecting import matching, not_found, rule_of, wanted_places
from acistore.trust.places import OWN, Own, default_layer


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


def mask_to_make(
    reading: Reading,
    fingerprint: str,
    prefix: str | None,
    layer: Own | None,
    besides: Sequence[KeyFile] = (),
) -> Change | None:
    """What takes a key out of force for a prefix, or for every name when that is None; None when it is masked.

    `fingerprint` is a whole one. `besides`: as if there were these files too. Raises UsageError (a mask would have
    to be the key's own file).
    """
    there = {file.place.layer: file for file in reading.all_files([prefix]) if file.fingerprint == fingerprint}
    is_trusted = fingerprint in reading.accepted(prefix, besides)
    if not is_trusted and any(file.is_mask for file in there.values()):
        return None
    if layer is None:
        candidates: Sequence[Own] = OWN[OWN.index(default_layer()) :]
    else:
        candidates = (layer,)
    free = [each for each in candidates if each not in there or there[each].is_mask]
    masks = [KeyFile(reading.place(each, prefix, fingerprint), None, is_mask=True) for each in free]
    works = [mask for mask in masks if fingerprint not in reading.accepted(prefix, [*besides, mask])]
    # Whoever names a layer gets the mask there; what trusts the key nevertheless is told to them.
    chosen = works or (masks if layer else [])
    if chosen:
        return Change(chosen[0].place, b"")
    raise _own_file(reading, there, fingerprint, prefix, layer)


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
            next_step=f"acistore trust add --layer local {' '.join(rule_of(masks[0].place))} KEYFILE",
        )
    return masks[0].fingerprint, [Change(mask.place, None) for mask in own]


def _masks(files: Iterator[KeyFile], layer: Own | None) -> Iterator[KeyFile]:
    return (file for file in files if file.is_mask and layer in (None, file.place.layer))
