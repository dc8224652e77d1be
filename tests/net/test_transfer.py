"""Downloads into files: whole, conditional, bounded, and not too slow."""

import io
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from acistore.config import Config, Limits
from acistore.errors import LimitExceeded, NetworkError, ResourceNotFound, ServerFailed, TransferFailed
from acistore.net import Client, download
from acistore.net.transfer import RateFloor, max_age
from tests.web import Handler, RawServer, WebSite, answering

MIB = 1 << 20
IMAGE = bytes(range(256)) * 12_345
OK = b"HTTP/1.1 200 OK\r\n"
DAY = 86_400


class Shown:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def start(self, what: str, total: int | None) -> None:
        self.told.append((what, total))

    def advance(self, count: int) -> None:
        self.told.append((count,))

    def done(self) -> None:
        self.told.append(())


@pytest.fixture
def localhost(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost")


def test_a_download_goes_into_the_file_and_past_those_who_look_on(web: WebSite) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    file, shown, seen = io.BytesIO(), Shown(), bytearray()
    with Client(Config()) as client:
        transfer = download(client, url, file, limit=len(IMAGE), progress=shown, tee=seen.extend)
    assert file.getvalue() == seen == IMAGE
    assert (transfer.url, transfer.status, transfer.size) == (url, 200, len(IMAGE))
    assert transfer.etag and transfer.last_modified
    assert transfer.max_age is None
    assert shown.told[0] == (f"downloading {url}", len(IMAGE))
    assert sum(count for (count,) in shown.told[1:-1] if isinstance(count, int)) == len(IMAGE)
    assert shown.told[-1] == ()


def test_a_file_of_no_length_that_comes_in_pieces(direct: None, localhost: trustme.LeafCert) -> None:
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    file, shown = io.BytesIO(), Shown()
    with RawServer(answering(answer), localhost) as server, Client(Config()) as client:
        assert download(client, server.url, file, limit=5, progress=shown).size == 5
    assert file.getvalue() == b"abcde"
    assert shown.told[0] == (f"downloading {server.url}", None)


def test_one_client_serves_many_threads(web: WebSite) -> None:
    bodies = {web.put("example.com", f"{number}.aci", bytes([number]) * MIB): number for number in range(16)}

    def fetched(url: str) -> bytes:
        download(client, url, file := io.BytesIO(), limit=MIB)
        return file.getvalue()

    with Client(Config()) as client, ThreadPoolExecutor(8) as pool:
        for number, body in zip(bodies.values(), pool.map(fetched, bodies), strict=True):
            assert body == bytes([number]) * MIB


@pytest.mark.parametrize("validator", ["etag", "last_modified"])
def test_only_what_has_changed_is_downloaded_again(web: WebSite, validator: str) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    with Client(Config()) as client:
        first = download(client, url, io.BytesIO(), limit=MIB * 16)
        known = {validator: getattr(first, validator)}
        unchanged, file = download(client, url, (nothing := io.BytesIO()), limit=MIB * 16, **known), io.BytesIO()
        web.put("example.com", "app.aci", IMAGE[::-1])
        changed = download(client, url, file, limit=MIB * 16, **known)
    assert (unchanged.status, unchanged.size, unchanged.etag, nothing.getvalue()) == (304, 0, first.etag, b"")
    assert (changed.status, file.getvalue()) == (200, IMAGE[::-1])
    assert [line[-3:] for line in web.log()] == ["200", "304", "200"]


def test_a_file_that_is_announced_as_too_large_is_not_begun(web: WebSite) -> None:
    url = web.put("example.com", "app.aci", IMAGE)
    shown, file = Shown(), io.BytesIO()
    with Client(Config()) as client, pytest.raises(LimitExceeded, match=f"{len(IMAGE)} bytes, more than 1000"):
        download(client, url, file, limit=1000, progress=shown)
    assert (file.getvalue(), shown.told) == (b"", [])


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
    direct: None, localhost: trustme.LeafCert, handler: Handler, error: type[NetworkError]
) -> None:
    shown, file = Shown(), io.BytesIO()
    with RawServer(handler, localhost) as server, Client(Config()) as client, pytest.raises(error) as raised:
        download(client, server.url, file, limit=MIB, progress=shown, window=0.2)
    assert server.url in raised.value.message
    assert len(file.getvalue()) <= MIB
    assert not shown.told or shown.told[-1] == ()


def test_a_download_that_is_too_slow_is_given_up(direct: None, localhost: trustme.LeafCert) -> None:
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

    file = io.BytesIO()
    quick = Config(limits=Limits(minimum_rate=1_000_000))
    with (
        RawServer(dripping, localhost) as server,
        Client(quick) as client,
        pytest.raises(TransferFailed, match="slower than 1000000 bytes a second"),
    ):
        download(client, server.url, file, limit=MIB, window=0.2)
    assert file.getvalue()


def test_the_rate_is_measured_over_each_window_anew() -> None:
    floor = RateFloor(minimum=100, window=10, now=50)
    assert floor.is_kept(0, now=59)
    assert floor.is_kept(1000, now=60)
    assert floor.is_kept(900, now=69)
    assert not floor.is_kept(99, now=70)


def test_the_rate_of_a_chunk_that_comes_late_counts_the_time_that_it_took() -> None:
    assert not RateFloor(minimum=100, window=10, now=0).is_kept(1000, now=11)
    assert RateFloor(minimum=100, window=10, now=0).is_kept(1100, now=11)


def test_a_failing_disk_is_not_taken_for_the_network(web: WebSite) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise TimeoutError("the disk is far away")

    url = web.put("example.com", "app.aci", IMAGE)
    with Client(Config()) as client, pytest.raises(TimeoutError, match="the disk is far away"):
        download(client, url, Full(), limit=MIB * 16)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "private"}, None),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": 'Public, Max-Age="60"'}, 60),
        ({"cache-control": "max-age=60", "age": "20"}, 40),
        ({"cache-control": "max-age=60", "age": "99"}, 0),
        ({"cache-control": "max-age=60, no-cache"}, 0),
        ({"cache-control": "no-store"}, 0),
        ({"cache-control": "must-revalidate,max-age=60"}, 0),
        ({"cache-control": "max-age=soon"}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "max-age=86400"}, DAY),
        ({"cache-control": "max-age=86401"}, DAY),
        ({"cache-control": "max-age=172800", "age": "86460"}, DAY - 60),
        ({"cache-control": f"max-age={'9' * 5000}"}, DAY),
        ({"cache-control": f"max-age={'9' * 5000}", "age": "9" * 5000}, 0),
        ({"cache-control": "max-age=60", "age": "old"}, 60),
    ],
)
def test_freshness(headers: Mapping[str, str], seconds: int | None) -> None:
    assert max_age(headers) == seconds


@given(cache_control=st.text(), age=st.text())
def test_no_header_is_too_odd_for_freshness(cache_control: str, age: str) -> None:
    found = max_age({"cache-control": cache_control, "age": age})
    assert found is None or 0 <= found <= DAY
