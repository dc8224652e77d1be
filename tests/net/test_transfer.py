"""Downloads into files: whole, conditional, bounded, and not too slow."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest
import trustme

from acistore.config import Config, Limits
from acistore.errors import LimitExceeded, NetworkError, ResourceNotFound, ServerFailed, TransferFailed
from acistore.net import Client, download
from acistore.net.freshness import Validators
from acistore.net.transfer import RateFloor
from acistore.store.spool import SpoolFile
from tests.waiting import within
from tests.web import Handler, RawServer, WebSite, answering

MIB = 1 << 20
IMAGE = bytes(range(256)) * 12_345
OK = b"HTTP/1.1 200 OK\r\n"
LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT"
IMPATIENT = Config(limits=Limits(retries=0, rate_window=0.2))

Spooled = Callable[[str], SpoolFile]


class Reader:
    """Reads along."""

    def __init__(self) -> None:
        self.seen = b""

    def restart(self) -> None:
        self.seen = b""

    def feed(self, data: bytes) -> None:
        self.seen += data


class Shown:
    """Progress, and its own meter, that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def step(self, text: str) -> None:
        self.told.append((text,))

    def start(self, what: str, total: int | None, done: int = 0) -> Self:
        self.told.append((what, total))
        return self

    def decided(self, about: str, what: str, why: str) -> None:
        self.told.append((about, what, why))

    def advance(self, count: int) -> None:
        self.told.append((count,))

    def done(self) -> None:
        self.told.append(())


