"""An image, with its pack and bodies, is added to the tables. No file is touched here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select

from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.store import schema
from acistore.store.index import batches, known_blobs
from acistore.store.packfile import Content
from acistore.store.schema import blob, dependency, file, image, label, pack, path


class BlobsGone(Exception):
    """A body that an ingest found in the store was collected before it could be referred to."""


_PATH = select(path.c.id).where(path.c.text == bindparam("text"))
_BLOB = select(blob.c.id).where(blob.c.digest == bindparam("digest"))
# Rows by the thousand: the database looks the keys up itself.
_ADD_PATH = insert(path).from_select(
    ["text"], select(bindparam("text", type_=path.c.text.type)).where(~_PATH.exists())
)
_ADD_FILE = insert(file).values(
    image_id=bindparam("image"), path_id=_PATH.scalar_subquery(), blob_id=_BLOB.scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class NewImage:
    """What is recorded of an image. `files` are (path, SHA-512 of the body or None)."""

    id: ImageID
    manifest: ImageManifest
    size: int
    files: Sequence[tuple[bytes, bytes | None]]
    skeleton: Content


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack, and the bodies in it by their digest."""

    name: str
    size: int
    blobs: Mapping[bytes, Content]


def add_image(connection: Connection, new: NewImage, where: NewPack, now: datetime) -> None:
    """Adds an image that is not there yet, with its pack. Raises BlobsGone when a body that it relied on no longer
    is there."""
    wanted = {digest for _path, digest in new.files if digest is not None}
    known = known_blobs(connection, list(wanted))
    if lost := wanted - known - where.blobs.keys():
        raise BlobsGone(next(iter(lost)).hex())
    # Bodies that another ingest was first with are dead weight in this pack until compaction.
    duplicates = sum(content.length for digest, content in where.blobs.items() if digest in known)
    pack_id = insert_row(connection, pack, name=where.name, size=where.size, dead_size=duplicates)
    insert_blobs(connection, pack_id, (each for digest, each in where.blobs.items() if digest not in known))
    insert_image(connection, new, pack_id, imported_at=now, last_used_at=now)


def insert_blobs(connection: Connection, pack_id: int, contents: Iterable[Content]) -> None:
    """Adds bodies that the tables don't have."""
    rows = [
        {
            "digest": content.digest,
            "size": content.length,
            "pack_id": pack_id,
            "offset": content.offset,
            "encoding": "plain",
        }
        for content in contents
    ]
    _insert_all(connection, blob, rows)


def insert_image(
    connection: Connection,
    new: NewImage,
    pack_id: int,
    *,
    imported_at: datetime,
    last_used_at: datetime,
    pinned: bool = False,
) -> int:
    """Adds an image whose pack and bodies are there; returns its key."""
    state = {
        "digest": new.id.digest,
        "imported_at": imported_at,
        "last_used_at": last_used_at,
        "pinned": pinned,
        "latest": False,
    }
    key = insert_row(
        connection,
        image,
        **state,
        checksum=schema.checksum(state, schema.IMAGE_STATE),
        name=new.manifest.name,
        version=new.manifest.labels.get("version"),
        size=new.size,
        manifest=new.manifest.raw,
        pack_id=pack_id,
        skeleton_offset=new.skeleton.offset,
        skeleton_length=new.skeleton.length,
        skeleton_digest=new.skeleton.digest,
    )
    _add_description(connection, key, new.manifest)
    for some in batches(new.files):
        connection.execute(_ADD_PATH, [{"text": text} for text, _digest in some])
        connection.execute(_ADD_FILE, [{"image": key, "text": text, "digest": digest} for text, digest in some])
    return key


def _add_description(connection: Connection, image_id: int, manifest: ImageManifest) -> None:
    _insert_all(
        connection,
        label,
        [{"image_id": image_id, "name": name, "value": value} for name, value in manifest.labels.items()],
    )
    _insert_all(
        connection,
        dependency,
        [
            {
                "image_id": image_id,
                "position": position,
                "name": each.name,
                "digest": each.image_id.digest if each.image_id else None,
                "labels": json.dumps(dict(each.labels)),
            }
            for position, each in enumerate(manifest.dependencies)
        ],
    )


def insert_row(connection: Connection, table: Table, **values: Any) -> int:
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    return int(key[0]) if key else 0


def _insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
