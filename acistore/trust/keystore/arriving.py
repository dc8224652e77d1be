"""What is to come, beside what is here: is it new, what does it change, does a mask forbid it.

Decisions; nothing is changed here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from acistore.trust.keys import KeyBlock, Place, PublicKey
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.masking import masks_against
from acistore.trust.keystore.origins import Origin
from acistore.trust.lifetime import differences
from acistore.trust.schemes import describe

Outcome = Literal["new", "changed", "known", "masked"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A key that is to be trusted for the names under `prefix`, or a mask of one, and what becomes of it here.

    `key` is as it would be kept, with what is known of it here; None for a mask. The `outcome` is `new`, `changed`
    (`changes` says in words what the copy that is here does not know), `known` (it is here like that) or `masked`
    (it is left alone). `places` are written, none when nothing is. `here` are the files that matter: the older
    copy of a key, the masks for which it is left alone, or the key files whose place a mask takes.
    """

    prefix: str | None
    fingerprint: str
    key: PublicKey | None
    origin: Origin | None
    outcome: Outcome
    changes: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    here: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Coming:
    """A key, as it would be kept, and the place that it would be put into."""

    key: PublicKey
    place: Place
    origin: Origin | None


def arrivals(reading: Reading, coming: Sequence[Coming]) -> list[Arrival]:
    """What becomes of each key. One that is known is still to be written. Raises ProgramMissing."""
    older = [_older_copy(reading, each) for each in coming]
    known = describe(file.block for file in older if file and file.block)
    return [_arrival(reading, each, file, known) for each, file in zip(coming, older, strict=True)]


def _older_copy(reading: Reading, coming: Coming) -> KeyFile | None:
    """The copy in the very place, else the one that is in force for the same names."""
    file = reading.beside(coming.place.prefix, coming.place.fingerprint).get(coming.place.layer)
    if file and file.block:
        return file
    found = reading.counting(coming.place.prefix, coming.place.fingerprint)
    if found and found.place.prefix == coming.place.prefix:
        return KeyFile(found.place, found.block, is_mask=False)
    return None


def _arrival(
    reading: Reading, coming: Coming, older: KeyFile | None, known: Mapping[KeyBlock, PublicKey]
) -> Arrival:
    key, place = coming.key, coming.place
    told = (place.prefix, place.fingerprint, key, coming.origin)
    if masks := masks_against(reading, place, key.block):
        return Arrival(*told, "masked", here=tuple(mask.place for mask in masks))
    if older is None or older.block is None:
        return Arrival(*told, "new", places=(place,))
    changes = tuple(_news(older.block, known.get(older.block), key))
    outcome: Outcome = "new" if older.place != place else "changed" if changes else "known"
    return Arrival(*told, outcome, changes, (place,), (older.place,))


def _news(old_block: KeyBlock, old: PublicKey | None, new: PublicKey) -> Iterator[str]:
    if old_block == new.block:
        return
    if old is None:
        yield "gpg accepts it now"
        return
    yield from list(differences(old, new)) or ["signed anew by its owner"]


def changes_of(arrivals: Iterable[Arrival]) -> list[Change]:
    """What has to be written."""
    return [
        Change(place, each.key.block.as_file if each.key else b"", each.origin)
        for each in arrivals
        for place in each.places
    ]
