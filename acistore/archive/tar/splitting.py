"""A tar taken apart, entry by entry, in one pass and bounded memory.

Headers, the records before them, padding, sparse files whole, and all that follows the end-of-archive marker
go to the skeleton as they are; bodies of plain files go to the sink.
"""

from collections.abc import Callable, Iterable, Iterator

from acistore.archive.tar.describe import Member, describe
from acistore.archive.tar.entry import BodySink, Entry
from acistore.archive.tar.extended import RECORD_LIMIT, parse_global, read_extras
from acistore.archive.tar.header import BLOCK, ZERO_BLOCK, Header, number, parse_header, size, text
from acistore.archive.tar.skeleton import Recorder
from acistore.archive.tar.tape import Tape
from acistore.errors import ArchiveRefused

_EXTRA_TYPES = frozenset((b"x", b"g", b"L", b"K"))
# Where GNU's old sparse headers, the first and the following ones, say that another one follows.
_SPARSE_MORE_FIRST = 482
_SPARSE_MORE = 504


def split(chunks: Iterable[bytes], *, bodies: BodySink, skeleton: Callable[[bytes], object]) -> Iterator[Entry]:
    """The entries of a tar, in its order, each yielded when its body is with the sink.

    `chunks` may be cut anywhere. Every body of a plain file, empty ones too, is put into `bodies`, in one
    piece where one chunk has all of it. The skeleton goes to `skeleton` in pieces, and is complete once the
    entries are exhausted. Raises ArchiveRefused, with the offset and the entry's name, where the tar is cut
    off, breaks its format, or would be read differently by different tar programs.
    """
    tape = Tape(chunks)
    reader = _Reader(tape, Recorder(skeleton))
    while (member := reader.next_member()) is not None:
        entry = member.entry
        if entry.kind == "file" and not member.sparse:
            entry = entry.with_digest(reader.take_body(entry, bodies))
        elif member.stored:
            reader.keep(member.stored, entry.path)
        yield entry
    reader.keep_rest()


class _Reader:
    """Goes along the tape, and records what does not go elsewhere."""

    def __init__(self, tape: Tape, recorder: Recorder) -> None:
        self._tape = tape
        self._recorder = recorder
        self._defaults: dict[bytes, bytes] = {}

    def next_member(self) -> Member | None:
        """The next entry, the tape standing at what follows its header; None at the end of the archive."""
        before: dict[bytes, bytes] = {}
        while True:
            offset = self._tape.offset
            block = self._keep_block()
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
                member = describe(header, block, read_extras(before, self._defaults))
            except ValueError as error:
                raise _refused(str(error), offset, _decoded(text(block[:100]))) from None
            if header.type == b"S":
                self._keep_sparse_headers(block)
            return member

    def take_body(self, entry: Entry, bodies: BodySink) -> bytes:
        """Gives the body to the sink, and records what it returns."""
        tape, length = self._tape, entry.size
        if tape.at_hand(length):
            digest = bodies.put(entry, (tape.read(length),))
        else:
            end = tape.offset + length
            digest = bodies.put(entry, self._body_pieces(length, entry.path))
            if tape.offset != end:
                raise RuntimeError(f"a body sink returned before it had all of {entry.path}")
        self._recorder.body(length, digest)
        self._keep_padding(length, entry.path)
        return digest

    def keep(self, length: int, name: str) -> None:
        """Records what follows a header as it is."""
        for piece in self._body_pieces(length, name):
            self._recorder.literal(piece)
        self._keep_padding(length, name)

    def keep_rest(self) -> None:
        """Records what follows the end-of-archive marker, and ends the skeleton."""
        for piece in self._tape.rest():
            self._recorder.literal(piece)
        self._recorder.finish()

    def _body_pieces(self, length: int, name: str) -> Iterator[bytes]:
        end = self._tape.offset + length
        yield from self._tape.pieces(length)
        if self._tape.offset != end:
            raise _truncated(self._tape, name)

    def _keep_padding(self, length: int, name: str) -> None:
        padding = -length % BLOCK
        if padding:
            data = self._tape.read(padding)
            if len(data) != padding:
                raise _truncated(self._tape, name)
            self._recorder.literal(data)

    def _keep_block(self) -> bytes:
        block = self._tape.read(BLOCK)
        if len(block) != BLOCK:
            raise _truncated(self._tape)
        self._recorder.literal(block)
        return block

    def _read_extra(self, header: Header, before: dict[bytes, bytes]) -> None:
        """Reads the body of an extended header: into `before` if it is for the next entry alone."""
        length = size(number(header.size))
        if length > RECORD_LIMIT:
            raise ValueError(f"an extended header of {length} bytes, more than the {RECORD_LIMIT} allowed")
        data = self._tape.read(length)
        if len(data) != length:
            raise _truncated(self._tape)
        self._recorder.literal(data)
        self._keep_padding(length, _decoded(text(header.name)))
        if header.type in before or (header.type == b"g" and before):
            raise ValueError("two extended headers where tar programs take different ones")
        if header.type == b"g":
            self._defaults.update(parse_global(data))
        else:
            before[header.type] = data

    def _keep_sparse_headers(self, block: bytes) -> None:
        """Records the headers of GNU's old sparse format that follow the first."""
        more = block[_SPARSE_MORE_FIRST]
        while more:
            more = self._keep_block()[_SPARSE_MORE]

    def _end_archive(self) -> None:
        """After one block of zeros: a second one, or the end (as some programs leave it)."""
        offset = self._tape.offset
        block = self._tape.read(BLOCK)
        if block and block != ZERO_BLOCK:
            raise _refused("a single block of zeros, after which tar programs do different things", offset)
        self._recorder.literal(block)


def _refused(reason: str, offset: int, name: str = "") -> ArchiveRefused:
    facts = {"entry": name} if name else {}
    return ArchiveRefused(f"the tar is refused: {reason}", facts={**facts, "offset": f"byte {offset}"})


def _truncated(tape: Tape, name: str = "") -> ArchiveRefused:
    where = f" in {name}" if name else ""
    return ArchiveRefused(f"the tar is truncated{where}", facts={"offset": f"byte {tape.offset}"})


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
