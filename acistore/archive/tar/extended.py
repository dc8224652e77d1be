"""What stands before an entry and changes it: PAX extended headers, and GNU's long names.

What is wrong is a ValueError whose text is the reason.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from acistore.archive.tar.header import TIME_RANGE, size

# Of one extended header or long name, in bytes. Paths have up to 4 KiB, extended attributes 64 KiB each.
RECORD_LIMIT = 1 << 20

# A program that ignores global headers (Go, bsdtar) would see other files than one that honours these.
_NEVER_GLOBAL = frozenset((b"path", b"linkpath", b"size"))
_GLOBAL = (b"uid", b"gid", b"mtime")
_SPARSE = b"GNU.sparse."
_STAR_XATTR, _LIBARCHIVE_XATTR = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_NOT_EMPTY = frozenset(
    (b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"GNU.sparse.name", b"GNU.sparse.realsize")
)
_TEXTS = frozenset((b"path", b"linkpath", b"GNU.sparse.name"))
_TIME = re.compile(rb"(-?)(\d{1,12})(?:\.(\d*))?")
# What a length within RECORD_LIMIT has at most; nobody writes leading zeros.
_LENGTH_DIGITS = len(str(RECORD_LIMIT))


@dataclass(frozen=True, slots=True)
class Extras:
    """What the headers before an entry say of it."""

    records: Mapping[bytes, bytes]
    long_name: bytes | None = None
    long_link: bytes | None = None


def read_extras(bodies: Mapping[bytes, bytes], defaults: Mapping[bytes, bytes]) -> Extras:
    """What the bodies of "x", "L" and "K" headers say, over the defaults that global headers have set."""
    if not bodies:
        return Extras(defaults)
    records, long_name, long_link = (bodies.get(kind) for kind in (b"x", b"L", b"K"))
    return Extras(
        defaults if records is None else {**defaults, **parse_records(records)},
        None if long_name is None else _parse_long_name(long_name),
        None if long_link is None else _parse_long_name(long_link),
    )


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of a PAX extended header (POSIX, pax § Extended Header); of two alike the later one counts."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + _LENGTH_DIGITS + 1)
        digits = data[at:blank]
        if blank < 0 or not digits.isdigit():
            raise ValueError("an extended header record without its length")
        end = at + int(digits)
        keyword, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= blank or data[end - 1] != ord("\n") or not keyword or not equals:
            raise ValueError("a malformed extended header record")
        _check_record(keyword, value)
        records[keyword] = value
        at = end
    return records


def _check_record(keyword: bytes, value: bytes) -> None:
    """Refuses what tar programs understand in different ways."""
    if b"\0" in keyword or (keyword in _TEXTS and b"\0" in value):
        raise ValueError(f"a NUL byte in the extended header record {_shown(keyword)}")
    if not value and keyword in _NOT_EMPTY:
        raise ValueError(f"an empty extended header record {_shown(keyword)}")


def parse_global(data: bytes) -> dict[bytes, bytes]:
    """What a global extended header sets for the entries after it; it may not change what files there are."""
    records = parse_records(data)
    for keyword in records:
        if keyword in _NEVER_GLOBAL or keyword.startswith(_SPARSE):
            raise ValueError(f"a global extended header that sets {_shown(keyword)}")
    return {keyword: records[keyword] for keyword in _GLOBAL if keyword in records}


def _parse_long_name(data: bytes) -> bytes:
    """The name in the body of GNU's "L" and "K" entries, up to its NUL: some programs read on until one comes."""
    name, nul, _ = data.partition(b"\0")
    if not name or not nul:
        raise ValueError("a long name that is empty or does not end")
    return name


def decimal(value: bytes) -> int:
    """A number in a record. Raises ValueError unless it is digits only, few enough for 64 bits."""
    if not value.isdigit() or len(value) > 20:
        raise ValueError("an extended header record that should be a number and is not")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A time in a record, decimal seconds since 1970, as nanoseconds; finer digits are dropped."""
    match = _TIME.fullmatch(value)
    if not match:
        raise ValueError("an extended header record that should be a time and is not")
    sign, whole, fraction = match.groups()
    result = int(whole) * 10**9 + int(((fraction or b"") + b"0" * 9)[:9])
    return in_range(-result if sign else result)


def in_range(time: int) -> int:
    """The time, in nanoseconds since 1970, if it is in the years 1 to 9999."""
    if time // 10**9 not in TIME_RANGE:
        raise ValueError("a time outside the years 1 to 9999")
    return time


def sparse_size(records: Mapping[bytes, bytes]) -> int | None:
    """The real size of a sparse file in any of GNU's three PAX formats; None if it is not sparse.

    Format 1.0 names its version; 0.0 and 0.1 need not, and have their map in the records.
    """
    if not any(keyword.startswith(_SPARSE) for keyword in records):
        return None
    version = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if version == (b"1", b"0"):
        real_size = records.get(b"GNU.sparse.realsize")
    elif version in ((None, None), (b"0", b"0"), (b"0", b"1")) and (
        b"GNU.sparse.map" in records or b"GNU.sparse.numblocks" in records
    ):
        real_size = records.get(b"GNU.sparse.size")
    else:
        raise ValueError("a sparse file of an unknown version")
    if real_size is None:
        raise ValueError("a sparse file without its real size")
    return size(decimal(real_size))


def extended_attributes(records: Mapping[bytes, bytes]) -> tuple[tuple[str, bytes], ...]:
    """Name and value of each extended attribute, by name: as star and GNU tar record them, and as libarchive does.

    Where both are there, for one name, they say the same unless somebody forged one: star's counts, which all
    programs know.
    """
    found: dict[str, bytes] = {}
    for keyword, value in records.items():
        if keyword.startswith(_STAR_XATTR):
            found[keyword[len(_STAR_XATTR) :].decode(errors="surrogateescape")] = value
        elif keyword.startswith(_LIBARCHIVE_XATTR):
            name = unquote_to_bytes(keyword[len(_LIBARCHIVE_XATTR) :]).decode(errors="surrogateescape")
            if _STAR_XATTR + name.encode(errors="surrogateescape") not in records:
                found[name] = _from_base64(value)
    return tuple(sorted(found.items()))


def _from_base64(value: bytes) -> bytes:
    """libarchive leaves the padding out. What is no base64 stays as it is, so that two can be told apart."""
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return value


def _shown(keyword: bytes) -> str:
    return keyword[:100].decode(errors="surrogateescape")
