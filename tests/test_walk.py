"""Discovery: which pages are asked for a name, and where the search ends."""

import socket

import pytest
import trustme

from acistore.config import Config, Limits
from acistore.discovery import Discovery, Endpoint, Resolver
from acistore.errors import (
    ConnectionFailed,
    EndpointNotFound,
    InsecureTransport,
    LimitExceeded,
    ServerFailed,
    TLSFailed,
)
from acistore.naming import ImageName
from acistore.net import Client
from tests.web import RawServer, WebSite, answering

APP = ImageName.parse("example.com/app:1.0,os=linux")
QUICK = Config(limits=Limits(retry_delay=0.001))


def tag(content: str, name: str = "ac-discovery") -> str:
    return f'<meta name="{name}" content="{content}">'


IMAGE_TAG = tag("example.com https://example.com/{name}.{ext}").encode()
KEY_TAG = tag("example.com https://example.com/keys", "ac-discovery-pubkeys").encode()


def visited(web: WebSite) -> list[str]:
    return [line.removeprefix("GET https://").replace("?ac-discovery=1", "") for line in web.log()]


def test_the_page_of_the_name_is_enough_when_it_says_all(web: WebSite) -> None:
    web.put("example.com", "app/index.html", IMAGE_TAG + KEY_TAG)
    web.put("example.com", "index.html", KEY_TAG)
    with Client(Config()) as client:
        found = Resolver(client).resolve(APP)
    page = "https://example.com/app?ac-discovery=1"
    assert found.endpoints == (
        Endpoint("https://example.com/example.com/app.aci", "https://example.com/example.com/app.aci.asc", page),
    )
    assert found.keys == ("https://example.com/keys",)
    assert [(visit.url, visit.status, visit.outcome) for visit in found.visits] == [
        (page, 200, "1 endpoint, 1 key")
    ]
    assert web.log() == [f"GET {page} 200"]


def test_images_and_keys_are_looked_for_independently(web: WebSite) -> None:
    web.put("example.com", "a/b/index.html", IMAGE_TAG)
    web.put("example.com", "index.html", KEY_TAG + tag("example.com https://other/{name}").encode())
    with Client(Config()) as client:
        found = Resolver(client).resolve(ImageName.parse("example.com/a/b/c"))
    assert [endpoint.image_url for endpoint in found.endpoints] == ["https://example.com/example.com/a/b/c.aci"]
    assert found.keys == ("https://example.com/keys",)
    assert [(visit.status, visit.outcome) for visit in found.visits] == [
        (404, "404 Not Found"),
        (200, "1 endpoint"),
        (404, "404 Not Found"),
        (200, "1 endpoint, 1 key"),
    ]
    assert visited(web) == [
        "example.com/a/b/c 404",
        "example.com/a/b 200",
        "example.com/a 404",
        "example.com/ 200",
    ]


def test_the_walk_ends_when_what_is_wanted_is_found(web: WebSite) -> None:
    web.put("example.com", "app/index.html", IMAGE_TAG)
    web.put("example.com", "index.html", KEY_TAG)
    with Client(Config()) as client:
        assert len(Resolver(client).resolve_images(APP)) == 1
        assert visited(web) == ["example.com/app 200"]
        assert Resolver(client).resolve_keys(APP) == ("https://example.com/keys",)
    assert visited(web) == ["example.com/app 200"] * 2 + ["example.com/ 200"]


def test_pages_that_have_nothing_for_the_name_are_named(web: WebSite) -> None:
    web.put("example.com", "index.html", tag("example.com/other https://x/{name}").encode())
    with Client(Config()) as client:
        found = Resolver(client).resolve(APP)
    assert (found.endpoints, found.keys, found.failure) == ((), (), None)
    for require in (found.require_endpoints, found.require_keys, found.require_any):
        with pytest.raises(EndpointNotFound, match=r"for example\.com/app:1\.0,os=linux") as raised:
            require()
        assert raised.value.facts == {
            "https://example.com/app?ac-discovery=1": "404 Not Found",
            "https://example.com?ac-discovery=1": "no tag for example.com/app",
        }


def test_only_the_beginning_of_a_page_is_read(web: WebSite) -> None:
    web.put("example.com", "index.html", IMAGE_TAG + b" " * 1000 + KEY_TAG)
    with Client(Config(limits=Limits(page_size=1000))) as client:
        found = Resolver(client).resolve(ImageName.parse("example.com"))
    assert len(found.endpoints) == 1
    assert found.keys == ()


def test_tags_behind_a_redirect_are_for_the_name_that_was_asked(web: WebSite, authority: trustme.CA) -> None:
    moved = b"HTTP/1.1 301 Moved\r\nLocation: https://pages.org/app\r\nContent-Length: 0\r\n\r\n"
    web.put("pages.org", "app", IMAGE_TAG + tag("pages.org https://no/{name}").encode())
    with RawServer(answering(moved), authority.issue_cert("example.com")) as server, Client(Config()) as client:
        web.take_over("example.com", server)
        found = Resolver(client).resolve_images(APP)
    assert [endpoint.image_url for endpoint in found] == ["https://example.com/example.com/app.aci"]


