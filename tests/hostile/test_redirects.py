"""Redirects in circles, to other schemes, to other hosts, and to nowhere."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from acistore.errors import (
    AcistoreError,
    EndpointNotFound,
    InsecureTransport,
    LimitExceeded,
    ResourceNotFound,
    ServerFailed,
    TLSFailed,
)
from tests.fetch.conftest import HOST
from tests.hostile.conftest import AUTHORIZATION, PASSWORD, TAG, Victim
from tests.hostile.servers import OK, Flood, moved, whole
from tests.web import RawServer, answering

ELSEWHERE = "elsewhere.org"
PLACES = pytest.mark.parametrize("place", ["page", "signature", "image"])


@pytest.fixture
def elsewhere(victim: Victim, authority: trustme.CA) -> Iterator[RawServer]:
    """A server of somebody else's, who would have the image."""
    with RawServer(whole(victim.good.body), authority.issue_cert(ELSEWHERE)) as server:
        victim.web.take_over(ELSEWHERE, server)
        yield server


@PLACES
@pytest.mark.parametrize(
    "location", ["", "#x", "https:", "https://", "//", "https://example.com{target}", "//example.com{target}"]
)
def test_a_circle_is_left_after_ten_rounds(victim: Victim, place: str, location: str) -> None:
    rounds = []

    def again(connection: socket.socket, head: bytes) -> None:
        rounds.append(head)
        moved(location.format(target=head.decode().split(" ")[1]).encode())(connection, head)

    victim.refuses(LimitExceeded, **{place: again})
    assert len(rounds) == 11


@PLACES
def test_a_chain_of_ever_new_places_is_left_as_well(victim: Victim, place: str) -> None:
    seen = []

    def further(connection: socket.socket, head: bytes) -> None:
        seen.append(head)
        target = head.split(b" ")[1]
        moved(b"/%d" % len(seen) + target)(connection, head)

    victim.refuses(LimitExceeded, **{place: further})
    assert len(seen) == 11


@pytest.mark.parametrize("status", [b"301", b"302", b"308"])
def test_no_redirect_lowers_the_scheme(victim: Victim, elsewhere: RawServer, status: bytes) -> None:
    for location in (b"Location: http://elsewhere.org/app.aci", b"Location: http://example.com/"):
        for place in ("page", "signature", "image"):
            victim.refuses(InsecureTransport, **{place: whole(b"", location, status=status + b" Moved")})
    assert victim.contacts() == {HOST}
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "location",
    [
        b"file:///etc/passwd",
        b"FILE:/etc/passwd",
        b"file://example.com/etc/passwd",
        b"gopher://elsewhere.org:70/_GET",
        b"ftp://elsewhere.org/app.aci",
        b"data:text/html;base64,PG1ldGE+",
        b"javascript:alert(1)",
        b"mailto:root@elsewhere.org",
        b"unix:///run/docker.sock",
        b"dict://elsewhere.org:11211/stats",
        b"ws://elsewhere.org/",
        b"view-source:https://elsewhere.org/",
        b"//:443/",
        b"https://elsewhere.org:99999/",
        b"https://elsewhere.org:-1/",
        b"https://elsewhere.org:443:443/",
        b"https://[::1",
        b"https://elsewhere.org/\x7f",
        b"https://xn--\x80/",
    ],
    ids=ascii,
)
def test_redirects_to_what_is_no_web_address_end_there(
    victim: Victim, elsewhere: RawServer, location: bytes
) -> None:
    victim.refuses(ServerFailed, image=moved(location))
    assert elsewhere.requests == []


@PLACES
def test_no_file_of_this_machine_is_read(victim: Victim, tmp_path: Path, place: str) -> None:
    """However good it would be."""
    path = tmp_path / "good"
    path.write_bytes({"page": TAG, "signature": victim.good.signature, "image": victim.good.body}[place])
    victim.refuses(ServerFailed, **{place: moved(path.as_uri().encode())})


