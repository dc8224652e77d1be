"""Servers that mean harm: what they send, and a site that is honest but where a test says otherwise.

A server that drips sends a few bytes fifty times a second, where a real one would take a second for each: the
bounds of the tests are as much smaller.
"""

import socket
import ssl
import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import trustme

from tests.web import Handler, RawServer, answering

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HTML = b"Content-Type: text/html"
# What lies in the buffers between a server and a client: of two connections, since there is a proxy.
BUFFERS = 24 << 20
_PIECE = 64 << 10
_SECONDS_BETWEEN_DROPS = 0.02


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Handler:
    """A handler that answers as it should."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"Connection: close", b"", b""]
    return answering(b"\r\n".join(lines), body)


def moved(location: bytes) -> Handler:
    """A handler that redirects."""
    return whole(b"", b"Location: " + location, status=b"302 Found")


def saying(status: bytes) -> Handler:
    """A handler that answers with this status, and no body."""
    return whole(b"", status=status)


def lengths(*values: bytes) -> bytes:
    """The beginning of an answer that says so often how long it is, without the end of its head."""
    return OK + b"".join(b"Content-Length: " + value + b"\r\n" for value in values)


@dataclass
class Flood:
    """A handler that sends `start` and then `drop` again and again, `most` bytes or without end.

    `sent` counts what the network took: what its buffers hold (a few MB) and what was read.
    """

    start: bytes = b""
    drop: bytes = b"x"
    most: float = float("inf")
    sent: int = 0

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        self._send(connection, self.start)
        piece = self.drop * max(1, _PIECE // len(self.drop))
        while self.sent < self.most:
            self._send(connection, piece)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        self.sent += len(data)


def dripping(start: bytes, drop: bytes = b"x") -> Handler:
    """A handler that sends `start` at once and then `drop` now and then, for ever."""

    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        connection.settimeout(_SECONDS_BETWEEN_DROPS)
        while True:
            connection.sendall(drop)
            with suppress(TimeoutError):
                if not connection.recv(4096):
                    return

    return handler


def silent(connection: socket.socket, head: bytes) -> None:
    """Never answers, and never hangs up."""
    while connection.recv(4096):
        pass


def stopping(start: bytes) -> Handler:
    """A handler that sends `start`, nothing more, and doesn't hang up."""

    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        silent(connection, head)

    return handler


def resetting(start: bytes = b"") -> Handler:
    """A handler that sends `start` and then resets the connection."""

    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handler


class Site(RawServer):
    """A host that has a page, a signature and an image, each answered by its own handler.

    Anything else that is asked for is a 404, where `others` has no handler for the end of its path.
    """

    def __init__(
        self,
        certificate: trustme.LeafCert,
        *,
        page: Handler,
        signature: Handler,
        image: Handler,
        others: Mapping[str, Handler] | None = None,
    ) -> None:
        super().__init__(self._answer, certificate)
        self._handlers = {**(others or {}), "?ac-discovery=1": page, ".aci.asc": signature, ".aci": image}

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        target = _target(head)
        endings = (ending for ending in self._handlers if target.endswith(ending))
        answer = self._handlers.get(next(endings, ""), saying(b"404 Not Found"))
        answer(connection, head)

    def asked(self) -> list[str]:
        """Methods and targets, in order: `GET /app?ac-discovery=1`."""
        return [" ".join(head.decode("latin-1").split(" ", 2)[:2]) for head in self.requests]


def _target(head: bytes) -> str:
    return head.decode("latin-1").split(" ", 2)[1] if head else ""


class Deaf(RawServer):
    """A server whose handler does not wait for a request: it gets the connection as it comes, and no head."""

    def _serve(self, connection: socket.socket) -> None:
        self._handler(connection, b"")


class Outdated(RawServer):
    """A server that knows no TLS newer than `newest`."""

    def __init__(self, handler: Handler, certificate: trustme.LeafCert, newest: ssl.TLSVersion) -> None:
        super().__init__(handler, certificate)
        assert self._context is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # which is why it is tested
            self._context.minimum_version = ssl.TLSVersion.TLSv1
            self._context.maximum_version = newest
        self._context.set_ciphers("ALL:@SECLEVEL=0")


class Anonymous(RawServer):
    """A server that speaks TLS without any certificate."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_ciphers("aNULL:@SECLEVEL=0")
