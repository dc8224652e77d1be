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


def join(skeleton: Iterable[bytes], body: Callable[[bytes, int], Iterable[bytes]]) -> Iterator[bytes]:
    """The tar again, byte for byte, from its skeleton (in chunks cut anywhere) and its bodies.

    `body(digest, size)` gives the pieces of one body. Raises StoreDamaged where the skeleton makes no sense
    or a body is not as long as the skeleton says; whether every byte is right is for whoever hashes the result
    to say. Memory follows the pieces given, not what a damaged skeleton announces.
    """
    tape = Tape(skeleton)
    if tape.read(len(MAGIC)) != MAGIC:
        raise StoreDamaged("the skeleton of a tar has the wrong first bytes")
    produced = 0
    while (kind := tape.read(1)) != b"E":
        if kind == b"L":
            (size,) = _unpack(_RUN, tape)
            pieces: Iterable[bytes] = tape.pieces(size)
        elif kind == b"B":
            size, digest = _unpack(_BODY, tape)
            pieces = body(digest, size)
        else:
            raise _nonsense(tape)
        yield from _exactly(size, pieces, tape)
        produced += size
    (total,) = _unpack(_END, tape)
    if total != produced or any(tape.rest()):
        raise _nonsense(tape)


def _unpack(layout: struct.Struct, tape: Tape) -> tuple[Any, ...]:
    """The fields of a record, after its first byte."""
    data = tape.read(layout.size)
    if len(data) != layout.size:
        raise _nonsense(tape)
    return layout.unpack(data)


def _exactly(size: int, pieces: Iterable[bytes], tape: Tape) -> Iterator[bytes]:
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
            f"part of a tar is {found} than the {size} bytes that its skeleton announces",
            facts={"skeleton": f"byte {tape.offset}"},
        )


def _nonsense(tape: Tape) -> StoreDamaged:
    return StoreDamaged("the skeleton of a tar is damaged or cut off", facts={"skeleton": f"byte {tape.offset}"})
