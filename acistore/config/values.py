"""The kinds of values that a configuration holds: how each is read, and how it is written again.

`parse` functions take what a file, a variable or a flag gives (a variable only ever gives text) and raise
ValueError with an example of what is right. Which option has a value of which kind: options.py.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

INSECURE_OPTIONS = ("image", "tls", "http", "pubkey")
PULL_POLICIES = ("new", "update", "never")

_SIZE = re.compile(r"(\d{1,30})(?:(\.\d{1,30})?\s*([kmgtp])(i?)|\s*)b?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# What a database row and a Content-Length can hold.
_LARGEST_SIZE = (1 << 63) - 1
# The system refuses to wait longer than 24 days for a socket.
_LONGEST_WAIT = timedelta(days=7)
_TRUE, _FALSE = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")
# Of those the ones that are told.
SWITCH_WORDS = "yes, no, true, false, 1, 0"
# Who has set a value that stands in no file and no variable: a program, a flag.
CALLER, FLAG = "the caller", "flag"
_SHOWN_LENGTH = 100
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `write` gives a value as it stands in the file, `plain` as it stands in JSON; `metavar` is
    what help calls it, "" for what is either on or off."""

    metavar: str
    parse: Callable[[object], Any]
    write: Callable[[Any], str]
    plain: Callable[[Any], object]

    @property
    def is_switch(self) -> bool:
        """Whether it is either on or off."""
        return not self.metavar

    def check(self, value: object) -> None:
        """Raises ValueError for what a program gives and no file could set. A duration is a number of seconds
        there, or a timedelta where it is one here."""
        if self.metavar != "DURATION":
            require_plain(value, self.parse(value))
            return
        parsed = self.parse(_seconds_text(value))
        if isinstance(value, timedelta) is not isinstance(parsed, timedelta):
            require_plain(value, parsed)


def require_plain(value: object, parsed: object) -> None:
    """Raises ValueError for what a program gives as files have it (`"2GiB"`, `"no"`), not as what that means."""
    if value != parsed or not isinstance(value, type(parsed)):
        raise ValueError(f"{shown(value)} is not what a program gives: that is {shown(parsed)}")


