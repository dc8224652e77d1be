"""No flipped bit goes unnoticed: packs are covered by digests, the database by comparison and checksums.

The database holds bytes that mean nothing (free pages, the room behind rows). A bit that flips there is harmless
if the store says the same as before, and can be written to as before.
"""

import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acistore.errors import StoreDamaged, StoreTooNew
from acistore.naming import ImageName
from acistore.store import Admission, Store, always
from acistore.store.export import export
from acistore.store.records import Remote
from tests.images import image
from tests.store.conftest import add
from tests.store.damaging import flip, lose_database

SHARED = b"shared" * 20
CREATED = {"name": "created", "value": "2024-02-28T23:59:59.5-01:00"}
APP = image(
    "example.com/app",
    {"etc/own": b"own" * 200, "shared": SHARED},
    labels={"version": "1.0", "os": "linux"},
    annotations=[CREATED],
)
BASE = image("example.com/base", {"shared": SHARED, "empty": b"", "x y": b"q"}, labels={"version": "2"})
TOP = image("example.com/top", {"t": b"t"}, dependencies=[{"imageName": "example.com/base"}])
ANOTHER = image("example.com/another", {"another": b"a", "shared": SHARED}, labels={"version": "3"})
NAMES = {"example.com/app", "example.com/base", "example.com/top"}
WHEN = datetime(2024, 2, 29, 12, tzinfo=UTC)
FOR_EVER = timedelta(days=36500)


def put(store: Store, archive: bytes, url: str, *, latest: bool = False) -> None:
    signers = ("openpgp", "ab" * 20, "cd" * 20), ("ssh", "ef" * 32, "ef" * 32)
    admissions = [
        Admission("verified", WHEN, *who, "R <r@example.com>", "root", bytes(64), WHEN, WHEN, url, ("tls",))
        for who in signers
    ]
    remote = Remote(
        url, "example.com/app", url + ".asc", '"tag"', "Thu, 29 Feb 2024", 60, WHEN, place=url + "/1.0?"
    )
    rule = always if latest else None
    store.add(io.BytesIO(archive), admit=lambda _id, _manifest: admissions, remote=remote, latest=rule)


def fill(directory: Path) -> None:
    with Store.open(directory) as store:
        put(store, APP, "https://example.com/app", latest=True)
        put(store, BASE, "https://example.com/base")
        gone = image("example.com/gone", {f"{n}": b"%d" % n for n in range(50)}, labels={"version": "3"})
        put(store, gone, "https://example.com/gone", latest=True)
        put(store, TOP, "https://example.com/top")
        store.pin(store.find(ImageName("example.com/base")))
        store.remove([store.find(ImageName("example.com/gone"))])
        store.collect(grace_period=FOR_EVER)
    # Small pages, so that flips hit all kinds of them, and some that are free.
    with closing(sqlite3.connect(directory / "acistore.db", isolation_level=None)) as database:
        for statement in (
            *("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512", "VACUUM"),
            *("CREATE TABLE passing (x)", "INSERT INTO passing VALUES (zeroblob(2000))", "DROP TABLE passing"),
        ):
            database.execute(statement)


def said_by(store: Store) -> list[object]:
    """All that a store says of its images."""
    said: list[object] = []
    for each in store.list():
        tar = io.BytesIO()
        export(each, tar, store._disk)
        said += [str(each), each.raw_manifest, tar.getvalue(), dict(each.labels), store.find(each.image_name).id]
        said += [store.admissions(each), store.remotes(each), store.file_count(each), store.unique_size(each)]
        said += [[str(found) for found in store.files(each)], store.matches(each.image_name)]
    said += [store.which(path) for path in ("/shared", "/etc/own", "/t")]
    said += [store.newest(ImageName(name)) for name in ("example.com/gone", "example.com/base")]
    said += [store.newest(ImageName.parse("example.com/app,os=linux")), store.all_admissions()]
    said += [store.images_admitted_by("ef" * 32), store.images_admitted_by("ef" * 32, "example.com")]
    said += [store.remote("https://example.com/app"), store.find(ImageName("example.com/app")).id]
    return [repr(each) for each in said]


