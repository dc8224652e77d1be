"""The one place that talks to GnuPG: keys and signatures in, facts out.

gpg runs through python-gnupg, in a home of its own that is thrown away afterwards, with an environment of its
own, without agent, network, configuration files or locale; only its status lines and its colon listing are
read. Which keys are given, and what follows from the facts, is up to the caller.
"""

import copy
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Any, BinaryIO, Self

import gnupg

from acistore.errors import FileUnusable, KeyRefused, ProgramMissing
from acistore.trust.keys import PublicKey, read_listing
from acistore.trust.packets import KeyBlock, Signature, read_key_blocks
from acistore.trust.results import SignatureResult, StatusLine, Unreadable, read_results

_log = logging.getLogger("acistore.trust")

PATIENCE = 30.0
"""Seconds that gpg may take to answer, or to accept the next piece of data."""

_LEAVE_TIME = 1.0  # seconds for a process to go once it has no more to do
_MARK = "ACISTORE_RUN"
_PIECE = 1 << 20
_PIECES_AHEAD = 8

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


def read_keys(material: bytes) -> tuple[PublicKey, ...]:
    """The public keys in a file, armored or binary, as gpg sees them; at least one.

    Keys that gpg doesn't accept are left out with a warning. Raises KeyRefused (no keys, or secret ones among
    them), ProgramMissing.
    """
    blocks = read_key_blocks(material)
    known = describe(blocks)
    for block in blocks:
        if block not in known:
            _log.warning("key %s is left out: gpg does not accept it", block.fingerprint)
    if not known:
        raise KeyRefused("gpg accepts none of the keys: no user ID that its owner has signed")
    return tuple(known[block] for block in blocks if block in known)


def describe(blocks: Iterable[KeyBlock]) -> dict[KeyBlock, PublicKey]:
    """What gpg says of each key; those that it doesn't accept are missing. Raises ProgramMissing."""
    # A keyring can tell apart keys, but not versions of one key: those get a keyring each.
    keyrings: list[dict[str, KeyBlock]] = []
    for block in dict.fromkeys(blocks):
        free = (ring for ring in keyrings if block.fingerprint not in ring)
        if (ring := next(free, None)) is None:
            keyrings.append(ring := {})
        ring[block.fingerprint] = block
    known: dict[KeyBlock, PublicKey] = {}
    for ring in keyrings:
        with Keyring(ring.values()) as keyring:
            known |= {key.block: key for key in keyring.keys.values()}
    return known


class Keyring:
    """Keys that gpg has taken in, to check signatures against. Used as a context manager.

    Of several versions of one key gpg merges what it can. `patience` is in seconds, see PATIENCE. Raises
    ProgramMissing when gpg is not there, doesn't work or doesn't answer.
    """

    def __init__(self, blocks: Iterable[KeyBlock], *, patience: float = PATIENCE) -> None:
        self._program = _Program(patience)
        self._unfinished: set[Verification] = set()
        self.keys: Mapping[str, PublicKey] = {}
        """By fingerprint of the primary key: those that gpg has accepted."""
        given = tuple(blocks)
        try:
            if given:
                self.keys = self._taken_in(given)
        except BaseException:
            self.close()
            raise

    def _taken_in(self, blocks: Sequence[KeyBlock]) -> dict[str, PublicKey]:
        packets = b"".join(block.packets for block in blocks)
        run = self._program.call(
            lambda gpg: gpg.import_keys(packets, extra_args=["--import-options", "import-show"])
        )
        with suppress(OSError, ValueError):
            run.result()
        if not any(keyword == "IMPORT_RES" for keyword, _ in run.statuses.lines):
            raise _broken("gpg has not imported the keys")
        # IMPORT_OK <what is new> <fingerprint>. The listing has the keys that were turned down as well.
        accepted = [value.lower().split()[-1:] for word, value in run.statuses.lines if word == "IMPORT_OK"]
        try:
            listed = read_listing(run.statuses.data, {block.fingerprint: block for block in blocks})
            return {key.fingerprint: key for key in listed if [key.fingerprint] in accepted}
        except (ValueError, LookupError):
            raise _broken("gpg lists keys in a form that is not known") from None

    def verification(self, signatures: Sequence[Signature]) -> "Verification":
        """A check of signatures over data that is still to come. Raises FileUnusable."""
        verification = Verification(self._program, self._unfinished, tuple(signatures), self.keys)
        self._unfinished.add(verification)
        return verification

    def verify(self, signatures: Sequence[Signature], data: BinaryIO) -> tuple[SignatureResult, ...]:
        """Check signatures over all that `data` has from where it stands. Raises ProgramMissing."""
        with self.verification(signatures) as verification:
            while piece := data.read(_PIECE):
                verification.feed(piece)
            return verification.finish()

    def close(self) -> None:
        """End what still runs and remove the home."""
        for verification in tuple(self._unfinished):
            verification.abort()
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Verification:
    """One gpg that hashes data as it arrives, and then says what it thinks of the signatures.

    For one thread at a time. Ends with `finish` or `abort`; as a context manager it aborts what was not
    finished.
    """

    def __init__(
        self,
        program: "_Program",
        unfinished: "set[Verification]",
        signatures: tuple[Signature, ...],
        keys: Mapping[str, PublicKey],
    ) -> None:
        self._signatures = signatures
        self._keys = keys
        self._unfinished = unfinished
        self._patience = program.patience
        self._pipe = _Pipe()
        path = program.write(b"".join(signature.packet for signature in signatures))
        # In batch mode gpg stops at the first signature that is bad or has expired, and outside of it takes no
        # log file; text for people goes to the other channel then. The data comes through standard input.
        options = ["--no-batch", "--logger-fd", "1", path, "-"]
        self._run = program.call(lambda gpg: gpg.verify_file(self._pipe, extra_args=options))
        # A gpg that is gone reads no more: whoever waits for room in the pipe must not wait for ever.
        self._run.answer.add_done_callback(lambda _: self._pipe.close())

    def feed(self, data: bytes) -> None:
        """The next piece of the data, of any length. Raises ProgramMissing when gpg doesn't take it."""
        if not self._pipe.write(data, self._patience):
            self._run.kill()
            raise _broken("gpg hangs: it does not read what it has to check")

    def finish(self) -> tuple[SignatureResult, ...]:
        """The data is complete: one result per signature, in their order. Raises ProgramMissing."""
        if self not in self._unfinished:
            raise RuntimeError("a verification ends once, and what was given up has no result")
        self._unfinished.discard(self)
        self._pipe.close()
        # A gpg that went away early makes python-gnupg stumble over the pipe: the status lines tell.
        with suppress(OSError, ValueError):
            self._run.result()
        try:
            return read_results(self._run.statuses.lines, self._signatures, self._keys)
        except Unreadable:
            raise _broken("gpg ended before it had checked every signature") from None

    def abort(self) -> None:
        """The data will not become complete: no verdict is wanted any more."""
        if self in self._unfinished:
            self._unfinished.discard(self)
            self._pipe.close()
            self._run.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def _broken(problem: str, detail: str | None = None) -> ProgramMissing:
    return ProgramMissing(
        problem, facts={"gpg says": detail} if detail else None, next_step="apt-get install --reinstall gnupg"
    )


