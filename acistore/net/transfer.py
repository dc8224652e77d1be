"""One URL into one file: resumed, repeated, conditional, bounded in size, not slower than the minimum rate.

Knows no image; what the bytes are worth is decided by whoever reads along or reads the file.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol

from acistore.config import Limits
from acistore.errors import LimitExceeded, NetworkError, TransferFailed
from acistore.events import log_of, tell
from acistore.files import require_room
from acistore.net.answers import Answer, unexpected
from acistore.net.client import Client
from acistore.net.freshness import Freshness, Validators
from acistore.net.ranges import (
    asking_for_rest,
    is_complete,
    is_same,
    note_of,
    noted,
    size_of_whole,
    why_not_rest,
)
from acistore.net.retries import Retries
from acistore.progress import Meter, Progress, Silent

log = log_of(__name__)

_PIECE = 1 << 20


class Part(Protocol):
    """The file that a download goes into, with what an earlier one has left in it.

    `note` is what was noted with `begin` when it was; None when there is nothing to go on with.
    """

    @property
    def note(self) -> Mapping[str, str] | None: ...
    @property
    def size(self) -> int: ...
    def begin(self, note: Mapping[str, str] | None) -> object: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> object: ...
    def fileno(self) -> int: ...


class Reader(Protocol):
    """Whoever reads along."""

    def restart(self) -> object:
        """Now come the first bytes; what came before doesn't count."""
        ...

    def feed(self, data: bytes) -> object:
        """The next bytes."""
        ...


