"""What an image is made of, and where that lies."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select

from acistore.store.index.batches import batches
from acistore.store.records import Location, StoredImage
from acistore.store.schema import blob, file, image, pack, path


def skeleton_of(connection: Connection, target: StoredImage) -> Location | None:
    """Where the skeleton of the image lies; None when the image was removed meanwhile."""
    row = connection.execute(
        select(pack.c.name, image.c.skeleton_offset, image.c.skeleton_length)
        .join_from(image, pack)
        .where(image.c.id == target.key)
    ).one_or_none()
    return None if row is None else Location(*row)


def bodies_of(connection: Connection, target: StoredImage) -> dict[bytes, Location]:
    """Where each body of the image lies, by its digest."""
    query = (
        select(blob.c.digest, pack.c.name, blob.c.offset, blob.c.size)
        .distinct()
        .select_from(file)
        .join(blob, file.c.blob_id == blob.c.id)
        .join(pack, blob.c.pack_id == pack.c.id)
        .where(file.c.image_id == target.key)
    )
    return {digest: Location(*place) for digest, *place in connection.execute(query)}


def paths_of(connection: Connection, target: StoredImage, digest: bytes) -> list[bytes]:
    """The paths in the image under which a body lies."""
    query = (
        select(path.c.text)
        .select_from(file)
        .join(path, file.c.path_id == path.c.id)
        .join(blob, file.c.blob_id == blob.c.id)
        .where(file.c.image_id == target.key, blob.c.digest == digest)
        .order_by(path.c.text)
    )
    return list(connection.execute(query).scalars())


def file_count(connection: Connection, target: StoredImage) -> int:
    """How many entries the archive has, directories and links included."""
    return connection.execute(
        select(func.count()).select_from(file).where(file.c.image_id == target.key)
    ).scalar_one()


def unique_size(connection: Connection, target: StoredImage) -> int:
    """The bytes of file bodies that no other image refers to."""
    orphans = needed_only_by(target.key).subquery()
    query = select(func.coalesce(func.sum(blob.c.size), 0)).where(blob.c.id.in_(select(orphans.c.blob_id)))
    return int(connection.execute(query).scalar_one())


def unique_sizes(connection: Connection) -> dict[int, int]:
    """Of each image, by its key, the bytes of bodies that no other image refers to (if there are any)."""
    owner = func.min(file.c.image_id)
    owned = (
        select(file.c.blob_id, owner.label("image_id"))
        .where(file.c.blob_id.is_not(None))
        .group_by(file.c.blob_id)
        .having(owner == func.max(file.c.image_id))
        .subquery()
    )
    query = select(owned.c.image_id, func.sum(blob.c.size)).join(blob, blob.c.id == owned.c.blob_id)
    return {row.image_id: row[1] for row in connection.execute(query.group_by(owned.c.image_id))}


def bodies_size(connection: Connection) -> int:
    """The bytes of all bodies, each counted once."""
    return int(connection.execute(select(func.coalesce(func.sum(blob.c.size), 0))).scalar_one())


def needed_only_by(key: int) -> Select[Any]:
    """Selects the keys of the blobs that this image refers to and no other one does."""
    other = file.alias()
    elsewhere = select(other.c.image_id).where(other.c.blob_id == file.c.blob_id, other.c.image_id != key)
    return (
        select(file.c.blob_id)
        .distinct()
        .where(file.c.image_id == key, file.c.blob_id.is_not(None), ~elsewhere.exists())
    )


def known_blobs(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Which of these bodies the store has."""
    return {
        digest
        for batch in batches(digests)
        for digest in connection.execute(select(blob.c.digest).where(blob.c.digest.in_(batch))).scalars()
    }


def skeleton_digest_of(connection: Connection, target: StoredImage) -> bytes | None:
    """The SHA-512 of the image's skeleton, as it is stored; None when the image was removed meanwhile."""
    return connection.execute(select(image.c.skeleton_digest).where(image.c.id == target.key)).scalar_one_or_none()


def body_at(connection: Connection, target: StoredImage, text: bytes) -> tuple[bytes, Location] | None:
    """The body under a path of the image's archive: its digest, and where it is; None where there is none."""
    row = connection.execute(
        select(blob.c.digest, pack.c.name, blob.c.offset, blob.c.size)
        .select_from(path)
        .join(file, file.c.path_id == path.c.id)
        .join(blob, file.c.blob_id == blob.c.id)
        .join(pack, blob.c.pack_id == pack.c.id)
        .where(path.c.text == text, file.c.image_id == target.key)
    ).one_or_none()
    return None if row is None else (row.digest, Location(*row[1:]))
