"""A lost or damaged index is made again from the packs, which describe themselves.

Of the old database is kept what can still be read and has a right checksum: use, pins, admissions, sources. It is
put aside, not deleted. What stands in a pack whose own table of contents can't be read is lost to this.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from sqlalchemy import Connection

from acistore.archive.layout import check_layout
from acistore.archive.tar import entries, join
from acistore.archive.tar.skeleton import Playback
from acistore.errors import AcistoreError, DiskFull, StoreDamaged, StoreUnavailable
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.store import changes, index, schema
from acistore.store.adding import NewImage, insert_blobs, insert_image, insert_row
from acistore.store.export import decompressed
from acistore.store.ingest import MANIFEST_LIMIT
from acistore.store.latest import as_newest
from acistore.store.packfile import BODY, MANIFEST, PLAIN, RECORD, SKELETON, Content, PackReader
from acistore.store.packs import LocalPacks, PackStorage
from acistore.store.provenance import Provenance, read_record
from acistore.store.records import Admission, Incomplete, Newest, Rebuilt
from acistore.store.salvage import Salvaged, State, salvage
from acistore.store.sqlite import LOG, LOG_INDEX, Database
from acistore.store.workspace import Workspace, sync_directory

_DAMAGED = ".damaged-"


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as a pack tells of it."""

    id: ImageID
    pack: str
    skeleton: Content
    manifest: ImageManifest
    size: int
    provenance: Provenance


