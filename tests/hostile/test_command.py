"""The command, told to fetch a hundred images at once, each of which is published in a way that means harm: what
it says about each, and what is left of it all."""

import gzip
import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
import trustme

from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    BadSignature,
    ConnectionFailed,
    EndpointNotFound,
    InsecureTransport,
    LimitExceeded,
    MalformedSignature,
    ResourceNotFound,
    ServerFailed,
    TLSFailed,
    TransferFailed,
)
from tests.fetch.conftest import HOST
from tests.hostile.archives import BEGINNING, COMPRESSORS, HIDDEN, LIES, NOISE, ROOM, bomb, huge
from tests.hostile.certificates import CERTIFICATES
from tests.hostile.conftest import MIB, PASSWORD, Victim
from tests.hostile.measured import Measured, measured
from tests.hostile.pages import DEEP, LAUGHS, tag
from tests.hostile.servers import (
    CHUNKED,
    HTML,
    OK,
    Anonymous,
    Deaf,
    Flood,
    Outdated,
    dripping,
    lengths,
    moved,
    saying,
    silent,
    stopping,
    whole,
)
from tests.store.conftest import files_in
from tests.waiting import PATIENCE, within
from tests.web import Handler, RawServer, answering

# Characters of a message or a fact.
LONGEST, LONGEST_FACT = 1001 + 20, 4001


@dataclass(frozen=True)
class Harm:
    """One image: what is wrong with it at which `place` (`body`: the publisher has signed it), and how the command
    ends for it: an error of a `kind` in which the pattern `told` is found."""

    place: str
    handler: Handler | bytes
    kind: type[AcistoreError]
    told: str


def at(host: str) -> bytes:
    return tag(f"https://{host}/{{name}}-{{version}}.{{ext}}")


def growing(connection: socket.socket, head: bytes) -> None:
    moved(b"/" + b"x" * 3000 + head.split(b" ")[1])(connection, head)


def shaking_hands_for_ever(connection: socket.socket, head: bytes) -> None:
    connection.recv(4096)  # else a proxy may take what comes for its own
    dripping(b"\x16\x03\x03\x40\x00")(connection, head)


TWENTY_LONG = b"".join(tag(f"ftp://{HOST}/{number}" + "x" * 8000 + "{ext}") for number in range(20))
TEN_THOUSAND = b"".join(tag(f"https://{HOST}/{number}/{{name}}.{{ext}}?") for number in range(10_000))
TOO_LONG = "more than 100 KiB of headers"
PRIVATE = "a private address"

