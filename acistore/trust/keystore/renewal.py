"""A key that is trusted, and a newer copy of it: what of the copy is taken, and into which files.

What the owner of the key has signed since, and nothing else: never another primary key, and nothing less than was
known. Decisions; nothing is fetched or changed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from acistore.errors import KeyRefused
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.listing import blocks_of
from acistore.trust.keystore.merging import merge
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.revoking import everywhere
from acistore.trust.lifetime import differences
from acistore.trust.places import note_of
from acistore.trust.schemes import describe


@dataclass(frozen=True, slots=True)
class Renewable:
    """A key that may have newer copies where it came from. `sources` are none when that is not known."""

    fingerprint: str
    user_id: str | None
    sources: tuple[str, ...]


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
        own = [file for file in files if file.fingerprint == fingerprint]
        notes = [origins[file.place.layer].get(note_of(file.place)) for file in own]
        sources = tuple(dict.fromkeys(note.source for note in notes if note))
        owners = [known[file.block].user_id for file in own if file.block in known]
        yield Renewable(fingerprint, owners[0] if owners else None, sources)


def newer_copies(fingerprint: str, material: Sequence[KeyBlock], source: str) -> list[KeyBlock]:
    """What a source has of the key, at least one version that gpg accepts. Raises KeyRefused, ProgramMissing."""
    shown = shown_fingerprint(fingerprint)
    found = [block for block in material if block.fingerprint == fingerprint]
    if not found:
        there = [shown_fingerprint(block.fingerprint) for block in material]
        raise KeyRefused(
            f"key {shown} can't be renewed: what its source has now is another key",
            facts={"from": source, "there is": ", ".join(dict.fromkeys(there))},
            next_step=f"if the publisher has changed keys: acistore trust add --prefix NAME {source}",
        )
    accepted = [block for block in found if block in describe(found)]
    if not accepted:
        raise KeyRefused(
            f"key {shown} can't be renewed: gpg does not accept what its source has now",
            facts={"from": source, "why": "it has no user ID that its owner has signed"},
        )
    return accepted


def renewal(
    reading: Reading, files: Sequence[KeyFile], copies: Sequence[KeyBlock], largest: int
) -> tuple[Renewal, list[Change]]:
    """What becomes of files of one key (at least one) when newer copies of it have come, and what to write.

    A revocation goes to every place of the key. `largest` is what a key file may hold, in bytes. Raises
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
        if file.place.layer != "system" and (new or before != after):
            places.append(file.place)
            news |= dict.fromkeys(new or ["signed anew by its owner"])
    changes = [Change(place, key.block.as_file) for place in places]
    if elsewhere := list(everywhere(reading, key, [place.path for place in places])):
        news["revoked by its owner"] = None
        changes += elsewhere
    if changes and len(key.block.as_file) > largest:
        raise KeyRefused(
            f"key {shown_fingerprint(fingerprint)} can't be renewed: with what is new it is too large",
            facts={"its file": f"{len(key.block.as_file)} bytes, of at most {largest}"},
            next_step="if it is meant to be so: acistore --limits-key-size …",
        )
    return Renewal(key, tuple(news), tuple(change.place for change in changes)), changes
