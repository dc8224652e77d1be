"""Key files in the format of rkt's key store: the directories read, a file put in place.

A file is named by the lower-case fingerprint of its key and holds one armored public key; an empty one masks
that fingerprint. What is not in order is told in a warning and trusted in nothing.
"""

import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acistore.errors import InvalidName, KeyRefused
from acistore.naming import check_identifier, parents, quoted
from acistore.trust.keys import Layer, Place, TrustedKey
from acistore.trust.packets import KeyBlock, read_key_blocks

_log = logging.getLogger("acistore.trust")

_FILE_NAME = re.compile(r"[0-9a-f]{40}")


def check_prefix(prefix: str) -> str:
    """Return `prefix` when keys can be trusted for it, else raise InvalidName."""
    if not _is_plain(check_identifier(prefix, "a prefix")):
        raise InvalidName(f"{quoted(prefix)} is not a prefix: it has an empty component, or one of dots")
    return prefix


def _is_plain(prefix: str) -> bool:
    """Whether a prefix has a directory of its own; identifiers such as `a//b` and `a/../b` have none."""
    return not {"", ".", ".."}.intersection(prefix.split("/"))


class Reading:
    """One look at all layers: each directory is read at most once, and each warning given once.

    `key_size` is the most that a key file may hold, in bytes.
    """

    def __init__(self, directories: Mapping[Layer, Path], key_size: int) -> None:
        self._directories = directories
        self._key_size = key_size
        self._files: dict[tuple[Layer, str | None], list[_KeyFile]] = {}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, each before those that override it."""
        return tuple(self._directories)

    def accepted(self, name: str | None) -> dict[str, TrustedKey]:
        """The keys in force for a name, or with None those in force for every name, by fingerprint.

        rkt's order: all root keys by layer, then layer by layer all prefixes, the shortest first. What comes
        later overrides or masks what came before, so a mask under a prefix reaches the root keys too. A
        damaged file masks like an empty one: somebody meant to replace what lies below it.
        """
        trusted: dict[str, TrustedKey] = {}
        for file in self._files_for(name):
            if file.block is None:
                trusted.pop(file.place.fingerprint, None)
            else:
                trusted[file.place.fingerprint] = TrustedKey(file.block, file.place)
        return trusted

    def masked(self, name: str) -> set[str]:
        """The fingerprints that a mask in any layer takes away for a name, whatever else holds them."""
        return {file.place.fingerprint for file in self._files_for(name) if file.is_mask}

    def _files_for(self, name: str | None) -> "Iterator[_KeyFile]":
        """The key files that have a say for a name, or with None for every name, in rkt's order."""
        prefixes = [] if name is None else [prefix for prefix in reversed(parents(name)) if _is_plain(prefix)]
        order: list[tuple[Layer, str | None]] = [(layer, None) for layer in self.layers]
        order += [(layer, prefix) for layer in self.layers for prefix in prefixes]
        return (file for place in order for file in self._read(*place))

    def keys(self, layer: Layer, prefix: str | None) -> Iterator[TrustedKey]:
        """The keys of one directory, whether or not they are in force."""
        for file in self._read(layer, prefix):
            if file.block is not None:
                yield TrustedKey(file.block, file.place)

    def places(self, layer: Layer, prefix: str | None) -> Iterator[Place]:
        """The files of one directory that are named like keys and are no masks, damaged ones too."""
        return (file.place for file in self._read(layer, prefix) if not file.is_mask)

    def prefixes(self) -> tuple[str, ...]:
        """Every prefix that has a directory in some layer, sorted."""
        found: set[str] = set()
        for directory in self._directories.values():
            top = directory / "trustedkeys" / "prefix.d"
            # os.walk follows no symbolic links, so this ends.
            for path, names, files in os.walk(top):
                found.update(_prefixes(Path(path).relative_to(top), names))
                if Path(path) == top:
                    for name in files:
                        _warn(top / name, "it lies under no prefix")
        return tuple(sorted(found))

    def _read(self, layer: Layer, prefix: str | None) -> "list[_KeyFile]":
        if (layer, prefix) not in self._files:
            directory = _directory(self._directories[layer], prefix)
            files = (_key_file(path, prefix, layer, self._key_size) for path in _file_paths(directory))
            self._files[layer, prefix] = [file for file in files if file is not None]
        return self._files[layer, prefix]


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """A file that is named like a key. `block` is None when it masks, or isn't what its name says."""

    place: Place
    block: KeyBlock | None
    is_mask: bool


