"""A tar taken apart, entry by entry, in one pass and bounded memory.

Headers, the records before them, padding, sparse files whole, and all that follows the end-of-archive marker
go to the skeleton as they are; bodies of plain files go to the sink.
"""

from collections.abc import Callable, Iterable, Iterator

from acistore.archive.tar.entry import BodySink, Entry
from acistore.archive.tar.reading import Reader, truncated
from acistore.archive.tar.skeleton import Recorder
from acistore.archive.tar.tape import Tape


def split(chunks: Iterable[bytes], *, bodies: BodySink, skeleton: Callable[[bytes], object]) -> Iterator[Entry]:
    """The entries of a tar, in its order, each yielded when its body is with the sink.

    `chunks` may be cut anywhere. Every body of a plain file, empty ones too, is put into `bodies`, in one
    piece where one chunk has all of it. The skeleton goes to `skeleton` in pieces, and is complete once the
    entries are exhausted. Raises ArchiveRefused, with the offset and the entry's name, where the tar is cut
    off, breaks its format, or would be read differently by different tar programs.
    """
    source = _Recorded(Tape(chunks), Recorder(skeleton), bodies)
    reader = Reader(source)
    while (member := reader.next_member()) is not None:
        entry = member.entry
        if member.sparse:
            reader.skip_sparse(member)
        elif entry.kind == "file":
            entry = entry.with_digest(reader.take_body(entry))
        yield entry
    source.finish()


class _Recorded:
    """A tape of which all that is taken is recorded, or goes to the sink."""

    def __init__(self, tape: Tape, recorder: Recorder, bodies: BodySink) -> None:
        self._tape = tape
        self._recorder = recorder
        self._bodies = bodies

    @property
    def offset(self) -> int:
        return self._tape.offset

    def read(self, size: int) -> bytes:
        data = self._tape.read(size)
        self._recorder.literal(data)
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        for piece in self._tape.pieces(size):
            self._recorder.literal(piece)
            yield piece

    def body(self, entry: Entry) -> bytes:
        """Gives the body to the sink, and records what it returns."""
        tape, length = self._tape, entry.size
        if tape.at_hand(length):
            digest = self._bodies.put(entry, (tape.read(length),))
        else:
            end = tape.offset + length
            digest = self._bodies.put(entry, self._body_pieces(length, entry.path))
            if tape.offset != end:
                raise RuntimeError(f"a body sink returned before it had all of {entry.path}")
        self._recorder.body(length, digest)
        return digest

    def finish(self) -> None:
        """Records what follows the end-of-archive marker, and ends the skeleton."""
        for piece in self._tape.rest():
            self._recorder.literal(piece)
        self._recorder.finish()

    def _body_pieces(self, length: int, name: str) -> Iterator[bytes]:
        end = self._tape.offset + length
        yield from self._tape.pieces(length)
        if self._tape.offset != end:
            raise truncated(self._tape.offset, name)
