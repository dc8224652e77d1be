"""Does the index say what the packs say? SQLite has no checksums, so a flipped bit in it has to show elsewhere.

What can be read from the packs again (where bodies are, which files an image has, its labels) is compared with
them; what can't (use, pins, admissions, remotes, what is newest) has a checksum in its row; the rest is structure,
which SQLite checks itself.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from acistore.archive.tar import entries
from acistore.errors import AcistoreError
from acistore.manifest import ImageManifest
from acistore.store import schema, sqlite
from acistore.store.export import OpenImage
from acistore.store.packfile import BODY, PLAIN, SKELETON, ZSTD, Content, PackReader
from acistore.store.records import Damage, LiveContents, Location, PackState, StoredImage
from acistore.store.sqlite import NONSENSE, Database

# The format versions for writers and for readers in the header of a database with a write-ahead log.
_LOGGED = b"\x02\x02"


def database_damage(database: Database) -> list[Damage]:
    """What is wrong with the database by itself."""
    problems = _header_problems(database)
    checks = (
        sqlite.integrity_problems,
        lambda connection: sqlite.schema_problems(connection, schema.create),
        sqlite.sequence_problems,
        _unreferenced,
        _encoding_problems,
        _checksum_problems,
    )
    with database.read() as connection:
        for check in checks:
            try:
                problems += check(connection)
            except (AcistoreError, *NONSENSE) as error:
                problems.append(f"it can't be read: {error}")
    return [Damage(None, f"database: {problem}", in_index=True) for problem in problems]


def _header_problems(database: Database) -> list[str]:
    """With another format version for writers than for readers SQLite reads the file and never writes it."""
    with sqlite.store_errors(database.path), database.path.open("rb") as file:
        versions = file.read(20)[18:]
    return [] if versions == _LOGGED else ["its header has another format version"]


def _unreferenced(connection: Connection) -> list[str]:
    """Rows that should have gone with the last image that needed them."""
    file, blob, path = schema.file, schema.blob, schema.path
    lost = {
        "file bodies": select(func.count())
        .select_from(blob)
        .where(~select(file.c.image_id).where(file.c.blob_id == blob.c.id).exists()),
        "paths": select(func.count())
        .select_from(path)
        .where(~select(file.c.image_id).where(file.c.path_id == path.c.id).exists()),
    }
    counts = {what: connection.execute(query).scalar_one() for what, query in lost.items()}
    return [f"{count} {what} belong to no image" for what, count in counts.items() if count]


def _encoding_problems(connection: Connection) -> list[str]:
    odd = select(func.count()).select_from(schema.blob).where(schema.blob.c.encoding != "plain")
    count = connection.execute(odd).scalar_one()
    return [f"{count} file bodies have an encoding that is none"] if count else []


def _checksum_problems(connection: Connection) -> list[str]:
    tables = (
        (schema.image, schema.IMAGE_STATE),
        (schema.admission, schema.ADMISSION),
        (schema.remote, schema.REMOTE),
        (schema.newest, schema.NEWEST),
    )
    return [
        f"a row of {table.name} has another checksum ({next(iter(row.values()))})"
        for table, columns in tables
        for row in map(dict, connection.execute(select(table)).mappings())
        if schema.checksum(row, columns) != row["checksum"]
    ]


def pack_damage(state: PackState, rows: LiveContents, pack: PackReader) -> Iterator[Damage]:
    """Rows that say something else of a sound pack than its own table of contents."""
    contents = pack.contents()
    bodies = {content.digest: content for content in contents if content.kind == BODY}
    skeletons = {content.digest: content for content in contents if content.kind == SKELETON}
    wrong = [
        *(digest for digest, place in rows.bodies.items() if not _is_at(place, bodies.get(digest), PLAIN)),
        *(digest for digest, place in rows.skeletons.values() if not _is_at(place, skeletons.get(digest), ZSTD)),
    ]
    for digest in wrong:
        yield Damage(None, f"database: sha512-{digest.hex()} is not where it says it is", in_index=True)
    total = sum(content.length for content in (*bodies.values(), *skeletons.values()))
    places = (*rows.bodies.values(), *(place for _digest, place in rows.skeletons.values()))
    if (state.size, state.dead_size) != (pack.size, total - sum(place.length for place in places)):
        yield Damage(
            None, f"database: the size of pack {pack.name}, or of what is dead in it, is wrong", in_index=True
        )


def _is_at(place: Location, content: Content | None, encoding: bytes) -> bool:
    found = content and (content.offset, content.length, content.encoding)
    return found == (place.offset, place.length, encoding)


def image_problems(image: StoredImage, size: int, opened: OpenImage, database: Database) -> list[str]:
    """What the index says of a sound image, of `size` bytes, and the image itself does not."""
    manifest = ImageManifest.parse(image.raw_manifest)
    with database.read() as connection:
        version = select(schema.image.c.version).where(schema.image.c.id == image.key)
        right = {
            "size": (image.size, size),
            "name": (image.name, manifest.name),
            "labels": (dict(image.labels), dict(manifest.labels)),
            "version": (connection.execute(version).scalar(), manifest.labels.get("version")),
            "dependencies": (_dependencies(connection, image), _dependencies_in(manifest)),
            "files": (_fingerprint(_files(connection, image)), _fingerprint(_files_in(opened))),
            "manifest": (hashlib.sha512(image.raw_manifest).digest(), _manifest_digest(connection, image)),
        }
    return [
        f"database: its {what} are not those of its archive"
        for what, (found, is_) in right.items()
        if found != is_
    ]


def _dependencies(connection: Connection, image: StoredImage) -> list[tuple[str, bytes | None, Any]]:
    table = schema.dependency
    query = select(table).where(table.c.image_id == image.key).order_by(table.c.position)
    return [(row.name, row.digest, json.loads(row.labels)) for row in connection.execute(query)]


def _dependencies_in(manifest: ImageManifest) -> list[tuple[str, bytes | None, Any]]:
    return [
        (each.name, each.image_id.digest if each.image_id else None, dict(each.labels))
        for each in manifest.dependencies
    ]


def _manifest_digest(connection: Connection, image: StoredImage) -> bytes | None:
    """By the rows of its files, which are compared with the archive's."""
    found = _files(connection, image, schema.path.c.text == b"manifest")
    return next((digest for _path, digest in found), None)


def _files(connection: Connection, image: StoredImage, *conditions: Any) -> Iterator[tuple[bytes, bytes | None]]:
    file, path, blob = schema.file, schema.path, schema.blob
    query = (
        select(path.c.text, blob.c.digest)
        .select_from(file)
        .join(path, path.c.id == file.c.path_id)
        .outerjoin(blob, blob.c.id == file.c.blob_id)
        .where(file.c.image_id == image.key, *conditions)
    )
    return ((row.text, row.digest) for row in connection.execute(query))


def _files_in(opened: OpenImage) -> Iterator[tuple[bytes, bytes | None]]:
    for entry in entries(opened.skeleton()):
        if entry.path != ".":
            yield entry.path.encode(errors="surrogateescape"), entry.digest


def _fingerprint(files: Iterable[tuple[bytes, bytes | None]]) -> tuple[int, int]:
    """A number for files in any order, paths with the digests of their bodies, in little memory."""
    count = total = 0
    for path, digest in files:
        count += 1
        total += int.from_bytes(hashlib.sha512(path + b"\0" + (digest or b"")).digest()[:16])
    return count, total