def _seconds_text(duration: object) -> str:
    """A duration, as a program gives it, as text of a file; also 0, which some may be. Raises ValueError."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(
            f"{shown(duration)} is not a duration: not a number of seconds that is finite and at least 0"
        )
    return f"{seconds}s" if isinstance(seconds, int) else f"{seconds:f}s"


def shown(value: object) -> str:
    """A value that is wrong, as it stands in a message: in quotes, and cut when it is very long."""
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def written(text: object) -> str:
    """Text as a string of TOML."""
    return '"' + "".join(map(_escaped, str(text))) + '"'


def written_value(value: object) -> str:
    """Text, a number, a switch or an array of these, as TOML has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(written_value, value))}]"
    return str(value).lower() if isinstance(value, bool | int) else written(value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return f"\\u{ord(character):04x}" if character < " " or character == "\x7f" else character


# --- sizes and durations


def parse_size(text: object) -> int:
    """`500M` (10**6), `2GiB` (2**30) or a plain number, to bytes. Raises ValueError with an example."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise ValueError(f"{shown(text)} is not a size, such as 500M or 2GiB")
    whole, fraction, letter, binary = match.groups()
    unit: int = (1024 if binary else 1000) ** " kmgtp".index((letter or " ").lower())
    size = int(whole) * unit + int(float(fraction or 0) * unit)
    if size > _LARGEST_SIZE:
        raise ValueError(f"{shown(text)} is larger than a size can be")
    return size


def _write_size(size: int) -> str:
    """The shortest text that is exact, in powers of 1024 where two are equally short: 2GiB, 10G, 1536."""
    exact = [
        f"{size // base**power}{letter}{suffix}"
        for letters, base, suffix in (("KMGTP", 1024, "iB"), ("kMGTP", 1000, ""))
        for power, letter in enumerate(letters, start=1)
        if size and size % base**power == 0
    ]
    return written(min([*exact, str(size)], key=len))


def _parse_optional_size(text: object) -> int | None:
    return None if text in ("", None) else parse_size(text)


def parse_duration(text: object) -> timedelta:
    """`90s`, `24h`, `7d`, also `0s`. Raises ValueError with an example."""
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a duration, such as 90s, 24h or 7d")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{shown(text)} is longer than a duration can be") from None


def _parse_seconds(text: object) -> float:
    return parse_duration(text).total_seconds()


def _parse_pause(text: object) -> float:
    pause = parse_duration(text)
    if pause > _LONGEST_WAIT:
        raise ValueError(f"{shown(text)} is longer than a week, which is the most")
    return pause.total_seconds()


def _parse_wait(text: object) -> float:
    seconds = _parse_pause(text)
    if seconds == 0:
        raise ValueError(f"{shown(text)} has to be more than nothing")
    return seconds


def _write_seconds(seconds: float) -> str:
    """In the largest unit that there are at least two of, and no fraction: 60s, 2m, 24h, 7d."""
    count = round(seconds * 1_000_000)
    for unit, worth in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if count % (worth * 1_000_000) == 0 and (count >= 2 * worth * 1_000_000 or unit == "s"):
            return f'"{count // (worth * 1_000_000)}{unit}"'
    fraction = f".{count % 1000:03}".rstrip("0").rstrip(".")
    return f'"{count // 1000}{fraction}ms"'


def _plain_seconds(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


# --- the others


def parse_path(text: object) -> Path:
    """A path, with `~` expanded. Raises ValueError."""
    if not isinstance(text, str | Path) or not str(text) or "\0" in str(text):
        raise ValueError(f"{shown(text)} is not a path")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{shown(text)} begins with the home directory of a user who has none") from None


def located(path: Path, directory: Path | None) -> Path:
    """A path that stands in a file of `directory`, None where it stands in none; without `..`.

    A `..` behind a link leads to the parent of what the link leads to, so links on the way are followed.
    """
    if directory is None:
        return path
    whole = directory / path
    return Path(os.path.realpath(whole.parent), whole.name) if ".." in whole.parts else whole


def parse_optional_path(text: object) -> Path | None:
    """A path, or None for `""` (and for None). Raises ValueError."""
    return None if text in ("", None) else parse_path(text)


def _parse_number(least: int) -> Callable[[object], int]:
    def parse(text: object) -> int:
        digits = str(text).strip()
        is_number = re.fullmatch(r"\d+", digits, re.ASCII) and not isinstance(text, bool)
        if is_number and len(digits) > _MOST_DIGITS:
            raise ValueError(f"{shown(text)} has more than {_MOST_DIGITS} digits")
        if not is_number or int(digits) < least:
            raise ValueError(f"{shown(text)} is not a whole number of at least {least}")
        return int(digits)

    return parse


def _parse_switch(value: object) -> bool:
    if not means_yes(value) and _word(value) not in _FALSE:
        raise ValueError(f"{shown(value)} is not one of {SWITCH_WORDS}")
    return means_yes(value)


def means_yes(value: object) -> bool:
    """Whether a word switches something on. What is none doesn't."""
    return _word(value) in _TRUE


def _word(value: object) -> str:
    return str(value).strip().lower()


def _parse_pull_policy(text: object) -> str:
    if text not in PULL_POLICIES:
        raise ValueError(f"{shown(text)} is not one of {', '.join(PULL_POLICIES)}")
    return str(text)


def parse_insecure_options(value: object) -> frozenset[str]:
    """`image,tls,http,pubkey`, `all` or `none` (a list in the file). Raises ValueError for another word."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | frozenset):
        raise ValueError(f"{shown(value)} is not a list of options")
    chosen: set[str] = set()
    for word in words:
        name = str(word).strip()
        if name == "all":
            chosen.update(INSECURE_OPTIONS)
        elif name in INSECURE_OPTIONS:
            chosen.add(name)
        elif name not in ("none", ""):
            raise ValueError(f"{shown(word)} is not one of {', '.join(INSECURE_OPTIONS)}, all, none")
    return frozenset(chosen)


def _in_order(chosen: frozenset[str]) -> list[str]:
    return [option for option in INSECURE_OPTIONS if option in chosen]


def _path_or_nothing(path: Path | None) -> str:
    return "" if path is None else str(path)


SIZE = Kind("SIZE", parse_size, _write_size, int)
OPTIONAL_SIZE = Kind(
    "SIZE",
    _parse_optional_size,
    lambda size: '""' if size is None else _write_size(size),
    lambda size: size,
)
DURATION = Kind(
    "DURATION",
    parse_duration,
    lambda duration: _write_seconds(duration.total_seconds()),
    lambda duration: _plain_seconds(duration.total_seconds()),
)
SECONDS = Kind("DURATION", _parse_seconds, _write_seconds, _plain_seconds)
PAUSE = Kind("DURATION", _parse_pause, _write_seconds, _plain_seconds)
WAIT = Kind("DURATION", _parse_wait, _write_seconds, _plain_seconds)
PATH = Kind("PATH", parse_path, written, str)
OPTIONAL_PATH = Kind(
    "PATH",
    parse_optional_path,
    lambda path: written(_path_or_nothing(path)),
    lambda path: None if path is None else str(path),
)
NUMBER = Kind("N", _parse_number(0), str, int)
POSITIVE_NUMBER = Kind("N", _parse_number(1), str, int)
SWITCH = Kind("", _parse_switch, lambda value: "true" if value else "false", bool)
PULL_POLICY = Kind("|".join(PULL_POLICIES), _parse_pull_policy, written, str)
INSECURE = Kind(
    "LIST",
    parse_insecure_options,
    lambda chosen: f"[{', '.join(map(written, _in_order(chosen)))}]",
    _in_order,
)
