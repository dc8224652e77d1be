"""Which proxy leads to a URL, as the environment has it: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

Each in capitals or in lower case, which counts first. What NO_PROXY may hold is told at `Bypass`.
"""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.request import getproxies_environment

import httpcore
import httpx

from acistore.errors import ConfigError

_DEFAULT_PORTS = {"https": 443, "http": 80}
_ENTRY = re.compile(r"(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached with or without TLS. `name` can be shown."""

    scheme: str
    host: str
    port: int | None
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
        self._parsed: dict[str, Proxy] = {}

    def for_url(self, url: httpx.URL) -> Proxy | None:
        """The proxy that requests for this URL go through. Raises ConfigError for one that can't be used."""
        text = self._by_scheme.get(url.scheme) or self._by_scheme.get("all")
        if not text or self._bypass.holds_for(url):
            return None
        if text not in self._parsed:
            self._parsed[text] = _parsed(text)
        return self._parsed[text]


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
        port = url.port or _DEFAULT_PORTS.get(url.scheme)
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


def _parsed(text: str) -> Proxy:
    """Raises ConfigError, which doesn't repeat the value: it may hold a password."""
    try:
        parsed = httpx.Proxy(text if "://" in text else f"http://{text}")
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is None or parsed.url.scheme not in ("http", "https") or not parsed.url.host:
        kind = parsed.url.scheme if parsed else "none"
        raise ConfigError(
            "the proxy in the environment is not an http:// or https:// URL"
            + (", and no others are supported" if kind.startswith("socks") else ""),
            next_step="set HTTPS_PROXY to one like http://proxy.example.com:3128, or unset it",
        )
    return Proxy(parsed.url.scheme, parsed.url.raw_host.decode("ascii"), parsed.url.port, parsed.raw_auth)
