"""A lost or damaged database is made again from the packs, whoever put these there."""

import io
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from acistore.errors import AcistoreError
from acistore.naming import ImageName
from acistore.store import Admission, Store, always
from acistore.store.packfile import BODY, MANIFEST, PLAIN, RECORD, SKELETON, ZSTD, PackReader, PackWriter
from acistore.store.records import Remote
from tests.images import image
from tests.store.conftest import WHEN, add, exported
from tests.store.damaging import damage_sequence, flip, lose_database, rot, the_pack_with

OWN, SHARED = b"app's own\n" * 900, b"shared with others\n" * 100
CREATED = {"name": "created", "value": "2024-02-28T12:00:00.123456Z"}
APP = image(
    "example.com/app", {"etc/own": OWN, "etc/shared": SHARED}, labels={"version": "1.0"}, annotations=[CREATED]
)
BASE = image("example.com/base", {"etc/base": b"base's own\n" * 300, "also/shared": SHARED})
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def filled(directory: Path) -> Path:
    """A store with two images that share a body, and in which a third was; one is pinned, one is the latest."""
    with Store.open(directory) as store:
        app = store.add(
            io.BytesIO(APP),
            admit=lambda _id, _manifest: [
                Admission("verified", WHEN, fingerprint=each * 20, rule="example.com", insecure=("http", "tls"))
                for each in ("cd", "ab")
            ],
            remote=Remote(
                *("https://example.com/app", None, None, '"tag"', None, 60, WHEN, 'W/"signature"', "a date"),
                *("https://cdn.example.net/app?", "https://cdn.example.net/app.asc"),
            ),
            latest=always,
        )
        store.pin(app)
        gone = add(store, image("example.com/gone", {"etc/gone": b"gone"}))
        add(store, BASE)
        store.touch(app)
        store.remove([gone])
    return directory


def told(directory: Path) -> dict[str, list[str]]:
    """All that a store says of its images, which are sound."""
    with Store.open(directory) as store:
        assert store.verify().damaged == ()
        return {
            each.name: [
                *(str(each), str(store.newest(each.image_name))),
                *map(str, [*store.admissions(each), *store.remotes(each)]),
            ]
            for each in store.list()
        }


def tars(directory: Path) -> dict[str, bytes]:
    with Store.open(directory) as store:
        return {each.name: exported(store, each) for each in store.list()}


# --- what becomes of a database


def test_what_packs_do_not_tell_is_taken_over_from_the_old_database(filled: Path) -> None:
    before = told(filled)
    damage_sequence(filled)
    rebuilt = Store.rebuild(filled)
    assert (rebuilt.images, rebuilt.incomplete, rebuilt.unreadable) == (2, (), ())
    assert (rebuilt.state_known, rebuilt.removed_known) == (True, True)
    assert told(filled) == before
    assert rebuilt.aside
    assert Path(rebuilt.aside).stat().st_size > 0


@pytest.mark.parametrize("content", [None, b"", b"no database " * 1000], ids=["gone", "empty", "garbage"])
def test_without_a_database_all_is_as_the_packs_tell(filled: Path, content: bytes | None) -> None:
    before = told(filled)
    lose_database(filled)
    if content is not None:
        (filled / "acistore.db").write_bytes(content)
    rebuilt = Store.rebuild(filled)
    assert (rebuilt.images, rebuilt.state_known, rebuilt.removed_known) == (3, False, False)
    assert bool(rebuilt.aside) == (content is not None)
    assert told(filled)["example.com/app"][1:] == before["example.com/app"][1:]
    with Store.open(filled) as store:
        app = store.find(ImageName("example.com/app"))
    assert (app.imported_at, app.latest, app.pinned) == (WHEN, True, False)
    assert tars(filled) == tars(filled) | {"example.com/app": APP, "example.com/base": BASE}


