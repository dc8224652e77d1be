"""What is in force here as a bundle, and a bundle put in force elsewhere. Decisions; nothing is changed here.

A bundle has no layers: it says of each place what holds there after all of them have had their say.
"""

import logging
from collections.abc import Iterator, Mapping

from acistore.errors import KeyRefused
from acistore.fingerprints import shown_fingerprint
from acistore.naming import covers
from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey, TrustedKey
from acistore.trust.keystore.bundle import Bundle, BundledKey, BundledMask
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.masking import mask_to_make
from acistore.trust.keystore.merging import with_what_is_known
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.revoking import everywhere
from acistore.trust.places import Own, default_layer, note_of
from acistore.trust.schemes import describe

_log = logging.getLogger("acistore.trust")


def to_bundle(reading: Reading, origins: Mapping[Layer, Mapping[str, Origin]]) -> Bundle:
    """What is in force. Keys that gpg does not accept are left out with a warning. Raises ProgramMissing."""
    accepted = {prefix: reading.accepted(prefix) for prefix in reading.places()}
    known = describe(key.block for keys in accepted.values() for key in keys.values())
    for place in {key.place.path: key for keys in accepted.values() for key in keys.values()}.values():
        if place.block not in known:
            _log.warning("%s is left out: gpg does not accept the key", place.place.path)
    keys: list[BundledKey] = []
    masks: list[BundledMask] = []
    for fingerprint, files in sorted(_by_key(reading).items()):
        for each in _flattened(fingerprint, files, accepted, known):
            if isinstance(each, BundledMask):
                masks.append(each)
            else:
                origin = origins[each.place.layer].get(note_of(each.place))
                keys.append(BundledKey(each.place.prefix, each.block, origin))
    return Bundle(tuple(keys), tuple(masks))


def _by_key(reading: Reading) -> dict[str, dict[str | None, KeyFile]]:
    """For each fingerprint what it has files for, shorter prefixes first, and the file of the highest layer."""
    found: dict[str, dict[str | None, KeyFile]] = {}
    for file in reading.all_files():
        found.setdefault(file.fingerprint, {})[file.place.prefix] = file
    return found


def _flattened(
    fingerprint: str,
    files: Mapping[str | None, KeyFile],
    accepted: Mapping[str | None, Mapping[str, TrustedKey]],
    known: Mapping[KeyBlock, PublicKey],
) -> Iterator[TrustedKey | BundledMask]:
    """The keys and masks that, in a single layer, say the same of a key as all layers do here."""
    said: dict[str | None, bool] = {}
    for prefix, highest in files.items():
        above = [each for each in said if prefix is not None and (each is None or covers(each, prefix))]
        inherited = bool(above) and said[max(above, key=lambda each: len(each or ""))]
        found = accepted[prefix].get(fingerprint)
        if found is None or found.block not in known:
            said[prefix] = False
            if inherited or highest.is_mask:  # there may be a key to be masked where the bundle goes
                yield BundledMask(prefix, fingerprint)
        elif found.place.prefix == prefix:
            said[prefix] = True
            yield found


def described(bundle: Bundle) -> dict[KeyBlock, PublicKey]:
    """What is known of each key in a bundle. Raises KeyRefused (gpg does not accept one), ProgramMissing."""
    known = describe(each.block for each in bundle.keys)
    for each in bundle.keys:
        if each.block not in known:
            raise KeyRefused(
                f"gpg does not accept key {shown_fingerprint(each.fingerprint)}, which is in the file"
            )
    return known


def changes_for(
    reading: Reading, bundle: Bundle, known: Mapping[KeyBlock, PublicKey], layer: Own | None, largest: int
) -> list[Change]:
    """What puts a bundle in force: its keys, with what is known of them here, and its masks.

    Without a layer, each where it is already, else where keys are added; what is in force already is left alone.
    Keys that have expired or were revoked are taken as well: they admit nothing, and a revocation is worth
    knowing; it goes to every place of the key. `largest` is what a key file may hold, in bytes. Raises KeyRefused,
    ProgramMissing.
    """
    keys = with_what_is_known(reading, [known[each.block] for each in bundle.keys])
    blocks = {key.fingerprint: key.block for key in keys}
    for block in blocks.values():
        if len(block.as_file) > largest:
            shown = shown_fingerprint(block.fingerprint)
            raise KeyRefused(
                f"key {shown} is too large: its file would have more than {largest} bytes",
                next_step="if it is meant to be so: acistore --limits-key-size …",
            )
    changes = [
        Change(place, blocks[each.fingerprint].as_file, each.origin)
        for each in bundle.keys
        if (place := _place_for(reading, each.prefix, blocks[each.fingerprint], layer))
    ]
    as_written = [KeyFile(change.place, blocks[change.place.fingerprint], is_mask=False) for change in changes]
    masks = [mask_to_make(reading, each.fingerprint, each.prefix, layer, as_written) for each in bundle.masks]
    changes += [mask for mask in masks if mask]
    taken = {change.place.path for change in changes}
    return changes + [change for key in keys for change in everywhere(reading, key, taken)]


def _place_for(reading: Reading, prefix: str | None, block: KeyBlock, layer: Own | None) -> Place | None:
    """Where a key goes: into the layer that is named, else to where it lies already, and nowhere when it is in
    force there in this very version."""
    if layer is not None:
        return reading.place(layer, prefix, block.fingerprint)
    if (found := reading.accepted(prefix).get(block.fingerprint)) and found.place.prefix == prefix:
        if found.block == block:
            return None
        if found.place.layer != "system":
            return found.place
    return reading.place(default_layer(), prefix, block.fingerprint)
