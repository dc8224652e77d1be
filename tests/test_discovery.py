"""Discovery: what a page says about a name."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.discovery import MAX_DEPTH, MAX_TEMPLATE, Endpoint, Page, read_page
from acistore.naming import ImageName

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "conformance" / "discovery.jsonl").read_text().splitlines()
]
APP = ImageName.parse("example.com/app:1.0,os=linux")
NOTHING = Page((), ())
HTML = "text/html"


def tag(content: str, name: str = "ac-discovery") -> str:
    return f'<meta name="{name}" content="{content}">'


def keys_in(page: bytes | str, content_type: str | None = HTML) -> tuple[str, ...]:
    body = page.encode() if isinstance(page, str) else page
    return read_page(body, content_type, APP).keys


def key(url: str = "https://k", prefix: str = "example.com") -> str:
    return tag(f"{prefix} {url}", "ac-discovery-pubkeys")


def endpoints(template: str, name: str = "example.com/app") -> list[str]:
    page = read_page(tag(f"example.com {template}").encode(), HTML, ImageName.parse(name))
    return [endpoint.image_url for endpoint in page.endpoints]


@pytest.mark.parametrize("case", CASES)
def test_pages_are_read_as_the_reference_does(case: dict[str, object]) -> None:
    page = read_page(str(case["input"]).encode(), None, ImageName.parse(str(case["app"])))
    assert [[found.image_url, found.signature_url] for found in page.endpoints] == (case["endpoints"] or [])
    assert list(page.keys) == (case["keys"] or [])


@pytest.mark.parametrize(
    ("prefix", "applies"),
    [
        ("example.com", True),
        ("example.com/app", True),
        ("example.com/", True),
        ("example.com/ap", False),
        ("example.co", False),
        ("example.com/app/", False),
        ("example.com/app/more", False),
        ("EXAMPLE.com", False),
        ("/", False),
        ("", False),
    ],
)
def test_a_prefix_applies_by_whole_path_components(prefix: str, applies: bool) -> None:
    assert bool(keys_in(key(prefix=prefix))) is applies


def test_version_is_latest_unless_it_is_given_and_nothing_else_is_added() -> None:
    assert endpoints("https://x/{version}.{ext}") == ["https://x/latest.aci"]
    assert endpoints("https://x/{version}.{ext}", "example.com/app:") == ["https://x/latest.aci"]
    assert endpoints("https://x/{version}.{ext}", "example.com/app:1") == ["https://x/1.aci"]
    assert endpoints("https://x/{os}.{ext}") == []


@pytest.mark.parametrize(
    ("template", "name", "urls"),
    [
        ("https://x/{a}", "example.com/app,a={b},b=c", []),
        ("https://x/{a}", "example.com/app,a={name}", []),
        ("https://x/{{name}}", "example.com/app", []),
        ("https://x/{a", "example.com/app,a=b", ["https://x/{a"]),
        ("https://x/}{{", "example.com/app", ["https://x/}{{"]),
        ("https://x/{\nos}", "example.com/app", ["https://x/{\nos}"]),
        ("https://x/{\r{os}", "example.com/app", []),
        (f"https://{'x' * MAX_TEMPLATE}", "example.com/app", []),
        ("https://x/{ext}", "example.com/app,ext=tar", ["https://x/aci"]),
        ("https://x/{name}-{name}", "example.com/app", ["https://x/example.com/app-example.com/app"]),
        ("hdfs://x/{name}", "example.com/app", ["hdfs://x/example.com/app"]),
        ("https://x/?a=1&amp;b={version}", "example.com/app", ["https://x/?a=1&b=latest"]),
    ],
)
def test_templates_are_rendered_once(template: str, name: str, urls: list[str]) -> None:
    assert endpoints(template, name) == urls


def test_the_signature_is_beside_the_image() -> None:
    page = read_page(tag("example.com https://x/{name}.{ext}").encode(), HTML, APP)
    url = "https://x/example.com/app.aci"
    assert page == Page((Endpoint(url, f"{url}.asc"),), ())


@pytest.mark.parametrize(
    "page",
    [
        f"<body><div><p>text<table><tr>{key()}",
        f"</head></html></body>{key()}",
        "<META CONTENT='example.com https://k' NAME=ac-discovery-pubkeys>",
        "<meta content='\n example.com   https://k\t' foo name = ac-discovery-pubkeys />",
        "<meta name=&#97;c-discovery-pubkeys content='example.com https&colon;//k'>",
        "<meta name=ac-discovery-pubkeys name=other content='example.com https://k'>",
        f"<script>if (a < b && c</script>{key()}",
        f"<!-- {key('https://no')} -->{key()}<!-- {key('https://no')}",
        f"<!doctype html><!--><p>{key()}",
        f"<noscript>{key()}</noscript>",
        f"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>{key()}",
        f"{key()}<meta name=ac-discovery-pubkeys content='example.com https://cut",
    ],
)
def test_real_world_html(page: str) -> None:
    assert keys_in(page) == ("https://k",)


@pytest.mark.parametrize(
    "element", ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "plaintext"]
)
def test_what_is_text_is_no_tag(element: str) -> None:
    assert keys_in(f"<{element}>{key()}</{element}>") == ()


@pytest.mark.parametrize(
    "content", ["example.com", "example.com\thttps://k", "", "example.com ", " https://k", "other.com https://k"]
)
def test_tags_that_say_nothing(content: str) -> None:
    assert keys_in(tag(content, "ac-discovery-pubkeys") + tag(content) + "<meta name=ac-discovery>") == ()


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (key("https://ключ").encode(), HTML),
        (key("https://ключ").encode() + "ключ".encode()[:-1], HTML),
        (b"\xef\xbb\xbf" + key("https://ключ").encode(), "text/html; charset=koi8-r"),
        (key("https://ключ").encode("koi8-r"), "text/html;charset=KOI8-R"),
        (key("https://ключ").encode("koi8-r"), 'text/html; charset="koi8-r"'),
        (b"<meta charset=koi8-r>" + key("https://ключ").encode("koi8-r"), HTML),
        (
            b"<META http-equiv=Content-Type content='text/html; charset=koi8-r'>"
            + key("https://ключ").encode("koi8-r"),
            None,
        ),
        (b"<meta charset=utf-16>" + key("https://ключ").encode(), HTML),
        (key("https://ключ").encode("utf-16"), HTML),
        (b"\xfe\xff" + key("https://ключ").encode("utf-16-be"), HTML),
        (key("https://ключ").encode("utf-16-be"), "text/html; charset=utf-16be"),
        (key("https://ключ").encode(), "text/html; charset=punycode"),
        (key("https://ключ").encode(), "text/html; charset=no-such-thing"),
        (key("https://ключ").encode(), f"text/html;{' ' * 2000}charset=koi8-r"),
        (b"<meta name=a charset><META name='b' charset = ' koi8-r'>" + key("https://ключ").encode("koi8-r"), HTML),
    ],
)
def test_charsets(page: bytes, content_type: str | None) -> None:
    assert keys_in(page, content_type) == ("https://ключ",)


@pytest.mark.parametrize("content_type", [None, HTML, "text/html; charset=iso-8859-1", "text/html; charset=ascii"])
def test_what_is_not_utf8_is_windows_1252(content_type: str | None) -> None:
    assert keys_in(key("https://é€").encode("cp1252"), content_type) == ("https://é€",)


def test_broken_text_and_nul_bytes_spoil_nothing_else() -> None:
    page = b"\0\xff" + key("https://a\0b").encode() + b"\xc3" + key().encode()
    assert keys_in(page, "text/html; charset=utf-8") == ("https://a�b", "https://k")


def test_a_page_that_names_too_many_places_is_taken_for_the_first_20(caplog: pytest.LogCaptureFixture) -> None:
    first = "".join(tag(f"example.com https://x/{number}") + key(f"https://k/{number}") for number in range(20))
    enough = read_page(first.encode(), HTML, APP)
    assert (len(enough.endpoints), len(enough.keys), caplog.messages) == (20, 20, [])
    assert read_page((first + tag("example.com https://x") + key()).encode(), HTML, APP) == enough
    assert {(record.name, record.levelname) for record in caplog.records} == {("acistore.discovery", "WARNING")}
    assert [message.partition(";")[0] for message in caplog.messages] == [
        f"a page has more than 20 {what} for example.com/app" for what in ("endpoints", "keys")
    ]


@pytest.mark.parametrize(
    "page",
    [
        "<b>" * 300_000 + "</i>" * 300_000,
        "<div></p>" * 200_000,
        "<b>" * MAX_DEPTH + "</i>" * 300_000,
        "<a href='" + "x" * 1_000_000 + "'>",
        "<a " + " ".join(f"a{number}=1" for number in range(100_000)) + ">",
        "<" * 1_000_000,
    ],
    ids=["open and end", "open and odd", "deep and end", "long value", "many attributes", "open"],
)
def test_a_page_made_to_keep_the_parser_busy_does_not(page: str) -> None:
    """Without the bound on depth some of these take minutes."""
    assert keys_in(key() + page) == ("https://k",)


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (tag("example.com https://" + "{" * 8000), HTML),
        (key(), f"text/html; charset={' ' * 5000}!"),
        ("<meta " * 55 + f"charset={' ' * 650}!>", HTML),
    ],
    ids=["braces", "blanks in the header", "blanks in a tag"],
)
def test_templates_and_charsets_take_time_by_their_length(page: str, content_type: str) -> None:
    """In quadratic time each of these takes 4 to 10 seconds."""
    started = time.process_time()
    for _ in range(50):
        read_page(page.encode(), content_type, APP)
    assert time.process_time() - started < 2


def test_nesting_as_deep_as_pages_have_it_hides_nothing() -> None:
    assert keys_in("<div>" * (MAX_DEPTH - 10) + key()) == ("https://k",)


PIECES = st.sampled_from(
    b"""<meta |</|>|'|"|<!--|-->|<script>|<![CDATA[|\0|\xff|\xfe\xff|&#x|name=ac-discovery |charset=""".split(b"|")
)


@given(
    body=st.binary() | st.lists(PIECES | st.just(key().encode()) | st.binary(max_size=3)).map(b"".join),
    content_type=st.none() | st.text() | st.text().map("charset=".__add__),
)
def test_no_page_is_too_odd_to_be_read(body: bytes, content_type: str | None) -> None:
    page = read_page(body, content_type, APP)
    for endpoint in page.endpoints:
        assert endpoint.image_url


@given(value=st.text(), template=st.text(alphabet="{}ext nam/é", min_size=1))
def test_no_template_leaves_a_placeholder(value: str, template: str) -> None:
    name = ImageName("example.com/app", {"a": value})
    page = read_page(tag(f"example.com {template}".replace('"', "")).encode(), HTML, name)
    for endpoint in page.endpoints:
        assert not re.search(r"\{.*\}", endpoint.image_url)
        assert not re.search(r"\{.*\}", endpoint.signature_url)
