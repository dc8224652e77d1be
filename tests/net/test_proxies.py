"""Proxies: which one leads where, what it is sent and what not, and what is told when it fails."""

import logging
import select
import socket
import ssl
import traceback

import httpx
import pytest
import trustme

from acistore.config import Config, Host, Limits
from acistore.errors import ConfigError, ConnectionFailed, NetworkError, TLSFailed
from acistore.net import Client
from acistore.net.proxies import Bypass, Proxies
from tests.net.auth import OK, SECRET, Places, basic, header
from tests.web import Handler, RawServer, answering

LIMIT = 1000


@pytest.fixture
def environ(direct: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies, to set some in."""
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def chosen(url: str) -> str | None:
    proxy = Proxies().for_url(httpx.URL(url))
    return proxy.name if proxy else None


def tunnelling(port: int) -> Handler:
    """A handler that brings CONNECT to a port of this machine, and sends on what comes afterwards."""

    def handler(client: socket.socket, head: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            peers = {client: server, server: client}
            while True:
                # TLS may hold bytes that select can't see.
                ready = [each for each in peers if isinstance(each, ssl.SSLSocket) and each.pending()]
                for source in ready or select.select(list(peers), [], [])[0]:
                    data = source.recv(1 << 18)
                    if not data:
                        return
                    peers[source].sendall(data)

    return handler


# Which one


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.com", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://a.com", "http://p:1"),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "https://a.com", "http://lower:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://upper:1"}, "https://a.com", None),
        ({"https_proxy": "p:1"}, "https://a.com", "http://p:1"),
        ({"https_proxy": "https://p"}, "https://a.com", "https://p"),
        ({"https_proxy": "http://[::1]:3128"}, "https://a.com", "http://[::1]:3128"),
        ({"https_proxy": "http://xn--a:1"}, "https://a.com", "http://xn--a:1"),
        ({"https_proxy": "http://p:1"}, "http://a.com", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a.com", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://a.com", None),  # set by a header, in a CGI
        ({"ALL_PROXY": "http://p:1"}, "https://a.com", "http://p:1"),
        ({"all_proxy": "http://all:1", "https_proxy": "http://p:1"}, "https://a.com", "http://p:1"),
        ({"https_proxy": "http://p:1", "NO_PROXY": "a.com"}, "https://a.com", None),
        ({"https_proxy": "http://p:1", "no_proxy": "b.com", "NO_PROXY": "a.com"}, "https://a.com", "http://p:1"),
    ],
)
def test_the_proxy_that_the_environment_names(
    environ: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)
    assert chosen(url) == proxy


@pytest.mark.parametrize(
    ("text", "direct", "others"),
    [
        ("", [], ["a.com"]),
        ("*", ["a.com", "127.0.0.1", "[::1]"], []),
        ("a.com", ["a.com", "A.com", "x.a.com", "x.y.a.com", "a.com:8443"], ["aa.com", "com", "a.com.org"]),
        (".a.com", ["a.com", "x.a.com"], ["aa.com"]),
        ("*.a.com", ["a.com", "x.a.com"], ["aa.com"]),
        ("b.com , a.com c.com", ["a.com", "b.com", "c.com"], ["d.com"]),
        ("a.com:8443", ["a.com:8443", "x.a.com:8443"], ["a.com", "a.com:443"]),
        ("a.com:443", ["a.com", "a.com:443"], ["a.com:8443"]),
        ("localhost", ["localhost", "localhost:1"], ["127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1", "127.0.0.1:8443"], ["127.0.0.2", "1.127.0.0.1.com"]),
        ("127.0.0.1:8443", ["127.0.0.1:8443"], ["127.0.0.1"]),
        ("10.0.0.0/8", ["10.1.2.3", "10.1.2.3:8443"], ["11.0.0.1", "a.com"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["11.0.0.1"]),
        ("2001:db8::/32", ["[2001:db8::7]"], ["[2001:db9::7]", "10.0.0.1"]),
        ("::1", ["[::1]", "[0:0::1]:8443"], ["[::2]"]),
        ("[::1]:8443", ["[::1]:8443"], ["[::1]"]),
        ("https://a.com, /, :, :1, a.com:x, 10.0.0.0/99, [", [], ["a.com", "10.0.0.1"]),
        (f"a.com:{'4' * 5000}", [], ["a.com", "a.com:4444"]),
    ],
)
def test_hosts_for_which_no_proxy_is_used(text: str, direct: list[str], others: list[str]) -> None:
    bypass = Bypass(text)
    assert [host for host in [*direct, *others] if bypass.holds_for(httpx.URL(f"https://{host}/"))] == direct


def test_no_proxy_is_heeded(environ: pytest.MonkeyPatch, localhost: trustme.LeafCert) -> None:
    environ.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with RawServer(answering(OK), localhost) as server:
        with Client(Config()) as client, pytest.raises(ConnectionFailed) as raised:
            client.get(server.url, limit=LIMIT)
        assert "http://127.0.0.1:1" in raised.value.facts["way"]
        environ.setenv("no_proxy", "localhost")
        with Client(Config()) as client:
            assert client.get(server.url, limit=LIMIT).body == b"ok"


@pytest.mark.parametrize(
    "proxy",
    [
        f"socks5://name:{SECRET}@localhost:1",
        f"ftp://name:{SECRET}@localhost",
        "http://",
        f"http://u:{SECRET}@",
        f"http://u:{SECRET}/@h:1",
    ],
)
def test_a_proxy_that_is_none_is_told_without_its_password(environ: pytest.MonkeyPatch, proxy: str) -> None:
    environ.setenv("https_proxy", proxy)
    with Client(Config()) as client, pytest.raises(ConfigError, match="http:// or https://") as raised:
        client.get("https://example.com/", limit=LIMIT)
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert ("no others are supported" in raised.value.message) == proxy.startswith("socks5")


# What it is sent


@pytest.mark.parametrize("tls", [False, True])
def test_a_tunnel_leads_through_the_proxy_which_sees_no_credentials(
    environ: pytest.MonkeyPatch, places: Places, authority: trustme.CA, localhost: trustme.LeafCert, tls: bool
) -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    with (
        RawServer(answering(big), authority.issue_cert("a.com")) as server,
        RawServer(tunnelling(server.port), localhost if tls else None) as proxy,
    ):
        scheme = "https" if tls else "http"
        environ.setenv("https_proxy", f"{scheme}://na%40me:pass%3Aword@localhost:{proxy.port}")
        with Client(places.config(Host("a.com", token=SECRET), Host("localhost", token=SECRET))) as client:
            for _ in range(2):
                assert client.get("https://a.com/a?b", limit=3_000_000).body == b"x" * 3_000_000
    assert [header(request, "Authorization") for request in server.requests] == [f"Bearer {SECRET}"] * 2
    assert [header(request, "Proxy-Authorization") for request in server.requests] == [None] * 2
    assert len(proxy.requests) == 2
    for request in proxy.requests:
        assert request.startswith(b"CONNECT a.com:443 HTTP/1.1\r\n")
        assert header(request, "Proxy-Authorization") == "Basic bmFAbWU6cGFzczp3b3Jk"
        assert SECRET.encode() not in request


def test_plain_http_is_sent_to_the_proxy_without_credentials(environ: pytest.MonkeyPatch, places: Places) -> None:
    config = places.config(Host("a.com", token=SECRET), insecure_options=frozenset({"http"}))
    with RawServer(answering(OK)) as proxy:
        environ.setenv("http_proxy", f"http://localhost:{proxy.port}")
        with Client(config) as client:
            assert client.get("http://a.com/a", limit=LIMIT).body == b"ok"
    assert proxy.requests[0].startswith(b"GET http://a.com/a HTTP/1.1\r\nHost: a.com\r\n")
    assert SECRET.encode() not in proxy.requests[0]
    assert header(proxy.requests[0], "Authorization") is None


# What is told


def test_a_proxy_that_refuses(environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(answering(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        environ.setenv("https_proxy", f"http://name:{SECRET}@localhost:{proxy.port}")
        with (
            Client(Config()) as client,
            pytest.raises(ConnectionFailed, match=r"proxy refused .* 403 F") as raised,
        ):
            client.get("https://example.com/", limit=LIMIT)
    assert raised.value.facts["way"].startswith(f"through http://localhost:{proxy.port}, the proxy that ")
    assert header(proxy.requests[0], "Proxy-Authorization") == basic("name", SECRET)
    told = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert SECRET not in told
    assert basic("name", SECRET) not in told


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_proxy_that_wants_to_know_who_asks(environ: pytest.MonkeyPatch, scheme: str) -> None:
    config = Config(insecure_options=frozenset({"http"}))
    answer = (
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    )
    with RawServer(answering(answer)) as proxy:
        environ.setenv(f"{scheme}_proxy", f"http://localhost:{proxy.port}")
        with Client(config) as client, pytest.raises(ConnectionFailed, match="proxy answered 407 Proxy") as raised:
            client.get(f"{scheme}://example.com/", limit=LIMIT)
    assert "USER:PASSWORD@HOST" in (raised.value.next_step or "")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1:1", "no connection: Connection refused"), ("p.invalid:1", "the host name doesn't resolve: ")],
)
def test_a_proxy_that_nobody_answers_at_is_told_and_not_the_site(
    environ: pytest.MonkeyPatch, variable: str, scheme: str, host: str, reason: str
) -> None:
    environ.setenv(variable, f"{scheme}://name:{SECRET}@{host}")
    with Client(Config()) as client, pytest.raises(ConnectionFailed) as raised:
        client.get("https://example.com/a", limit=LIMIT)
    assert raised.value.message.startswith(f"https://example.com/a: the proxy {scheme}://{host}: {reason}")
    assert raised.value.next_step == f"see whether {variable} in the environment is right, or unset it"
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_of_a_variable_in_both_spellings_the_one_at_fault_is_told(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    environ.setenv("https_proxy", "socks5://127.0.0.1:1")
    with Client(Config()) as client, pytest.raises(ConfigError, match=r"^https_proxy in the environment is not"):
        client.get("https://example.com/", limit=LIMIT)
    environ.setenv("https_proxy", "")
    environ.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with Client(Config()) as client, pytest.raises(ConfigError, match=r"^ALL_PROXY in the environment") as raised:
        client.get("https://example.com/", limit=LIMIT)
    assert (raised.value.next_step or "").startswith("set ALL_PROXY to one like ")


def test_a_proxy_that_does_not_answer_in_time_is_told(environ: pytest.MonkeyPatch) -> None:
    """A port whose queue of connections is full: what comes next is never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        environ.setenv("https_proxy", f"http://127.0.0.1:{address[1]}")
        config = Config(limits=Limits(connect_timeout=0.3))
        with (
            socket.create_connection(address),
            Client(config) as client,
            pytest.raises(ConnectionFailed, match=r"the proxy .*: no connection in time") as raised,
        ):
            client.get("https://example.com/", limit=LIMIT)
    assert "https_proxy" in (raised.value.next_step or "")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("HTTP/1.1 403 {} " + "x" * 50_000, "the proxy refused to connect: 403 Forbidden"),
        ("HTTP/1.1 502 {}", "the proxy refused to connect: 502 Bad Gateway"),
        ("HTTP/1.1 599 {}", "the proxy refused to connect: 599"),
        ("{}", "the answer is not valid HTTP: illegal status line"),
        ("HTTP/1.1 200 OK\r\n{}", "the answer is not valid HTTP: illegal header line"),
        (
            "HTTP/1.1 200 OK" + "\r\nHeader: value" * 30_000,
            "the answer is not valid HTTP: more than 100 KiB of headers",
        ),
    ],
)
def test_a_proxy_that_sends_its_password_back_gets_it_into_no_message(
    environ: pytest.MonkeyPatch, head: str, reason: str
) -> None:
    sent = basic("name", SECRET)
    with RawServer(answering(f"{head.format(sent)}\r\n\r\n".encode())) as proxy:
        environ.setenv("https_proxy", f"http://name:{SECRET}@localhost:{proxy.port}")
        with Client(Config()) as client, pytest.raises(NetworkError) as raised:
            client.get("https://example.com/", limit=LIMIT)
    assert raised.value.message.startswith(f"https://example.com/: {reason}")
    assert len(raised.value.message) < 200
    assert header(proxy.requests[0], "Proxy-Authorization") == sent
    assert sent not in "".join(traceback.format_exception(raised.value))


