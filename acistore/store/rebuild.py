"""A lost or damaged index is made again from the packs, which describe themselves.

Of the old database is kept what can still be read and has a right checksum: use, pins, admissions, sources. It is
put aside, not deleted. What stands in a pack whose own table of contents can't be read is lost to this.
"""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from acistore.archive.tar import entries
from acistore.errors import AcistoreError, StoreDamaged
from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.store import changes, index, schema
from acistore.store.adding import NewImage, insert_blobs, insert_image, insert_row
from acistore.store.export import decompressed
from acistore.store.packfile import BODY, MANIFEST, RECORD, SKELETON, Content, PackReader
from acistore.store.packs import LocalPacks, PackStorage
from acistore.store.provenance import Provenance, read_record
from acistore.store.records import Incomplete, Rebuilt
from acistore.store.salvage import Salvaged, State, salvage
from acistore.store.sqlite import LOG, LOG_INDEX, Database
from acistore.store.workspace import Workspace, sync_directory

_DAMAGED = ".damaged-"


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as its pack tells of it."""

    pack: str
    skeleton: Content
    manifest: ImageManifest
    size: int
    provenance: Provenance


@dataclass
class _Inventory:
    """What is in all packs. Sizes in bytes."""

    images: dict[ImageID, _Image] = field(default_factory=dict)
    bodies: dict[bytes, tuple[str, Content]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    content_sizes: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def rebuild(directory: Path) -> Rebuilt:
    """Makes the index of a store again. Nobody else may use the store meanwhile; who does is waited for.

    Raises StoreUnavailable, DiskFull.
    """
    workspace = Workspace(directory)
    packs = LocalPacks(workspace.packs)
    with workspace.in_use(alone=True), workspace.writing():
        old = _old_database(workspace)
        known = salvage(old)
        inventory = _read_packs(packs)
        whole, incomplete = _whole_and_incomplete(inventory, packs, known)
        with workspace.scratch() as file:
            _write_index(Path(file.name), whole, inventory, packs, known)
            aside = _put_in_place(Path(file.name), workspace)
    return Rebuilt(
        images=len(whole),
        incomplete=incomplete,
        unreadable=tuple(inventory.unreadable),
        state_known=all(image_id.digest in known.states for image_id in whole),
        removed_known=known.complete,
        aside=str(aside) if aside else None,
    )


def _old_database(workspace: Workspace) -> Path:
    """The database there is; or the one that an earlier attempt, cut off in the middle, has put aside."""
    if workspace.database.exists():
        return workspace.database
    aside = sorted(workspace.root.glob(f"{workspace.database.name}{_DAMAGED}*Z"))
    return aside[-1] if aside else workspace.database


# --- what the packs say


def _read_packs(packs: PackStorage) -> _Inventory:
    inventory = _Inventory()
    for name in packs.list():
        try:
            with packs.open(name) as pack:
                contents = pack.contents()
                inventory.images |= dict(_images_in(pack, contents))
                inventory.sizes[name] = pack.size
        except (StoreDamaged, OSError):
            inventory.unreadable.append(name)
            continue
        inventory.bodies |= {each.digest: (name, each) for each in contents if each.kind == BODY}
        inventory.content_sizes[name] = sum(each.length for each in contents if each.kind in (BODY, SKELETON))
    return inventory


def _images_in(pack: PackReader, contents: list[Content]) -> Iterator[tuple[ImageID, _Image]]:
    """The images in a pack: of each the skeleton, then the manifest, then the record."""
    for skeleton, manifest, record in zip(contents, contents[1:], contents[2:], strict=False):
        if (skeleton.kind, manifest.kind, record.kind) == (SKELETON, MANIFEST, RECORD):
            with suppress(AcistoreError):  # damaged itself: it may stand in another pack as well
                pack.checked(skeleton)
                told = read_record(pack.checked(record))
                parsed = ImageManifest.parse(pack.checked(manifest))
                yield told.id, _Image(pack.name, skeleton, parsed, told.size, told.provenance)


def _whole_and_incomplete(
    inventory: _Inventory, packs: PackStorage, known: Salvaged
) -> tuple[dict[ImageID, _Image], tuple[Incomplete, ...]]:
    """The images that can be had from the packs, oldest first, and those of which bodies are missing. Without
    those that were removed, if that is known."""
    whole: dict[ImageID, _Image] = {}
    incomplete = []
    for image_id, image in sorted(
        inventory.images.items(), key=lambda each: each[1].provenance.admission.admitted_at
    ):
        if known.complete and image_id.digest not in known.states:
            continue
        if all(digest is None or digest in inventory.bodies for _path, digest in _files(image, packs)):
            whole[image_id] = image
        else:
            provenance = image.provenance
            incomplete.append(
                Incomplete(
                    image_id,
                    image.manifest.image_name,
                    provenance.admission,
                    provenance.remote,
                    provenance.latest,
                )
            )
    return whole, tuple(incomplete)


def _files(image: _Image, packs: PackStorage) -> Iterator[tuple[bytes, bytes | None]]:
    """Path and digest of the body of each file."""
    with packs.open(image.pack) as pack:
        chunks = pack.read(image.skeleton.offset, image.skeleton.length)
        for entry in entries(decompressed(chunks, image.pack)):
            if entry.path != ".":
                yield entry.path.encode(errors="surrogateescape"), entry.digest


# --- the new index


def _write_index(
    path: Path, whole: dict[ImageID, _Image], inventory: _Inventory, packs: PackStorage, known: Salvaged
) -> None:
    with closing(Database(path)) as database, database.write() as connection:
        schema.create(connection)
        keys = _insert_packs(connection, whole, inventory, packs)
        for image_id, image in whole.items():
            new = NewImage(image_id, image.manifest, image.size, list(_files(image, packs)), image.skeleton)
            _insert(connection, new, keys[image.pack], image.provenance, known)


def _insert_packs(
    connection: Connection, whole: dict[ImageID, _Image], inventory: _Inventory, packs: PackStorage
) -> dict[str, int]:
    """Adds the packs that hold something of these images, and the bodies; returns the packs' keys by name."""
    bodies: dict[str, dict[bytes, Content]] = {image.pack: {} for image in whole.values()}
    alive = dict.fromkeys(bodies, 0)
    for image in whole.values():
        alive[image.pack] += image.skeleton.length
        for _path, digest in _files(image, packs):
            if digest is not None:
                name, content = inventory.bodies[digest]
                bodies.setdefault(name, {})[digest] = content
    keys = {}
    for name, contents in bodies.items():
        used = alive.get(name, 0) + sum(content.length for content in contents.values())
        dead = inventory.content_sizes[name] - used
        keys[name] = insert_row(connection, schema.pack, name=name, size=inventory.sizes[name], dead_size=dead)
        insert_blobs(connection, keys[name], contents.values())
    return keys


