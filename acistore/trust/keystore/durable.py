"""Files and directories that survive a power cut, readable by all, whatever the umask. Each raises OSError."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_file(content: bytes, directory: Path) -> Iterator[Path]:
    """A finished file in a directory, to be moved to where it belongs; when it is not, it goes again."""
    descriptor, name = tempfile.mkstemp(prefix=".acistore-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def move(file: Path, path: Path) -> None:
    """Put a finished file in its place, in the same file system, in the stead of what was there."""
    file.replace(path)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory, unless there is one."""
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o755)
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names that came or went in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
