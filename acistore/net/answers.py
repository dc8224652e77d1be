"""What servers answer: with the body still to come, or as a whole."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpcore
import httpx

from acistore.errors import RequestRefused, ResourceNotFound, ServerFailed
from acistore.net import failures
from acistore.net.credentials import Access
from acistore.net.freshness import MOST_SECONDS, Freshness, freshness
from acistore.net.sockets import deadline as over_in
from acistore.net.urls import place_of

# Not Found, Gone.
NOTHING_THERE = frozenset({404, 410})
# Unauthorized, Forbidden: it may depend on who asks. So may Bad Request, of whoever has said so: it is how S3
# refuses a signature for another region, and a session that is over. To others nginx says so who asks for a client
# certificate.
_DEPENDS_ON_WHO_ASKS = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer: 2xx, 304 or 4xx, since all others are raised. `url` is where redirects ended, as it may be
    shown; `redirects` are the headers of those that led there; `asked_at` is when it was asked for (seconds since
    1970); `access` says whether the server was told who asks; `place` is whose validators these are."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    redirects: Sequence[Mapping[str, str]]
    asked_at: float
    access: Access | None = None
    place: str | None = None

    def freshness(self, longest: float = MOST_SECONDS) -> Freshness:
        """What is left now of the time for which it holds, at most `longest` seconds."""
        return freshness(self.headers, redirects=self.redirects, asked_at=self.asked_at, longest=longest)

    def found(self) -> "Response":
        """This response; raises ResourceNotFound when it is a 4xx."""
        if self.status >= 400:
            raise not_found(self.url, self.status, self.access)
        return self


class Answer:
    """The headers of an answer that have arrived, and the body that has not. `headers` ignore case.

    `url` is where redirects ended, `shown` the same for messages: one that a server has sent us to without its
    query, which may be as good as a password. `redirects` are the headers of those that led there, `asked_at` is
    when the first request was sent (seconds since 1970). `is_conditional`: the last request had conditions.
    """

    def __init__(
        self, url: httpx.URL, shown: str, response: httpcore.Response, access: Access | None = None
    ) -> None:
        self.url = url
        self.shown = shown
        self.redirects: Sequence[Mapping[str, str]] = ()
        self.asked_at = time.time()
        self.is_conditional = False
        self.status = response.status
        self.headers = httpx.Headers(response.headers)
        self.access = access
        self._response = response

    def freshness(self, longest: float = MOST_SECONDS) -> Freshness:
        """As that of a Response."""
        return freshness(self.headers, redirects=self.redirects, asked_at=self.asked_at, longest=longest)

    @property
    def place(self) -> str | None:
        """Where redirects ended, as `Validators` are for; None when there were none."""
        return place_of(self.url) if self.redirects else None

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so, and doesn't send it in chunks (RFC 9112, section 6.3)."""
        if "transfer-encoding" in self.headers:
            return None
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() else None

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body is whatever comes until the server hangs up, or something breaks the connection."""
        return self.length is None and "transfer-encoding" not in self.headers

    @property
    def address(self) -> str:
        """The address that it came from: that of a proxy, where there is one."""
        stream = self._response.extensions["network_stream"]
        return str(stream.get_extra_info("address"))

    def chunks(self, patience: float | None = None) -> Iterator[bytes]:
        """The body, as it comes.

        Raises TransferFailed or TLSFailed when it breaks off, and TimeoutError when the next piece isn't there
        within `patience` seconds, or the deadline is over.
        """
        received = 0
        pieces = iter(self._response.iter_stream())
        while True:
            try:
                with over_in(patience):
                    piece = next(pieces, None)
            except httpcore.ReadTimeout as error:
                raise TimeoutError from error
            except failures.RAISED as error:
                raise failures.within_body(error, self.shown, received) from failures.harmless(error)
            if piece is None:
                return
            received += len(piece)
            yield piece

    def close(self) -> None:
        """Gives the connection back, or closes it when there is more to come."""
        self._response.close()

    def not_found(self) -> ResourceNotFound:
        """The error for a 4xx, for a caller who needed what is there."""
        return not_found(self.shown, self.status, self.access)


def not_found(url: str, status: int, access: Access | None = None) -> ResourceNotFound:
    """The error for a 4xx, for a caller who needed what is there."""
    kind = ResourceNotFound if status in NOTHING_THERE else RequestRefused
    error = kind(f"{url}: the server answered {phrase(status)}")
    if access and status in _DEPENDS_ON_WHO_ASKS:
        error.facts["credentials"] = access.told
        error.next_step = access.next_step if access.sent or status != 400 else failures.CERTIFICATE_STEP
    return error


def unexpected(answer: Answer) -> ServerFailed:
    """The error for a status that makes no sense as the answer to what was asked."""
    return ServerFailed(f"{answer.shown}: the server answered {phrase(answer.status)}, which was not asked for")


def phrase(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
