"""The questions asked of the tables: plain SQLAlchemy, inside the caller's transaction."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, RowMapping, Select, func, select

from acistore.errors import AcistoreError, StoreDamaged
from acistore.naming import ImageID, ImageName, Labels
from acistore.store.provenance import Provenance
from acistore.store.records import Admission, LiveContents, Location, PackState, Remote, StoredImage
from acistore.store.schema import (
    admission,
    blob,
    dependency,
    file,
    image,
    label,
    mostly_dead,
    pack,
    path,
    remote,
)

# Values in one IN (…), below every engine's limit of variables in a statement.
BATCH = 500
# Images that are looked at together where the first is most likely the right one.
FEW = 20


Value = TypeVar("Value")


def batches(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """The values in parts small enough for one statement."""
    return (values[start : start + BATCH] for start in range(0, len(values), BATCH))


# --- images


def images(connection: Connection, *conditions: Any) -> list[StoredImage]:
    """The images that meet the conditions, newest import first."""
    query = select(image).where(*conditions).order_by(image.c.imported_at.desc(), image.c.id.desc())
    rows = connection.execute(query).all()
    labels = _labels(connection, [row.id for row in rows])
    return [_stored(row, labels.get(row.id, {})) for row in rows]


def image_by_id(connection: Connection, image_id: ImageID) -> StoredImage | None:
    return next(iter(images(connection, image.c.digest == image_id.digest)), None)


def images_by_prefix(connection: Connection, hex_prefix: str) -> list[StoredImage]:
    """The images whose ID begins so (hex digits, without `sha512-`)."""
    lowest, highest = (bytes.fromhex(hex_prefix.ljust(128, digit)) for digit in "0f")
    return images(connection, image.c.digest.between(lowest, highest))


def images_by_name(connection: Connection, name: ImageName) -> list[StoredImage]:
    """The images of that name whose labels are at least those of `name`, the best match first.

    Exactly these labels, then the one fetched as latest, then the newest import.
    """
    wanted = dict(name.labels)
    found = [each for each in images(connection, *_named(name)) if _has_labels(each, wanted)]
    return sorted(found, key=lambda each: (dict(each.labels) != wanted, not each.latest))


def best_by_name(connection: Connection, name: ImageName) -> StoredImage | None:
    """The first of `images_by_name`, without a look at all the others, of which there may be thousands."""
    wanted = dict(name.labels)
    exactly = images(connection, image.c.name == name.name, image.c.version == wanted.get("version"))
    for each in exactly:
        if dict(each.labels) == wanted:
            return each
    for each in images(connection, *_named(name), image.c.latest):
        if _has_labels(each, wanted):
            return each
    newest = select(image.c.id).where(*_named(name)).order_by(image.c.imported_at.desc(), image.c.id.desc())
    for keys in connection.execute(newest).scalars().partitions(FEW):
        for each in images(connection, image.c.id.in_(keys)):
            if _has_labels(each, wanted):
                return each
    return None


def _named(name: ImageName) -> list[Any]:
    """The conditions that an index answers: the name, and the version where it is given."""
    by_version = [image.c.version == name.version] if name.version else []
    return [image.c.name == name.name, *by_version]


def _has_labels(candidate: StoredImage, wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= dict(candidate.labels).items()


def dependents(
    connection: Connection, target: StoredImage, *, without: Collection[int] = (), at_most: int = FEW
) -> list[StoredImage]:
    """Images that need this one: by its ID, or by its name and labels where they pin no ID. Some may be left out
    by their keys; there may be thousands."""
    rows = connection.execute(select(dependency).where(dependency.c.name == target.name))
    keys = (row.image_id for row in rows if _satisfies(target, row) and row.image_id != target.key)
    some = list(islice((key for key in keys if key not in without), at_most))
    return images(connection, image.c.id.in_(some)) if some else []


def _satisfies(candidate: StoredImage, row: Row[Any]) -> bool:
    if row.digest is not None:
        return bool(candidate.id.digest == row.digest)
    wanted: dict[str, str] = json.loads(row.labels)
    return wanted.items() <= dict(candidate.labels).items()


def dependencies(connection: Connection, of: Iterable[StoredImage]) -> Iterator[StoredImage]:
    """The images in the store that these need directly."""
    for each in of:
        for row in connection.execute(select(dependency).where(dependency.c.image_id == each.key)).all():
            if row.digest is not None:
                found = image_by_id(connection, ImageID(row.digest))
            else:
                found = best_by_name(connection, ImageName(row.name, json.loads(row.labels)))
            if found:
                yield found


def _labels(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, str]]:
    labels: dict[int, dict[str, str]] = {}
    for batch in batches(keys):
        for row in connection.execute(select(label).where(label.c.image_id.in_(batch))):
            labels.setdefault(row.image_id, {})[row.name] = row.value
    return labels


def _stored(row: Row[Any], labels: Mapping[str, str]) -> StoredImage:
    """The image of a row. Raises StoreDamaged for what can't be one."""
    try:
        return StoredImage(
            key=row.id,
            id=ImageID(row.digest),
            name=row.name,
            labels=Labels(labels),
            size=row.size,
            imported_at=row.imported_at,
            last_used_at=row.last_used_at,
            pinned=row.pinned,
            latest=row.latest,
            raw_manifest=row.manifest,
        )
    except (ValueError, TypeError, AcistoreError) as error:
        raise StoreDamaged(
            f"row {row.id} of the store's database can't be an image: {error}",
            next_step="acistore verify --repair",
        ) from None


