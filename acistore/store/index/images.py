"""Which images are there, which one is meant, and which need it."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, select

from acistore.errors import AcistoreError, StoreDamaged
from acistore.naming import ImageID, ImageName, Labels
from acistore.store.index.batches import batches
from acistore.store.records import StoredImage
from acistore.store.schema import dependency, image, label

# Images that are looked at together where the first is most likely the right one.
FEW = 20


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
    keys = (row.image_id for row in rows if satisfies(target, row) and row.image_id != target.key)
    some = list(islice((key for key in keys if key not in without), at_most))
    return images(connection, image.c.id.in_(some)) if some else []


def satisfies(candidate: StoredImage, row: Row[Any]) -> bool:
    """Whether an image has what a row of dependencies asks for, be there a better one or not."""
    if row.digest is not None:
        return bool(candidate.id.digest == row.digest)
    wanted: dict[str, str] = json.loads(row.labels)
    return wanted.items() <= dict(candidate.labels).items()


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
    except (ValueError, TypeError, AttributeError, AcistoreError) as error:
        raise StoreDamaged(
            f"row {row.id} of the store's database can't be an image: {error}",
            next_step="acistore verify --repair",
        ) from None
