"""Certificates of somebody else, of yesterday and of tomorrow; TLS of the last century, or none at all."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trustme

from acistore.errors import ConnectionFailed, ServerFailed, TLSFailed, TransferFailed
from tests.fetch.conftest import HOST
from tests.hostile.certificates import CERTIFICATES
from tests.hostile.conftest import TAG, Victim
from tests.hostile.servers import Deaf, Flood, Outdated, dripping, resetting, silent, whole
from tests.web import RawServer, answering

QUICK = {"connect_timeout": "1s", "deadline": "1s"}


@contextmanager
def taken_over(victim: Victim, server: RawServer) -> Iterator[RawServer]:
    with server:
        victim.web.take_over(HOST, server)
        yield server


@pytest.mark.parametrize("name", CERTIFICATES)
def test_nothing_is_asked_of_a_server_whose_certificate_is_not_good(
    victim: Victim, authority: trustme.CA, name: str
) -> None:
    with taken_over(victim, RawServer(whole(TAG), CERTIFICATES[name](authority, HOST))) as server:
        error = victim.fails(TLSFailed)
        assert server.requests == []
    assert error.next_step


@pytest.mark.parametrize("name", ["another name", "expired", "self-signed"])
def test_the_image_is_not_taken_from_such_a_server_either(
    victim: Victim, authority: trustme.CA, name: str
) -> None:
    """Where an honest page sends one to it."""
    page = TAG.replace(b"https://example.com/", b"https://images.example.com/")
    certificate = CERTIFICATES[name](authority, "images.example.com")
    with RawServer(whole(victim.good.body), certificate) as server:
        victim.web.take_over("images.example.com", server)
        victim.refuses(TLSFailed, page=whole(page), contacts=frozenset({HOST, "images.example.com"}))
        assert server.requests == []


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_before_1_2_is_not_spoken(
    victim: Victim, certificate: trustme.LeafCert, newest: ssl.TLSVersion
) -> None:
    with taken_over(victim, Outdated(whole(TAG), certificate, newest)) as server:
        victim.fails(TLSFailed)
        assert server.requests == []


HTML = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>plain HTTP"
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"


@pytest.mark.parametrize(
    "handler",
    [
        answering(HTML),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answering(b"220 mail.example.com ESMTP\r\n"),
        answering(ALERT),
        answering(b"\x16\x03\x03\xff\xff" + b"x" * 70_000),
        answering(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff"),
        answering(b"\0" * 1000),
        answering(b""),
        resetting(),
        resetting(b"\x16\x03\x03"),
    ],
    ids=[
        "plain HTTP",
        "SSH",
        "SMTP",
        "alert",
        "too long",
        "cut off",
        "zeros",
        "hangs up",
        "resets",
        "resets later",
    ],
)
def test_a_handshake_that_is_none_fails(victim: Victim, handler: Callable[[socket.socket, bytes], object]) -> None:
    """As one or the other: what a server sends that hangs up on our first words may be lost with them."""
    with taken_over(victim, Deaf(handler)):
        victim.fails(TLSFailed, ConnectionFailed)


@pytest.mark.parametrize("handler", [silent, dripping(b"\x16\x03\x03\x40\x00")], ids=["silent", "drips"])
def test_a_handshake_without_end_is_given_up(
    victim: Victim, handler: Callable[[socket.socket, bytes], object]
) -> None:
    with Deaf(handler) as server:
        victim.fails(ConnectionFailed, wanted=f"https://localhost:{server.port}/app.aci", limits=QUICK)


def test_a_handshake_of_requests_for_another_one_is_given_up(victim: Victim) -> None:
    """HelloRequest, which OpenSSL passes over as long as there are more: anybody on the way can send them. In a
    process of its own, since what does not end there can't be ended from within either."""
    with Deaf(Flood(b"", b"\x16\x03\x03\x00\x04" + bytes(4))) as server:
        ran = victim.command(f"https://localhost:{server.port}/app.aci", limits=QUICK)
    assert ran.code == 5


def test_session_tickets_without_end_are_given_up(victim: Victim, certificate: trustme.LeafCert) -> None:
    server = RawServer(silent, certificate)
    assert server._context is not None
    server._context.num_tickets = 2_000_000_000
    with taken_over(victim, server):
        ran = victim.command(limits=QUICK)
    assert ran.code == 5


def test_a_certificate_that_is_not_asked_for_by_mistake(victim: Victim, certificate: trustme.LeafCert) -> None:
    """A server that wants to see ours, where none is configured for it."""
    server = RawServer(whole(TAG), certificate)
    assert server._context is not None
    server._context.verify_mode = ssl.CERT_REQUIRED
    with taken_over(victim, server):
        victim.fails(TLSFailed, TransferFailed, ServerFailed)
        assert server.requests == []
