"""What a stream is compressed with, and its plain bytes.

Told by the first bytes, never by a name. gzip, bzip2, xz and zstd are unpacked as their programs do, several
members (streams, frames) one after another included; anything else is taken to be plain. Stricter than some
of the programs: bytes after the last member are refused, as is a stream that is cut off or corrupt.

A hostile stream costs no memory: one step yields no more than was asked for, and decoders whose window the
stream itself sizes are held to WINDOW_LIMIT.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip_lib

from acistore.errors import ArchiveRefused, raising

# What a decoder may need beside its input and output: 128 MiB is the zstd program's own bound (--long=27) and
# about twice what `xz -9` takes.
WINDOW_LIMIT = 128 << 20

# Larger inputs bring no speed, and what follows a member is copied once for each member in it.
_INPUT_SIZE = 256 << 10
# A gzip header holds a file name and a comment of any length; gzip writes no more than 255 bytes of either.
_GZIP_TEXT_LIMIT = 64 << 10
_ZSTD_BLOCK_LIMIT = 128 << 10
_ZSTD_RLE = 1
_IsalError = cast(type[Exception], igzip_lib.IsalError)  # isal's stub has it as an instance


def compression_name(head: bytes) -> str:
    """By the first 6 bytes of a stream, or all if it has fewer: "gzip", "bzip2", "xz", "zstd" or "none"."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"BZh") and b"1" <= head[3:4] <= b"9":
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head[:4] == b"\x28\xb5\x2f\xfd" or _is_skippable(head):
        return "zstd"
    return "none"


def decompress(raw: BinaryIO, *, limit: int, chunk_size: int = 1 << 20) -> Iterator[bytes]:
    """The plain bytes of `raw`, from where it stands to its end, in pieces of about `chunk_size` bytes at most.

    Raises ArchiveRefused where the stream is empty, truncated, corrupt, followed by anything else, in need of
    a window above WINDOW_LIMIT, or longer than `limit` plain bytes.
    """
    produced = 0
    for chunk in _plain_bytes(raw, chunk_size):
        produced += len(chunk)
        if produced > limit:
            raise ArchiveRefused(
                f"the archive is larger than the limit of {limit} bytes, unpacked",
                next_step=raising("limits.unpacked_size"),
            )
        yield chunk


class _Source:
    """The compressed bytes, read ahead of the decoders, so that what one leaves is there for the next."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._ahead = b""
        self._at = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes (small), fewer only at the end."""
        while len(self._ahead) - self._at < size and (more := self._raw.read(_INPUT_SIZE)):
            self._ahead = self._ahead[self._at :] + more
            self._at = 0
        return self._ahead[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes (small)."""
        data = self.peek(size)
        if len(data) < size:
            raise EOFError
        self._at += size
        return data

    def some(self) -> bytes:
        """Whatever is at hand, at least a byte except at the end."""
        self.peek(1)
        data = self._ahead[self._at :]
        self._at = len(self._ahead)
        return data

    def give_back(self, size: int) -> None:
        """Puts back the last `size` bytes of what `some` has just handed out."""
        self._at -= size

    def skip(self, size: int) -> None:
        """Passes over `size` bytes, however many."""
        while size:
            data = self.some()
            if not data:
                raise EOFError
            self.give_back(max(0, len(data) - size))
            size -= min(size, len(data))


def _plain_bytes(raw: BinaryIO, chunk_size: int) -> Iterator[bytes]:
    """What all members hold, one after another."""
    source = _Source(raw)
    name = compression_name(source.peek(6))
    unpack = _UNPACKERS.get(name)
    if unpack is None:
        if not source.peek(1):
            raise ArchiveRefused("the archive is empty")
        yield source.some()
        while chunk := raw.read(chunk_size):
            yield chunk
        return
    try:
        while head := source.peek(6):
            if compression_name(head) != name:
                raise ArchiveRefused(f"the archive is followed by something else after the end of its {name} data")
            yield from unpack(source, chunk_size)
    except EOFError:
        raise ArchiveRefused(f"the archive is truncated: its {name} data has no end") from None
    except _Corrupt as error:
        raise ArchiveRefused(f"the archive is corrupt: its {name} data can't be unpacked ({error})") from error


class _Corrupt(Exception):
    """A member that breaks its format; the text is the reason."""


class _Decoder(Protocol):
    """What the decoders of bz2, lzma and igzip_lib have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _run(decoder: _Decoder, source: _Source, chunk_size: int) -> Iterator[bytes]:
    """Everything until the decoder has seen the end of its member."""
    while not decoder.eof:
        data = source.some() if decoder.needs_input else b""
        if not data and decoder.needs_input:
            raise EOFError
        try:
            chunk = decoder.decompress(data, chunk_size)
        except (_IsalError, lzma.LZMAError, OSError) as error:  # bz2 raises a bare OSError
            raise _Corrupt(error) from error
        if chunk:
            yield chunk
    source.give_back(len(decoder.unused_data))


def _gzip(source: _Source, chunk_size: int) -> Iterator[bytes]:
    """One member (RFC 1952).

    Its header is read here: isal takes optional fields of a header for deflate data when the end of an input
    falls into them.
    """
    header = source.take(10)
    flags = header[3]
    if header[2] != 8 or flags & 0xE0:
        raise _Corrupt("unknown compression method or flags")
    if flags & 4:  # FEXTRA
        length = source.take(2)
        header += length + source.take(int.from_bytes(length, "little"))
    for flag in (8, 16):  # FNAME, FCOMMENT
        if flags & flag:
            header += _gzip_text(source)
    if flags & 2 and source.take(2) != (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little"):  # FHCRC
        raise _Corrupt("wrong header checksum")
    yield from _run(igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER), source, chunk_size)


def _gzip_text(source: _Source) -> bytes:
    """A text in a gzip header, with the NUL at its end."""
    text, nul, _ = source.peek(_GZIP_TEXT_LIMIT).partition(b"\0")
    if not nul and len(text) == _GZIP_TEXT_LIMIT:
        raise _Corrupt("a name or comment of unreasonable length")
    return source.take(len(text) + 1)


def _bzip2(source: _Source, chunk_size: int) -> Iterator[bytes]:
    """One stream."""
    return _run(bz2.BZ2Decompressor(), source, chunk_size)


def _xz(source: _Source, chunk_size: int) -> Iterator[bytes]:
    """One stream and the padding after it: zeros, a multiple of 4 (.xz file format, section 2.2)."""
    yield from _run(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW_LIMIT), source, chunk_size)
    padding = 0
    while data := source.some():
        rest = data.lstrip(b"\0")
        padding += len(data) - len(rest)
        if rest:
            source.give_back(len(rest))
            break
    if padding % 4:
        raise _Corrupt("padding that is no multiple of 4 bytes")


