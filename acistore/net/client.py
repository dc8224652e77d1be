"""HTTP as this project uses it: GET, within bounds, with every failure told as one of our errors.

Knows no image, signature or key. How a large body gets into a file: transfer.py.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
    ServerFailed,
)
from acistore.events import log_of, tell
from acistore.net import failures
from acistore.net.addresses import is_evidently_private, is_public
from acistore.net.answers import NOTHING_THERE, Answer, Response, phrase, unexpected
from acistore.net.credentials import Access, Doorkeeper
from acistore.net.freshness import retry_after
from acistore.net.retries import Retries
from acistore.net.routes import Routes
from acistore.net.sockets import deadline as over_in
from acistore.net.urls import known_scheme, parse, place_of, without_query
from acistore.version import __version__

log = log_of(__name__)

# Request Timeout, Too Early, Too Many Requests: as good as a 5xx for whoever asks.
_NOT_NOW = frozenset({408, 425, 429})
# Headers that say who asks, and where to; both are decided here.
_OURS_ALONE = frozenset({"authorization", "proxy-authorization", "cookie", "host"})
# What makes caches on the way ask the server itself (RFC 9111, sections 5.2.1.4 and 5.4).
_PAST_CACHES = {"Cache-Control": "no-cache", "Pragma": "no-cache"}
_ENCODINGS = frozenset({"gzip", "x-gzip", "br", "deflate", "zstd", "compress"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# A body up to this size is read although nobody wants it, since its connection can then be used again.
_WORTH_READING = 64 << 10

# The headers that make a request to a place (as in `Validators`) a conditional one.
Conditions = Callable[[str | None], Mapping[str, str]]


class Client:
    """A context manager that holds connections. Safe to use from several threads.

    Redirects are followed to these two schemes, never from https to http, whatever the options allow, and from a
    public address to a private one only with `private_redirects`. Only GET and HEAD are sent, without cookies, and
    with the credentials that are known for the very host, over checked TLS. Compressed answers are not asked for,
    since what is signed are the bytes as served.

    Every request raises NetworkError of some kind when it fails, whatever the URL and whatever the server does:
    ConnectionFailed, TLSFailed, ServerFailed, TransferFailed, LimitExceeded, InsecureTransport. The one other
    error is ConfigError, for what stands in the configuration, in a file of credentials or in the environment and
    can't be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        pause: Callable[[float], object] = time.sleep,
        no_cache: bool = False,
    ) -> None:
        self.limits = config.limits
        self._no_cache = no_cache
        self.pause = pause
        self._answered: set[bytes] = set()
        self._plain_http = "http" in config.insecure_options
        self._private_redirects = config.private_redirects
        self._routes = Routes(config)
        self._doorkeeper = Doorkeeper(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection."""
        self._routes.close()

    def abort(self) -> None:
        """Ends at once what other threads are waiting for: their requests fail, as do all later ones."""
        self._routes.abort()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that may be asked, the better first."""
        return ("https", "http") if self._plain_http else ("https",)

    def get(
        self,
        url: str,
        *,
        limit: int,
        deadline: float | None = None,
        cut: bool = False,
        conditions: Conditions | None = None,
        option: str | None = None,
    ) -> Response:
        """Fetches a page, a signature or a key.

        A body longer than `limit` bytes is cut there with `cut`, and LimitExceeded without, which then names the
        `option` that sets the limit. All of it, from the name to the last byte, has to be done in `deadline`
        seconds, by default the configured ones. What may go better in a moment is tried again within them
        (`Retries`). A 4xx that is not of this kind is returned, its body cut, for the caller to judge; so is a
        304, where `conditions` have made the request of that place a conditional one.
        """
        seconds = self.limits.deadline if deadline is None else deadline
        retries = Retries(self.limits, pause=self.pause, end=time.monotonic() + seconds, url=url)
        with over_in(seconds):
            while True:
                try:
                    return self._get(url, limit, seconds, conditions, cut=cut, option=option)
                except NetworkError as error:
                    retries.wait(error)

    def _get(
        self,
        url: str,
        limit: int,
        seconds: float,
        conditions: Conditions | None,
        *,
        cut: bool,
        option: str | None,
    ) -> Response:
        with self.open(url, conditions=conditions, deadline=seconds) as answer:
            if answer.status == 304 and not answer.is_conditional:
                raise unexpected(answer)
            cut = cut or answer.status >= 400
            if not cut and (answer.length or 0) > limit:
                raise _too_long(answer, limit, option)
            body = bytearray()
            try:
                for chunk in answer.chunks():
                    body += chunk
                    if len(body) > limit:
                        break
            except TimeoutError:
                raise LimitExceeded(
                    f"{answer.shown}: not complete after {seconds:g} s", option="limits.deadline"
                ) from None
            if len(body) > limit and not cut:
                raise _too_long(answer, limit, option)
        return Response(
            answer.shown,
            answer.status,
            answer.headers,
            bytes(body[:limit]),
            answer.redirects,
            answer.asked_at,
            answer.access,
            answer.place,
        )

    def is_missing(self, url: str) -> bool:
        """Whether the server says that nothing is there (404, 410), asked without the body (HEAD)."""
        with self.open(url, method="HEAD") as answer:
            return answer.status in NOTHING_THERE

    @contextmanager
    def open(
        self,
        url: str,
        *,
        conditions: Conditions | None = None,
        deadline: float | None = None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> Iterator[Answer]:
        """Asks for `url` and yields the answer, its body still to be read: 2xx, 304 or 4xx.

        The headers have to be there in `deadline` seconds, redirects included; by default the configured ones.
        `conditions` are asked for the headers to each place on the way, since validators are those of one; they
        must not say who asks: ValueError.
        """
        with over_in(self.limits.deadline if deadline is None else deadline):
            answer = self._follow(url, method, conditions)
        try:
            yield answer
        finally:
            answer.close()

    def _follow(self, asked: str, method: str, conditions: Conditions | None) -> Answer:
        start = url = parse(asked)
        told = str(start)
        public_only = False
        redirects: list[httpx.Headers] = []
        asked_at = time.time()
        try:
            for _ in range(self.limits.redirects + 1):
                headers = conditions(place_of(url) if redirects else None) if conditions else {}
                answer = self._send(url, told, method, headers, public_only=public_only)
                if answer.status not in _REDIRECTS:
                    answer.redirects, answer.asked_at = redirects, asked_at
                    answer.is_conditional = bool(headers)
                    return _checked(answer)
                redirects.append(answer.headers)
                public_only = not self._private_redirects and (public_only or self._is_public(answer))
                _discard(answer)
                url = _target(answer)
                told = without_query(url)
            most = self.limits.redirects
            raise LimitExceeded(f"{start}: redirected more than {most} times", option="limits.redirects")
        except NetworkError as error:
            if url != start:
                error.facts.setdefault("redirected from", str(start))
            raise

    def _is_public(self, answer: Answer) -> bool:
        """Whether an answer came from an address on the Internet. Behind a proxy we can't know, and take it so."""
        if self._routes.proxy_for(answer.url):
            return not is_evidently_private(answer.url.host)
        return is_public(answer.address)

    def _send(
        self, url: httpx.URL, told: str, method: str, headers: Mapping[str, str], *, public_only: bool
    ) -> Answer:
        """Asks one server. The URL is `told` in messages, without what may be secret in it."""
        if any(name.lower() in _OURS_ALONE for name in headers):
            raise ValueError("who asks is told by the configured credentials alone")
        if url.scheme not in self.schemes:
            raise InsecureTransport(
                f"{told}: plain HTTP can be read and changed on the way, and is not used",
                next_step="ask for an https:// address, or allow it with --insecure-options=http",
            )
        ours = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"acistore/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **(_PAST_CACHES if self._no_cache else {}),
        }
        proxy = self._routes.proxy_for(url)
        if public_only and proxy and is_evidently_private(url.host):
            raise failures.private_redirect(told, url.host)
        pool = self._routes.pool_for(url, public_only=public_only)
        authorized, access = self._doorkeeper.authorize(method, url)
        try:
            request = httpcore.Request(
                method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=authorized.target),
                headers=list({**ours, **headers, **authorized.headers}.items()),
                extensions={"timeout": {"connect": self.limits.connect_timeout}},
            )
            answer = Answer(url, told, _exchange(pool, request), access)
        except failures.RAISED as error:
            failure = failures.before_answer(error, told, proxy)
            # A host that nobody knows or that isn't up is told at once: it may have been mistyped.
            failure.transient = failure.transient or (
                isinstance(failure, ConnectionFailed) and url.netloc in self._answered
            )
            self._tell(method, told, failure.message.removeprefix(f"{told}: "), access)
            raise failure from failures.harmless(error)
        if answer.status == 407 and proxy:
            answer.close()
            raise failures.proxy_authentication(told, proxy)
        self._answered.add(url.netloc)
        self._tell(method, told, answer.status, access)
        return answer

    def _tell(self, method: str, told: str, outcome: object, access: Access) -> None:
        """Notes what came of a request, and whether the server was told who asks."""
        message = "%s %s: %s (credentials: %s)"
        facts = {"url": told, "outcome": outcome, "credentials": access.told}
        tell(log, "request", message, method, told, outcome, access.told, level=logging.DEBUG, **facts)


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


