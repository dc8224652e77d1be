"""The disk, the directories and the locks that a store meets."""

import os
import signal
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.errors import StoreDamaged, StoreUnavailable
from acistore.store import Store
from acistore.store.sqlite import Database
from tests.images import image
from tests.store.conftest import add, files_in


def test_a_new_store_is_its_users_own(directory: Path) -> None:
    """Packs hold what only root may read in an image."""
    with Store.open(directory) as store:
        add(store, image(files={"etc/shadow": b"root:secret"}))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [(directory / name).stat().st_mode & 0o777 for name in ("spool", "tmp")] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["packs", "spool", "tmp"])
def test_nothing_is_written_through_a_linked_directory(directory: Path, tmp_path: Path, name: str) -> None:
    Store.open(directory).close()
    (directory / name).rmdir()
    (directory / name).symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        Store.open(directory)


def test_a_link_in_place_of_a_spool_file_is_not_followed(store: Store, directory: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with store.spool.file("https://example.com/a", waiting=lambda: None):
        [name] = files_in(directory)
    (directory / name).symlink_to(victim)
    with (
        pytest.raises(StoreUnavailable),
        store.spool.file("https://example.com/a", waiting=lambda: None) as spool,
    ):
        spool.write(b"attacker")
    assert victim.read_text() == "precious"


def test_pipes_and_links_among_the_files_hang_nothing(store: Store, directory: Path) -> None:
    add(store, image())
    for place in ("packs/x.pack", "tmp/x", "spool/x"):
        os.mkfifo(directory / place)
    (directory / "packs" / "y.pack").symlink_to("/dev/zero")
    assert store.collect(grace_period=timedelta(0)).packs == 1
    assert store.verify().ok


def test_a_locked_database_is_told_as_the_stores_trouble(store: Store, directory: Path) -> None:
    add(store, image())
    with closing(sqlite3.connect(directory / "acistore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database = Database(directory / "acistore.db", busy_timeout=0)
        with pytest.raises(StoreUnavailable, match="locked"), database.write():
            pass
        database.close()


def test_whoever_waits_for_a_locked_database_can_be_interrupted(store: Store, directory: Path) -> None:
    patience = 30.0

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    database = Database(directory / "acistore.db", busy_timeout=patience)
    try:
        with closing(sqlite3.connect(directory / "acistore.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt), database.write():
                pass
            assert time.monotonic() - start < patience
        with database.write():
            pass  # and it is as good as before
    finally:
        signal.signal(signal.SIGALRM, before)
        database.close()


def test_damage_met_in_the_middle_is_told_as_damage(store: Store, directory: Path) -> None:
    for number in range(40):
        add(store, image(f"example.com/n{number}"))
    store.close()
    with closing(sqlite3.connect(directory / "acistore.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = directory / "acistore.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(size - 4096 * 2))
    with pytest.raises(StoreDamaged), Store.open(directory) as damaged:
        damaged.list()


def test_a_directory_with_odd_characters_holds_its_own_database(tmp_path: Path) -> None:
    directory = tmp_path / "q?mode=memory#x%20"
    with Store.open(directory) as store:
        add(store, image())
    assert (directory / "acistore.db").exists()
    with Store.open(directory) as store:
        assert len(store.list()) == 1
