"""What is printed, and how: text for people, JSON for scripts, errors in the contract's form.

Everything that goes to stdout or stderr goes through here, so that text from outside can't do anything to a
terminal and a reader that has gone away is dealt with once. What is printed is the commands' business.
"""

import json
import os
import shutil
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, AnyStr, TextIO

from acistore.errors import AcistoreError, FileUnusable
from acistore.naming import ImageID

RED, YELLOW = "31", "33"
# Columns; a longer label (a URL, an ID) does not push the values of the others away.
LONGEST_LABEL = 24
# Characters of an error's message, a warning or a fact's label, and of a fact, which may list IDs: a
# stranger's URL may have thousands, and a page may name twenty.
_LONGEST, _LONGEST_FACT = 1000, 4000
_CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


class StdoutClosed(Exception):
    """Whoever reads standard output has read enough."""


def escape(text: object) -> str:
    """The text with everything escaped that isn't plain print: controls, terminal escapes, direction marks,
    lone surrogates, blanks that aren't one."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if character in _CONTROLS:
        return _CONTROLS[character]
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON in ASCII; times in RFC 3339, UTC."""
    # DEL is the one control character that JSON leaves as it is.
    return json.dumps(value, indent=indent, default=_plain).replace("\x7f", "\\u007f")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, ImageID | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


# --- numbers and times for people


def size(count: float) -> str:
    """Bytes for people, in powers of 1000: `92.6 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:,.1f} TB"


def ago(then: datetime, now: datetime | None = None) -> str:
    """A time as seen from now: `3 hours ago`, `in 2 days`."""
    distance = (now or datetime.now(UTC)) - then
    words = _span(abs(distance))
    if words is None:
        return "just now"
    return f"{words} ago" if distance > timedelta(0) else f"in {words}"


def _span(length: timedelta) -> str | None:
    seconds = length.total_seconds()
    for unit, worth in (("year", 31_557_600), ("month", 2_629_800), ("week", 604_800), ("day", 86_400)):
        if seconds >= 2 * worth:
            return f"{int(seconds // worth)} {unit}s"
    for unit, worth in (("hour", 3600), ("minute", 60)):
        if seconds >= worth:
            count = int(seconds // worth)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return None if seconds < 10 else f"{int(seconds)} seconds"


def moment(then: datetime) -> str:
    """A time for people, exact and relative."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago(then)})"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 image`, `6,768 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


# --- lines


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """`label  value` lines, indented and aligned, by all labels but very long ones; text from outside escaped."""
    shown = [(escape(label), escape(value)) for label, value in pairs]
    widest = max((width(label) for label, _value in shown if width(label) <= LONGEST_LABEL), default=0)
    return [f"  {label}{' ' * (widest - width(label))}  {value}".rstrip() for label, value in shown]


def table(rows: Sequence[Sequence[str]], *, cut_to: int | None = None) -> list[str]:
    """Lines of aligned columns; text from outside escaped. Lines are cut to a width when one is given."""
    shown = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell + " " * (room - width(cell)) for cell, room in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return lines if cut_to is None else [cut(line, cut_to) for line in lines]


def cut(text: str, room: int) -> str:
    """The text, or as much of its beginning as has room, with a sign that there was more."""
    if width(text) <= room:
        return text
    used = 0
    for position, character in enumerate(text):
        used += _cells(character)
        if used > room - 1:
            return text[:position] + "…"
    return text


def width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# --- streams


