"""HTTP as this project uses it: GET, within bounds, with every failure told as one of our errors.

Knows no image, signature or key. How a large body gets into a file: transfer.py.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import httpcore
import httpx

from acistore.config import Config
from acistore.errors import (
    ConnectionFailed,
    InsecureTransport,
    LimitExceeded,
    NetworkError,
    ResourceNotFound,
    ServerFailed,
    TransferFailed,
)
from acistore.net import failures
from acistore.net.routes import Routes
from acistore.net.sockets import deadline as over_in
from acistore.version import __version__

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# A body up to this size is read although nobody wants it, since its connection can then be used again.
_WORTH_READING = 64 << 10
# What httpcore raises, and ValueError (UnicodeError among them) from URLs and headers that can't be sent.
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer: 2xx or 4xx, since all others are raised. `url` is where redirects ended."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def found(self) -> "Response":
        """This response; raises ResourceNotFound when it is a 4xx."""
        if self.status >= 400:
            raise not_found(self.url, self.status)
        return self


class Answer:
    """The headers of an answer that have arrived, and the body that has not. `headers` ignore case."""

    def __init__(self, url: httpx.URL, response: httpcore.Response) -> None:
        self.url = url
        self.status = response.status
        self.headers = httpx.Headers(response.headers)
        self._response = response

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() else None

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
            except _FAILURES as error:
                raise failures.within_body(error, str(self.url), received) from error
            if piece is None:
                return
            received += len(piece)
            yield piece

    def close(self) -> None:
        """Gives the connection back, or closes it when there is more to come."""
        self._response.close()


class Client:
    """A context manager that holds connections. Safe to use from several threads.

    Redirects are followed to these two schemes, and never from https to http, whatever the options allow. Only GET
    and HEAD are sent, without cookies or credentials. Compressed answers are not asked for, since what is signed
    are the bytes as served.

    Every request raises NetworkError of some kind when it fails, whatever the URL and whatever the server does:
    ConnectionFailed, TLSFailed, ServerFailed, TransferFailed, LimitExceeded, InsecureTransport. The one other
    error is ConfigError, for a proxy in the environment that can't be used.
    """

    def __init__(self, config: Config) -> None:
        self.limits = config.limits
        self._plain_http = "http" in config.insecure_options
        self._routes = Routes(verify="tls" not in config.insecure_options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection."""
        self._routes.close()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that may be asked, the better first."""
        return ("https", "http") if self._plain_http else ("https",)

    def get(self, url: str, *, limit: int, deadline: float | None = None, cut: bool = False) -> Response:
        """Fetches a page, a signature or a key.

        A body longer than `limit` bytes is cut there with `cut`, and LimitExceeded without. All of it, from the
        name to the last byte, has to be done in `deadline` seconds, by default the configured ones. A 4xx is
        returned, its body cut, for the caller to judge.
        """
        seconds = self.limits.deadline if deadline is None else deadline
        with over_in(seconds), self.open(url, deadline=seconds) as answer:
            if answer.status == 304:
                raise unexpected(answer)
            cut = cut or answer.status >= 400
            if not cut and (answer.length or 0) > limit:
                raise _too_long(answer, limit)
            body = bytearray()
            try:
                for chunk in answer.chunks():
                    body += chunk
                    if len(body) > limit:
                        break
            except TimeoutError:
                raise LimitExceeded(f"{answer.url}: not complete after {seconds:g} seconds") from None
            if len(body) > limit and not cut:
                raise _too_long(answer, limit)
        return Response(str(answer.url), answer.status, answer.headers, bytes(body[:limit]))

    def is_missing(self, url: str) -> bool:
        """Whether the server says that nothing is there (404, 410), asked without the body (HEAD)."""
        with self.open(url, method="HEAD") as answer:
            return answer.status in (404, 410)

    @contextmanager
    def open(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> Iterator[Answer]:
        """Asks for `url` and yields the answer, its body still to be read: 2xx, 304 or 4xx.

        The headers have to be there in `deadline` seconds, redirects included; by default the configured ones.
        """
        with over_in(self.limits.deadline if deadline is None else deadline):
            answer = self._follow(url, method, headers or {})
        try:
            yield answer
        finally:
            answer.close()

    def _follow(self, asked: str, method: str, headers: Mapping[str, str]) -> Answer:
        url = _parsed(asked)
        try:
            for _ in range(self.limits.redirects + 1):
                answer = self._send(url, method, headers)
                if answer.status not in _REDIRECTS:
                    return _checked(answer)
                _discard(answer)
                url = _target(answer)
            raise LimitExceeded(f"{asked}: redirected more than {self.limits.redirects} times")
        except NetworkError as error:
            if str(url) != str(_parsed(asked)):
                error.facts.setdefault("redirected from", asked)
            raise

    def _send(self, url: httpx.URL, method: str, headers: Mapping[str, str]) -> Answer:
        if url.scheme not in self.schemes:
            raise InsecureTransport(
                f"{url}: plain HTTP can be read and changed on the way, and is not used",
                next_step="ask for an https:// address, or allow it with --insecure-options=http",
            )
        ours = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"acistore/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        try:
            request = httpcore.Request(
                method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=list({**ours, **headers}.items()),
                extensions={"timeout": {"connect": self.limits.connect_timeout}},
            )
            return Answer(url, _exchange(self._routes.pool_for(url), request))
        except _FAILURES as error:
            failure = failures.before_answer(error, str(url))
            if self._routes.proxy_for(url):
                failure.facts["way"] = "through the proxy that the environment names"
            raise failure from error


def _exchange(pool: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
    """Sends the request, and once more when a connection that was kept had been closed by the server meanwhile."""
    is_new = False

    def trace(event: str, _: object) -> None:
        nonlocal is_new
        is_new = is_new or event == "connection.connect_tcp.started"

    request.extensions["trace"] = trace
    while True:
        try:
            return pool.handle_request(request)
        except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
            if is_new:
                raise


def not_found(url: str, status: int) -> ResourceNotFound:
    """The error for a 4xx, for a caller who needed what is there."""
    return ResourceNotFound(f"{url}: the server answered {phrase(status)}")


def unexpected(answer: Answer) -> ServerFailed:
    """The error for a status that makes no sense as the answer to what was asked."""
    return ServerFailed(f"{answer.url}: the server answered {phrase(answer.status)}, which was not asked for")


def phrase(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {httpx.codes.get_reason_phrase(status)}".strip()


def _parsed(text: str) -> httpx.URL:
    """Without user and password, which nothing here would send. Raises ConnectionFailed."""
    try:
        url = httpx.URL(text).copy_with(username=None, password=None, fragment=None)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise ConnectionFailed(f"{text}: not a URL: {error}") from error
    if url.scheme not in ("https", "http") or not url.host or (url.port or 0) > 65535:
        raise ConnectionFailed(f"{text}: not an https:// URL of some host")
    return url


def _target(answer: Answer) -> httpx.URL:
    """Where a redirect leads. Not from https to http: whoever allows plain HTTP allows asking for it, no more."""
    location = answer.headers.get("location")
    if location is None:
        raise ServerFailed(f"{answer.url}: a redirect that doesn't say where to")
    try:
        target = _parsed(str(answer.url.join(location)))
    except (ConnectionFailed, httpx.InvalidURL, ValueError) as error:
        raise ServerFailed(f"{answer.url}: redirects to what can't be fetched: {location}") from error
    if (answer.url.scheme, target.scheme) == ("https", "http"):
        raise InsecureTransport(
            f"{answer.url}: redirects to {target}, and from HTTPS to plain HTTP no redirect is followed",
            next_step="if plain HTTP will do, ask for the http:// address itself, with --insecure-options=http",
        )
    return target


def _checked(answer: Answer) -> Answer:
    """Returns the answer when it can be used for anything, else closes it and says why not."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if answer.status >= 500:
        failure = ServerFailed(f"{answer.url}: the server answered {phrase(answer.status)}")
    elif not (200 <= answer.status < 300 or answer.status == 304 or answer.status >= 400):
        failure = unexpected(answer)
    elif answer.status < 300 and encoding != "identity":
        failure = ServerFailed(f"{answer.url}: the answer is encoded ({encoding}), which was not asked for")
    else:
        return answer
    _discard(answer)
    raise failure


def _discard(answer: Answer) -> None:
    """Reads a short body, so that the connection can be used again, and closes the answer."""
    if answer.length is not None and answer.length <= _WORTH_READING:
        with suppress(TransferFailed, TimeoutError):
            for _ in answer.chunks():
                pass
    answer.close()


def _too_long(answer: Answer, limit: int) -> LimitExceeded:
    return LimitExceeded(f"{answer.url}: longer than {limit} bytes, the limit")
