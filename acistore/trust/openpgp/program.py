"""gpg as a program: started in a home of its own that is thrown away, seen to while it runs, killed when it hangs.

It runs through python-gnupg, with an environment of its own, without agent, network, configuration files or
locale. What it is asked, and what its answers mean, is `gpg`'s business.
"""

import copy
import io
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Condition
from typing import Any, BinaryIO

import gnupg

from acistore.errors import FileUnusable, ProgramMissing
from acistore.trust.openpgp.results import StatusLine

PATIENCE = 30.0
"""Seconds that gpg may take to answer, or to accept the next piece of data."""

PIECE = 1 << 20
"""Bytes that are handed to gpg at once."""

_OLDEST = (2, 2, 17)  # the first that can leave out what others have signed in a key
_LEAVE_TIME = 1.0  # seconds for a process to go once it has no more to do
_MARK = "ACISTORE_RUN"
_PIECES_AHEAD = 8
_MOST_OUTPUT = 1 << 20  # bytes, besides what its input gives cause for

_OPTIONS = [
    "--no-options",
    "--no-autostart",
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    # Who may sign for what is ours to say; no web of trust is to be computed. (The trust model `always` would
    # say the same, but with it gpg 2.2 breaks off at a key that has expired: no trustdb.)
    "--no-auto-check-trustdb",
    "--lock-never",
    # Text for people would share the channel of the status lines.
    *("--logger-file", "/dev/null"),
]


VERIFY_OPTIONS = ["--no-batch", "--logger-fd", "1"]
"""For a check of signatures. In batch mode gpg stops at the first that is bad or has expired, and outside of it
takes no log file; text for people goes to the other channel then."""


def broken(problem: str, detail: str | None = None) -> ProgramMissing:
    """The error for a gpg that is there and of no use."""
    return ProgramMissing(
        problem, facts={"gpg says": detail} if detail else None, next_step="apt-get install --reinstall gnupg"
    )


