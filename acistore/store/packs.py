"""Where packs are kept: five verbs, so that another place than a local directory can take them one day.

A pack never changes and its name is never used twice. Whoever writes one holds an flock on it from its first
byte until its transaction has committed; whoever deletes one must get that lock first and ask again whether the
pack is still unwanted. So a pack that is about to be referred to is never taken away.
"""

import contextlib
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from acistore.errors import StoreDamaged
from acistore.store.packfile import PackReader
from acistore.store.workspace import delete_unlocked, disk_size, open_plain, plain_names, sync_directory

SUFFIX = ".pack"


class PackStorage(Protocol):
    """The interface: put a finished pack, read one by ranges, list them, their size on disk, delete one."""

    def put(self, file: BinaryIO) -> str:
        """Takes over a finished, open pack file; it is durable, under the name returned, when this returns."""
        ...

    def open(self, name: str) -> contextlib.AbstractContextManager[PackReader]:
        """For reading at an offset. Raises FileNotFoundError when there is no such pack (any more)."""
        ...

    def list(self) -> list[str]: ...

    def size(self, name: str) -> int:
        """The bytes that it occupies on disk; 0 when it is gone."""
        ...

    def delete(self, name: str, *, unwanted: Callable[[], bool]) -> int:
        """Deletes a pack nobody is writing, if it is `unwanted` still; returns the bytes freed on disk."""
        ...


class LocalPacks:
    """Packs in a directory. Files become packs by being renamed into it, so they must be on its file system."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, file: BinaryIO) -> str:
        name = uuid.uuid4().hex + SUFFIX
        os.fsync(file.fileno())
        Path(file.name).rename(self._directory / name)
        sync_directory(self._directory)
        return name

    @contextmanager
    def open(self, name: str) -> Iterator[PackReader]:
        with open(self._directory / name, "rb", opener=open_plain) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreDamaged(f"pack {name} is no regular file")
            yield PackReader(file, name)

    def list(self) -> list[str]:
        return [name for name in plain_names(self._directory) if name.endswith(SUFFIX)]

    def size(self, name: str) -> int:
        return disk_size(self._directory / name)

    def delete(self, name: str, *, unwanted: Callable[[], bool]) -> int:
        return delete_unlocked(self._directory / name, unwanted=unwanted)


@contextmanager
def open_packs(packs: PackStorage, names: set[str]) -> Iterator[dict[str, PackReader]]:
    """All these packs, open at once: one that a garbage collection deletes meanwhile stays readable."""
    with contextlib.ExitStack() as stack:
        readers = {}
        for name in sorted(names):
            try:
                readers[name] = stack.enter_context(packs.open(name))
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise StoreDamaged(f"pack {name} can't be opened: {error.strerror}") from error
        yield readers
