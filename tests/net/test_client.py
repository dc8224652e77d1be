"""Pages, signatures and keys over HTTP: what comes, what is refused, and how failures are told."""

import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acistore import __version__
from acistore.config import Config, Limits
from acistore.errors import (
    AcistoreError,
    ConfigError,
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
from acistore.net.routes import tls_context
from tests.web import RawServer, WebSite, answering

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\n"
QUICK = Config(limits=Limits(deadline=0.3))


def config(*insecure: str, **limits: float) -> Config:
    return Config(insecure_options=frozenset(insecure), limits=replace(Limits(), **limits))


@pytest.fixture
def localhost(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost")


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


def test_a_connection_is_used_again(web: WebSite) -> None:
    web.put("example.com", "a", b"1")
    with Client(Config()) as client:
        client.get("https://example.com/a", limit=LIMIT)
        (connection,) = client._routes.pool_for(_url("https://example.com/a")).connections
        client.get("https://example.com/missing", limit=LIMIT)
        assert client._routes.pool_for(_url("https://example.com/a")).connections == [connection]


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


def dripping(prefix: bytes, drop: bytes) -> "Handler":
    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(prefix)
        connection.settimeout(0.02)
        while True:
            connection.sendall(drop)
            try:
                connection.recv(1)
                return
            except TimeoutError:
                pass

    return handler
