"""An iterable of chunks, cut anywhere, read as one stream with a position."""

from collections.abc import Iterable, Iterator


class Tape:
    """Reads forward only, and holds one chunk at a time."""

    __slots__ = ("_at", "_before", "_chunk", "_chunks")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0
        self._before = 0

    @property
    def offset(self) -> int:
        """How many bytes have been read."""
        return self._before + self._at

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end; for sizes that are bounded."""
        end = self._at + size
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            return data
        return b"".join(self.pieces(size))

    def at_hand(self, size: int) -> bool:
        """Whether `read(size)` is one slice of one chunk."""
        return self._at + size <= len(self._chunk)

    def pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes as they come, fewer only at the end."""
        while size and (self._at < len(self._chunk) or self._advance()):
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        while self._at < len(self._chunk) or self._advance():
            piece = self._chunk[self._at :]
            self._at = len(self._chunk)
            yield piece

    def _advance(self) -> bool:
        """Goes on to the next chunk that holds something."""
        for chunk in self._chunks:
            self._before += len(self._chunk)
            self._chunk, self._at = chunk, 0
            if chunk:
                return True
        return False
