"""What a tar holds, told by its skeleton alone: no body is read, so a large file costs nothing."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from acistore.archive.tar.describe import Member
from acistore.archive.tar.entry import Entry
from acistore.archive.tar.reading import Reader
from acistore.archive.tar.skeleton import Playback
from acistore.archive.tar.sparse import Part
from acistore.errors import ArchiveRefused, StoreDamaged


def entries(skeleton: Iterable[bytes]) -> Iterator[Entry]:
    """The entries that `split` yielded when the tar was taken apart, from its skeleton (in chunks cut anywhere).

    Raises StoreDamaged where the skeleton makes no sense. Memory is bounded whatever it says.
    """
    return (entry for entry, _ in entries_and_parts(skeleton))


def entries_and_parts(skeleton: Iterable[bytes]) -> Iterator[tuple[Entry, Iterator[Part] | None]]:
    """The same, and with each sparse file its pieces, each with its place in the file; None with any other entry.

    All between the pieces is zeros. They can be taken until the next entry is asked for; taking them raises
    ValueError, whose text is the reason, where the file's map makes no sense or is larger than
    `acistore.archive.tar.sparse.MAP_LIMIT`. Raises StoreDamaged as `entries` does.
    """
    source = _Played(Playback(skeleton))
    reader = Reader(source)
    with _found_damaged():
        while (member := reader.next_member()) is not None:
            entry = member.entry
            if member.sparse:
                parts = _parts(reader, member)
                yield entry, parts
                with suppress(ValueError):
                    for _part in parts:
                        pass
            elif entry.kind == "file":
                yield entry.with_digest(reader.take_body(entry)), None
            else:
                yield entry, None
    source.finish()


@contextmanager
def _found_damaged() -> Iterator[None]:
    """What would refuse a tar is damage in a skeleton: the tar was read once without."""
    try:
        yield
    except ArchiveRefused as error:
        raise StoreDamaged(f"the skeleton of a tar is damaged: {error.message}", facts=error.facts) from error


def _parts(reader: Reader, member: Member) -> Iterator[Part]:
    with _found_damaged():
        yield from reader.sparse_parts(member)


class _Played:
    """The bytes that a skeleton has of a tar; where a body belongs, there is its digest."""

    def __init__(self, playback: Playback) -> None:
        self.offset = 0
        self._playback = playback
        self._left = 0  # of the run that the skeleton stands in
        self._ended = False

    def read(self, size: int) -> bytes:
        if 0 < size <= self._left:
            data = self._playback.read(size)
            self._take(len(data))
            if len(data) != size:
                raise self._playback.nonsense()
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        end = self.offset + size
        while self.offset < end and self._stands_in_run():
            length = min(self._left, end - self.offset)
            for piece in self._playback.run(length):
                self._take(len(piece))
                length -= len(piece)
                yield piece
            if length:
                raise self._playback.nonsense()

    def body(self, entry: Entry) -> bytes:
        """The digest that stands in place of a body."""
        record = None if self._left or self._ended else self._playback.next_record()
        if record is None or record[1] is None or record[0] != entry.size:
            raise self._playback.nonsense()
        self.offset += entry.size
        return record[1]

    def finish(self) -> None:
        """Reads what follows the end-of-archive marker, up to the skeleton's end."""
        while self._stands_in_run():
            for _piece in self.pieces(self._left):
                pass

    def _take(self, size: int) -> None:
        self.offset += size
        self._left -= size

    def _stands_in_run(self) -> bool:
        """Goes on to the next run if need be; False at the end. Raises StoreDamaged at a body."""
        while not (self._left or self._ended):
            record = self._playback.next_record()
            if record is None:
                self._ended = True
                return False
            self._left, digest = record
            if digest is not None:
                raise self._playback.nonsense()
        return not self._ended
