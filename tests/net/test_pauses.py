"""When a download is tried again, after which pause, and when no more."""

import socket
import threading
from dataclasses import replace

import pytest

from acistore.errors import NetworkError, ServerFailed, TransferFailed
from acistore.net.retries import Retries
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


# Each pause of ours (that is not really made) is longer than the window, and even the whole is less than what the
# minimum rate would bring meanwhile.
SLOW_BY_PAUSES = replace(QUICK, minimum_rate=40_000, rate_window=5, retry_delay=20, retries=2)


def test_our_own_pauses_count_as_time_in_which_a_server_brings_nothing(serve: Serve) -> None:
    with serve(File(BODY, cuts=[20_000])) as served, pytest.raises(TransferFailed, match="slower than"):
        served.downloads.run(replace(SLOW_BY_PAUSES, retries=1))


def test_they_do_not_count_before_the_first_byte_has_come(serve: Serve) -> None:
    """A server that is not up yet is no slow one."""
    with serve(File(BODY, instead=[UNAVAILABLE % b"Connection: close\r\n"] * 2)) as served:
        assert served.downloads.run(SLOW_BY_PAUSES)[0] == BODY
        assert sum(served.downloads.pauses) > 2 * SLOW_BY_PAUSES.rate_window


def test_who_was_slow_once_has_no_more_tries_for_what_it_brings(serve: Serve) -> None:
    file = File(BODY, cuts=[20_000] * 20)
    with serve(file) as served, pytest.raises(TransferFailed, match="broke off"):
        served.downloads.run(SLOW_BY_PAUSES)
    assert len(file.ranges) == 3  # cut, slow, cut


def test_who_reads_along_may_take_its_time(serve: Serve) -> None:
    def attempt(seconds: float) -> None:
        class Slow(Reader):
            def feed(self, data: bytes) -> None:
                if not self.seen:
                    threading.Event().wait(seconds)
                super().feed(data)

        limits = replace(QUICK, minimum_rate=int(300_000 / seconds), rate_window=seconds / 2, retries=0)
        with serve(File(BODY)) as served:
            served.downloads.reader_kind = Slow
            try:
                content, _ = served.downloads.run(limits)
            except TransferFailed as error:
                raise AssertionError("its own time was counted") from error
            assert content == BODY

    within(0.2, attempt)


# --- what is not the server's


def test_what_the_reader_raises_comes_out_as_it_is(serve: Serve) -> None:
    """It may be of the network as well (another question, which has had its tries), and is not asked again."""
    refused = ServerFailed("the signature is not there any more")
    refused.transient = True

    class Refusing(Reader):
        def feed(self, data: bytes) -> None:
            raise refused

    file = File(BODY)
    with serve(file) as served:
        served.downloads.reader_kind = Refusing
        with pytest.raises(ServerFailed) as raised:
            served.downloads.run()
    assert (raised.value, raised.value.facts, len(file.heads)) == (refused, {}, 1)


def test_who_was_called_off_has_failed_for_no_other_reason() -> None:
    class CalledOff(BaseException):
        pass

    def pause(seconds: float) -> None:
        raise CalledOff

    with pytest.raises(CalledOff):
        Retries(QUICK, pause=pause, decided=pytest.fail).wait(NetworkError("the connection was cut by ourselves"))


def test_that_it_will_be_tried_again_is_told_before_the_pause() -> None:
    told: list[object] = []
    error = TransferFailed("it broke off")
    Retries(QUICK, pause=told.append, decided=told.append).wait(error)
    assert told[1] == "it broke off"
