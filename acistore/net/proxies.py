"""Which proxy leads to a URL, as the environment has it: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

Each in lower case or in capitals; where both are set, the one in lower case counts. What NO_PROXY may hold is told
at `Bypass`.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.request import getproxies_environment

import httpcore
import httpx

from acistore.errors import ConfigError
from acistore.net.hosts import DEFAULT_PORTS

_ENTRY = re.compile(r"(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached with or without TLS. `name` can be shown; `variable` is the one that it came from."""

    scheme: str
    host: str
    port: int | None
    variable: str
    auth: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")

    @property
    def url(self) -> httpcore.URL:
        """Without user and password."""
        return httpcore.URL(scheme=self.scheme, host=self.host, port=self.port, target=b"/")


class Proxies:
    """Those of the environment, which is read once, when this is made."""

    def __init__(self) -> None:
        environ = getproxies_environment()
        self._bypass = Bypass(environ.pop("no", ""))
        self._by_scheme = environ
        self._variables = {scheme: _variable(scheme) for scheme in environ}
        self._parsed: dict[str, Proxy] = {}  # by scheme

    def for_url(self, url: httpx.URL) -> Proxy | None:
        """The proxy that requests for this URL go through. Raises ConfigError for one that can't be used."""
        scheme = url.scheme if self._by_scheme.get(url.scheme) else "all"
        text = self._by_scheme.get(scheme)
        if not text or self._bypass.holds_for(url):
            return None
        if scheme not in self._parsed:
            self._parsed[scheme] = _parsed(text, self._variables[scheme])
        return self._parsed[scheme]


class Unreachable(httpcore.ConnectError):
    """There is no connection to the proxy. The argument is the system's error, as of any ConnectError."""

    def __init__(self, proxy: Proxy, cause: Exception) -> None:
        super().__init__(*cause.args)
        self.proxy = proxy
        self.timed_out = isinstance(cause, httpcore.ConnectTimeout)


class ProxyBackend(httpcore.NetworkBackend):
    """Connects to a proxy: a failure is the proxy's, and not that of the server behind it."""

    def __init__(self, backend: httpcore.NetworkBackend, proxy: Proxy) -> None:
        self._backend = backend
        self._proxy = proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """As the backend does it. Raises Unreachable for what it raises."""
        try:
            return self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Unreachable(self._proxy, error) from error


class Bypass:
    """The hosts that no proxy is used for. A list, with commas or spaces:

    `*`: all. `example.com`, `.example.com` or `*.example.com`: that host and all below it. `192.0.2.7`,
    `192.0.2.0/24`, `2001:db8::/32`: URLs with such an address for a host; names are not resolved for it. Each, but
    a network, also with `:port`, and then for that port alone.
    """

    def __init__(self, text: str) -> None:
        self._entries = text.replace(",", " ").lower().split()

    def holds_for(self, url: httpx.URL) -> bool:
        """Whether the host of this URL is among them."""
        host = url.raw_host.decode("ascii").strip("[]").rstrip(".").lower()
        port = url.port or DEFAULT_PORTS.get(url.scheme)
        return any(_matches(entry, host, port) for entry in self._entries)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # one of the two is no address
    match = _ENTRY.fullmatch(entry)
    if match is None or (match[2] and int(match[2]) != port):
        return False
    name = match[1].strip("[]").removeprefix("*").strip(".")
    try:
        return ip_address(host) == ip_address(name)
    except ValueError:
        return bool(name) and (host == name or host.endswith("." + name))


def _variable(scheme: str) -> str:
    """The variable that the proxy for a scheme is taken from, as it is written in the environment."""
    name = f"{scheme}_proxy"
    set_here = [each for each in os.environ if each.lower() == name]
    return name if name in set_here else next(iter(set_here), name.upper())


def _parsed(text: str, variable: str) -> Proxy:
    """Raises ConfigError, which doesn't repeat the value: it may hold a password."""
    try:
        parsed = httpx.Proxy(text if "://" in text else f"http://{text}")
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is None or parsed.url.scheme not in ("http", "https") or not parsed.url.raw_host:
        kind = parsed.url.scheme if parsed else "none"
        raise ConfigError(
            f"{variable} in the environment is not an http:// or https:// URL"
            + (", and no others are supported" if kind.startswith("socks") else ""),
            next_step=f"set {variable} to one like http://proxy.example.com:3128, or unset it",
        )
    host = parsed.url.raw_host.decode("ascii")
    return Proxy(parsed.url.scheme, host, parsed.url.port, variable, parsed.raw_auth)
