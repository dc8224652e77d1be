"""Session: one run of the command, with the options that came before it, and what every command needs.

Opens things and asks questions; which, when and why is up to the commands.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import acistore
from acistore.cli.output import Output
from acistore.cli.progress import Progress, progress_for
from acistore.config import Config
from acistore.errors import AcistoreError, NoTerminal

Result = TypeVar("Result")

_log = logging.getLogger("acistore")

# What stands behind each insecure option, for the warning that it is in force.
_INSECURE = {
    "image": "signatures of images are not checked (--insecure-options=image)",
    "tls": "certificates of servers are not checked (--insecure-options=tls)",
    "http": "plain HTTP is allowed (--insecure-options=http)",
    "pubkey": "keys may come over connections that are not secure (--insecure-options=pubkey)",
}


@dataclass
class Session:
    """The options before the command. `flags` are those that set the configuration, None where not given."""

    output: Output
    verbose: bool = False
    flags: dict[str, object] = field(default_factory=dict)

    def config(self, **flags: object) -> Config:
        """The configuration in force; `flags` (`gc__keep`: gc.keep) are options of the command itself.

        Raises ConfigError.
        """
        given = {name.replace("__", "."): value for name, value in flags.items()}
        return Config.load(flags=self.flags | given)

    def store(self) -> "acistore.Store":
        """The store, which is made when there is none yet. Raises ConfigError, StoreUnavailable and so on."""
        return acistore.Store.open(self.config().dir)

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
            except AcistoreError as error:
                self.output.error(error)
                codes.append(error.exit_code)
        return results, codes[0] if codes else 0

    def ask(self, question: str, refusal: NoTerminal) -> bool:
        """Yes or no, from the person at the terminal; raises `refusal` when there is none. No answer is no."""
        if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
            raise refusal
        while True:
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            if not answer:
                self.output.say([""])
            match answer.strip().lower():
                case "y" | "yes":
                    return True
                case "" | "n" | "no":
                    return False

    def listen(self) -> None:
        """Prints what the library logs: warnings, with -v what it does, with --debug everything."""
        _log.handlers = [_Handler(self.output)]
        _log.propagate = False
        level = logging.DEBUG if self.output.debug else logging.INFO if self.verbose else logging.WARNING
        _log.setLevel(level)


def _is_terminal(stream: object) -> bool:
    return hasattr(stream, "isatty") and bool(stream.isatty())


class _Handler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._output.warning(record.getMessage())
        elif record.levelno >= logging.INFO:
            self._output.note(record.getMessage())
        else:
            self._output.note(f"debug: {record.name}: {record.getMessage()}")
