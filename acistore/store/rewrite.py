"""A pack is written anew: what is alive of it goes into another one, which takes its place.

Driven by the index alone, so it mends a pack as well whose own table of contents is damaged.
"""

from acistore.errors import StoreDamaged
from acistore.store import changes, index, schema
from acistore.store.disk import Disk
from acistore.store.ingest import append_record, unless_referred_to
from acistore.store.packfile import BODY, PLAIN, SKELETON, ZSTD, Content, PackReader, PackWriter
from acistore.store.records import Location


def rewrite(name: str, disk: Disk) -> int | None:
    """Copies what is alive of a pack, each content checked against its digest, and deletes the old one.

    Returns the bytes freed on disk (fewer than none where the file system rounds up), or None when the pack went
    away meanwhile. Raises StoreDamaged when something alive can't be read; then nothing is changed.
    """
    with disk.workspace.scratch() as file:
        writer = PackWriter(file)
        try:
            bodies, skeletons = _copy(name, writer, disk)
        except FileNotFoundError:
            return None
        size = writer.finish()
        new_name = disk.packs.put(file)
        with unless_referred_to(new_name, file, disk), disk.database.write() as connection:
            gone = changes.move_contents(connection, new_name, size, bodies, skeletons)
    if gone is None:
        return None
    freed = sum(disk.packs.delete(each, unwanted=lambda: True) for each in gone)
    return freed - disk.packs.size(new_name)


def _copy(name: str, writer: PackWriter, disk: Disk) -> tuple[list[Content], dict[int, Content]]:
    """The bodies, and then of each image in the pack the skeleton (by the image's key), manifest and record."""
    with disk.database.read() as connection:
        alive = index.live_contents(connection, name)
        images = index.images(connection, schema.image.c.id.in_(alive.skeletons))
        records = [(image, index.provenance_of(connection, image)) for image in images]
    with disk.packs.open(name) as pack:
        bodies = [_copied(pack, place, digest, BODY, writer) for digest, place in alive.bodies.items()]
        skeletons = {}
        for image, provenance in records:
            digest, place = alive.skeletons[image.key]
            skeletons[image.key] = _copied(pack, place, digest, SKELETON, writer)
            append_record(writer, image.id, image.size, image.raw_manifest, provenance)
    return bodies, skeletons


def _copied(pack: PackReader, place: Location, digest: bytes, kind: bytes, writer: PackWriter) -> Content:
    encoding, size = (PLAIN, place.length) if kind == BODY else (ZSTD, 0)
    copy = writer.append(kind, encoding, pack.read(place.offset, place.length), size=size)
    if copy.digest != digest:
        raise StoreDamaged(f"pack {pack.name} is damaged at byte {place.offset}")
    return copy
