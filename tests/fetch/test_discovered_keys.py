"""Keys that pages name: fetched securely or not at all, and never against an operator's word."""

import os
from pathlib import Path

import pytest
import trustme

from acistore.errors import EndpointNotFound, NetworkError, NoTrustedKey, TLSFailed
from acistore.keys import discover_keys
from acistore.naming import ImageName
from tests.fetch.conftest import HOST, NAME, Operator, Publisher, app
from tests.gpg import SigningKey
from tests.web import RawServer, answering


def test_a_page_can_not_name_a_file_of_this_machine(
    publisher: Publisher, operator: Operator, tmp_path: Path
) -> None:
    local = tmp_path / "local.asc"
    local.write_bytes(publisher.key.public())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    publisher.publish(app())
    for place in (str(local), f"file://{local}", str(pipe)):
        publisher.page(keys=place)
        with pytest.raises(EndpointNotFound):
            operator.fetch(trust_keys_from_https=True)
    assert operator.trust.all_keys() == ()


@pytest.mark.parametrize("option", ["tls", "http", "image"])
def test_checks_switched_off_for_images_hold_for_keys(
    publisher: Publisher, operator: Operator, stranger: SigningKey, option: str
) -> None:
    """Somebody between here and example.com, without its certificate, names a key of his own."""
    publisher.web.put("example.org", "mallory.asc", stranger.public())
    tag = b'<meta name="ac-discovery-pubkeys" content="example.com https://example.org/mallory.asc">'
    page = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(tag), tag)
    with RawServer(page, trustme.CA().issue_cert(HOST)) as mallory:
        publisher.web.take_over(HOST, mallory)
        with pytest.raises(TLSFailed):
            operator.fetch(insecure={option} - {"image"}, trust_keys_from_https=True)
        assert operator.trust.all_keys() == ()
        with pytest.raises(NetworkError):
            operator.fetch(insecure={"pubkey"}, trust_keys_from_https=True)
    assert [each.key.fingerprint for each in operator.trust.all_keys()] == [stranger.fingerprint]


def test_a_masked_key_stays_masked(publisher: Publisher, operator: Operator) -> None:
    publisher.page(keys=f"https://{HOST}/keys.asc")
    publisher.web.put(HOST, "keys.asc", publisher.key.public())
    publisher.publish(app())
    mask = operator.config.local_config / "trustedkeys" / "prefix.d" / HOST / publisher.key.fingerprint
    mask.parent.mkdir(parents=True)
    mask.touch()
    with pytest.raises(NoTrustedKey):
        operator.fetch(trust_keys_from_https=True)
    assert mask.read_bytes() == b""
    assert operator.trust.all_keys() == ()


def test_several_key_files_are_all_found(publisher: Publisher, operator: Operator, stranger: SigningKey) -> None:
    publisher.web.put(HOST, "one.asc", publisher.key.public())
    publisher.web.put(HOST, "two.asc", stranger.public())
    tags = "".join(
        f'<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/{name}.asc">' for name in ("one", "two")
    )
    publisher.web.put(HOST, "index.html", tags.encode())
    found = discover_keys(ImageName(NAME), operator.config)
    assert [material.source for material in found] == [f"https://{HOST}/one.asc", f"https://{HOST}/two.asc"]
