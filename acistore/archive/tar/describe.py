"""From a header and the records before it to an Entry: what kind of file, under which name, how long.

What is wrong is a ValueError whose text is the reason.
"""

from collections.abc import Mapping
from typing import NamedTuple

from acistore.archive.tar.entry import Entry, Kind
from acistore.archive.tar.extended import (
    Extras,
    decimal,
    extended_attributes,
    in_range,
    nanoseconds,
    sparse_size,
)
from acistore.archive.tar.header import GNU_MAGIC, Header, full_name, number, owner, size, text

_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",  # contiguous, which no system makes anything of
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}
_REFUSED_TYPES = {
    b"D": "a directory of an incremental backup",
    b"M": "a file continued from another volume",
    b"N": "an old GNU list of long names",
    b"V": "a volume label",
    b"X": "an old Solaris extended header",
}
_DEVICE_LIMIT = 2**32 - 1


class Member(NamedTuple):
    """An entry as the archive holds it: `stored` bytes follow its header, as a body or as a sparse file."""

    entry: Entry
    stored: int
    sparse: bool


def describe(header: Header, block: bytes, extras: Extras) -> Member:
    """The entry of a header (`block` being its 512 bytes), and what follows it."""
    kind = _KINDS.get(header.type)
    if kind is None:
        name = _REFUSED_TYPES.get(header.type, f"an entry of the unknown type {header.type!r}")
        raise ValueError(f"{name}, which an image can't have")
    records = extras.records
    raw_path = _raw_path(header, extras)
    stored = size(_value(records, b"size", header.size))
    real_size = _real_size(header, block, records)
    if kind == "file" and raw_path.endswith(b"/"):
        # How tars said directory before there was a type for it, which some programs still go by.
        if stored or real_size:
            raise ValueError(
                "a directory by its name and a file by its content, which tar programs read differently"
            )
        kind = "dir"
    if kind == "dir":
        stored = 0  # the space to reserve for it, says POSIX; nothing follows
    elif kind != "file" and stored:
        raise ValueError(f"a {kind} with a size of {stored} bytes, which tar programs read differently")
    mtime = records.get(b"mtime")
    entry = Entry(
        path=_clean(raw_path),
        kind=kind,
        mode=number(header.mode) & 0o7777,  # old programs add the type of file
        uid=owner(_value(records, b"uid", header.uid)),
        gid=owner(_value(records, b"gid", header.gid)),
        mtime=in_range(number(header.mtime) * 10**9) if mtime is None else nanoseconds(mtime),
        size=stored if real_size is None else real_size,
        target=_target(header, extras, kind) if kind in ("symlink", "hardlink") else None,
        device=_device(header) if kind in ("char", "block") else None,
        xattrs=extended_attributes(records) if records else (),
    )
    return Member(entry, stored, real_size is not None)


def _value(records: Mapping[bytes, bytes], keyword: bytes, field: bytes) -> int:
    """A number: the record's, or else the header field's."""
    record = records.get(keyword)
    return number(field) if record is None else decimal(record)


def _raw_path(header: Header, extras: Extras) -> bytes:
    recorded = extras.records.get(b"GNU.sparse.name") or extras.records.get(b"path")
    return _one_of("names", recorded, extras.long_name) or full_name(header)


def _target(header: Header, extras: Extras, kind: Kind) -> str:
    raw = _one_of("targets", extras.records.get(b"linkpath"), extras.long_link) or text(header.link)
    if not raw:
        raise ValueError("a link without a target")
    return _clean(raw) if kind == "hardlink" else raw.decode(errors="surrogateescape")


def _one_of(what: str, recorded: bytes | None, long: bytes | None) -> bytes | None:
    """Of PAX's and GNU's way to say a thing the one that was used."""
    if recorded is not None and long is not None:
        raise ValueError(f"two long {what}, of which tar programs take different ones")
    return long if recorded is None else recorded


def _real_size(header: Header, block: bytes, records: Mapping[bytes, bytes]) -> int | None:
    """The size of a sparse file with its holes; None for any other entry."""
    real_size = sparse_size(records) if records else None
    if header.type == b"S":
        if header.magic != GNU_MAGIC or real_size is not None:
            raise ValueError("a sparse file that is not in GNU's old format and says it is")
        return size(number(block[483:495]))
    if real_size is not None and header.type not in (b"0", b"\0", b"7"):
        raise ValueError("a sparse file that is not a file")
    return real_size


def _device(header: Header) -> tuple[int, int]:
    major, minor = number(header.major), number(header.minor)
    if not (0 <= major <= _DEVICE_LIMIT and 0 <= minor <= _DEVICE_LIMIT):
        raise ValueError(f"a device number {major}:{minor}")
    return major, minor


def _clean(raw: bytes) -> str:
    """A path without its "." components and superfluous slashes; "." if nothing is left."""
    if not raw:
        raise ValueError("an entry without a name")
    path = raw.decode(errors="surrogateescape")
    if "//" not in path and "./" not in path and not path.endswith(("/", "/.")):
        return path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."
