"""Where the data of a sparse file belongs: GNU's old format, and its PAX formats 0.0, 0.1 and 1.0.

A tar is taken apart without this, since sparse files stay whole in the skeleton; it is for reading their content.
Only what every tar program would read alike is read. What is wrong is a ValueError whose text is the reason.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import islice
from typing import Protocol

from acistore.archive.tar.extended import parse_records
from acistore.archive.tar.header import BLOCK, number

# Where GNU's old sparse headers, the first and the following ones, say that another one follows.
OLD_MORE_FIRST = 482
OLD_MORE = 504
# Of one map, in bytes: as text in the tar, or as old headers. Room for some 100,000 regions.
MAP_LIMIT = 4 << 20

_OLD_REGION = struct.Struct("12s12s")
_OLD_REGIONS_FIRST = slice(386, OLD_MORE_FIRST)
_OFFSET, _LENGTH, _MAP = b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map"
_ZEROS = bytes(64 << 10)
_FINGERPRINT_BLOCK = 4096

Region = tuple[int, int]
Part = tuple[int, bytes]


class SparseMap:
    """The map of one sparse file, from its header, the records before that, and the old headers after it.

    All of the old headers are read by this, and kept up to MAP_LIMIT.
    """

    def __init__(self, block: bytes, records: bytes, old_headers: Iterable[bytes]) -> None:
        self._records = records
        self._is_old = block[156:157] == b"S"
        self._old = bytearray(block[_OLD_REGIONS_FIRST])
        for header in old_headers:
            if len(self._old) <= MAP_LIMIT:
                self._old += header[:OLD_MORE]

    def regions(self, read: Callable[[int], bytes]) -> Iterator[Region]:
        """Offset and length of each region with data, in bytes. `read` gives what follows the headers, where
        the format 1.0 has its map; fewer bytes than asked for at its end."""
        if self._is_old:
            return self._old_regions()
        records = parse_records(self._records)
        if _MAP in records:
            return _pairs(map(_decimal, records[_MAP].split(b",")) if records[_MAP] else iter(()))
        if records.get(b"GNU.sparse.major") == b"1":
            return _pairs(_numbers_before_data(read))
        return _together(_repeated(self._records, _OFFSET), _repeated(self._records, _LENGTH))

    def _old_regions(self) -> Iterator[Region]:
        if len(self._old) > MAP_LIMIT:
            raise ValueError("a sparse file whose map is too large")
        for offset, length in _OLD_REGION.iter_unpack(self._old):
            if length[0] == 0:
                return
            yield number(offset), number(length)


def _pairs(numbers: Iterator[int]) -> Iterator[Region]:
    """Each two numbers."""
    return _together(numbers, numbers)


def _together(offsets: Iterator[int], lengths: Iterator[int]) -> Iterator[Region]:
    for offset in offsets:
        length = next(lengths, None)
        if length is None:
            raise ValueError("a sparse file whose map is cut off")
        yield offset, length
    if next(lengths, None) is not None:
        raise ValueError("a sparse file whose map begins nowhere")


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise ValueError("a sparse file whose map holds something other than numbers")
    return int(value)


def _repeated(records: bytes, wanted: bytes) -> Iterator[int]:
    """The values of a keyword that stands in (well-formed) records more than once."""
    at = 0
    while at < len(records):
        blank = records.index(b" ", at)
        end = at + int(records[at:blank])
        keyword, _, value = records[blank + 1 : end - 1].partition(b"=")
        if keyword == wanted:
            yield _decimal(value)
        at = end


def _numbers_before_data(read: Callable[[int], bytes]) -> Iterator[int]:
    """The map of format 1.0: how many regions, then offsets and lengths, a line each, in whole blocks."""
    text = bytearray()
    lines = 0
    while len(text) <= MAP_LIMIT:
        block = read(BLOCK)
        if len(block) != BLOCK:
            raise ValueError("a sparse file whose map is cut off")
        text += block
        if not lines:
            lines = missing = 1 + 2 * _decimal(block.partition(b"\n")[0])
        missing -= block.count(b"\n")
        if missing <= 0:
            for line in islice(BytesIO(text), 1, lines):
                yield _decimal(line.removesuffix(b"\n"))
            return
    raise ValueError("a sparse file whose map is too large")


class Data(Protocol):
    """What follows the headers of a sparse file."""

    @property
    def offset(self) -> int: ...

    def pieces(self, size: int) -> Iterator[bytes]: ...


def read_parts(regions: Iterable[Region], data: Data, real_size: int, end: int) -> Iterator[Part]:
    """The pieces of a sparse file of `real_size` bytes, and where in it they belong; its data ends at `end`.

    Regions must be in order, and whole blocks but for the last: some programs pad each, some do not.
    """
    position = 0
    whole_blocks = True
    for start, length in regions:
        if not length:
            continue
        fits = position <= start <= real_size - length and data.offset + length <= end
        if not fits or not whole_blocks:
            raise ValueError("a sparse file whose map does not fit it")
        whole_blocks = length % BLOCK == 0
        position = start
        for piece in data.pieces(length):
            yield position, piece
            position += len(piece)
    if data.offset != end:
        raise ValueError("a sparse file whose map does not fit it")


def filled(parts: Iterable[Part], real_size: int) -> Iterator[bytes]:
    """The content of a file as one reads it, zeros where it has no parts."""
    position = 0
    for start, piece in parts:
        yield from _hole(start - position)
        yield piece
        position = start + len(piece)
    yield from _hole(real_size - position)


def _hole(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)


def fingerprint(parts: Iterable[Part]) -> bytes:
    """A digest that two files of one size share if their content is the same, whatever holes they are told with.

    Holes cost nothing, however large: only blocks that are not all zeros count, and where they are.
    """
    hasher = hashlib.sha512()
    for start, block in _blocks(parts):
        if block.strip(b"\0"):
            hasher.update(start.to_bytes(8, "big"))
            hasher.update(block.ljust(_FINGERPRINT_BLOCK, b"\0"))
    return hasher.digest()


def _blocks(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, cut and joined into aligned blocks; what a block lacks is zeros."""
    at, block = 0, bytearray()
    for start, piece in parts:
        first = 0
        while first < len(piece):
            before = (start + first) % _FINGERPRINT_BLOCK
            place = start + first - before
            if place != at:
                yield at, bytes(block)
                at, block = place, bytearray()
            taken = piece[first : first + _FINGERPRINT_BLOCK - before]
            block += bytes(before - len(block)) + taken
            first += len(taken)
    yield at, bytes(block)
