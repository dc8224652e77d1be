"""Schema revisions: a new store, an older one, a newer one."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from acistore.errors import StoreDamaged, StoreTooNew
from acistore.naming import ImageName
from acistore.store import Store, migrate, schema
from acistore.store.workspace import Workspace
from tests.images import image
from tests.store.conftest import add, exported

NEXT = '''
"""A revision that only this test knows."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "next", "{head}"
branch_labels = depends_on = None
def upgrade() -> None:
    with op.batch_alter_table("image") as batch:
        batch.add_column(sa.Column("note", sa.String))
    op.execute("UPDATE image SET note = 'upgraded'")
    {last}
'''


def dump(database: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return sorted((kind, name, _words(sql or "")) for kind, name, sql in rows)


def _words(sql: str) -> str:
    """The words of a CREATE statement in a fixed order: that of its constraints means nothing."""
    return " ".join(
        sorted(sql.replace('"', "").replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split())
    )


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """The real migrations, and one that comes after them."""
    return Path(shutil.copytree(migrate.scripts(), tmp_path / "migrations"))


def test_the_migrations_make_the_same_schema_as_a_new_store(directory: Path, tmp_path: Path) -> None:
    Store.open(directory).close()
    migrated = Workspace(tmp_path / "migrated")
    migrated.create()
    migrate.upgrade(migrated)
    assert dump(migrated.database) == dump(directory / "acistore.db")


def test_the_schema_of_the_code_is_the_newest_revision() -> None:
    assert ScriptDirectory(str(migrate.scripts())).get_current_head() == schema.REVISION


def test_an_older_store_is_upgraded_after_a_copy_was_made(directory: Path, migrations: Path) -> None:
    archive = image(files={"a": b"a"})
    with Store.open(directory) as store:
        stored = add(store, archive)
    (migrations / "versions" / "next.py").write_text(NEXT.format(head=schema.REVISION, last=""))
    aside = migrate.upgrade(Workspace(directory), location=migrations)
    assert aside
    with closing(sqlite3.connect(directory / "acistore.db")) as database:
        assert database.execute("SELECT note FROM image").fetchall() == [("upgraded",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    with closing(sqlite3.connect(aside)) as database:
        assert database.execute("SELECT digest FROM image").fetchall() == [(stored.id.digest,)]
        assert "note" not in [row[1] for row in database.execute("PRAGMA table_info(image)")]


def test_a_failed_upgrade_leaves_the_store_as_it_was(directory: Path, migrations: Path) -> None:
    archive = image(files={"a": b"a"})
    with Store.open(directory) as store:
        add(store, archive)
    before = dump(directory / "acistore.db")
    broken = NEXT.format(head=schema.REVISION, last="raise OSError('the power went off')")
    (migrations / "versions" / "next.py").write_text(broken)
    with pytest.raises(OSError, match="power"):
        migrate.upgrade(Workspace(directory), location=migrations)
    assert dump(directory / "acistore.db") == before
    with Store.open(directory) as store:
        assert exported(store, store.list()[0]) == archive


def test_opening_upgrades_by_itself(directory: Path) -> None:
    """From the state before the first revision: a database in which nothing was made yet."""
    Store.open(directory).close()
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        for kind, name, _sql in dump(directory / "acistore.db"):
            if kind == "table" and not name.startswith("sqlite_"):
                database.execute(f"DROP TABLE {name}")
        database.execute(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    with Store.open(directory) as store:
        add(store, image())
        assert store.verify().ok
    assert list(directory.glob("acistore.db.before-*"))


REVISIONS = sorted((Path(__file__).parent / "revisions").glob("*.tar.xz"))


@pytest.mark.parametrize("archive", REVISIONS, ids=[path.name.partition(".")[0] for path in REVISIONS])
def test_a_store_of_each_earlier_revision_opens_upgrades_and_verifies(archive: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xJf", archive, "-C", tmp_path], check=True)
    held = json.loads(archive.with_name(archive.name.partition(".")[0] + ".json").read_text())
    with Store.open(tmp_path / "store") as store:
        images = store.list()
        assert [(str(each.id), each.name, dict(each.labels), each.size) for each in images] == [
            (each["id"], each["name"], each["labels"], each["size"]) for each in held
        ]
        for image_, known in zip(images, held, strict=True):
            assert (image_.pinned, image_.latest) == (known["pinned"], known["latest"])
            assert image_.imported_at.isoformat() == known["imported_at"]
            assert image_.last_used_at.isoformat() == known["last_used_at"]
            assert [each.url for each in store.remotes(image_)] == known["remotes"]
            assert [[each.verdict, each.fingerprint] for each in store.admissions(image_)] == known["admissions"]
        assert store.verify().damaged == ()
        for each in images:
            assert hashlib.sha512(exported(store, each)).digest() == each.id.digest
        add(store, image())
        store.collect()
        assert store.verify().damaged == ()


def unpacked(revision: str, directory: Path) -> Path:
    """The store of an earlier revision."""
    archive = Path(__file__).parent / "revisions" / f"{revision}.tar.xz"
    subprocess.run(["tar", "-xJf", archive, "-C", directory.parent], check=True)
    return directory / "acistore.db"


def sources(database: Path) -> list[dict[str, object]]:
    """The rows of the table remote, without their checksums."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = map(dict, connection.execute("SELECT * FROM remote ORDER BY url").fetchall())
        return [{name: value for name, value in row.items() if name != "checksum"} for row in rows]


@pytest.mark.parametrize("revision", ["0002", "0004"])
def test_sources_of_earlier_revisions_know_less(directory: Path, revision: str) -> None:
    """Nothing of their signatures up to 0002, and not where redirects have led up to 0004."""
    before = sources(unpacked(revision, directory))
    Store.open(directory).close()
    unknown = ["place", "signature_place"]
    unknown += ["signature_etag", "signature_last_modified"] if revision == "0002" else []
    assert sources(directory / "acistore.db") == [row | dict.fromkeys(unknown) for row in before]
    assert not any(name in row for row in before for name in unknown)
    assert {"é☃" in str(row) for row in before} == {True, False}


@pytest.mark.parametrize("revision", ["0002", "0004"])
@pytest.mark.parametrize("change", ["etag = 'damaged'", "checksum = x'0011223344556677'"])
def test_an_upgrade_does_not_make_damage_right(directory: Path, change: str, revision: str) -> None:
    url = "https://example.com/app1.aci"
    with closing(sqlite3.connect(unpacked(revision, directory))) as database, database:
        assert database.execute(f"UPDATE remote SET {change} WHERE url = ?", [url]).rowcount == 1
    with Store.open(directory) as store:
        assert [each.what for each in store.verify().damaged] == [
            f"database: a row of remote has another checksum ({url})"
        ]


# Of what is in the store of 0003: when each family was admitted as latest, by a key, and what was so last.
ADMITTED = datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)
NEWEST = {
    "example.com/app,arch=amd64,os=linux": ("2.0", datetime(2026, 11, 20, 0, 30, 0, 500000, UTC), ADMITTED),
    "example.com/app,arch=aarch64,os=linux": ("2.0", None, ADMITTED + timedelta(days=1)),
    "example.com/tool": (None, None, ADMITTED),
    "example.net/twice": ("1-é☃", datetime(2024, 2, 29, 0, 0, 59, 123456, UTC), ADMITTED),
    # Fetched without a look at its signature; by its version only; removed.
    "example.net/loose": None,
    "example.com/base,arch=amd64,os=linux": None,
    "example.com/gone": None,
}


def newest(directory: Path) -> dict[str, tuple[str | None, datetime | None, datetime] | None]:
    """What each of those families is known to have had as latest, in a store that is sound."""
    with Store.open(directory) as store:
        assert store.verify().damaged == ()
        told = {name: store.newest(ImageName.parse(name)) for name in NEWEST}
        for name, each in told.items():
            assert each is None or store.get(each.id).id == store.find(ImageName.parse(name)).id
    return {
        name: each if each is None else (each.version, each.created, each.admitted_at)
        for name, each in told.items()
    }


def test_what_revision_0003_had_admitted_as_latest_is_what_the_next_is_compared_with(directory: Path) -> None:
    unpacked("0003", directory)
    assert newest(directory) == NEWEST


def test_so_it_is_when_the_database_of_revision_0003_is_made_again(directory: Path) -> None:
    with closing(sqlite3.connect(unpacked("0003", directory))) as database, database:
        database.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'image'")
    assert Store.rebuild(directory).incomplete == ()
    assert newest(directory) == NEWEST


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("UPDATE image SET latest = 1 WHERE name = 'example.com/base'", "example.com/base,arch=amd64,os=linux"),
        ("UPDATE admission SET verdict = 'verified' WHERE fingerprint IS NULL", "example.net/loose"),
        (
            "UPDATE image SET manifest = CAST(REPLACE(CAST(manifest AS TEXT), '2024-02', '2034-02') AS BLOB)"
            " WHERE name = 'example.net/twice'",
            "example.net/twice",
        ),
    ],
)
def test_what_is_damaged_does_not_become_the_newest(directory: Path, change: str, name: str) -> None:
    with closing(sqlite3.connect(unpacked("0003", directory))) as database, database:
        assert database.execute(change).rowcount > 0
    with Store.open(directory) as store:
        assert not store.verify().ok
        assert store.newest(ImageName.parse(name)) is None
        assert store.newest(ImageName("example.com/tool"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE image SET name = CAST(name AS BLOB)",
        "UPDATE image SET name = NULLIF(7, 7.5)",
        "UPDATE image SET version = CAST(version AS BLOB)",
        "UPDATE image SET manifest = 'text'",
        "UPDATE image SET manifest = x'7b7d'",
        "UPDATE image SET manifest = 3",
        "UPDATE image SET latest = 'x'",
        "UPDATE image SET imported_at = x'00'",
        "UPDATE label SET value = CAST(value AS BLOB)",
        "UPDATE label SET name = CAST(name AS BLOB)",
        "UPDATE admission SET admitted_at = 'x'",
        "UPDATE admission SET verdict = x'ff'",
        "DELETE FROM label",
    ],
)
def test_a_damaged_store_is_upgraded_or_called_damaged_and_can_be_mended(directory: Path, change: str) -> None:
    with closing(sqlite3.connect(unpacked("0003", directory))) as database, database:
        assert database.execute(change).rowcount > 0
    with suppress(StoreDamaged), Store.open(directory) as store:
        assert not store.verify().ok
    Store.rebuild(directory)
    if "latest" not in change and "imported_at" not in change:  # which the packs know less well
        assert newest(directory) == NEWEST


def test_there_is_a_store_of_every_earlier_revision() -> None:
    kept = {path.name.partition(".")[0] for path in REVISIONS}
    assert kept == migrate.known_revisions() - {schema.REVISION}


def test_a_newer_store_is_refused_and_untouched(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, image())
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    before = dump(directory / "acistore.db")
    with pytest.raises(StoreTooNew, match="newer"):
        Store.open(directory)
    assert dump(directory / "acistore.db") == before


@pytest.mark.parametrize("make_new", [True, False], ids=["new store", "store of today"])
def test_alembic_is_not_imported_when_nothing_is_to_be_done(directory: Path, make_new: bool) -> None:
    if not make_new:
        Store.open(directory).close()
    code = (
        "import sys; from acistore.store import Store; Store.open(sys.argv[1]).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True)
