"""Keys that several tests look at, made once. What changes a key makes its own, with `maker`."""

from collections.abc import Iterator

import pytest

from tests.gpg import KeyMaker, SigningKey

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
