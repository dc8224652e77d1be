"""Who is sent which Authorization, over what, and that nobody else ever sees it."""

import logging
import socket
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from acistore.config import Config, Host, Limits
from acistore.errors import AcistoreError, ConnectionFailed, RequestRefused, ResourceNotFound
from acistore.net import Client
from acistore.net.credentials.kinds import AwsKey, Basic, Bearer
from tests.cli.running import spawn
from tests.net.auth import OK, SECRET, Places, basic, header, oauth
from tests.web import Handler, RawServer, WebSite, answering

LIMIT = 1000
ANY_PORT = Host("localhost", token=SECRET)


def answer(status: str, *headers: str) -> Handler:
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]
    return answering("\r\n".join(lines).encode())


@dataclass
class Net:
    """Servers for hosts of any name, all in this machine's web."""

    web: WebSite
    authority: trustme.CA
    stack: ExitStack

    def serve(self, host: str, handler: Handler, *, tls: bool = True) -> RawServer:
        """A server that answers for a host from now on."""
        certificate = self.authority.issue_cert(host) if tls else None
        server = self.stack.enter_context(RawServer(handler, certificate))
        self.web.take_over(host, server)
        return server


@pytest.fixture
def net(web: WebSite, authority: trustme.CA) -> Iterator[Net]:
    with ExitStack() as stack:
        yield Net(web, authority, stack)


def authorizations(server: RawServer) -> list[str | None]:
    return [header(request, "Authorization") for request in server.requests]


# What is sent


def test_every_request_for_the_host_says_who_asks(net: Net, places: Places) -> None:
    server = net.serve("a.com", answering(OK))
    with Client(places.config(Host("a.com", token=SECRET))) as client:
        client.get("https://a.com/app", limit=LIMIT)
        client.is_missing("https://a.com/app.aci.asc")
        with client.open("https://a.com/app.aci", conditions=lambda _: {"If-None-Match": '"1"'}):
            pass
    assert authorizations(server) == [f"Bearer {SECRET}"] * 3
    assert header(server.requests[2], "If-None-Match") == '"1"'


def test_nobody_else_is_told(net: Net, places: Places) -> None:
    servers = [net.serve(host, answering(OK)) for host in ("b.com", "sub.a.com")]
    with Client(places.config(Host("a.com", token=SECRET))) as client:
        for host in ("b.com", "sub.a.com"):
            client.get(f"https://{host}/", limit=LIMIT)
    assert [authorizations(server) for server in servers] == [[None], [None]]


def test_plain_http_carries_no_credentials(net: Net, places: Places) -> None:
    server = net.serve("a.com", answer("401 Unauthorized"), tls=False)
    config = places.config(
        Host("a.com", token=SECRET, origin="the file"), insecure_options=frozenset({"http", "tls"})
    )
    with Client(config) as client, pytest.raises(RequestRefused) as raised:
        client.get("http://a.com/", limit=LIMIT).found()
    assert authorizations(server) == [None]
    assert raised.value.facts["credentials"] == "those in the file were not sent"
    assert "https://" in (raised.value.next_step or "")


