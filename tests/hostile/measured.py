"""The command in a process of its own that says how much memory it took and what it has left behind, and has a
bound on the files it writes.

python -m tests.hostile.measured REPORT LARGEST_FILE fetch …
"""

import ctypes
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acistore.cli import main
from tests.cli.running import environment as of_this_process

_PEAK = re.compile(r"VmHWM:\s*(\d+) kB")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """A command that has ended: its exit code, what it wrote, and the most memory that it had, in bytes; and what
    is left of it: children, open files, files in the directory for temporary ones."""

    code: int
    out: str
    err: str
    peak: int
    left: tuple[str, ...]

    @property
    def error(self) -> dict[str, Any]:
        """The one error that `--json` has written to stderr."""
        (line,) = [line for line in self.err.splitlines() if line.startswith('{"error"')]
        error: dict[str, Any] = json.loads(line)["error"]
        return error


def measured(
    *arguments: str,
    environment: Mapping[str, str],
    scratch: Path,
    patience: float,
    largest_file: int | None = None,
) -> Measured:
    """Runs the command. Whatever it, or gpg, writes beyond `largest_file` bytes of one file fails (EFBIG)."""
    report, temporary = scratch / "report", scratch / "temporary"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(report), str(largest_file or resource.RLIM_INFINITY), *arguments],
        env=of_this_process(**environment, TMPDIR=str(temporary)),
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert report.exists(), done.stderr
    peak, *left = report.read_text().splitlines()
    left += [path.name for path in temporary.rglob("*")]
    return Measured(done.returncode, done.stdout, done.stderr, int(peak), tuple(left))


def _main(report: str, largest_file: str, *arguments: str) -> int:
    most = int(largest_file)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    # What a child leaves running becomes a child of this process, and is seen here.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = _open_files()
    sys.argv[1:] = arguments
    code = main()
    left = [*_children(), *(_open_files() - before)]
    # Not of the system's accounts: there a process begins with the peak of the one that has started it.
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found
    Path(report).write_text("\n".join([str(int(found[1]) << 10), *left]))
    return code


def _open_files() -> set[str]:
    links = Path("/proc/self/fd").iterdir()
    return {f"{link.name}: {link.readlink()}" for link in links if link.is_symlink()}


def _children() -> list[str]:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return [f"child {ended.si_pid}" if ended else "a child"]


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
