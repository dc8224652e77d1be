"""How far a job is, on stderr: one live display on a terminal, a plain line a step in a pipe, or nothing.

Satisfies the protocol that the fetcher reports to. Its calls may come from several threads.
"""

import sys
from threading import Lock
from typing import TYPE_CHECKING, Protocol, Self

from acistore.cli.output import Output, escape, on_terminal, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import ProgressColumn, TaskID


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


class Live:
    """One line that is drawn anew: what is being done, and of a transfer the bytes, the rate, the time left."""

    def __init__(self, *, colored: bool) -> None:
        # Imported here: a pipe needs none of it, and it takes longer to import than most commands run.
        from rich import progress
        from rich.console import Console
        from rich.table import Column

        words = progress.TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        self._for_steps = (progress.SpinnerColumn(), words)
        self._for_transfers = (
            *self._for_steps,
            progress.BarColumn(bar_width=20),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(compact=True),
        )
        self._display = progress.Progress(
            *self._for_steps,
            console=Console(stderr=True, no_color=not colored),
            transient=True,
            redirect_stdout=False,
            expand=True,
        )
        self._task: TaskID | None = None
        self._lock = Lock()

    def step(self, text: str) -> None:
        self._show(text, self._for_steps)

    def start(self, what: str, total: int | None) -> None:
        self._show(what, self._for_transfers, total)

    def advance(self, count: int) -> None:
        with self._lock:
            if self._task is not None:
                self._display.advance(self._task, count)

    def done(self) -> None:
        with self._lock:
            self._display.columns = self._for_steps

    def _show(self, text: str, columns: "Sequence[ProgressColumn]", total: int | None = None) -> None:
        with self._lock:
            if self._task is not None:
                self._display.remove_task(self._task)
            self._display.columns = tuple(columns)
            self._task = self._display.add_task(escape(text), total=total)

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()