def test_without_checked_certificates_no_credentials_are_sent_and_a_warning_says_so(
    direct: None, places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    config = places.config(ANY_PORT, insecure_options=frozenset({"tls"}))
    stranger = trustme.CA().issue_cert("localhost")
    with RawServer(answer("403 Forbidden"), stranger) as server, Client(config) as client:
        for _ in range(2):
            with pytest.raises(RequestRefused) as raised:
                client.get(server.url, limit=LIMIT).found()
    assert authorizations(server) == [None, None]
    assert "--insecure-options=tls" in (raised.value.next_step or "")
    assert [record.getMessage() for record in caplog.records] == [
        f"certificates are not checked, so no credentials are sent to localhost:{server.port}"
    ]


def test_a_certificate_that_is_not_acceptable_gets_no_credentials(direct: None, places: Places) -> None:
    with (
        RawServer(answering(OK), trustme.CA().issue_cert("localhost")) as server,
        Client(places.config(ANY_PORT)) as client,
        suppress(AcistoreError),
    ):
        client.get(server.url, limit=LIMIT)
    assert server.requests == []


# Redirects


def test_credentials_of_one_host_never_reach_another(net: Net, places: Places) -> None:
    first = net.serve("a.com", answer("302 Found", "Location: https://b.com/b"))
    second = net.serve("b.com", answer("307 Temporary Redirect", "Location: https://c.com/c"))
    third = net.serve("c.com", answering(OK))
    config = places.config(Host("a.com", token="for-a"), Host("c.com", username="c", password="for-c"))
    with Client(config) as client:
        assert client.get("https://a.com/a", limit=LIMIT).url == "https://c.com/c"
    assert [authorizations(each) for each in (first, second, third)] == [
        ["Bearer for-a"],
        [None],
        [basic("c", "for-c")],
    ]


def test_another_port_is_another_host_where_the_port_is_named(
    direct: None, places: Places, localhost: trustme.LeafCert
) -> None:
    with RawServer(answering(OK), localhost) as there:
        moved = answer("302 Found", f"Location: {there.url}")
        with RawServer(moved, localhost) as here:
            config = places.config(Host(f"localhost:{here.port}", token=SECRET))
            with Client(config) as client:
                client.get(here.url, limit=LIMIT)
    assert (authorizations(here), authorizations(there)) == ([f"Bearer {SECRET}"], [None])


@pytest.mark.parametrize("name", ["Authorization", "PROXY-authorization", "cookie", "Host"])
def test_a_caller_can_not_say_who_asks_by_headers(places: Places, name: str) -> None:
    with Client(places.config()) as client, pytest.raises(ValueError, match="configured credentials"):
        client.get("https://a.com/", limit=LIMIT, conditions=lambda _: {name: SECRET})


# Errors, logs and traces


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "400 Bad Request"])
def test_a_refusal_says_which_credentials_were_sent(net: Net, places: Places, status: str) -> None:
    net.serve("a.com", answer(status))
    file = places.write("user", "a.json", oauth("a.com"))
    with Client(places.config()) as client, pytest.raises(RequestRefused, match=status) as raised:
        client.get("https://a.com/", limit=LIMIT).found()
    assert raised.value.facts == {"credentials": f"sent, from {file}"}
    assert str(file) in (raised.value.next_step or "")


def test_a_refusal_says_where_credentials_would_go(net: Net, places: Places) -> None:
    net.serve("a.com", answer("401 Unauthorized"))
    with Client(places.config()) as client, client.open("https://a.com/") as refused:
        error = refused.not_found()
    assert error.facts == {"credentials": "none are known for a.com"}
    place = f"{places.top}/user/auth.d"
    assert error.next_step == (
        f"credentials for a.com go into a file in {place}, [[hosts]] of acistore.toml, or ~/.netrc"
    )


def test_what_is_missing_is_not_a_matter_of_credentials(net: Net, places: Places) -> None:
    net.serve("a.com", answer("404 Not Found"))
    with Client(places.config(Host("a.com", token=SECRET))) as client, pytest.raises(ResourceNotFound) as raised:
        client.get("https://a.com/", limit=LIMIT).found()
    assert not isinstance(raised.value, RequestRefused)
    assert (raised.value.facts, raised.value.next_step) == ({}, None)


def test_a_bad_request_of_a_stranger_may_want_a_client_certificate(net: Net, places: Places) -> None:
    """As nginx answers who shows none, where it asks for one."""
    net.serve("a.com", answer("400 Bad Request"))
    with Client(places.config()) as client, pytest.raises(RequestRefused) as raised:
        client.get("https://a.com/", limit=LIMIT).found()
    assert "client_certificate" in (raised.value.next_step or "")


@pytest.mark.parametrize(
    "host",
    [
        Host("a.com", token=SECRET),
        Host("a.com", username="ada", password=SECRET),
        Host("a.com", aws_access_key_id="AKID", aws_secret_access_key=SECRET),
        Host("a.com", aws_access_key_id="AKID", aws_secret_access_key="key", aws_session_token=SECRET),
    ],
    ids=["token", "password", "aws", "session"],
)
@pytest.mark.parametrize("reply", [answering(OK), answering(b"HTTP/1.1 999\r\n"), answer("401 Unauthorized")])
def test_no_secret_is_logged_or_shown(
    net: Net, places: Places, caplog: pytest.LogCaptureFixture, host: Host, reply: Handler
) -> None:
    caplog.set_level(logging.DEBUG)
    server = net.serve("a.com", reply)
    told = ""
    with Client(places.config(host)) as client:
        try:
            told += repr(client.get("https://a.com/app.aci", limit=LIMIT).found())
        except AcistoreError as error:
            told += f"{error!r} {error.facts} {error.next_step}" + "".join(traceback.format_exception(error))
    sent = authorizations(server)[0]
    assert sent
    told += caplog.text + repr([record.args for record in caplog.records]) + repr(client.__dict__)
    for secret in (SECRET, sent, sent.split(" ", 1)[1], sent.rpartition("Signature=")[2]):
        assert secret not in told


