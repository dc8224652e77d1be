"""Redirects from a public server to a private address: refused, however they are written, unless allowed."""

import socket

import pytest
import trustme

from acistore.config import Config
from acistore.errors import ConnectionFailed, InsecureTransport
from acistore.net import Client
from tests.islands import (
    LINK_LOCAL,
    LOOPBACK,
    OTHER_PUBLIC,
    PRIVATE,
    PRIVATE_6,
    PUBLIC,
    PUBLIC_6,
    SHARED,
    Island,
    on_an_island,
)
from tests.net.auth import OK
from tests.web import Handler, RawServer, WebSite, answering

LIMIT = 1000


def redirecting(location: str) -> Handler:
    return answering(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


def at(host: str, server: RawServer) -> str:
    return f"https://{f'[{host}]' if ':' in host else host}:{server.port}/"


def outcome(start: str, **options: bool) -> str:
    """Where a request ends, or `refused`."""
    with Client(Config(**options)) as client:  # type: ignore[arg-type]
        try:
            return client.get(start, limit=LIMIT).url
        except InsecureTransport as error:
            assert "private address" in error.message
            assert error.next_step is not None
            assert "--private-redirects" in error.next_step
            assert error.facts["redirected from"] == start
            return "refused"


@on_an_island
def test_a_public_server_does_not_lead_to_a_private_address(island: Island) -> None:
    everywhere = {LOOPBACK, PRIVATE, LINK_LOCAL, SHARED}
    with island.serve(answering(OK), "0.0.0.0") as there, island.serve(answering(OK), "::") as there_6:
        hosts = [*everywhere, "localhost", "private.test", "127.1", "2130706433", "0x7f.1", "017700000001", "0"]
        ends = [at(host, there) for host in hosts]
        ends += [at(host, there_6) for host in (PRIVATE_6, "::1", f"::ffff:{PRIVATE}", "::ffff:7f00:1")]
        for end in ends:
            with island.serve(redirecting(end), PUBLIC) as here:
                assert outcome(at(PUBLIC, here)) == "refused", end
                assert outcome(at("public.test", here)) == "refused", end
        assert there.requests == there_6.requests == []


@on_an_island
def test_it_leads_to_public_addresses(island: Island) -> None:
    with island.serve(answering(OK), "0.0.0.0") as there, island.serve(answering(OK), PUBLIC_6) as there_6:
        for end in (at(OTHER_PUBLIC, there), at("public.test", there), at(PUBLIC_6, there_6)):
            with island.serve(redirecting(end), PUBLIC) as here:
                assert outcome(at(PUBLIC, here)) == end


@on_an_island
def test_of_a_name_with_both_kinds_only_the_public_address_is_tried(island: Island) -> None:
    with island.serve(answering(OK), PRIVATE) as private:
        with (
            island.serve(redirecting(at("mixed.test", private)), PUBLIC) as here,
            Client(Config()) as client,
            pytest.raises(ConnectionFailed, match="refused"),  # nobody listens on the public one
        ):
            client.get(at(PUBLIC, here), limit=LIMIT)
        assert private.requests == []
        with Client(Config()) as client:
            assert client.get(at("mixed.test", private), limit=LIMIT).status == 200


@on_an_island
def test_private_servers_lead_wherever_they_like(island: Island) -> None:
    with island.serve(answering(OK), "0.0.0.0") as there:
        for end in (at(PRIVATE, there), at(LOOPBACK, there), at(PUBLIC, there)):
            with island.serve(redirecting(end), PRIVATE) as here:
                assert outcome(at(PRIVATE, here)) == end


@on_an_island
def test_one_public_server_on_the_way_is_enough(island: Island) -> None:
    with (
        island.serve(answering(OK), PRIVATE) as end,
        island.serve(redirecting(at(PRIVATE, end)), OTHER_PUBLIC) as third,
        island.serve(redirecting(at(OTHER_PUBLIC, third)), PUBLIC) as second,
        island.serve(redirecting(at(PUBLIC, second)), LOOPBACK) as first,
    ):
        assert outcome(at(LOOPBACK, first)) == "refused"


@on_an_island
def test_a_connection_that_was_kept_is_no_way_around(island: Island) -> None:
    def handler(connection: socket.socket, head: bytes) -> None:
        while head:
            connection.sendall(OK)
            head = connection.recv(4096)

    with (
        island.serve(handler, PRIVATE) as there,
        island.serve(redirecting(at("private.test", there)), PUBLIC) as here,
        Client(Config()) as client,
    ):
        for _ in range(2):
            assert client.get(at("private.test", there), limit=LIMIT).status == 200
            with pytest.raises(InsecureTransport):
                client.get(at(PUBLIC, here), limit=LIMIT)


@on_an_island
def test_it_can_be_allowed(island: Island) -> None:
    with (
        island.serve(answering(OK), PRIVATE) as there,
        island.serve(redirecting(at(PRIVATE, there)), PUBLIC) as here,
    ):
        assert outcome(at(PUBLIC, here), private_redirects=True) == at(PRIVATE, there)


# Behind a proxy, addresses are not seen: names for this machine and private addresses in URLs are.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0x7f.1", "[::1]", "10.0.0.1", "169.254.169.254"])
def test_behind_a_proxy_what_is_evidently_private_is_refused(
    web: WebSite, authority: trustme.CA, host: str
) -> None:
    with RawServer(redirecting(f"https://{host}/a"), authority.issue_cert("moved.org")) as moved:
        web.take_over("moved.org", moved)
        assert outcome("https://moved.org/") == "refused"
    assert web.log() == []


def test_behind_a_proxy_a_private_server_may_lead_to_another(web: WebSite, authority: trustme.CA) -> None:
    with (
        RawServer(answering(OK), authority.issue_cert("127.0.0.1")) as there,
        RawServer(redirecting("https://127.0.0.1/a"), authority.issue_cert("10.0.0.1")) as moved,
    ):
        web.take_over("10.0.0.1", moved)
        web.take_over("127.0.0.1", there)
        assert outcome("https://10.0.0.1/") == "https://127.0.0.1/a"


def test_what_is_reached_without_the_proxy_is_judged_by_its_address(
    web: WebSite, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RawServer(answering(OK), authority.issue_cert("localhost")) as there,
        RawServer(redirecting(there.url), authority.issue_cert("moved.org")) as moved,
    ):
        web.take_over("moved.org", moved)
        monkeypatch.setenv("no_proxy", "localhost")
        assert outcome("https://moved.org/") == "refused"
        assert outcome("https://moved.org/", private_redirects=True) == there.url