class _Statuses:
    """What python-gnupg hands the status lines to, instead of its own reading of them."""

    def __init__(self) -> None:
        self.lines: list[StatusLine] = []
        self.data = b""

    def handle_status(self, keyword: str, value: str) -> None:
        self.lines.append((keyword, value))


class _Pipe:
    """A bounded pipe between two threads, which either end can close. The reading end is python-gnupg's."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._closed = False
        self._changed = Condition()

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
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Program:
    """gpg in its throw-away home."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
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

    def _started(self, binary: str) -> Any:
        def make(run: _Run) -> Any:
            home, environment = self._home.name, run.environment
            return gnupg.GPG(gpgbinary=binary, gnupghome=home, options=_OPTIONS, env=environment)

        run = _Run(make, self._environment, self.patience)
        try:
            gpg = run.result()
        except (OSError, ValueError) as error:
            raise _broken("gpg can't be run", str(error)) from None
        # User IDs and signatures bring bytes of their own into status lines. Where a byte may become a line
        # break, as 0x85 does in Latin-1, they could forge whole lines; in this character set none does.
        gpg.encoding = "cp437"
        gpg.buffer_size = _PIECE
        return gpg

    def call(self, job: Callable[[Any], Any]) -> "_Run":
        """Begin a job for gpg; several can go on at once."""

        def with_gpg(run: _Run) -> Any:
            gpg = copy.copy(self._gpg)
            gpg.env = run.environment
            gpg.result_map = dict.fromkeys(gpg.result_map, lambda _: run.statuses)
            return job(gpg)

        return _Run(with_gpg, self._environment, self.patience)

    def write(self, content: bytes) -> str:
        """The path of a new file in the home. Raises FileUnusable."""
        path = Path(self._home.name, secrets.token_hex(8))
        try:
            path.write_bytes(content)
        except OSError as error:
            raise FileUnusable(f"{path} can't be written: {error.strerror}") from None
        return str(path)

    def close(self) -> None:
        self._home.cleanup()


class _Run:
    """One process of gpg, seen to by a thread of its own, so that it can be given up."""

    def __init__(self, job: Callable[["_Run"], Any], environment: Mapping[str, str], patience: float) -> None:
        self.statuses = _Statuses()
        self._mark = secrets.token_hex(16)
        self.environment = {**environment, _MARK: self._mark}
        self._patience = patience
        thread = ThreadPoolExecutor(1, "gpg")
        self.answer: Future[Any] = thread.submit(job, self)
        thread.shutdown(wait=False)

    def result(self) -> Any:
        """What the call returns or raises, or ProgramMissing when it takes too long."""
        try:
            return self.answer.result(self._patience)
        except TimeoutError:
            self.kill()
            raise _broken("gpg hangs: it does not answer") from None

    def end(self) -> None:
        """See gpg off, now that its input has ended: it goes by itself, or it is made to."""
        if wait([self.answer], _LEAVE_TIME).not_done:
            self.kill()

    def kill(self) -> None:
        """Kill gpg, and whatever it may have started."""
        _kill_all(f"{_MARK}={self._mark}".encode())
        wait([self.answer], _LEAVE_TIME)


def _kill_all(mark: bytes) -> None:
    """Kill the processes with that in their environment.

    python-gnupg doesn't give its process away, so it is recognised by the mark that only it was given.
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