@pytest.mark.parametrize(
    "reply",
    [
        "{}\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        "HTTP/1.1 401 {}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 {}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 No\r\nX-Sent: {0}\r\n\r\n<h1>{0}</h1>",
        "HTTP/1.1 302 Found\r\nLocation: ftp://b.com/?{}\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://b.com/?{}\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: https://b.com:x/#{}\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: https://b.com/?{}\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: https://[{}\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: https://{}/\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: gopher:{}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_server_that_sends_the_secret_back_gets_it_into_no_message(
    net: Net, places: Places, caplog: pytest.LogCaptureFixture, reply: str
) -> None:
    def echoing(connection: socket.socket, head: bytes) -> None:
        connection.sendall(reply.format(header(head, "Authorization")).encode())

    caplog.set_level(logging.DEBUG, "acistore")
    server = net.serve("a.com", echoing)
    net.serve("b.com", answer("404 Not Found"))
    config = places.config(Host("a.com", token=SECRET), limits=Limits(retries=0))
    with Client(config) as client, pytest.raises(AcistoreError) as raised:
        client.get("https://a.com/app.aci", limit=LIMIT).found()
    assert authorizations(server) == [f"Bearer {SECRET}"]
    told = "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value))
    records = [record for record in caplog.records if record.name.startswith("acistore")]
    assert records
    assert SECRET not in told + repr([vars(record) for record in records])


@pytest.mark.parametrize(
    "secret", [Basic("u", SECRET), Bearer(SECRET), AwsKey("AKID", SECRET, session_token=SECRET)]
)
def test_no_secret_is_in_a_repr(secret: Basic | Bearer | AwsKey) -> None:
    url = httpx.URL("https://a.com/")
    for shown in (repr(secret), repr(secret.authorize("GET", url))):
        assert SECRET not in shown
        assert secret.authorize("GET", url).headers["Authorization"] not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"https://u:{SECRET}@nowhere.invalid/a",
        f"https://u:{SECRET}@nowhere.invalid:x/a",
        f"https://u:{SECRET}/@nowhere.invalid/a",
        f"https://u:{SECRET}#x@nowhere.invalid/a",
        f"https://u:80{SECRET}/@nowhere.invalid/a",
        f"https://{SECRET}@nowhere.invalid/a",
        f"ftp://u:{SECRET}@nowhere.invalid/a",
        f"u:{SECRET}@nowhere.invalid/a",
        f"https://u:{SECRET}@/a",
        f"https://u:p@{SECRET}@nowhere.invalid:0x/",
    ],
)
def test_a_password_in_a_url_is_not_shown(direct: None, places: Places, url: str) -> None:
    with Client(places.config()) as client, pytest.raises(ConnectionFailed) as raised:
        client.get(url, limit=LIMIT)
    assert SECRET not in f"{raised.value} {raised.value.facts}" + "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "location", [f"https://u:{SECRET}@nowhere.invalid/", f"ftp://u:{SECRET}@b.com/", f"https://u:{SECRET}/@b.com/"]
)
def test_a_password_in_a_redirect_is_neither_sent_nor_shown(net: Net, places: Places, location: str) -> None:
    net.serve("a.com", answer("302 Found", f"Location: {location}"))
    config: Config = places.config()
    with Client(config) as client, pytest.raises(AcistoreError) as raised:
        client.get("https://a.com/", limit=LIMIT)
    assert SECRET not in f"{raised.value} {raised.value.facts}" + "".join(traceback.format_exception(raised.value))


def test_the_command_shows_no_secret_with_debug(net: Net, places: Places, tmp_path: Path) -> None:
    net.serve("a.com", answer("401 Unauthorized"))
    file = places.write("user", "a.json", oauth("a.com"))
    ran = spawn(
        "--debug",
        "--insecure-options=image",
        "fetch",
        "https://a.com/app.aci",
        ACISTORE_DIR=str(tmp_path / "store"),
        **{f"ACISTORE_{layer.upper()}_CONFIG": str(places.top / layer) for layer in ("system", "local", "user")},
    )
    assert ran.code == 3
    assert f"sent, from {file}" in ran.err
    assert "Traceback" in ran.err
    assert SECRET not in ran.out + ran.err