# --- what an image is made of


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


def pack_exists(connection: Connection, name: str) -> bool:
    """Whether the index refers to a pack of that name."""
    return connection.execute(select(pack.c.id).where(pack.c.name == name)).first() is not None


def pack_names(connection: Connection) -> list[str]:
    """Every pack that the index refers to."""
    return list(connection.execute(select(pack.c.name)).scalars())


def mostly_dead_packs(connection: Connection) -> list[str]:
    """The packs of which more than half is dead."""
    return list(connection.execute(select(pack.c.name).where(mostly_dead)).scalars())


def pack_states(connection: Connection, names: Sequence[str]) -> Iterator[PackState]:
    """Of each of these packs how large it is, and what is alive in it."""
    for batch in batches(names):
        bodies = select(blob.c.pack_id, func.count()).group_by(blob.c.pack_id)
        skeletons = select(image.c.pack_id, func.count()).group_by(image.c.pack_id)
        rows = connection.execute(select(pack).where(pack.c.name.in_(batch))).all()
        counts: dict[int, int] = {}
        for query, column in ((bodies, blob.c.pack_id), (skeletons, image.c.pack_id)):
            for pack_id, count in connection.execute(query.where(column.in_([row.id for row in rows]))):
                counts[pack_id] = counts.get(pack_id, 0) + count
        yield from (PackState(row.name, row.size, row.dead_size, counts.get(row.id, 0)) for row in rows)


def live_contents(connection: Connection, pack_name: str) -> LiveContents:
    """What in a pack is referred to, in the order of its bytes."""
    pack_id = connection.execute(select(pack.c.id).where(pack.c.name == pack_name)).scalar_one_or_none()
    bodies = select(blob.c.digest, blob.c.offset, blob.c.size).where(blob.c.pack_id == pack_id)
    skeletons = select(
        image.c.id, image.c.skeleton_digest, image.c.skeleton_offset, image.c.skeleton_length
    ).where(image.c.pack_id == pack_id)
    return LiveContents(
        {
            digest: Location(pack_name, *place)
            for digest, *place in connection.execute(bodies.order_by(blob.c.offset))
        },
        {
            key: (digest, Location(pack_name, *place))
            for key, digest, *place in connection.execute(skeletons.order_by(image.c.skeleton_offset))
        },
    )


def live_size(connection: Connection) -> int:
    """The bytes of all packs, less what is dead in them."""
    query = select(func.coalesce(func.sum(pack.c.size - pack.c.dead_size), 0))
    return int(connection.execute(query).scalar_one())


# --- provenance


def admissions_of(connection: Connection, target: StoredImage) -> list[Admission]:
    """How the image was let in, each time, the newest first."""
    query = select(admission).where(admission.c.image_id == target.key).order_by(admission.c.admitted_at.desc())
    return [admission_in(row) for row in connection.execute(query).mappings()]


def admission_in(row: RowMapping | Mapping[str, Any]) -> Admission:
    """The admission that a row of the table tells of."""
    values = {name: value for name, value in row.items() if name not in ("id", "image_id", "checksum")}
    return Admission(**values | {"insecure": tuple(filter(None, row["insecure"].split(",")))})


def provenance_of(connection: Connection, target: StoredImage) -> Provenance:
    """How the image came here, as far as the last time that it did."""
    unknown = Admission("unverified", target.imported_at)
    admission = next(iter(admissions_of(connection, target)), unknown)
    return Provenance(admission, next(iter(remotes_of(connection, target)), None), target.latest)


def images_admitted_by(connection: Connection, fingerprint: str) -> list[StoredImage]:
    """The images that this key (lower-case fingerprint of the primary key) has let in."""
    admitted = select(admission.c.image_id).where(admission.c.fingerprint == fingerprint)
    return images(connection, image.c.id.in_(admitted))


def remote_by_url(connection: Connection, url: str) -> tuple[Remote, StoredImage] | None:
    row = connection.execute(select(remote).where(remote.c.url == url)).mappings().one_or_none()
    return None if row is None else (remote_in(row), images(connection, image.c.id == row["image_id"])[0])


def remotes_by_name(connection: Connection, asked: str) -> list[tuple[Remote, StoredImage]]:
    """What was found when this name was last looked for, the newest first."""
    query = select(remote).where(remote.c.asked == asked).order_by(remote.c.fetched_at.desc())
    return [
        (remote_in(row), images(connection, image.c.id == row["image_id"])[0])
        for row in connection.execute(query).mappings().all()
    ]


def remotes_of(connection: Connection, target: StoredImage) -> list[Remote]:
    """Where the image was fetched from, the newest first."""
    query = select(remote).where(remote.c.image_id == target.key).order_by(remote.c.fetched_at.desc())
    return [remote_in(row) for row in connection.execute(query).mappings()]


def remote_in(row: RowMapping | Mapping[str, Any]) -> Remote:
    """The source that a row of the table tells of."""
    return Remote(**{name: value for name, value in row.items() if name not in ("image_id", "checksum")})


# --- inside images


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
