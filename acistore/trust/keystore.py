"""TrustStore: the keys that are trusted, for which names, in directories that anybody can read and manage.

Places are `trustedkeys/root.d/<fingerprint>` and `trustedkeys/prefix.d/<prefix>/<fingerprint>` in the system,
local and user configuration directories, as rkt has them, and nothing else is ever written there. Which
signatures are good is not asked here. Nothing is kept in memory: what holds is what the directories say now.
"""

import fcntl
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from acistore.config import Config
from acistore.errors import FileUnusable, KeyNotFound, KeyRefused, UsageError
from acistore.naming import check_identifier
from acistore.trust import openpgp
from acistore.trust.keyfiles import (
    Reading,
    check_prefix,
    make_directory,
    new_directory,
    replace_file,
    sync_directory,
)
from acistore.trust.keys import (
    Layer,
    Place,
    PublicKey,
    TrustedKey,
    fingerprint_tail,
    normal_fingerprint,
    shown_fingerprint,
)
from acistore.trust.origins import Origin, change_origins, read_origins

_log = logging.getLogger("acistore.trust")

State = Literal["valid", "expired", "revoked", "masked"]


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key file for people to look at: what it holds, and whether that counts where it lies."""

    place: Place
    key: PublicKey
    state: State
    origin: Origin | None


class TrustStore:
    """Trusted keys in layers, of which a later one overrides an earlier one.

    `key_size` is what a key file may hold, in bytes.
    """

    def __init__(self, layers: Mapping[Layer, Path], *, key_size: int = 1 << 20) -> None:
        self._directories = dict(layers)
        self._key_size = key_size

    @classmethod
    def open(cls, config: Config) -> "TrustStore":
        """The trust store of the configuration directories."""
        return cls(
            {"system": config.system_config, "local": config.local_config, "user": config.user_config},
            key_size=config.limits.key_size,
        )

    def keys_for(self, name: str) -> tuple[TrustedKey, ...]:
        """The keys trusted for an AC name: root keys and those of its prefixes, each once. Raises InvalidName."""
        return tuple(self._read().accepted(check_identifier(name)).values())

    def masked_for(self, name: str) -> set[str]:
        """The fingerprints of keys that somebody has masked for a name, at any place. Raises InvalidName."""
        return self._read().masked(check_identifier(name))

    def everything_trusted(self) -> tuple[TrustedKey, ...]:
        """Every key in force in some place, for an image whose name is not known yet."""
        reading = self._read()
        return tuple(
            key
            for prefix in (None, *reading.prefixes())
            for key in reading.accepted(prefix).values()
            if key.place.prefix == prefix
        )

    def all_keys(self) -> tuple[ListedKey, ...]:
        """Every key file there is, by prefix, root first, then by layer. Raises ProgramMissing."""
        reading = self._read()
        prefixes = (None, *reading.prefixes())
        files = [file for prefix in prefixes for layer in reading.layers for file in reading.keys(layer, prefix)]
        known = openpgp.describe(file.block for file in files)
        origins = {layer: read_origins(directory) for layer, directory in self._directories.items()}
        accepted = {prefix: reading.accepted(prefix) for prefix in prefixes}
        listed = []
        for file in files:
            if file.block not in known:
                _log.warning("%s is not trusted: gpg does not accept the key", file.place.path)
                continue
            key = known[file.block]
            state = _state(key, masked=key.fingerprint not in accepted[file.place.prefix])
            origin = origins[file.place.layer].get(_note(file.place))
            listed.append(ListedKey(file.place, key, state, origin))
        return tuple(listed)

    def inspect(self, material: bytes) -> tuple[PublicKey, ...]:
        """The keys that `add` would find in a key file. Raises KeyRefused, ProgramMissing."""
        if len(material) > self._key_size:
            raise KeyRefused(f"the key file is larger than {self._key_size} bytes")
        return openpgp.read_keys(material)

    def add(
        self,
        material: bytes,
        *,
        prefix: str | None,
        source: str,
        layer: Literal["local", "user"],
        only: Collection[str] | None = None,
    ) -> tuple[PublicKey, ...]:
        """Trust the keys of a file for the names under `prefix`, or for every name when that is None.

        `only` are the whole fingerprints to be added, all of which must be there; without it all keys are
        added. `source` is where they come from, for the record. All or none are added, unless the disk fails
        between them. Raises InvalidName, UsageError (not a fingerprint), KeyRefused, FileUnusable,
        ProgramMissing.
        """
        if prefix is not None:
            check_prefix(prefix)
        chosen = _chosen(self.inspect(material), only)
        root = self._directories[layer]
        origin = Origin(source, datetime.now(UTC).replace(microsecond=0))
        with _changing(root):
            directory = new_directory(root, prefix)
            places = [Place(key.fingerprint, prefix, layer, directory / key.fingerprint) for key in chosen]
            for key, place in zip(chosen, places, strict=True):
                replace_file(place.path, key.block.armored, temporary=root)
            change_origins(root, {_note(place): origin for place in places})
        return chosen

    def remove(self, fingerprint: str, *, prefix: str | None = None, root: bool = False) -> tuple[Place, ...]:
        """Trust a key no longer for a prefix, as a root key, or by default in any place; what was removed.

        `fingerprint` may be its last 16 or more digits. Raises InvalidName, UsageError (not a fingerprint, or
        one that fits several keys), KeyNotFound, FileUnusable (the key is of the system layer alone, or its
        file can't be removed).
        """
        tail = fingerprint_tail(fingerprint)
        reading = self._read()
        everywhere = (None, *reading.prefixes())
        wanted = (None,) if root else everywhere if prefix is None else (check_prefix(prefix),)
        found = [
            place
            for prefix in wanted
            for layer in reading.layers
            for place in reading.places(layer, prefix)
            if place.fingerprint.endswith(tail)
        ]
        _check_found(found, fingerprint)
        removed = []
        for place in found:
            if place.layer == "system":
                _log.warning("%s still trusts the key: it belongs to the system layer", place.path)
                continue
            directory = self._directories[place.layer]
            with _changing(directory):
                place.path.unlink(missing_ok=True)
                sync_directory(place.path.parent)
                change_origins(directory, {}, removed=[_note(place)])
            removed.append(place)
        return tuple(removed)

    def _read(self) -> Reading:
        return Reading(self._directories, self._key_size)


@contextmanager
def _changing(directory: Path) -> Iterator[None]:
    """One process at a time changes a layer. Raises FileUnusable for whatever can't be written."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        make_directory(directory)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileUnusable(f"{error.filename or directory} can't be changed: {error.strerror}") from None


def _note(place: Place) -> str:
    """By what name the origin of a key is noted: the path below `trustedkeys/`."""
    return f"prefix.d/{place.prefix}/{place.fingerprint}" if place.prefix else f"root.d/{place.fingerprint}"


def _state(key: PublicKey, *, masked: bool) -> State:
    if masked:
        return "masked"
    if key.revoked:
        return "revoked"
    return "expired" if key.expired else "valid"


def _chosen(keys: Sequence[PublicKey], only: Collection[str] | None) -> tuple[PublicKey, ...]:
    """The keys to be trusted, when nothing speaks against any of them. Raises KeyRefused."""
    there = ", ".join(dict.fromkeys(shown_fingerprint(key.fingerprint) for key in keys))
    if only is not None:
        wanted = [normal_fingerprint(fingerprint) for fingerprint in only]
        for fingerprint in wanted:
            if fingerprint not in {key.fingerprint for key in keys}:
                raise KeyRefused(
                    f"key {shown_fingerprint(fingerprint)} is not in the file", facts={"there is": there}
                )
        keys = [key for key in keys if key.fingerprint in wanted]
    for key in keys:
        shown = shown_fingerprint(key.fingerprint)
        if key.revoked:
            raise KeyRefused(f"key {shown} was revoked by its owner", facts={"user ID": str(key.user_id)})
        if key.expired:
            raise KeyRefused(f"key {shown} has expired", facts={"expired": f"{key.expires_at:%Y-%m-%d}"})
        if [other.fingerprint for other in keys].count(key.fingerprint) > 1:
            raise KeyRefused(f"key {shown} is in the file twice, in different versions")
        if key.is_weak(key.fingerprint):
            _log.warning("key %s is too short: images that it signs will be refused", shown)
    return tuple(keys)


def _check_found(places: Sequence[Place], wanted: str) -> None:
    """Whether these are the places of one key that can be removed from one at least."""
    keys = sorted({place.fingerprint for place in places})
    if not keys:
        raise KeyNotFound(f"there is no key {wanted} to remove", next_step="acistore trust list")
    if len(keys) > 1:
        raise UsageError(f"{wanted} fits several keys", facts={"keys": ", ".join(map(shown_fingerprint, keys))})
    if all(place.layer == "system" for place in places):
        raise FileUnusable(
            f"key {shown_fingerprint(keys[0])} belongs to the system layer, which acistore does not change",
            facts={"file": ", ".join(str(place.path) for place in places)},
            next_step="mask it: make an empty file of the same name below trustedkeys/ of the local layer",
        )
