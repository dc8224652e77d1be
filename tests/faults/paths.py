"""The jobs that change a store, each with the store that it finds.

A new one is a template and a job: functions of the store's directory, with `@write_path(template)` before the job.
The job calls `done()` as soon as it would tell its user that it succeeded.
"""

import io
import os
import random
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.schema import CreateTable

from acistore.errors import AcistoreError
from acistore.naming import ImageName
from acistore.store import Admission, Newest, Remote, Store, StoredImage, always, schema
from acistore.store.spool import SpoolFile
from tests.images import entry, image, manifest, tar

REVISIONS = Path(__file__).parent.parent / "store" / "revisions"

Done = Callable[[], None]
Prepare = Callable[[Path], None]
Job = Callable[[Path, Done], None]


@dataclass(frozen=True, slots=True)
class WritePath:
    """`prepare` makes the store that `job` finds. `upgrades`: the store is of an older schema revision.
    `notes`: the job only notes something, and succeeds on a full disk without having done so. `repairs`: the store
    that it finds is damaged, and is mended by the job, or by the same job once more after one that failed."""

    name: str
    prepare: Prepare
    job: Job
    upgrades: bool = False
    notes: bool = False
    repairs: bool = False


PATHS: dict[str, WritePath] = {}


def write_path(prepare: Prepare, *, notes: bool = False, repairs: bool = False) -> Callable[[Job], Job]:
    """Makes a write path, named after its job, of the store that it finds and the job."""

    def register(job: Job) -> Job:
        name = job.__name__.replace("_", "-")
        PATHS[name] = WritePath(name, prepare, job, notes=notes, repairs=repairs)
        return job

    return register


# --- images


