"""The changes made to the tables: plain SQLAlchemy, inside the caller's transaction. No file is touched here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, insert, select, update

from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.store.index import batches, images, needed_only_by
from acistore.store.packfile import BODY, SKELETON, Content
from acistore.store.records import Admission, Remote, StoredImage
from acistore.store.schema import (
    admission,
    blob,
    dependency,
    file,
    image,
    label,
    pack,
    path,
    remote,
)


class BlobsGone(Exception):
    """A body that an ingest found in the store was collected before it could be referred to."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """All that one ingest adds. `files` are (path, SHA-512 of the body or None); `blobs` lie in `pack_name`."""

    id: ImageID
    manifest: ImageManifest
    size: int
    files: Sequence[tuple[bytes, bytes | None]]
    blobs: Mapping[bytes, Content]
    skeleton: Content
    pack_name: str
    pack_size: int


def add_image(connection: Connection, new: NewImage, now: datetime) -> None:
    """Adds an image that is not there yet. Raises BlobsGone when a body that it relied on no longer is."""
    wanted = dict.fromkeys(digest for _path, digest in new.files if digest is not None)
    blob_ids = _ids(connection, blob.c.digest, list(wanted))
    if lost := next((digest for digest in wanted if digest not in blob_ids and digest not in new.blobs), None):
        raise BlobsGone(lost.hex())
    # Bodies that another ingest was first with are dead weight in this pack until compaction.
    duplicates = sum(content.length for digest, content in new.blobs.items() if digest in blob_ids)
    pack_id = _insert(connection, pack, name=new.pack_name, size=new.pack_size, dead_size=duplicates)
    missing = [content for digest, content in new.blobs.items() if digest not in blob_ids]
    _insert_all(connection, blob, [_blob_row(content, pack_id) for content in missing])
    blob_ids |= _ids(connection, blob.c.digest, [content.digest for content in missing])
    image_id = _insert(
        connection,
        image,
        digest=new.id.digest,
        name=new.manifest.name,
        size=new.size,
        manifest=new.manifest.raw,
        imported_at=now,
        last_used_at=now,
        pinned=False,
        latest=False,
        pack_id=pack_id,
        skeleton_offset=new.skeleton.offset,
        skeleton_length=new.skeleton.length,
        skeleton_digest=new.skeleton.digest,
    )
    _add_description(connection, image_id, new.manifest)
    path_ids = _path_ids(connection, [text for text, _digest in new.files])
    _insert_all(
        connection,
        file,
        [
            {"image_id": image_id, "path_id": path_ids[text], "blob_id": digest and blob_ids[digest]}
            for text, digest in new.files
        ],
    )


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


def _blob_row(content: Content, pack_id: int) -> dict[str, Any]:
    return {
        "digest": content.digest,
        "size": content.length,
        "pack_id": pack_id,
        "offset": content.offset,
        "encoding": "plain",
    }


def _path_ids(connection: Connection, texts: Sequence[bytes]) -> dict[bytes, int]:
    ids = _ids(connection, path.c.text, texts)
    missing = [text for text in texts if text not in ids]
    _insert_all(connection, path, [{"text": text} for text in missing])
    return ids | _ids(connection, path.c.text, missing)


def _ids(connection: Connection, column: Column[Any], values: Sequence[bytes]) -> dict[bytes, int]:
    """The keys of the rows that have these values, by value."""
    ids: dict[bytes, int] = {}
    for batch in batches(values):
        rows = connection.execute(select(column, column.table.c.id).where(column.in_(batch)))
        ids.update((value, key) for value, key in rows)
    return ids


def _insert(connection: Connection, table: Table, **values: Any) -> int:
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    return int(key[0]) if key else 0


def _insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def record_admission(connection: Connection, target: StoredImage, given: Admission) -> None:
    _insert(
        connection,
        admission,
        image_id=target.key,
        verdict=given.verdict,
        scheme=given.scheme,
        fingerprint=given.fingerprint,
        signing_fingerprint=given.signing_fingerprint,
        signer=given.signer,
        rule=given.rule,
        signature_digest=given.signature_digest,
        signed_at=given.signed_at,
        signature_expires_at=given.signature_expires_at,
        admitted_at=given.admitted_at,
        url=given.url,
        insecure=",".join(given.insecure),
    )


def record_remote(connection: Connection, target: StoredImage, given: Remote) -> None:
    """Notes where the image was found, in place of what was known of that URL."""
    connection.execute(delete(remote).where(remote.c.url == given.url))
    row = remote.insert().values(
        url=given.url,
        image_id=target.key,
        asked=given.asked,
        signature_url=given.signature_url,
        etag=given.etag,
        last_modified=given.last_modified,
        max_age=given.max_age,
        fetched_at=given.fetched_at,
    )
    connection.execute(row)


def record_use(connection: Connection, target: StoredImage, now: datetime) -> None:
    connection.execute(update(image).where(image.c.id == target.key).values(last_used_at=now))


def record_latest(connection: Connection, target: StoredImage) -> None:
    """Makes this image the one fetched as latest, in place of any other of its name and other labels."""

    def family(each: StoredImage) -> dict[str, str]:
        return {name: value for name, value in each.labels.items() if name != "version"}

    for each in images(connection, image.c.name == target.name, image.c.latest):
        if family(each) == family(target):
            connection.execute(update(image).where(image.c.id == each.key).values(latest=False))
    connection.execute(update(image).where(image.c.id == target.key).values(latest=True))


def remove_image(connection: Connection, target: StoredImage) -> tuple[int, int]:
    """Takes an image out, with the bodies and paths that only it needed; returns how many bodies, and their
    bytes together with the image's own. The bytes stay in their packs until these are collected."""
    orphans = connection.execute(
        select(blob.c.id, blob.c.pack_id, blob.c.size).where(blob.c.id.in_(needed_only_by(target.key)))
    ).all()
    row = connection.execute(select(image).where(image.c.id == target.key)).one()
    path_ids = list(connection.execute(select(file.c.path_id).where(file.c.image_id == target.key)).scalars())
    connection.execute(delete(image).where(image.c.id == target.key))
    dead: dict[int, int] = {row.pack_id: row.skeleton_length}
    for orphan in orphans:
        dead[orphan.pack_id] = dead.get(orphan.pack_id, 0) + orphan.size
    for batch in batches([orphan.id for orphan in orphans]):
        connection.execute(delete(blob).where(blob.c.id.in_(batch)))
    for batch in batches(path_ids):
        still_used = select(file.c.path_id).where(file.c.path_id == path.c.id).exists()
        connection.execute(delete(path).where(path.c.id.in_(batch), ~still_used))
    for pack_id, size in dead.items():
        connection.execute(update(pack).where(pack.c.id == pack_id).values(dead_size=pack.c.dead_size + size))
    return len(orphans), sum(dead.values())