class _Nobody:
    def restart(self) -> None: ...
    def feed(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came of a download.

    `status` is 304 when nothing has changed, and then there are no bytes; else 200. `received` are the bytes that
    came now. `disturbed`: it took more than one run or answer, or was begun again: what was known of it before may
    belong to another one; or nothing has told its end from a connection that broke off.
    `validators` are what the next conditional request needs; None where nothing may be kept (no-store). `max_age`
    is for how many seconds from now the server promises that nothing changes, None when it says nothing.
    """

    status: int
    received: int
    disturbed: bool
    validators: Validators | None
    max_age: int | None


class RateFloor:
    """The slowest that a download may be: `minimum` bytes a second, measured over `window` seconds each."""

    def __init__(self, minimum: int, window: float, now: float) -> None:
        self._least = minimum * window
        self._window = window
        self._began = now
        self._halted: float | None = now
        self._received = 0

    def is_kept(self, count: int, now: float) -> bool:
        """Whether the download is fast enough still, with `count` bytes more at the moment `now`."""
        self._received += count
        if now - self._began < self._window:
            return True
        kept = self._received * self._window >= self._least * (now - self._began)
        self._began, self._received = now, 0
        return kept

    def halt(self, now: float) -> None:
        """Nothing can come from the moment `now` on, until it goes on. It may be halted already."""
        self._halted = now if self._halted is None else self._halted

    def go_on(self, now: float, *, own_pause: float = 0.0) -> None:
        """Bytes may come again. Of the time since the halt only `own_pause` seconds count: a server that hangs up
        after each byte is slow as well."""
        if self._halted is not None:
            self._began += now - self._halted - own_pause
            self._halted = None


def download(
    client: Client,
    url: str,
    into: Part,
    *,
    limit: int,
    option: str | None = None,
    known: Validators | None = None,
    progress: Progress | None = None,
    reader: Reader | None = None,
) -> Transfer:
    """Downloads `url` into a file, going on with what it holds already if that is a part of the same.

    What breaks off is gone on with after a pause (`Retries`). At most `limit` bytes: LimitExceeded, which names
    the `option` that sets the limit, before the first byte where the server says how many come. `known` are the
    validators of an earlier download, which make the server answer 304 when nothing has changed. All bytes of the
    whole go to `reader`, in order, those that were there already too; what it raises comes out, whatever it is.
    Slower than the minimum rate: TransferFailed, as for anything else that breaks it off. A 4xx is
    ResourceNotFound; other errors are the client's.
    """
    job = _Download(
        client,
        url,
        into,
        limit=limit,
        option=option,
        known=known or Validators(),
        reader=reader or _Nobody(),
        progress=progress or Silent(),
    )

    def tell_again(why: str) -> None:
        job.progress.decided(url, "retry", why)

    retries = Retries(client.limits, pause=client.pause, decided=tell_again, url=url)
    while True:
        before, began = job.furthest, time.monotonic()
        try:
            return job.attempt()
        except _Stale as stale:
            job.decide("restart", str(stale))
        except NetworkError as error:
            if job.is_heard:
                raise
            least = client.limits.minimum_rate * (time.monotonic() - began)
            brought = job.furthest - before
            pause = retries.wait(error, progress=brought > 0 and brought >= least and not job.was_slow)
            job.own_pause += pause if brought else 0  # a server that is not up yet is no slow one


class _Stale(Exception):
    """What is in the file can't be gone on with."""


class _Download:
    """The state that outlives an attempt.

    `furthest`: how many bytes of the whole have been here at once. `was_slow`: it was slower than allowed once;
    from then on the tries are counted, whatever they bring. `own_pause`: seconds that we have just waited by
    ourselves, after bytes had come. `is_heard`: the reader is at it, and what is raised is its own.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        into: Part,
        *,
        limit: int,
        option: str | None,
        known: Validators,
        reader: Reader,
        progress: Progress,
    ) -> None:
        self._client = client
        self._url = url
        self._into = into
        self._limit = limit
        self._option = option
        self._known = known
        self._reader = reader
        self.progress = progress
        self.floor = RateFloor(client.limits.minimum_rate, client.limits.rate_window, time.monotonic())
        self.furthest = into.size
        self.was_slow = False
        self.own_pause = 0.0
        self.is_heard = False
        self._fed: int | None = None  # bytes that the reader has; None before it was told to start
        self._received = 0
        self._disturbed = bool(into.size)
        self._begun = False

    def decide(self, what: str, why: str) -> None:
        """Tells of a decision about this download."""
        tell(log, what, "%s: %s: %s", self._url, what, why, url=self._url, reason=why)
        self.progress.decided(self._url, what, why)

    def attempt(self) -> Transfer:
        """Asks for what is missing, and takes it. Raises NetworkError when that doesn't succeed."""
        if self._into.size > self._limit:
            raise self._too_large(self._url, None)
        here = self._catch_up()
        conditions = partial(asking_for_rest, here, self._note) if here else self._known.conditions
        with self._client.open(self._url, conditions=conditions) as answer:
            for_rest = answer.is_conditional and bool(here)
            if answer.status == 416 and for_rest:
                if is_complete(here, self._note, answer.headers):  # it had all come, and was not used yet
                    return self._transfer(answer, noted(self._note))
                self._start_again("there is no such part of it any more")
            if answer.status == 304 and answer.is_conditional and not here:
                return self._unchanged(answer)
            if answer.status >= 400:
                raise answer.not_found()
            if answer.status not in (200, 206) or (answer.status == 206 and not for_rest):
                raise unexpected(answer)
            self._receive(answer, self._place(answer, here))
            return self._transfer(answer, Validators.of(answer.headers, answer.place) or noted(self._note))

    @property
    def _note(self) -> Mapping[str, str]:
        return self._into.note or {}

    def _unchanged(self, answer: Answer) -> Transfer:
        """What comes of a 304. One that is about something else is as good as none (RFC 9111, section 4.3.4)."""
        known = self._known
        if not known.is_confirmed_by(answer.headers):
            self._known = Validators()
            raise _Stale("its server says of something else that it has not changed")
        return self._transfer(answer, known.updated_by(answer.headers, answer.place))

    def _catch_up(self) -> int:
        """Lets the reader have what is in the file; returns how much that is."""
        here = self._into.size if self._into.note is not None else 0
        if here and self._fed is None:
            self._read_out(self._reader.restart)
            self._fed = 0
            self._into.seek(0)
            while piece := self._into.read(_PIECE):
                self._read_out(self._reader.feed, piece)
                self._fed += len(piece)
        return here

    def _place(self, answer: Answer, here: int) -> int:
        """Where in the whole the body begins: 0, after all that was there is forgotten, unless it goes on."""
        if here and answer.status == 206:
            if why := why_not_rest(here, self._note, answer.headers):
                self._start_again(why)
            self.decide("resume", f"{here} bytes are there already")
            return here
        if here and is_same(self._note, answer.headers, answer.place):
            return 0  # a server that ignores ranges: the same once more
        if here:
            self.decide("restart", "it has changed or is elsewhere now, or its server can't go on")
        self._begin(answer)
        return 0

    def _start_again(self, why: str) -> NoReturn:
        self._into.begin(None)
        raise _Stale(why)

    def _begin(self, answer: Answer) -> None:
        """Empties the file, and notes what is needed to go on with what comes now."""
        note = note_of(answer.headers, answer.length, answer.place) if answer.freshness().storable else None
        self._into.begin(note)
        self._read_out(self._reader.restart)
        self._fed = 0

    def _read_out(self, hear: Callable[..., object], *data: bytes) -> None:
        """Lets the reader hear something."""
        self.is_heard = True
        hear(*data)
        self.is_heard = False

    def _receive(self, answer: Answer, position: int) -> None:
        """Takes the body, which begins at `position` of the whole."""
        length = None if answer.length is None else position + answer.length
        total = size_of_whole(self._note, answer.headers) if answer.status == 206 else length
        if (total or 0) > self._limit:
            raise self._too_large(answer.shown, total)
        here = self._fed or 0
        require_room(answer.shown, None if length is None else length - here, self._into)
        self._into.seek(0, os.SEEK_END)
        self._disturbed = self._disturbed or self._begun or (total is None and answer.ends_with_connection)
        self._begun = True
        meter = self.progress.start(f"downloading {answer.shown}", total, position)
        try:
            for chunk in self._paced(answer):
                self._take(chunk, position, answer, meter)
                position += len(chunk)
        finally:
            meter.done()
        if total is not None and position != total:
            raise TransferFailed(f"{answer.shown}: ended after {position} of {total} bytes")
        if position < (self._fed or 0):  # somebody has written to the file
            self._start_again("it is shorter than what is there of it")

    def _take(self, chunk: bytes, position: int, answer: Answer, meter: Meter) -> None:
        self._received += len(chunk)
        meter.advance(len(chunk))
        fed = self._fed or 0
        new = chunk[max(0, fed - position) :]
        if fed + len(new) > self._limit:
            raise self._too_large(answer.shown, None)
        if new:
            self._into.write(new)
            self._read_out(self._reader.feed, new)
            self._fed = fed + len(new)
            self.furthest = max(self.furthest, self._fed)

    def _paced(self, answer: Answer) -> Iterator[bytes]:
        """The chunks of the body, as long as they come fast enough."""
        limits = self._client.limits
        self.floor.go_on(time.monotonic(), own_pause=self.own_pause)
        self.own_pause = 0.0
        try:
            for chunk in answer.chunks(patience=limits.rate_window):
                if not self.floor.is_kept(len(chunk), time.monotonic()):
                    raise self._slow(answer, limits)
                self.floor.halt(time.monotonic())  # what is done with them is not the server's time
                yield chunk
                self.floor.go_on(time.monotonic())
        except TimeoutError:
            raise self._slow(answer, limits) from None
        finally:
            self.floor.halt(time.monotonic())

    def _too_large(self, url: object, size: int | None) -> LimitExceeded:
        """The error; nothing of what is too large is worth keeping."""
        self._into.begin(None)
        found = "more" if size is None else f"{size} bytes, more"
        return LimitExceeded(f"{url}: {found} than {self._limit} bytes, the limit", option=self._option)

    def _slow(self, answer: Answer, limits: Limits) -> TransferFailed:
        self.was_slow = True
        rate = f"slower than {limits.minimum_rate} bytes a second over {limits.rate_window:g} s"
        bounds = {"bound": "--limits-minimum-rate, --limits-rate-window"}
        return TransferFailed(f"{answer.shown}: {rate}", facts=bounds)

    def _transfer(self, answer: Answer, validators: Validators) -> Transfer:
        # What is said of a 416 is not said of what is there.
        age = Freshness(None, True) if answer.status == 416 else answer.freshness(self._client.limits.freshness)
        return Transfer(
            status=304 if answer.status == 304 else 200,
            received=self._received,
            disturbed=self._disturbed,
            validators=validators if age.storable else None,
            max_age=age.seconds,
        )
