"""A whole process, measured from the outside: wall seconds and peak memory."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process that is forked from a large one counts the large one's memory as its own: so a small one does it.
_MEASURE = """
import resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
seconds = time.perf_counter() - started
print(done.returncode, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.stderr.buffer.write(done.stderr)
"""


@dataclass(frozen=True)
class Run:
    """One run of a whole process and what it started: wall seconds, peak memory of the largest one in MiB."""

    seconds: float
    memory: float


def measured(command: Sequence[str], environment: Mapping[str, str], directory: Path) -> Run:
    """Runs a command in a directory, its output thrown away. Ends the benchmark when it fails."""
    measure = [sys.executable, "-S", "-c", _MEASURE, *command]
    done = subprocess.run(measure, env=environment, cwd=directory, capture_output=True, text=True, check=True)
    code, seconds, memory = done.stdout.split()
    if code != "0":
        sys.exit(f"{' '.join(command)} failed with {code}:\n{done.stderr}")
    return Run(float(seconds), float(memory))


def checking(top: Path, authority: Path) -> dict[str, str]:
    """The environment of somebody with `top/key.asc`, for acistore and a shell with curl and gpg: no proxy, one
    authority, directories of one's own, and a gpg home that knows the key."""
    (top / "gpg").mkdir(mode=0o700)
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "SSL_CERT_FILE": str(authority),
        "CURL_CA_BUNDLE": str(authority),
        "GNUPGHOME": str(top / "gpg"),
        **_operator(top),
    }
    import_key = ["gpg", "--quiet", "--batch", "--no-autostart", "--import", str(top / "key.asc")]
    subprocess.run(import_key, env=environment, check=True, capture_output=True)
    return environment


def _operator(top: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "ACISTORE_DIR": str(top / "store"),
        "ACISTORE_SYSTEM_CONFIG": str(top / "s"),
        "ACISTORE_LOCAL_CONFIG": str(top / "l"),
        "ACISTORE_USER_CONFIG": str(top / "u"),
    }


class Acistore:
    """The command, on a store of its own below a directory, with nobody's configuration."""

    def __init__(self, top: Path) -> None:
        self.store = top / "store"
        self._environment: Mapping[str, str] = {
            **os.environ,
            **_operator(top),
        }

    def run(self, *arguments: str) -> Run:
        """Runs it, its output thrown away. Ends the benchmark when it fails."""
        return measured(self._command(arguments), self._environment, Path.cwd())

    def output(self, *arguments: str) -> str:
        """What it prints."""
        asked = self._command(arguments)
        return subprocess.run(asked, env=self._environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    def has(self, command: str) -> bool:
        """Whether there is such a command in this version."""
        asked = [*self._command([command]), "--help"]
        return subprocess.run(asked, env=self._environment, check=False, capture_output=True).returncode == 0

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "acistore", *arguments]
