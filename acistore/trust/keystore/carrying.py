"""What is in force here as a bundle, and a bundle put in force elsewhere. Decisions; nothing is changed here.

A bundle has no layers: it says of each place what holds there after all of them have had their say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from acistore.errors import KeyRefused
from acistore.events import log_of
from acistore.fingerprints import shown_fingerprint
from acistore.naming import covers
from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey, TrustedKey
from acistore.trust.keystore.adding import check_size
from acistore.trust.keystore.arriving import Arrival, Coming, arrivals
from acistore.trust.keystore.bundle import Bundle, BundledKey, BundledMask
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.masking import masks_that_come
from acistore.trust.keystore.merging import with_what_is_known
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.revoking import everywhere
from acistore.trust.places import Own, changeable, default_layer, note_of
from acistore.trust.schemes import describe

_log = log_of("acistore.trust")


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
                f"gpg does not accept key {shown_fingerprint(each.fingerprint)}, which is in {bundle.called}"
            )
    return known


def taken_over(
    reading: Reading, bundle: Bundle, known: Mapping[KeyBlock, PublicKey], layer: Own | None, largest: int
) -> list[Arrival]:
    """What puts a bundle in force: its keys, with what is known of them here, and its masks.

    Without a layer, each where it is already, else where keys are added; what is in force already is left alone,
    and so is a key that is masked here. Keys that have expired or were revoked are taken as well: they admit
    nothing, and a revocation is worth knowing; it goes to every place of the key. `largest` is what a key file may
    hold, in bytes. Raises KeyRefused, ProgramMissing.
    """
    merged = with_what_is_known(reading, [known[each.block] for each in bundle.keys])
    keys = {key.fingerprint: key for key in merged}
    coming = [
        Coming(
            keys[each.fingerprint],
            _place_for(reading, each.prefix, keys[each.fingerprint].block, layer),
            each.origin,
        )
        for each in bundle.keys
    ]
    arriving = [
        replace(each, places=()) if each.outcome == "known" else each for each in arrivals(reading, coming)
    ]
    for each in arriving:
        if each.key and each.places:
            check_size(each.key, largest, bundle.called)
    written: dict[str, list[KeyFile]] = {}
    for each in arriving:
        if each.key:
            files = [KeyFile(place, each.key.block, is_mask=False) for place in each.places]
            written.setdefault(each.fingerprint, []).extend(files)
    arriving += [_mask(reading, each, layer, written.get(each.fingerprint, ())) for each in bundle.masks]
    taken = {place.path for each in arriving for place in each.places}
    for key in merged:
        for change in everywhere(reading, key, taken):
            arriving.append(_revoked(key, change.place))
    return arriving


def _place_for(reading: Reading, prefix: str | None, block: KeyBlock, layer: Own | None) -> Place:
    """Where a key goes: into the layer that is named, else to where it lies already, when that can be changed."""
    if layer is not None:
        return reading.place(layer, prefix, block.fingerprint)
    found = reading.counting(prefix, block.fingerprint)
    if found and found.place.prefix == prefix and (found.block == block or found.place.layer in changeable()):
        return found.place
    return reading.place(default_layer(), prefix, block.fingerprint)


def _mask(reading: Reading, mask: BundledMask, layer: Own | None, written: Sequence[KeyFile]) -> Arrival:
    places = masks_that_come(reading, mask.fingerprint, mask.prefix, layer, written)
    beside = reading.beside(mask.prefix, mask.fingerprint).values()
    if places:
        here = tuple(file.place for file in beside if file.place in places)
    else:
        here = tuple(file.place for file in beside if file.is_mask)
    return Arrival(
        mask.prefix, mask.fingerprint, None, None, "new" if places else "known", places=places, here=here
    )


def _revoked(key: PublicKey, place: Place) -> Arrival:
    """A copy of a key for other names, which is to know as well that the key was revoked."""
    changes = ("revoked by its owner",)
    return Arrival(place.prefix, key.fingerprint, key, None, "changed", changes, (place,))
