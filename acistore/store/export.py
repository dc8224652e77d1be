"""An image goes out again: its skeleton and its bodies become the identical tar."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

import zstandard

from acistore.archive.tar import join
from acistore.errors import ImageNotFound, StoreDamaged
from acistore.store import index
from acistore.store.disk import Disk
from acistore.store.packfile import CHUNK, PackReader
from acistore.store.packs import open_packs
from acistore.store.pipeline import Hashing
from acistore.store.records import Location, StoredImage

# Times that the index is asked again because packs were compacted between the question and their opening.
RETRIES = 5


def export(image: StoredImage, out: BinaryIO, disk: Disk) -> None:
    """Writes the uncompressed tar of an image.

    Raises StoreDamaged when its SHA-512 is not the image ID. What was written by then is not the image: a
    caller that can takes it back.
    """
    with open_image(image, disk) as opened, Hashing() as whole:
        for chunk in whole.through(opened.tar()):
            out.write(chunk)
        if whole.digest() != image.id.digest:
            raise StoreDamaged(
                f"{image.id} is damaged in the store: what is there has another SHA-512",
                next_step=f"acistore verify {image.id}",
            )


class OpenImage:
    """An image whose packs are open, so that nothing can take them away while it is read."""

    def __init__(self, packs: dict[str, PackReader], skeleton: Location, bodies: dict[bytes, Location]) -> None:
        self._packs = packs
        self._skeleton = skeleton
        self.skeleton_pack = skeleton.pack
        self.bodies = bodies

    def tar(self) -> Iterator[bytes]:
        """The tar, in chunks. Raises StoreDamaged where the store can't give it."""
        return join(self.skeleton(), self.body)

    def body(self, digest: bytes, _size: int) -> Iterator[bytes]:
        """The bytes of one body, in chunks."""
        if digest not in self.bodies:
            raise StoreDamaged(f"the body sha512-{digest.hex()} is not in the store")
        return self._read(self.bodies[digest])

    def skeleton(self) -> Iterator[bytes]:
        """The skeleton, decompressed, in chunks. Raises StoreDamaged where it can't be."""
        return decompressed(self._read(self._skeleton), self._skeleton.pack)

    def _read(self, place: Location) -> Iterator[bytes]:
        return self._packs[place.pack].read(place.offset, place.length)


def decompressed(chunks: Iterator[bytes], pack: str) -> Iterator[bytes]:
    """A skeleton from the bytes that a pack has of it, in chunks. Raises StoreDamaged."""
    reader = zstandard.ZstdDecompressor().stream_reader(cast(BinaryIO, _Stream(chunks)))
    try:
        while chunk := reader.read(CHUNK):
            yield chunk
    except zstandard.ZstdError as error:
        raise StoreDamaged(f"a skeleton in pack {pack} is damaged: {error}") from error


class _Stream:
    """Chunks as the file that zstandard reads from; a short read is allowed there."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        data = self._rest or next(self._chunks, b"")
        self._rest = data[size:]
        return data[:size]


@contextmanager
def open_image(image: StoredImage, disk: Disk) -> Iterator[OpenImage]:
    """Opens every pack that the image needs. Raises ImageNotFound, and StoreDamaged when a pack is missing."""
    with ExitStack() as stack:
        missing = ""
        for _attempt in range(RETRIES):
            with disk.database.read() as connection:
                skeleton = index.skeleton_of(connection, image)
                if skeleton is None:
                    raise ImageNotFound(f"{image.id} was removed from the store")
                bodies = index.bodies_of(connection, image)
            names = {skeleton.pack, *(place.pack for place in bodies.values())}
            try:
                readers = stack.enter_context(open_packs(disk.packs, names))
            except FileNotFoundError as error:
                missing = str(error.filename)
                continue
            yield OpenImage(readers, skeleton, bodies)
            return
        raise StoreDamaged(f"a pack of {image.id} is missing: {missing}")
