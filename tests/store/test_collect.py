"""Garbage collection: what goes, what stays, and that nothing referred to is lost."""

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.naming import ImageName
from acistore.store import Store, StoredImage
from tests.images import image
from tests.store.conftest import add, exported, files_in

NOTHING = timedelta(0)
DAY = timedelta(days=1)


def age(directory: Path, stored: StoredImage, days: int) -> None:
    """Lets an image have been used last that many days ago."""
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute(
            "UPDATE image SET last_used_at = last_used_at - ? WHERE id = ?", (days * 86_400_000_000, stored.key)
        )


def pin(directory: Path, stored: StoredImage) -> None:
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE image SET pinned = 1 WHERE id = ?", (stored.key,))


def names(store: Store) -> set[str]:
    return {each.name for each in store.list()}


def test_images_go_by_their_last_use(store: Store, directory: Path) -> None:
    old = add(store, image("example.com/old"))
    used = add(store, image("example.com/used"))
    add(store, image("example.com/new"))
    age(directory, old, 3)
    age(directory, used, 3)
    exported(store, used)
    collected = store.collect(grace_period=2 * DAY)
    assert [(gone.name, why) for gone, why in collected.images] == [("example.com/old", "last used 3 days ago")]
    assert names(store) == {"example.com/used", "example.com/new"}


def test_pinned_images_and_what_kept_ones_need_stay(store: Store, directory: Path) -> None:
    pin(directory, add(store, image("example.com/pinned")))
    base = add(store, image("example.com/base"))
    middle = add(store, image("example.com/middle", dependencies=[{"imageName": "example.com/base"}]))
    app = image(dependencies=[{"imageName": "example.com/middle", "imageID": str(middle.id)}])
    add(store, app)
    for each in (base, middle):
        age(directory, each, 9)
    store.collect(grace_period=DAY)
    assert names(store) == {"example.com/pinned", "example.com/base", "example.com/middle", "example.com/app"}
    store.collect(grace_period=NOTHING)
    assert names(store) == {"example.com/pinned"}


def test_keep_protects_the_newest_of_each_name(store: Store) -> None:
    for version in ("1", "2", "3"):
        add(store, image(labels={"version": version}))
    add(store, image("example.com/other"))
    store.collect(grace_period=NOTHING, keep=2)
    assert [str(each.image_name) for each in store.list()] == [
        "example.com/other",
        "example.com/app:3",
        "example.com/app:2",
    ]


def test_max_size_takes_the_least_recently_used_even_within_the_grace_period(
    store: Store, directory: Path
) -> None:
    for number in range(4):
        stored = add(store, image(f"example.com/n{number}", {"a": os.urandom(100_000)}))
        age(directory, stored, 4 - number)
    collected = store.collect(grace_period=99 * DAY, max_size=250_000)
    assert [gone.name for gone, _why in collected.images] == ["example.com/n0", "example.com/n1"]
    assert sum(path.stat().st_size for path in (directory / "packs").iterdir()) < 250_000


def test_a_dry_run_changes_nothing_and_says_what_would_go(store: Store, directory: Path) -> None:
    add(store, image(files={"a": os.urandom(1 << 20)}))
    before = files_in(directory)
    planned = store.collect(grace_period=NOTHING, dry_run=True)
    assert (len(planned.images), planned.blobs, planned.packs) == (1, 2, 1)
    assert files_in(directory) == before
    assert len(store.list()) == 1
    done = store.collect(grace_period=NOTHING)
    assert (done.images, done.blobs, done.packs) == (planned.images, planned.blobs, planned.packs)
    assert done.freed_size == planned.freed_size > 1 << 20
    assert files_in(directory) == []


def test_a_pack_mostly_dead_is_rewritten_without_loss(store: Store, directory: Path) -> None:
    big, shared = os.urandom(3 << 20), {f"s{n}": os.urandom(70_000) for n in range(10)}
    first = add(store, image("example.com/first", {"big": big, **shared}))
    archive = image("example.com/second", shared)
    second = add(store, archive)
    store.remove([first])
    collected = store.collect()
    assert (collected.compacted, collected.images) == (1, ())
    assert collected.freed_size >= len(big)
    assert exported(store, second) == archive
    assert store.verify().ok
    assert store.collect().compacted == 0


def test_small_packs_are_not_rewritten_for_ever(store: Store) -> None:
    add(store, image(files={f"f{n}": b"%d" % n for n in range(100)}))
    assert store.collect().compacted == 0


def test_left_over_files_go_and_fresh_downloads_stay(store: Store, directory: Path) -> None:
    (directory / "tmp" / "crashed").write_bytes(b"x" * 5000)
    (directory / "packs" / "unreferenced.pack").write_bytes(b"x" * 5000)
    (directory / "spool" / "fresh").write_bytes(b"x")
    old = directory / "spool" / "old"
    old.write_bytes(b"x")
    os.utime(old, (1, 1))
    store.collect()
    assert files_in(directory) == ["spool/fresh"]


def test_a_file_that_somebody_is_writing_stays(store: Store, directory: Path) -> None:
    with store.spool.file("https://example.com/a", waiting=lambda: None) as spool:
        spool.write(b"half")
        spool.flush()
        store.collect(grace_period=NOTHING)
        assert len(files_in(directory)) == 1
    assert files_in(directory) == []


def test_reading_survives_a_collection_in_the_middle(store: Store) -> None:
    archive = image(files={"a": os.urandom(3 << 20)})
    stored = add(store, archive)

    class CollectingWriter:
        written = b""

        def write(self, data: bytes) -> int:
            if not self.written:
                store.remove([stored])
                store.collect(grace_period=NOTHING)
            self.written += data
            return len(data)

    out = CollectingWriter()
    store.export(stored, out)  # type: ignore[arg-type]
    assert out.written == archive


def test_latest_survives_the_collection_of_its_siblings(store: Store, directory: Path) -> None:
    add(store, image(labels={"version": "1"}))
    latest = add(store, image(labels={"version": "2"}), latest=True)
    store.collect(grace_period=NOTHING, keep=1)
    assert store.find(ImageName.parse("example.com/app")).id == latest.id


@pytest.mark.parametrize("survivors", range(4))
def test_nothing_unreferenced_remains_whatever_goes(store: Store, directory: Path, survivors: int) -> None:
    bodies = [os.urandom(90_000) for _ in range(6)]
    archives = [image(f"example.com/n{n}", {str(k): bodies[k] for k in range(n, n + 3)}) for n in range(4)]
    stored = [add(store, archive) for archive in archives]
    store.remove(stored[survivors:])
    store.collect()
    for each, archive in zip(stored[:survivors], archives, strict=False):
        assert exported(store, each) == archive
    needed = set().union(*(range(n, n + 3) for n in range(survivors)), set())
    size = sum(path.stat().st_size for path in (directory / "packs").iterdir())
    assert size <= 2 * (len(needed) * 90_000 + survivors * 8192)