def silent(connection: socket.socket, head: bytes) -> None:
    connection.recv(1)


def hanging_up(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def talking_nonsense(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.sendall(b"nonsense\r\n" * 1000)
    while connection.recv(4096):
        pass


def keeping_quiet(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while connection.recv(4096):
        pass


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (silent, ConnectionFailed),
        (hanging_up, NetworkError),  # in the handshake, or even before it
        (talking_nonsense, NetworkError),
        (keeping_quiet, ConnectionFailed),
        (answering(b"nonsense"), NetworkError),
        (answering(b""), NetworkError),
    ],
)  # fmt: skip
def test_a_proxy_that_does_not_do_its_job_ends_in_time(
    environ: pytest.MonkeyPatch,
    localhost: trustme.LeafCert,
    tls: bool,
    handler: Handler,
    error: type[NetworkError],
) -> None:
    with RawServer(handler, localhost if tls else None) as proxy:
        environ.setenv("https_proxy", f"{'https' if tls else 'http'}://localhost:{proxy.port}")
        with Client(Config()) as client, pytest.raises(error, match=r"https://example\.com/"):
            client.get("https://example.com/", limit=LIMIT, deadline=0.5)


def test_the_certificates_of_the_proxy_and_of_the_host_behind_it_are_checked(
    environ: pytest.MonkeyPatch, authority: trustme.CA, localhost: trustme.LeafCert
) -> None:
    stranger = trustme.CA()
    pairs = [
        (stranger.issue_cert("localhost"), authority.issue_cert("a.com")),
        (localhost, stranger.issue_cert("a.com")),
        (localhost, authority.issue_cert("b.com")),
    ]
    for of_proxy, of_host in pairs:
        with (
            RawServer(answering(OK), of_host) as server,
            RawServer(tunnelling(server.port), of_proxy) as proxy,
        ):
            environ.setenv("https_proxy", f"https://localhost:{proxy.port}")
            with Client(Config()) as client, pytest.raises(TLSFailed, match="certificate is not acceptable"):
                client.get("https://a.com/", limit=LIMIT)
        assert server.requests == []
