"""What of each name was last admitted as latest."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from acistore.errors import AcistoreError, StoreDamaged
from acistore.naming import ImageID, ImageName
from acistore.store.records import Newest
from acistore.store.schema import newest


def family_of(name: ImageName) -> ImageName:
    """A name with all its labels but the version: of the images that have it in common one is the latest."""
    return ImageName(name.name, {label: value for label, value in name.labels.items() if label != "version"})


def family_key(name: ImageName) -> dict[str, str]:
    """The columns by which the row of a name's family is found. Equal labels are equal text, in any order."""
    labels = dict(family_of(name).labels)
    return {"name": name.name, "labels": json.dumps(labels, sort_keys=True, separators=(",", ":"))}


def newest_of(connection: Connection, name: ImageName) -> Newest | None:
    """What was last admitted as latest of the family of an image's own name. Raises StoreDamaged for a row that
    can't be right."""
    key = family_key(name)
    query = select(newest).where(newest.c.name == key["name"], newest.c.labels == key["labels"])
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    try:
        return newest_in(row)[1]
    except (ValueError, TypeError, AttributeError, AcistoreError) as error:
        raise StoreDamaged(
            f"what the store's database says of the latest {name.name} can't be right: {error}",
            next_step="acistore verify --repair",
        ) from None


def newest_in(row: RowMapping | Mapping[str, Any]) -> tuple[ImageName, Newest]:
    """What a row of the table tells, and of which family."""
    family = ImageName(row["name"], json.loads(row["labels"]))
    return family, Newest(ImageID(row["digest"]), row["version"], row["created"], row["admitted_at"])