def test_random_damage_to_the_database_costs_no_image(filled: Path) -> None:
    sound, chance = (filled / "acistore.db").read_bytes(), random.Random(5)
    for _round in range(6):
        damaged = bytearray(sound)
        for _flip in range(chance.choice([1, 30])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        lose_database(filled)
        (filled / "acistore.db").write_bytes(damaged)
        Store.rebuild(filled)
        assert tars(filled) == tars(filled) | {"example.com/app": APP, "example.com/base": BASE}
        assert told(filled)


def test_a_database_that_was_put_aside_long_ago_is_not_asked(filled: Path) -> None:
    damage_sequence(filled)
    Store.rebuild(filled)
    with Store.open(filled) as store:
        add(store, image("example.com/newer", {"n": b"n"}))
    (filled / "acistore.db").unlink()
    Store.rebuild(filled)
    assert "example.com/newer" in told(filled)


def test_an_image_that_was_removed_stays_away_while_the_old_database_says_so(filled: Path) -> None:
    damage_sequence(filled)
    Store.rebuild(filled)
    assert told(filled).keys() == {"example.com/app", "example.com/base"}
    with closing(sqlite3.connect(filled / "acistore.db")) as database, database:
        database.execute("UPDATE image SET pinned = 1 - pinned WHERE name = 'example.com/base'")
    rebuilt = Store.rebuild(filled)
    assert not rebuilt.removed_known
    assert told(filled).keys() == {"example.com/app", "example.com/base", "example.com/gone"}


def test_a_compacted_store_can_be_made_again(filled: Path) -> None:
    with Store.open(filled) as store:
        store.remove([store.list()[1]], force=True)
        assert store.collect().compacted == 1
    before = tars(filled)
    lose_database(filled)
    assert Store.rebuild(filled).images == 1
    assert tars(filled) == before


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_of_a_body_in_two_packs_the_sound_one_is_taken(filled: Path, order: int) -> None:
    pack = rot(filled, SHARED)
    with Store.open(filled) as store:
        store.heal(store.list()[0], io.BytesIO(BASE))  # the damaged pack is still needed, and stays
    pack.rename(pack.with_name({1: "0", -1: "z"}[order] + pack.name[1:]))
    lose_database(filled)
    Store.rebuild(filled)
    assert tars(filled) == tars(filled) | {"example.com/app": APP, "example.com/base": BASE}


KILLED = """
import os, signal, sys
from acistore.store import Store
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if event in ("os.rename", "os.link"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
import acistore.store.rebuild, acistore.archive.tar, sqlalchemy.dialects.sqlite
sys.addaudithook(count)
Store.rebuild(sys.argv[1])
"""


def test_a_rebuild_that_is_killed_at_any_change_of_names_can_be_done_again(filled: Path, tmp_path: Path) -> None:
    before = told(filled)
    damage_sequence(filled)
    for step in range(20):
        shutil.copytree(filled, tmp_path / "copy")
        done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "copy", str(step)], check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        Store.rebuild(tmp_path / "copy")
        assert told(tmp_path / "copy") == before, step
        with Store.open(tmp_path / "copy") as store:
            store.collect()
            assert not [*(tmp_path / "copy" / "tmp").iterdir()]
        shutil.rmtree(tmp_path / "copy")
        if done.returncode == 0:
            break
    assert 2 <= step < 19


# --- packs that somebody has planted


def plant(
    directory: Path,
    archive_of: str,
    change: Change,
    *,
    pack: str = "planted.pack",
    parts: Mapping[str, bytes] | None = None,
) -> None:
    """A pack with the parts of an image that the store has, of which some are others, and its record changed."""
    [source] = [
        path
        for path in (directory / "packs").glob("*.pack")
        if f'"name": "{archive_of}"'.encode() in path.read_bytes()
    ]
    with source.open("rb") as file:
        reader = PackReader(file, source.name)
        found = {each.kind: reader.checked(each) for each in reader.contents()}
    others = parts or {}
    record = json.loads(found[RECORD])
    changed = change(record)
    text = changed if isinstance(changed, bytes) else json.dumps(record).encode()
    with (directory / "packs" / pack).open("wb") as file:
        writer = PackWriter(file)
        writer.append(SKELETON, ZSTD, [others.get("skeleton", found[SKELETON])])
        writer.append(MANIFEST, PLAIN, [others.get("manifest", found[MANIFEST])])
        writer.append(RECORD, PLAIN, [text])
        writer.finish()


