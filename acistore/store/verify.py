"""Is what is in the store what was stored? Database, packs and images are read in full and hashed again.

Packs against their own digests and against the index; images against their IDs, and what the index says of them
against their archives. What the database says of itself is in consistency.py.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from acistore.errors import AcistoreError, ImageNotFound, StoreDamaged
from acistore.progress import Progress
from acistore.store import consistency, index, sqlite
from acistore.store.disk import Disk
from acistore.store.export import OpenImage, open_image
from acistore.store.heal import lost_bodies
from acistore.store.inside import path_inside
from acistore.store.records import Damage, StoredImage, VerifyReport
from acistore.store.sqlite import NONSENSE

Value = TypeVar("Value")


def verify(images: Sequence[StoredImage] | None, disk: Disk, progress: Progress) -> VerifyReport:
    """Checks these images, or with None the whole store: the database, every pack and every image.

    Damage is reported, not raised; only a database that can't be read at all raises StoreDamaged.
    """
    damaged: list[Damage] = []
    packs: list[str] = []
    if images is None:
        damaged += consistency.database_damage(disk.database)
        images, packs = _everything(disk)
    size = sum(image.size for image in images)
    if not images and not packs:
        return VerifyReport(0, 0, tuple(damaged))
    meter = progress.start("verifying", size + sum(map(disk.packs.size, packs)))
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            damaged += _all(pool, partial(_pack_damage, disk=disk, advance=meter.advance), packs)
            damaged += _all(pool, partial(_image_damage, disk=disk, advance=meter.advance), images)
    finally:
        meter.done()
    return VerifyReport(len(images), size, tuple(damaged))


def _everything(disk: Disk) -> tuple[list[StoredImage], list[str]]:
    """All images and packs that the database tells of. Raises StoreDamaged where it makes no sense."""
    try:
        with disk.database.read() as connection:
            images, packs = index.images(connection), index.pack_names(connection)
        if not all(isinstance(name, str) for name in packs):
            raise TypeError("the name of a pack is no text")
    except NONSENSE as error:
        raise StoreDamaged(
            f"what the store's database {disk.database.path} says can't be right: {error}", next_step=sqlite.REPAIR
        ) from error
    return images, packs


def _all(
    pool: ThreadPoolExecutor, check: Callable[[Value], Iterable[Damage]], values: Sequence[Value]
) -> list[Damage]:
    return [damage for found in pool.map(lambda value: list(check(value)), values) for damage in found]


def _pack_damage(name: str, disk: Disk, advance: Callable[[int], object]) -> Iterator[Damage]:
    """Bytes of a pack that are not what they were, and rows of the index that don't fit it."""
    with disk.database.read() as connection:
        rows = index.live_contents(connection, name)
        state = next(iter(index.pack_states(connection, [name])), None)
    if state is None:
        return  # collected meanwhile
    try:
        with disk.packs.open(name) as pack:
            problems = list(pack.problems(advance))
            yield from (Damage(None, problem, pack=name) for problem in problems)
            if not problems:
                yield from consistency.pack_damage(state, rows, pack)
    except FileNotFoundError:
        with disk.database.read() as connection:
            if index.pack_exists(connection, name):
                yield Damage(None, f"pack {name} is missing", pack=name)
    except StoreDamaged as error:
        yield Damage(None, error.message, pack=name)
    except OSError as error:
        yield Damage(None, f"pack {name} can't be read: {error.strerror}", pack=name)
    except NONSENSE as error:
        yield Damage(None, f"database: what it says of pack {name} can't be right: {error}", in_index=True)


def _image_damage(image: StoredImage, disk: Disk, advance: Callable[[int], object]) -> Iterator[Damage]:
    try:
        with open_image(image, disk) as opened:
            size = _size_if_sound(image, opened, advance)
            if size is None:
                yield from _damaged_bodies(image, disk) or [
                    Damage(image, "its tar has another SHA-512 than its image ID", pack=opened.skeleton_pack)
                ]
                return
            problems = consistency.image_problems(image, size, opened, disk.database)
            if problems and not _is_gone(image, disk):
                yield from (Damage(image, problem, in_index=True) for problem in problems)
    except ImageNotFound:
        return  # removed while others were verified
    except AcistoreError as error:
        if not _is_gone(image, disk):
            yield Damage(image, error.message)
    except NONSENSE as error:
        yield Damage(image, f"database: what it says of it can't be right: {error}", in_index=True)


def _is_gone(image: StoredImage, disk: Disk) -> bool:
    with disk.database.read() as connection:
        found = index.image_by_id(connection, image.id)
    return found is None or found.key != image.key


def _size_if_sound(image: StoredImage, opened: OpenImage, advance: Callable[[int], object]) -> int | None:
    """The bytes of the image's tar; None when they are not those that its ID stands for."""
    hasher, size = hashlib.sha512(), 0
    try:
        for chunk in opened.tar():
            hasher.update(chunk)
            size += len(chunk)
            advance(len(chunk))
    except StoreDamaged:
        return None
    return size if hasher.digest() == image.id.digest else None


def _damaged_bodies(image: StoredImage, disk: Disk) -> list[Damage]:
    """The bodies of a damaged image that are not what they were, by the paths they have in it."""
    damaged = []
    for digest, place, what in lost_bodies(image, disk):
        with disk.database.read() as connection:
            paths = index.paths_of(connection, image, digest)
        damaged += [
            Damage(image, what, path_inside(path.decode(errors="surrogateescape")), pack=place.pack)
            for path in paths
        ]
    return damaged
