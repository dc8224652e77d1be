"""Which failures are worth another try, how often, and after which pause."""

import logging
import random
import time
from collections.abc import Callable

from acistore.config import Limits
from acistore.errors import NetworkError
from acistore.events import log_of, tell

log = log_of(__name__)

# Seconds: the longest pause that we come to by ourselves.
LONGEST_PAUSE = 30.0
# More make no difference, and too many would be more than a number can hold.
_DOUBLINGS = 64


class Retries:
    """The tries of one job.

    `pause(seconds)` waits, and may raise to give up; before it `decided(reason)` is called; `about` (the URL, say)
    goes into the log.

    A job gets `limits.retries` more tries in a row; one that brought something begins a new row. The pause before
    a try is `limits.retry_delay`, doubled with each of the row, and up to a half shorter, so that a fleet does not
    come back all at once; or as long as the server says (Retry-After), of which all together may not be more than
    `limits.retry_after`. Nothing is waited for that ends after the moment `end` (of `time.monotonic`).
    """

    def __init__(
        self,
        limits: Limits,
        *,
        pause: Callable[[float], object] = time.sleep,
        decided: Callable[[str], object] = lambda _: None,
        end: float | None = None,
        **about: str,
    ) -> None:
        self._limits = limits
        self._pause = pause
        self._decided = decided
        self._end = end
        self._about = about
        self._failed = 0
        self._asked_for = 0.0

    def wait(self, error: NetworkError, *, progress: bool = False) -> float:
        """Waits for the moment of the next try, and returns the seconds of it that the server had not asked for.

        `progress`: the try that has just failed brought something. Raises the error when there is no next try.
        """
        self._pause(0)  # whoever was called off has failed for no other reason
        self._failed = 0 if progress else self._failed
        if not error.transient:
            raise error
        if self._failed >= self._limits.retries:
            if self._failed:
                error.facts.setdefault("tried", f"{self._failed + 1} times in a row (--limits-retries)")
            raise error
        self._failed += 1
        asked_for = error.retry_after
        self._asked_for += asked_for or 0
        seconds = self._own_pause() if asked_for is None else asked_for
        if self._asked_for > self._limits.retry_after:
            error.facts.setdefault("pause", f"{asked_for:g} s, as the server asks (--limits-retry-after)")
            raise error
        if self._end is not None and time.monotonic() + seconds > self._end:
            error.facts.setdefault("pause", f"{seconds:.1f} s, and the time is over by then (--limits-deadline)")
            raise error
        whose = "" if asked_for is None else ", as the server asks"
        again = f"trying again in {seconds:.1f} s{whose} ({self._failed} of {self._limits.retries})"
        tell(
            log,
            "retry",
            "%s; %s",
            error.message,
            again,
            level=logging.WARNING,
            reason=error.message,
            seconds=seconds,
            **self._about,
        )
        self._decided(error.message)
        self._pause(seconds)
        return seconds if asked_for is None else 0.0

    def _own_pause(self) -> float:
        doubled = 2.0 ** min(self._failed - 1, _DOUBLINGS)
        longest = min(self._limits.retry_delay * doubled, LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - nobody gains by guessing it
