"""What is damaged of an image is replaced from a copy of its archive, whatever that came from: only the archive
that the image ID stands for is taken, so nothing has to be trusted again."""

from collections.abc import Iterator
from typing import BinaryIO

from acistore.errors import ImageMismatch, StoreDamaged
from acistore.store import changes, index
from acistore.store.disk import Disk
from acistore.store.ingest import append_record, unless_referred_to, write_contents
from acistore.store.packs import PackStorage
from acistore.store.records import Location, StoredImage


def heal(image: StoredImage, archive: BinaryIO, disk: Disk, *, limit: int) -> None:
    """Writes the bodies of the image that are lost, and its skeleton, to a new pack; the index then points there.

    `archive` may be compressed; `limit` bounds its plain size in bytes. Raises ImageMismatch when it is not the
    image, ArchiveRefused and DiskFull as an ingest does.
    """
    lost = frozenset(digest for digest, _place, _what in lost_bodies(image, disk))
    with disk.workspace.scratch() as file:
        contents = write_contents(archive, file, disk, limit, lost=lost)
        if contents.id != image.id:
            raise ImageMismatch(
                f"{image.image_name} can't be mended with an archive that is another image",
                facts={"needed": str(image.id), "found": str(contents.id)},
            )
        with disk.database.read() as connection:
            provenance = index.provenance_of(connection, image)
        append_record(contents.writer, image.id, image.size, image.raw_manifest, provenance)
        size = contents.writer.finish()
        name = disk.packs.put(file)
        with unless_referred_to(name, file, disk), disk.database.write() as connection:
            skeleton = {image.key: contents.skeleton}
            gone = changes.move_contents(connection, name, size, list(contents.blobs.values()), skeleton)
    for each in gone or ():
        disk.packs.delete(each, unwanted=lambda: True)


def lost_bodies(image: StoredImage, disk: Disk) -> Iterator[tuple[bytes, Location, str]]:
    """The bodies of an image that are not what they were: the digest of each, its place, and what is wrong."""
    with disk.database.read() as connection:
        bodies = index.bodies_of(connection, image)
    by_pack: dict[str, list[tuple[bytes, Location]]] = {}
    for digest, place in bodies.items():
        by_pack.setdefault(place.pack, []).append((digest, place))
    for name, places in by_pack.items():
        for digest, place, what in _lost_in(name, places, disk.packs):
            yield digest, place, what


def _lost_in(
    name: str, places: list[tuple[bytes, Location]], packs: PackStorage
) -> Iterator[tuple[bytes, Location, str]]:
    try:
        with packs.open(name) as pack:
            for digest, place in places:
                try:
                    if pack.digest(place.offset, place.length) != digest:
                        yield digest, place, "its body has another SHA-512"
                except StoreDamaged as error:
                    yield digest, place, error.message
    except OSError as error:
        for digest, place in places:
            yield digest, place, f"pack {name} can't be opened: {error.strerror}"
