"""What servers send to who asks for the rest of a download: taken only if it is that."""

from dataclasses import replace
from email.utils import formatdate

import pytest

from acistore.config import Config
from acistore.errors import LimitExceeded, RequestRefused, ServerFailed, TransferFailed
from acistore.net import Client, download
from tests.fileserver import File
from tests.net.downloads import BODY, QUICK, Serve

LAST_WEEK = formatdate(1_700_000_000, usegmt=True)


def test_what_had_come_completely_is_not_asked_for_again(serve: Serve) -> None:
    file = File(BODY)
    with serve(file) as served:
        config = replace(Config(), limits=QUICK)
        with Client(config) as client, served.downloads.spool() as spool:
            download(client, served.downloads.url, spool, limit=1 << 20)
        assert served.downloads.left() == len(BODY)
        content, transfer = served.downloads.run()
    assert content == BODY
    assert (transfer.received, transfer.status) == (0, 200)
    assert file.sent == len(BODY)


def _part(begin: int, total: object, body: bytes, etag: str) -> bytes:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {begin}-{begin + len(body) - 1}/{total}\r\n"
    return f"{head}ETag: {etag}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "what",
    ["another place", "another tag", "no tag", "another size", "no range", "odd range", "two ranges", "several"],
)
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
        "no tag": _part(100_000, size, rest[::-1], file.etag).replace(b"ETag", b"X-Tag"),
        "two ranges": _part(100_000, size, rest[::-1], file.etag).replace(
            b"ETag", b"Content-Range: bytes 0-1/2\r\nETag"
        ),
        "several": _part(100_000, size, rest[::-1], file.etag).replace(
            b"Content-Range: bytes", b"Content-Type: multipart/byteranges; boundary=x\r\nX-Range: bytes"
        ),
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


def _moved(to: str | None) -> list[bytes]:
    """The answers before that of the file."""
    return [f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()] if to else []


@pytest.mark.parametrize(
    ("first", "then"),
    [(None, "/1.0/app"), ("/1.0/app", "/2.0/app"), ("/1.0/app", None)],
)
def test_what_a_redirect_leads_to_is_not_the_rest_of_what_was_elsewhere(
    serve: Serve, first: str | None, then: str | None
) -> None:
    """Whatever its date says: those of two files may well be the same."""
    file = File(BODY, cuts=[100_000], instead=_moved(first), etag=None, last_modified=LAST_WEEK)
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.replace(BODY[::-1])
        file.instead = _moved(then)
        assert served.downloads.left() == 100_000
        assert served.downloads.run(replace(QUICK, retries=0))[0] == file.body
    assert file.ranges[-1] is None
    assert b"If-Range" not in file.heads[-1]


def test_a_redirect_to_another_mirror_each_time_does_not_begin_anew(serve: Serve) -> None:
    """By its tag and its length it is the same file."""
    file = File(BODY, cuts=[50_000] * 5, instead=_moved("/mirror-1/app"))
    with serve(file) as served:
        for number in range(2, 5):
            with pytest.raises(TransferFailed):
                served.downloads.run(replace(QUICK, retries=0))
            file.instead = _moved(f"/mirror-{number}/app")
        file.cuts = []
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY
    assert file.sent == len(BODY)


def test_a_place_that_was_asked_for_no_part_can_not_send_one(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000], etag=None, last_modified=LAST_WEEK)
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [*_moved("/2.0/app"), _part(100_000, len(BODY), BODY[100_000:], '"any"')]
        with pytest.raises(ServerFailed, match="206"):
            served.downloads.run()
        file.instead = [*_moved("/2.0/app"), b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"]
        with pytest.raises(RequestRefused):
            served.downloads.run()


@pytest.mark.parametrize("then", ["/mirror", "/mirror?for=you"])
@pytest.mark.parametrize("first", ["/mirror", "/mirror?for=me"])
def test_the_rest_is_asked_of_the_place_that_redirects_led_to(serve: Serve, first: str, then: str) -> None:
    """A signed URL has another query each time, which is written down nowhere; by an entity tag it is known."""
    file = File(BODY, cuts=[100_000], instead=_moved(first))
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        with served.downloads.spool() as spool:
            assert spool.note
            assert "for=me" not in str(spool.note)
        file.instead = _moved(then)
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY
    assert file.heads[-1].startswith(f"GET {then} ".encode())
    assert file.ranges[-1] == "bytes=100000-"
    assert file.sent == len(BODY)


def test_a_date_and_the_length_tell_a_file_whatever_its_query(serve: Serve) -> None:
    """A signed URL has another one each time."""
    file = File(BODY, cuts=[100_000], instead=_moved("/app?signed=1"), etag=None, last_modified=LAST_WEEK)
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = _moved("/app?signed=2")
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY
    assert file.sent == len(BODY)


@pytest.mark.parametrize("total", [len(BODY), "*"])
def test_a_server_that_sends_short_parts_is_asked_for_the_next(serve: Serve, total: int | str) -> None:
    """Also when the part is of a whole of unknown size: it is not taken for its end."""
    file = File(BODY, cuts=[100_000])
    assert file.etag
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.instead = [_part(100_000, total, BODY[100_000:150_000], file.etag)]
        assert served.downloads.run()[0] == BODY
    assert file.ranges[-2:] == ["bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_that_somebody_has_made_longer_is_downloaded_again(serve: Serve, knows_ranges: bool) -> None:
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        [part] = served.downloads.parts()
        with open(part, "ab") as spoiled:
            spoiled.write(bytes(len(BODY)))
        file.ranges_work = knows_ranges
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY


@pytest.mark.parametrize("headers", ["", 'ETag: "other"\r\n'])
def test_a_part_is_not_the_whole_because_another_file_is_as_long(serve: Serve, headers: str) -> None:
    """Its server looks at Range, and not at If-Range."""
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        beyond = f"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */100000\r\n{headers}\r\n"
        file.instead = [beyond.encode()]
        assert served.downloads.run(replace(QUICK, retries=0))[0] == BODY


def test_what_is_said_of_a_416_is_not_said_of_what_is_there(serve: Serve) -> None:
    file = File(BODY)
    with serve(file) as served:
        with Client(replace(Config(), limits=QUICK)) as client, served.downloads.spool() as spool:
            first = download(client, served.downloads.url, spool, limit=1 << 20)
        file.headers = ["Cache-Control: max-age=600"]
        _, transfer = served.downloads.run()
    assert (transfer.max_age, transfer.validators) == (None, first.validators)


def test_a_rest_that_comes_encoded_is_refused_and_what_is_there_stays(serve: Serve) -> None:
    file = File(BODY, cuts=[100_000])
    with serve(file) as served:
        with pytest.raises(TransferFailed):
            served.downloads.run(replace(QUICK, retries=0))
        file.headers = ["Content-Encoding: gzip"]
        with pytest.raises(ServerFailed, match="encoded"):
            served.downloads.run()
        assert served.downloads.left() == 100_000
        file.headers = []
        assert served.downloads.run()[0] == BODY
    assert file.ranges[-1] == "bytes=100000-"


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
