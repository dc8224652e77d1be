"""An archive becomes a pack and rows: decompress, split, hash, append what is new, admit, commit.

What a crash leaves at each step is in docs/store.md; nothing of an image that is refused or cut off stays.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard
from sqlalchemy import Connection

from acistore.archive.compression import decompress
from acistore.archive.layout import check_layout
from acistore.archive.tar import Entry, split
from acistore.errors import AcistoreError, ArchiveRefused, StoreUnavailable
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.store import changes, index, schema
from acistore.store.adding import BlobsGone, NewImage, NewPack, add_image
from acistore.store.disk import Disk
from acistore.store.latest import LatestRule, admit_as_latest, as_newest
from acistore.store.packfile import BODY, CHUNK, MANIFEST, PLAIN, RECORD, SKELETON, ZSTD, Content, PackWriter
from acistore.store.packs import PackStorage
from acistore.store.pipeline import Hashing, read_ahead
from acistore.store.provenance import Provenance, write_record
from acistore.store.records import Admission, Remote, StoredImage
from acistore.store.sqlite import Database
from acistore.store.workspace import is_full

# A manifest is held in memory and in the database; real ones have a few KiB.
MANIFEST_LIMIT = 4 << 20
# Bodies wait in memory until the store was asked for a batch of them.
PENDING_BODIES = 256
PENDING_SIZE = 4 << 20
# Times that an ingest is done again because bodies which it relied on were collected meanwhile.
REPLAYS = 5
# Bytes of a plain tar that are looked through, on a full disk, for how much room would have been enough: seconds.
MOST_COUNTED = 4 << 30

# Who has let the image in: one for each signer that was needed. It raises to refuse the image.
Admit = Callable[[ImageID, ImageManifest], Sequence[Admission]]


def ingest(
    archive: BinaryIO,
    disk: Disk,
    *,
    limit: int,
    admit: Admit,
    remote: Remote | None = None,
    latest: LatestRule | None = None,
    asked: ImageName | None = None,
) -> tuple[StoredImage, bool]:
    """Adds an image archive, compressed in any known way; returns the stored image, and whether it is new.

    `archive` is seekable and read from its beginning; `limit` bounds its plain size in bytes. `admit` decides,
    by raising, before anything is recorded, and so does `latest`, which is None for an image that is not fetched
    as latest; `asked` is by what name it was, then. Raises ArchiveRefused, InvalidManifest, DiskFull and what
    these two raise.
    """
    for _attempt in range(REPLAYS):
        with disk.workspace.scratch() as file:
            contents = write_contents(archive, file, disk, limit)
            manifest = ImageManifest.parse(contents.manifest)
            provenance = Provenance(tuple(admit(contents.id, manifest)), remote, latest is not None)
            try:
                return _commit(_Admitted(contents, manifest, provenance, latest, asked), file, disk)
            except BlobsGone:
                continue
    raise StoreUnavailable("bodies that the image shares with others were collected again and again")


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found in an archive, and where in the new pack it went."""

    writer: PackWriter
    id: ImageID
    size: int
    manifest: bytes
    files: Sequence[tuple[bytes, bytes | None]]
    blobs: Mapping[bytes, Content]
    skeleton: Content


@dataclass(frozen=True, slots=True)
class _Admitted:
    """An image that may be recorded, and what is to be recorded with it."""

    contents: Contents
    manifest: ImageManifest
    provenance: Provenance
    latest: LatestRule | None
    asked: ImageName | None


def write_contents(
    archive: BinaryIO, file: BinaryIO, disk: Disk, limit: int, *, lost: frozenset[bytes] = frozenset()
) -> Contents:
    """Splits the archive into the pack `file`: all bodies that the store does not have, then the skeleton.

    Bodies in `lost` are taken for missing. Raises DiskFull, with what is needed, and ArchiveRefused.
    """
    try:
        return _write_contents(archive, PackWriter(file), disk, limit, lost)
    except OSError as error:
        if not is_full(error):
            raise
        os.ftruncate(file.fileno(), 0)  # room for others, while it is counted how much would have been enough
        raise disk.workspace.full(_needed(archive, disk, limit, lost)) from error


