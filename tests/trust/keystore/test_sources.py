"""Where keys come from: no URL with a password in it, and of what a page offers only what is of use."""

import logging

import pytest

from acistore.errors import EndpointNotFound, UsageError
from acistore.keys import discover_keys, read_key, trust_discovered_keys
from acistore.naming import ImageName
from acistore.net.passwords import has_user
from tests.gpg import KeyMaker, SigningKey
from tests.trust.directories import Directories
from tests.web import WebSite

HOST = "example.com"


def page(web: WebSite, *urls: str) -> None:
    tags = "".join(f'<meta name="ac-discovery-pubkeys" content="{HOST} {url}">' for url in urls)
    web.put(HOST, "index.html", tags.encode())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bob:pw@example.com/k.asc", True),
        ("HTTPS://bob@example.com/", True),
        ("https://bob:pw@[x/k.asc", True),
        ("https://example.com/k@v1.asc", False),
        ("https://example.com?to=a@b", False),
    ],
)
def test_what_is_a_user_in_a_url(url: str, expected: bool) -> None:
    assert has_user(url) is expected


@pytest.mark.parametrize("url", ["https://bob:secret@example.com/k.asc", "HTTPS://bob:secret@[x/k.asc"])
def test_a_key_is_not_read_from_a_url_with_a_password(directories: Directories, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_key(url, directories.config)
    assert "secret" not in f"{caught.value.message} {caught.value.facts} {caught.value.next_step}"


def test_a_page_cannot_have_a_password_recorded(
    directories: Directories, release: SigningKey, web: WebSite, caplog: pytest.LogCaptureFixture
) -> None:
    good = web.put(HOST, "keys.asc", release.public())
    page(web, f"https://bob:secret@{HOST}/keys.asc", good)
    (found,) = discover_keys(ImageName(HOST), directories.config)
    assert found.source == good
    assert "is not fetched: it has a user name or password in it" in caplog.text
    page(web, f"https://bob:secret@{HOST}/keys.asc")
    with pytest.raises(EndpointNotFound) as caught:
        discover_keys(ImageName(HOST), directories.config)
    assert "secret" not in caplog.text + str(caught.value.facts)


def test_keys_of_no_use_are_left_out_of_what_a_page_offers(
    directories: Directories,
    maker: KeyMaker,
    release: SigningKey,
    expired: SigningKey,
    web: WebSite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    mute = maker.key("Mute <mute@example.com>", usage="cert")
    several = b"".join(key.public() for key in (expired, gone, mute, release))
    page(web, web.put(HOST, "keys.asc", several))
    with caplog.at_level(logging.WARNING):
        trust_discovered_keys(ImageName(HOST), directories.store, directories.config)
    assert [each.key.fingerprint for each in directories.store.all_keys()] == [release.fingerprint]
    for trouble in ("expired on 2020-12-31", "revoked by its owner", "nothing in it can sign"):
        assert f"is not trusted: {trouble}" in caplog.text
