"""A store and configuration of its own for each test, and the command that works on them."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from acistore.cli import main
from acistore.store import Store, StoredImage
from tests.cli.running import Ran, Run
from tests.images import image


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's: no store, no configuration, no variable that changes what is printed."""
    for variable in list(os.environ):
        if variable.startswith("ACISTORE_") or variable in ("NO_COLOR", "COLUMNS", "TERM"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("ACISTORE_DIR", str(tmp_path / "store"))
    for layer in ("system", "local", "user"):
        monkeypatch.setenv(f"ACISTORE_{layer.upper()}_CONFIG", str(tmp_path / layer))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def add(store: Store, archive: bytes) -> StoredImage:
    return store.add(io.BytesIO(archive))


@pytest.fixture
def app(store: Store) -> StoredImage:
    """`example.com/app:1.0` with one file."""
    labels = {"version": "1.0", "os": "linux", "arch": "amd64"}
    return add(store, image(files={"etc/app.conf": b"answer = 42\n" * 100}, labels=labels))
