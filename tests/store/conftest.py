"""A store of its own for each test."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.store import Admission, Store, StoredImage, always

WHEN = datetime(2024, 2, 29, 12, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    with Store.open(directory) as store:
        yield store


def add(store: Store, archive: bytes, *, latest: bool = False) -> StoredImage:
    return store.add(io.BytesIO(archive), latest=always if latest else None)


def admissions(*fingerprints: str, at: datetime = WHEN, rule: str = "example.com") -> list[Admission]:
    """How an image is let in that all these keys have signed."""
    return [Admission("verified", at, fingerprint=each, rule=rule) for each in fingerprints]


def exported(store: Store, image: StoredImage) -> bytes:
    out = io.BytesIO()
    store.export(image, out)
    return out.getvalue()


def files_in(directory: Path) -> list[str]:
    """Every file of a store but its database."""
    places = [directory / name for name in ("packs", "spool", "tmp")]
    return sorted(str(path.relative_to(directory)) for place in places for path in place.iterdir())