@dataclass
class Output:
    """Where a command prints: the result on stdout, everything else on stderr.

    `quiet` leaves errors alone on stderr; `color` is None for: on a terminal, unless NO_COLOR is set.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False
    color: bool | None = None

    def lines(self, lines: Iterable[str]) -> None:
        """Prints lines of the result; what comes from outside is escaped in them already."""
        _write(sys.stdout, "".join(f"{line}\n" for line in lines))

    def line(self, text: object) -> None:
        """Prints one line of the result."""
        self.lines([escape(text)])

    def document(self, value: object) -> None:
        """Prints the result as JSON."""
        _write(sys.stdout, to_json(value, indent=2) + "\n")

    def note(self, text: object) -> None:
        """Prints a line for the person at the terminal, which belongs to no result."""
        if not self.quiet:
            self.say([to_json({"note": str(text)}) if self.json else escape(text)])

    def warning(self, text: object) -> None:
        """Prints a line that a person should see."""
        if not self.quiet:
            line = f"{self._painted('acistore:', YELLOW)} warning: {escape(_told(text))}"
            self.say([to_json({"warning": _told(text)}) if self.json else line])

    def error(self, error: AcistoreError, *, about: str | None = None) -> None:
        """Prints an error, as text or as JSON; with `debug` also where it came from. `about` is which of several
        things it is about, as it was asked for."""
        self.say([to_json(error_document(error, about))] if self.json else self._error_lines(error))
        if self.debug:
            trace = "".join(traceback.format_exception(error)).rstrip("\n")
            # Marked, so that a line break in a message can't make a line that looks like one of ours.
            self.say(f"  | {escape(line)}" for line in trace.split("\n"))

    def _error_lines(self, error: AcistoreError) -> list[str]:
        labelled = [*_told_facts(error).items(), *([("next", error.next_step)] if error.next_step else [])]
        return [f"{self._painted('acistore:', RED)} {escape(_told(error.message))}", *facts(labelled)]

    def say(self, lines: Iterable[str]) -> None:
        """Prints lines to stderr, whatever the options; what comes from outside is escaped in them already."""
        if sys.stderr is None:
            return
        try:
            sys.stderr.write("".join(f"{line}\n" for line in lines))
            sys.stderr.flush()
        except OSError:
            give_up(sys.stderr)  # nobody listens; the work goes on

    def abandon(self) -> None:
        """Drops what could not be written to stdout yet, since the work is cut short and nobody may read it."""
        give_up(sys.stdout)

    def _painted(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.colored else text

    @property
    def colored(self) -> bool:
        """Whether stderr gets colours."""
        if self.color is None:
            return on_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
        return self.color


def error_document(error: AcistoreError, about: str | None = None) -> dict[str, object]:
    """An error as scripts get it (CLI contract, Errors), with what it is `about` where there are several."""
    return {
        "error": {
            "kind": type(error).__name__,
            "message": _told(error.message),
            "facts": _told_facts(error),
            "next": error.next_step,
            "exit_code": error.exit_code,
            **({} if about is None else {"about": about}),
        }
    }


def _told(text: object, most: int = _LONGEST) -> str:
    """The text; of one that is too long the beginning and the end."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[: most * 3 // 5]}…{whole[-(most * 2 // 5) :]}"


def _told_facts(error: AcistoreError) -> dict[str, str]:
    """All facts, also where two labels differ only in what is left out of them."""
    told: dict[str, str] = {}
    for label, value in error.facts.items():
        short = _told(label)
        told[f"{short} ({len(told) + 1})" if short in told else short] = _told(value, _LONGEST_FACT)
    return told


def on_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal that understands more than plain lines."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    """The columns of the terminal that stdout is."""
    return shutil.get_terminal_size().columns


class StdoutBytes:
    """Standard output for bytes. Raises StdoutClosed when its reader has gone."""

    def write(self, data: bytes) -> int:
        _write(getattr(sys.stdout, "buffer", None), data)
        return len(data)


def _write(stream: IO[AnyStr] | None, data: AnyStr) -> None:
    if stream is None:
        raise FileUnusable("standard output is closed")
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        give_up(sys.stdout)
        raise StdoutClosed from None
    except OSError as error:
        give_up(sys.stdout)
        raise FileUnusable(f"standard output can't be written: {error.strerror}") from error


def give_up(stream: TextIO | None) -> None:
    """Sends what is left in a stream's buffer nowhere, or Python would try once more, and complain, at exit."""
    if stream is None:
        return
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
