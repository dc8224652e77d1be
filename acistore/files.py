"""Files of this machine, read as far as somebody wants to: what lies at a path may be anything. And their disk."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

from acistore.errors import DiskFull, FileUnusable, LimitExceeded


class _File(Protocol):
    def fileno(self) -> int: ...


class NotRegular(OSError):
    """What lies there is not a regular file."""


def open_regular(path: Path) -> BinaryIO:
    """Opens a file that nobody has named, and that may be anything: a pipe would hold everything up.

    Raises OSError, and NotRegular for what is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegular(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bounded(path: Path, called: str, *, limit: int, option: str, regular: bool = False) -> bytes:
    """The content of a file that is `called` so in messages, of at most `limit` bytes, as `option` has it.

    `regular`: nobody has named it. Raises FileUnusable (its cause is the OSError), LimitExceeded.
    """
    try:
        with open_regular(path) if regular else path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FileUnusable(f"{called} can't be read: {error.strerror}") from error
    if len(content) > limit:
        raise LimitExceeded(f"{called} is larger than {limit} bytes", option=option)
    return content


def require_room(what: str, size: int | None, into: _File) -> None:
    """Raises DiskFull, before the first byte, where it is known that a file's disk can't take so many more."""
    try:
        disk = os.fstatvfs(into.fileno())
    except OSError:
        return  # not a file on a disk
    free = disk.f_bavail * disk.f_frsize
    if size is not None and size > free:
        raise DiskFull(
            f"the disk has too little room for {what}",
            facts={"free": f"{free} bytes", "needed": f"{size} bytes, and more when it is stored"},
            next_step="acistore gc",
        )
