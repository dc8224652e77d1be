"""Names that stand for a host of a URL, as credentials and TLS options are given for: `host`, or `host:port`."""

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import TypeVar

import httpx

_T = TypeVar("_T")

_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]*]+)(?::(\d{1,5}))?")
DEFAULT_PORTS = {"https": 443, "http": 80}


def host_key(name: str) -> str:
    """A name as `for_host` looks for it: in lower case and ASCII, an IPv6 address in its shortest form.

    Raises ValueError, which does not quote it, for what is no host: a URL, a wildcard, a user before it.
    """
    match = _NAME.fullmatch(name.strip().lower())
    if match is None or not 0 < int(match[2] or 1) < 1 << 16:
        raise ValueError("not a host such as images.example.com or images.example.com:8443")
    host, port = match.groups()
    try:
        ascii_host = _bracketed(httpx.URL(f"https://{host}/").raw_host.decode("ascii"))
    except (httpx.InvalidURL, AddressValueError, UnicodeError):
        raise ValueError("not a host such as images.example.com or images.example.com:8443") from None
    return f"{ascii_host}:{int(port)}" if port else ascii_host


def host_of(url: httpx.URL) -> str:
    """`images.example.com:8443`, the port only where it is not that of the scheme."""
    host = _bracketed(url.raw_host.decode("ascii"))
    return f"{host}:{url.port}" if url.port else host


def for_host(table: Mapping[str, _T], url: httpx.URL) -> _T | None:
    """What a table has for the host of a URL. A name with the port comes before the one without, which holds for
    every port; names of other hosts, be it of a parent domain, never hold."""
    host = _bracketed(url.raw_host.decode("ascii").lower())
    port = url.port or DEFAULT_PORTS.get(url.scheme)
    return table.get(f"{host}:{port}") or table.get(host)


def _bracketed(host: str) -> str:
    return f"[{IPv6Address(host.strip('[]'))}]" if ":" in host else host
