"""Downloads that break off: gone on with in this run and in the next, and always with the right bytes."""

import os
import random
import socket
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from acistore.errors import ServerFailed, TransferFailed
from tests.fileserver import File
from tests.net.downloads import BODY, QUICK, UNAVAILABLE, Serve

LAST_WEEK = formatdate(1_700_000_000, usegmt=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_server_that_cuts_at_random_points_is_worn_down(serve: Serve, seed: int) -> None:
    file = File(BODY)
    file.cut_at_random(12, seed)
    with serve(file) as served:
        content, transfer = served.downloads.run(replace(QUICK, retries=12))
    assert content == BODY
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


SMALL = 40_000
STEPS = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, SMALL - 1)),
    st.tuples(st.sampled_from(["unavailable", "hang up", "ignore ranges", "ignore If-Range"]), st.just(0)),
    st.tuples(st.just("replace"), st.integers(1, SMALL)),
)


class Moody(File):
    """A file whose server does with each request what the next step says, until it has had enough of that.

    Each content has validators of its own, as far as there are any.
    """

    def __init__(self, steps: list[tuple[str, int]], kind: str) -> None:
        self.steps, self.kind, self.versions = steps, kind, 0
        super().__init__(b"", etag="" if kind == "etag" else None)

    def replace(self, body: bytes) -> None:
        self.versions += 1
        body = random.Random(self.versions).randbytes(len(body) or SMALL)
        super().replace(body)
        moment = formatdate(1_700_000_000 + 100 * self.versions, usegmt=True)
        self.last_modified = moment if self.kind in ("last-modified", "both") else None
        if self.kind in ("weak", "both"):
            self.etag = f'{"W/" if self.kind == "weak" else ""}"{self.versions}"'

    def serve(self, connection: socket.socket, head: bytes) -> None:
        step, number = self._next()
        while step == "replace":
            self.replace(bytes(number))
            step, number = self._next()
        self.ranges_work = step != "ignore ranges"
        self.is_blind = step == "ignore If-Range"
        self.cuts = [number] if step == "cut" else []
        self.instead = {"unavailable": [UNAVAILABLE % b"Connection: close\r\n"], "hang up": [b""]}.get(step, [])
        super().serve(connection, head)

    def _next(self) -> tuple[str, int]:
        return self.steps.pop(0) if self.steps else ("", 0)

    def _start(self, head: bytes, asked: str | None) -> int | None:
        return int(asked[len("bytes=") : -1]) if asked and self.is_blind else super()._start(head, asked)


@given(
    st.lists(STEPS, max_size=10),
    st.sampled_from(["etag", "last-modified", "both", "weak", "none"]),
    st.integers(0, 3),
    st.booleans(),
)
@example([("cut", 30_000), ("replace", 30_000), ("ignore If-Range", 0)], "etag", 0, False)
@example([("cut", 20_000), ("cut", 5_000), ("ignore ranges", 0)], "last-modified", 0, True)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_bytes_are_right(
    serve: Serve, steps: list[tuple[str, int]], kind: str, retries: int, loses_the_end: bool
) -> None:
    """In one run or in several: cut anywhere, put off, changed, ranges ignored, and what is kept cut short."""
    file = Moody(list(steps), kind)
    with serve(file) as served:
        for _ in range(len(steps) + 1):
            try:
                content, _ = served.downloads.run(replace(QUICK, retries=retries))
            except (TransferFailed, ServerFailed):
                for part in served.downloads.parts() if loses_the_end else ():
                    os.truncate(part, part.stat().st_size * 2 // 3)
                continue
            assert content == file.body
            return
    raise AssertionError("more failures than steps")
