"""Session: one run of the command, with the options that came before it, and what every command needs.

Opens things and asks questions; which, when and why is up to the commands.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import click

import acistore
from acistore.cli.output import Output, StdoutClosed
from acistore.cli.progress import Progress, progress_for
from acistore.config import KEYS, Config
from acistore.errors import AcistoreError

Result = TypeVar("Result")

_log = logging.getLogger("acistore")

# What stands behind each insecure option, for the warning that it is in force.
_INSECURE = {
    "image": "signatures of images are not checked (--insecure-options=image)",
    "tls": "certificates of servers are not checked (--insecure-options=tls)",
    "http": "plain HTTP is allowed (--insecure-options=http)",
    "pubkey": "keys may come over connections that are not secure (--insecure-options=pubkey)",
}


def on_command_line(ctx: click.Context, param: str) -> bool:
    """Whether an option was given as a flag, and not by a variable."""
    return ctx.get_parameter_source(param) is click.core.ParameterSource.COMMANDLINE


def configuring(ctx: click.Context) -> dict[str, object]:
    """Of the flags before the command those that set the configuration, named as in the file.

    Variables are left to Config, which then knows that a value came from one.
    """
    params = {key: key.replace(".", "_") for key in KEYS}
    return {key: ctx.params[param] for key, param in params.items() if on_command_line(ctx, param)}


@dataclass
class Session:
    """The options before the command. `flags` are those that set the configuration, named as in the file."""

    output: Output
    verbose: bool = False
    flags: dict[str, object] = field(default_factory=dict)

    def config(self, flags: Mapping[str, object] | None = None) -> Config:
        """The configuration in force; `flags` are options of the command itself, named as in the file.

        Raises ConfigError.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        return Config.load(flags={**self.flags, **given})

    def store(self) -> "acistore.Store":
        """The store, which is made when there is none yet. Raises ConfigError, StoreUnavailable and so on."""
        return acistore.Store.open(self.config().dir)

    @contextmanager
    def existing_store(self) -> Iterator["acistore.Store"]:
        """The store, for a command that puts nothing into it; where there is none, an empty one that nobody
        keeps, so that a wrong --dir makes no directories. Raises as `store`."""
        directory = self.config().dir
        if holds_store(directory):
            with self.store() as store:
                yield store
            return
        if not self.output.json:
            self.output.note(f"there is no store in {directory} yet")
        with TemporaryDirectory(prefix="acistore-") as elsewhere, acistore.Store.open(elsewhere) as store:
            yield store

    def progress(self) -> Progress:
        """What shows a job's progress on stderr."""
        return progress_for(self.output)

    def warn_of_insecure(self, config: Config, *matters: str) -> None:
        """One line for each insecure option in force, of those that matter to the command."""
        for option in matters:
            if option in config.insecure_options:
                self.output.warning(_INSECURE[option])

    def try_each(self, wanted: Iterable[str], job: Callable[[str], Result]) -> tuple[list[Result], int]:
        """Does the job for each, reports every failure, and returns what succeeded and the exit code, which is
        that of the first failure."""
        results: list[Result] = []
        codes = []
        for each in wanted:
            try:
                results.append(job(each))
            except (StdoutClosed, BrokenPipeError):
                raise
            except Exception as error:  # noqa: BLE001 - the others are not to suffer for it
                codes.append(self.report(error, each))
        return results, codes[0] if codes else 0

    def report(self, error: Exception, image: str) -> int:
        """Prints what came of one image among several, and returns its exit code."""
        failure = error if isinstance(error, AcistoreError) else internal_error(error, facts={"image": image})
        self.output.error(failure, about=image)
        return failure.exit_code

    def ask(self, question: str) -> bool:
        """Yes or no, from the person at the terminal. No answer is no."""
        while True:
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = ""
            try:
                answer = sys.stdin.readline()
            finally:
                if not answer:  # Ctrl-C and Ctrl-D leave the cursor behind the question
                    self.output.say([""])
            match answer.strip().lower():
                case "y" | "yes":
                    return True
                case "" | "n" | "no":
                    return False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Prints what the library logs meanwhile: warnings, with -v what it does, with --debug everything."""
        handler = _Handler(self.output)
        before = _log.level, _log.propagate
        _log.addHandler(handler)
        _log.propagate = False
        _log.setLevel(logging.DEBUG if self.output.debug else logging.INFO if self.verbose else logging.WARNING)
        try:
            yield
        finally:
            _log.removeHandler(handler)
            _log.setLevel(before[0])
            _log.propagate = before[1]


def holds_store(directory: Path) -> bool:
    """Whether there is a store in a directory, be it a damaged one or one that can't be looked into."""
    try:
        return any(each.name in ("acistore.db", "packs") for each in directory.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it says what is wrong


def internal_error(error: Exception, *, facts: Mapping[str, str] | None = None) -> AcistoreError:
    """What nobody foresaw, in the form of an error that somebody did."""
    failure = AcistoreError(f"internal error: {type(error).__name__}: {error}", facts=facts)
    failure.__cause__ = error
    return failure


def somebody_can_answer() -> bool:
    """Whether there is a person to ask: stdin and stderr are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


class _Handler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._output.warning(record.getMessage())
        elif self._output.debug:  # where time is lost, and by whom
            then = datetime.fromtimestamp(record.created, UTC).time().isoformat("milliseconds")
            self._output.note(f"{then} {record.name}: {record.getMessage()}")
        else:
            self._output.note(record.getMessage())
