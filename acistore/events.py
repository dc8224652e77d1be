"""What happens in a fetch, logged so that one fetch among many can be followed.

Each record has an `event` (a word, docs/fetching.md lists them) and what it is about as further attributes:
`fetch` and `image` from the `course` that the thread is in, `url` and so on from the event itself.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_course: ContextVar[Mapping[str, str]] = ContextVar("course", default={})  # noqa: B039 - never changed in place


@contextmanager
def course(**facts: str) -> Iterator[None]:
    """All events that this thread tells within the block are about this, too."""
    token = _course.set({**_course.get(), **facts})
    try:
        yield
    finally:
        _course.reset(token)


def tell(
    log: logging.Logger, event: str, message: str, *arguments: object, level: int = logging.INFO, **facts: object
) -> None:
    """Logs an event; `facts` become attributes of the record, so none may be called as one of logging's own."""
    if log.isEnabledFor(level):
        log.log(level, message, *arguments, extra={"event": event, **_course.get(), **facts}, stacklevel=2)
