"""Two threads beside the one that does the job, since hashing and decompression leave the interpreter alone."""

import hashlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Chunks (of about 1 MiB) that may wait between two threads.
DEPTH = 8


@contextmanager
def read_ahead(chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """The same chunks in the same order, produced by another thread; its exception is raised here."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
    stopped = threading.Event()

    def produce() -> None:
        end: BaseException | None = None
        try:
            for chunk in chunks:
                if stopped.is_set():
                    return
                waiting.put(chunk)
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer, who raises it
            end = error
        waiting.put(end)

    def consume() -> Iterator[bytes]:
        while (chunk := waiting.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    thread = threading.Thread(target=produce, name="acistore-read", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        while thread.is_alive():
            while not waiting.empty():  # a producer blocked on a full queue goes on and sees that it is over
                waiting.get_nowait()
            thread.join(0.01)


class Hashing:
    """SHA-512 of a stream, computed in a thread of its own, and its size in bytes. `digest()` ends it."""

    def __init__(self) -> None:
        self.size = 0
        self._hasher = hashlib.sha512()
        self._waiting: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._run, name="acistore-hash", daemon=True)

    def __enter__(self) -> "Hashing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def through(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Passes the chunks on, each hashed on its way."""
        for chunk in chunks:
            self._waiting.put(chunk)
            self.size += len(chunk)
            yield chunk

    def digest(self) -> bytes:
        """The digest of all that went through (64 bytes)."""
        self._waiting.put(None)
        self._thread.join()
        return self._hasher.digest()

    def _run(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            self._hasher.update(chunk)
