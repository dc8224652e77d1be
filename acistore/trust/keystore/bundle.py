"""Trusted keys with their places in one file, to be carried to another machine. The format: docs/trust.md.

The bytes alone: nothing read here is trusted, and what gpg thinks of a key is not asked. Whoever made the file may
have meant harm.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from acistore.errors import AcistoreError, KeyRefused
from acistore.events import log_of
from acistore.fingerprints import normal_fingerprint, shown_fingerprint
from acistore.naming import quoted
from acistore.net.passwords import has_user
from acistore.trust.keys import KeyBlock, scheme_of
from acistore.trust.keystore.origins import Origin, as_text
from acistore.trust.places import check_prefix
from acistore.trust.schemes import read_key_blocks

_log = log_of("acistore.trust")

LARGEST = 16 << 20
"""Bytes that a file may have."""

_FORMAT, _VERSION = "acistore trusted keys", 1
_MOST_ENTRIES = 10_000
_LONGEST_SOURCE = 4096

_Entry = TypeVar("_Entry", "BundledKey", "BundledMask")


@dataclass(frozen=True, slots=True)
class BundledKey:
    """A key and what it is trusted for: the names under a prefix, or every name when that is None."""

    prefix: str | None
    block: KeyBlock
    origin: Origin | None

    @property
    def fingerprint(self) -> str:
        return self.block.fingerprint


@dataclass(frozen=True, slots=True)
class BundledMask:
    """A fingerprint that is masked for a prefix, or for every name when that is None."""

    prefix: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Keys and masks, each place once, by prefix and fingerprint. `called` is the file that they stand in."""

    keys: tuple[BundledKey, ...]
    masks: tuple[BundledMask, ...]
    called: str = field(default="the file", compare=False)

    @property
    def entries(self) -> "list[BundledKey | BundledMask]":
        """Both together."""
        return [*self.keys, *self.masks]

    def only(self, fingerprints: Collection[str]) -> tuple["Bundle", tuple[str, ...]]:
        """What is of these keys, by their whole fingerprints, and the fingerprints that are left out.

        Without any it is everything. Raises UsageError, and KeyRefused for one that isn't there.
        """
        if not fingerprints:
            return self, ()
        wanted = {normal_fingerprint(each) for each in fingerprints}
        there = {each.fingerprint for each in self.entries}
        for missing in sorted(wanted - there):
            raise KeyRefused(
                f"key {shown_fingerprint(missing)} is not in {self.called}",
                facts={"there is": ", ".join(map(shown_fingerprint, sorted(there)))},
            )
        chosen = replace(
            self,
            keys=tuple(each for each in self.keys if each.fingerprint in wanted),
            masks=tuple(each for each in self.masks if each.fingerprint in wanted),
        )
        return chosen, tuple(sorted(there - wanted))

    def to_json(self) -> bytes:
        """The content of the file: of the same keys, masks and origins it is always the same."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "keys": [_key_document(each) for each in sorted(self.keys, key=_order)],
            "masks": [
                {"prefix": each.prefix, "fingerprint": each.fingerprint} for each in sorted(self.masks, key=_order)
            ],
        }
        return json.dumps(document, indent=2).encode() + b"\n"

    @classmethod
    def parse(cls, material: bytes, called: str = "the file") -> "Bundle":
        """What a file holds, which messages call so. Raises KeyRefused."""
        try:
            if len(material) > LARGEST:
                raise _Malformed(f"it is larger than {LARGEST} bytes")
            bundle = _bundle(_document(material))
        except _OtherVersion as error:
            raise KeyRefused(f"{called} can't be read: {error}", next_step=error.next_step) from None
        except _Malformed as error:
            raise KeyRefused(
                f"{called} is not a file of trusted keys: {error}",
                next_step=error.next_step or "acistore trust export FILE  # makes one, where keys are trusted",
            ) from None
        return replace(bundle, called=called)


class _Malformed(Exception):
    """What is wrong with the file, as the end of a sentence. `next_step` is what would put it right."""

    def __init__(self, problem: str, next_step: str | None = None) -> None:
        super().__init__(problem)
        self.next_step = next_step


class _OtherVersion(_Malformed):
    """It may well be in order, for somebody else."""


def _order(entry: BundledKey | BundledMask) -> tuple[str, str]:
    return entry.prefix or "", entry.fingerprint


def _key_document(each: BundledKey) -> dict[str, str | None]:
    return {
        "prefix": each.prefix,
        "fingerprint": each.fingerprint,
        "key": each.block.as_file.decode(),
        "source": each.origin.source if each.origin else None,
        "added_at": as_text(each.origin.added_at) if each.origin else None,
    }


def _document(material: bytes) -> dict[str, Any]:
    try:
        document = json.loads(material, object_pairs_hook=_each_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _Malformed("it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _Malformed("it is something else")
    version = document.get("version")
    if type(version) is not int:
        raise _Malformed('"version" is not a number')
    if version != _VERSION:
        raise _OtherVersion(
            f"it is in version {str(version)[:20]} of the format, and this acistore knows {_VERSION} alone",
            "use a newer acistore",
        )
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Malformed("a field of it is there twice")
    return found


def _refuse_constant(_name: str) -> None:
    raise _Malformed("it is not JSON")


def _bundle(document: dict[str, Any]) -> Bundle:
    bundle = Bundle(
        tuple(_entries(document, "keys", _key)),
        tuple(_entries(document, "masks", lambda entry: BundledMask(_prefix(entry), _fingerprint(entry)))),
    )
    places = [(each.prefix, each.fingerprint) for each in bundle.entries]
    if len(set(places)) < len(places):
        raise _Malformed("a key is in it twice for the same names")
    return bundle


def _entries(document: dict[str, Any], name: str, read: Callable[[dict[str, Any]], _Entry]) -> Iterator[_Entry]:
    entries = document.get(name)
    if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES:
        raise _Malformed(f'"{name}" is not a list of at most {_MOST_ENTRIES}')
    for number, entry in enumerate(entries, 1):
        try:
            if not isinstance(entry, dict):
                raise _Malformed("it is not an object")
            yield read(entry)
        except (_Malformed, AcistoreError) as error:
            raise _Malformed(f"{name}, number {number}: {error}", error.next_step) from None


def _key(entry: dict[str, Any]) -> BundledKey:
    fingerprint = _fingerprint(entry)
    try:
        material = _text(entry, "key").encode()
    except UnicodeEncodeError:
        raise _Malformed('"key" is not text') from None
    blocks: Sequence[KeyBlock] = read_key_blocks(material, scheme_of(fingerprint))
    if len(blocks) != 1 or blocks[0].fingerprint != fingerprint:
        raise _Malformed("it holds another key than its fingerprint says")
    return BundledKey(_prefix(entry), blocks[0], _origin(entry))


def _fingerprint(entry: dict[str, Any]) -> str:
    text = _text(entry, "fingerprint")
    if normal_fingerprint(text) != text:
        raise _Malformed(f"{quoted(text)} is not a fingerprint in lower-case hexadecimal digits")
    return text


def _prefix(entry: dict[str, Any]) -> str | None:
    if "prefix" not in entry:
        raise _Malformed('"prefix" is missing')
    return None if entry["prefix"] is None else check_prefix(_text(entry, "prefix"))


def _origin(entry: dict[str, Any]) -> Origin | None:
    if entry.get("source") is None:
        return None
    source = _text(entry, "source")
    if len(source) > _LONGEST_SOURCE:
        raise _Malformed('"source" is too long')
    if "://" in source and has_user(source):
        shown = shown_fingerprint(_fingerprint(entry))
        _log.warning("where key %s came from is left out: the URL has a user name or password in it", shown)
        return None
    try:
        added_at = datetime.fromisoformat(_text(entry, "added_at"))
        if added_at.tzinfo is None:
            raise ValueError
        return Origin(source, added_at.astimezone(UTC).replace(microsecond=0))
    except (ValueError, ArithmeticError):
        raise _Malformed('"added_at" is not a time such as 2026-01-31T00:00:00Z') from None


def _text(entry: dict[str, Any], name: str) -> str:
    if not isinstance(entry.get(name), str):
        raise _Malformed(f'"{name}" is not a text')
    return str(entry[name])
