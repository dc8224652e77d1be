"""Downloads that broke off, and servers that lie when they are asked for the rest: it is the right image in the
end, or none, and what they leave behind is in nobody's way."""

import socket

import pytest

from acistore.errors import BadSignature, NetworkError, ResourceNotFound, TransferFailed
from tests.hostile.conftest import Victim
from tests.hostile.servers import OK, Flood, moved, resetting, saying, silent, whole
from tests.store.conftest import files_in
from tests.web import Handler, answering

ETAG = b'ETag: "v1"\r\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\nDate: Thu, 02 Jan 2020 00:00:00 GMT\r\n'
PARTIAL = b"HTTP/1.1 206 Partial Content\r\n"


def broken_off(victim: Victim, *, evil: bool = False) -> None:
    """A download breaks off in the middle; `evil`: and what came was not of the image."""
    body = victim.good.body
    half = (b"x" * len(body) if evil else body)[: len(body) // 2]
    head = OK + ETAG + b"Accept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n" % len(body)
    victim.refuses(TransferFailed, image=answering(head + half))


def continuing(body: bytes) -> Handler:
    """A handler that knows of ranges, and does as it should."""

    def handler(connection: socket.socket, head: bytes) -> None:
        start = start_of(head)
        if start is None:
            connection.sendall(OK + ETAG + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        elif start < len(body):
            connection.sendall(
                PARTIAL
                + ETAG
                + b"Content-Range: bytes %d-%d/%d\r\n" % (start, len(body) - 1, len(body))
                + b"Content-Length: %d\r\n\r\n" % (len(body) - start)
                + body[start:]
            )
        else:
            beyond = b"Content-Range: bytes */%d" % len(body)
            whole(b"", beyond, status=b"416 Range Not Satisfiable")(connection, head)

    return handler


def start_of(head: bytes) -> int | None:
    """Where the rest begins that is asked for."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"range: bytes="):
            return int(line[13:].partition(b"-")[0])
    return None


def ends_well(victim: Victim) -> None:
    """Whatever has happened: an honest server gets the image through."""
    with victim.site(image=continuing(victim.good.body)):
        victim.fetch()
    assert victim.has_the_image()
    assert [name for name in files_in(victim.directory) if not name.startswith("packs/")] == []


def lied_to(victim: Victim, handler: Handler) -> None:
    """One fetch from a server that lies: nothing wrong is stored."""
    with victim.site(image=handler):
        try:
            victim.fetch(limits={"rate_window": "500ms", "deadline": "2s"})
        except (NetworkError, BadSignature, ResourceNotFound):
            victim.has_nothing(may_resume=True)
        else:
            assert victim.has_the_image()


def test_a_download_that_broke_off_goes_on(victim: Victim) -> None:
    broken_off(victim)
    ends_well(victim)


RANGES = [
    b"bytes 0-9/10",
    b"bytes 0-0/1",
    b"bytes 5-4/10",
    b"bytes -1-5/10",
    b"bytes 0-99999999999999999999/99999999999999999999",
    b"bytes 1-",
    b"bytes */*",
    b"bytes",
    b"lines 1-2/3",
    b"",
]


@pytest.mark.parametrize("content_range", RANGES)
@pytest.mark.parametrize("length", [b"Content-Length: 10\r\n", b""], ids=["told", "not told"])
def test_a_part_that_is_not_the_one_asked_for_is_not_taken(
    victim: Victim, content_range: bytes, length: bytes
) -> None:
    broken_off(victim)
    lied_to(
        victim,
        answering(PARTIAL + ETAG + b"Content-Range: " + content_range + b"\r\n" + length + b"\r\n0123456789"),
    )
    ends_well(victim)


ANSWERS: dict[str, Handler] = {
    "no range at all": answering(PARTIAL + ETAG + b"Content-Length: 4\r\n\r\nevil"),
    "several parts": answering(
        PARTIAL + ETAG + b"Content-Type: multipart/byteranges; boundary=x\r\n\r\n--x\r\n\r\nevil\r\n--x--\r\n"
    ),
    "out of range": whole(b"", b"Content-Range: bytes */5", status=b"416 Range Not Satisfiable"),
    "out of any range": whole(b"", status=b"416 Range Not Satisfiable"),
    "not modified": answering(b"HTTP/1.1 304 Not Modified\r\n" + ETAG + b"\r\n"),
    "no content": saying(b"204 No Content"),
    "gone": saying(b"410 Gone"),
    "precondition": saying(b"412 Precondition Failed"),
    "another file": whole(b"evil" * 1000, b'ETag: "v2"'),
    "another file of the same name": whole(b"evil" * 1000, b'ETag: "v1"'),
    "a circle": moved(b""),
    "hangs up": answering(b""),
    "resets": resetting(),
    "endless": Flood(OK + ETAG + b"\r\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_other_answers_to_who_asks_for_the_rest_do_no_harm(victim: Victim, name: str) -> None:
    broken_off(victim)
    lied_to(victim, ANSWERS[name])
    ends_well(victim)


@pytest.mark.parametrize("end", ["right", "wrong", "endless", "another validator", "silence"])
def test_a_rest_that_is_not_the_rest_does_no_harm(victim: Victim, end: str) -> None:
    size = len(victim.good.body)

    def handler(connection: socket.socket, head: bytes) -> None:
        start = start_of(head) or 0
        tag = ETAG.replace(b"v1", b"v2") if end == "another validator" else ETAG
        fields = b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (start, size - 1, size)
        if end == "right":
            answering(PARTIAL + tag + fields, victim.good.body[start:])(connection, head)
        elif end == "silence":
            connection.sendall(PARTIAL + tag + fields)
            silent(connection, head)
        elif end == "endless":
            Flood(PARTIAL + tag + fields)(connection, head)
        else:
            answering(PARTIAL + tag + fields, b"x" * (size - start))(connection, head)

    broken_off(victim)
    lied_to(victim, handler)
    ends_well(victim)


def test_a_false_beginning_is_not_in_the_way_for_ever(victim: Victim) -> None:
    """Whoever has sent it, with the validators of the right file: one fetch finds out, the next one succeeds."""
    broken_off(victim, evil=True)
    lied_to(victim, continuing(victim.good.body))
    ends_well(victim)
