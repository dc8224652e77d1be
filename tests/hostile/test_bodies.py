"""Bodies without end, too slow, too short, framed wrong; and servers that don't answer what was asked."""

import pytest
import trustme

from acistore.errors import (
    AcistoreError,
    BadSignature,
    ConnectionFailed,
    EndpointNotFound,
    LimitExceeded,
    MalformedSignature,
    NetworkError,
    ResourceNotFound,
    ServerFailed,
    SignatureMissing,
    TLSFailed,
    TransferFailed,
)
from tests.hostile.conftest import IMAGE_SIZE, MIB, TAG, Victim
from tests.hostile.measured import Measured
from tests.hostile.servers import (
    BUFFERS,
    CHUNKED,
    OK,
    Flood,
    dripping,
    lengths,
    resetting,
    saying,
    silent,
    stopping,
    whole,
)
from tests.web import answering

# --- without end


@pytest.mark.parametrize("head", [OK + b"\r\n", CHUNKED], ids=["until it hangs up", "chunked"])
def test_an_image_without_end_is_given_up_at_the_limit(victim: Victim, head: bytes) -> None:
    piece = b"x" * 16384 if head == OK + b"\r\n" else b"4000\r\n" + b"x" * 16384 + b"\r\n"
    flood = Flood(head, piece)
    victim.refuses(LimitExceeded, image=flood)
    assert flood.sent < IMAGE_SIZE + BUFFERS


def test_an_image_that_is_announced_as_too_large_is_not_begun(victim: Victim) -> None:
    flood = Flood(OK + b"Content-Length: 99999999999999999999\r\n\r\n")
    victim.refuses(LimitExceeded, image=flood)
    assert flood.sent < BUFFERS


@pytest.mark.parametrize("most", [10 * MIB, float("inf")], ids=["10 MiB", "endless"])
def test_a_signature_is_read_up_to_its_limit_and_the_image_is_not_asked_for(victim: Victim, most: float) -> None:
    flood = Flood(OK + b"\r\n", most=most)
    refused = victim.refuses(LimitExceeded, signature=flood)
    assert flood.sent < BUFFERS
    assert not any(asked.endswith(".aci") for asked in refused.asked)


def test_a_signature_that_is_a_web_page_is_none(victim: Victim) -> None:
    refused = victim.refuses(MalformedSignature, signature=whole(b"<html><title>Welcome</title>" * 1000))
    assert not any(asked.endswith(".aci") for asked in refused.asked)


def test_an_endless_image_costs_the_command_neither_memory_nor_disk(victim: Victim, honest: Measured) -> None:
    ran = victim.command_refuses(LimitExceeded, image=Flood(OK + b"\r\n"), largest_file=16 * MIB)
    assert ran.peak < honest.peak + 32 * MIB


# --- slow


@pytest.mark.parametrize(
    ("place", "kind", "start"),
    [
        ("page", LimitExceeded, OK + b"\r\n"),
        ("signature", LimitExceeded, OK + b"Content-Length: 2000\r\n\r\n"),
        ("image", TransferFailed, OK + b"\r\n"),
        ("image", TransferFailed, OK + b"Content-Length: 2000\r\n\r\n"),
        ("image", TransferFailed, CHUNKED),
    ],
)
def test_one_byte_a_second_is_given_up(victim: Victim, place: str, kind: type[NetworkError], start: bytes) -> None:
    drop = b"1\r\nx\r\n" if start == CHUNKED else b"x"
    victim.gives_up(kind, **{place: dripping(start, drop)})


@pytest.mark.parametrize(
    ("place", "kind"), [("page", LimitExceeded), ("signature", LimitExceeded), ("image", TransferFailed)]
)
def test_a_body_that_stops_is_given_up(victim: Victim, place: str, kind: type[NetworkError]) -> None:
    victim.gives_up(kind, **{place: stopping(OK + b"Content-Length: 2000\r\n\r\nsome")})


