"""A tar read entry by entry, in one pass and bounded memory, wherever its bytes come from.

What the headers mean is decided here alone; `split` and `entries` differ in the source that they give.
"""

from collections.abc import Iterator
from typing import Protocol

from acistore.archive.tar.describe import Member, describe
from acistore.archive.tar.entry import Entry
from acistore.archive.tar.extended import RECORD_LIMIT, parse_global, read_extras
from acistore.archive.tar.header import BLOCK, ZERO_BLOCK, Header, number, parse_header, size, text
from acistore.archive.tar.sparse import OLD_MORE, OLD_MORE_FIRST, SparseMap, read_parts
from acistore.errors import ArchiveRefused

_EXTRA_TYPES = frozenset((b"x", b"g", b"L", b"K"))


class Source(Protocol):
    """The bytes of a tar, taken in its order, and its bodies."""

    @property
    def offset(self) -> int:
        """How many bytes of the tar have been taken."""

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end; for sizes that are bounded."""

    def pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes as they come, fewer only at the end."""

    def body(self, entry: Entry) -> bytes:
        """Takes the body of a plain file, of `entry.size` bytes; returns its SHA-512 (64 bytes)."""


class Reader:
    """Goes along the entries. The caller takes what follows each header before asking for the next one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._defaults: dict[bytes, bytes] = {}
        self._block = b""
        self._before: dict[bytes, bytes] = {}

    def next_member(self) -> Member | None:
        """The next entry, the source standing at what follows its header; None at the end of the archive."""
        before = self._before = {}
        while True:
            offset = self._source.offset
            block = self._block = self._read_block()
            if block == ZERO_BLOCK:
                if before:
                    raise _refused("an extended header without an entry", offset)
                self._end_archive()
                return None
            try:
                header = parse_header(block)
                if header.type in _EXTRA_TYPES:
                    self._read_extra(header, before)
                    continue
                return describe(header, block, read_extras(before, self._defaults))
            except ValueError as error:
                raise _refused(str(error), offset, _decoded(text(block[:100]))) from None

    def take_body(self, entry: Entry) -> bytes:
        """Takes what follows the header of a plain file: its body, of which it returns the SHA-512."""
        digest = self._source.body(entry)
        self._take_padding(entry.size, entry.path)
        return digest

    def skip_sparse(self, member: Member) -> None:
        """Takes what follows the header of a sparse file, unseen."""
        for _header in self._old_sparse_headers():
            pass
        self._skip(self._source.offset + member.stored, member.entry.path)
        self._take_padding(member.stored, member.entry.path)

    def sparse_parts(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """Takes what follows the header of a sparse file: pieces of it, each with its place in the file.

        All between the pieces is zeros. Must be exhausted. Raises ValueError, whose text is the reason, when the
        file's map makes no sense, after all of it was taken.
        """
        source, name, reason = self._source, member.entry.path, ""
        sparse_map = SparseMap(self._block, self._before.get(b"x", b""), self._old_sparse_headers())
        end = source.offset + member.stored
        regions = sparse_map.regions(lambda size: source.read(min(size, end - source.offset)))
        try:
            yield from read_parts(regions, source, member.entry.size, end)
        except ValueError as error:
            reason = str(error)
        self._skip(end, name)
        self._take_padding(member.stored, name)
        if reason:
            raise ValueError(reason)

    def _skip(self, end: int, name: str) -> None:
        """Takes everything before an offset."""
        for _piece in self._source.pieces(end - self._source.offset):
            pass
        if self._source.offset != end:
            raise truncated(self._source.offset, name)

    def _take_padding(self, length: int, name: str) -> None:
        padding = -length % BLOCK
        if padding and len(self._source.read(padding)) != padding:
            raise truncated(self._source.offset, name)

    def _read_block(self) -> bytes:
        block = self._source.read(BLOCK)
        if len(block) != BLOCK:
            raise truncated(self._source.offset)
        return block

    def _read_extra(self, header: Header, before: dict[bytes, bytes]) -> None:
        """Reads the body of an extended header: into `before` if it is for the next entry alone."""
        length = size(number(header.size))
        if length > RECORD_LIMIT:
            raise ValueError(f"an extended header of {length} bytes, more than the {RECORD_LIMIT} allowed")
        data = self._source.read(length)
        if len(data) != length:
            raise truncated(self._source.offset)
        self._take_padding(length, _decoded(text(header.name)))
        if header.type in before or (header.type == b"g" and before):
            raise ValueError("two extended headers where tar programs take different ones")
        if header.type == b"g":
            self._defaults.update(parse_global(data))
        else:
            before[header.type] = data

    def _old_sparse_headers(self) -> Iterator[bytes]:
        """The headers of GNU's old sparse format that follow the first, where that is the format."""
        more = self._block[156:157] == b"S" and self._block[OLD_MORE_FIRST]
        while more:
            block = self._read_block()
            yield block
            more = block[OLD_MORE]

    def _end_archive(self) -> None:
        """After one block of zeros: a second one, or the end (as some programs leave it)."""
        offset = self._source.offset
        block = self._source.read(BLOCK)
        if block and block != ZERO_BLOCK:
            raise _refused("a single block of zeros, after which tar programs do different things", offset)


def truncated(offset: int, name: str = "") -> ArchiveRefused:
    """The tar ends where something has to follow."""
    where = f" in {name}" if name else ""
    return ArchiveRefused(f"the tar is truncated{where}", facts={"offset": f"byte {offset}"})


def _refused(reason: str, offset: int, name: str = "") -> ArchiveRefused:
    facts = {"entry": name} if name else {}
    return ArchiveRefused(f"the tar is refused: {reason}", facts={**facts, "offset": f"byte {offset}"})


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
