"""Changes to the files of the trust store: put in place whole or not at all, one process at a time.

Below `trustedkeys/` there is never anything but directories and finished files: rkt refuses a key store with a
stray file in it. What is to be changed is decided elsewhere.
"""

import errno
import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from acistore.errors import FileUnusable
from acistore.trust.keys import Layer, Place, scheme_of
from acistore.trust.keystore.durable import make_directory, move, new_file, sync_directory
from acistore.trust.keystore.keyfiles import key_directory, link_on_the_way
from acistore.trust.keystore.origins import Origin, change_origins
from acistore.trust.places import note_of


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one file: its new content, empty for a mask, or None when it goes.

    `origin` is noted of a key from now on; None leaves what is noted of it as it is. Of a mask, and of what goes,
    nothing is noted.
    """

    place: Place
    content: bytes | None
    origin: Origin | None = None


@contextmanager
def changing(directories: Mapping[Layer, Path], layers: Collection[Layer]) -> Iterator[None]:
    """Holds layers, so that nobody else changes them meanwhile. Raises FileUnusable for whatever can't be written,
    here and in what is done inside.

    What is changed has to be read inside: before, it may be changed by somebody else.
    """
    # Always in the same order, so that two can't wait for each other.
    held = [directory for layer, directory in directories.items() if layer in layers]
    try:
        with ExitStack() as stack:
            for directory in held:
                stack.enter_context(_held(directory))
            yield
    except OSError as error:
        where = error.filename or ", ".join(map(str, held))
        raise FileUnusable(f"{where} can't be changed: {error.strerror}") from error


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    make_directory(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def apply(directories: Mapping[Layer, Path], changes: Sequence[Change]) -> None:
    """Make changes in layers that are held, all or none, unless the disk fails in between. Raises OSError."""
    there = [change for change in changes if change.content is not None or os.path.lexists(change.place.path)]
    with ExitStack() as stack:
        prepared = [(stack.enter_context(_prepared(directories, change)), change) for change in there]
        for file, change in prepared:
            if file is not None:
                move(file, change.place.path)
            else:
                change.place.path.unlink(missing_ok=True)
                sync_directory(change.place.path.parent)
    for layer, directory in directories.items():
        _note(directory, [change for change in changes if change.place.layer == layer])


@contextmanager
def _prepared(directories: Mapping[Layer, Path], change: Change) -> Iterator[Path | None]:
    """What is to be put in place, when all is done that can fail before; None for a file that is to go."""
    path, root = change.place.path, directories[change.place.layer]
    if change.content is not None:
        _make_way(root, change.place)
    if path.is_dir() and not path.is_symlink():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    if change.content is None:
        yield None
        return
    # `trustedkeys` may be a link into another file system, and files can be moved only within one.
    with new_file(change.content, (root / "trustedkeys").resolve().parent) as file:
        yield file


def _make_way(root: Path, place: Place) -> None:
    """Make the directories that a file needs, as far as they are missing."""
    directory = key_directory(root, place.prefix, scheme_of(place.fingerprint))
    missing = [directory, *directory.parents]
    for path in reversed(missing[: missing.index(root)]):
        make_directory(path)
    if link := link_on_the_way(root, place.prefix, scheme_of(place.fingerprint)):
        raise OSError(errno.ENOTDIR, "Is a symbolic link to a directory", str(link))


def _note(root: Path, changes: Sequence[Change]) -> None:
    added = {note_of(change.place): change.origin for change in changes if change.content and change.origin}
    gone = [note_of(change.place) for change in changes if not change.content]
    if added or gone:
        change_origins(root, added, gone)