@dataclass
class _Inventory:
    """What is in all packs. Sizes in bytes. An image that was mended lies in several packs."""

    images: dict[ImageID, list[_Image]] = field(default_factory=dict)
    bodies: dict[bytes, tuple[str, Content]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    content_sizes: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def rebuild(directory: Path) -> Rebuilt:
    """Makes the index of a store again. Nobody else may use the store meanwhile; who does is waited for.

    Raises StoreUnavailable, DiskFull.
    """
    workspace = Workspace(directory)
    try:
        return _rebuild(workspace)
    except DiskFull:
        workspace.give_up_reserve()
    try:
        return _rebuild(workspace)
    except DiskFull as error:
        full = workspace.full("room for a new database")
        full.next_step = "delete something else on this disk, then: acistore verify --repair"
        raise full from error


def _rebuild(workspace: Workspace) -> Rebuilt:
    packs = LocalPacks(workspace.packs)
    with workspace.in_use(alone=True), workspace.writing():
        workspace.refuse_odd_files()
        workspace.create_directories()
        known = salvage(workspace.database)
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


# --- what the packs say


def _read_packs(packs: PackStorage) -> _Inventory:
    inventory = _Inventory()
    for name in packs.list():
        try:
            with packs.open(name) as pack:
                contents = pack.contents()
                if any(each.offset + each.length > pack.size for each in contents):
                    raise StoreDamaged(f"pack {name} has a table of contents that is not about it")
                inventory.sizes[name] = pack.size
                for image in _images_in(pack, contents):
                    inventory.images.setdefault(image.id, []).append(image)
                for body in contents:
                    if (body.kind, body.encoding) == (BODY, PLAIN) and _is_better(pack, body, inventory):
                        inventory.bodies[body.digest] = (name, body)
        except (StoreDamaged, OSError):
            inventory.unreadable.append(name)
            continue
        inventory.content_sizes[name] = sum(each.length for each in contents if each.kind in (BODY, SKELETON))
    return inventory


def _is_better(pack: PackReader, body: Content, inventory: _Inventory) -> bool:
    """Whether this is to be taken for a body that may have been found in another pack: one of the two may be
    damaged."""
    if body.digest not in inventory.bodies:
        return True
    return pack.digest(body.offset, body.length) == body.digest


def _images_in(pack: PackReader, contents: list[Content]) -> Iterator[_Image]:
    """The images in a pack: of each the skeleton, then the manifest, then the record.

    Nothing is believed that an image could not have brought with it when it was stored: anybody may have put the
    pack there.
    """
    for skeleton, manifest, record in zip(contents, contents[1:], contents[2:], strict=False):
        if (skeleton.kind, manifest.kind, record.kind) == (SKELETON, MANIFEST, RECORD):
            with suppress(AcistoreError):  # damaged itself: it may stand in another pack as well
                told = read_record(_small(pack, record))
                parsed = ImageManifest.parse(_small(pack, manifest))
                image = _Image(told.id, pack.name, skeleton, parsed, told.size, told.provenance)
                if _is_of_a_piece(image, pack, manifest):
                    yield image


def _small(pack: PackReader, content: Content) -> bytes:
    if content.length > MANIFEST_LIMIT:
        raise StoreDamaged(f"pack {pack.name} has a manifest or record of {content.length} bytes")
    return pack.checked(content)


def _is_of_a_piece(image: _Image, pack: PackReader, manifest: Content) -> bool:
    """Whether skeleton, manifest and record are about one and the same image. Raises StoreDamaged, ArchiveRefused
    for a skeleton that is none."""
    if pack.digest(image.skeleton.offset, image.skeleton.length) != image.skeleton.digest:
        return False
    digests = [digest for path, digest in _files_in(image, pack) if path == b"manifest"]
    return digests == [manifest.digest] and _tar_size(image, pack) == image.size


def _tar_size(image: _Image, pack: PackReader) -> int:
    size = 0
    playback = Playback(_skeleton(image, pack))
    while (record := playback.next_record()) is not None:
        length, digest = record
        size += length if digest else sum(map(len, playback.run(length)))
    return size


def _skeleton(image: _Image, pack: PackReader) -> Iterator[bytes]:
    return decompressed(pack.read(image.skeleton.offset, image.skeleton.length), image.pack)


def _files_in(image: _Image, pack: PackReader) -> Iterator[tuple[bytes, bytes | None]]:
    """Path and digest of the body of each file."""
    for entry in check_layout(entries(_skeleton(image, pack))):
        yield entry.path.encode(errors="surrogateescape"), entry.digest


def _files(image: _Image, packs: PackStorage) -> Iterator[tuple[bytes, bytes | None]]:
    with packs.open(image.pack) as pack:
        yield from _files_in(image, pack)


def _whole_and_incomplete(
    inventory: _Inventory, packs: PackStorage, known: Salvaged
) -> tuple[dict[ImageID, _Image], tuple[Incomplete, ...]]:
    """The images that can be had from the packs, oldest first, and those of which bodies are missing, or all but
    what the old database says. Without those that were removed, if that is known."""
    found = [_the_right_one(images, inventory, packs) for images in inventory.images.values()]
    whole: dict[ImageID, _Image] = {}
    incomplete = []
    for image in sorted(found, key=lambda each: each.provenance.admitted_at):
        if known.complete and image.id.digest not in known.states:
            continue
        if all(digest is None or digest in inventory.bodies for _path, digest in _files(image, packs)):
            whole[image.id] = image
        else:
            incomplete.append(_incomplete(image.id, image.manifest.image_name, image.provenance, known))
    for digest, state in known.states.items():
        if ImageID(digest) not in inventory.images:
            unknown = Provenance((Admission("unverified", state.imported_at),), latest=state.latest)
            incomplete.append(_incomplete(ImageID(digest), state.name, unknown, known))
    return whole, tuple(incomplete)


def _incomplete(image_id: ImageID, name: ImageName, told: Provenance, known: Salvaged) -> Incomplete:
    """What is known of an image that is not whole: the old database may know better than the pack."""
    digest = image_id.digest
    state = known.states.get(digest)
    return Incomplete(
        image_id,
        name,
        tuple(known.admissions.get(digest, told.admissions)),
        next(iter(known.remotes.get(digest, ())), told.remote),
        state.latest if state else told.latest,
        state.pinned if state else False,
        known=state is not None,
    )


def _the_right_one(images: Sequence[_Image], inventory: _Inventory, packs: PackStorage) -> _Image:
    """Of several that call themselves by one image ID, the one that it stands for, if there is one."""
    if len(images) > 1:
        for image in images:
            with suppress(AcistoreError, OSError):
                if _digest(image, inventory, packs) == image.id.digest:
                    return image
    return images[-1]


def _digest(image: _Image, inventory: _Inventory, packs: PackStorage) -> bytes:
    """The SHA-512 of an image's tar. Raises StoreDamaged where bodies are missing."""

    def body(digest: bytes, _size: int) -> Iterator[bytes]:
        if digest not in inventory.bodies:
            raise StoreDamaged(f"the body sha512-{digest.hex()} is in no pack")
        name, content = inventory.bodies[digest]
        with packs.open(name) as pack:
            yield from pack.read(content.offset, content.length)

    hasher = hashlib.sha512()
    with packs.open(image.pack) as pack:
        for chunk in join(_skeleton(image, pack), body):
            hasher.update(chunk)
    return hasher.digest()


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
        for family, newest in (_newest_by_packs(inventory, known) | known.newest).items():
            changes.record_newest(connection, family, newest)
    if database.has_log:  # which would not come along
        raise StoreUnavailable(f"the new database of the store {path.parent.parent} could not be completed")


def _newest_by_packs(inventory: _Inventory, known: Salvaged) -> dict[ImageName, Newest]:
    """What was last admitted as latest of each family, as far as that can be told without its row.

    That is, of the images that are the latest, or of which no more is known than that they were when their packs
    were written, the one that was let in last. Those that were removed count as well.
    """
    found: dict[ImageName, Newest] = {}
    for image in chain.from_iterable(inventory.images.values()):
        state, told = known.states.get(image.id.digest), image.provenance
        admissions = known.admissions.get(image.id.digest, told.admissions) if state else told.admissions
        checked = [each.admitted_at for each in admissions if each.is_checked]
        if checked and (state.latest if state else told.latest):
            family = index.family_of(image.manifest.image_name)
            newest = as_newest(image.id, image.manifest, max(checked))
            found[family] = max(found.get(family, newest), newest, key=lambda each: each.admitted_at)
    return found


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
    admitted = provenance.admitted_at
    digest = new.id.digest
    state = known.states.get(digest) or State(
        new.manifest.image_name, admitted, datetime.now(UTC), False, provenance.latest
    )
    key = insert_image(
        connection,
        new,
        pack,
        imported_at=state.imported_at,
        last_used_at=state.last_used_at,
        pinned=state.pinned,
    )
    stored = index.images(connection, schema.image.c.id == key)[0]
    for admission in known.admissions.get(digest, provenance.admissions):
        changes.record_admission(connection, stored, admission)
    for remote in known.remotes.get(digest) or filter(None, [provenance.remote]):
        changes.record_remote(connection, stored, remote)
    if state.latest:
        changes.record_latest(connection, stored)


def _put_in_place(new: Path, workspace: Workspace) -> Path | None:
    """Lets the new database take the place of the old one, whose log must not be taken for the new one's.

    Returns where the old one is now. There is a database at any moment, or the store would be taken for a new one.
    """
    with new.open("rb") as file:
        os.fsync(file.fileno())
    for ending in (LOG, LOG_INDEX):
        new.with_name(new.name + ending).unlink(missing_ok=True)
    database = workspace.database
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = database.with_name(f"{database.name}{_DAMAGED}{moment}")
    there = database.exists()
    if there:
        aside.hardlink_to(database)
    database.with_name(database.name + LOG_INDEX).unlink(missing_ok=True)
    log = database.with_name(database.name + LOG)
    if log.exists():
        log.rename(aside.with_name(aside.name + LOG)) if log.stat().st_size else log.unlink()
    sync_directory(workspace.root)  # or a power cut could leave the new one with the old log
    new.rename(database)
    sync_directory(workspace.root)
    return aside if there else None
