"""The command in a process of its own that says how much memory it took, and has a bound on the files it writes.

python -m tests.hostile.measured REPORT LARGEST_FILE fetch …
"""

import json
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


@dataclass(frozen=True)
class Measured:
    """A command that has ended: its exit code, what it wrote, and the most memory that it had, in bytes."""

    code: int
    out: str
    err: str
    peak: int

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
    report = scratch / "peak"
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(report), str(largest_file or resource.RLIM_INFINITY), *arguments],
        env=of_this_process(**environment),
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert report.exists(), done.stderr
    return Measured(done.returncode, done.stdout, done.stderr, int(report.read_text()))


def _main(report: str, largest_file: str, *arguments: str) -> int:
    most = int(largest_file)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    code = main(arguments)
    # Not of the system's accounts: there a process begins with the peak of the one that has started it.
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found
    Path(report).write_text(str(int(found[1]) << 10))
    return code


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
