"""Tars made byte by byte, and a place for their bodies."""

import hashlib
from collections.abc import Iterable, Iterator

import pytest

from acistore.archive.tar import Entry, join, split
from acistore.errors import ArchiveRefused

USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = bytes(8)
END = bytes(1024)
OFFSETS = {
    "name": 0,
    "mode": 100,
    "uid": 108,
    "gid": 116,
    "size": 124,
    "mtime": 136,
    "type": 156,
    "link": 157,
    "magic": 257,
    "major": 329,
    "minor": 337,
    "prefix": 345,
    "sparse_more": 482,
    "sparse_size": 483,
    "tail": 508,
}


def header(name: bytes = b"file", type: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """A header, its fields as given and its checksum right."""
    block = bytearray(512)
    given = {
        "mode": b"0000644\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "mtime": b"12345670123\0",
        "size": b"%011o\0" % size,
        "magic": USTAR,
        "name": name,
        "type": type,
        **fields,
    }
    for field, value in given.items():
        block[OFFSETS[field] : OFFSETS[field] + len(value)] = value
    return summed(bytes(block))


def changed(block: bytes, field: str, value: bytes) -> bytes:
    """The header with one field's first bytes replaced."""
    at = OFFSETS[field]
    return summed(block[:at] + value + block[at + len(value) :])


def summed(block: bytes) -> bytes:
    """The header with its checksum made right."""
    total = sum(block[:148]) + sum(block[156:512]) + 8 * ord(" ")
    return block[:148] + b"%06o\0 " % total + block[156:]


def padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 512)


def member(name: bytes = b"file", type: bytes = b"0", body: bytes = b"", **fields: bytes) -> bytes:
    """A header and its body."""
    return header(name, type, len(body), **fields) + padded(body)


GOOD = member(b"good", body=b"good body")


def pax(*records: tuple[bytes, bytes], type: bytes = b"x") -> bytes:
    """An extended header."""
    return member(b"PaxHeaders/file", type, b"".join(record(*pair) for pair in records))


def old_sparse(body: bytes, *, more: int = 0, real_size: bytes = b"00000100000\0", magic: bytes = GNU) -> bytes:
    """A file in GNU's old sparse format, with `more` headers after the first."""
    block = changed(header(b"sparse", b"S", len(body), magic=magic), "sparse_size", real_size)
    extensions = b"".join(bytes(504) + bytes([left > 0]) + bytes(7) for left in reversed(range(more)))
    return changed(block, "sparse_more", bytes([more > 0])) + extensions + padded(body)


def record(keyword: bytes, value: bytes) -> bytes:
    length = len(keyword) + len(value) + 3
    while len(line := b"%d %s=%s\n" % (length, keyword, value)) != length:
        length = len(line)
    return line


class Bodies:
    """Keeps bodies in memory, by their SHA-512."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.pieces: list[int] = []

    def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        taken = list(pieces)
        body = b"".join(taken)
        assert len(body) == entry.size
        assert entry.digest is None
        self.pieces.append(len(taken))
        digest = hashlib.sha512(body).digest()
        self.kept[digest] = body
        return digest

    def get(self, digest: bytes, size: int) -> Iterator[bytes]:
        body = self.kept[digest]
        assert len(body) == size
        for at in range(0, size, 100_000):
            yield body[at : at + 100_000]


def take_apart(chunks: Iterable[bytes]) -> tuple[list[Entry], bytes, Bodies]:
    """The entries, the skeleton and the bodies of a tar."""
    bodies, skeleton = Bodies(), bytearray()
    entries = list(split(chunks, bodies=bodies, skeleton=skeleton.extend))
    return entries, bytes(skeleton), bodies


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def refusal(data: bytes) -> ArchiveRefused:
    """Why a tar is refused."""
    with pytest.raises(ArchiveRefused) as refused:
        round_trip(data, chunk_size=1000)
    return refused.value


def only(data: bytes) -> Entry:
    """The one entry of a tar without its end, read alone and among others."""
    (entry,) = round_trip(data + END)
    assert round_trip(GOOD + data + GOOD + END, chunk_size=700)[1] == entry
    return entry


def round_trip(data: bytes, *, chunk_size: int = 1 << 20) -> list[Entry]:
    """The entries of a tar, which is asserted to be the same again when joined."""
    entries, skeleton, bodies = take_apart(cut(data, chunk_size))
    assert b"".join(join(cut(skeleton, 50_000), bodies.get)) == data
    for entry in entries:
        if entry.digest is not None:
            assert len(bodies.kept[entry.digest]) == entry.size
    return entries
