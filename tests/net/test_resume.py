"""Downloads that break off: gone on with in this run and in the next, and always with the right bytes."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Self

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acistore.config import Config, Limits
from acistore.errors import LimitExceeded, NetworkError, ServerFailed, TransferFailed
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

    def left(self) -> int:
        """Bytes that are kept for the next run."""
        files = [each for each in self.workspace.spool.iterdir() if each.suffix != ".json"]
        return sum(each.stat().st_size for each in files)


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


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, direct: None) -> Serve:
    certificate = authority.issue_cert("localhost")

    def make(file: File) -> Served:
        return Served(tmp_path_factory.mktemp("store"), certificate, file)

    return make


LAST_WEEK = formatdate(1_700_000_000, usegmt=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_server_that_cuts_at_random_points_is_worn_down(serve: Serve, seed: int) -> None:
    file = File(BODY)
    file.cut_at_random(12, seed)
    with serve(file) as served:
        content, transfer = served.downloads.run(replace(QUICK, retries=12))
    assert content == BODY
    assert transfer.size == len(BODY)
    assert transfer.disturbed


@pytest.mark.parametrize("seed", range(5))
def test_each_run_goes_on_where_the_last_one_ended(serve: Serve, seed: int) -> None:
    file = File(BODY)
    file.cut_at_random(5, seed)
    with serve(file) as served:
        reached = 0
        while True:
            try:
                content, transfer = served.downloads.run(replace(QUICK, retries=0))
            except TransferFailed:
                assert served.downloads.left() >= reached
                reached = served.downloads.left()
            else:
                break
        assert content == BODY
        assert transfer.received == len(BODY) - reached
        assert served.downloads.left() == 0
    assert file.sent == len(BODY)
    assert file.ranges[-1] == (f"bytes={reached}-" if reached else None)


def test_progress_begins_a_new_row_of_retries(serve: Serve) -> None:
    file = File(BODY, cuts=[10_000] * 20)
    with serve(file) as served:
        content, _ = served.downloads.run(replace(QUICK, retries=1))
    assert content == BODY
    assert len(file.ranges) == 21


def test_without_progress_the_retries_come_to_an_end(serve: Serve) -> None:
    file = File(BODY, cuts=[10_000, *[0] * 20])
    with serve(file) as served:
        with pytest.raises(TransferFailed, match="broke off"):
            served.downloads.run(replace(QUICK, retries=3))
        assert len(file.ranges) == 1 + 3
        assert served.downloads.left() == 10_000


def test_by_a_modification_time_that_is_strong_enough(serve: Serve) -> None:
    file = File(BODY, etag=None, last_modified=LAST_WEEK, cuts=[100_000])
    with serve(file) as served:
        assert served.downloads.run()[0] == BODY
    assert file.ranges == [None, "bytes=100000-"]
    assert f"If-Range: {LAST_WEEK}".encode() in file.heads[1]
    assert file.sent == len(BODY)


@pytest.mark.parametrize(
    "file",
    [
        File(BODY, etag=None),
        File(BODY, etag='W/"weak"'),
        File(BODY, etag=None, last_modified=formatdate(4_000_000_000, usegmt=True)),
        File(BODY, headers=["Cache-Control: no-store"]),
    ],
    ids=["none", "weak", "not yet past", "no-store"],
)
def test_without_a_strong_validator_it_starts_again(serve: Serve, file: File) -> None:
    file.cuts = [100_000, 250_000]
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        assert served.downloads.left() == 0
        assert served.downloads.run()[0] == BODY
    assert file.ranges == [None] * 3


def test_a_server_that_ignores_ranges_works(serve: Serve) -> None:
    file = File(BODY, ranges_work=False, cuts=[100_000, 50_000, 200_000])
    with serve(file) as served:
        content, transfer = served.downloads.run()
        assert served.downloads.reader.starts == 1
    assert content == BODY
    assert transfer.received == 350_000 + len(BODY)


def test_a_file_that_has_changed_starts_again(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.replace(BODY[::-1])
        content, _ = served.downloads.run()
    assert content == BODY[::-1]
    assert file.ranges == [None, "bytes=100000-"]


def test_a_file_that_has_become_shorter_than_what_is_there_starts_again(serve: Serve) -> None:
    file = File(BODY, etag='W/"x"', last_modified=LAST_WEEK, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.replace(BODY[:5000])
        content, _ = served.downloads.run(replace(QUICK, retries=0))
    assert content == BODY[:5000]


def test_what_had_come_completely_is_not_asked_for_again(serve: Serve) -> None:
    file = File(BODY)
    with serve(file) as served:
        config = replace(Config(), limits=QUICK)
        with Client(config) as client, served.downloads.spool() as spool:
            download(client, served.downloads.url, spool, limit=1 << 20)
        assert served.downloads.left() == len(BODY)
        content, transfer = served.downloads.run()
    assert content == BODY
    assert (transfer.received, transfer.size, transfer.status) == (0, len(BODY), 200)
    assert file.sent == len(BODY)


def _part(begin: int, total: object, body: bytes, etag: str) -> bytes:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {begin}-{begin + len(body) - 1}/{total}\r\n"
    return f"{head}ETag: {etag}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("what", ["another place", "another tag", "another size", "no range", "odd range"])
def test_a_part_that_does_not_fit_is_not_taken(serve: Serve, what: str) -> None:
    file = File(BODY, cuts=[100_000])
    assert file.etag
    rest, size = BODY[100_000:], len(BODY)
    bad = {
        "another place": _part(99_999, size, rest, file.etag),
        "another tag": _part(100_000, size, rest[::-1], '"other"'),
        "another size": _part(100_000, size + 1, rest[::-1] + b"x", file.etag),
        "no range": _part(100_000, size, rest[::-1], file.etag).replace(b"Content-Range", b"X-Range"),
        "odd range": _part(100_000, size, rest[::-1], file.etag).replace(b"bytes 100000", b"bytes 1e5"),
    }[what]
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [bad]
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY


@pytest.mark.parametrize(
    "validators", ['ETag: W/"1"', 'ETag: "other"', "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"]
)
def test_a_part_with_other_validators_is_not_taken(serve: Serve, validators: str) -> None:
    """Whatever its strength: it belongs to something else."""
    file = File(BODY, etag=None, last_modified=LAST_WEEK, cuts=[100_000])
    if validators.startswith("ETag"):
        file = File(BODY, cuts=[100_000])
    bad = _part(100_000, len(BODY), BODY[100_000:][::-1], "x").replace(b"ETag: x", validators.encode())
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [bad]
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY


def test_what_is_there_and_too_large_is_not_read(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        with pytest.raises(LimitExceeded):
            served.downloads.run(limit=50_000)
        assert served.downloads.reader.seen == b""


def test_a_server_that_lets_us_wait_before_each_byte_comes_to_an_end(serve: Serve) -> None:
    """It brings something each time, but no more than the minimum rate would have brought in a moment."""
    file = File(BODY, cuts=[10] * 1000)
    file.gate = lambda: threading.Event().wait(0.02)
    with serve(file) as served, pytest.raises(TransferFailed):
        served.downloads.run(replace(QUICK, retries=2))
    assert len(file.ranges) < 10


def test_a_server_that_sends_short_parts_is_asked_for_the_next(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000])
    assert file.etag
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [_part(100_000, len(BODY), BODY[100_000:150_000], file.etag)]
        assert served.downloads.run()[0] == BODY
    assert file.ranges[-2:] == ["bytes=100000-", "bytes=150000-"]


def test_a_part_without_an_end_is_bounded(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000])
    assert file.etag
    endless = _part(100_000, "*", b"", file.etag).replace(b"Content-Length: 0\r\n", b"") + BODY * 5
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [endless.replace(b"100000-99999/*", b"100000-999999/*")]
        with pytest.raises(LimitExceeded):
            served.downloads.run(limit=400_000)


def test_a_part_is_refused_that_was_not_asked_for(serve: Serve) -> None:
    file = File(BODY)
    assert file.etag
    file.instead = [_part(0, len(BODY), BODY, file.etag)]
    with serve(file) as served, pytest.raises(ServerFailed, match="206"):
        served.downloads.run()


@pytest.mark.parametrize(
    "noted", [b"", b"{", b"[]", b'{"source": 1, "note": {}}', b'{"note": {"etag": 5}}', b"\xff"]
)
def test_a_note_that_is_no_note_costs_a_download_and_no_more(serve: Serve, noted: bytes) -> None:
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        [note] = served.downloads.workspace.spool.glob("*.json")
        note.write_bytes(noted)
        assert served.downloads.run()[0] == BODY
    assert file.ranges == [None, None]


# --- pauses


def test_a_5xx_is_tried_again(serve: Serve) -> None:
    file = File(BODY, instead=[UNAVAILABLE % b"Connection: close\r\n"] * 3)
    with serve(file) as served:
        assert served.downloads.run(replace(QUICK, retry_delay=1.0))[0] == BODY
        pauses = served.downloads.pauses
    assert len(pauses) == 3
    assert all(low <= pause <= 2 * low for low, pause in zip((0.5, 1, 2), pauses, strict=True))


def test_it_waits_for_as_long_as_the_server_says(serve: Serve) -> None:
    too_many = (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 7\r\n\r\n"
    )
    file = File(BODY, instead=[too_many])
    with serve(file) as served:
        assert served.downloads.run()[0] == BODY
        assert served.downloads.pauses == [7.0]


def test_it_does_not_wait_for_ever(serve: Serve) -> None:
    file = File(BODY, instead=[UNAVAILABLE % b"Retry-After: 86400\r\n"])
    with serve(file) as served:
        with pytest.raises(ServerFailed, match="503") as raised:
            served.downloads.run()
        assert served.downloads.pauses == []
    assert raised.value.facts["pause"] == "86400 s, as the server asks (--limits-retry-after)"


def test_what_will_not_change_is_not_tried_again(serve: Serve) -> None:
    file = File(BODY, instead=[b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n"])
    with serve(file) as served, pytest.raises(NetworkError, match="encoded"):
        served.downloads.run()
    assert len(file.heads) == 1


@given(st.lists(st.integers(0, 299_999), max_size=6), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_bytes_are_right(
    serve: Serve, cuts: list[int], ranges_work: bool, strong: bool
) -> None:
    file = File(BODY, etag="" if strong else None, ranges_work=ranges_work, cuts=list(cuts))
    with serve(file) as served:
        for _ in range(len(cuts) + 1):
            try:
                content, _ = served.downloads.run(replace(QUICK, retries=1))
            except TransferFailed:
                continue
            assert content == BODY
            return
    raise AssertionError("more failures than cuts")


def test_a_server_that_hangs_up_after_every_byte_is_too_slow(serve: Serve) -> None:
    file = File(BODY, cuts=[1] * 10_000)
    limits = replace(QUICK, minimum_rate=1 << 20, rate_window=0.2, retry_delay=0.02, retries=2)
    with serve(file) as served:
        served.downloads.skips_pauses = False
        with pytest.raises(TransferFailed):
            served.downloads.run(limits)
    assert len(file.ranges) < 200


def test_a_pause_of_our_own_is_not_undone_by_one_of_the_servers(serve: Serve) -> None:
    """Cut, put off for no time at all, cut again: slow all the same."""
    file = File(BODY, cuts=[40] * 10_000)

    class Alternating(File):
        def serve(self, connection: socket.socket, head: bytes) -> None:
            if len(self.heads) % 2:
                self.instead = [UNAVAILABLE % b"Retry-After: 0\r\nConnection: close\r\n"]
            super().serve(connection, head)

    limits = replace(QUICK, minimum_rate=1 << 20, rate_window=0.3, retry_delay=0.02, retries=3)
    with serve(Alternating(BODY, cuts=file.cuts)) as served:
        served.downloads.skips_pauses = False
        with pytest.raises((TransferFailed, ServerFailed)):
            served.downloads.run(limits)
        assert len(served.file.heads) < 300


def test_who_reads_along_may_take_its_time(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000, 50_000])
    limits = replace(QUICK, minimum_rate=1 << 20, rate_window=0.3)
    with serve(file) as served:

        class Slow(Reader):
            def restart(self) -> None:
                super().restart()
                threading.Event().wait(0.5)

        served.downloads.reader_kind = Slow
        assert served.downloads.run(limits)[0] == BODY