def test_much_around_each_byte_does_not_count_as_speed(victim: Victim) -> None:
    padded = Flood(CHUNKED, b"1;" + b"x" * 20_000 + b"\r\nx\r\n")
    victim.gives_up(TransferFailed, limits={"minimum_rate": "1MiB"}, image=padded)


# --- framed wrong


@pytest.mark.parametrize(
    "head",
    [
        lengths(b"-1"),
        lengths(b"+5"),
        lengths(b"0x10"),
        lengths(b"1_0"),
        lengths(b"1.5"),
        lengths(b"5 5"),
        lengths(b"5, 6"),
        lengths(b"5", b"6"),
        lengths(b"\xc2\xb2"),
        lengths(b"9" * 5000),
        OK + b"Transfer-Encoding: gzip, chunked\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        OK + b"Transfer-Encoding: \x0bchunked\r\n",
    ],
    ids=lambda head: head[len(OK) : len(OK) + 40].decode("latin-1"),
)
def test_lengths_that_mean_nothing_are_no_http(victim: Victim, head: bytes) -> None:
    victim.refuses(ServerFailed, image=answering(head + b"\r\nhello"))


def test_a_body_shorter_than_announced_has_broken_off(victim: Victim) -> None:
    body = victim.good.body
    for place in ("page", "signature", "image"):
        victim.refuses(TransferFailed, **{place: answering(lengths(b"%d" % (len(body) + 5000)) + b"\r\n" + body)})


def test_a_body_longer_than_announced_is_cut_and_then_is_not_what_was_signed(victim: Victim) -> None:
    body, signature = victim.good.body, victim.good.signature
    victim.refuses(BadSignature, image=answering(lengths(b"%d" % (len(body) - 1)) + b"\r\n" + body))
    victim.refuses(BadSignature, image=answering(lengths(b"0") + b"\r\n" + body))
    victim.refuses(MalformedSignature, signature=answering(lengths(b"40") + b"\r\n" + signature))
    victim.refuses(EndpointNotFound, page=answering(lengths(b"10") + b"\r\n" + TAG))


@pytest.mark.parametrize("length", [b"0", b"3", b"100000"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_length_beside_chunks_changes_nothing(victim: Victim, length: bytes, order: int) -> None:
    """RFC 9112 § 6.3: the chunks count. Whatever else is said, it is the right image or none."""
    body = victim.good.body
    fields = [b"Content-Length: " + length, b"Transfer-Encoding: chunked"][::order]
    head = OK + b"\r\n".join(fields) + b"\r\n\r\n"
    chunks = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    with victim.site(image=answering(head + chunks)):
        try:
            victim.fetch()
        except (ServerFailed, TransferFailed):
            victim.has_nothing(may_resume=True)
        else:
            assert victim.has_the_image()


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(victim: Victim) -> None:
    """What a server sends behind an answer, on a connection that is kept, is in the way of the next one."""
    kept = b"Content-Length: %d\r\n\r\n"
    evil = OK + kept % 4 + b"evil"
    victim.refuses(
        *(BadSignature, ServerFailed, TransferFailed, TLSFailed),
        signature=answering(OK + kept % len(victim.good.signature) + victim.good.signature + evil),
        image=whole(victim.good.body[:-1]),
    )


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello, world\r\n0\r\n\r\n",
        b"5\r\nhel",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"ffffffffffffffffffffffff\r\nhello",
        b"\r\n\r\n\r\n",
        b"",
        b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"Trailer: x\r\n" * 100_000 + b"\r\n",
    ],
    ids=lambda chunks: ascii(chunks[:24]),
)
def test_broken_chunks_break_the_transfer_off(victim: Victim, chunks: bytes) -> None:
    victim.refuses(TransferFailed, ServerFailed, image=answering(CHUNKED, chunks))


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"5;x=", b"y"), (b"5\r\nhello\r\n0\r\n", b"Trailer: x\r\n"), (b"5\r\nhello\r\n0\r\nTrailer: ", b"x")],
    ids=["chunk extension", "trailers", "one trailer"],
)
@pytest.mark.parametrize("place", ["page", "image"])
def test_what_comes_with_chunks_has_an_end_too(victim: Victim, place: str, start: bytes, drop: bytes) -> None:
    flood = Flood(CHUNKED + start, drop)
    victim.refuses(TransferFailed, ServerFailed, **{place: flood})
    assert flood.sent < BUFFERS