@pytest.fixture
def localhost(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost")


def content(file: SpoolFile) -> bytes:
    file.seek(0)
    return file.read()


def test_a_download_goes_into_the_file_and_past_who_reads_along(web: WebSite, spooled: Spooled) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    file, shown, reader = spooled(url), Shown(), Reader()
    with Client(Config()) as client:
        transfer = download(client, url, file, limit=len(IMAGE), progress=shown, reader=reader)
    assert content(file) == reader.seen == IMAGE
    assert (transfer.status, transfer.received) == (200, len(IMAGE))
    assert transfer.validators and transfer.validators.etag and transfer.validators.last_modified
    assert not transfer.disturbed
    assert transfer.max_age is None
    assert shown.told[0] == (f"downloading {url}", len(IMAGE))
    assert sum(count for (count,) in shown.told[1:-1] if isinstance(count, int)) == len(IMAGE)
    assert shown.told[-1] == ()


def test_a_file_of_no_length_that_comes_in_pieces(
    direct: None, localhost: trustme.LeafCert, spooled: Spooled
) -> None:
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    shown = Shown()
    with RawServer(answering(answer), localhost) as server, Client(Config()) as client:
        file = spooled(server.url)
        assert download(client, server.url, file, limit=5, progress=shown).received == 5
    assert content(file) == b"abcde"
    assert shown.told[0] == (f"downloading {server.url}", None)


def test_one_client_serves_many_threads(web: WebSite, spooled: Spooled) -> None:
    bodies = {web.put("example.com", f"{number}.aci", bytes([number]) * MIB): number for number in range(16)}

    def fetched(url: str) -> bytes:
        download(client, url, file := spooled(url), limit=MIB)
        return content(file)

    with Client(Config()) as client, ThreadPoolExecutor(8) as pool:
        for number, body in zip(bodies.values(), pool.map(fetched, bodies), strict=True):
            assert body == bytes([number]) * MIB


@pytest.mark.parametrize("validator", ["etag", "last_modified"])
def test_only_what_has_changed_is_downloaded_again(web: WebSite, validator: str, spooled: Spooled) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    with Client(Config()) as client:
        file = spooled(url)
        first = download(client, url, file, limit=MIB * 16)
        assert first.validators
        known = Validators(**{validator: getattr(first.validators, validator)})
        file.begin(None)
        unchanged = download(client, url, file, limit=MIB * 16, known=known)
        assert content(file) == b""
        web.put("example.com", "app.aci", IMAGE[::-1])
        changed = download(client, url, file, limit=MIB * 16, known=known)
    assert (unchanged.status, unchanged.received, unchanged.validators) == (304, 0, first.validators)
    assert (changed.status, content(file)) == (200, IMAGE[::-1])
    assert [line[-3:] for line in web.log()] == ["200", "304", "200"]


NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n%s\r\n"


@pytest.mark.parametrize(
    ("repeated", "validators"),
    [
        (b"", Validators('"a"', LONG_AGO)),
        (b'ETag: W/"a"\r\n', Validators('W/"a"', LONG_AGO)),
        (b"Cache-Control: no-store\r\n", None),
    ],
)
def test_a_304_need_not_repeat_what_is_known(
    direct: None, localhost: trustme.LeafCert, spooled: Spooled, repeated: bytes, validators: Validators | None
) -> None:
    with RawServer(answering(NOT_MODIFIED % repeated), localhost) as server, Client(Config()) as client:
        known = Validators('"a"', LONG_AGO)
        transfer = download(client, server.url, spooled(server.url), limit=MIB, known=known)
    assert (transfer.status, transfer.validators) == (304, validators)


def test_a_304_about_something_else_is_none(direct: None, localhost: trustme.LeafCert, spooled: Spooled) -> None:
    """A server that mixes up its files must not hide that one of them has changed, now and ever after."""

    def handler(connection: socket.socket, head: bytes) -> None:
        unchanged = NOT_MODIFIED % b'ETag: "b"\r\n'
        connection.sendall(unchanged if b"If-None-Match" in head else OK + b"Content-Length: 3\r\n\r\nnew")

    with RawServer(handler, localhost) as server, Client(Config()) as client:
        file = spooled(server.url)
        transfer = download(client, server.url, file, limit=MIB, known=Validators('"a"'))
        assert len(server.requests) == 2
    assert (transfer.status, content(file)) == (200, b"new")


def test_a_redirect_that_promises_nothing_is_asked_for_each_time(
    direct: None, localhost: trustme.LeafCert, spooled: Spooled
) -> None:
    """`latest` leads to a file that never changes, today to this one."""

    def handler(connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ")[1]
        moved = b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n"
        lines = {
            b"/": moved,
            b"/hour": moved + b"Cache-Control: max-age=3600\r\n",
            b"/file": OK + b"Content-Length: 0\r\nCache-Control: max-age=86400\r\n",
        }[path]
        connection.sendall(lines + b"Connection: close\r\n\r\n")

    with RawServer(handler, localhost) as server, Client(Config()) as client:

        def max_age(path: str) -> int | None:
            return download(client, server.url + path, spooled(path), limit=MIB).max_age

        assert max_age("") == 0
        assert 3000 < (max_age("hour") or 0) <= 3600
        assert (max_age("file") or 0) > 80_000
        response = client.get(server.url + "hour", limit=MIB)
        assert 3000 < (response.freshness().seconds or 0) <= 3600


def test_a_file_that_is_announced_as_too_large_is_not_begun(web: WebSite, spooled: Spooled) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    shown, file = Shown(), spooled(url)
    with Client(Config()) as client, pytest.raises(LimitExceeded, match=f"{len(IMAGE)} bytes, more than 1000"):
        download(client, url, file, limit=1000, progress=shown)
    assert (content(file), shown.told) == (b"", [])


def endless(connection: socket.socket, head: bytes) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"x" * 100_000)


def stopping(connection: socket.socket, head: bytes) -> None:
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\nsome")
    connection.recv(1)


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (endless, LimitExceeded),
        (stopping, TransferFailed),
        (answering(OK + b"Content-Length: 100\r\n\r\nsome"), TransferFailed),
        (answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ResourceNotFound),
        (answering(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx"), ServerFailed),
        (answering(b"HTTP/1.1 304 Not Modified\r\n\r\n"), ServerFailed),
    ],
    ids=["endless", "stopping", "too short", "404", "206", "304 unasked"],
)
def test_downloads_that_fail(
    direct: None, localhost: trustme.LeafCert, handler: Handler, error: type[NetworkError], spooled: Spooled
) -> None:
    shown = Shown()
    config = IMPATIENT if handler is stopping else Config(limits=Limits(retries=0))
    with RawServer(handler, localhost) as server, Client(config) as client:
        file = spooled(server.url)
        with pytest.raises(error) as raised:
            download(client, server.url, file, limit=MIB, progress=shown)
    assert server.url in raised.value.message
    assert len(content(file)) <= MIB
    assert not shown.told or shown.told[-1] == ()


def test_a_download_that_is_too_slow_is_given_up(
    direct: None, localhost: trustme.LeafCert, spooled: Spooled
) -> None:
    def dripping(connection: socket.socket, head: bytes) -> None:
        connection.sendall(OK + b"\r\n")
        connection.settimeout(0.02)
        while True:
            connection.sendall(b"x" * 100)
            try:
                connection.recv(1)
            except TimeoutError:
                continue
            return

    def attempt(seconds: float) -> None:
        limits = Limits(minimum_rate=1_000_000, rate_window=seconds, retries=1, retry_delay=0.001)
        with RawServer(dripping, localhost) as server, Client(Config(limits=limits)) as client:
            file = spooled(server.url)
            with pytest.raises(TransferFailed, match="slower than 1000000 bytes a second"):
                download(client, server.url, file, limit=MIB)
            assert len(server.requests) == 2
        assert content(file)

    within(0.2, attempt)


def test_the_rate_is_measured_over_each_window_anew() -> None:
    floor = RateFloor(minimum=100, window=10, now=50)
    assert floor.is_kept(0, now=59)
    assert floor.is_kept(1000, now=60)
    assert floor.is_kept(900, now=69)
    assert not floor.is_kept(99, now=70)


def test_the_rate_of_a_chunk_that_comes_late_counts_the_time_that_it_took() -> None:
    assert not RateFloor(minimum=100, window=10, now=0).is_kept(1000, now=11)
    assert RateFloor(minimum=100, window=10, now=0).is_kept(1100, now=11)


def test_only_time_in_which_bytes_can_come_and_our_own_pauses_count() -> None:
    floor = RateFloor(minimum=100, window=10, now=-100)
    floor.go_on(now=0)
    assert floor.is_kept(1, now=1)
    floor.halt(now=1)
    floor.halt(now=50)
    floor.go_on(now=101, own_pause=2)
    assert floor.is_kept(1, now=107)  # nine seconds of it count
    assert not floor.is_kept(1, now=108)


def test_a_failing_disk_is_not_taken_for_the_network(web: WebSite, spooled: Spooled) -> None:
    class Full:
        note, size = None, 0

        def __init__(self, file: SpoolFile) -> None:
            self.begin, self.seek, self.read, self.fileno = file.begin, file.seek, file.read, file.fileno

        def write(self, data: bytes) -> int:
            raise TimeoutError("the disk is far away")

    url = web.put("example.com", "app.aci", IMAGE)
    with Client(Config()) as client, pytest.raises(TimeoutError, match="the disk is far away"):
        download(client, url, Full(spooled(url)), limit=MIB * 16)
