"""A real web for tests: nginx with TLS for any number of hosts, servers that misbehave, and a proxy to both.

    def test_something(web):                                   # the fixture in conftest.py
        url = web.put("example.com", "app/index.html", b"…")   # https://example.com/app/index.html
        …                                                      # this process and its children ask example.com
        assert web.log() == ["GET https://example.com/app?ac-discovery=1 200"]

Every host is on this machine, whatever its name: the proxy, which the environment names, brings all connections
to nginx, or to the `RawServer` that has taken the host over. Nothing of it needs root or a fixed port.
"""

import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import trustme

from tests.waiting import PATIENCE

_CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid {top}/nginx.pid;
error_log {top}/error.log;
events {{}}
http {{
    client_body_temp_path {top}/scratch;
    proxy_temp_path {top}/scratch;
    fastcgi_temp_path {top}/scratch;
    uwsgi_temp_path {top}/scratch;
    scgi_temp_path {top}/scratch;
    log_format json escape=json
        '{{"line": "$request_method $scheme://$host$request_uri $status", "sent": $body_bytes_sent}}';
    access_log {top}/access.log json;
    sendfile on;
    absolute_redirect off;
    types {{ text/html html; }}
    server {{
        listen 127.0.0.1:{plain_port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {top}/certificates/$ssl_server_name.pem;
        ssl_certificate_key {top}/certificates/$ssl_server_name.pem;
        root {top}/hosts/$host;
        location / {{ try_files $uri $uri/index.html =404; }}
        location = /.written {{ access_log off; return 204; }}
    }}
}}
"""

# What a `RawServer` does with a connection, given the head of the request.
Handler = Callable[[socket.socket, bytes], object]


class WebSite:
    """nginx on loopback, and the proxy to it. `authority` signs the certificates of its hosts."""

    def __init__(self, top: Path, authority: trustme.CA) -> None:
        self._top = top
        self._authority = authority
        self._taken_over: dict[str, int] = {}
        # Modification times, one for each file that is written: nginx makes the ETag of time and size.
        self._moment = int(time.time()) - 1_000_000

    def __enter__(self) -> Self:
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx is None:
            raise RuntimeError("nginx is not installed: apt-get install nginx-light")
        for directory in ("certificates", "hosts", "scratch"):
            (self._top / directory).mkdir()
        self._authority.cert_pem.write_to_path(str(self._top / "authority.pem"))
        # nginx takes over sockets that are listening already: no port can be lost on the way, no start awaited.
        with closing(_listening()) as plain, closing(_listening()) as tls:
            self.plain_port: int = plain.getsockname()[1]
            self.tls_port: int = tls.getsockname()[1]
            configuration = self._top / "nginx.conf"
            configuration.write_text(
                _CONFIGURATION.format(
                    top=self._top,
                    user="user root;" if os.geteuid() == 0 else "",
                    plain_port=self.plain_port,
                    tls_port=self.tls_port,
                )
            )
            self._nginx = subprocess.Popen(
                [nginx, "-e", self._top / "error.log", "-p", self._top, "-c", configuration],
                env={**os.environ, "NGINX": f"{plain.fileno()};{tls.fileno()};"},
                pass_fds=(plain.fileno(), tls.fileno()),
            )
        self._proxy = _Proxy(self._port_of)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy.stop()
        self._settle()  # a signal that comes while nginx starts can get lost
        self._nginx.terminate()
        self._nginx.wait(PATIENCE)

    @property
    def environ(self) -> dict[str, str]:
        """What has to be in the environment of a process for which all of this is the web."""
        proxy = f"http://127.0.0.1:{self._proxy.port}"
        names = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
        return dict.fromkeys(names, proxy) | {
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": str(self._top / "authority.pem"),
        }

    def put(self, host: str, path: str, body: bytes, *, tls: bool = True) -> str:
        """Serves `body` at a path of a host (`index.html` for its directory, too), and returns its URL.

        What was there is replaced, with another ETag and Last-Modified. A host that has nothing with `tls` has no
        certificate, and can be asked by plain HTTP alone.
        """
        certificate = self._top / "certificates" / f"{host}.pem"
        if tls and not certificate.exists():
            self._authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(str(certificate))
        file = self._top / "hosts" / host / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_bytes(body)
        self._moment += 1
        os.utime(fresh, (self._moment, self._moment))
        fresh.rename(file)
        return f"{'https' if tls else 'http'}://{host}/{path}"

    def remove(self, host: str, path: str) -> None:
        """From now on that is a 404."""
        (self._top / "hosts" / host / path).unlink()

    def log(self) -> list[str]:
        """The requests that nginx has answered so far: `GET https://example.com/app?ac-discovery=1 200`."""
        return [entry["line"] for entry in self._entries()]

    def bytes_sent(self) -> int:
        """The size of all bodies that nginx has sent so far."""
        return sum(int(entry["sent"]) for entry in self._entries())

    def _entries(self) -> list[dict[str, Any]]:
        self._settle()
        return [json.loads(line) for line in (self._top / "access.log").read_text().splitlines()]

    def _settle(self) -> None:
        """Waits until nginx is up and has logged what it answered: one process serves all connections in turn."""
        with socket.create_connection(("127.0.0.1", self.plain_port)) as connection:
            connection.sendall(b"GET /.written HTTP/1.0\r\n\r\n")
            while connection.recv(4096):
                pass

    def take_over(self, host: str, server: "RawServer") -> None:
        """From now on connections to ports 80 and 443 of that host go to `server`."""
        self._taken_over[host] = server.port

    def give_back(self, host: str) -> None:
        """From now on nginx serves that host again."""
        del self._taken_over[host]

    def _port_of(self, host: str, port: int) -> int:
        if port in (80, 443):
            return self._taken_over.get(host, self.plain_port if port == 80 else self.tls_port)
        return port


class RawServer:
    """Serves each connection with `handler`, in a thread: well, badly or not at all, as a test needs it.

    The handler gets the connection and the head of the request. It may write to a client that has gone away:
    that ends it. With `certificate` the connection is TLS. What was asked is kept in `requests`. It listens on
    `address`.
    """

    def __init__(
        self, handler: Handler, certificate: trustme.LeafCert | None = None, *, address: str = "127.0.0.1"
    ) -> None:
        self._handler = handler
        self._address = address
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._context)
        self.requests: list[bytes] = []

    def __enter__(self) -> Self:
        self._connections = _Connections(self._serve, self._context, self._address)
        self.port = self._connections.port
        self.url = f"{'https' if self._context else 'http'}://localhost:{self.port}/"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.stop()

    def _serve(self, connection: socket.socket) -> None:
        head = _read_head(connection)
        self.requests.append(head)
        self._handler(connection, head)


def answering(*parts: bytes) -> Handler:
    """A handler that sends these bytes, whatever it was asked, and hangs up."""

    def handler(connection: socket.socket, head: bytes) -> None:
        for part in parts:
            connection.sendall(part)

    return handler


class _Proxy:
    """An HTTP proxy for which each host is a port of this machine: `port_of(host, port)`."""

    def __init__(self, port_of: Callable[[str, int], int]) -> None:
        self._port_of = port_of
        self._connections = _Connections(self._serve)
        self.port = self._connections.port
        self.stop = self._connections.stop

    def _serve(self, client: socket.socket) -> None:
        head = _read_head(client)
        if not head:
            return
        method, target = head.split(b" ", 2)[:2]
        default = 443 if method == b"CONNECT" else 80
        url = urlsplit(target.decode() if default == 80 else f"//{target.decode()}")
        with socket.create_connection(
            ("127.0.0.1", self._port_of(url.hostname or "", url.port or default))
        ) as server:
            if method == b"CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head)
            peers = {client: server, server: client}
            while True:
                for source in select.select(list(peers), [], [])[0]:
                    data = source.recv(1 << 18)
                    if not data:
                        return
                    peers[source].sendall(data)


class _Connections:
    """A listening socket, and a thread for each connection to it that `serve` returns from some day."""

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        context: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._serve = serve
        self._context = context
        self._listener = _listening(address)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Hangs up on everybody, and waits for all threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self._threads.append(threading.Thread(target=self._run, args=(connection,)))
            self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        raw = connection
        try:
            with suppress(OSError):  # the other side has had enough
                if self._context:
                    # wrap_socket takes the descriptor away from the socket that `stop` knows.
                    connection = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
                    self._open.add(connection)
                    connection.do_handshake()
                self._serve(connection)
        finally:
            self._open -= {raw, connection}
            connection.close()


def _listening(address: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family, backlog=128)


def _read_head(connection: socket.socket) -> bytes:
    """The request up to the empty line, or as much of it as came."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(1 << 16)
        if not data:
            break
        head += data
    return head
