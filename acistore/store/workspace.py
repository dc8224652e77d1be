"""The directories of a store on disk, and its private files: unfinished packs, and downloads on their way in.

A file here is locked (flock) by whoever is writing it; what is not locked was left behind and may be collected.
Who may read and write is what the store's own directory says, whatever the umask of whoever adds a file.
"""

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from acistore.errors import DiskFull, StoreUnavailable
from acistore.events import log_of

BUFFER = 1 << 20
# Bytes kept for the day when the disk is full, for what a removal has to write before it frees anything: so many
# at least, or this part of the database: the larger it is, the more of its pages one image is spread over.
RESERVE = 8 << 20
RESERVED_SHARE = 4
# The reserve is laid in only where this many times as much is free.
ROOM_FOR_RESERVE = 8

log = log_of(__name__)


class Workspace:
    """The places of a store. A new one belongs to its user alone: packs hold the content of every file, those
    that only root may read in an image too.

    Where its directory was opened to a group or to everybody (`chmod`), what is added is opened alike; `spool/`
    and `tmp/` at most to a group that may write. `writable` is whether this process may change the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "acistore.db"
        self.packs = root / "packs"
        self.spool = root / "spool"
        self.tmp = root / "tmp"
        self.reserve = root / "reserve"

    @property
    def writable(self) -> bool:
        """Whether this process may change what is there, or make what is not there yet.

        Root does not, where others may: whoever can replace a directory or a file under its hands could have it
        write to, or delete, what is theirs no more than ours.
        """
        places = [place for place in (self.root, self.database, self.packs) if place.exists()]
        return all(os.access(place, os.W_OK) for place in places) and not self.is_others

    @property
    def is_others(self) -> bool:
        """Whether we are root, and the store's directory belongs to somebody else, or others may write to it."""
        if os.geteuid() or not self.root.exists():
            return False
        status = self.root.stat()
        return bool(status.st_uid or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tells failures of the disk as what they mean for the store. Raises StoreUnavailable, DiskFull."""
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise self.full("the image as it is served and, until that is stored, its new content") from error
            raise StoreUnavailable(f"the store {self.root} can't be written: {error.strerror or error}") from error

    def full(self, needed: str) -> DiskFull:
        """The error for a disk that has too little room."""
        disk = os.statvfs(self._existing())
        if disk.f_files and not disk.f_favail:
            needed = "another file, of which the disk can't take any more (inodes)"
        return DiskFull(
            f"the disk of the store {self.root} has too little room",
            facts={"free": f"{self.free()} bytes", "needed": needed},
            next_step="acistore gc",
        )

    def free(self) -> int:
        """The bytes that this process may still write."""
        return shutil.disk_usage(self._existing()).free

    def _existing(self) -> Path:
        """The directory, or the nearest one that there is where it is to be made."""
        return next(place for place in (self.root, *self.root.parents) if place.exists())

    def disk_size(self) -> int:
        """The bytes on disk of everything in the store's directory that this process may look at."""
        return sum(disk_size(Path(top, name)) for top, _, names in os.walk(self.root) for name in names)

    def create(self) -> None:
        """Makes what is missing, and sees to who may use it. Raises StoreUnavailable, DiskFull."""
        self.create_directories()
        with self._making(), suppress(FileExistsError), open(self.database, "xb") as database:
            self._settle(database.fileno(), self._file_modes)
            os.fsync(database.fileno())
            sync_directory(self.root)

    def create_directories(self) -> None:
        """Makes the directories that are missing. Raises StoreUnavailable, DiskFull."""
        with self._making():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            if _made(self.root, 0o700):
                sync_directory(self.root.parent)
            modes = self._modes
            private = modes & 0o2770 if modes & stat.S_IWGRP else 0o700
            new = False
            for directory, mode in ((self.packs, modes), (self.spool, private), (self.tmp, private)):
                _refuse_link(directory)
                if _made(directory, mode):
                    with opened_directory(directory) as descriptor:
                        self._settle(descriptor, mode)
                    new = True
            if new:
                sync_directory(self.root)

    def refuse_odd_files(self) -> None:
        """Raises StoreUnavailable where a pipe, a link, a directory stands in place of the database."""
        for ending in ("", "-wal", "-shm"):
            path = self.database.with_name(self.database.name + ending)
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                raise StoreUnavailable(
                    f"{path} is no regular file", next_step="move it away, then: acistore verify --repair"
                )

    @contextmanager
    def _making(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise self.full("room for a few directories") from error
            raise StoreUnavailable(
                f"the store {self.root} can't be made: {error.strerror}",
                next_step="choose another place with --dir DIR",
            ) from error

    # --- who may use it

    @property
    def _modes(self) -> int:
        """Of a directory whose content anybody who may use the store may use."""
        return self.root.stat().st_mode & 0o2777 | 0o700

    @property
    def _file_modes(self) -> int:
        return self._modes & 0o666

    def _settle(self, descriptor: int, mode: int) -> None:
        """Gives what was just made, and is open, the mode and the group that it should have."""
        owner, status = self.root.stat(), os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
            raise OSError(errno.EMLINK, "a file of the store has a second name elsewhere")
        if status.st_uid != os.geteuid():
            return  # somebody else's, who was first
        if status.st_gid != owner.st_gid:
            with suppress(PermissionError):  # not a group of ours: the directory is not shared with it
                os.fchown(descriptor, -1, owner.st_gid)
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(descriptor, mode)

    # --- who is using it

    @contextmanager
    def in_use(self, *, alone: bool = False) -> Iterator[None]:
        """Holds the store as one of its users, or `alone`: to replace its database under nobody's feet.

        Waits for as long as others forbid it. Raises StoreUnavailable.
        """
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StoreUnavailable(f"the store {self.root} can't be read: {error.strerror}") from error
        try:
            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for other processes that use the store %s", self.root)
                fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    # --- the reserve

    def lay_in_reserve(self) -> None:
        """Sees that the reserve is there, if there is ample room for it."""
        try:
            wanted = max(RESERVE, self.database.stat().st_size // RESERVED_SHARE)
            if disk_size(self.reserve) >= wanted * 3 // 4 or self.free() < wanted * ROOM_FOR_RESERVE:
                return
            with open(self.reserve, "ab", opener=open_or_make) as file:
                self._settle(file.fileno(), self._file_modes)
                os.posix_fallocate(file.fileno(), 0, wanted)
        except OSError as error:
            log.debug("no reserve is kept in %s: %s", self.root, error.strerror)

    def give_up_reserve(self) -> bool:
        """Frees the reserve, for what has to be written on a full disk; whether there was one."""
        try:
            self.reserve.unlink()
        except OSError:
            return False
        return True

    # --- files

    @contextmanager
    def scratch(self) -> Iterator[BinaryIO]:
        """A new locked file in `tmp/`, which is private; gone at the end unless it was renamed away."""
        path = self.tmp / uuid.uuid4().hex
        with _lock_named(path) as file:
            try:
                self._settle(file.fileno(), self._file_modes)
                yield file
            finally:
                path.unlink(missing_ok=True)

    def settle_file(self, descriptor: int) -> None:
        """Sees to who may use a file that was just made, and is open."""
        self._settle(descriptor, self._file_modes)


@contextmanager
def _lock_named(path: Path) -> Iterator[BinaryIO]:
    """Makes and locks a file that a collection may lock and unlink: again, until it is the one named so."""
    while True:
        with open(path, "r+b", buffering=BUFFER, opener=open_or_make) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_named(file, path):
                yield file
                return


def open_or_make(path: str, flags: int) -> int:
    """Opens a file, or makes it; no link is followed, and no pipe waited for."""
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _made(directory: Path, mode: int) -> bool:
    """Makes a directory if it is missing; whether it was."""
    try:
        directory.mkdir(mode=mode)
    except FileExistsError:
        return False
    return True


def _refuse_link(directory: Path) -> None:
    """What is written into a store must not end up elsewhere. Raises StoreUnavailable."""
    if directory.is_symlink():
        raise StoreUnavailable(
            f"{directory} is a symbolic link, and files are only written into a store's own directories",
            next_step="mount or move the whole store instead",
        )


def is_named(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one that its name leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_full(error: OSError) -> bool:
    """Whether the system says that there is no room on the disk, or none left for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def delete_unlocked(path: Path, *, unwanted: Callable[[], bool], beside: str | None = None) -> int:
    """Deletes a file nobody has locked, if it is `unwanted` still, and the file named `beside` that goes with it.
    Returns the bytes freed on disk."""
    try:
        with opened_directory(path.parent) as directory:
            descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
                named = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
                if not os.path.samestat(status, named) or not unwanted():
                    return 0
                if beside is not None:
                    with suppress(OSError):  # whatever somebody has put there
                        os.unlink(beside, dir_fd=directory)
                os.unlink(path.name, dir_fd=directory)
                return status.st_blocks * 512
            finally:
                os.close(descriptor)
    except (BlockingIOError, FileNotFoundError):
        return 0
    except PermissionError as error:
        log.warning("%s can't be deleted: %s", path, error.strerror)
        return 0


@contextmanager
def opened_directory(directory: Path) -> Iterator[int]:
    """A directory itself, open, and no link to another one."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def plain_files(directory: Path) -> list[Path]:
    """The regular files of a directory that this process may look into: no links, pipes or whatever else somebody
    has put there."""
    try:
        return [directory / name for name in plain_names(directory)]
    except PermissionError:
        return []


def plain_names(directory: Path) -> list[str]:
    """The names of the regular files of a directory, none where it is missing. Raises PermissionError."""
    try:
        with opened_directory(directory) as descriptor, os.scandir(descriptor) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def disk_size(path: Path) -> int:
    """The bytes that a file occupies on disk; 0 when it is gone."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def sync_directory(directory: Path) -> None:
    """Makes names that were created in or renamed into a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