NONSENSE: dict[str, Change] = {
    "no JSON": lambda record: b"{",
    "no object": lambda record: b"[]",
    "null": lambda record: b"null",
    "deep": lambda record: b"[" * 100_000,
    "no text": lambda record: b"\xff\xfe",
    "id": lambda record: record.update(id=7),
    "id of another kind": lambda record: record.update(id="sha256-00"),
    "size": lambda record: record.update(size="large"),
    "huge size": lambda record: record.update(size=1 << 80),
    "endless size": lambda record: record.update(size=float("inf")),
    "wrong size": lambda record: record.update(size=record["size"] + 512),
    "admissions": lambda record: record.update(admissions={}),
    "no admissions": lambda record: record.update(admissions=[]),
    "verdict": lambda record: record["admissions"][1].update(verdict={"a": 1}),
    "half a character": lambda record: record["admissions"][0].update(url="\udc00"),
    "no time": lambda record: record["admissions"][0].update(admitted_at=None),
    "time without a zone": lambda record: record["admissions"][0].update(admitted_at="2024-02-29T12:00:00"),
    "end of time": lambda record: record["admissions"][0].update(admitted_at="9999-12-31T23:59:59.999999Z"),
    "time as a number": lambda record: record["admissions"][0].update(admitted_at=3),
    "insecure": lambda record: record["admissions"][0].update(insecure=[1]),
    "remote": lambda record: record.update(remote={"url": None}),
    "max age": lambda record: record["remote"].update(max_age="60"),
    "huge max age": lambda record: record["remote"].update(max_age=1 << 64),
    "nothing": lambda record: record.clear(),
}


def test_records_that_make_no_sense_are_passed_over(filled: Path, tmp_path: Path) -> None:
    before = tars(filled)
    for what, change in NONSENSE.items():
        plant(filled, "example.com/app", change, pack=f"{what}.planted")
    for planted in (filled / "packs").glob("*.planted"):
        planted.rename(planted.with_suffix(".pack"))
    pack = the_pack_with(filled, OWN)
    pack.rename(tmp_path / "aside")
    lose_database(filled)
    # What was to be believed of the app, and what it shares with the base, is nowhere; the third needs neither.
    assert (Store.rebuild(filled).images, *tars(filled)) == (1, "example.com/gone")
    (tmp_path / "aside").rename(pack)
    lose_database(filled)
    Store.rebuild(filled)
    assert tars(filled) == tars(filled) | before
    assert told(filled)


def test_what_a_planted_pack_calls_another_image_does_not_take_its_place(filled: Path) -> None:
    with Store.open(filled) as store:
        app = store.list()[-1]
    plant(filled, "example.com/gone", lambda record: record.update(id=str(app.id)))
    for name in ("0.pack", "z.pack"):
        [planted] = [path for path in (filled / "packs").iterdir() if len(path.stem) < 30]
        planted.rename(filled / "packs" / name)
        lose_database(filled)
        Store.rebuild(filled)
        assert told(filled)
        assert tars(filled)["example.com/app"] == APP


def test_a_planted_image_under_an_id_that_is_not_its_own_is_damaged_and_nothing_else(filled: Path) -> None:
    plant(filled, "example.com/gone", lambda record: record.update(id="sha512-" + "ab" * 64))
    lose_database(filled)
    Store.rebuild(filled)
    with Store.open(filled) as store:
        assert {str(each.image.id) for each in store.verify().damaged if each.image} == {"sha512-" + "ab" * 64}
        assert exported(store, store.list()[-1]) in (APP, BASE)


@pytest.mark.parametrize("part", ["skeleton", "manifest"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x28\xb5\x2f\xfd" + bytes(50)], ids=["empty", "text", "zstd"])
def test_a_planted_part_that_is_none_is_passed_over(filled: Path, part: str, content: bytes) -> None:
    plant(filled, "example.com/app", lambda record: None, parts={part: content})
    lose_database(filled)
    Store.rebuild(filled)
    assert tars(filled)["example.com/app"] == APP
    assert told(filled)


def test_a_table_that_points_out_of_its_pack_is_passed_over(filled: Path) -> None:
    with (filled / "packs" / "planted.pack").open("wb") as file:
        writer = PackWriter(file)
        content = writer.append(BODY, PLAIN, [b"body"])
        object.__setattr__(content, "offset", (1 << 64) - 8)
        writer.finish()
    lose_database(filled)
    assert Store.rebuild(filled).unreadable == ("planted.pack",)
    assert tars(filled)["example.com/app"] == APP


def test_a_pack_that_can_not_be_read_is_named(filled: Path) -> None:
    pack = the_pack_with(filled, OWN)
    flip(pack, pack.stat().st_size - 100)
    lose_database(filled)
    rebuilt = Store.rebuild(filled)
    assert rebuilt.unreadable == (pack.name,)
    # The other one has lost the body that lay there.
    assert [each.name.name for each in rebuilt.incomplete] == ["example.com/base"]
    with pytest.raises(AcistoreError), Store.open(filled) as store:
        store.get("example.com/app")
