"""What was last admitted as latest is still known when the database was made again."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.naming import ImageName
from acistore.store import Admission, Store, always
from tests.images import image
from tests.store.conftest import WHEN, add, admissions
from tests.store.damaging import damage_sequence, lose_database, the_pack_with
from tests.store.versions import NAME, fetch, versions


def newest_version(directory: Path, name: str = "example.com/app") -> str | None:
    """The version that was last admitted as latest, in a store that is sound."""
    with Store.open(directory) as store:
        assert store.verify().damaged == ()
        newest = store.newest(ImageName.parse(name))
        return None if newest is None else newest.version


@pytest.fixture
def versioned(directory: Path) -> Path:
    """A store in which three versions were fetched as latest, one after another, and only the first is left. The
    packs of the others are there still."""
    with Store.open(directory) as store:
        for number, archive in enumerate(versions(1, 2, 3)):
            fetch(store, archive, by=admissions("ab" * 20, at=WHEN + timedelta(hours=number)))
        store.remove([each for each in store.list() if each.labels["version"] != "1"])
    return directory


def test_what_was_the_latest_is_taken_over_though_nothing_else_tells_of_it(versioned: Path) -> None:
    with Store.open(versioned) as store:
        before = store.newest(NAME)
        assert store.collect(grace_period=timedelta(days=99999)).packs == 2
    damage_sequence(versioned)
    assert Store.rebuild(versioned).removed_known
    with Store.open(versioned) as store:
        assert store.newest(NAME) == before
        assert before
        assert before.version == "3"
        assert [each.labels["version"] for each in store.list()] == ["1"]


@pytest.mark.parametrize("change", ["admitted_at = 0", "version = '9'", "checksum = zeroblob(8)", "labels = '{'"])
def test_where_its_row_is_damaged_the_packs_tell_what_was_the_latest(versioned: Path, change: str) -> None:
    with closing(sqlite3.connect(versioned / "acistore.db")) as database, database:
        assert database.execute(f"UPDATE newest SET {change}").rowcount == 1
    Store.rebuild(versioned)
    assert newest_version(versioned) == "3"


def test_without_a_database_the_latest_is_what_was_let_in_last_by_the_packs(versioned: Path) -> None:
    with Store.open(versioned) as store:
        before = store.newest(NAME)
        fetch(store, versions(7)[0], rule=None, by=admissions("ab" * 20, at=WHEN + timedelta(days=7)))
        fetch(store, versions(8)[0], by=[Admission("unverified", WHEN + timedelta(days=8))])
        fetch(store, versions(9, os="linux")[0], by=[Admission("unsigned", WHEN)])
    lose_database(versioned)
    Store.rebuild(versioned)
    with Store.open(versioned) as store:
        assert store.newest(NAME) == before
    assert newest_version(versioned, "example.com/app,os=linux") == "9"


def test_an_older_image_that_was_let_in_again_by_its_version_is_not_the_latest_by_that(versioned: Path) -> None:
    """Its pack says that it was the latest; the old database knows better."""
    with Store.open(versioned) as store:
        fetch(store, versions(1)[0], rule=None, by=admissions("cd" * 20, at=WHEN + timedelta(days=7)))
    with closing(sqlite3.connect(versioned / "acistore.db")) as database, database:
        database.execute("DELETE FROM newest")
    damage_sequence(versioned)
    Store.rebuild(versioned)
    assert newest_version(versioned) == "3"


def test_what_became_the_latest_after_its_pack_was_written_is_known_by_the_old_database(directory: Path) -> None:
    with Store.open(directory) as store:
        fetch(store, versions(1)[0])
        store.record_fetch(fetch(store, versions(2)[0], rule=None), latest=always)
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("DROP TABLE newest")
    Store.rebuild(directory)
    assert newest_version(directory) == "2"


def test_an_image_of_which_bodies_are_lost_counts_as_well(versioned: Path) -> None:
    with Store.open(versioned) as store:
        fetch(store, versions(4)[0], by=admissions("ab" * 20, at=WHEN + timedelta(days=1)))
        # Its own body comes to lie in another pack, which is lost.
        add(store, image("example.com/other", {"n": b"5"}))
        fetch(store, versions(5)[0], by=admissions("ab" * 20, at=WHEN + timedelta(days=2)))
    the_pack_with(versioned, b"example.com/other").unlink()
    lose_database(versioned)
    [lost] = Store.rebuild(versioned).incomplete
    assert lost.name.version == "5"
    assert newest_version(versioned) == "5"
