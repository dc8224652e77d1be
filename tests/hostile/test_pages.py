"""Discovery pages that are too large, too deep, broken, or lead to where nobody should go."""

import gzip
import time

import pytest

from acistore.errors import (
    AcistoreError,
    ConnectionFailed,
    EndpointNotFound,
    InsecureTransport,
    ResourceNotFound,
    ServerFailed,
    SignatureMissing,
)
from tests.fetch.conftest import HOST
from tests.hostile.conftest import MIB, TAG, Victim
from tests.hostile.measured import Measured
from tests.hostile.pages import DEEP, LAUGHS, PAGE_SIZE, tag
from tests.hostile.servers import BUFFERS, HTML, OK, Flood, saying, whole

# --- too much


@pytest.mark.parametrize("most", [30 * MIB, float("inf")], ids=["30 MiB", "endless"])
def test_of_a_large_page_only_the_beginning_is_read(victim: Victim, most: float) -> None:
    flood = Flood(OK + HTML + b"\r\n\r\n" + TAG, b"<p>", most)
    with victim.site(page=flood):
        victim.fetch()
    assert victim.has_the_image()
    assert flood.sent < PAGE_SIZE + BUFFERS


def test_a_tag_behind_the_beginning_is_not_found(victim: Victim) -> None:
    refused = victim.refuses(EndpointNotFound, page=whole(b" " * PAGE_SIZE + TAG))
    assert refused.error.exit_code == 3


@pytest.mark.parametrize("name", DEEP)
def test_pages_made_to_keep_the_parser_busy_do_not(victim: Victim, name: str) -> None:
    """What comes before is found, or is not, but soon; `refuses` has a bound of time."""
    victim.refuses(EndpointNotFound, ResourceNotFound, page=whole(DEEP[name], HTML))


def test_pages_cost_the_command_little_memory(victim: Victim, honest: Measured) -> None:
    ran = victim.command_refuses(EndpointNotFound, page=whole(DEEP["many attributes"], HTML))
    assert ran.peak < honest.peak + 128 * MIB


def test_of_ten_thousand_tags_twenty_are_tried(victim: Victim) -> None:
    tags = b"\n".join(tag(f"https://{HOST}/{number}/{{name}}.{{ext}}") for number in range(10_000))
    refused = victim.refuses(SignatureMissing, page=whole(tags), signature=saying(b"404 Not Found"))
    assert sum(asked.startswith("GET") and asked.endswith(".asc") for asked in refused.asked) == 20
    assert len(refused.asked) == 41


def test_of_ten_thousand_hosts_twenty_are_asked(victim: Victim) -> None:
    """A page can't make an army of those who read it."""
    tags = b"\n".join(tag(f"https://h{number}.example.org/{{name}}.{{ext}}") for number in range(10_000))
    with victim.site(page=whole(tags)), pytest.raises(AcistoreError) as raised:
        victim.fetch()
    assert raised.value.exit_code == 5
    assert victim.contacts() == {HOST, *(f"h{number}.example.org" for number in range(20))}


# --- encoded and disguised


def test_a_page_that_is_a_bomb_is_not_unpacked(victim: Victim, honest: Measured) -> None:
    bomb = gzip.compress(bytes(10 * MIB)) * 1000
    page = whole(bomb, b"Content-Encoding: gzip", HTML)
    victim.refuses(ServerFailed, page=page)
    assert victim.command_refuses(ServerFailed, page=page).peak < honest.peak + 32 * MIB


OUTSIDE = b'<!DOCTYPE html [<!ENTITY f SYSTEM "file:///etc/passwd"><!ENTITY e SYSTEM "https://elsewhere.org/">]>'


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (LAUGHS, b"text/html"),
        (b'<?xml version="1.0"?>' + LAUGHS, b"application/xhtml+xml"),
        (OUTSIDE + tag("https://example.com/&f;/{name}.{ext}").replace(b"meta", b"m&e;ta"), b"text/html"),
        (b'<!DOCTYPE html SYSTEM "https://elsewhere.org/evil.dtd">&evil;', b"text/html"),
        (b'<?xml-stylesheet href="https://elsewhere.org/evil.xsl"?><html/>', b"application/xml"),
        (b'<base href="https://elsewhere.org/"><link rel="import" href="https://elsewhere.org/">', b"text/html"),
        (b'<meta http-equiv="refresh" content="0; url=https://elsewhere.org/">', b"text/html"),
        (b'<script src="https://elsewhere.org/a.js"></script><img src="https://elsewhere.org/">', b"text/html"),
        (
            TAG.decode().encode("utf-7").replace(b"<", b"+ADw-").replace(b">", b"+AD4-"),
            b"text/html; charset=utf-7",
        ),
        (TAG.decode().encode("utf-16-le"), b"text/html"),
        (TAG.decode().encode("utf-16-be"), b"text/html; charset=utf-8"),
        (TAG.decode().encode("utf-32"), b"text/html; charset=utf-32"),
        (b'<meta charset="utf-16">' + TAG.decode().encode("utf-16-le"), b"text/html"),
        (TAG.decode().encode("cp500"), b"text/html; charset=cp500"),
        (TAG.hex().encode(), b"text/html; charset=hex"),
        (b"<!--" + TAG + b"-->", b"text/html"),
        (b"<script>" + TAG + b"</script><title>" + TAG + b"</title>", b"text/html"),
        (TAG.replace(b"<meta", b"<me\0ta"), b"text/html"),
        (TAG.replace(b"ac-discovery", b"ac\0-discovery"), b"text/html"),
        (TAG.replace(b'"example.com ', b'"evil.example.com '), b"text/html"),
        (TAG.replace(b'"example.com ', b'"example.com/ap '), b"text/html"),
        (TAG.replace(b'"example.com ', b'"example.co '), b"text/html"),
        (TAG.replace(b'"example.com ', b'" '), b"text/html"),
        (b"\0" * PAGE_SIZE, b"text/html"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100_000, b"image/png"),
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_pages_that_say_nothing_say_nothing(victim: Victim, page: bytes, content_type: bytes) -> None:
    """Nor is anything asked for that they mention in other ways than by a tag."""
    victim.refuses(EndpointNotFound, page=whole(page, b"Content-Type: " + content_type))


