"""Redirects: which are followed, and how those that are not are told."""

import pytest
import trustme

from acistore.config import Config
from acistore.errors import InsecureTransport, LimitExceeded, NetworkError, ServerFailed, TLSFailed
from acistore.net import Client
from tests.web import Handler, RawServer, WebSite, answering

LIMIT = 1000


def redirecting(location: str) -> Handler:
    return answering(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize("location", ["https://example.com/there", "//example.com/there"])
def test_a_redirect_is_followed_to_another_host(web: WebSite, authority: trustme.CA, location: str) -> None:
    web.put("example.com", "there", b"here")
    with RawServer(redirecting(location), authority.issue_cert("moved.org")) as moved, Client(Config()) as client:
        web.take_over("moved.org", moved)
        response = client.get("https://moved.org/a", limit=LIMIT)
    assert (response.body, response.url) == (b"here", "https://example.com/there")


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://example.com/there", InsecureTransport),
        ("file:///etc/passwd", ServerFailed),
        ("ftp://example.com/a", ServerFailed),
        ("https://example.com:99999/", ServerFailed),
        ("https://example.com%00/", NetworkError),
        ("https://xn--/", ServerFailed),
        ("/again", LimitExceeded),
    ],
)
def test_redirects_that_are_not_followed(
    web: WebSite, authority: trustme.CA, location: str, error: type[NetworkError]
) -> None:
    web.put("example.com", "there", b"here")
    with RawServer(redirecting(location), authority.issue_cert("moved.org")) as moved, Client(Config()) as client:
        web.take_over("moved.org", moved)
        with pytest.raises(error):
            client.get("https://moved.org/a", limit=LIMIT)
    assert web.log() == []
    assert len(moved.requests) == (11 if error is LimitExceeded else 1)


@pytest.mark.parametrize("insecure", [frozenset[str](), frozenset({"http"})])
def test_a_redirect_never_lowers_the_scheme(web: WebSite, authority: trustme.CA, insecure: frozenset[str]) -> None:
    plain = web.put("example.com", "there", b"plain", tls=False)
    with (
        RawServer(redirecting(plain), authority.issue_cert("moved.org")) as moved,
        Client(Config(insecure_options=insecure)) as client,
    ):
        web.take_over("moved.org", moved)
        with pytest.raises(
            InsecureTransport, match=r"https://moved\.org/a: .* http://example\.com/there"
        ) as raised:
            client.get("https://moved.org/a", limit=LIMIT)
    assert "--insecure-options=http" in (raised.value.next_step or "")
    assert web.log() == []


@pytest.mark.parametrize("tls", [False, True])
def test_a_redirect_from_plain_http_is_followed(direct: None, authority: trustme.CA, tls: bool) -> None:
    certificate = authority.issue_cert("localhost") if tls else None
    with (
        RawServer(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), certificate) as there,
        RawServer(redirecting(there.url)) as moved,
        Client(Config(insecure_options=frozenset({"http"}))) as client,
    ):
        assert client.get(moved.url, limit=LIMIT).url == there.url


def test_a_failure_behind_a_redirect_tells_where_it_began(web: WebSite, authority: trustme.CA) -> None:
    location = "https://example.com/there"
    with RawServer(redirecting(location), authority.issue_cert("moved.org")) as moved, Client(Config()) as client:
        web.take_over("moved.org", moved)
        with pytest.raises(TLSFailed, match=location) as raised:
            client.get("https://moved.org/a", limit=LIMIT)
    assert raised.value.facts["redirected from"] == "https://moved.org/a"
