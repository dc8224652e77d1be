"""Downloads on their way in: one file a source (a URL), locked while somebody writes it, private.

What broke off may stay: the file, and beside it (`.json`) a note of what it is a part of, for whoever asks for the
rest, to make sure that it is the rest of the same. Nothing here knows HTTP, or what the bytes are worth.
"""

import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from acistore.store.workspace import (
    BUFFER,
    Workspace,
    delete_unlocked,
    disk_size,
    is_named,
    open_or_make,
    open_plain,
    plain_names,
)

NOTE_SUFFIX = ".json"
# A note is a few short values; what is longer is none.
_LARGEST_NOTE = 1 << 16
# Seconds between two looks at a lock, where the one who waits can be called off.
_POLL = 0.05


class SpoolFile(io.BufferedRandom):
    """The open file. Deleted at the end, unless `keep` is set and there is a note of what it is a part of."""

    def __init__(self, descriptor: int, path: Path, source: str) -> None:
        super().__init__(io.FileIO(descriptor, "r+b"), BUFFER)
        self._path = path
        self.note_path = path.with_name(path.name + NOTE_SUFFIX)
        self._source = source
        self.note: Mapping[str, str] | None = None
        self.keep = False

    @property
    def size(self) -> int:
        """Bytes that are in it."""
        self.flush()
        return os.fstat(self.fileno()).st_size

    def begin(self, note: Mapping[str, str] | None) -> None:
        """Empties it, for something of which the note tells; None for what can't be gone on with."""
        self._forget()
        self.seek(0)
        self.truncate()
        if note is not None:
            # Made anew, so that it belongs to whoever writes now.
            with open(self.note_path, "x", opener=_private) as file:
                json.dump({"source": self._source, "note": note}, file)
            self.note = note

    def resume(self) -> None:
        """Takes up what was left earlier, or else empties the file."""
        self.note = _read_note(self.note_path, self._source) if self.size else None
        if self.note is None:
            self.begin(None)
        else:
            self.seek(0, os.SEEK_END)

    def settle(self) -> None:
        """The end of it: what may be gone on with stays, all else is deleted."""
        try:
            if self.keep and self.note is not None and self.size:
                return
        except OSError:
            pass  # what can't be written can't be gone on with
        self._forget()
        self._path.unlink(missing_ok=True)

    def _forget(self) -> None:
        self.note = None
        self.note_path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What may go. `size` is bytes on disk; `is_download` is False for a note that lost its file; `delete` returns
    the bytes that it has freed, none when somebody has taken it up meanwhile."""

    size: int
    is_download: bool
    delete: Callable[[], int]


class Spool:
    """The downloads of a store, one file a source."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._notes: set[Path] = set()  # of what was on its way here, as far as it was not used or given up

    @contextmanager
    def file(
        self,
        source: str,
        *,
        waiting: Callable[[], object],
        pause: Callable[[float], object] = time.sleep,
        resume: bool = False,
    ) -> Iterator[SpoolFile]:
        """A private file for downloading `source`, locked against others that fetch it; gone at the end, unless
        its `keep` is set. With `resume` it begins with what was kept earlier.

        `waiting` is called when somebody else has it, who is then waited for, with `pause(seconds)` again and
        again, which may raise to give up. Raises StoreUnavailable, also for what the disk refuses while the file
        is written.
        """
        with self._workspace.writing(), _locked(self._path(source), source, waiting, pause) as file:
            try:
                self._workspace.settle_file(file.fileno())
                self._notes.add(file.note_path)
                if resume:
                    file.resume()
                else:
                    file.begin(None)
                yield file
            finally:
                file.settle()
                if file.note is None:
                    self._notes.discard(file.note_path)

    @property
    def is_kept(self) -> bool:
        """Whether anything is kept of what was on its way here, with which a fetch can go on."""
        return any(map(os.path.exists, tuple(self._notes)))

    def kept_of(self, source: str) -> int:
        """The bytes that are kept of a source."""
        try:
            return self._path(source).stat().st_size
        except OSError:
            return 0

    def forget(self, source: str) -> None:
        """Deletes what was kept of a download of `source` that broke off, unless somebody is at it."""
        _delete(self._path(source), unwanted=lambda: True)

    def leftovers(self, now: float, grace_period: float) -> Iterator[Leftover]:
        """What nobody has written to within the grace period (seconds) before `now` (seconds since 1970)."""
        names = set(_plain(self._workspace.spool))
        for name in sorted(names):
            path = self._workspace.spool / name
            is_note = name.endswith(NOTE_SUFFIX)
            if is_note and name.removesuffix(NOTE_SUFFIX) in names:
                continue  # goes with its file
            is_old = partial(_is_old, path, now, grace_period)
            if is_old():
                yield Leftover(_size(path), not is_note, partial(_delete, path, is_old))

    def disk_size(self) -> int:
        """The bytes on disk of all downloads that are not complete, those that are running included."""
        return sum(disk_size(self._workspace.spool / name) for name in _plain(self._workspace.spool))

    def _path(self, source: str) -> Path:
        return self._workspace.spool / hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()


@contextmanager
def _locked(
    path: Path, source: str, waiting: Callable[[], object], pause: Callable[[float], object]
) -> Iterator[SpoolFile]:
    """Opens, or makes, and locks the file: again, until it is the one of that name."""
    told = False
    while True:
        with SpoolFile(open_or_make(str(path), os.O_RDWR | os.O_CLOEXEC), path, source) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    waiting()
                    told = True
                pause(_POLL)
                continue
            if is_named(file, path):
                yield file
                return


def _delete(path: Path, unwanted: Callable[[], bool]) -> int:
    size = _size(path)
    delete_unlocked(path, unwanted=unwanted, beside=path.name + NOTE_SUFFIX)
    return 0 if os.path.lexists(path) else size


def _size(path: Path) -> int:
    """The bytes on disk of a file and its note."""
    return disk_size(path) + disk_size(path.with_name(path.name + NOTE_SUFFIX))


def _plain(directory: Path) -> list[str]:
    try:
        return plain_names(directory)
    except PermissionError:
        return []


def _is_old(path: Path, now: float, grace_period: float) -> bool:
    """Whether the last write is so long ago, or so far in the future: a clock was wrong then, and the file would
    stay until it is right."""
    try:
        return abs(now - path.stat().st_mtime) >= grace_period
    except FileNotFoundError:
        return False


def _read_note(path: Path, source: str) -> Mapping[str, str] | None:
    """What was noted of a file; None for whatever can't be that."""
    try:
        with open(path, "rb", opener=open_plain) as file:
            noted = json.loads(file.read(_LARGEST_NOTE))
        note = dict(noted["note"])
        is_its = noted["source"] == source
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return note if is_its and all(isinstance(text, str) for text in note.values()) else None


def _private(path: str, flags: int) -> int:
    Path(path).unlink(missing_ok=True)
    return os.open(path, flags | os.O_NOFOLLOW | os.O_EXCL, 0o600)