def _needed(archive: BinaryIO, disk: Disk, limit: int, lost: frozenset[bytes]) -> str:
    """How much room would have been enough, as far as that can be counted in a few seconds."""
    try:
        size = _new_size(archive, disk, min(limit, MOST_COUNTED), lost)
    except ArchiveRefused:
        return f"not counted: unpacked the image is larger than {MOST_COUNTED} bytes, or it is damaged"
    return f"more than {size} bytes, for what is new in the image"


def _new_size(archive: BinaryIO, disk: Disk, limit: int, lost: frozenset[bytes]) -> int:
    """The bytes of all bodies that the store does not have."""
    bodies = _Bodies(PackWriter(cast(BinaryIO, _Nowhere())), disk.database, lost)
    archive.seek(0)
    with read_ahead(decompress(archive, limit=limit)) as chunks:
        for _entry in check_layout(split(chunks, bodies=bodies, skeleton=len)):
            pass
        bodies.flush()
    return sum(content.length for content in bodies.written.values())


class _Nowhere:
    """A file that takes everything and keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int) -> int:
        return offset

    def truncate(self) -> None:
        pass


def _write_contents(
    archive: BinaryIO, writer: PackWriter, disk: Disk, limit: int, lost: frozenset[bytes]
) -> Contents:
    bodies = _Bodies(writer, disk.database, lost)
    files = []
    archive.seek(0)
    with (
        read_ahead(decompress(archive, limit=limit)) as chunks,
        Hashing() as whole,
        tempfile.SpooledTemporaryFile(max_size=8 << 20, dir=str(disk.workspace.tmp)) as skeleton,
    ):
        with zstandard.ZstdCompressor().stream_writer(skeleton, closefd=False) as compressor:
            entries = split(whole.through(chunks), bodies=bodies, skeleton=compressor.write)
            for entry in check_layout(entries):
                files.append((entry.path.encode(errors="surrogateescape"), entry.digest))
        bodies.flush()
        skeleton.seek(0)
        stored = writer.append(SKELETON, ZSTD, iter(lambda: skeleton.read(CHUNK), b""))
        image_id, size = ImageID(whole.digest()), whole.size
    return Contents(writer, image_id, size, bodies.manifest, files, bodies.written, stored)


class _Bodies:
    """Takes the bodies of an archive and appends those to the pack that the store does not have.

    Small ones wait until the store was asked for a batch of them; a large one is written at once, and taken
    back when its digest turns out to be known.
    """

    def __init__(self, writer: PackWriter, database: Database, lost: frozenset[bytes]) -> None:
        self.written: dict[bytes, Content] = {}
        self.manifest = b""
        self._writer = writer
        self._database = database
        self._lost = lost
        self._seen: set[bytes] = set()
        self._pending: dict[bytes, bytes] = {}
        self._pending_size = 0

    def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        """Takes one body and returns its SHA-512."""
        if entry.path == "manifest":
            pieces = [self._keep_manifest(entry, pieces)]
        elif entry.size > PENDING_SIZE:
            return self._put_large(entry, pieces)
        data = b"".join(pieces)
        digest = hashlib.sha512(data).digest()
        if digest not in self._seen:
            self._seen.add(digest)
            self._pending[digest] = data
            self._pending_size += len(data)
            if self._pending_size > PENDING_SIZE or len(self._pending) >= PENDING_BODIES:
                self.flush()
        return digest

    def flush(self) -> None:
        """Appends the bodies that wait, less those that the store has."""
        known = self._known(list(self._pending))
        for digest, data in self._pending.items():
            if digest not in known:
                self.written[digest] = self._writer.append_hashed(data, digest)
        self._pending.clear()
        self._pending_size = 0

    def _put_large(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        content = self._writer.append(BODY, PLAIN, pieces, size=entry.size)
        if content.digest in self._seen or self._known([content.digest]):
            self._writer.take_back(content)
        else:
            self.written[content.digest] = content
        self._seen.add(content.digest)
        return content.digest

    def _known(self, digests: list[bytes]) -> set[bytes]:
        with self._database.read() as connection:
            return index.known_blobs(connection, digests) - self._lost

    def _keep_manifest(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        if entry.size > MANIFEST_LIMIT:
            raise ArchiveRefused(f"the manifest has {entry.size} bytes, more than {MANIFEST_LIMIT}")
        self.manifest = b"".join(pieces)
        return self.manifest


def _commit(image: _Admitted, file: BinaryIO, disk: Disk) -> tuple[StoredImage, bool]:
    """Publishes the pack and then, in one transaction, everything that refers to it."""
    image_id = image.contents.id
    with disk.database.read() as connection:
        stored_already = index.image_by_id(connection, image_id) is not None
    if stored_already:
        with disk.database.write() as connection:
            _admit_as_latest(connection, image)
            return _record(connection, image), False
    pack = _publish(image, file, disk.packs)
    contents = image.contents
    new = NewImage(image_id, image.manifest, contents.size, contents.files, contents.skeleton)
    with unless_referred_to(pack.name, file, disk), disk.database.write() as connection:
        _admit_as_latest(connection, image)
        if index.image_by_id(connection, image_id) is None:
            add_image(connection, new, pack, image.provenance.admitted_at)
        return _record(connection, image), True


def _admit_as_latest(connection: Connection, image: _Admitted) -> None:
    """First of all in the transaction: an image that is refused is not worth the work of adding it."""
    if image.latest is not None:
        newest = as_newest(image.contents.id, image.manifest, image.provenance.admitted_at)
        name = image.manifest.image_name
        admissions = image.provenance.admissions
        admit_as_latest(connection, name, newest, admissions, image.latest, asked=image.asked)


def _publish(image: _Admitted, file: BinaryIO, packs: PackStorage) -> NewPack:
    contents = image.contents
    append_record(contents.writer, contents.id, contents.size, image.manifest.raw, image.provenance)
    size = contents.writer.finish()
    return NewPack(packs.put(file), size, contents.blobs)


def append_record(
    writer: PackWriter, image_id: ImageID, image_size: int, manifest: bytes, provenance: Provenance
) -> None:
    """Appends, behind its skeleton, what of an image an index could not be rebuilt without."""
    writer.append(MANIFEST, PLAIN, [manifest])
    writer.append(RECORD, PLAIN, [write_record(image_id, image_size, provenance)])


@contextmanager
def unless_referred_to(pack_name: str, file: BinaryIO, disk: Disk) -> Iterator[None]:
    """Deletes a published pack at the end if the index does not, and can not, refer to it: the transaction has
    failed, or has found nothing to do; or only its answer was lost, and the pack is in use."""
    failed = True
    try:
        yield
        failed = False
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
        with suppress(AcistoreError, OSError):  # then the next collection takes it
            if failed:
                disk.database.settle()
            disk.packs.delete(pack_name, unwanted=lambda: not _is_referred_to(disk.database, pack_name))


def _record(connection: Connection, image: _Admitted) -> StoredImage:
    """Notes why the image is here and where it came from; whether it is new or was here before."""
    stored = index.image_by_id(connection, image.contents.id)
    if stored is None:
        raise BlobsGone(str(image.contents.id))  # removed since it was found: it is ingested again
    provenance = image.provenance
    for admission in provenance.admissions:
        changes.record_admission(connection, stored, admission)
    changes.record_use(connection, stored, provenance.admitted_at)
    if provenance.remote:
        changes.record_remote(connection, stored, provenance.remote)
    if provenance.latest:
        changes.record_latest(connection, stored)
    return index.images(connection, schema.image.c.id == stored.key)[0]


def _is_referred_to(database: Database, pack_name: str) -> bool:
    with database.read() as connection:
        return index.pack_exists(connection, pack_name)
