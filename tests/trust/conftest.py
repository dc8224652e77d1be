"""Keys that several tests look at, made once. What changes a key makes its own, with `maker`."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpg import KeyMaker, SigningKey
from tests.trust.directories import Directories

LONG_AGO = "20200101T000000"


@pytest.fixture(scope="session")
def maker() -> Iterator[KeyMaker]:
    with KeyMaker() as made:
        yield made


@pytest.fixture(scope="session")
def release(maker: KeyMaker) -> SigningKey:
    return maker.key("Release <release@example.com>", at=LONG_AGO)


@pytest.fixture(scope="session")
def other(maker: KeyMaker) -> SigningKey:
    return maker.key("Other <other@example.com>", at=LONG_AGO)


@pytest.fixture(scope="session")
def stranger(maker: KeyMaker) -> SigningKey:
    return maker.key("Stranger <stranger@example.net>", at=LONG_AGO)


@pytest.fixture(scope="session")
def expired(maker: KeyMaker) -> SigningKey:
    return maker.key("Expired <expired@example.com>", at=LONG_AGO, expires="1y")


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "acistore.trust")
    return caplog


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where throw-away homes are made."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory
