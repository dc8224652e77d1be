"""The directories of a store on disk, and its private files: unfinished packs, and downloads on their way in.

A file here is locked (flock) by whoever is writing it; what is not locked was left behind and may be collected.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from acistore.errors import StoreUnavailable

BUFFER = 1 << 20


class Workspace:
    """The places of a store. A new one belongs to its user alone: packs hold the content of every file, those
    that only root may read in an image too. `spool/` and `tmp/` are private even where the rest is opened up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "acistore.db"
        self.packs = root / "packs"
        self.spool = root / "spool"
        self.tmp = root / "tmp"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tells failures of the disk as what they mean for the store. Raises StoreUnavailable."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreUnavailable(
                    f"the disk of the store {self.root} has too little room",
                    facts={
                        "free": f"{shutil.disk_usage(self.root).free} bytes",
                        "needed": "the image as it is served and, until that is stored, its new content as well",
                    },
                    next_step="acistore gc",
                ) from error
            raise StoreUnavailable(f"the store {self.root} can't be written: {error.strerror or error}") from error

    def create(self) -> None:
        """Makes the directories that are missing. Raises StoreUnavailable."""
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
            self.packs.mkdir(exist_ok=True)
            for directory in (self.spool, self.tmp):
                directory.mkdir(mode=0o700, exist_ok=True)
            for directory in (self.packs, self.spool, self.tmp):
                _refuse_link(directory)
        except OSError as error:
            raise StoreUnavailable(
                f"the store {self.root} can't be made: {error.strerror}",
                next_step="choose another place with --dir DIR",
            ) from error

    @contextmanager
    def scratch(self) -> Iterator[BinaryIO]:
        """A new locked file in `tmp/`, which is private; gone at the end unless it was renamed away."""
        path = self.tmp / uuid.uuid4().hex
        with _lock_named(path, waiting=lambda: None) as file:
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)

    @contextmanager
    def spool_file(self, source: str, *, waiting: Callable[[], object]) -> Iterator[BinaryIO]:
        """The one spool file for a source (a URL), empty and locked; gone at the end.

        Another process that fetches the same source is waited for, after `waiting` was called.
        """
        path = self.spool / hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
        with _lock_named(path, waiting) as file:
            file.truncate(0)
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)


@contextmanager
def _lock_named(path: Path, waiting: Callable[[], object]) -> Iterator[BinaryIO]:
    """Opens, or makes, and locks a file that others may lock and unlink: again, until it is the one named so."""
    while True:
        with open(path, "r+b", buffering=BUFFER, opener=_open_or_make) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, path):
                yield file
                return


def _open_or_make(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _refuse_link(directory: Path) -> None:
    """What is written into a store must not end up elsewhere. Raises StoreUnavailable."""
    if directory.is_symlink():
        raise StoreUnavailable(
            f"{directory} is a symbolic link, and files are only written into a store's own directories",
            next_step="mount or move the whole store instead",
        )


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def delete_unlocked(path: Path, *, unwanted: Callable[[], bool]) -> int:
    """Deletes a file nobody has locked, if it is `unwanted` still; returns the bytes freed on disk."""
    try:
        with open(path, "rb", opener=_open_plain) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_named(file, path) or not unwanted():
                return 0
            freed = disk_size(path)
            path.unlink()
            return freed
    except (BlockingIOError, FileNotFoundError):
        return 0


def plain_files(directory: Path) -> list[Path]:
    """The regular files of a directory: no links, pipes or whatever else somebody has put there."""
    return sorted(path for path in directory.iterdir() if path.is_file() and not path.is_symlink())


def disk_size(path: Path) -> int:
    """The bytes that a file occupies on disk; 0 when it is gone."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def sync_directory(directory: Path) -> None:
    """Makes names that were created in or renamed into a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