# --- encoded


@pytest.mark.parametrize(
    ("place", "encoding"),
    [
        ("page", b"gzip"),
        ("signature", b"gzip"),
        ("image", b"gzip"),
        ("image", b"br, gzip"),
        ("image", b"x" * 1000),
    ],
    ids=lambda each: ascii(each[:8]),
)
def test_encodings_that_nobody_asked_for_are_refused_unread(victim: Victim, place: str, encoding: bytes) -> None:
    flood = Flood(OK + b"Content-Encoding: " + encoding + b"\r\n\r\n")
    victim.refuses(ServerFailed, **{place: flood})
    assert flood.sent < BUFFERS


# --- answers to something else


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n--x\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 226 IM Used\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 300 Multiple Choices\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Request denied\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 000 Nothing\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"<html>an answer of HTTP/0.9</html>",
        b"220 ftp.example.com ready\r\n",
        b"\0" * 10_000,
        b"",
    ],
    ids=lambda answer: ascii(answer[:24]),
)
def test_an_image_can_only_be_a_200(victim: Victim, answer: bytes) -> None:
    victim.refuses(ServerFailed, TransferFailed, image=answering(answer))


def test_a_change_of_protocol_is_no_answer(victim: Victim) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\n"
    for place in ("page", "signature", "image"):
        victim.refuses(ServerFailed, **{place: answering(switching, b"evil" * 1000)})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"204 No Content", ServerFailed),
        (b"202 Accepted", SignatureMissing),
        (b"206 Partial Content", ServerFailed),
        (b"404 Not Found", SignatureMissing),
    ],
)
def test_a_signature_can_only_be_a_200(victim: Victim, status: bytes, error: type[AcistoreError]) -> None:
    victim.refuses(error, signature=saying(status))


@pytest.mark.parametrize("status", [b"204 No Content", b"206 Partial Content"])
def test_a_page_can_only_be_a_200(victim: Victim, status: bytes) -> None:
    victim.refuses(EndpointNotFound, page=whole(TAG, status=status) if b"206" in status else saying(status))


def test_a_body_where_none_may_be_is_not_read(victim: Victim) -> None:
    """Without a signature the image is asked for by HEAD."""
    flood = Flood(OK + b"Content-Length: 5\r\n\r\n", b"evil!", most=MIB)
    refused = victim.refuses(SignatureMissing, signature=saying(b"404 Not Found"), image=flood)
    assert [asked.split()[0] for asked in refused.asked] == ["GET", "GET", "HEAD"]


@pytest.mark.parametrize(
    ("status", "kind"), [(b"404 Not Found", ResourceNotFound), (b"503 Service Unavailable", ServerFailed)]
)
def test_an_error_page_without_end_is_not_read(victim: Victim, status: bytes, kind: type[AcistoreError]) -> None:
    flood = Flood(b"HTTP/1.1 " + status + b"\r\n\r\n")
    victim.refuses(kind, image=flood)
    assert flood.sent < BUFFERS


# --- no answer


@pytest.mark.parametrize("place", ["page", "signature", "image"])
def test_a_server_that_never_answers_is_given_up(victim: Victim, place: str) -> None:
    victim.gives_up(ConnectionFailed, **{place: silent})


@pytest.mark.parametrize("place", ["signature", "image"])
@pytest.mark.parametrize("start", [b"", OK, OK + b"Content-Length: 50\r\n\r\nsome"], ids=["", "headers", "body"])
def test_a_connection_that_is_reset_is_told_as_such(
    victim: Victim, authority: trustme.CA, place: str, start: bytes
) -> None:
    """On a direct way, since a proxy would hang up politely."""
    with victim.site(certificate=authority.issue_cert("localhost"), **{place: resetting(start)}) as site:
        victim.fails(TransferFailed, ServerFailed, TLSFailed, wanted=f"https://localhost:{site.port}/app.aci")