class Program:
    """gpg in its throw-away home. `patience` is in seconds, see PATIENCE.

    Raises ProgramMissing when it is not there, doesn't work or doesn't answer; FileUnusable when there is no room
    for a home.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.haste = patience / 5
        """Seconds for what ought to be done at once."""
        binary = shutil.which("gpg")
        if binary is None:
            raise ProgramMissing("gpg is not installed", next_step="apt-get install gnupg")
        try:
            self._home = tempfile.TemporaryDirectory(prefix="acistore-gpg-", ignore_cleanup_errors=True)
        except OSError as error:
            raise FileUnusable(f"no temporary directory can be made: {error.strerror}") from None
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self._home.name,
            "GNUPGHOME": self._home.name,
            "LC_ALL": "C",
        }
        self._gpg: Any = None
        try:
            self._gpg = self._started(binary)
        except BaseException:
            self.close()
            raise

    def _started(self, binary: str) -> "_Gpg":
        def make(run: "Run") -> _Gpg:
            return _Gpg(run, gpgbinary=binary, gnupghome=self._home.name, options=_OPTIONS, env=run.environment)

        run = Run(make, self._environment, self.patience)
        try:
            gpg: _Gpg = run.result()
        except (OSError, ValueError) as error:
            raise broken("gpg can't be run", str(error)) from None
        if gpg.version is None:
            raise broken("gpg does not tell its version")
        if gpg.version < _OLDEST:
            found, needed = (".".join(map(str, version)) for version in (gpg.version, _OLDEST))
            raise broken(f"gpg {found} is too old: {needed} or newer is needed")
        # User IDs and signatures bring bytes of their own into status lines. Where a byte may become a line
        # break, as 0x85 does in Latin-1, they could forge whole lines; in this character set none does.
        gpg.encoding = "cp437"
        gpg.buffer_size = PIECE
        return gpg

    def call(
        self,
        job: Callable[[Any], Any],
        *,
        keyring: Path | None = None,
        most_output: int = 0,
        patience: float | None = None,
    ) -> "Run":
        """Begin a job for gpg; several can go on at once.

        `keyring` is the one file of public keys that it sees, by default the one that it makes for itself. A gpg
        that says much more than `most_output` bytes is killed. `patience` is in seconds, by default the program's.
        """

        def with_gpg(run: Run) -> Any:
            gpg = copy.copy(self._gpg)
            gpg.run = run
            gpg.env = run.environment
            gpg.keyring = [str(keyring)] if keyring else None
            gpg.result_map = dict.fromkeys(gpg.result_map, lambda _: run.statuses)
            return job(gpg)

        return Run(with_gpg, self._environment, patience or self.patience, most_output + _MOST_OUTPUT)

    def can_import(self) -> bool:
        """Whether gpg can take in nothing: if so, what it fails at is the matter of the keys that it was given."""
        answer = self._answer(lambda gpg: gpg.import_keys(b""))
        return answer.has("IMPORT_RES") and not answer.data

    def can_verify(self) -> bool:
        """Whether gpg sees no signature in nothing: if so, what it fails at is a signature, or a key."""
        options = [*VERIFY_OPTIONS, str(self.write(b"")), "-"]
        return self._answer(lambda gpg: gpg.verify_file(io.BytesIO(), extra_args=options)).has("NODATA")

    def _answer(self, job: Callable[[Any], Any]) -> "Statuses":
        run = self.call(job, patience=self.haste)
        with suppress(OSError, ValueError, ProgramMissing):
            run.result()
            return run.statuses
        return Statuses()

    def new_path(self) -> Path:
        """Where a file can be made in the home."""
        return Path(self._home.name, secrets.token_hex(8))

    def write(self, content: bytes) -> Path:
        """A new file in the home. Raises FileUnusable."""
        path = self.new_path()
        try:
            path.write_bytes(content)
        except OSError as error:
            raise FileUnusable(f"{path} can't be written: {error.strerror}") from None
        return path

    def check_room(self, size: int) -> None:
        """Whether a file of so many bytes can be made in the home. Raises FileUnusable."""
        self.write(bytes(size)).unlink()

    def close(self) -> None:
        """Remove the home."""
        self._home.cleanup()


class Statuses:
    """What python-gnupg hands the status lines to, instead of its own reading of them.

    `data` is what gpg wrote to standard output.
    """

    def __init__(self) -> None:
        self.lines: list[StatusLine] = []
        self.data = b""

    def handle_status(self, keyword: str, value: str) -> None:
        self.lines.append((keyword, value))

    def has(self, keyword: str) -> bool:
        """Whether there is a line of that kind."""
        return any(each == keyword for each, _ in self.lines)


class Pipe:
    """A bounded pipe between two threads, which either end can close. The reading end is python-gnupg's.

    `is_drained`: everything that was written has been read, and the end of it as well.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._closed = False
        self._changed = Condition()
        self.is_drained = False

    def write(self, data: bytes, patience: float) -> bool:
        """Whether there was room in time. What is written to a closed pipe is dropped."""
        with self._changed:
            room = self._changed.wait_for(lambda: self._closed or len(self._pieces) < _PIECES_AHEAD, patience)
            if room and data and not self._closed:
                self._pieces.append(data)
                self._changed.notify_all()
            return room

    def read(self, _size: int) -> bytes:
        """The next piece, whole; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pieces)
            piece = self._pieces.popleft() if self._pieces else b""
            self.is_drained = not piece
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Run:
    """One process of gpg, seen to by a thread of its own, so that it can be given up."""

    def __init__(
        self,
        job: Callable[["Run"], Any],
        environment: Mapping[str, str],
        patience: float,
        most_output: int = _MOST_OUTPUT,
    ) -> None:
        self.statuses = Statuses()
        self._mark = secrets.token_hex(16)
        self.environment = {**environment, _MARK: self._mark}
        self._patience = patience
        self._most_output = most_output
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self._is_endless = False
        self.is_cut_off = False
        """Whether gpg was not given all that it was to be given."""
        thread = ThreadPoolExecutor(1, "gpg")
        self.answer: Future[Any] = thread.submit(job, self)
        thread.shutdown(wait=False)

    def watch(self, process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
        """See to this process, which python-gnupg has just started."""
        self._process = process
        process.stdin = _Input(process.stdin, self)  # type: ignore[assignment, arg-type]
        for name in ("stdout", "stderr"):
            setattr(process, name, _Output(getattr(process, name), self._most_output, self._end_endless))
        if self._is_killed:
            process.kill()
        return process

    def result(self) -> Any:
        """What the call returns or raises, or ProgramMissing when it takes too long or says too much."""
        if wait([self.answer], self._patience).not_done:
            self.kill()
            raise broken("gpg hangs: it does not answer")
        if self._is_endless:
            raise broken("gpg writes without end")
        return self.answer.result()

    def end(self) -> None:
        """See gpg off, now that its input has ended: it goes by itself, or it is made to."""
        if wait([self.answer], _LEAVE_TIME).not_done:
            self.kill()

    def kill(self) -> None:
        """Kill gpg, and whatever it may have started."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()
        _kill_all(f"{_MARK}={self._mark}".encode())
        wait([self.answer], _LEAVE_TIME)

    def _end_endless(self) -> None:
        self._is_endless = True
        if self._process is not None:
            self._process.kill()


class _Gpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg, which starts processes and keeps them to itself, made to show them to a `Run`."""

    def __init__(self, run: Run, **options: Any) -> None:
        self.run = run
        super().__init__(**options)

    def _open_subprocess(self, *arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        return self.run.watch(super()._open_subprocess(*arguments, **options))


class _Input:
    """The input of gpg. What can't be written is noted: gpg would take the end of it for the end of the data."""

    def __init__(self, stream: BinaryIO, run: Run) -> None:
        self._stream = stream
        self._run = run
        self.close = stream.close

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except BaseException:
            self._run.is_cut_off = True
            raise


class _Output:
    """An output of gpg that ends, and says so to `exceeded`, when more than `most` bytes have come."""

    def __init__(self, stream: BinaryIO, most: int, exceeded: Callable[[], None]) -> None:
        self._stream = stream
        self._left = most
        self._exceeded = exceeded
        self.close = stream.close

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            self._exceeded()
            return b""
        return data


def _kill_all(mark: bytes) -> None:
    """Kill the processes with that in their environment.

    What a program in the place of gpg has started is no child of ours, so it is recognised by the mark that only
    that program was given.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The descriptor makes sure that what is killed is what was looked at.
            descriptor = os.pidfd_open(int(process.name))
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)