def _prefixes(above: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        prefix = (above / name).as_posix()
        try:
            yield check_prefix(prefix)
        except InvalidName:
            _warn(Path("prefix.d", prefix), "no image can have such a name")


def _directory(root: Path, prefix: str | None) -> Path:
    top = root / "trustedkeys"
    return top / "root.d" if prefix is None else top / "prefix.d" / prefix


def _link_on_the_way(directory: Path) -> Path | None:
    """A symbolic link below `prefix.d` that leads to the directory: keys of one name must not serve another."""
    for path in (directory, *directory.parents):
        if path.name in ("prefix.d", "root.d"):
            return None
        if path.is_symlink():
            return path
    return None


def _file_paths(directory: Path) -> list[Path]:
    if link := _link_on_the_way(directory):
        _warn(link, "it is a symbolic link to a directory")
        return []
    try:
        entries = [entry for entry in os.scandir(directory) if not entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _warn(directory, f"it can't be read: {error.strerror}")
        return []
    return sorted(Path(entry.path) for entry in entries)


def _key_file(path: Path, prefix: str | None, layer: Layer, size_limit: int) -> _KeyFile | None:
    content: bytes | None = None
    try:
        content = _content(path, size_limit)
    except _Unusable as problem:
        _warn(path, str(problem))
    if _FILE_NAME.fullmatch(path.name):
        block = _named_block(path, content) if content else None
        return _KeyFile(Place(path.name, prefix, layer, path), block, is_mask=content == b"")
    if content:
        _warn(path, "it is not named by a fingerprint in lower-case hexadecimal digits")
    return None


def _named_block(path: Path, content: bytes) -> KeyBlock | None:
    try:
        blocks = read_key_blocks(content)
    except KeyRefused as error:
        _warn(path, error.message)
        return None
    named = [block for block in blocks if block.fingerprint == path.name]
    if not named:
        _warn(path, f"it holds another key than its name says, {blocks[0].fingerprint}")
        return None
    return named[0]


class _Unusable(Exception):
    """Why a file can't be read."""


def _content(path: Path, size_limit: int) -> bytes:
    try:
        # Without O_NONBLOCK a named pipe would hold everything up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unusable("it is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(size_limit + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _Unusable(f"it can't be read: {error.strerror}") from None
    if len(content) > size_limit:
        raise _Unusable(f"it is larger than {size_limit} bytes")
    return content


def _warn(path: Path, problem: str) -> None:
    _log.warning("%s is not trusted: %s", path, problem)


def new_directory(root: Path, prefix: str | None) -> Path:
    """The directory of a prefix, or of the root keys, made where it is missing. Raises OSError."""
    directory = _directory(root, prefix)
    missing = [directory, *directory.parents]
    for path in reversed(missing[: missing.index(root)]):
        make_directory(path)
    if link := _link_on_the_way(directory):
        raise NotADirectoryError(None, "it is a symbolic link to a directory", str(link))
    return directory


def make_directory(path: Path) -> None:
    """Make a directory that all may read, whatever the umask, unless there is one. Raises OSError."""
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o755)
        sync_directory(path.parent)


def replace_file(path: Path, content: bytes, *, temporary: Path) -> None:
    """Put a file in place as a whole or not at all, durably, readable by all.

    `temporary` is a directory of the same file system for the file while it is incomplete: rkt refuses a key
    store with a stray file in it. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=".acistore-", dir=temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names that came or went in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
