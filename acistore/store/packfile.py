"""What is inside a pack: a file that is written once, front to back, and describes itself.

    header      16 bytes, `acistore-pack-1\\n`
    contents    bodies, one after another; then the skeleton, the manifest and the record of the image
    table       one row a content: kind, encoding, offset, length, SHA-512
    trailer     `acitable`, offset of the table, number of rows, SHA-512 of all of this after the contents

Bodies of 64 KiB and more start on a 4,096-byte boundary, so that a file system which can share extents can share
them with a rendered tree. Every byte is covered: contents by their row, padding by being zero, the rest by the
trailer's digest. Numbers are big-endian. A pack that was compacted holds what was alive of an older one, with or
without an image.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from acistore.errors import StoreDamaged

HEADER = b"acistore-pack-1\n"
ALIGNMENT = 4096
ALIGNED_FROM = 64 << 10
CHUNK = 1 << 20

BODY, SKELETON, MANIFEST, RECORD = b"b", b"s", b"m", b"r"
PLAIN, ZSTD = b"p", b"z"

_ROW = struct.Struct(">ccQQ64s")
_TRAILER = struct.Struct(">8sQQ")
_TRAILER_MAGIC = b"acitable"
_DIGEST_SIZE = 64


@dataclass(frozen=True, slots=True)
class Content:
    """One row of a pack's table. Offset and length in bytes."""

    kind: bytes
    encoding: bytes
    offset: int
    length: int
    digest: bytes


class PackWriter:
    """Writes one pack into an open, empty file. Whoever opened the file syncs, publishes and closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows: list[Content] = []
        self._position = file.write(HEADER)

    def append(self, kind: bytes, encoding: bytes, pieces: Iterable[bytes], *, size: int = 0) -> Content:
        """Adds one content. `size`, where it is known beforehand, decides about alignment."""
        if size >= ALIGNED_FROM:
            self._position += self._file.write(bytes(-self._position % ALIGNMENT))
        offset = self._position
        hasher = hashlib.sha512()
        for piece in pieces:
            hasher.update(piece)
            self._position += self._file.write(piece)
        return self._add(Content(kind, encoding, offset, self._position - offset, hasher.digest()))

    def append_hashed(self, data: bytes, digest: bytes) -> Content:
        """Adds one body whose digest the caller has computed already."""
        if len(data) >= ALIGNED_FROM:
            self._position += self._file.write(bytes(-self._position % ALIGNMENT))
        offset = self._position
        self._position += self._file.write(data)
        return self._add(Content(BODY, PLAIN, offset, len(data), digest))

    def take_back(self, content: Content) -> None:
        """Removes the content that was appended last; what comes next is written in its place."""
        if self._rows[-1] is not content:
            raise RuntimeError("only the last content of a pack can be taken back")
        self._rows.pop()
        self._file.seek(content.offset)
        self._file.truncate()
        self._position = content.offset

    def finish(self) -> int:
        """Writes table and trailer, and returns the size of the whole pack in bytes."""
        table = b"".join(
            _ROW.pack(row.kind, row.encoding, row.offset, row.length, row.digest) for row in self._rows
        )
        end = table + _TRAILER.pack(_TRAILER_MAGIC, self._position, len(self._rows))
        self._position += self._file.write(end + hashlib.sha512(end).digest())
        self._file.flush()
        return self._position

    def _add(self, content: Content) -> Content:
        self._rows.append(content)
        return content


class PackReader:
    """Reads ranges of one pack, from any thread. The file is the caller's to close."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._descriptor = file.fileno()
        self.name = name

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes of a range, in chunks. Raises StoreDamaged where the pack is shorter or can't be read."""
        end = offset + length
        while offset < end:
            try:
                chunk = os.pread(self._descriptor, min(CHUNK, end - offset), offset)
            except OSError as error:
                raise StoreDamaged(f"pack {self.name} can't be read: {error.strerror}") from error
            if not chunk:
                raise StoreDamaged(f"pack {self.name} ends before byte {end}")
            offset += len(chunk)
            yield chunk

    def digest(self, offset: int, length: int, advance: Callable[[int], object] = lambda _count: None) -> bytes:
        """The SHA-512 of a range; `advance` is told of bytes that were read. Raises StoreDamaged."""
        hasher = hashlib.sha512()
        for chunk in self.read(offset, length):
            hasher.update(chunk)
            advance(len(chunk))
        return hasher.digest()

    def checked(self, content: Content) -> bytes:
        """All bytes of a content, for those that are small. Raises StoreDamaged when they have another digest."""
        data = b"".join(self.read(content.offset, content.length))
        if hashlib.sha512(data).digest() != content.digest:
            raise StoreDamaged(f"pack {self.name} is damaged at byte {content.offset}")
        return data

    def contents(self) -> list[Content]:
        """The table. Raises StoreDamaged when header, table or trailer is not what was written."""
        size = self.size
        trailer_at = size - _TRAILER.size - _DIGEST_SIZE
        if trailer_at < len(HEADER) or b"".join(self.read(0, len(HEADER))) != HEADER:
            raise StoreDamaged(f"pack {self.name} has no valid header")
        magic, table_at, count = _TRAILER.unpack(b"".join(self.read(trailer_at, _TRAILER.size)))
        if magic != _TRAILER_MAGIC or table_at + count * _ROW.size != trailer_at:
            raise StoreDamaged(f"pack {self.name} has no valid trailer")
        end = b"".join(self.read(table_at, size - table_at))
        if hashlib.sha512(end[:-_DIGEST_SIZE]).digest() != end[-_DIGEST_SIZE:]:
            raise StoreDamaged(f"pack {self.name} has a damaged table of contents")
        return [Content(*row) for row in _ROW.iter_unpack(end[: count * _ROW.size])]

    def problems(self, advance: Callable[[int], object]) -> Iterator[str]:
        """Everything in this pack that is not as it was written; `advance` is told of bytes that were read."""
        try:
            contents = self.contents()
        except StoreDamaged as error:
            yield error.message
            return
        position = len(HEADER)
        for content in contents:
            yield from self._padding_problems(position, content.offset)
            if self.digest(content.offset, content.length, advance) != content.digest:
                yield f"pack {self.name} is damaged at byte {content.offset}"
            position = content.offset + content.length
        size = self.size
        yield from self._padding_problems(
            position, size - _DIGEST_SIZE - _TRAILER.size - len(contents) * _ROW.size
        )

    def _padding_problems(self, start: int, end: int) -> Iterator[str]:
        if any(any(chunk) for chunk in self.read(start, end - start)):
            yield f"pack {self.name} has non-zero padding after byte {start}"
