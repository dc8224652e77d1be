"""The files of the trust store for people to look at: what they hold, whether it counts, where it came from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.origins import Origin
from acistore.trust.lifetime import ends_at, standing
from acistore.trust.places import note_of
from acistore.trust.schemes import describe

State = Literal["valid", "expired", "revoked", "masked"]


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key file: what it holds, and whether that counts where it lies.

    `as_known` is the key, of which every part is revoked that any copy here calls so; `state` and end are its.
    `deciding` is the file that has the last word on the key there, often this one. When it is another copy of the
    key, which can't sign any more, this one's `state` is the other's.
    """

    place: Place
    key: PublicKey
    as_known: PublicKey
    state: State
    origin: Origin | None
    deciding: Place

    @property
    def is_mask(self) -> bool:
        """It is not."""
        return False

    @property
    def ends_at(self) -> datetime | None:
        """When the key expires, or the last of its parts that can sign; None for never."""
        return ends_at(self.as_known)


@dataclass(frozen=True, slots=True)
class ListedMask:
    """A mask. `key` is what is known of the key that it is for, from another place; None when it is nowhere."""

    place: Place
    key: PublicKey | None

    @property
    def is_mask(self) -> bool:
        """It is."""
        return True

    @property
    def state(self) -> State:
        """As of a key that is masked."""
        return "masked"

    @property
    def ends_at(self) -> None:
        """A mask does not expire."""

    @property
    def origin(self) -> None:
        """Where masks come from is not noted."""

    @property
    def deciding(self) -> Place:
        """It decides for itself."""
        return self.place


def listing(
    reading: Reading, origins: Mapping[Layer, Mapping[str, Origin]], *, every_mask: bool = True
) -> Iterator[ListedKey | ListedMask]:
    """Every key file and mask, by prefix, root first, then by layer; keys that gpg doesn't accept are told by the
    reading. Without `every_mask` those are left out of which the state of a key for the same names tells already.

    Raises ProgramMissing.
    """
    files = list(reading.all_files())
    known = describe(file.block for file in files if file.block)
    by_fingerprint = {block.fingerprint: key for block, key in known.items()}
    revoked = revoked_parts(known.values())
    known_of = {block: key.with_revoked(revoked) for block, key in known.items()}
    beside = {(file.fingerprint, file.place.prefix) for file in files if not file.is_mask}
    for file in files:
        if file.is_mask:
            if every_mask or (file.fingerprint, file.place.prefix) not in beside:
                yield ListedMask(file.place, by_fingerprint.get(file.fingerprint))
        elif file.block and file.block not in known:
            reading.tell(file.place.path, "gpg does not accept the key")
        elif file.block:
            deciding = reading.deciding(file.place.prefix, file.fingerprint) or file
            state = _state(known_of[file.block], known_of.get(deciding.block)) if deciding.block else "masked"
            origin = origins[file.place.layer].get(note_of(file.place))
            yield ListedKey(file.place, known[file.block], known_of[file.block], state, origin, deciding.place)


def revoked_parts(copies: Iterable[PublicKey]) -> Mapping[str, frozenset[str]]:
    """Of each key the parts that any of these copies calls revoked: one that is in force may be older.

    By fingerprint, each of its own parts alone: a key may claim another's subkey.
    """
    revoked: dict[str, frozenset[str]] = {}
    for key in copies:
        parts = frozenset(part.fingerprint for part in key.parts if part.revoked)
        revoked[key.fingerprint] = revoked.get(key.fingerprint, frozenset()) | parts
    return revoked


def _state(key: PublicKey, deciding: PublicKey | None) -> State:
    """The state of a copy of a key, when another copy may have the last word."""
    state = standing(key)
    return standing(deciding) if deciding and state == "valid" else state


def all_in_force(reading: Reading) -> Iterator[Place]:
    """The places of all keys that count where they lie: root first, then by prefix."""
    return (key.place for prefix in reading.places() for key in reading.in_force_at(prefix))


def in_force(reading: Reading, fingerprint: str) -> tuple[Place, ...]:
    """The places of a key that count where they lie: root first, then by prefix."""
    found = ((prefix, reading.counting(prefix, fingerprint)) for prefix in reading.places())
    return tuple(key.place for prefix, key in found if key and key.place.prefix == prefix)


def blocks_of(reading: Reading, fingerprint: str) -> tuple[KeyBlock, ...]:
    """Every version of a key that lies anywhere."""
    return tuple(dict.fromkeys(file.block for file in reading.copies(fingerprint) if file.block))
