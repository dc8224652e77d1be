"""An archive becomes a pack and rows: decompress, split, hash, append what is new, admit, commit.

What a crash leaves at each step is in docs/store.md; nothing of an image that is refused or cut off stays.
"""

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import BinaryIO

import zstandard
from sqlalchemy import Connection

from acistore.archive.compression import decompress
from acistore.archive.layout import check_layout
from acistore.archive.tar import Entry, split
from acistore.errors import ArchiveRefused, StoreUnavailable
from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.store import changes, index, schema
from acistore.store.changes import BlobsGone, NewImage
from acistore.store.disk import Disk
from acistore.store.packfile import BODY, CHUNK, MANIFEST, PLAIN, RECORD, SKELETON, ZSTD, Content, PackWriter
from acistore.store.packs import PackStorage
from acistore.store.pipeline import Hashing, read_ahead
from acistore.store.records import Admission, Remote, StoredImage
from acistore.store.sqlite import Database

# A manifest is held in memory and in the database; real ones have a few KiB.
MANIFEST_LIMIT = 4 << 20
# Bodies wait in memory until the store was asked for a batch of them.
PENDING_BODIES = 256
PENDING_SIZE = 4 << 20
# Times that an ingest is done again because bodies which it relied on were collected meanwhile.
REPLAYS = 5

Admit = Callable[[ImageID, ImageManifest], Admission]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is recorded beside the image. `latest`: it was asked for without a version."""

    remote: Remote | None = None
    latest: bool = False


def ingest(archive: BinaryIO, disk: Disk, *, limit: int, admit: Admit, provenance: Provenance) -> StoredImage:
    """Adds an image archive, compressed in any known way, and returns the stored image.

    `archive` is seekable and read from its beginning; `limit` bounds its plain size in bytes. `admit` decides,
    by raising, before anything is recorded. Raises ArchiveRefused, InvalidManifest and what `admit` raises.
    """
    for _attempt in range(REPLAYS):
        archive.seek(0)
        with disk.workspace.scratch() as file:
            contents = _write_bodies(archive, file, disk, limit)
            manifest = ImageManifest.parse(contents.manifest)
            admission = admit(contents.id, manifest)
            try:
                return _commit(_Admitted(contents, manifest, admission, provenance), file, disk)
            except BlobsGone:
                continue
    raise StoreUnavailable("bodies that the image shares with others were collected again and again")


@dataclass(frozen=True, slots=True)
class _Contents:
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

    contents: _Contents
    manifest: ImageManifest
    admission: Admission
    provenance: Provenance


def _write_bodies(archive: BinaryIO, file: BinaryIO, disk: Disk, limit: int) -> _Contents:
    """Splits the archive into `file`: all bodies that the store does not have, then the skeleton."""
    writer = PackWriter(file)
    bodies = _Bodies(writer, disk.database)
    files = []
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
    return _Contents(writer, image_id, size, bodies.manifest, files, bodies.written, stored)


class _Bodies:
    """Takes the bodies of an archive and appends those to the pack that the store does not have.

    Small ones wait until the store was asked for a batch of them; a large one is written at once, and taken
    back when its digest turns out to be known.
    """

    def __init__(self, writer: PackWriter, database: Database) -> None:
        self.written: dict[bytes, Content] = {}
        self.manifest = b""
        self._writer = writer
        self._database = database
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
            return index.known_blobs(connection, digests)

    def _keep_manifest(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        if entry.size > MANIFEST_LIMIT:
            raise ArchiveRefused(f"the manifest has {entry.size} bytes, more than {MANIFEST_LIMIT}")
        self.manifest = b"".join(pieces)
        return self.manifest


def _commit(image: _Admitted, file: BinaryIO, disk: Disk) -> StoredImage:
    """Publishes the pack and then, in one transaction, everything that refers to it."""
    image_id = image.contents.id
    with disk.database.read() as connection:
        stored_already = index.image_by_id(connection, image_id) is not None
    if stored_already:
        with disk.database.write() as connection:
            return _record(connection, image)
    new = _publish(image, file, disk.packs)
    in_use = False
    try:
        with disk.database.write() as connection:
            if is_new := index.image_by_id(connection, image_id) is None:
                changes.add_image(connection, new, image.admission.admitted_at)
            stored = _record(connection, image)
        in_use = is_new
        return stored
    finally:
        if not in_use:  # another ingest of the image was first, or the transaction failed, or only its answer
            fcntl.flock(file, fcntl.LOCK_UN)
            disk.packs.delete(new.pack_name, unwanted=lambda: not _is_referred_to(disk.database, new.pack_name))


def _publish(image: _Admitted, file: BinaryIO, packs: PackStorage) -> NewImage:
    contents, writer = image.contents, image.contents.writer
    writer.append(MANIFEST, PLAIN, [image.manifest.raw])
    writer.append(RECORD, PLAIN, [_image_record(image)])
    size = writer.finish()
    return NewImage(
        id=contents.id,
        manifest=image.manifest,
        size=contents.size,
        files=contents.files,
        blobs=contents.blobs,
        skeleton=contents.skeleton,
        pack_name=packs.put(file),
        pack_size=size,
    )


def _image_record(image: _Admitted) -> bytes:
    """What a rebuilt index could not know from the archive: the pack carries it as JSON."""
    record = {
        "id": str(image.contents.id),
        "size": image.contents.size,
        "latest": image.provenance.latest,
        "admission": asdict(image.admission),
        "remote": asdict(image.provenance.remote) if image.provenance.remote else None,
    }
    return json.dumps(record, default=_as_text).encode()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a record")


def _record(connection: Connection, image: _Admitted) -> StoredImage:
    """Notes why the image is here and where it came from; whether it is new or was here before."""
    stored = index.image_by_id(connection, image.contents.id)
    if stored is None:
        raise BlobsGone(str(image.contents.id))  # removed since it was found: it is ingested again
    changes.record_admission(connection, stored, image.admission)
    changes.record_use(connection, stored, image.admission.admitted_at)
    if image.provenance.remote:
        changes.record_remote(connection, stored, image.provenance.remote)
    if image.provenance.latest:
        changes.record_latest(connection, stored)
    return index.images(connection, schema.image.c.id == stored.key)[0]


def _is_referred_to(database: Database, pack_name: str) -> bool:
    with database.read() as connection:
        return index.pack_exists(connection, pack_name)
