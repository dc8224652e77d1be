"""The questions asked of the tables: plain SQLAlchemy, inside the caller's transaction."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, func, select

from acistore.naming import ImageID, ImageName, Labels
from acistore.store.records import Admission, Location, Remote, StoredImage
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

# Values in one IN (…), below every engine's limit of variables in a statement.
BATCH = 500


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
    found = [
        each
        for each in images(connection, image.c.name == name.name)
        if wanted.items() <= dict(each.labels).items()
    ]
    return sorted(found, key=lambda each: (dict(each.labels) != wanted, not each.latest))


def dependents(connection: Connection, target: StoredImage) -> list[StoredImage]:
    """The images that need this one: by its ID, or by its name and labels where they pin no ID."""
    rows = connection.execute(select(dependency).where(dependency.c.name == target.name)).all()
    keys = [row.image_id for row in rows if _satisfies(target, row) and row.image_id != target.key]
    return [each for batch in batches(keys) for each in images(connection, image.c.id.in_(batch))]


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
                candidates = [found] if found else []
            else:
                candidates = images_by_name(connection, ImageName(row.name, json.loads(row.labels)))
            yield from candidates[:1]


def _labels(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, str]]:
    labels: dict[int, dict[str, str]] = {}
    for batch in batches(keys):
        for row in connection.execute(select(label).where(label.c.image_id.in_(batch))):
            labels.setdefault(row.image_id, {})[row.name] = row.value
    return labels


def _stored(row: Row[Any], labels: Mapping[str, str]) -> StoredImage:
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


def sparse_packs(connection: Connection, share: float) -> list[tuple[str, int]]:
    """The packs of which more than this share is dead, and how many bytes that is."""
    query = select(pack.c.name, pack.c.dead_size).where(pack.c.dead_size > pack.c.size * share)
    return [(name, dead) for name, dead in connection.execute(query)]


def live_contents(connection: Connection, pack_name: str) -> set[bytes]:
    """The digests of the bodies and skeletons in a pack that are referred to."""
    bodies = select(blob.c.digest).join(pack).where(pack.c.name == pack_name)
    skeletons = select(image.c.skeleton_digest).join(pack).where(pack.c.name == pack_name)
    return {*connection.execute(bodies).scalars(), *connection.execute(skeletons).scalars()}


def live_size(connection: Connection) -> int:
    """The bytes of all packs, less what is dead in them."""
    query = select(func.coalesce(func.sum(pack.c.size - pack.c.dead_size), 0))
    return int(connection.execute(query).scalar_one())


# --- provenance


def admissions_of(connection: Connection, target: StoredImage) -> list[Admission]:
    """How the image was let in, each time, the newest first."""
    query = select(admission).where(admission.c.image_id == target.key).order_by(admission.c.admitted_at.desc())
    return [
        Admission(
            verdict=row.verdict,
            admitted_at=row.admitted_at,
            scheme=row.scheme,
            fingerprint=row.fingerprint,
            signing_fingerprint=row.signing_fingerprint,
            signer=row.signer,
            rule=row.rule,
            signature_digest=row.signature_digest,
            signed_at=row.signed_at,
            signature_expires_at=row.signature_expires_at,
            url=row.url,
            insecure=tuple(filter(None, row.insecure.split(","))),
        )
        for row in connection.execute(query)
    ]


def images_admitted_by(connection: Connection, fingerprint: str) -> list[StoredImage]:
    """The images that this key (lower-case fingerprint of the primary key) has let in."""
    admitted = select(admission.c.image_id).where(admission.c.fingerprint == fingerprint)
    return images(connection, image.c.id.in_(admitted))


def remote_by_url(connection: Connection, url: str) -> tuple[Remote, StoredImage] | None:
    row = connection.execute(select(remote).where(remote.c.url == url)).one_or_none()
    return None if row is None else (_remote(row), images(connection, image.c.id == row.image_id)[0])


def remotes_by_name(connection: Connection, asked: str) -> list[tuple[Remote, StoredImage]]:
    """What was found when this name was last looked for, the newest first."""
    query = select(remote).where(remote.c.asked == asked).order_by(remote.c.fetched_at.desc())
    return [
        (_remote(row), images(connection, image.c.id == row.image_id)[0])
        for row in connection.execute(query).all()
    ]


def remotes_of(connection: Connection, target: StoredImage) -> list[Remote]:
    """Where the image was fetched from, the newest first."""
    query = select(remote).where(remote.c.image_id == target.key).order_by(remote.c.fetched_at.desc())
    return [_remote(row) for row in connection.execute(query)]


def _remote(row: Row[Any]) -> Remote:
    return Remote(row.url, row.asked, row.signature_url, row.etag, row.last_modified, row.max_age, row.fetched_at)