def _insert(connection: Connection, new: NewImage, pack: int, provenance: Provenance, known: Salvaged) -> None:
    admitted = provenance.admission.admitted_at
    digest = new.id.digest
    state = known.states.get(digest) or State(admitted, datetime.now(UTC), False, provenance.latest)
    key = insert_image(
        connection,
        new,
        pack,
        imported_at=state.imported_at,
        last_used_at=state.last_used_at,
        pinned=state.pinned,
    )
    stored = index.images(connection, schema.image.c.id == key)[0]
    for admission in known.admissions.get(digest) or [provenance.admission]:
        changes.record_admission(connection, stored, admission)
    for remote in known.remotes.get(digest) or filter(None, [provenance.remote]):
        changes.record_remote(connection, stored, remote)
    if state.latest:
        changes.record_latest(connection, stored)


def _put_in_place(new: Path, workspace: Workspace) -> Path | None:
    """Lets the new database take the place of the old one, whose log must not be taken for the new one's.

    Returns where the old one is now.
    """
    with new.open("rb") as file:
        os.fsync(file.fileno())
    for ending in (LOG, LOG_INDEX):
        new.with_name(new.name + ending).unlink(missing_ok=True)
    database = workspace.database
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = database.with_name(f"{database.name}{_DAMAGED}{moment}")
    there = database.exists()
    database.with_name(database.name + LOG_INDEX).unlink(missing_ok=True)
    for ending in (LOG, ""):
        with suppress(FileNotFoundError):
            database.with_name(database.name + ending).rename(aside.with_name(aside.name + ending))
    new.rename(database)
    sync_directory(workspace.root)
    return aside if there else None