def test_a_page_is_asked_for_once_however_many_names_are_below_it(web: WebSite) -> None:
    web.put("example.com", "index.html", IMAGE_TAG)
    with Client(Config()) as client:
        resolver = Resolver(client)
        for name in ("app", "base", "app"):
            resolver.resolve_images(ImageName.parse(f"example.com/{name}:1.0,os=linux,arch=amd64"))
    assert sum("com?ac" in line or "com/?ac" in line for line in web.log()) == 1


def test_a_name_of_too_many_parts_is_not_asked_for(web: WebSite) -> None:
    with Client(Config()) as client, pytest.raises(LimitExceeded, match="more than 32 parts"):
        Resolver(client).resolve(ImageName.parse("example.com" + "/a" * 32))
    assert web.log() == []


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
def test_a_broken_page_does_not_hand_over_to_its_parent(web: WebSite, authority: trustme.CA, status: str) -> None:
    web.put("example.com", "index.html", IMAGE_TAG + KEY_TAG)
    broken = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with RawServer(answering(broken), authority.issue_cert("example.com")) as server, Client(QUICK) as client:
        web.take_over("example.com", server)
        found = Resolver(client).resolve(APP)
    assert (found.endpoints, len(found.visits)) == ((), 1)
    with pytest.raises(ServerFailed, match=status) as raised:
        found.require_endpoints()
    assert raised.value.message.startswith("https://example.com/app?ac-discovery=1: ")


def test_what_was_found_before_a_failure_stays(web: WebSite, authority: trustme.CA) -> None:
    def handler(connection: socket.socket, head: bytes) -> None:
        page = IMAGE_TAG if head.startswith(b"GET /app?") else b""
        status = b"200 OK" if page else b"502 Bad Gateway"
        answering(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(page), page))(connection, head)

    with RawServer(handler, authority.issue_cert("example.com")) as server, Client(QUICK) as client:
        web.take_over("example.com", server)
        found = Resolver(client).resolve(APP)
    assert len(found.require_endpoints()) == 1
    assert found.require_any() is found
    with pytest.raises(ServerFailed):
        found.require_keys()


@pytest.mark.parametrize("name", ["nowhere.invalid/a/b", f"{'a' * 64}/a", "a~b/c"])
def test_a_host_that_is_not_there_is_asked_once(direct: None, name: str) -> None:
    with Client(Config()) as client:
        found = Resolver(client).resolve(ImageName.parse(name))
    (visit,) = found.visits
    assert visit.status is None
    with pytest.raises(ConnectionFailed) as raised:
        found.require_any()
    assert raised.value.message == f"{visit.url}: {visit.outcome}"
    assert raised.value.message == f"{visit.url}: {visit.outcome}"


def test_a_host_without_a_certificate_is_asked_once(web: WebSite) -> None:
    with Client(Config()) as client, pytest.raises(TLSFailed):
        Resolver(client).resolve_images(APP)
    assert web.log() == []


# Plain HTTP


def test_plain_http_is_asked_only_where_it_is_allowed_and_https_does_not_serve(web: WebSite) -> None:
    web.put("example.com", "app/index.html", IMAGE_TAG, tls=False)
    with Client(Config()) as client, pytest.raises(TLSFailed):
        Resolver(client).resolve_images(APP)
    with Client(Config(insecure_options=frozenset({"http"}))) as client:
        found = Resolver(client).resolve(APP)
    assert len(found.endpoints) == 1
    assert [(visit.url, visit.status) for visit in found.visits] == [
        ("https://example.com/app?ac-discovery=1", None),
        ("http://example.com/app?ac-discovery=1", 200),
        ("http://example.com?ac-discovery=1", 404),
    ]


def test_a_page_that_leads_to_plain_http_is_not_followed(web: WebSite, authority: trustme.CA) -> None:
    moved = b"HTTP/1.1 301 Moved\r\nLocation: http://example.com/app\r\nContent-Length: 0\r\n\r\n"
    with RawServer(answering(moved), authority.issue_cert("example.com")) as server, Client(Config()) as client:
        web.take_over("example.com", server)
        with pytest.raises(InsecureTransport):
            Resolver(client).resolve_images(APP)


@pytest.mark.parametrize(("name", "is_told"), [("app", True), ("app/db", True), ("example.org/app", False)])
def test_a_name_without_a_domain_that_nobody_answers_for_may_be_a_file(name: str, is_told: bool) -> None:
    found = Discovery(ImageName.parse(name), (), (), (), ConnectionFailed("nobody there"))
    with pytest.raises(ConnectionFailed) as raised:
        found.require_endpoints()
    assert (f"a file is ./{name}" in str(raised.value.next_step)) is is_told