def _body(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _created(day: str) -> dict[str, Any]:
    return {"annotations": [{"name": "created", "value": f"{day}T00:00:00Z"}]}


SHARED = {"etc/shared": _body(1, 3000), "lib/shared": _body(2, 70_000)}
URL = "https://example.com/app.aci"
BASE = image("example.com/base", {**SHARED, "base": _body(3, 2000)})
FIRST = image(
    "example.com/app", {**SHARED, "app": _body(4, 5000)}, labels={"version": "1"}, **_created("2024-01-01")
)
SECOND = image(
    "example.com/app", {**SHARED, "app": _body(5, 6000)}, labels={"version": "2"}, **_created("2024-01-02")
)
DEPENDENT = image("example.com/top", {"top": _body(6, 900)}, dependencies=[{"imageName": "example.com/base"}])
# Almost all of its pack is its own, and its images share what is left.
BULKY = image("example.com/bulky", {**SHARED, "bulk": _body(7, 200_000)})

_LARGE_BODY = _body(8, (4 << 20) + 1)
# Bodies of that size are written while they are read; the second is taken back, since it is the first again.
LARGE = tar(
    [
        entry("manifest", manifest("example.com/large")),
        entry("rootfs", kind=tarfile.DIRTYPE),
        entry("rootfs/large", _LARGE_BODY),
        entry("rootfs/again", _LARGE_BODY),
        entry("rootfs/small", _body(9, 100)),
    ]
)


def _remote(day: int) -> Remote:
    return Remote(URL, "example.com/app", f"{URL}.asc", f'"{day}"', None, 60, datetime(2024, 1, day, tzinfo=UTC))


def _add(store: Store, archive: bytes, *, day: int = 0, days_ago: int = 0) -> StoredImage:
    """Adds an image that was used last so many days ago: unverified, or, where a day of 2024 is given, signed by
    two and fetched as latest on that day."""
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    return store.add(
        io.BytesIO(archive),
        admit=lambda _id, _manifest: _signed(moment) if day else [Admission("unverified", moment)],
        remote=_remote(day) if day else None,
        latest=always if day else None,
    )


def _signed(moment: datetime) -> list[Admission]:
    return [Admission("verified", moment, fingerprint=each * 20, rule="example.com") for each in ("ab", "cd")]


class _Older(AcistoreError):
    """An image is refused since a newer one of its name was the latest."""


def _refuse_older(last: Newest | None, now: Newest) -> None:
    if last and last.created and now.created and now.created < last.created:
        raise _Older("an older image")


def _get(store: Store, name: str) -> StoredImage:
    return store.find(ImageName.parse(name))


# --- stores


def nothing(_directory: Path) -> None:
    """No store: the job makes it."""


def two_images(directory: Path) -> None:
    with Store.open(directory) as store:
        _add(store, BASE, days_ago=30)
        _add(store, FIRST, day=1, days_ago=60)


def dependent_images(directory: Path) -> None:
    two_images(directory)
    with Store.open(directory) as store:
        _add(store, DEPENDENT, days_ago=60)


def images_of_several_ages(directory: Path) -> None:
    """Images that nobody has used for two months, and one that somebody has."""
    dependent_images(directory)
    with Store.open(directory) as store:
        _add(store, BULKY, days_ago=60)


def a_sparse_pack(directory: Path) -> None:
    """A pack of which more than half is dead, and whose bodies another image needs."""
    with Store.open(directory) as store:
        bulky = _add(store, BULKY, days_ago=30)
        _add(store, FIRST, day=1, days_ago=30)
        store.remove([bulky])


def leftovers(directory: Path) -> None:
    """What crashes leave, in each place that has such."""
    two_images(directory)
    for place in ("packs/unreferenced.pack", "tmp/crashed", "spool/broken-off"):
        (directory / place).write_bytes(_body(10, 5000))
        os.utime(directory / place, (1, 1))


# --- jobs


@write_path(nothing)
def new_store(directory: Path, done: Done) -> None:
    with Store.open(directory):
        done()


@write_path(two_images)
def open_store(directory: Path, done: Done) -> None:
    with Store.open(directory):
        done()


@write_path(nothing)
def first_image(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        _add(store, FIRST, day=1)
        done()


@write_path(two_images)
def ingest(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        _add(store, BULKY)
        done()


@write_path(nothing)
def ingest_large(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        _add(store, LARGE)
        done()


@write_path(two_images)
def ingest_again(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        _add(store, FIRST, day=2)
        done()


@write_path(two_images)
def replace(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        _add(store, SECOND, day=2)
        done()


def the_second_as_latest(directory: Path) -> None:
    two_images(directory)
    with Store.open(directory) as store:
        _add(store, SECOND, day=2, days_ago=60)
        store.remove([_get(store, "example.com/app:1")])
        store.collect(grace_period=timedelta(days=999))


@write_path(the_second_as_latest)
def refuse_older(directory: Path, done: Done) -> None:
    """Nothing is to come of an image that may not be the latest, though its pack was there already."""
    with Store.open(directory) as store:
        signed = _signed(datetime.now(UTC))
        with suppress(_Older):
            store.add(io.BytesIO(FIRST), admit=lambda _id, _manifest: signed, latest=_refuse_older)
        done()


@write_path(two_images)
def fetch(directory: Path, done: Done) -> None:
    """As the fetcher does it: through a spool file."""
    with Store.open(directory) as store:
        with store.spool.file(URL, waiting=lambda: None) as spool:
            spool.write(SECOND)
            spool.flush()
            admit = _signed(datetime.now(UTC))
            store.add(spool, admit=lambda _id, _manifest: admit, remote=_remote(2), latest=_refuse_older)
        done()


def half_fetched(directory: Path) -> None:
    """A fetch broke off; what had come is kept."""
    two_images(directory)
    with Store.open(directory) as store, _spooled(store) as spool:
        spool.begin({"etag": "1"})
        spool.write(SECOND[: len(SECOND) // 2])
        spool.keep = True


@write_path(half_fetched)
def fetch_resumed(directory: Path, done: Done) -> None:
    """As the fetcher does it: goes on where the last one ended, or begins anew where it can't."""
    with Store.open(directory) as store:
        with _spooled(store) as spool:
            spool.keep = True
            if spool.note is None:
                spool.begin({"etag": "1"})
            spool.write(SECOND[spool.size :])
            spool.flush()
            admit = _signed(datetime.now(UTC))
            store.add(spool, admit=lambda _id, _manifest: admit, remote=_remote(2), latest=_refuse_older)
            spool.keep = False
        done()


def _spooled(store: Store) -> AbstractContextManager[SpoolFile]:
    return store.spool.file(URL, waiting=lambda: None, resume=True)


@write_path(two_images)
def record_fetch(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.record_fetch(_get(store, "example.com/app"), remote=_remote(2), latest=_refuse_older)
        done()


@write_path(two_images, notes=True)
def touch(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.touch(_get(store, "example.com/app"))
        done()


@write_path(two_images, notes=True)
def export(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        out = io.BytesIO()
        store.export(_get(store, "example.com/app"), out)
        assert out.getvalue() == FIRST
        done()


@write_path(two_images)
def remove(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.remove([_get(store, "example.com/app")])
        done()


@write_path(dependent_images)
def remove_several_by_force(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.remove([_get(store, "example.com/base"), _get(store, "example.com/app")], force=True)
        done()


@write_path(images_of_several_ages)
def collect_by_age(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.collect(grace_period=timedelta(days=40))
        done()


@write_path(a_sparse_pack)
def compact(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.collect(grace_period=timedelta(days=999))
        done()


@write_path(leftovers)
def collect_leftovers(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.collect(grace_period=timedelta(days=999))
        done()


@write_path(two_images)
def pin(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.pin(_get(store, "example.com/app"))
        done()


# --- repairs


def a_lost_index(directory: Path) -> None:
    images_of_several_ages(directory)
    for path in directory.glob("acistore.db*"):
        path.unlink()


def a_damaged_index(directory: Path) -> None:
    """A row that the packs contradict, in a database that can be read."""
    images_of_several_ages(directory)
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE blob SET offset = offset + 1 WHERE size = 3000")


def a_damaged_body(directory: Path) -> None:
    """One that two images share."""
    two_images(directory)
    _flip(directory, SHARED["lib/shared"])


def a_damaged_record(directory: Path) -> None:
    """What a pack says of its image is wrong; the index knows it better."""
    two_images(directory)
    _flip(directory, b'"unverified"')


def _flip(directory: Path, content: bytes) -> None:
    for pack in (directory / "packs").iterdir():
        data = pack.read_bytes()
        if content in data:
            pack.write_bytes(data.replace(content, bytes([content[0] ^ 1]) + content[1:]))
            return


@write_path(a_lost_index, repairs=True)
def rebuild_lost_index(directory: Path, done: Done) -> None:
    Store.rebuild(directory)
    done()


@write_path(a_damaged_index, repairs=True)
def rebuild_damaged_index(directory: Path, done: Done) -> None:
    Store.rebuild(directory)
    done()


@write_path(a_damaged_body, repairs=True)
def heal(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        damaged = [each.pack for each in store.verify().damaged if each.pack]
        store.heal(_get(store, "example.com/base"), io.BytesIO(BASE))
        store.rewrite(damaged)
        done()


@write_path(a_damaged_record, repairs=True)
def rewrite(directory: Path, done: Done) -> None:
    with Store.open(directory) as store:
        store.rewrite([each.pack for each in store.verify().damaged if each.pack])
        done()


# --- stores of older schema revisions


def an_unfinished_store(directory: Path) -> None:
    """A store in which migrations were begun, and none has ended: every one of them is to be run."""
    Store.open(directory).close()
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not name.startswith("sqlite_"):
                database.execute(f"DROP TABLE {name}")
        database.execute(str(CreateTable(schema.version)))


def unpack(archive: Path, directory: Path) -> None:
    """The store of an older revision, as its fixture has it."""
    with tarfile.open(archive) as packed:
        packed.extractall(directory.parent, filter="data")


def _register_upgrades() -> None:
    PATHS["upgrade-unfinished"] = WritePath("upgrade-unfinished", an_unfinished_store, open_store, upgrades=True)
    for archive in sorted(REVISIONS.glob("*.tar.xz")):
        revision = archive.name.removesuffix(".tar.xz")
        if revision != schema.REVISION:
            name = f"upgrade-{revision}"
            PATHS[name] = WritePath(name, partial(unpack, archive), open_store, upgrades=True)


_register_upgrades()


# --- jobs that are wrong on purpose: fault injection that doesn't find them out is no use


def an_unsafe_move(directory: Path, done: Done) -> None:
    """Takes away, for a moment, a pack that is referred to."""
    with Store.open(directory):
        [pack, *_] = (directory / "packs").iterdir()
        pack.rename(directory / "tmp" / "moved")
        (directory / "tmp" / "moved").rename(pack)
        done()


def an_early_success(directory: Path, done: Done) -> None:
    """Says that it succeeded before it has."""
    with Store.open(directory) as store:
        done()
        store.remove([_get(store, "example.com/app")])


def a_bare_error(directory: Path, done: Done) -> None:
    """Lets an error of the operating system through as it is."""
    with Store.open(directory):
        (directory / "tmp" / "made").touch()
        (directory / "tmp" / "made").unlink()
        done()


def a_swallowed_error(directory: Path, done: Done) -> None:
    """Says that it succeeded when it failed."""
    with Store.open(directory) as store:
        with suppress(AcistoreError):
            store.remove([_get(store, "example.com/app")])
        done()


UNSAFE = {
    job.__name__.replace("_", "-"): WritePath(job.__name__.replace("_", "-"), two_images, job)
    for job in (an_unsafe_move, an_early_success, a_bare_error, a_swallowed_error)
}