def said_after_writing(store: Store) -> list[object]:
    """The same after an image has come and gone."""
    another = add(store, ANOTHER)
    store.pin(another)
    store.remove([another], force=True)
    return said_by(store)


@dataclass
class Sound:
    """A store without damage: its database, and what it says."""

    directory: Path
    database: bytes
    packs: frozenset[str]
    said: list[object]
    said_after: list[object]

    def outcome(self, database: bytes) -> str:
        """What becomes of this database in place of the sound one: `noticed`, or `harmless`."""
        self.restore(database)
        try:
            with Store.open(self.directory) as store:
                if not store.verify().ok:
                    return "noticed"
                assert said_by(store) == self.said
                assert said_after_writing(store) == self.said_after
                assert store.verify().damaged == ()
                return "harmless"
        except (StoreDamaged, StoreTooNew):
            return "noticed"

    def restore(self, database: bytes) -> None:
        lose_database(self.directory)
        (self.directory / "acistore.db").write_bytes(database)
        for name in {path.name for path in (self.directory / "packs").iterdir()} - self.packs:
            (self.directory / "packs" / name).unlink()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    directory = tmp_path_factory.mktemp("sound") / "store"
    fill(directory)
    with Store.open(directory) as store:
        assert store.verify().damaged == ()
        said = said_by(store)
    database = (directory / "acistore.db").read_bytes()
    packs = frozenset(path.name for path in (directory / "packs").iterdir())
    with Store.open(directory) as store:
        said_after = said_after_writing(store)
    return Sound(directory, database, packs, said, said_after)


# --- the database


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def zeroed(data: bytes, bit: int) -> bytes:
    start = bit // 8 // 512 * 512
    return data[:start] + bytes(512) + data[start + 512 :]


