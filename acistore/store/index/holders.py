"""Which images hold a path or a body."""

from typing import Any

from sqlalchemy import Connection, select

from acistore.store.index.batches import batches
from acistore.store.index.images import images
from acistore.store.records import StoredImage
from acistore.store.schema import blob, file, image, path


def images_with_path(connection: Connection, text: bytes) -> list[tuple[StoredImage, bytes, bytes | None]]:
    """The images whose archive has this path: image, path, digest of the body; the newest import first."""
    return _holders(connection, file.c.path_id.in_(select(path.c.id).where(path.c.text == text)))


def images_with_body(connection: Connection, digest: bytes) -> list[tuple[StoredImage, bytes, bytes | None]]:
    """The images that hold this body, once for each path that it has there; the newest import first."""
    return _holders(connection, file.c.blob_id.in_(select(blob.c.id).where(blob.c.digest == digest)))


def _holders(connection: Connection, condition: Any) -> list[tuple[StoredImage, bytes, bytes | None]]:
    query = (
        select(file.c.image_id, path.c.text, blob.c.digest)
        .select_from(file)
        .join(path, file.c.path_id == path.c.id)
        .outerjoin(blob, file.c.blob_id == blob.c.id)
        .where(condition)
    )
    rows = connection.execute(query).all()
    keys = list({row.image_id for row in rows})
    holders = {each.key: each for batch in batches(keys) for each in images(connection, image.c.id.in_(batch))}
    found = [(holders[row.image_id], row.text, row.digest) for row in rows]
    found.sort(key=lambda each: each[1])
    return sorted(found, key=lambda each: (each[0].imported_at, each[0].key), reverse=True)
