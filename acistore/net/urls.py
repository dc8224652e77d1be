"""URLs as they are asked for and as they are shown: never with a user and a password, which nothing here sends."""

import re

import httpx

from acistore.errors import ConnectionFailed

_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,20}:(?=/)", re.ASCII)
# A name, or an address, in IPv6 with a zone. What else may stand there, escaped, is no host that anybody has.
_HOST = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?")
# Those that may be told of what a server sends us to: what stands in their place may be what it was sent.
_KNOWN_SCHEMES = frozenset({"https", "http", "ftp", "file", "data", "gopher", "mailto", "ws", "wss", "s3", "gs"})
# Characters in a message of what is no URL, or where somebody else has sent us to.
_LONGEST = 200


def is_url(text: str) -> bool:
    """Whether a text is meant to be fetched; else it is a path or a name."""
    return text.lower().startswith(("https://", "http://"))


def parse(text: str) -> httpx.URL:
    """The URL, without user, password and fragment. Raises ConnectionFailed for what can't be asked for."""
    try:
        url = httpx.URL(text).copy_with(username=None, password=None, fragment=None)
        host = url.host  # with an xn-- in it that is none this raises, too
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        # The reason quotes the port, say, which in fact may be the first half of a password.
        reason = "" if "@" in text else f": {error}"
        raise ConnectionFailed(f"{shown(text)}: not a URL{reason}") from None
    is_host = host and _HOST.fullmatch(url.raw_host)
    if url.scheme not in ("https", "http") or not is_host or (url.port is not None and not 0 < url.port < 1 << 16):
        raise ConnectionFailed(f"{shown(text)}: not an https:// URL of some host")
    return url


def without_query(url: httpx.URL) -> str:
    """A URL that a server has sent us to, for a message: its query may be as good as a password (a signed URL)."""
    place = str(url.copy_with(query=None))
    return f"{place[:_LONGEST]}…" if len(place) > _LONGEST else f"{place}?…" if url.query else place


def place_of(url: httpx.URL) -> str:
    """Where redirects ended, to be recorded and compared: of a query no more than that there is one (`?`)."""
    return str(url.copy_with(query=None)) + ("?" if url.query else "")


def known_scheme(text: str) -> str | None:
    """The scheme of what a server has sent us to and can't be asked for; None where it isn't a well-known one."""
    scheme = text.partition(":")[0].lower()
    return scheme if scheme in _KNOWN_SCHEMES else None


def shown(text: str) -> str:
    """A URL, or what should be one, for a message. What is none is cut, and loses all before an @."""
    try:
        url = httpx.URL(text)
        if url.host:
            return str(url.copy_with(username=None, password=None)) if url.userinfo else text
    except (httpx.InvalidURL, ValueError, TypeError):
        pass
    before, mark, after = text.rpartition("@")
    scheme = _SCHEME.match(before)
    return ((scheme[0] + "//" if scheme else "") + after if mark else text)[:_LONGEST]
