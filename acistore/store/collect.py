"""Garbage collection: images by age and rule, then packs with nothing alive, then packs mostly dead.

An image that is pinned, or needed by one that stays, stays. Packs and left-over files are only touched under
their lock, and after the index was asked again, so a running fetch loses nothing. A crash at any point leaves
at most a pack that nothing refers to, which the next collection takes away.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from acistore.errors import StoreDamaged
from acistore.store import changes, index
from acistore.store.disk import Disk
from acistore.store.packfile import BODY, SKELETON, Content, PackReader, PackWriter
from acistore.store.records import Collected, StoredImage
from acistore.store.workspace import delete_unlocked, disk_size, plain_files

# A pack is rewritten when more than this share of it is dead.
DEAD_SHARE = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays: images used within the grace period, the newest `keep` of each name; `max_size` bytes in all."""

    grace_period: timedelta
    keep: int = 0
    max_size: int | None = None
    dry_run: bool = False


def collect(rules: Rules, now: datetime, disk: Disk) -> Collected:
    """Removes what the rules let go and frees its space. A dry run changes nothing and says what would go."""
    with disk.database.write() as connection:
        gone, blobs = _remove_images(connection, rules, now)
        dead = changes.drop_dead_packs(connection)
        sparse = index.sparse_packs(connection, DEAD_SHARE)
        if rules.dry_run:
            connection.rollback()
    if rules.dry_run:
        strays = _strays(disk, rules.grace_period, now)
        freed = sum(map(disk.packs.size, dead)) + sum(size for _name, size in sparse)
        freed += sum(size for size, _delete in strays)
        return Collected(True, gone, blobs, len(dead), len(sparse), freed)
    before = _disk_size(disk)
    compacted = sum(_compact(name, disk) for name, _size in sparse)
    for _size, delete in _strays(disk, rules.grace_period, now):
        delete()
    freed = max(0, before - _disk_size(disk))
    return Collected(False, gone, blobs, len(dead), compacted, freed)


# --- which images go


def _remove_images(
    connection: Connection, rules: Rules, now: datetime
) -> tuple[tuple[tuple[StoredImage, str], ...], int]:
    """Takes the images out that go, and returns them, each with why, and the number of bodies that go too."""
    gone = []
    blobs = 0
    images = index.images(connection)
    newest = _newest(images, rules.keep)
    kept = _with_dependencies(
        connection, [image for image in images if image.key in newest or _stays(image, rules, now)]
    )
    for image in images:
        if image.key not in kept:
            blobs += changes.remove_image(connection, image)[0]
            gone.append((image, f"last used {_age(now - image.last_used_at)} ago"))
    for image, count in _beyond(rules.max_size, connection):
        blobs += count
        gone.append((image, f"least recently used, and the store is larger than {rules.max_size} bytes"))
    return tuple(gone), blobs


def _stays(image: StoredImage, rules: Rules, now: datetime) -> bool:
    return image.pinned or now - image.last_used_at < rules.grace_period


def _newest(images: Sequence[StoredImage], keep: int) -> set[int]:
    """The keys of the newest images of each name, so many of each. `images` are the newest first."""
    keys: dict[str, list[int]] = {}
    for image in images:
        keys.setdefault(image.name, []).append(image.key)
    return {key for of_name in keys.values() for key in of_name[:keep]}


def _with_dependencies(connection: Connection, images: Sequence[StoredImage]) -> set[int]:
    """The keys of these images and of all that they need, directly or not."""
    needed = {image.key for image in images}
    waiting = list(images)
    while waiting:
        found = [image for image in index.dependencies(connection, waiting) if image.key not in needed]
        waiting = list({image.key: image for image in found}.values())
        needed.update(image.key for image in waiting)
    return needed


def _beyond(max_size: int | None, connection: Connection) -> Iterator[tuple[StoredImage, int]]:
    """Removes the least recently used images until what is alive fits, and yields each with its bodies' number."""
    if max_size is None:
        return
    alive = index.live_size(connection)
    candidates = sorted(index.images(connection), key=lambda image: image.last_used_at)
    removed = True
    while removed:  # what an image needs can go once the image has gone
        removed = False
        for image in list(candidates):
            if alive <= max_size:
                return
            if image.pinned or index.dependents(connection, image):
                continue
            candidates.remove(image)
            count, size = changes.remove_image(connection, image)
            alive -= size
            removed = True
            yield image, count


def _age(age: timedelta) -> str:
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if age.total_seconds() >= 2 * seconds:
            return f"{int(age.total_seconds() // seconds)} {unit}"
    return "moments"


# --- which bytes go


def _compact(name: str, disk: Disk) -> bool:
    """Copies what is alive of a pack to a new one, which takes its place in one transaction."""
    with disk.database.read() as connection:
        alive = index.live_contents(connection, name)
    with disk.workspace.scratch() as file:
        writer = PackWriter(file)
        try:
            with disk.packs.open(name) as reader:
                moved = _copy_alive(reader, writer, alive)
        except FileNotFoundError:
            return False  # another collection was here
        except StoreDamaged as error:
            log.warning("%s; it is left as it is", error)
            return False
        size = writer.finish()
        new_name = disk.packs.put(file)
        with disk.database.write() as connection:
            return changes.move_contents(connection, name, new_name, size, moved)


def _copy_alive(reader: PackReader, writer: PackWriter, alive: set[bytes]) -> dict[tuple[bytes, bytes], Content]:
    """Copies the bodies that are alive and, if the image is, its skeleton, manifest and record."""
    moved = {}
    contents = reader.contents()
    image_is_alive = any(content.kind == SKELETON and content.digest in alive for content in contents)
    for content in contents:
        wanted = content.digest in alive if content.kind in (BODY, SKELETON) else image_is_alive
        if wanted:
            copy = writer.append(
                content.kind,
                content.encoding,
                reader.read(content.offset, content.length),
                size=content.length if content.kind == BODY else 0,
            )
            if copy.digest != content.digest:
                raise StoreDamaged(f"pack {reader.name} is damaged at byte {content.offset}")
            moved[content.kind, content.digest] = copy
    return moved


def _strays(disk: Disk, grace_period: timedelta, now: datetime) -> Iterator[tuple[int, Callable[[], object]]]:
    """The files that nothing refers to: the size of each on disk, and what deletes it."""

    def unreferenced(name: str) -> bool:
        with disk.database.read() as connection:
            return not index.pack_exists(connection, name)

    with disk.database.read() as connection:
        referenced = set(index.pack_names(connection))
    for name in disk.packs.list():
        if name not in referenced:
            yield disk.packs.size(name), partial(disk.packs.delete, name, unwanted=partial(unreferenced, name))
    for path in plain_files(disk.workspace.tmp):
        yield disk_size(path), partial(delete_unlocked, path, unwanted=lambda: True)
    for path in plain_files(disk.workspace.spool):
        if now.timestamp() - _last_written(path) >= grace_period.total_seconds():
            yield disk_size(path), partial(delete_unlocked, path, unwanted=lambda: True)


def _last_written(path: Path) -> float:
    """When a file was written last, in seconds since 1970; infinitely late when it has just gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _disk_size(disk: Disk) -> int:
    """The bytes on disk of everything that a collection can delete."""
    loose = sum(
        disk_size(path) for place in (disk.workspace.tmp, disk.workspace.spool) for path in plain_files(place)
    )
    return sum(map(disk.packs.size, disk.packs.list())) + loose
