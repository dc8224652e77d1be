"""Damage is found wherever it is, and reported by image and path."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from acistore.errors import AcistoreError, StoreDamaged
from acistore.store import Store
from tests.images import image
from tests.store.conftest import add, exported
from tests.store.damaging import flip

FILES = {"etc/os-release": b"NAME=x\n" * 500, "big": os.urandom(200_000), "small": b"s"}


def the_pack(directory: Path) -> Path:
    [pack] = (directory / "packs").iterdir()
    pack.chmod(0o644)
    return pack


def test_a_sound_store_is_clean(store: Store) -> None:
    stored = add(store, image(files=FILES))
    report = store.verify()
    assert (report.ok, report.images_checked, report.bytes_checked) == (True, 1, stored.size)


def test_a_damaged_body_is_reported_by_image_and_path(store: Store, directory: Path) -> None:
    one = add(store, image("example.com/one", FILES))
    two = add(store, image("example.com/two", {"copy": FILES["etc/os-release"]}))
    sound = add(store, image("example.com/sound", {"other": b"o"}))
    [pack] = [path for path in (directory / "packs").iterdir() if b"NAME=x" in path.read_bytes()]
    flip(pack, pack.read_bytes().index(b"NAME=x") + 100)
    report = store.verify()
    assert {(each.image.name, each.path) for each in report.damaged if each.image} == {
        ("example.com/one", "/etc/os-release"),
        ("example.com/two", "/copy"),
    }
    assert store.verify([sound]).ok
    assert not store.verify([two]).ok
    with pytest.raises(StoreDamaged, match=str(one.id)):
        exported(store, one)


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_a_truncated_pack_is_damage_not_a_crash(store: Store, directory: Path, keep: int) -> None:
    stored = add(store, image(files=FILES))
    pack = the_pack(directory)
    with pack.open("r+b") as file:
        file.truncate(keep % pack.stat().st_size)
    report = store.verify()
    assert not report.ok
    if keep >= 0:
        assert stored.id in {each.image.id for each in report.damaged if each.image}


def test_a_missing_pack_is_damage_of_its_images(store: Store, directory: Path) -> None:
    stored = add(store, image(files=FILES))
    the_pack(directory).unlink()
    assert any(each.image and each.image.id == stored.id for each in store.verify().damaged)
    with pytest.raises(StoreDamaged, match="missing"):
        exported(store, stored)


def test_a_row_that_points_elsewhere_is_noticed(store: Store, directory: Path) -> None:
    add(store, image(files=FILES))
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE blob SET offset = offset + 1 WHERE size = 3500")
    assert [each.path for each in store.verify().damaged if each.image] == ["/etc/os-release"]


def test_a_database_that_is_no_database_is_damage(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, image(files=FILES))
    (directory / "acistore.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreDamaged, match=r"acistore\.db"), Store.open(directory) as store:
        store.list()


def test_a_missing_database_is_damage_not_a_new_store(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, image(files=FILES))
    for path in directory.glob("acistore.db*"):
        path.unlink()
    with pytest.raises(StoreDamaged, match="missing"):
        Store.open(directory)
    assert not (directory / "acistore.db").exists()


def test_random_damage_to_the_database_never_gives_wrong_bytes(directory: Path, tmp_path: Path) -> None:
    archive = image(files=FILES)
    with Store.open(directory) as store:
        stored = add(store, archive)
    sound = (directory / "acistore.db").read_bytes()
    chance = random.Random(3)
    for _round in range(25):
        damaged = bytearray(sound)
        for _flip in range(20):
            damaged[chance.randrange(100, len(damaged))] ^= 1 << chance.randrange(8)
        for path in directory.glob("acistore.db-*"):
            path.unlink()
        (directory / "acistore.db").write_bytes(damaged)
        try:
            with Store.open(directory) as store:
                assert exported(store, store.get(stored.id)) == archive
        except AcistoreError:
            pass


def test_labels_that_are_no_text_are_damage_not_a_crash(store: Store, directory: Path) -> None:
    add(store, image(files=FILES, labels={"os": "linux"}))
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE label SET value = CAST(value AS BLOB)")
    with pytest.raises(StoreDamaged, match="can't be"):
        store.verify()
