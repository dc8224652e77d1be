"""How far a job is, on stderr: a live display on a terminal, a plain line a step in a pipe, or nothing.

Its calls may come from several threads.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from acistore import progress
from acistore.cli.output import Output, on_terminal, size


class Progress(progress.Progress, Protocol):
    """What a job reports to. It shows something only while it is entered; it may be left and entered again."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@contextmanager
def put_away(progress: Progress) -> Iterator[None]:
    """Takes the display away, for a question or for what is printed: it would be drawn over."""
    progress.__exit__(None, None, None)
    try:
        yield
    finally:
        progress.__enter__()


def progress_for(output: Output) -> Progress:
    """The display that fits stderr and the options. With --json a pipe gets no lines, only errors as JSON."""
    if output.quiet:
        return Silent()
    if on_terminal(sys.stderr):
        from acistore.cli.live import Live  # noqa: PLC0415 - rich takes longer to import than most commands run

        return Live(colored=output.colored)
    return Silent() if output.json else Lines(output)


class Silent(progress.Silent):
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Lines(Silent):
    """A line for each step, and for each thing that takes time when it begins."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def step(self, text: str) -> None:
        self._output.note(text)

    def start(self, what: str, total: int | None, done: int = 0) -> progress.Silent:
        amounts = [] if total is None else [size(total)]
        if done:
            amounts.append(f"{size(done)} of it there already")
        self._output.note(f"{what} ({', '.join(amounts)})" if amounts else what)
        return progress.Silent()
