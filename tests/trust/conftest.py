"""A key that several tests look at, made once. What changes a key makes its own, with `maker`."""

import logging
import tempfile
from pathlib import Path

import pytest

from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.trust.directories import Directories


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
