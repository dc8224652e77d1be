"""The live display on a terminal. Nothing else imports rich, and this only where there is a terminal."""

from collections.abc import Sequence
from threading import Lock
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from acistore.cli.output import escape


class Live:
    """One line that is drawn anew: what is being done, and of a transfer the bytes, the rate, the time left."""

    def __init__(self, *, colored: bool) -> None:
        words = TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        self._for_steps = (SpinnerColumn(), words)
        self._for_transfers = (
            *self._for_steps,
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        self._display = Progress(
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

    def _show(self, text: str, columns: Sequence[ProgressColumn], total: int | None = None) -> None:
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