def _target(answer: Answer) -> httpx.URL:
    """Where a redirect leads. Not from https to http: whoever allows plain HTTP allows asking for it, no more."""
    location = answer.headers.get("location")
    if location is None or len(answer.headers.get_list("location")) > 1:
        raise ServerFailed(f"{answer.shown}: a redirect that doesn't say where to, or says it twice")
    try:
        target = parse(str(answer.url.join(location)))
    except (ConnectionFailed, httpx.InvalidURL, ValueError):
        scheme = known_scheme(location)
        what = f"an address of {scheme}" if scheme not in (None, "https", "http") else "no URL of any host"
        raise ServerFailed(f"{answer.shown}: redirects to what can't be fetched: {what}") from None
    if (answer.url.scheme, target.scheme) == ("https", "http"):
        place = without_query(target)
        raise InsecureTransport(
            f"{answer.shown}: redirects to {place}, and from HTTPS to plain HTTP no redirect is followed",
            next_step="if plain HTTP will do, ask for the http:// address itself, with --insecure-options=http",
        )
    return target


def _checked(answer: Answer) -> Answer:
    """Returns the answer when it can be used for anything, else closes it and says why not."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if answer.status >= 500 or answer.status in _NOT_NOW:
        failure = ServerFailed(f"{answer.shown}: the server answered {phrase(answer.status)}")
        failure.transient = True
        failure.retry_after = retry_after(answer.headers, time.time())
    elif not (200 <= answer.status < 300 or answer.status == 304 or answer.status >= 400):
        failure = unexpected(answer)
    elif answer.status < 300 and encoding != "identity":
        failure = ServerFailed(
            f"{answer.shown}: the answer is encoded {_told(encoding)}, which was not asked for",
            next_step="ask whoever runs the server to send the file as it is, without Content-Encoding",
        )
    else:
        return answer
    _discard(answer)
    raise failure


def _told(encoding: str) -> str:
    """An encoding for a message: a word that nobody knows may be what we have sent."""
    return f"({encoding})" if encoding in _ENCODINGS else "in an unknown way"


def _discard(answer: Answer) -> None:
    """Reads a short body, so that the connection can be used again, and closes the answer."""
    try:
        if answer.length is not None and answer.length <= _WORTH_READING:
            with suppress(NetworkError, TimeoutError):
                for _ in answer.chunks():
                    pass
    finally:
        answer.close()


def _too_long(answer: Answer, limit: int, option: str | None) -> LimitExceeded:
    return LimitExceeded(f"{answer.shown}: longer than {limit} bytes, the limit", option=option)
