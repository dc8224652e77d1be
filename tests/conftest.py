"""Fixtures of several rooms: a web to fetch from, and keys that are made once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

from tests.gpg import KeyMaker, SigningKey
from tests.web import WebSite

LONG_AGO = "20200101T000000"

# What may be set for whoever runs the tests.
_OWN = {"NETRC", "GNUPGHOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "NO_COLOR", "COLUMNS", "LINES"}

# How long an example takes is a matter of what else the machine does.
settings.register_profile("acistore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("acistore")


def pytest_configure() -> None:
    """Nothing of whoever runs the tests counts in them, nor in what they start."""
    for variable in [*os.environ]:
        if variable.startswith(("ACISTORE_", "AWS_")) or variable in _OWN:
            del os.environ[variable]
    os.umask(0o022)
    # A shell has its background jobs ignore Ctrl-C, and nohup the end of a terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
def authority() -> trustme.CA:
    """Signs the certificates of all test servers."""
    return trustme.CA()


@pytest.fixture
def web(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WebSite]:
    """A web of its own for one test, which this process and its children are in."""
    with WebSite(tmp_path_factory.mktemp("web"), authority) as site:
        for name, value in site.environ.items():
            monkeypatch.setenv(name, value)
        yield site


@pytest.fixture
def direct(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """No web but the servers that a test starts itself, on localhost: no proxy, and only our authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
