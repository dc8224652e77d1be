"""Key files in the format of rkt's key store: the directories read. What changes them is in `changes`.

A file is named by the lower-case fingerprint of its key and holds one armored public key; an empty one masks
that fingerprint. SSH keys have the same two places under `trustedkeys/ssh/`, a line of OpenSSH's each. What is not
in order is told in a warning and trusted in nothing.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from acistore.errors import FileUnusable, InvalidName, KeyRefused
from acistore.events import log_of
from acistore.files import NotRegular, open_regular
from acistore.naming import parents
from acistore.trust.keys import KeyBlock, Layer, Place, Scheme, TrustedKey, scheme_of
from acistore.trust.places import check_prefix, has_directory
from acistore.trust.schemes import SCHEMES, read_key_blocks

_log = log_of("acistore.trust")

_FILE_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that is named like a key. `block` is None when it masks, or isn't what its name says."""

    place: Place
    block: KeyBlock | None
    is_mask: bool

    @property
    def fingerprint(self) -> str:
        """The one that the file is named after."""
        return self.place.fingerprint


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a path lies, as far as it lies where keys do.

    `prefix` is None among root keys, and empty under no prefix; `fingerprint` is None when its name is none.
    """

    path: Path
    layer: Layer | None
    prefix: str | None
    fingerprint: str | None

    @classmethod
    def of_place(cls, place: Place) -> "Whereabouts":
        return cls(place.path, place.layer, place.prefix, place.fingerprint)


def _log_problem(path: Path, problem: str) -> None:
    _log.warning("%s is not trusted: %s", path, problem)


class Reading:
    """One look at all layers: each directory is read at most once, and each problem told once.

    `key_size` is the most that a key file may hold, in bytes. `tell` is called with each path that is not in order
    and what is wrong with it, as the end of a sentence; by default it is a warning in the log. What looks into a
    directory raises FileUnusable when that can't be read.
    """

    def __init__(
        self,
        directories: Mapping[Layer, Path],
        key_size: int,
        tell: Callable[[Path, str], None] = _log_problem,
    ) -> None:
        self._directories = directories
        self._key_size = key_size
        self.tell = tell
        self._files: dict[tuple[Layer, str | None], dict[str, KeyFile]] = {}
        self._prefixes: tuple[str, ...] | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, each before those that override it."""
        return tuple(self._directories)

    def up_to(self, layer: Layer) -> "Reading":
        """The same look, as if there were no layers above this one."""
        layers = self.layers
        view = copy(self)
        view._directories = {each: self._directories[each] for each in layers[: layers.index(layer) + 1]}
        view._prefixes = None
        return view

    def accepted(self, name: str | None, besides: Sequence[KeyFile] = ()) -> dict[str, TrustedKey]:
        """The keys in force for a name, or with None those in force for every name, by fingerprint.

        rkt's order: all root keys by layer, then layer by layer all prefixes, the shortest first. What comes
        later overrides or masks what came before, so a mask under a prefix reaches the root keys too. A
        damaged file masks like an empty one: somebody meant to replace what lies below it. `besides`: as if there
        were these files too, in place of those that are.
        """
        trusted: dict[str, TrustedKey] = {}
        for file in self._files_for(name, besides):
            if file.block is None:
                trusted.pop(file.fingerprint, None)
            else:
                trusted[file.fingerprint] = TrustedKey(file.block, file.place)
        return trusted

    def in_force_at(self, prefix: str | None) -> list[TrustedKey]:
        """The keys that are in force through a file for the very same names."""
        return [key for key in self.accepted(prefix).values() if key.place.prefix == prefix]

    def masked(self, name: str) -> set[str]:
        """The fingerprints that a mask in any layer takes away for a name, whatever else holds them."""
        return {file.fingerprint for file in self._files_for(name) if file.is_mask}

    def deciding(self, name: str | None, fingerprint: str, besides: Sequence[KeyFile] = ()) -> KeyFile | None:
        """The file that has the last word on a key for a name, or with None for every name. `besides` as for
        `accepted`."""
        supposed = {
            (file.place.layer, file.place.prefix): file for file in besides if file.fingerprint == fingerprint
        }
        files = (
            supposed.get(where) or self._indexed(*where).get(fingerprint) for where in reversed(self._order(name))
        )
        return next(filter(None, files), None)

    def counting(self, name: str | None, fingerprint: str, besides: Sequence[KeyFile] = ()) -> TrustedKey | None:
        """One key of those `accepted`, or None when it is not among them."""
        file = self.deciding(name, fingerprint, besides)
        return TrustedKey(file.block, file.place) if file and file.block else None

    def _files_for(self, name: str | None, besides: Sequence[KeyFile] = ()) -> Iterator[KeyFile]:
        """The key files that have a say for a name, or with None for every name, in rkt's order."""
        for layer, prefix in self._order(name):
            supposed = {
                file.fingerprint: file
                for file in besides
                if (file.place.layer, file.place.prefix) == (layer, prefix)
            }
            yield from (file for file in self.files(layer, prefix) if file.fingerprint not in supposed)
            yield from supposed.values()

    def _order(self, name: str | None) -> list[tuple[Layer, str | None]]:
        """Where the files lie that have a say for a name, in rkt's order."""
        prefixes = [] if name is None else [prefix for prefix in reversed(parents(name)) if has_directory(prefix)]
        order: list[tuple[Layer, str | None]] = [(layer, None) for layer in self.layers]
        return order + [(layer, prefix) for layer in self.layers for prefix in prefixes]

    def files(self, layer: Layer, prefix: str | None) -> list[KeyFile]:
        """The files of one directory that are named like keys, masks and damaged ones too."""
        return list(self._indexed(layer, prefix).values())

    def beside(self, prefix: str | None, fingerprint: str) -> dict[Layer, KeyFile]:
        """The files of one key for the very same names, the highest layer last."""
        found = ((layer, self._indexed(layer, prefix).get(fingerprint)) for layer in self.layers)
        return {layer: file for layer, file in found if file}

    def _indexed(self, layer: Layer, prefix: str | None) -> dict[str, KeyFile]:
        if (layer, prefix) not in self._files:
            self._files[layer, prefix] = {
                file.fingerprint: file
                for scheme in SCHEMES
                for path in self._paths(self._directories[layer], prefix, scheme)
                if (file := self._key_file(path, prefix, layer, scheme)) is not None
            }
        return self._files[layer, prefix]

    def copies(self, fingerprint: str) -> Iterator[KeyFile]:
        """The files of one key in whatever place, whether or not they are in force there."""
        for prefix in self.places():
            for layer in self.layers:
                is_read = (layer, prefix) in self._files
                if is_read or self.place(layer, prefix, fingerprint).path.exists():
                    file = self._indexed(layer, prefix).get(fingerprint)
                    yield from (file,) if file else ()

    def all_files(self, prefixes: Sequence[str | None] | None = None) -> Iterator[KeyFile]:
        """The files of some prefixes, or by default of all places: by prefix, root first, then by layer."""
        for prefix in self.places() if prefixes is None else prefixes:
            for layer in self.layers:
                yield from self.files(layer, prefix)

    def place(self, layer: Layer, prefix: str | None, fingerprint: str) -> Place:
        """Where a key's file lies, or would lie."""
        directory = key_directory(self._directories[layer], prefix, scheme_of(fingerprint))
        return Place(fingerprint, prefix, layer, directory / fingerprint)

    def whereabouts(self, path: Path) -> Whereabouts:
        """Where a path lies that `tell` was called with."""
        fingerprint = path.name if _FILE_NAME.fullmatch(path.name) else None
        for layer, directory in self._directories.items():
            for scheme in reversed(SCHEMES):  # the directory of OpenPGP holds that of SSH
                with suppress(ValueError):
                    below = path.relative_to(_top(directory, scheme))
                    # A directory is told of as such, and a file as what lies in one.
                    is_directory = fingerprint is None and path.is_dir()
                    parts = below.parts[1:] if is_directory else below.parts[1:-1]
                    prefix = None if below.parts[:1] == ("root.d",) else "/".join(parts)
                    return Whereabouts(path, layer, prefix, fingerprint)
        return Whereabouts(path, None, "", fingerprint)

    def places(self) -> tuple[str | None, ...]:
        """All that keys may be trusted for here: None for every name, then the prefixes, sorted."""
        return (None, *self.prefixes())

    def prefixes(self) -> tuple[str, ...]:
        """Every prefix that has a directory in some layer, sorted."""
        if self._prefixes is None:
            tops = [
                _top(directory, scheme) / "prefix.d"
                for directory in self._directories.values()
                for scheme in SCHEMES
            ]
            self._prefixes = tuple(sorted({prefix for top in tops for prefix in self._prefixes_below(top)}))
        return self._prefixes

    def _prefixes_below(self, top: Path) -> Iterator[str]:
        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise _unreadable(error)

        # os.walk follows no symbolic links, so this ends.
        for path, names, files in os.walk(top, onerror=refuse):
            above = Path(path).relative_to(top)
            for name in names:
                try:
                    yield check_prefix((above / name).as_posix())
                except InvalidName:
                    self.tell(Path(path, name), "no image can have such a name")
            if Path(path) == top:
                for name in files:
                    self.tell(top / name, "it lies under no prefix")

    def _paths(self, root: Path, prefix: str | None, scheme: Scheme) -> list[Path]:
        directory = key_directory(root, prefix, scheme)
        try:
            if link := link_on_the_way(root, prefix, scheme):
                self.tell(link, "it is a symbolic link to a directory")
                return []
            entries = [entry for entry in os.scandir(directory) if not entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # of such a prefix there is no directory
                return []
            raise _unreadable(error) from None
        return sorted(Path(entry.path) for entry in entries)

    def _key_file(self, path: Path, prefix: str | None, layer: Layer, scheme: Scheme) -> KeyFile | None:
        content: bytes | None = None
        try:
            content = _content(path, self._key_size)
        except _Unusable as problem:
            self.tell(path, str(problem))
        if _FILE_NAME.fullmatch(path.name) and scheme_of(path.name) == scheme:
            block = None
            try:
                block = _named_block(path.name, scheme, content) if content else None
            except _Unusable as problem:
                self.tell(path, str(problem))
            return KeyFile(Place(path.name, prefix, layer, path), block, is_mask=content == b"")
        if content:
            digits = 64 if scheme == "ssh" else 40
            self.tell(path, f"it is not named by a fingerprint of {digits} lower-case hexadecimal digits")
        return None


def key_directory(root: Path, prefix: str | None, scheme: Scheme) -> Path:
    """Where the keys of a prefix lie, or the root keys, below the configuration directory of a layer."""
    top = _top(root, scheme)
    return top / "root.d" if prefix is None else top / "prefix.d" / prefix


def _top(root: Path, scheme: Scheme) -> Path:
    # What rkt reads has no place for other schemes.
    return root / "trustedkeys" / "ssh" if scheme == "ssh" else root / "trustedkeys"


def link_on_the_way(root: Path, prefix: str | None, scheme: Scheme) -> Path | None:
    """A symbolic link below `prefix.d` that leads to the directory of a prefix: keys of one name must not serve
    another."""
    if prefix is None:
        return None
    directory = key_directory(root, prefix, scheme)
    below = (directory, *directory.parents[: prefix.count("/")])
    return next((path for path in below if path.is_symlink()), None)


def _unreadable(error: OSError) -> FileUnusable:
    """The masks in a directory count as much as its keys, so nobody can say what holds without having read it."""
    return FileUnusable(
        f"{error.filename} can't be read, so which keys are trusted is not known: {error.strerror}"
    )


def _named_block(name: str, scheme: Scheme, content: bytes) -> KeyBlock:
    try:
        blocks = read_key_blocks(content, scheme)
    except KeyRefused as error:
        raise _Unusable(error.message) from None
    named = [block for block in blocks if block.fingerprint == name]
    if not named:
        raise _Unusable(f"it holds another key than its name says, {blocks[0].fingerprint}")
    return named[0]


class _Unusable(Exception):
    """Why a file is no key, as the end of a sentence."""


def _content(path: Path, size_limit: int) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(size_limit + 1)
    except NotRegular as error:
        raise _Unusable(error.strerror) from None
    except OSError as error:
        raise _Unusable(f"it can't be read: {error.strerror}") from None
    if len(content) > size_limit:
        raise _Unusable(f"it is larger than {size_limit} bytes")
    return content