AT_ONCE: dict[str, Harm] = {
    # Bodies
    "endless": Harm("image", Flood(OK + b"\r\n"), LimitExceeded, "--limits-image-size"),
    "endless-chunks": Harm(
        "image", Flood(CHUNKED, b"4000\r\n" + b"x" * 16384 + b"\r\n"), LimitExceeded, "--limits-image-size"
    ),
    "endless-signature": Harm("signature", Flood(OK + b"\r\n"), LimitExceeded, "--limits-signature-size"),
    "endless-extension": Harm("image", Flood(CHUNKED + b"5;x=", b"y"), TransferFailed, TOO_LONG),
    "endless-trailers": Harm(
        "image", Flood(CHUNKED + b"5\r\nhello\r\n0\r\n", b"T: x\r\n"), TransferFailed, TOO_LONG
    ),
    "announced": Harm("image", Flood(lengths(b"9" * 20) + b"\r\n"), LimitExceeded, "9{20} bytes"),
    "announced-more": Harm("image", Flood(lengths(b"9" * 22) + b"\r\n"), ServerFailed, "Content-Length"),
    "less-than-none": Harm("image", answering(lengths(b"-1") + b"\r\n"), ServerFailed, "Content-Length"),
    "two-lengths": Harm("image", answering(lengths(b"1", b"2") + b"\r\nx"), ServerFailed, "Content-Length"),
    "length-and-chunks": Harm(
        "image",
        answering(lengths(b"3") + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        BadSignature,
        "does not fit",
    ),
    "cut-off": Harm("image", answering(lengths(b"9999") + b"\r\nabc"), TransferFailed, "after 3 bytes.*hung up"),
    "too-short": Harm("image", answering(lengths(b"3") + b"\r\nabcdef"), BadSignature, "was altered"),
    "encoded-bomb": Harm(
        "page",
        whole(gzip.compress(bytes(MIB)) * 100, b"Content-Encoding: gzip"),
        ServerFailed,
        "encoded .gzip.*as it is",
    ),
    "web-page": Harm("signature", whole(b"<html>" * 1000), MalformedSignature, "not a detached signature"),
    # Heads
    "endless-headers": Harm("page", Flood(OK, b"Header: value\r\n"), ServerFailed, TOO_LONG),
    "endless-header": Harm("image", Flood(OK + b"Header: "), ServerFailed, TOO_LONG),
    "endless-fold": Harm("signature", Flood(OK + b"Header: x\r\n", b" x\r\n"), ServerFailed, TOO_LONG),
    "long-status": Harm("image", answering(b"<html>" * 15_000 + b"\r\n\r\n"), ServerFailed, "illegal status line"),
    "long-header": Harm("image", answering(OK + b"x" * 90_000 + b"\r\n\r\n"), ServerFailed, "illegal header line"),
    "long-chunk": Harm(
        "image", answering(CHUNKED + b"z" * 90_000 + b"\r\n\r\n"), TransferFailed, "illegal chunk header"
    ),
    "long-encoding": Harm(
        "image", answering(OK + b"Content-Encoding: " + b"x" * 90_000 + b"\r\n\r\n"), ServerFailed, "encoded"
    ),
    "http-0.9": Harm("image", answering(b"<html>hello</html>\r\n\r\n"), ServerFailed, "not valid HTTP"),
    "http-2": Harm("page", answering(b"\0\0\0\4\0\0\0\0\0" * 10), ServerFailed, "not valid HTTP"),
    "nothing": Harm("image", answering(b""), TransferFailed, "hung up before an answer"),
    "status-99": Harm("image", answering(b"HTTP/1.1 99 X\r\n\r\n"), ServerFailed, "illegal status line"),
    "status-000": Harm("image", answering(b"HTTP/1.1 000 X\r\n\r\n"), ServerFailed, "not valid HTTP"),
    "status-600": Harm("image", saying(b"600 X"), ServerFailed, "answered 600"),
    "control-characters": Harm("image", moved(b"ftp://h/\x1b]0;evil\x07"), ServerFailed, ""),
    # Redirects
    "circle": Harm("page", moved(b""), LimitExceeded, "--limits-redirects"),
    "ever-longer": Harm("image", growing, LimitExceeded, "--limits-redirects"),
    "to-http": Harm("image", moved(b"http://elsewhere.org/"), InsecureTransport, "from HTTPS to plain HTTP"),
    **{
        f"to-{scheme.partition(':')[0]}": Harm("image", moved(scheme.encode()), ServerFailed, "can't be fetched")
        for scheme in (
            "file:///etc/passwd",
            "ftp://h/a",
            "data:,a",
            "javascript:alert(1)",
            "gopher://h:70/a",
            "https://0177.0.0.1/",
        )
    },
    **{
        f"to-private-{number}": Harm("signature", moved(f"https://{host}/".encode()), InsecureTransport, PRIVATE)
        for number, host in enumerate(
            (
                *("127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "localhost", "2130706433", "0x7f.1"),
                *(
                    "[::1]",
                    "[::ffff:127.0.0.1]",
                    "[64:ff9b::7f00:1]",
                    "[fd00:ec2::254]",
                    "[fe80::1%25lo]",
                    "100.64.0.1",
                ),
            )
        )
    },
    # Archives
    **{
        f"truncated-{name}": Harm("body", pack(NOISE)[:-30], ArchiveRefused, "truncated")
        for name, pack in COMPRESSORS.items()
    },
    **{
        f"corrupt-{name}": Harm("body", pack(NOISE)[:500] + b"\x55" + pack(NOISE)[501:], ArchiveRefused, "corrupt")
        for name, pack in COMPRESSORS.items()
    },
    **{
        f"followed-{name}": Harm("body", pack(NOISE) + b"junk", ArchiveRefused, "followed by something else")
        for name, pack in COMPRESSORS.items()
    },
    **{
        f"bomb-{name}": Harm(
            "body", bomb(name, BEGINNING + huge(b"rootfs/a")), ArchiveRefused, "--limits-unpacked"
        )
        for name in COMPRESSORS
    },
    "bomb-after-the-end": Harm("body", bomb("gzip", HIDDEN["after the end"]), ArchiveRefused, "--limits-unpacked"),
    "bomb-in-a-hole": Harm("body", bomb("gzip", HIDDEN["in a sparse file"]), ArchiveRefused, "--limits-unpacked"),
    "bomb-in-the-manifest": Harm("body", bomb("gzip", HIDDEN["in the manifest"]), ArchiveRefused, "4194304"),
    "bomb-in-a-header": Harm("body", bomb("gzip", HIDDEN["in a PAX header"]), ArchiveRefused, "1048576"),
    "eight-exbibytes": Harm(
        "body", gzip.compress(BEGINNING + LIES["8 EiB that are not there"]), ArchiveRefused, "a size of"
    ),
    "hole": Harm("body", gzip.compress(BEGINNING + LIES["a hole of 8 EiB"]), ArchiveRefused, "a size of"),
    # Pages
    "30-megabytes": Harm(
        "page", Flood(OK + HTML + b"\r\n\r\n", b"<p>", 30 * MIB), EndpointNotFound, "only the first 2097152 bytes"
    ),
    **{
        f"deep-{number}": Harm("page", whole(DEEP[name], HTML), EndpointNotFound, "no tag for")
        for number, name in enumerate(("nested and closed", "many attributes", "one attribute", "half tags"))
    },
    "laughs": Harm("page", whole(LAUGHS, HTML), EndpointNotFound, "no tag for"),
    "charset": Harm("page", whole(b"<meta charset=" + b"x" * MIB + b">", HTML), EndpointNotFound, "no tag for"),
    "long-tags": Harm("page", whole(tag("https://h/" + "x" * MIB)), EndpointNotFound, "no tag for"),
    "ten-thousand-tags": Harm("page", whole(TEN_THOUSAND), ResourceNotFound, "not published"),
    "twenty-long-tags": Harm("page", whole(TWENTY_LONG), InsecureTransport, "neither https nor http"),
    "template-file": Harm("page", whole(tag("file:///etc/passwd{ext}")), InsecureTransport, "neither https nor"),
    "template-controls": Harm(
        "page",
        whole(tag("ftp://h/\x1b]0;evil\x07\x1b[2J\u202e\x9b{ext}"), b"Content-Type: text/html; charset=utf-8"),
        InsecureTransport,
        "neither https nor http",
    ),
    "template-brace": Harm("page", whole(tag("https://h/{evil}")), EndpointNotFound, "needs .evil."),
    "template-line": Harm("page", whole(tag("https://h/a&#10;b{ext}")), ConnectionFailed, "not a URL"),
    # TLS: hosts of their own
    "tls-other-name": Harm("page", whole(at("another-name.test")), TLSFailed, "not valid for 'another-name.test'"),
    "tls-expired": Harm("page", whole(at("expired.test")), TLSFailed, "expired"),
    "tls-to-come": Harm("page", whole(at("not-yet-valid.test")), TLSFailed, "not yet valid.*clock"),
    "tls-self-signed": Harm("page", whole(at("self-signed.test")), TLSFailed, "self.signed.*--ca-file"),
    "tls-unknown": Harm("page", whole(at("unknown-authority.test")), TLSFailed, "--ca-file"),
    "tls-old": Harm("page", whole(at("old.test")), TLSFailed, "TLS 1.2 or newer"),
    "tls-anonymous": Harm("page", whole(at("anonymous.test")), TLSFailed, "TLS failed"),
}

# What nothing but a bound in time ends.
SLOW: dict[str, Harm] = {
    **{
        f"{start}-{place}": Harm(place, handler, ConnectionFailed, "no answer in time.*--limits-deadline")
        for place in ("page", "signature", "image")
        for start, handler in {
            "silent": silent,
            "status-drips": dripping(b"", b"H"),
            "header-drips": dripping(OK + b"Header: "),
            "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "processing": dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        }.items()
    },
    **{
        f"drips-{place}": Harm(place, dripping(OK + b"\r\n"), LimitExceeded, "not complete.*--limits-deadline")
        for place in ("page", "signature")
    },
    "drips-image": Harm("image", dripping(OK + b"\r\n"), TransferFailed, "slower.*--limits-minimum-rate"),
    "drips-chunks": Harm("image", dripping(CHUNKED, b"1\r\nx\r\n"), TransferFailed, "slower than 1024"),
    "stops": Harm("image", stopping(lengths(b"9999") + b"\r\nabc"), TransferFailed, "slower than 1024"),
    "no-handshake": Harm("page", whole(at("no-handshake.test")), ConnectionFailed, "no connection in time"),
    "handshake-drips": Harm("page", whole(at("handshake-drips.test")), ConnectionFailed, "no connection in time"),
}


@pytest.fixture
def others(victim: Victim, authority: trustme.CA, certificate: trustme.LeafCert) -> Iterator[dict[str, RawServer]]:
    """The hosts that pages lead to."""
    image = whole(victim.good.body)
    names = ("another name", "expired", "not yet valid", "self-signed", "unknown authority")
    hosts = {f"{name.replace(' ', '-')}.test": name for name in names}
    servers = {host: RawServer(image, CERTIFICATES[name](authority, host)) for host, name in hosts.items()}
    servers |= {
        "elsewhere.org": RawServer(image, authority.issue_cert("elsewhere.org")),
        "old.test": Outdated(image, authority.issue_cert("old.test"), ssl.TLSVersion.TLSv1_1),
        "anonymous.test": Anonymous(image),
        "no-handshake.test": Deaf(silent),
        "handshake-drips.test": Deaf(shaking_hands_for_ever),
    }
    with ExitStack() as stack:
        for host, server in servers.items():
            victim.web.take_over(host, stack.enter_context(server))
        yield servers


def fetched_at_once(victim: Victim, harms: dict[str, Harm], limits: dict[str, str]) -> Measured:
    handlers: dict[str, Handler] = {"/?ac-discovery=1": whole(b"")}
    endings = {"page": "?ac-discovery=1", "signature": "-1.0.aci.asc", "image": "-1.0.aci"}
    for slug, harm in harms.items():
        if isinstance(harm.handler, bytes):
            signed = victim.signed(harm.handler)
            handlers |= {f"/{slug}{endings[place]}": handler for place, handler in signed.items()}
        else:
            handler = replace(harm.handler) if isinstance(harm.handler, Flood) else harm.handler
            handlers[f"/{slug}{endings[harm.place]}"] = handler
    with victim.site(others=handlers):
        return measured(
            *("--json", "fetch", "--jobs", "4" if limits == ROOM else str(len(harms))),
            *(f"{HOST}/{slug}:1.0" for slug in harms),
            environment=victim.environment(limits),
            scratch=victim.top,
            largest_file=24 * MIB,
            patience=PATIENCE,
        )


def misses(ran: Measured, harms: dict[str, Harm]) -> str:
    """A line for each that did not end as it should: how it did."""
    lines = [json.loads(line) for line in ran.err.splitlines()]
    errors = {line["error"]["about"]: line["error"] for line in lines if "error" in line}
    found: dict[str, str] = {}
    for slug, harm in harms.items():
        error = errors.get(f"{HOST}/{slug}:1.0", {"kind": "", "message": "", "facts": {}, "next": ""})
        told = f"{error['message']} {error['facts']} {error['next']}"
        if error["kind"] != harm.kind.__name__ or not re.search(harm.told, told):
            found[slug] = f"{error['kind']}: {told[:300]}"
        elif any(len(text) > LONGEST for text in (error["message"], *error["facts"])) or any(
            len(text) > LONGEST_FACT for text in error["facts"].values()
        ):
            found[slug] = f"told too long: {told[:50]}"
        elif not any(name in told for name in (HOST, ".test", "elsewhere.org")):
            found[slug] = f"doesn't say where: {told}"
    return "\n".join(f"{slug}: {how}" for slug, how in found.items())


def leaves_nothing(victim: Victim, ran: Measured, others: dict[str, RawServer]) -> None:
    assert (ran.out.strip(), ran.left, files_in(victim.directory), victim.store.list()) == ("[]", (), [], [])
    assert PASSWORD not in ran.err
    assert "Traceback" not in ran.err
    assert all(character.isprintable() or character == "\n" for character in ran.err)
    assert {host: server.requests for host, server in others.items() if any(server.requests)} == {}
    assert victim.contacts() <= {HOST, *others}


def test_each_image_is_refused_for_its_own_reason_and_nothing_is_left(
    victim: Victim, honest: Measured, others: dict[str, RawServer]
) -> None:
    ran = fetched_at_once(victim, AT_ONCE, ROOM)
    assert misses(ran, AT_ONCE) == ""
    assert ran.code == next(iter(AT_ONCE.values())).kind.exit_code
    leaves_nothing(victim, ran, others)
    assert ran.peak < honest.peak + 192 * MIB


def test_whoever_is_slow_is_given_up_and_nothing_is_left(
    victim: Victim, honest: Measured, others: dict[str, RawServer]
) -> None:
    def attempt(seconds: float) -> Measured:
        bounds = dict.fromkeys(("connect_timeout", "deadline", "rate_window"), f"{seconds:g}s")
        ran = fetched_at_once(victim, SLOW, bounds)
        assert misses(ran, SLOW) == ""
        return ran

    ran = within(2, attempt)
    leaves_nothing(victim, ran, others)
    assert ran.peak < honest.peak + 64 * MIB
