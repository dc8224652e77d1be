"""How far a job is, on stderr: one live display on a terminal, a plain line a step in a pipe, or nothing.

Satisfies the protocol that the fetcher reports to. Its calls may come from several threads.
"""

import sys
from typing import Protocol, Self

from acistore.cli.output import Output, on_terminal, size


class Progress(Protocol):
    """What a job reports: steps in words, and transfers in bytes. Used as a context manager."""

    def step(self, text: str) -> None: ...
    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, count: int) -> None: ...
    def done(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def progress_for(output: Output) -> Progress:
    """The display that fits stderr and the options. With --json a pipe gets no lines, only errors as JSON."""
    if output.quiet:
        return Silent()
    if on_terminal(sys.stderr):
        from acistore.cli.live import Live  # noqa: PLC0415 - rich takes longer to import than most commands run

        return Live(colored=output.colored)
    return Silent() if output.json else Lines(output)


class Silent:
    """Shows nothing."""

    def step(self, text: str) -> None:
        pass

    def start(self, what: str, total: int | None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def done(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Lines(Silent):
    """A line a step."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def step(self, text: str) -> None:
        self._output.note(text)

    def start(self, what: str, total: int | None) -> None:
        self._output.note(what if total is None else f"{what} ({size(total)})")
