"""URLs as they are asked for and as they are shown: never with a user and a password, which nothing here sends."""

import re

import httpx

from acistore.errors import ConnectionFailed

_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,20}:(?=/)", re.ASCII)
# Characters in a message of what is no URL, or where somebody else has sent us to.
_LONGEST = 200


def parse(text: str) -> httpx.URL:
    """The URL, without user, password and fragment. Raises ConnectionFailed for what can't be asked for."""
    try:
        url = httpx.URL(text).copy_with(username=None, password=None, fragment=None)
        host = url.host  # with an xn-- in it that is none this raises, too
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        # The reason quotes the port, say, which in fact may be the first half of a password.
        reason = "" if "@" in text else f": {error}"
        raise ConnectionFailed(f"{shown(text)}: not a URL{reason}") from None
    if url.scheme not in ("https", "http") or not host or (url.port is not None and not 0 < url.port < 1 << 16):
        raise ConnectionFailed(f"{shown(text)}: not an https:// URL of some host")
    return url


def without_query(url: httpx.URL) -> str:
    """A URL that a server has sent us to, for a message: its query may be as good as a password (a signed URL)."""
    place = str(url.copy_with(query=None))
    return f"{place[:_LONGEST]}…" if len(place) > _LONGEST else f"{place}?…" if url.query else place


def shown_place(text: str) -> str:
    """As `shown`, for what a server has sent us to: without its query, and cut."""
    return re.split("[?#]", shown(text), maxsplit=1)[0][:_LONGEST]


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
