"""The changes made to the tables: plain SQLAlchemy, inside the caller's transaction. No file is touched here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from acistore.naming import ImageName
from acistore.store import schema
from acistore.store.adding import insert_row
from acistore.store.index import batches, family_key, family_of, images, needed_only_by
from acistore.store.packfile import Content
from acistore.store.records import Admission, Newest, Remote, StoredImage
from acistore.store.schema import (
    admission,
    blob,
    file,
    image,
    newest,
    pack,
    path,
    remote,
)


@dataclass(frozen=True, slots=True)
class Freed:
    """What a removal lets go: bodies that no image needs any more, their bytes and those of the image itself, and
    the packs that nothing refers to now."""

    blobs: int
    size: int
    packs: tuple[str, ...]


def record_admission(connection: Connection, target: StoredImage, given: Admission) -> None:
    row = asdict(given) | {"image_id": target.key, "insecure": ",".join(given.insecure)}
    insert_row(connection, admission, **_with_checksum(row, schema.ADMISSION))


def record_remote(connection: Connection, target: StoredImage, given: Remote) -> None:
    """Notes where the image was found, in place of what was known of that URL."""
    connection.execute(delete(remote).where(remote.c.url == given.url))
    row = asdict(given) | {"image_id": target.key}
    connection.execute(insert(remote).values(_with_checksum(row, schema.REMOTE)))


def record_use(connection: Connection, target: StoredImage, now: datetime) -> None:
    _set_state(connection, target.key, last_used_at=now)


def record_pin(connection: Connection, target: StoredImage, pinned: bool) -> None:
    _set_state(connection, target.key, pinned=pinned)


def record_latest(connection: Connection, target: StoredImage) -> None:
    """Makes this image the one fetched as latest, in place of any other of its name and other labels."""
    for each in images(connection, image.c.name == target.name, image.c.latest):
        if family_of(each.image_name) == family_of(target.image_name):
            _set_state(connection, each.key, latest=False)
    _set_state(connection, target.key, latest=True)


def record_newest(connection: Connection, name: ImageName, given: Newest) -> None:
    """Notes what was admitted as latest of the family of this name, in place of what was before."""
    key = family_key(name)
    connection.execute(delete(newest).where(newest.c.name == key["name"], newest.c.labels == key["labels"]))
    told = {"digest": given.id.digest, "version": given.version, "created": given.created}
    row = key | told | {"admitted_at": given.admitted_at}
    connection.execute(insert(newest).values(_with_checksum(row, schema.NEWEST)))


def _set_state(connection: Connection, key: int, **changed: Any) -> None:
    """Changes what is kept of an image beside what it is."""
    found = connection.execute(select(image).where(image.c.id == key)).mappings().one_or_none()
    if found is not None:
        row = _with_checksum({**found, **changed}, schema.IMAGE_STATE)
        connection.execute(update(image).where(image.c.id == key).values(**changed, checksum=row["checksum"]))


def _with_checksum(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {**row, "checksum": schema.checksum(row, columns)}


def remove_image(connection: Connection, target: StoredImage) -> Freed:
    """Takes an image out, with the bodies and paths that only it needed. Their bytes stay in the packs until these
    are collected."""
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
    return Freed(len(orphans), sum(dead.values()), tuple(_let_go(connection, dead)))


def _let_go(connection: Connection, dead: Mapping[int, int]) -> Iterator[str]:
    """Counts so many more bytes of each pack (by its key) as dead; forgets, and yields, packs without content."""
    for pack_id, size in dead.items():
        bodies = connection.execute(select(blob.c.id).where(blob.c.pack_id == pack_id).limit(1)).first()
        skeletons = connection.execute(select(image.c.id).where(image.c.pack_id == pack_id).limit(1)).first()
        if bodies or skeletons:
            grown = pack.c.dead_size + size
            connection.execute(update(pack).where(pack.c.id == pack_id).values(dead_size=grown))
        else:
            yield connection.execute(select(pack.c.name).where(pack.c.id == pack_id)).scalar_one()
            connection.execute(delete(pack).where(pack.c.id == pack_id))


def move_contents(
    connection: Connection,
    new_name: str,
    size: int,
    bodies: Collection[Content],
    skeletons: Mapping[int, Content],
) -> list[str] | None:
    """Lets bodies, and skeletons of images (by their keys), that lie in other packs lie in a new one, where they
    were copied to.

    Returns the packs that nothing refers to now. What was removed meanwhile is dead weight in the new pack; None,
    and nothing is changed, when that is all of it.
    """
    new_id = insert_row(connection, pack, name=new_name, size=size, dead_size=0)
    places = {content.digest: content for content in bodies}
    left: dict[int, int] = {}
    found = [
        row
        for batch in batches(list(places))
        for row in connection.execute(
            select(blob.c.id, blob.c.digest, blob.c.pack_id).where(blob.c.digest.in_(batch))
        )
    ]
    for row in found:
        left[row.pack_id] = left.get(row.pack_id, 0) + places[row.digest].length
    if found:
        elsewhere = update(blob).where(blob.c.id == bindparam("key"))
        connection.execute(
            elsewhere.values(pack_id=new_id, offset=bindparam("place")),
            [{"key": row.id, "place": places[row.digest].offset} for row in found],
        )
    moved = sum(left.values())
    for key, content in skeletons.items():
        old = connection.execute(select(image.c.pack_id, image.c.skeleton_length).where(image.c.id == key)).first()
        if old:
            place: dict[str, Any] = {
                "pack_id": new_id,
                "skeleton_offset": content.offset,
                "skeleton_length": content.length,
                "skeleton_digest": content.digest,
            }
            connection.execute(update(image).where(image.c.id == key).values(place))
            left[old.pack_id] = left.get(old.pack_id, 0) + old.skeleton_length
            moved += content.length
    if not left:
        connection.execute(delete(pack).where(pack.c.id == new_id))
        return None
    copied = sum(content.length for content in (*bodies, *skeletons.values()))
    connection.execute(update(pack).where(pack.c.id == new_id).values(dead_size=copied - moved))
    return list(_let_go(connection, left))
