"""A store of its own for each test."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from acistore.store import Store, StoredImage


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    with Store.open(directory) as store:
        yield store


def add(store: Store, archive: bytes, *, latest: bool = False) -> StoredImage:
    return store.add(io.BytesIO(archive), latest=latest)


def exported(store: Store, image: StoredImage) -> bytes:
    out = io.BytesIO()
    store.export(image, out)
    return out.getvalue()


def files_in(directory: Path) -> list[str]:
    """Every file of a store but its database."""
    places = [directory / name for name in ("packs", "spool", "tmp")]
    return sorted(str(path.relative_to(directory)) for place in places for path in place.iterdir())
