"""Is a store whole after a job that failed, was killed, or succeeded? Asked from another process.

What must hold then: the store opens; it is as it was before the job or as the job leaves it, nothing in between,
and the latter when the job has said that it succeeded; verify finds no damage; after one collection every file is
one that the index refers to; and every image comes out as the bytes that its ID is the SHA-512 of.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from acistore.naming import ImageName
from acistore.store import Store

# What may lie in the directory of a store, beside `packs/`, `spool/` and `tmp/`.
_OWN_FILES = {"acistore.db", "acistore.db-wal", "acistore.db-shm", "reserve"}
# Copies from before an upgrade, and databases that a repair has put aside.
_ASIDE = ("acistore.db.before-", "acistore.db.damaged-")

# All templates are older than this: an image used since was used by the job.
_RECENTLY = timedelta(days=1)

# A state is what the index says of each image, and of what was last admitted as latest, as JSON has it.
State = dict[str, Any]
NOTHING: State = {"images": [], "newest": None}
# The name of the images that are fetched as latest.
_LATEST = ImageName("example.com/app")


def state(directory: Path) -> State:
    with Store.open(directory) as store:
        return _state(store)


def _state(store: Store) -> State:
    lately = datetime.now(UTC) - _RECENTLY
    images = [
        [
            str(image.id),
            str(image.image_name),
            {"latest": image.latest, "pinned": image.pinned, "used": image.last_used_at > lately},
            sorted(f"{remote.url} {remote.etag} {remote.fetched_at}" for remote in store.remotes(image)),
            [f"{admission.verdict} {admission.fingerprint}" for admission in store.admissions(image)],
        ]
        for image in sorted(store.list(), key=lambda image: str(image.id))
    ]
    newest = store.newest(_LATEST)
    return {"images": images, "newest": newest and [str(newest.id), newest.version, str(newest.created)]}


def with_state_lost(known: State) -> State:
    """The same images where nothing is known of their use."""
    images = [[*image[:2], {**image[2], "pinned": False, "used": True}, *image[3:]] for image in known["images"]]
    return known | {"images": images}


def problems(directory: Path, allowed: list[State]) -> Iterator[str]:
    """What is wrong with a store that must be in one of these states. Mends nothing, but collects."""
    with Store.open(directory) as store:
        found = _state(store)
        if found not in allowed:
            yield f"the index holds {found}, where it must hold one of {allowed}"
        for damage in store.verify().damaged:
            yield f"verify: {damage.image and damage.image.id} {damage.path or ''} {damage.what}"
        store.collect(grace_period=timedelta(0), keep=1_000_000)
        if [image.id for image in store.list()] != [image.id for image in _sorted_as(store, found)]:
            yield "a collection that was to keep every image has removed some"
        for image in store.list():
            out = _Hashing()
            store.export(image, out)  # type: ignore[arg-type]
            if out.hasher.digest() != image.id.digest:
                yield f"{image.id} is exported as other bytes"
    yield from _stray_files(directory)


def _sorted_as(store: Store, found: State) -> Any:
    known = {entry[0] for entry in found["images"]}
    return [image for image in store.list() if str(image.id) in known]


class _Hashing:
    def __init__(self) -> None:
        self.hasher = hashlib.sha512()

    def write(self, data: bytes) -> int:
        self.hasher.update(data)
        return len(data)


def _stray_files(directory: Path) -> Iterator[str]:
    """Files that nothing refers to and packs that are missing, as plain SQLite and a directory listing see it."""
    with closing(sqlite3.connect(directory / "acistore.db")) as database:
        referred = {name for (name,) in database.execute("SELECT name FROM pack")}
    packs = {path.name for path in (directory / "packs").iterdir()}
    if packs - referred:
        yield f"after a collection, packs that nothing refers to: {sorted(packs - referred)}"
    if referred - packs:
        yield f"packs are missing: {sorted(referred - packs)}"
    left = [f"{place}/{path.name}" for place in ("spool", "tmp") for path in (directory / place).iterdir()]
    top = {path.name for path in directory.iterdir()} - _OWN_FILES - {"packs", "spool", "tmp"}
    left += [name for name in top if not name.startswith(_ASIDE) or name.endswith(("-journal", "-wal", "-shm"))]
    if left:
        yield f"after a collection, left-over files: {sorted(left)}"


def upgrade_problems(directory: Path, before: Path, scratch: Path) -> Iterator[str]:
    """What a migration that failed or was killed has left, before anything opens the store.

    The database is at its old revision with the content that it had, or at another; a copy aside is whole.
    """
    old = _dump(before / "acistore.db", scratch / "old")
    found = _dump(directory / "acistore.db", scratch / "found")
    if _revision(found) == _revision(old) and found != old:
        yield "the database is at its old revision, but not with its old content"
    for number, path in enumerate(sorted(directory.glob(f"{_ASIDE}*"))):
        if path.name.endswith(("-journal", "-wal", "-shm")):
            continue
        try:
            if _dump(path, scratch / f"aside{number}") != old:
                yield f"the copy {path.name} has another content than the database had"
        except sqlite3.Error as error:
            yield f"the copy {path.name} is no whole database: {error}"


def _dump(database: Path, scratch: Path) -> list[str]:
    """Everything in a database, read from a copy so that it stays as it was left. Raises sqlite3.Error."""
    scratch.mkdir()
    for suffix in ("", "-wal", "-journal"):
        if (part := database.with_name(database.name + suffix)).exists():
            shutil.copy(part, scratch / f"copy.db{suffix}")
    with closing(sqlite3.connect(scratch / "copy.db")) as copy:
        [(verdict,)] = copy.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        return list(copy.iterdump())


def _revision(dump: list[str]) -> list[str]:
    return [line for line in dump if line.startswith('INSERT INTO "alembic_version"')]
