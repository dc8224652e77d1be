"""Discovery pages that are made to do harm."""

from tests.fetch.conftest import HOST
from tests.hostile.conftest import MIB, TAG

PAGE_SIZE = 2 * MIB


def tag(template: str) -> bytes:
    return f'<meta name="ac-discovery" content="{HOST} {template}">'.encode()


DEEP = {
    "nested": b"<div>" * 100_000,
    "nested and closed": b"<div>" * 100_000 + b"</div>" * 100_000,
    "nested tables": b"<table><tr><td>" * 50_000,
    "unclosed formatting": b"<b><i><a>" * 100_000,
    "one attribute": b'<p x="' + b"y" * (PAGE_SIZE - 100) + b'">',
    "many attributes": b"<p " + b" ".join(b"a%d=b" % number for number in range(150_000)) + b">",
    "one comment": b"<!--" + b"-" * (PAGE_SIZE - 100),
    "many comments": b"<!-->" * 300_000,
    "half tags": b"<" * PAGE_SIZE,
    "half entities": b"&" * PAGE_SIZE,
    "half closed": b"</" * (PAGE_SIZE // 2),
    "processing": b"<?php " * 300_000,
    "frames": b"<frameset><frame>" * 100_000,
    "svg": b"<svg><foreignObject><math>" * 50_000,
    "templates": tag("https://example.com/{name}" + "{version}" * 500) * 400,
}
LAUGHS = (
    b'<!DOCTYPE html [<!ENTITY a0 "'
    + TAG.replace(b'"', b"'")
    + b'">'
    + b"".join(b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10) for level in range(1, 12))
    + b"]>&a11;"
)