def drop_dead_packs(connection: Connection) -> list[str]:
    """Forgets the packs that nothing refers to, and returns their names."""
    bodies = select(blob.c.id).where(blob.c.pack_id == pack.c.id).exists()
    skeletons = select(image.c.id).where(image.c.pack_id == pack.c.id).exists()
    dead = connection.execute(select(pack.c.id, pack.c.name).where(~bodies, ~skeletons)).all()
    for batch in batches([row.id for row in dead]):
        connection.execute(delete(pack).where(pack.c.id.in_(batch)))
    return [row.name for row in dead]


def move_contents(
    connection: Connection,
    old_name: str,
    new_name: str,
    size: int,
    moved: Mapping[tuple[bytes, bytes], Content],
) -> bool:
    """Lets everything that lies in one pack lie in another, at the places given by (kind, digest).

    False, and nothing is changed, when the old pack is no longer there.
    """
    old_id = connection.execute(select(pack.c.id).where(pack.c.name == old_name)).scalar_one_or_none()
    if old_id is None:
        return False
    new_id = _insert(connection, pack, name=new_name, size=size, dead_size=0)
    alive = 0
    for row in connection.execute(select(blob.c.id, blob.c.digest).where(blob.c.pack_id == old_id)).all():
        content = moved[BODY, row.digest]
        alive += content.length
        connection.execute(update(blob).where(blob.c.id == row.id).values(pack_id=new_id, offset=content.offset))
    skeletons = select(image.c.id, image.c.skeleton_digest).where(image.c.pack_id == old_id)
    for row in connection.execute(skeletons).all():
        content = moved[SKELETON, row.skeleton_digest]
        alive += content.length
        connection.execute(
            update(image).where(image.c.id == row.id).values(pack_id=new_id, skeleton_offset=content.offset)
        )
    copied = sum(content.length for (kind, _), content in moved.items() if kind in (BODY, SKELETON))
    connection.execute(update(pack).where(pack.c.id == new_id).values(dead_size=copied - alive))
    connection.execute(delete(pack).where(pack.c.id == old_id))
    return True
