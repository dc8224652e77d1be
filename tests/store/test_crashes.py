"""Every job that changes a store, failing or killed at its 1st, 2nd, … nth step: what it leaves is whole.

Here a part of the points (`Workbench.points` with EVERY); `make crash` tries all of them. A failure says how to
replay its point.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.paths import PATHS, UNSAFE

EVERY = 18
# Upgrades and repairs take longer than all others, before as after the failure.
EVERY_OF_LONG_ONES = 54


def run(path: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Fault injection forks, which only a process without other threads may do."""
    command = [sys.executable, "-m", "tests.faults", "run", path, *options]
    return subprocess.run(
        command,
        check=False,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_store_survives_a_failure_at_any_step_of(path: str) -> None:
    every = EVERY_OF_LONG_ONES if PATHS[path].upgrades or PATHS[path].repairs else EVERY
    ended = run(path, "--every", str(every))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("an-unsafe-move", "is missing"),
        ("an-early-success", "where it must hold"),
        ("a-bare-error", "an error that is no AcistoreError"),
        ("a-swallowed-error", "where it must hold"),
    ],
)
def test_fault_injection_finds_out(path: str, what: str) -> None:
    assert set(UNSAFE) == {"an-unsafe-move", "an-early-success", "a-bare-error", "a-swallowed-error"}
    ended = run(path, "--every", str(EVERY))
    assert ended.returncode == 1
    assert what in ended.stdout
