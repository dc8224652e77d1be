"""The live display on a terminal. Nothing else imports rich, and this only where there is a terminal."""

import sys
from collections.abc import Iterable
from itertools import accumulate
from typing import IO, Any, Self, TextIO, cast

from rich import live
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from acistore.cli.output import count, escape, give_up

MOST_ROWS = 8
# Rows that are none of a meter: how many more there are, the step, and the cursor's.
_OTHER_ROWS = 3
# Columns at the right that stay free: a terminal shows Ctrl-C as ^C, and would begin a new line for it, and so
# put the display one line off.
_ECHO = 2
# Columns of the terminal below which there is no room for a bar and a rate, or for a longer bar.
_NARROW, _WIDE = 64, 100


class Live:
    """Rows that are drawn anew: one a meter (what, how much, how fast, how long), and one for the latest step.

    What is printed to stderr meanwhile appears above it.
    """

    def __init__(self, *, colored: bool) -> None:
        self._console = Console(file=cast(IO[str], _Screen(sys.stderr)), no_color=not colored)
        # Counts, and never draws by itself.
        self._meters = Progress(console=self._console, auto_refresh=False, expand=True)
        self._spinner = Spinner("dots")
        self._step: str | None = None
        self._display: live.Live | None = None

    def step(self, text: str) -> None:
        self._step = escape(text)
        self._show()

    def start(self, what: str, total: int | None, done: int = 0) -> "_Meter":
        self._step = None  # it has led to this
        meter = _Meter(self._meters, self._meters.add_task(escape(what), total=total, completed=done))
        self._show()
        return meter

    def decided(self, about: str, what: str, why: str) -> None:
        """Not shown: what matters of it is logged."""

    def _show(self) -> None:
        """Draws at once: what is short is seen too."""
        if self._display is not None and self._display.is_started:
            self._display.refresh()

    def _rows(self) -> RenderableType:
        """What is to be seen now."""
        tasks = self._meters.tasks
        room = max(1, min(MOST_ROWS, self._console.height - _OTHER_ROWS))
        rows: list[RenderableType] = []
        if tasks:
            self._meters.columns = tuple(_columns(self._console.width))
            rows.append(self._meters.make_tasks_table(tasks[:room]))
        if len(tasks) > room:
            rows.append(Text(f"and {count(len(tasks) - room, 'more', 'more')}"))
        if self._step is not None:
            status = Table.grid(Column(), Column(ratio=1), padding=(0, 1), expand=True)
            status.add_row(self._spinner, _CutInTheMiddle(self._step))
            rows.append(status)
        return Constrain(Group(*rows), self._console.width - _ECHO)

    def __enter__(self) -> Self:
        self._display = live.Live(
            console=self._console,
            get_renderable=self._rows,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
        )
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()


class _Screen:
    """stderr, as it is drawn on. A terminal that has gone is no reason to stop: the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            give_up(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            give_up(self._stream)


class _Meter:
    """One row. Does nothing more when it is done."""

    def __init__(self, meters: Progress, task: TaskID) -> None:
        self._meters = meters
        self._task: TaskID | None = task

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._meters.advance(self._task, count)

    def done(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._meters.remove_task(task)


def _columns(width: int) -> Iterable[ProgressColumn]:
    """What there is room for."""
    yield _What(table_column=Column(no_wrap=True, ratio=1))
    if width >= _NARROW:
        yield BarColumn(bar_width=20 if width >= _WIDE else 12)
    yield DownloadColumn(table_column=Column(no_wrap=True, justify="right"))
    if width >= _NARROW:
        yield TransferSpeedColumn(table_column=Column(no_wrap=True, justify="right"))
    yield TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True))


class _What(ProgressColumn):
    def render(self, task: Task) -> "_CutInTheMiddle":
        return _CutInTheMiddle(task.description)


class _CutInTheMiddle:
    """A line that shows its beginning and its end where there is no room for all: a URL's host and file name."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(cut_in_the_middle(self._text, options.max_width), no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, cell_len(self._text))).with_maximum(options.max_width)


def cut_in_the_middle(text: str, room: int) -> str:
    """The text, or what of its ends has room in so many columns of the terminal, more of the end."""
    if cell_len(text) <= room:
        return text
    before = (room - 1) * 2 // 5
    after = room - 1 - before
    head = sum(columns <= before for columns in accumulate(map(cell_len, text)))
    tail = sum(columns <= after for columns in accumulate(map(cell_len, reversed(text))))
    return f"{text[:head]}…{text[len(text) - tail :]}" if room > 0 else ""
