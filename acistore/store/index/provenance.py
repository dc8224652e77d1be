"""How images came here."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from acistore.store.index.images import images
from acistore.store.provenance import Provenance
from acistore.store.records import Admission, Remote, StoredImage
from acistore.store.schema import admission, image, remote

_NEWEST_FIRST = (admission.c.admitted_at.desc(), admission.c.id)


def admissions_of(connection: Connection, target: StoredImage) -> list[Admission]:
    """How the image was let in, each time, the newest first; those of one time as they were recorded."""
    query = select(admission).where(admission.c.image_id == target.key).order_by(*_NEWEST_FIRST)
    return [admission_in(row) for row in connection.execute(query).mappings()]


def all_admissions(connection: Connection) -> dict[int, list[Admission]]:
    """How every image was let in, by its key, each as `admissions_of` has it."""
    found: dict[int, list[Admission]] = {}
    for row in connection.execute(select(admission).order_by(*_NEWEST_FIRST)).mappings():
        found.setdefault(row["image_id"], []).append(admission_in(row))
    return found


def admission_in(row: RowMapping | Mapping[str, Any]) -> Admission:
    """The admission that a row of the table tells of."""
    values = {name: value for name, value in row.items() if name not in ("id", "image_id", "checksum")}
    return Admission(**values | {"insecure": tuple(filter(None, row["insecure"].split(",")))})


def provenance_of(connection: Connection, target: StoredImage) -> Provenance:
    """How the image was let in, each time, and where it was found last."""
    unknown = Admission("unverified", target.imported_at)
    admissions = tuple(admissions_of(connection, target)) or (unknown,)
    return Provenance(admissions, next(iter(remotes_of(connection, target)), None), target.latest)


def images_admitted_by(connection: Connection, fingerprint: str, rule: str | None = None) -> list[StoredImage]:
    """The images that this key (lower-case fingerprint of the primary key) has let in: by this rule, if one is
    given."""
    admitted = select(admission.c.image_id).where(admission.c.fingerprint == fingerprint)
    if rule is not None:
        admitted = admitted.where(admission.c.rule == rule)
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
