"""Web servers whose files do ranges and validators as asked, and break off as they are told.

Real HTTP over real sockets; what nginx can't be made to do, since it works.
"""

import hashlib
import random
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

_CUT_SIZE = 16 << 10


@dataclass
class File:
    """What is served, and how. `cuts`: after how many bytes of the body each of the next answers breaks off.

    `instead`: whole answers for the next requests, before anything else is looked at. `gate` is called before a
    body is sent. With `stuck_at` nothing more comes after so many bytes of it, until the other side hangs up. What
    was asked is in `ranges` (of each GET, None without one) and `heads`.
    """

    body: bytes
    etag: str | None = ""
    last_modified: str | None = None
    ranges_work: bool = True
    cuts: list[int] = field(default_factory=list)
    instead: list[bytes] = field(default_factory=list)
    headers: Sequence[str] = ()
    gate: Callable[[], object] = lambda: None
    stuck_at: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.replace(self.body)

    def replace(self, body: bytes) -> None:
        """From now on another content, with another entity tag where there is one that isn't fixed."""
        self.body = body
        if self.etag is not None and not self.etag.startswith("W/"):
            self.etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'

    def cut_at_random(self, times: int, seed: int) -> None:
        """The next answers break off anywhere, also before the first byte of the body, and in the last one."""
        chance = random.Random(seed)
        self.cuts = [chance.randrange(len(self.body)) for _ in range(times)]

    def serve(self, connection: socket.socket, head: bytes) -> None:
        """Answers one request: a handler of RawServer."""
        with self._lock:
            self.heads.append(head)
            asked = _header(head, "Range")
            if head.startswith(b"GET"):
                self.ranges.append(asked)
            if self.instead:
                connection.sendall(self.instead.pop(0))
                return None
            start = self._start(head, asked)
            cut = self.cuts.pop(0) if self.cuts else None
        lines = ["Connection: close", f"Date: {formatdate(usegmt=True)}", *self.headers]
        lines += [f"ETag: {self.etag}"] if self.etag else []
        lines += [f"Last-Modified: {self.last_modified}"] if self.last_modified else []
        if self._is_known(head):
            return connection.sendall(_head("304 Not Modified", lines))
        if start is None:
            status, body = "200 OK", self.body
        elif start >= len(self.body):
            lines += [f"Content-Range: bytes */{len(self.body)}", "Content-Length: 0"]
            return connection.sendall(_head("416 Range Not Satisfiable", lines))
        else:
            status, body = "206 Partial Content", self.body[start:]
            lines.append(f"Content-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        self.gate()
        connection.sendall(_head(status, [*lines, f"Content-Length: {len(body)}"]))
        if self.stuck_at is not None:
            connection.sendall(body[: self.stuck_at])
            connection.recv(1)
            return None
        for position in range(0, len(body), _CUT_SIZE):
            piece = body[position : position + _CUT_SIZE]
            if cut is not None and position + len(piece) > cut:
                self.sent += max(0, cut - position)
                connection.sendall(piece[: max(0, cut - position)])
                return None
            self.sent += len(piece)  # before the other side can have it, and look
            connection.sendall(piece)
        return None

    def _is_known(self, head: bytes) -> bool:
        if self.etag:
            return _header(head, "If-None-Match") == self.etag
        return self.last_modified is not None and _header(head, "If-Modified-Since") == self.last_modified

    def _start(self, head: bytes, asked: str | None) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if not match or not self.ranges_work:
            return None
        condition = _header(head, "If-Range")
        return int(match[1]) if condition in (self.etag, self.last_modified) else None


class Redirect(File):
    """Leads to another URL: today to this one."""

    def __init__(self, to: str) -> None:
        super().__init__(b"")
        self.to = to

    def serve(self, connection: socket.socket, head: bytes) -> None:
        self.heads.append(head)
        lines = [f"Location: {self.to}", "Content-Length: 0", "Connection: close"]
        connection.sendall(_head("302 Found", lines))


def _head(status: str, lines: Sequence[str]) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def _header(head: bytes, name: str) -> str | None:
    match = re.search(rf"^{name}: (.*?)\r$", head.decode("latin-1"), re.MULTILINE | re.IGNORECASE)
    return match[1] if match else None


class Site:
    """A host with files that behave as told, and nothing else: a handler of RawServer."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}

    def put(self, path: str, file: File | bytes) -> File:
        """Serves a file at a path without its first slash; returns it."""
        self.files["/" + path] = file if isinstance(file, File) else File(file)
        return self.files["/" + path]

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0] if head else ""
        file = self.files.get(path) or self.files.get(f"{path.rstrip('/')}/index.html")
        if file is None:
            connection.sendall(_head("404 Not Found", ["Content-Length: 0", "Connection: close"]))
        else:
            file.serve(connection, head)
