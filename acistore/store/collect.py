"""Garbage collection: images by age and rule, then packs with nothing alive, then packs mostly dead.

Packs and left-over files are only touched under their lock, and after the index was asked again, so a running
fetch loses nothing. A crash at any point leaves at most a pack that nothing refers to, which the next collection
takes away.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from acistore.errors import DiskFull, StoreDamaged
from acistore.events import log_of
from acistore.store import changes, index
from acistore.store.choose import Choice, Freed, Going, Rules, choose
from acistore.store.disk import Disk
from acistore.store.records import Collected
from acistore.store.rewrite import rewrite
from acistore.store.schema import is_mostly_dead
from acistore.store.spool import Spool
from acistore.store.workspace import delete_unlocked, disk_size, plain_files

log = log_of(__name__)


@dataclass
class _Tally:
    """What has been done so far. `freed` is bytes on disk."""

    images: list[Choice] = field(default_factory=list)
    blobs: int = 0
    packs: int = 0
    compacted: int = 0
    downloads: int = 0
    freed: int = 0


def collect(rules: Rules, now: datetime, disk: Disk) -> Collected:
    """Removes what the rules let go and frees its space. On a full disk image by image: that takes less."""
    tally = _Tally()
    try:
        _delete_strays(disk, rules, now, tally)
        _remove_images(disk, rules, now, tally)
    except DiskFull:
        disk.workspace.give_up_reserve()
        _delete_strays(disk, rules, now, tally)
        while _remove_images(disk, rules, now, tally, at_most=1):
            pass
    _compact(disk, tally)
    tally.freed += disk.database.shrink()
    return Collected(
        dry_run=False,
        images=tuple(tally.images),
        blobs=tally.blobs,
        packs=tally.packs,
        compacted=tally.compacted,
        downloads=tally.downloads,
        freed_size=max(0, tally.freed),
    )


def plan(rules: Rules, now: datetime, disk: Disk) -> Collected:
    """What `collect` would do. Changes nothing, and keeps nobody waiting."""
    with disk.database.read() as connection:
        chosen = choose(connection, rules, now)
        going = Going(connection, [image.key for image, _why in chosen])
        blobs, freed = going.blobs(), going.freed()
        states = list(index.pack_states(connection, [*{*freed, *index.mostly_dead_packs(connection)}]))
    dead = [state.name for state in states if state.contents == freed.get(state.name, Freed()).contents]
    left = {
        state: state.dead_size + freed.get(state.name, Freed()).size for state in states if state.name not in dead
    }
    sparse = [size for state, size in left.items() if is_mostly_dead(state.size, size)]
    strays = list(_strays(disk, rules.grace_period, now))
    size = sum(map(disk.packs.size, dead)) + sum(sparse) + sum(stray.size for stray in strays)
    return Collected(
        dry_run=True,
        images=tuple(chosen),
        blobs=blobs,
        packs=len(dead) + sum(stray.what == "pack" for stray in strays),
        compacted=len(sparse),
        downloads=sum(stray.what == "download" and stray.size > 0 for stray in strays),
        freed_size=size,
    )


def _remove_images(disk: Disk, rules: Rules, now: datetime, tally: _Tally, *, at_most: int | None = None) -> bool:
    """Takes the images out that go, at most so many, and what only they needed; whether there were any."""
    with disk.database.write() as connection:
        chosen = choose(connection, rules, now)[:at_most]
        freed = [changes.remove_image(connection, image) for image, _why in chosen]
    tally.images += chosen
    tally.blobs += sum(each.blobs for each in freed)
    for name in (name for each in freed for name in each.packs):
        freed_size = disk.packs.delete(name, unwanted=lambda: True)
        tally.freed += freed_size
        tally.packs += freed_size > 0
    return bool(chosen)


# --- which bytes go


@dataclass(frozen=True, slots=True)
class _Stray:
    """A file that nothing refers to. `size` is bytes on disk; `delete` returns how many it has freed."""

    size: int
    what: Literal["pack", "download", "rest"]
    delete: Callable[[], int]


def _strays(disk: Disk, grace_period: timedelta, now: datetime) -> Iterator[_Stray]:
    """Packs that the index does not know, and what was left behind on its way in."""

    def unreferenced(name: str) -> bool:
        disk.database.settle()  # a commit that failed may yet come to refer to it
        with disk.database.read() as connection:
            return not index.pack_exists(connection, name)

    with disk.database.read() as connection:
        referenced = set(index.pack_names(connection))
    for name in disk.packs.list():
        if name not in referenced:
            delete = partial(disk.packs.delete, name, unwanted=partial(unreferenced, name))
            yield _Stray(disk.packs.size(name), "pack", delete)
    for path in plain_files(disk.workspace.tmp):
        yield _Stray(disk_size(path), "rest", partial(delete_unlocked, path, unwanted=lambda: True))
    for left in Spool(disk.workspace).leftovers(now.timestamp(), grace_period.total_seconds()):
        yield _Stray(left.size, "download" if left.is_download else "rest", left.delete)


def _delete_strays(disk: Disk, rules: Rules, now: datetime, tally: _Tally) -> None:
    for stray in _strays(disk, rules.grace_period, now):
        freed = stray.delete()
        tally.freed += freed
        tally.packs += stray.what == "pack" and freed > 0
        tally.downloads += stray.what == "download" and freed > 0


def _compact(disk: Disk, tally: _Tally) -> None:
    """Copies what is alive of packs that are mostly dead to new ones, where there is room."""
    with disk.database.read() as connection:
        names = index.mostly_dead_packs(connection)
    for name in names:
        try:
            with disk.workspace.writing():
                freed = rewrite(name, disk)
        except StoreDamaged as error:
            log.warning("%s; it is left as it is", error)
        except DiskFull:
            log.warning("the disk is too full to free the dead part of pack %s", name)
        else:
            tally.freed += freed or 0
            tally.compacted += freed is not None
