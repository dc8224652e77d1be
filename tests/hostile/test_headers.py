"""Headers without end, too slow, and such as no server should send."""

import pytest

from acistore.errors import AcistoreError, ConnectionFailed, ServerFailed, TLSFailed, TransferFailed
from tests.hostile.conftest import MIB, TAG, Victim
from tests.hostile.measured import Measured
from tests.hostile.servers import BUFFERS, OK, Flood, dripping, silent, stopping, whole
from tests.web import Handler, RawServer, answering

LENGTH = b"Content-Length: 0\r\n\r\n"
FLOODS = {
    "one line": Flood(OK + b"Header: "),
    "one name": Flood(OK),
    "many lines": Flood(OK, b"Header: value\r\n"),
    "many lengths": Flood(OK, b"Content-Length: 5\r\n"),
    "folded lines": Flood(OK + b"Header: x\r\n", b" x\r\n"),
    "status line": Flood(b"HTTP/1.1 200 "),
    "version": Flood(b"HTTP/1."),
    "blank lines": Flood(b"", b"\r\n"),
    "zeros": Flood(b"", b"\0"),
}


def fresh(name: str) -> Flood:
    return Flood(FLOODS[name].start, FLOODS[name].drop)


@pytest.mark.parametrize("name", FLOODS)
def test_headers_without_end_are_given_up_early(victim: Victim, name: str) -> None:
    flood = fresh(name)
    victim.refuses(ServerFailed, page=flood)
    assert flood.sent < BUFFERS


@pytest.mark.parametrize("place", ["page", "signature", "image"])
def test_preliminary_answers_without_end_are_given_up_at_the_deadline(victim: Victim, place: str) -> None:
    hints = Flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    victim.gives_up(ConnectionFailed, **{place: hints})


@pytest.mark.parametrize(
    ("place", "start", "drop"),
    [
        ("page", OK, b"X: y\r\n"),
        ("signature", OK + b"Header: ", b"x"),
        ("image", b"", b"H"),
        ("image", OK, b"X: y\r\n"),
        ("image", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=lambda each: ascii(each[:20]),
)
def test_headers_that_drip_are_given_up_at_the_deadline(
    victim: Victim, place: str, start: bytes, drop: bytes
) -> None:
    victim.gives_up(ConnectionFailed, ServerFailed, **{place: dripping(start, drop)})


@pytest.mark.parametrize(
    ("name", "kind", "limits"),
    [("many lines", ServerFailed, {}), ("hints", ConnectionFailed, {"deadline": "1s"})],
)
def test_headers_without_end_cost_the_command_no_memory(
    victim: Victim, honest: Measured, name: str, kind: type[AcistoreError], limits: dict[str, str]
) -> None:
    hints = Flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    ran = victim.command_refuses(kind, limits=limits, page=hints if name == "hints" else fresh(name))
    assert ran.peak < honest.peak + 32 * MIB


PROXIES: dict[str, Handler] = {
    "silent": silent,
    "drips": dripping(b"", b"H"),
    "header drips": dripping(OK + b"Header: "),
    "never begins": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "says nothing more": stopping(OK + b"\r\n"),
    "goes on": dripping(OK + b"\r\n\x16\x03\x03\x40\x00"),
    "endless headers": Flood(OK, b"Header: value\r\n"),
    "endless status": Flood(b"HTTP/1.1 200 "),
    "endless body": Flood(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    "redirects": answering(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.org/\r\nContent-Length: 0\r\n\r\n"),
    "hangs up": answering(b""),
}


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_means_harm_is_given_up_and_told(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with RawServer(PROXIES[name]) as proxy:
        monkeypatch.setenv("https_proxy", f"http://localhost:{proxy.port}")
        limits = {"connect_timeout": "300ms", "deadline": "500ms"}
        error = victim.fails(ConnectionFailed, ServerFailed, TransferFailed, TLSFailed, limits=limits)
        asked = [head for head in proxy.requests if head]  # nothing, when the time was over before
        assert all(head.startswith(b"CONNECT example.com:443 ") for head in asked)
    assert f"localhost:{proxy.port}" in error.facts["way"]
    assert victim.contacts() == set()


@pytest.mark.parametrize(
    "lines",
    [
        b"No colon\r\n",
        b": no name\r\n",
        b"Blank : before the colon\r\n",
        b"Nul: \0\r\n",
        b"Return: a\rLocation: /evil\r\n",
        b"\xff\xfe: x\r\n",
        b" folded: at the beginning\r\n",
    ],
    ids=ascii,
)
def test_headers_that_are_none_are_no_http(victim: Victim, lines: bytes) -> None:
    victim.refuses(ServerFailed, image=answering(OK + lines + LENGTH))


@pytest.mark.parametrize(
    "lines",
    [
        b"ETag: \xff\xfe\r\nLast-Modified: never\r\nDate: today\r\nAge: -5\r\nExpires: 0\r\n",
        b'ETag: "\x1b[2J\x07"\r\nLast-Modified: \x1b]0;evil\x07\r\n',
        b'ETag: "' + b"x" * 50_000 + b'"\r\n',
        b"Cache-Control: max-age=" + b"9" * 10_000 + b"\r\n",
        b"Cache-Control: " + b"," * 50_000 + b"\r\n",
        b"Last-Modified: Thu, 99 Foo 99999999999 99:99:99 GMT\r\nAge: " + b"9" * 10_000 + b"\r\n",
        b"Content-Type: text/html; charset=" + b"x" * 50_000 + b"\r\n",
        b"Content-Range: bytes 5-1/-3\r\nAccept-Ranges: evil\r\nVary: *\r\n",
        b"Set-Cookie: evil=1\r\nStrict-Transport-Security: max-age=1\r\nRefresh: 0; url=https://elsewhere.org\r\n",
        b"Link: <https://elsewhere.org/a.aci>; rel=canonical\r\nContent-Location: https://elsewhere.org/\r\n",
    ],
    ids=lambda lines: ascii(lines[:30]),
)
def test_odd_values_of_headers_spoil_nothing(victim: Victim, lines: bytes) -> None:
    """Neither this fetch nor the next one, which may send back what it has heard."""
    odd = lines.removesuffix(b"\r\n")
    image, signature = victim.good.body, victim.good.signature
    with victim.site(page=whole(TAG, odd), signature=whole(signature, odd), image=whole(image, odd)) as site:
        for _ in range(2):
            victim.fetch()
            assert victim.has_the_image()
        assert not any(b"Cookie" in head for head in site.requests)
    assert victim.contacts() == {"example.com"}
