"""How images came here."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from acistore.store.index.images import images
from acistore.store.provenance import Provenance
from acistore.store.records import Admission, Remote, StoredImage
from acistore.store.schema import admission, image, remote


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
