"""Somebody who downloads one file from a server that does as it is told, again and again."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
import trustme

from acistore.config import Config, Limits
from acistore.net import Client, Transfer, download
from acistore.store.spool import Spool, SpoolFile
from acistore.store.workspace import Workspace
from tests.fileserver import File
from tests.web import RawServer

BODY = os.urandom(300_000)
QUICK = Limits(retry_delay=0.001)
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n%s\r\n"


class Reader:
    """Reads along, and knows what it would have to have read."""

    def __init__(self) -> None:
        self.seen = b""
        self.starts = 0

    def restart(self) -> None:
        self.seen = b""
        self.starts += 1

    def feed(self, data: bytes) -> None:
        self.seen += data


class Downloads:
    """Somebody who downloads one file, again and again, into one spool directory."""

    def __init__(self, workspace: Workspace, url: str) -> None:
        self.workspace = workspace
        self.url = url
        self.reader_kind = Reader
        self.skips_pauses = True
        self.reader = Reader()
        self.pauses: list[float] = []

    @contextmanager
    def spool(self) -> Iterator[SpoolFile]:
        with Spool(self.workspace).file(self.url, waiting=pytest.fail, resume=True) as file:
            file.keep = True
            yield file

    def run(self, limits: Limits = QUICK, *, limit: int = 1 << 20) -> tuple[bytes, Transfer]:
        """One run; what came, and what was told of it. What it could not finish stays for the next one."""
        config = replace(Config(), limits=limits)
        self.reader = self.reader_kind()
        with (
            Client(config, pause=self._pause if self.skips_pauses else time.sleep) as client,
            self.spool() as spool,
        ):
            transfer = download(client, self.url, spool, limit=limit, reader=self.reader)
            spool.seek(0)
            content = spool.read()
            spool.keep = False
        assert self.reader.seen == content
        return content, transfer

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.pauses.append(seconds)

    def parts(self) -> list[Path]:
        """What is kept for the next run."""
        return [each for each in self.workspace.spool.iterdir() if each.suffix != ".json"]

    def left(self) -> int:
        """Bytes that are kept for the next run."""
        return sum(each.stat().st_size for each in self.parts())


class Served:
    """A file on a server, and somebody who downloads it."""

    def __init__(self, top: Path, certificate: trustme.LeafCert, file: File) -> None:
        self.file = file
        self._server = RawServer(file.serve, certificate)
        self._workspace = Workspace(top)
        self._workspace.create()

    def __enter__(self) -> Self:
        self.downloads = Downloads(self._workspace, self._server.__enter__().url)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__(None, None, None)


Serve = Callable[[File], Served]
