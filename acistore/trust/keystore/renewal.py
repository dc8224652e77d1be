"""A key that is trusted, and a newer copy of it: what of the copy is taken, and into which files.

What the owner of the key has signed since, and nothing else: never another primary key, and nothing less than was
known. Decisions; nothing is fetched or changed here.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from acistore.errors import FileUnusable, KeyRefused, raising
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.listing import blocks_of, in_force
from acistore.trust.keystore.merging import merge
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.revoking import everywhere
from acistore.trust.keystore.selecting import rule_of
from acistore.trust.lifetime import differences
from acistore.trust.places import changeable, default_layer, note_of
from acistore.trust.schemes import describe


@dataclass(frozen=True, slots=True)
class Renewable:
    """A key that may have newer copies where it came from. `sources` are none when that is not known; `places` are
    those of its files that can be renewed, none when it lies in the system layer alone."""

    fingerprint: str
    user_id: str | None
    sources: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What has become of a key. `changes` are in words, none when nothing was new; `places` were written."""

    key: PublicKey
    changes: tuple[str, ...]
    places: tuple[Place, ...]


def renewables(files: Sequence[KeyFile], origins: Mapping[Layer, Mapping[str, Origin]]) -> Iterator[Renewable]:
    """The keys in these files, with where each has come from. Raises ProgramMissing."""
    known = describe(file.block for file in files if file.block)
    for fingerprint in dict.fromkeys(file.fingerprint for file in files):
        copies = [file for file in files if file.fingerprint == fingerprint]
        own = [file for file in copies if file.place.layer != "system"]
        notes = [origins[file.place.layer].get(note_of(file.place)) for file in own]
        sources = tuple(dict.fromkeys(note.source for note in notes if note))
        owners = [known[file.block].user_id for file in copies if file.block in known]
        places = tuple(file.place for file in own)
        yield Renewable(fingerprint, owners[0] if owners else None, sources, places)


def of_the_system(places: Sequence[Place]) -> FileUnusable:
    """The error when the key that is to be renewed lies nowhere but in the system layer, at least in one place."""
    add = shlex.join(["acistore", "trust", "add", *rule_of(places[0]), "KEYFILE"])
    return FileUnusable(
        f"key {shown_fingerprint(places[0].fingerprint)} belongs to the system layer, which acistore does not "
        "change",
        facts={"file": ", ".join(str(place.path) for place in places)},
        next_step=f"{add}  # puts a newer copy above it",
    )


def newer_copies(
    fingerprint: str, material: Sequence[KeyBlock], source: str, places: Sequence[Place]
) -> list[KeyBlock]:
    """What a source has of the key, at least one version that gpg accepts; `places` are where the key lies.

    Raises KeyRefused, ProgramMissing.
    """
    shown = shown_fingerprint(fingerprint)
    found = [block for block in material if block.fingerprint == fingerprint]
    if not found:
        there = [shown_fingerprint(block.fingerprint) for block in material]
        raise KeyRefused(
            f"key {shown} can't be renewed: what its source has now is another key",
            facts={"from": source, "there is": ", ".join(dict.fromkeys(there))},
            next_step=_add_command(source, places),
        )
    accepted = [block for block in found if block in describe(found)]
    if not accepted:
        raise KeyRefused(
            f"key {shown} can't be renewed: gpg does not accept what its source has now",
            facts={"from": source, "why": "it has no user ID that its owner has signed"},
        )
    return accepted


def _add_command(source: str, places: Sequence[Place]) -> str:
    rule = rule_of(places[0]) if places else ("--prefix", "NAME")
    add = shlex.join(["acistore", "trust", "add", *rule, source])
    return f"{add}  # if the publisher has changed keys"


def renewal(
    reading: Reading, files: Sequence[KeyFile], copies: Sequence[KeyBlock], largest: int
) -> tuple[Renewal, list[Change]]:
    """What becomes of files of one key (at least one) when newer copies of it have come, and what to write.

    Above a file that only others can change lies the newer one, when that file is in force. A revocation goes to
    every place of the key. `largest` is what a key file may hold, in bytes. Raises
    KeyRefused, ProgramMissing.
    """
    fingerprint = files[0].fingerprint
    known = blocks_of(reading, fingerprint)
    before, after = merge(known), merge([*known, *copies])
    described = describe(block for block in (before, after, *(file.block for file in files)) if block)
    key = described.get(after) if after else None
    if key is None:
        raise KeyRefused(f"gpg does not accept key {shown_fingerprint(fingerprint)} together with its newer copy")
    places: list[Place] = []
    news: dict[str, None] = {}
    for file in files:
        old = described.get(file.block) if file.block else None
        new = list(differences(old, key)) if old else ["gpg accepts it now"]
        place = _to_write(reading, file.place)
        if place and place not in places and (new or before != after):
            places.append(place)
            news |= dict.fromkeys(new or ["signed anew by its owner"])
    changes = [Change(place, key.block.as_file) for place in places]
    if elsewhere := list(everywhere(reading, key, [place.path for place in places])):
        news["revoked by its owner"] = None
        changes += elsewhere
    if changes and len(key.block.as_file) > largest:
        raise KeyRefused(
            f"key {shown_fingerprint(fingerprint)} can't be renewed: with what is new it is too large",
            facts={"its file": f"{len(key.block.as_file)} bytes, of at most {largest}"},
            next_step=raising("limits.key_size"),
        )
    return Renewal(key, tuple(news), tuple(change.place for change in changes)), changes


def _to_write(reading: Reading, place: Place) -> Place | None:
    """Where the newer version of a file goes; nowhere for one of the system layer, or one that is overridden."""
    if place.layer in changeable():
        return place
    if place.layer == "system" or place not in in_force(reading, place.fingerprint):
        return None
    return reading.place(default_layer(), place.prefix, place.fingerprint)
