"""Is what is in the store what was stored? Database, packs and images are read in full and hashed again."""

import hashlib
from collections.abc import Iterator, Sequence

from acistore.errors import ImageNotFound, StoreDamaged
from acistore.store import index, sqlite
from acistore.store.disk import Disk
from acistore.store.export import OpenImage, open_image
from acistore.store.pipeline import Hashing
from acistore.store.records import Damage, StoredImage, VerifyReport


def verify(images: Sequence[StoredImage] | None, disk: Disk) -> VerifyReport:
    """Checks these images, or with None the whole store: the database, every pack and every image.

    Damage is reported, not raised; only a database that can't be read at all raises StoreDamaged.
    """
    damaged: list[Damage] = []
    if images is None:
        damaged += [Damage(None, problem) for problem in sqlite.integrity_problems(disk.database)]
        with disk.database.read() as connection:
            images = index.images(connection)
        damaged += list(_pack_damage(disk))
    size = 0
    for image in images:
        size += image.size
        damaged += list(_image_damage(image, disk))
    return VerifyReport(len(images), size, tuple(damaged))


def _image_damage(image: StoredImage, disk: Disk) -> Iterator[Damage]:
    try:
        with open_image(image, disk) as opened:
            if _has_its_id(image, opened):
                return
            yield from _damaged_bodies(image, opened, disk) or [
                Damage(image, "its tar has another SHA-512 than its image ID")
            ]
    except ImageNotFound:
        return  # removed while others were verified
    except StoreDamaged as error:
        yield Damage(image, error.message)


def _has_its_id(image: StoredImage, opened: OpenImage) -> bool:
    try:
        with Hashing() as whole:
            for _chunk in whole.through(opened.tar()):
                pass
            return whole.digest() == image.id.digest
    except StoreDamaged:
        return False


def _damaged_bodies(image: StoredImage, opened: OpenImage, disk: Disk) -> list[Damage]:
    """The bodies of a damaged image that are not what they were, by the paths they have in it."""
    damaged = []
    for digest in opened.bodies:
        hasher = hashlib.sha512()
        try:
            for chunk in opened.body(digest, 0):
                hasher.update(chunk)
            what = None if hasher.digest() == digest else "its body has another SHA-512"
        except StoreDamaged as error:
            what = error.message
        if what:
            with disk.database.read() as connection:
                paths = index.paths_of(connection, image, digest)
            damaged += [Damage(image, what, path.decode(errors="surrogateescape")) for path in paths]
    return damaged


def _pack_damage(disk: Disk) -> Iterator[Damage]:
    """Damage that no image would show: tables of contents, padding, manifests, records."""
    with disk.database.read() as connection:
        names = index.pack_names(connection)
    for name in names:
        try:
            with disk.packs.open(name) as reader:
                for _content, problem in reader.problems():
                    yield Damage(None, problem)
        except FileNotFoundError:
            with disk.database.read() as connection:
                if index.pack_exists(connection, name):
                    yield Damage(None, f"pack {name} is missing")
        except (StoreDamaged, OSError) as error:
            yield Damage(None, f"pack {name} can't be read: {error}")
