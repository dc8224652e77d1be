"""One URL into one open file: conditional, bounded in size, not slower than the minimum rate.

Knows no image; what the bytes are worth is decided by whoever reads the file.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from acistore.errors import DiskFull, LimitExceeded, TransferFailed
from acistore.net.client import Answer, Client, not_found, unexpected

# Seconds over which the rate of a download is measured.
RATE_WINDOW = 30.0
# Seconds: the longest that a server is believed when it says that nothing will change. Whoever once answers in its
# place, or sets this up wrongly, must not switch updates off for years.
LONGEST_FRESHNESS = 24 * 60 * 60


class Progress(Protocol):
    """Is told how far a download is. `done` comes in any case, after a failure too."""

    def start(self, what: str, total: int | None) -> object:
        """`what` begins: `total` bytes, or nobody knows how many."""
        ...

    def advance(self, count: int) -> object:
        """So many bytes more."""
        ...

    def done(self) -> object:
        """There won't be any more."""
        ...


class _Unseen:
    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, count: int) -> None: ...
    def done(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came of a download. `url` is where redirects ended; `size` is 0 when `status` is 304, else 200.

    `max_age` is for how many seconds from now the server promises that nothing changes, LONGEST_FRESHNESS at most;
    None when it says nothing.
    """

    url: str
    status: int
    size: int
    etag: str | None
    last_modified: str | None
    max_age: int | None


class RateFloor:
    """The slowest that a download may be: `minimum` bytes a second, measured over `window` seconds each."""

    def __init__(self, minimum: int, window: float, now: float) -> None:
        self._least = minimum * window
        self._window = window
        self._began = now
        self._received = 0

    def is_kept(self, count: int, now: float) -> bool:
        """Whether the download is fast enough still, with `count` bytes more at the moment `now`."""
        self._received += count
        if now - self._began < self._window:
            return True
        kept = self._received * self._window >= self._least * (now - self._began)
        self._began, self._received = now, 0
        return kept


def download(
    client: Client,
    url: str,
    into: BinaryIO,
    *,
    limit: int,
    etag: str | None = None,
    last_modified: str | None = None,
    progress: Progress | None = None,
    tee: Callable[[bytes], object] | None = None,
    window: float = RATE_WINDOW,
) -> Transfer:
    """Downloads `url` into a file that is open for writing, from where it stands.

    At most `limit` bytes: LimitExceeded, before the first byte where the server says how many come. `etag` and
    `last_modified` are those of an earlier download, which make the server answer 304 when nothing has changed.
    Each chunk also goes to `tee`. Slower than the configured minimum rate over `window` seconds: TransferFailed,
    as for anything else that breaks it off. A 4xx is ResourceNotFound; other errors are the client's.
    """
    conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    headers = {name: value for name, value in conditions.items() if value and value.isascii()}
    progress = progress or _Unseen()
    size = 0
    with client.open(url, headers=headers) as answer:
        _check(answer, limit, conditional=bool(headers))
        if answer.status == 200:
            require_room(str(answer.url), answer.length, into)
            progress.start(f"downloading {answer.url}", answer.length)
            try:
                for chunk in _paced(answer, client.limits.minimum_rate, window):
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(answer, limit)
                    into.write(chunk)
                    if tee:
                        tee(chunk)
                    progress.advance(len(chunk))
            finally:
                progress.done()
    return Transfer(
        url=str(answer.url),
        status=answer.status,
        size=size,
        etag=answer.headers.get("etag"),
        last_modified=answer.headers.get("last-modified"),
        max_age=max_age(answer.headers),
    )


def _check(answer: Answer, limit: int, *, conditional: bool) -> None:
    if answer.status >= 400:
        raise not_found(str(answer.url), answer.status)
    if answer.status != 200 and not (answer.status == 304 and conditional):
        raise unexpected(answer)
    if answer.status == 200 and answer.length is not None and answer.length > limit:
        raise _too_large(answer, limit)


def require_room(what: str, size: int | None, into: BinaryIO) -> None:
    """Raises DiskFull, before the first byte, where it is known that a file's disk can't take so many."""
    try:
        disk = os.fstatvfs(into.fileno())
    except OSError:
        return  # not a file on a disk
    free = disk.f_bavail * disk.f_frsize
    if size is not None and size > free:
        raise DiskFull(
            f"the disk has too little room for {what}",
            facts={"free": f"{free} bytes", "needed": f"{size} bytes, and more when it is stored"},
            next_step="acistore gc",
        )


def _paced(answer: Answer, minimum_rate: int, window: float) -> Iterator[bytes]:
    """The chunks of the body, as long as they come fast enough."""
    floor = RateFloor(minimum_rate, window, time.monotonic())
    too_slow = TransferFailed(f"{answer.url}: slower than {minimum_rate} bytes a second, given up")
    try:
        for chunk in answer.chunks(patience=window):
            if not floor.is_kept(len(chunk), time.monotonic()):
                raise too_slow
            yield chunk
    except TimeoutError:
        raise too_slow from None


def _too_large(answer: Answer, limit: int) -> LimitExceeded:
    size = "more" if answer.length is None else f"{answer.length} bytes, more"
    return LimitExceeded(f"{answer.url}: {size} than {limit} bytes, the limit")


def max_age(headers: Mapping[str, str]) -> int | None:
    """For how many seconds Cache-Control calls an answer fresh, less its Age; None when it doesn't say.

    At most LONGEST_FRESHNESS. `no-cache`, `no-store` and `must-revalidate` all mean: not at all. So does a max-age
    that isn't a number.
    """
    directives = {}
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.partition("=")
        directives[name.strip().lower()] = value.strip().strip('"')
    if not directives.keys().isdisjoint({"no-cache", "no-store", "must-revalidate"}):
        return 0
    if "max-age" not in directives:
        return None
    fresh = _seconds(directives["max-age"]) - _seconds(headers.get("age", "0"))
    return min(max(0, fresh), LONGEST_FRESHNESS)


def _seconds(text: str) -> int:
    """What is too large for a number of seconds counts as 2**31 (RFC 9111 § 1.2.2)."""
    return min(int(text[:12]), 1 << 31) if text.isascii() and text.isdigit() else 0
