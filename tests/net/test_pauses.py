"""When a download is tried again, after which pause, and when no more."""

import socket
import threading
from dataclasses import replace

import pytest

from acistore.errors import NetworkError, ServerFailed, TransferFailed
from tests.fileserver import File
from tests.net.downloads import BODY, QUICK, UNAVAILABLE, Reader, Serve
from tests.waiting import within


def test_a_5xx_is_tried_again(serve: Serve) -> None:
    file = File(BODY, instead=[UNAVAILABLE % b"Connection: close\r\n"] * 3)
    with serve(file) as served:
        assert served.downloads.run(replace(QUICK, retry_delay=1.0))[0] == BODY
        pauses = served.downloads.pauses
    assert len(pauses) == 3
    assert all(low <= pause <= 2 * low for low, pause in zip((0.5, 1, 2), pauses, strict=True))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 504, 599])
def test_what_may_go_better_in_a_moment_is_tried_again(serve: Serve, status: int) -> None:
    file = File(BODY, instead=[f"HTTP/1.1 {status} Not Now\r\nContent-Length: 0\r\n\r\n".encode(), b""])
    with serve(file) as served:
        assert served.downloads.run()[0] == BODY
    assert len(file.heads) == 3


@pytest.mark.parametrize(
    ("value", "pause"),
    [("0", 0), ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("-1", None), ("soon", None), ("1, 2", None), ("", None)],
)
def test_retry_after_that_is_over_or_says_nothing(serve: Serve, value: str, pause: float | None) -> None:
    """Then we pause as we would by ourselves, or, where the moment is over, not at all."""
    file = File(BODY, instead=[UNAVAILABLE % f"Connection: close\r\nRetry-After: {value}\r\n".encode()])
    with serve(file) as served:
        assert served.downloads.run(replace(QUICK, retry_delay=1.0))[0] == BODY
        assert bool(served.downloads.pauses) is (pause is None)


def test_all_that_a_server_asks_for_together_is_bounded(serve: Serve) -> None:
    """However often something comes in between."""
    file = File(BODY)

    class Alternating(File):
        def serve(self, connection: socket.socket, head: bytes) -> None:
            self.cuts = [1000]
            if len(self.heads) % 2:
                self.instead = [UNAVAILABLE % b"Retry-After: 5\r\nConnection: close\r\n"]
            super().serve(connection, head)

    file = Alternating(BODY)
    with serve(file) as served:
        with pytest.raises(ServerFailed) as raised:
            served.downloads.run(replace(QUICK, retry_after=20, minimum_rate=0))
        assert served.downloads.pauses.count(5.0) == 4
    assert raised.value.facts["pause"] == "5 s, as the server asks (--limits-retry-after)"


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


# --- too slow


def test_a_server_that_lets_us_wait_before_each_byte_comes_to_an_end(serve: Serve) -> None:
    """It brings something each time, but no more than the minimum rate would have brought in a moment."""
    file = File(BODY, cuts=[10] * 1000)
    file.gate = lambda: threading.Event().wait(0.02)
    with serve(file) as served, pytest.raises(TransferFailed):
        served.downloads.run(replace(QUICK, retries=2))
    assert len(file.ranges) < 10


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
    def attempt(seconds: float) -> None:
        class Slow(Reader):
            def restart(self) -> None:
                super().restart()
                threading.Event().wait(seconds)

        limits = replace(QUICK, minimum_rate=int(300_000 / seconds), rate_window=seconds / 2, retries=0)
        with serve(File(BODY)) as served:
            served.downloads.reader_kind = Slow
            try:
                content, _ = served.downloads.run(limits)
            except TransferFailed as error:
                raise AssertionError("its own time was counted") from error
            assert content == BODY

    within(0.5, attempt)