@pytest.mark.parametrize(
    "answer",
    [
        b"Location: https://elsewhere.org\\@example.com/",
        b"Location: \\\\elsewhere.org\\share",
        b"Location: https:///elsewhere.org/app.aci",
        b"Location: https:elsewhere.org/app.aci",
        b"Location: https:\\\\elsewhere.org/app.aci",
        b"Location: /a\r\nLocation: https://elsewhere.org/",
        b"Location: /" + b"%2e%2e/" * 10_000,
        b"Location: /" + b"x" * 60_000,
    ],
    ids=lambda answer: ascii(answer[:50]),
)
def test_redirects_that_programs_read_in_different_ways_lead_to_nobody_else(
    victim: Victim, elsewhere: RawServer, answer: bytes
) -> None:
    with victim.site(image=whole(b"", answer, status=b"302 Found")), pytest.raises(AcistoreError):
        victim.fetch()
    assert victim.contacts() == {HOST}
    assert elsewhere.requests == []
    assert victim.store.list() == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \x1b]0;evil\x07\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.org/\r\rX: y\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /" + b"x" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nRefresh: 0; url=https://elsewhere.org/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 305 Use Proxy\r\nLocation: https://elsewhere.org/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 300 Multiple\r\nLocation: https://elsewhere.org/\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda answer: ascii(answer[9:50]),
)
def test_redirects_that_lead_nowhere_end_there(victim: Victim, elsewhere: RawServer, answer: bytes) -> None:
    victim.refuses(ServerFailed, image=answering(answer))
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "location", [b"x" * 90_000, b"//" * 45_000, b"x://" * 22_000], ids=lambda location: ascii(location[:8])
)
def test_an_address_as_long_as_a_header_takes_no_time(victim: Victim, location: bytes) -> None:
    started = time.process_time()
    victim.refuses(ServerFailed, image=moved(location))
    assert time.process_time() - started < 5


def test_a_long_address_is_told_in_short(victim: Victim) -> None:
    refused = victim.refuses(ResourceNotFound, image=moved(b"/" + b"x" * 20_000))
    assert len(refused.error.message) < 300


def test_a_redirect_with_a_body_without_end_is_followed_at_once(victim: Victim, elsewhere: RawServer) -> None:
    flood = Flood(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.org/app.aci\r\n\r\n")
    with victim.site(image=flood):
        victim.fetch()
    assert victim.has_the_image()


@pytest.mark.parametrize(
    "location", [b"https://elsewhere.org/app.aci", b"//elsewhere.org/app.aci", b"HTTPS://ELSEWHERE.ORG/app.aci"]
)
def test_another_host_is_asked_without_credentials(victim: Victim, elsewhere: RawServer, location: bytes) -> None:
    with victim.site(image=moved(location)) as site:
        victim.fetch()
    assert victim.has_the_image()
    assert all(b"\r\nAuthorization: " + AUTHORIZATION in head for head in site.requests)
    [request] = elsewhere.requests
    for secret in (b"uthorization", b"ookie", b"Referer", PASSWORD.encode()):
        assert secret not in request


def test_a_password_in_a_redirect_is_not_sent(victim: Victim, elsewhere: RawServer) -> None:
    with victim.site(image=moved(b"https://someone:else@elsewhere.org/app.aci")):
        victim.fetch()
    [request] = elsewhere.requests
    assert b"uthorization" not in request


@PLACES
def test_a_redirect_to_a_host_with_a_bad_certificate_fails_there(victim: Victim, place: str) -> None:
    with RawServer(answering(OK + b"\r\nevil"), trustme.CA().issue_cert(ELSEWHERE)) as server:
        victim.web.take_over(ELSEWHERE, server)
        refused = victim.refuses(
            TLSFailed, contacts=frozenset({HOST, ELSEWHERE}), **{place: moved(b"https://elsewhere.org/app.aci")}
        )
        assert server.requests == []
    assert refused.error.facts["redirected from"].startswith("https://example.com/")
    assert refused.error.message not in refused.error.facts.values()


def test_the_page_of_another_host_speaks_for_the_name_that_was_asked(
    victim: Victim, authority: trustme.CA
) -> None:
    """A redirect is the host's own will; a tag for another prefix is nobody's."""
    page = whole(TAG.replace(b'"example.com ', b'"elsewhere.org '))
    with RawServer(page, authority.issue_cert(ELSEWHERE)) as server:
        victim.web.take_over(ELSEWHERE, server)
        victim.refuses(
            EndpointNotFound, page=moved(b"https://elsewhere.org/"), contacts=frozenset({HOST, ELSEWHERE})
        )
