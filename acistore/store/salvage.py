"""What can still be read of a damaged database, and has a right checksum."""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from acistore.errors import AcistoreError
from acistore.events import log_of
from acistore.manifest import ImageManifest
from acistore.naming import ImageName
from acistore.store import index, schema, sqlite
from acistore.store.records import Admission, Newest, Remote
from acistore.store.sqlite import NONSENSE, Database

log = log_of(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What no pack tells of an image. `name` is for a message: nothing vouches for it."""

    name: ImageName
    imported_at: datetime
    last_used_at: datetime
    pinned: bool
    latest: bool


@dataclass
class Salvaged:
    """By the digest of the image's ID; what is newest by its family (`index.family_of`). `complete`: all images
    that there were are here."""

    states: dict[bytes, State] = field(default_factory=dict)
    admissions: dict[bytes, list[Admission]] = field(default_factory=dict)
    remotes: dict[bytes, list[Remote]] = field(default_factory=dict)
    newest: dict[ImageName, Newest] = field(default_factory=dict)
    complete: bool = False


def salvage(path: Path) -> Salvaged:
    """Reads what it can of a database; nothing at all is an answer, too."""
    found = Salvaged()
    with suppress(AcistoreError), closing(Database(path, writable=False)) as database:
        with _as_far_as_it_goes(), database.read() as connection:
            found.complete = _read_images(connection, found)
        with _as_far_as_it_goes(), database.read() as connection:
            found.newest.update(map(index.newest_in, _sound(connection, schema.newest, schema.NEWEST)))
        with _as_far_as_it_goes(), database.read() as connection:
            digests = _digests(connection)
            for row in _sound(connection, schema.admission, schema.ADMISSION):
                if row["image_id"] in digests:
                    found.admissions.setdefault(digests[row["image_id"]], []).append(index.admission_in(row))
            for row in _sound(connection, schema.remote, schema.REMOTE):
                if row["image_id"] in digests:
                    found.remotes.setdefault(digests[row["image_id"]], []).append(index.remote_in(row))
    return found


def _as_far_as_it_goes() -> suppress:
    return suppress(AcistoreError, *NONSENSE)


def _read_images(connection: Connection, found: Salvaged) -> bool:
    """Takes the rows of images; whether the database is so sound that these are all."""
    count = 0
    for row in connection.execute(select(schema.image)).mappings():
        count += 1
        if schema.checksum(dict(row), schema.IMAGE_STATE) == row["checksum"]:
            found.states[row["digest"]] = State(
                _name(row), row["imported_at"], row["last_used_at"], row["pinned"], row["latest"]
            )
    return count == len(found.states) and not sqlite.integrity_problems(connection)


def _name(row: RowMapping) -> ImageName:
    try:
        return ImageManifest.parse(row["manifest"]).image_name
    except (AcistoreError, ValueError, TypeError, AttributeError):
        return ImageName("unknown")


def _digests(connection: Connection) -> dict[int, bytes]:
    columns = (schema.image.c.id, schema.image.c.digest)
    return {key: digest for key, digest in connection.execute(select(*columns))}  # noqa: C416 - rows are no pairs


def _sound(connection: Connection, table: Table, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for row in map(dict, connection.execute(select(table)).mappings()):
        if schema.checksum(row, columns) == row["checksum"]:
            yield row