def cut_off(data: bytes, bit: int) -> bytes:
    return data[: bit // 8]


@pytest.mark.parametrize(
    ("damage", "rounds"), [(flipped, 50), (zeroed, 12), (cut_off, 6)], ids=["a bit", "a block", "the end"]
)
@pytest.mark.parametrize("seed", range(2))
def test_damage_to_the_database_is_noticed_or_means_nothing(
    sound: Sound, damage: Callable[[bytes, int], bytes], rounds: int, seed: int
) -> None:
    chance = random.Random(seed)
    for _round in range(rounds // 2):
        bit = chance.randrange(len(sound.database) * 8)
        sound.outcome(damage(sound.database, bit))


def test_some_damage_to_the_database_is_noticed_and_some_means_nothing(sound: Sound) -> None:
    assert sound.outcome(sound.database) == "harmless"
    text = sound.database.index(b"example.com/top")
    assert sound.outcome(flipped(sound.database, text * 8)) == "noticed"


# Each was found by flipping all bits of the header: with it SQLite still reads the database, and never writes it.
@pytest.mark.parametrize("bit", [0, 2, 7])
def test_a_header_that_forbids_writing_is_noticed(sound: Sound, bit: int) -> None:
    assert sound.outcome(flipped(sound.database, 18 * 8 + bit)) == "noticed"


STATEMENTS = (
    "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'image'",
    "DELETE FROM alembic_version",
    "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE alembic_version SET version_num = '0002'",
    "UPDATE alembic_version SET version_num = '0003'",
    "UPDATE alembic_version SET version_num = '0004'",
    "UPDATE alembic_version SET version_num = '0006'",
    "UPDATE image SET pinned = 1 - pinned",
    "UPDATE image SET latest = 1",
    "UPDATE image SET last_used_at = last_used_at + 1",
    "UPDATE image SET imported_at = 0",
    "UPDATE image SET size = size + 1",
    "UPDATE image SET name = 'example.com/apq' WHERE name = 'example.com/app'",
    "UPDATE image SET version = NULL",
    "UPDATE image SET version = '9' WHERE version IS NULL",
    "UPDATE image SET manifest = x'7b7d'",
    "UPDATE image SET skeleton_offset = skeleton_offset + 1",
    "UPDATE image SET skeleton_offset = 'x'",
    "UPDATE image SET skeleton_length = 1 << 62",
    "UPDATE image SET skeleton_digest = zeroblob(64)",
    "UPDATE image SET pack_id = (SELECT min(id) FROM pack)",
    "UPDATE label SET value = '1.1' WHERE value = '1.0'",
    "UPDATE label SET value = CAST(value AS BLOB) WHERE name = 'os'",
    "DELETE FROM label WHERE name = 'os'",
    "INSERT INTO label SELECT id, 'more', 'm' FROM image",
    "UPDATE dependency SET labels = '{'",
    "UPDATE dependency SET digest = zeroblob(64)",
    "DELETE FROM dependency",
    "UPDATE blob SET offset = offset + 1",
    "UPDATE blob SET offset = 'x'",
    "UPDATE blob SET size = size + 1",
    "UPDATE blob SET encoding = 'plaio'",
    "UPDATE blob SET digest = zeroblob(64) WHERE id = (SELECT min(id) FROM blob)",
    "UPDATE path SET text = text || x'61'",
    "INSERT INTO path (text) VALUES (x'61')",
    "UPDATE file SET blob_id = NULL",
    "DELETE FROM file WHERE blob_id IS NULL",
    "UPDATE pack SET size = size + 1",
    "UPDATE pack SET dead_size = dead_size + 1",
    "UPDATE pack SET name = '../' || name",
    "UPDATE pack SET name = CAST(name AS BLOB)",
    "UPDATE remote SET etag = NULL",
    "UPDATE remote SET place = 'https://example.net/'",
    "UPDATE remote SET max_age = 'x'",
    "UPDATE remote SET signature_etag = 'x'",
    "UPDATE remote SET signature_last_modified = 'x'",
    "UPDATE remote SET url = url || 'x'",
    "UPDATE remote SET image_id = (SELECT min(id) FROM image)",
    "UPDATE admission SET verdict = 'unverified'",
    "UPDATE admission SET image_id = (SELECT min(id) FROM image)",
    "UPDATE admission SET signed_at = NULL",
    "UPDATE admission SET insecure = ''",
    "UPDATE admission SET insecure = 7",
    "UPDATE admission SET scheme = 'ssh'",
    "UPDATE newest SET name = name || 'x'",
    "UPDATE newest SET labels = '{}'",
    "UPDATE newest SET labels = '{'",
    "UPDATE newest SET labels = CAST(labels AS BLOB)",
    "UPDATE newest SET digest = zeroblob(64)",
    "UPDATE newest SET digest = 'x'",
    "UPDATE newest SET version = '0.9'",
    "UPDATE newest SET version = NULL",
    "UPDATE newest SET created = created - 1",
    "UPDATE newest SET created = NULL",
    "UPDATE newest SET created = 'x'",
    "UPDATE newest SET created = 1 << 62",
    "UPDATE newest SET admitted_at = admitted_at + 1",
    "UPDATE newest SET admitted_at = x'00'",
    "UPDATE newest SET checksum = zeroblob(8)",
    "DROP TABLE newest",
    "DROP INDEX ix_image_latest",
    "CREATE INDEX more ON image (size)",
    "CREATE TABLE more (x)",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_row_that_was_changed_behind_the_stores_back_is_noticed(sound: Sound, statement: str) -> None:
    sound.restore(sound.database)
    with closing(sqlite3.connect(sound.directory / "acistore.db")) as database, database:
        database.execute(statement)
    with suppress(StoreDamaged, StoreTooNew), Store.open(sound.directory) as store:
        assert not store.verify().ok


KILLED = """
import io, os, signal, sys
from pathlib import Path
from acistore.store import Store
with Store.open(sys.argv[1]) as store:
    store.add(io.BytesIO(Path(sys.argv[2]).read_bytes()))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_log_with_a_flipped_bit_loses_what_was_committed_last_and_nothing_else(
    sound: Sound, tmp_path: Path
) -> None:
    """SQLite takes a log as far as its checksums are right. What is lost by that is an image whose pack is still
    there: nothing in the database tells of it."""
    shutil.copytree(sound.directory, tmp_path / "store")
    lose_database(tmp_path / "store")
    (tmp_path / "store" / "acistore.db").write_bytes(sound.database)
    (tmp_path / "another").write_bytes(ANOTHER)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "store", tmp_path / "another"], check=False)
    assert done.returncode == -signal.SIGKILL
    log = tmp_path / "store" / "acistore.db-wal"
    size = log.stat().st_size
    assert size > 1000
    for position in random.Random(3).sample(range(size), 12):
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
        flip(tmp_path / "copy" / "acistore.db-wal", position)
        with Store.open(tmp_path / "copy") as store:
            assert store.verify().damaged == ()
            assert {each.name for each in store.list()} >= NAMES
        shutil.rmtree(tmp_path / "copy")


# --- packs


@pytest.fixture
def pack(store: Store, directory: Path) -> Path:
    """A pack with a body that is aligned, and so with padding."""
    add(store, image(files={"etc/os-release": b"NAME=x\n", "big": os.urandom(70_000)}))
    [pack] = (directory / "packs").iterdir()
    return pack


def problems(store: Store, pack: Path) -> list[str]:
    with store._disk.packs.open(pack.name) as reader:
        return list(reader.problems(lambda _count: None))


def test_a_flipped_bit_in_any_byte_of_a_small_pack_is_noticed(store: Store, directory: Path) -> None:
    add(store, image(files={"a": b"abc"}))
    [small] = (directory / "packs").iterdir()
    for position in range(small.stat().st_size):
        mask = 1 << position % 8
        flip(small, position, mask)
        assert problems(store, small), position
        flip(small, position, mask)
    assert not problems(store, small)


def test_a_flipped_bit_anywhere_in_a_large_pack_is_noticed(store: Store, pack: Path) -> None:
    size, chance = pack.stat().st_size, random.Random(7)
    for position in [*chance.sample(range(4096), 100), *chance.sample(range(size), 200)]:
        mask = 1 << chance.randrange(8)
        flip(pack, position, mask)
        assert problems(store, pack), position
        flip(pack, position, mask)
    assert not problems(store, pack)


def test_zeroed_blocks_of_a_pack_are_noticed(store: Store, pack: Path) -> None:
    whole = pack.read_bytes()
    for start in range(0, len(whole), 4096):
        block = whole[start : start + 4096]
        pack.write_bytes(whole[:start] + bytes(len(block)) + whole[start + 4096 :])
        assert not store.verify().ok, start
    pack.write_bytes(whole)
    assert store.verify().ok


def test_a_pack_that_is_longer_or_shorter_is_noticed(store: Store, pack: Path) -> None:
    whole = pack.read_bytes()
    for content in (whole + b"\0", whole[:-1], whole + whole, whole[1:], b""):
        pack.write_bytes(content)
        assert not store.verify().ok


def test_packs_that_were_swapped_are_noticed_and_so_are_their_images(store: Store, pack: Path) -> None:
    other = add(store, image("example.com/other", {"other": b"other"}))
    [second] = [path for path in pack.parent.iterdir() if path != pack]
    pack.rename(pack.with_suffix(".aside"))
    second.rename(pack)
    pack.with_suffix(".aside").rename(second)
    damaged = store.verify().damaged
    assert {each.image.name for each in damaged if each.image} == {"example.com/app", "example.com/other"}
    assert not store.verify([other]).ok


def test_a_pack_in_place_of_another_is_noticed_although_it_is_sound_itself(store: Store, pack: Path) -> None:
    add(store, image("example.com/other", {"other": b"other"}))
    [second] = [path for path in pack.parent.iterdir() if path != pack]
    pack.write_bytes(second.read_bytes())
    assert not problems(store, pack)
    damaged = store.verify().damaged
    assert {each.image.name for each in damaged if each.image} == {"example.com/app"}
    assert {each.path for each in damaged if each.image} == {"manifest", "/big", "/etc/os-release"}
