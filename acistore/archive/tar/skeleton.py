"""The skeleton of a tar: what is left when the bodies are taken out, and where they go.

The format, kept in stores for good (numbers are unsigned and big-endian):

    skeleton = magic record* end
    magic    = "acistore-skeleton-1\\n"
    record   = "L" length:u32 byte*length       a run of the tar's own bytes
             | "B" size:u64 digest:64 bytes      a body: that many bytes, with that SHA-512
    end      = "E" size:u64                      the size of the whole tar; nothing follows

Runs are as long as they can be, up to RUN_LIMIT, so a tar has one skeleton however its chunks were cut. It is
written to be compressed: headers are alike, digests are not, and those make up most of what remains.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from acistore.archive.tar.tape import Tape
from acistore.errors import StoreDamaged

MAGIC = b"acistore-skeleton-1\n"
RUN_LIMIT = 64 << 10

_RUN = struct.Struct(">I")
_BODY = struct.Struct(">Q64s")
_END = struct.Struct(">Q")
_EMIT_SIZE = 64 << 10


class Recorder:
    """Writes a skeleton, in pieces of about 64 KiB, to `emit`."""

    __slots__ = ("_emit", "_out", "_run", "_size")

    def __init__(self, emit: Callable[[bytes], object]) -> None:
        self._emit = emit
        self._out = bytearray(MAGIC)
        self._run = bytearray()
        self._size = 0

    def literal(self, data: bytes) -> None:
        """Bytes of the tar, as they are."""
        self._size += len(data)
        self._run += data
        while len(self._run) >= RUN_LIMIT:
            self._end_run()

    def body(self, size: int, digest: bytes) -> None:
        """A body that is kept elsewhere."""
        self._size += size
        if self._run:
            self._end_run()
        self._out += b"B" + _BODY.pack(size, digest)
        if len(self._out) >= _EMIT_SIZE:
            self._hand_over()

    def finish(self) -> None:
        """Ends the skeleton: without this it is not valid."""
        if self._run:
            self._end_run()
        self._out += b"E" + _END.pack(self._size)
        self._hand_over()

    def _end_run(self) -> None:
        run = self._run[:RUN_LIMIT]
        del self._run[:RUN_LIMIT]
        self._out += b"L" + _RUN.pack(len(run))
        self._out += run
        if len(self._out) >= _EMIT_SIZE:
            self._hand_over()

    def _hand_over(self) -> None:
        self._emit(bytes(self._out))
        self._out.clear()


class Playback:
    """Reads a skeleton (in chunks cut anywhere), record by record."""

    __slots__ = ("_produced", "_tape")

    def __init__(self, skeleton: Iterable[bytes]) -> None:
        self._tape = Tape(skeleton)
        self._produced = 0
        if self._tape.read(len(MAGIC)) != MAGIC:
            raise StoreDamaged("the skeleton of a tar has the wrong first bytes")

    def next_record(self) -> tuple[int, bytes | None] | None:
        """How many bytes of the tar come next, and the digest if they are a body. A run is then to be taken with
        `run`. None at the end. Raises StoreDamaged where the skeleton makes no sense."""
        kind = self._tape.read(1)
        if kind == b"L":
            (size,), digest = self._unpack(_RUN), None
        elif kind == b"B":
            size, digest = self._unpack(_BODY)
        elif kind == b"E":
            (total,) = self._unpack(_END)
            if total != self._produced or any(self._tape.rest()):
                raise self.nonsense()
            return None
        else:
            raise self.nonsense()
        self._produced += size
        return size, digest

    def run(self, size: int) -> Iterator[bytes]:
        """`size` bytes of a run as they come, fewer only at the end of a skeleton that is cut off."""
        return self._tape.pieces(size)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes of a run, in one piece; fewer as in `run`."""
        return self._tape.read(size)

    def nonsense(self) -> StoreDamaged:
        """The error for what can't be, at this place."""
        return StoreDamaged("the skeleton of a tar is damaged or cut off", facts=self.place())

    def place(self) -> dict[str, str]:
        """How far the skeleton has been read, as the facts of an error."""
        return {"skeleton": f"byte {self._tape.offset}"}

    def _unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The fields of a record, after its first byte."""
        data = self._tape.read(layout.size)
        if len(data) != layout.size:
            raise self.nonsense()
        return layout.unpack(data)


def join(skeleton: Iterable[bytes], body: Callable[[bytes, int], Iterable[bytes]]) -> Iterator[bytes]:
    """The tar again, byte for byte, from its skeleton (in chunks cut anywhere) and its bodies.

    `body(digest, size)` gives the pieces of one body. Raises StoreDamaged where the skeleton makes no sense
    or a body is not as long as the skeleton says; whether every byte is right is for whoever hashes the result
    to say. Memory follows the pieces given, not what a damaged skeleton announces.
    """
    playback = Playback(skeleton)
    while (record := playback.next_record()) is not None:
        size, digest = record
        pieces = playback.run(size) if digest is None else body(digest, size)
        yield from _exactly(size, pieces, playback)


def _exactly(size: int, pieces: Iterable[bytes], playback: Playback) -> Iterator[bytes]:
    """The pieces, which must have `size` bytes together."""
    left = size
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        found = "longer" if left < 0 else "shorter"
        raise StoreDamaged(
            f"part of a tar is {found} than the {size} bytes that its skeleton announces", facts=playback.place()
        )
