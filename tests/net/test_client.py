"""Pages, signatures and keys over HTTP: what comes, what is refused, and how failures are told."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acistore import __version__
from acistore.config import Config, Limits
from acistore.errors import (
    ConnectionFailed,
    InsecureTransport,
    LimitExceeded,
    NetworkError,
    ResourceNotFound,
    ServerFailed,
    TLSFailed,
    TransferFailed,
)
from acistore.net import Client
from tests.waiting import within
from tests.web import Handler, RawServer, WebSite, answering

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\n"


def limited(**limits: Any) -> Config:
    return Config(limits=Limits(**limits))


# What comes


def test_a_page_comes_whole_with_its_status_and_headers(web: WebSite) -> None:
    url = web.put("example.com", "app/index.html", b"<html>")
    with Client(Config()) as client:
        response = client.get("https://example.com/app?ac-discovery=1", limit=LIMIT)
    assert (response.status, response.body, response.found()) == (200, b"<html>", response)
    assert response.headers["Content-Type"] == "text/html"
    assert response.url == "https://example.com/app?ac-discovery=1"
    assert url == "https://example.com/app/index.html"


def test_a_4xx_is_an_answer_until_somebody_needs_what_is_there(web: WebSite) -> None:
    web.put("example.com", "index.html", b"")
    with Client(Config()) as client:
        response = client.get("https://example.com/app.aci.asc", limit=LIMIT)
    assert response.status == 404
    with pytest.raises(ResourceNotFound, match=r"https://example\.com/app\.aci\.asc: .* 404 Not Found"):
        response.found()


def test_nothing_is_sent_but_what_is_needed(direct: None, localhost: trustme.LeafCert) -> None:
    answer = OK + b"Set-Cookie: id=1\r\nContent-Length: 0\r\n\r\n"
    with RawServer(answering(answer), localhost) as server, Client(Config()) as client:
        for _ in range(2):
            client.get(server.url.replace("https://", "https://user:secret@") + "a?b#c", limit=LIMIT)
    first, second = server.requests
    assert first == second
    assert first.decode().splitlines() == [
        "GET /a?b HTTP/1.1",
        f"Host: localhost:{server.port}",
        f"User-Agent: acistore/{__version__}",
        "Accept: */*",
        "Accept-Encoding: identity",
        "",
    ]


def test_a_connection_is_used_again_after_a_4xx_and_a_redirect(direct: None, localhost: trustme.LeafCert) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 2\r\n\r\n.."
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n.."
    present = OK + b"Content-Length: 2\r\n\r\nok"

    def handler(connection: socket.socket, head: bytes) -> None:
        for answer in (moved, missing, present):
            connection.sendall(answer)
            connection.recv(4096)

    with RawServer(handler, localhost) as server, Client(Config()) as client:
        assert client.get(server.url, limit=LIMIT).status == 404
        assert client.get(server.url, limit=LIMIT).body == b"ok"
    assert len(server.requests) == 1


def test_a_connection_that_was_kept_and_then_closed_costs_nobody_an_answer(
    direct: None, localhost: trustme.LeafCert
) -> None:
    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        connection.recv(4096)

    with RawServer(handler, localhost) as server, Client(Config()) as client:
        for _ in range(3):
            assert client.get(server.url, limit=LIMIT).body == b"ok"
    assert len(server.requests) == 3


# Bounds


def test_a_body_over_the_limit_is_refused_or_cut(web: WebSite) -> None:
    url = web.put("example.com", "big", b"x" * (LIMIT + 1))
    with Client(Config()) as client:
        with pytest.raises(LimitExceeded, match=f"{url}: .*{LIMIT}"):
            client.get(url, limit=LIMIT)
        assert client.get(url, limit=LIMIT, cut=True).body == b"x" * LIMIT
        assert client.get(url, limit=LIMIT + 1).body == b"x" * (LIMIT + 1)


def endless(connection: socket.socket, head: bytes) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"x" * 100_000)


def test_an_endless_body_is_refused_or_cut(direct: None, localhost: trustme.LeafCert) -> None:
    with RawServer(endless, localhost) as server, Client(Config()) as client:
        with pytest.raises(LimitExceeded):
            client.get(server.url, limit=LIMIT)
        assert client.get(server.url, limit=LIMIT, cut=True).body == b"x" * LIMIT


def dripping(start: bytes, drop: bytes) -> Handler:
    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        connection.settimeout(0.02)
        while True:
            connection.sendall(drop)
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return

    return handler


def flooding(start: bytes, drop: bytes) -> Handler:
    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(drop * 1000)

    return handler


def silent(connection: socket.socket, head: bytes) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (silent, ConnectionFailed),
        (dripping(OK, b"X"), ConnectionFailed),
        (flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), ConnectionFailed),
        (dripping(OK + b"\r\n", b"x"), LimitExceeded),
        (dripping(OK + b"Content-Length: 10\r\n\r\n", b""), LimitExceeded),
    ],
    ids=["silent", "headers that drip", "no end of 1xx", "body that drips", "body that stops"],
)
def test_the_deadline_holds_for_everything(
    direct: None, localhost: trustme.LeafCert, handler: Handler, error: type[NetworkError]
) -> None:
    def attempt(seconds: float) -> None:
        started = time.monotonic()
        with pytest.raises(NetworkError) as raised:
            client.get(server.url, limit=LIMIT, deadline=seconds)
        assert isinstance(raised.value, error)
        assert time.monotonic() - started > 0.75 * seconds

    with RawServer(handler, localhost) as server, Client(Config()) as client:
        within(0.2, attempt)


def test_a_handshake_that_never_ends_is_given_up(direct: None) -> None:
    with (
        RawServer(silent) as server,
        Client(limited(connect_timeout=0.2)) as client,
        pytest.raises(ConnectionFailed, match="no connection in time"),
    ):
        client.get(server.url.replace("http:", "https:"), limit=LIMIT)


# Servers that don't do what they should


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ServerFailed),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", ServerFailed),
        (b"HTTP/1.1 300 Multiple Choices\r\nContent-Length: 0\r\n\r\n", ServerFailed),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", ServerFailed),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", ServerFailed),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TransferFailed),
        (b"", TransferFailed),
        (OK + b"Header: value\r\n" * 10_000, ServerFailed),
        (OK + b"Content-Length: -1\r\n\r\nx", ServerFailed),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", ServerFailed),
        (OK + b"Content-Length: 2\r\n\r\nx", TransferFailed),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nx", TransferFailed),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx", TransferFailed),
    ],
)
def test_answers_that_are_no_use(
    direct: None, localhost: trustme.LeafCert, answer: bytes, error: type[NetworkError]
) -> None:
    with RawServer(answering(answer), localhost) as server, Client(limited(retries=0)) as client:
        with pytest.raises(error) as raised:
            client.get(server.url, limit=LIMIT)
        assert server.url in raised.value.message
        with pytest.raises(error):  # and the client is none the worse for it
            client.get(server.url, limit=LIMIT)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: OK + rest))
def test_no_answer_leads_to_anything_but_a_network_error(direct: None, answer: bytes) -> None:
    config = Config(insecure_options=frozenset({"http"}), limits=Limits(retries=0))
    with RawServer(answering(answer)) as server, Client(config) as client, suppress(NetworkError):
        client.get(server.url, limit=LIMIT, deadline=1)


# URLs and connections


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=st.text() | st.text().map("https://".__add__) | st.text().map("https://a/".__add__))
def test_no_url_leads_to_anything_but_a_network_error(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with Client(Config()) as client, suppress(NetworkError):
        client.get(url, limit=LIMIT)


@pytest.mark.parametrize(
    "url", ["hdfs://example.com/a", "file:///etc/passwd", "example.com/a", "https:///a", "https://a:99999/", ""]
)
def test_only_web_addresses_can_be_fetched(direct: None, url: str) -> None:
    with Client(Config()) as client, pytest.raises(ConnectionFailed, match="not an https:// URL"):
        client.get(url, limit=LIMIT)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64, f"{'a' * 64}.invalid"])
def test_a_name_that_does_not_resolve(direct: None, host: str) -> None:
    with Client(Config()) as client, pytest.raises(ConnectionFailed, match=f"https://{host}/: .*doesn't resolve"):
        client.get(f"https://{host}/", limit=LIMIT)


def test_a_port_where_nobody_listens(direct: None) -> None:
    with RawServer(silent) as server:
        port = server.port
    with Client(Config()) as client, pytest.raises(ConnectionFailed, match=f":{port}/: .*refused"):
        client.get(f"https://localhost:{port}/", limit=LIMIT)


def test_plain_http_has_to_be_allowed(web: WebSite) -> None:
    web.put("example.com", "a", b"plain")
    with Client(Config()) as client, pytest.raises(InsecureTransport) as raised:
        client.get("http://example.com/a", limit=LIMIT)
    assert "--insecure-options=http" in (raised.value.next_step or "")
    assert web.log() == []
    with Client(Config(insecure_options=frozenset({"http"}))) as client:
        assert client.get("http://example.com/a", limit=LIMIT).body == b"plain"
    assert web.log() == ["GET http://example.com/a 200"]


# Certificates


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (lambda authority: trustme.CA().issue_cert("localhost"), "local issuer|self.signed"),
        (lambda authority: authority.issue_cert("other.example.com"), "not valid for 'localhost'"),
        (expired, "expired"),
    ],
    ids=["unknown authority", "another host's", "expired"],
)
def test_certificates_that_are_not_acceptable(
    direct: None,
    authority: trustme.CA,
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    reason: str,
) -> None:
    with RawServer(answering(OK + b"\r\nok"), certificate(authority)) as server:
        with Client(Config()) as client, pytest.raises(TLSFailed, match=reason) as raised:
            client.get(server.url, limit=LIMIT)
        assert raised.value.next_step
        assert server.requests == []
        with Client(Config(insecure_options=frozenset({"tls"}))) as client:
            assert client.get(server.url, limit=LIMIT).body == b"ok"


def test_a_server_without_tls(web: WebSite) -> None:
    with Client(Config()) as client, pytest.raises(TLSFailed, match="TLS failed: wrong version number"):
        client.get(f"https://localhost:{web.plain_port}/", limit=LIMIT)
