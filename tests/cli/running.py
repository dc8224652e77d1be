"""The command as tests run it: in this process for speed, in one of its own for what only a process shows, and
at a terminal for what only a person sees."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import acistore
from tests.waiting import PATIENCE

COMMAND = (sys.executable, "-m", "acistore")


@dataclass(frozen=True)
class Ran:
    """A command that has ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors on stderr, of which `--json` makes a line each."""
        return [json.loads(line)["error"] for line in self.err.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The one error on stderr."""
        (error,) = self.errors
        return error


Run = Callable[..., Ran]


def environment(**variables: str) -> dict[str, str]:
    """This environment, as monkeypatch has made it, with more variables, for a process of its own."""
    here = str(Path(acistore.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": here, "PYTHONWARNINGS": "error", **variables}


def spawn(*arguments: str, stdin: str | None = None, **variables: str) -> Ran:
    """Runs the command in a process of its own, with pipes."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class AtTerminal:
    """What was seen at a terminal: `screen` with, `text` without its control sequences; `out` is stdout's."""

    code: int
    screen: str
    out: str

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.screen)


def at_terminal(
    *arguments: str,
    answers: Mapping[str, str] | None = None,
    stdout_too: bool = True,
    command: Sequence[str] = COMMAND,
    **variables: str,
) -> AtTerminal:
    """Runs the command at a terminal; `answers` are typed when the text before them has appeared.

    Without `stdout_too` stdout is a pipe.
    """
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [*command, *arguments],
        env=environment(**{"TERM": "xterm", "COLUMNS": "100", **variables}),
        stdin=terminal,
        stdout=terminal if stdout_too else subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    with process, os.fdopen(keyboard, "r+b", buffering=0) as screen:
        seen = _watch(screen.fileno(), process, dict(answers or {}))
        out = process.stdout.read().decode() if process.stdout else ""
        return AtTerminal(process.wait(PATIENCE), seen, out)


def _watch(descriptor: int, process: "subprocess.Popen[bytes]", answers: dict[str, str]) -> str:
    seen = b""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        readable, _, _ = select.select([descriptor], [], [], end - time.monotonic())
        try:
            piece = os.read(descriptor, 1 << 16) if readable else b""
        except OSError:  # the terminal's other end is closed: the command has ended
            piece = b""
        if not piece:
            return seen.decode()
        seen += piece
        for prompt in [prompt for prompt in answers if prompt.encode() in seen]:
            os.write(descriptor, answers.pop(prompt).encode())
    process.kill()
    raise AssertionError(f"the command has not ended:\n{seen.decode()}")
