"""What happens in a fetch, logged so that one fetch among many can be followed.

Each record that is logged in a `course` has what that is about as attributes: `fetch` and `image`. What is told as
an event has an `event` besides (a word, docs/fetching.md lists them), and `url` and so on from the event itself.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_course: ContextVar[Mapping[str, str]] = ContextVar("course", default={})  # noqa: B039 - never changed in place


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records say in which course they were logged. All rooms log through one."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**_course.get(), **(kwargs.get("extra") or {})}}


def log_of(room: str) -> Log:
    """The log of a module or room by its name, below `acistore`."""
    return Log(logging.getLogger(room), {})


@contextmanager
def course(**facts: str) -> Iterator[None]:
    """All that this thread logs within the block is about this, too."""
    token = _course.set({**_course.get(), **facts})
    try:
        yield
    finally:
        _course.reset(token)


def tell(
    log: Log, event: str, message: str, *arguments: object, level: int = logging.INFO, **facts: object
) -> None:
    """Logs an event; `facts` become attributes of the record, so none may be called as one of logging's own."""
    log.log(level, message, *arguments, extra={"event": event, **facts}, stacklevel=2)