def _zstd(source: _Source, chunk_size: int) -> Iterator[bytes]:
    """One frame (RFC 8878), cut into its blocks here.

    The decoder has no bound on its output, but a block has: 128 KiB. And only the frame's structure tells a
    frame that is cut off from one that has ended.
    """
    if _is_skippable(source.peek(4)):
        source.skip(int.from_bytes(source.take(8)[4:], "little"))
        return
    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()
    data = source.take(5)
    descriptor = data[4]
    data += source.take(_zstd_header_rest(descriptor))
    at_once = max(1, chunk_size // _ZSTD_BLOCK_LIMIT)
    while not decoder.eof:
        blocks, last = _zstd_blocks(source, at_once)
        data += blocks
        if last and descriptor & 4:
            data += source.take(4)  # the checksum
        try:
            chunk = decoder.decompress(data)
        except zstandard.ZstdError as error:
            raise _Corrupt(error) from error
        if last and not decoder.eof:
            raise _Corrupt("a frame that goes on after its last block")
        data = b""
        if chunk:
            yield chunk


def _zstd_blocks(source: _Source, count: int) -> tuple[bytes, bool]:
    """The next blocks of a frame, compressed, `count` or up to the last one, and whether that is among them."""
    blocks = bytearray()
    for _ in range(count):
        head = source.take(3)
        fields = int.from_bytes(head, "little")
        kind, size = fields >> 1 & 3, fields >> 3
        if size > _ZSTD_BLOCK_LIMIT:
            raise _Corrupt("a block that is too large")
        blocks += head + source.take(1 if kind == _ZSTD_RLE else size)
        if fields & 1:
            return bytes(blocks), True
    return bytes(blocks), False


def _zstd_header_rest(descriptor: int) -> int:
    """The length of a frame header after its descriptor (RFC 8878, section 3.1.1.1.1)."""
    single_segment = bool(descriptor & 0x20)
    window = 0 if single_segment else 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (int(single_segment), 2, 4, 8)[descriptor >> 6]
    return window + dictionary + content


def _is_skippable(head: bytes) -> bool:
    """Whether a zstd frame begins that holds no data (RFC 8878, section 3.1.2)."""
    return head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


_UNPACKERS: dict[str, Callable[[_Source, int], Iterator[bytes]]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "xz": _xz,
    "zstd": _zstd,
}
