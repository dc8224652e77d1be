"""A wheel built from the tree works alone: installed into an empty environment, with nothing beside it."""

import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.images import image

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_the_migrations_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "acistore" in tops
    assert {"acistore/py.typed", "acistore/migrations/env.py"} <= set(names)
    assert any(name.startswith("acistore/migrations/versions/0001") for name in names)


def test_an_installed_wheel_creates_and_upgrades_its_database(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True)
    acistore = str(environment / "bin" / "acistore")
    store = tmp_path / "store"

    def run(*arguments: str) -> str:
        command = [acistore, "--dir", str(store), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    (tmp_path / "app.aci").write_bytes(image())
    image_id = run("--insecure-options=image", "fetch", "./app.aci").strip()
    assert image_id in run("--json", "list")
    revision = _revision(store)
    with closing(sqlite3.connect(store / "acistore.db")) as database, database:
        # As it was before the first migration: nothing but Alembic's own, empty table.
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            if name != "alembic_version" and not name.startswith("sqlite_"):
                database.execute(f"DROP TABLE {name}")
        database.execute("DELETE FROM alembic_version")
    assert run("--json", "list").strip() == "[]"
    assert _revision(store) == revision
    assert list(store.glob("acistore.db.before-*"))
    run("verify")


def _revision(store: Path) -> str:
    with closing(sqlite3.connect(store / "acistore.db")) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])