@pytest.mark.parametrize(
    "page",
    [
        b"\0\0\0" + TAG + b"\0",
        b"</html></body></p>>><<" + TAG,
        b"<p <p <p>" + TAG,
        b"<html" + b" x" * 1000 + b">" + TAG,
        TAG.replace(b"<meta", b"<META").replace(b"name=", b"NAME = ").replace(b'">', b'"/ >'),
        b"\xff\xfe" + TAG.decode().encode("utf-16-le"),
        b"\xc3\x28\xa0\xa1" + TAG,
        b"<table>" * 100 + TAG,
    ],
    ids=lambda page: ascii(page[:30]),
)
def test_broken_pages_are_read_as_well_as_can_be(victim: Victim, page: bytes) -> None:
    with victim.site(page=whole(page, HTML)):
        victim.fetch()
    assert victim.has_the_image()


# --- to where nobody should go


@pytest.mark.parametrize(
    "template",
    [
        "file:///etc/passwd",
        "FILE:///etc/{name}.{ext}",
        "/etc/passwd",
        "./{name}.{ext}",
        "{name}.{ext}",
        "//elsewhere.org/{name}.{ext}",
        "http://elsewhere.org/{name}.{ext}",
        "HTTP://elsewhere.org/{name}.{ext}",
        "ftp://elsewhere.org/{name}.{ext}",
        "gopher://elsewhere.org:70/{name}",
        "javascript:alert(1)//{ext}",
        "data:application/octet-stream;base64,{ext}",
        "hdfs://elsewhere.org/{name}.{ext}",
        "docker://elsewhere.org/{name}",
        "-oProxyCommand=evil",
        "--insecure-options=all",
        "https:elsewhere.org/{name}.{ext}",
        "https:///{name}.{ext}",
        "https://:443/{name}.{ext}",
        "https://elsewhere.org:99999/{name}.{ext}",
        "https://elsewhere.org:-1/{name}.{ext}",
        "https://[::1/{name}.{ext}",
        "https://",
        "?",
        "#",
        "\x1b[2J{name}.{ext}",
        "\ufeffhttps://elsewhere.org/{name}",
        "ｈｔｔｐｓ://elsewhere.org/{name}",
    ],
)
def test_templates_that_lead_to_no_web_address_are_not_followed(victim: Victim, template: str) -> None:
    refused = victim.refuses(
        InsecureTransport, ConnectionFailed, page=whole(tag(template), b"Content-Type: text/html; charset=utf-8")
    )
    assert refused.asked == ["GET /app?ac-discovery=1"]
    assert "root:" not in f"{refused.error} {refused.error.facts}"


def test_templates_that_become_long_addresses_take_no_time(victim: Victim) -> None:
    started = time.process_time()
    victim.refuses(InsecureTransport, page=whole(tag("x{name}" + "{name}" * 1300) * 20))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "template",
    [
        "https://example.com/{name}{evil}.{ext}",
        "https://example.com/{name}-{{version}}.{ext}",
        "https://example.com/{__class__}.{ext}",
        "https://example.com/{name.__class__}.{ext}",
        "https://example.com/{0}.{ext}",
        "https://example.com/{}.{ext}",
        "https://example.com/${HOME}.{ext}",
        "https://example.com/" + "{name}" * 100_000,
        "https://example.com/" + "{" * 100_000,
        "https://example.com/" + "x" * 1_000_000,
    ],
    ids=lambda template: template[20:50],
)
def test_templates_that_cannot_be_rendered_are_none(victim: Victim, template: str) -> None:
    victim.refuses(EndpointNotFound, page=whole(tag(template)))
