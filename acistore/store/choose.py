"""Which images a garbage collection lets go, and what that would free. Only questions; nothing is changed here.

The cost follows the images that are old enough to go, not those that stay.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Row, Select, Table, delete, func, insert, select

from acistore.events import log_of
from acistore.naming import ImageName
from acistore.store import index
from acistore.store.records import StoredImage
from acistore.store.schema import blob, dependency, file, image, pack


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays: images used within the grace period, the newest `keep` of each name; `max_size` bytes in all."""

    grace_period: timedelta
    keep: int = 0
    max_size: int | None = None


log = log_of(__name__)

Choice = tuple[StoredImage, str]

_EPOCH = datetime.fromtimestamp(0, UTC)
# Lives as long as the connection, and is nobody else's: it may be written to where the store may not.
_going = Table("going", MetaData(), Column("image_id", Integer, primary_key=True), prefixes=["TEMPORARY"])


def choose(connection: Connection, rules: Rules, now: datetime) -> list[Choice]:
    """The images that go, each with why. One that is pinned, or needed by one that stays, stays."""
    chosen = [(each, f"last used {_age(now - each.last_used_at)} ago") for each in _unused(connection, rules, now)]
    if rules.max_size is not None:
        chosen += _beyond(connection, rules.max_size, {each.key for each, _why in chosen})
    return chosen


def _unused(connection: Connection, rules: Rules, now: datetime) -> list[StoredImage]:
    """The images that the grace rule lets go, the newest first."""
    latest_use = max(now - min(rules.grace_period, now - _EPOCH), _EPOCH)
    # Without a grace period the clock does not matter, which may have been wrong when an image was used.
    unused = [image.c.last_used_at <= latest_use] if rules.grace_period else []
    old = index.images(connection, *unused, image.c.pinned.is_(False))
    newest: dict[str, set[int]] = {}
    for each in old:
        if rules.keep and each.name not in newest:
            newest[each.name] = _newest(connection, each.name, rules.keep)
    going = {each.key: each for each in old if each.key not in newest.get(each.name, ())}
    users = _Users(connection, old)
    while needed := [key for key, each in going.items() if any(user not in going for user in users.of(each))]:
        for key in needed:  # and what these need is needed as well
            del going[key]
    return list(going.values())


def _newest(connection: Connection, name: str, count: int) -> set[int]:
    """The keys of the newest images of a name, so many."""
    query = select(image.c.id).where(image.c.name == name)
    newest = query.order_by(image.c.imported_at.desc(), image.c.id.desc()).limit(count)
    return set(connection.execute(newest).scalars())


class _Users:
    """Which images need one of the candidates: those whose dependency is met by just this one."""

    def __init__(self, connection: Connection, candidates: Sequence[StoredImage]) -> None:
        self._connection = connection
        self._needed = {
            name
            for names in index.batches(list({each.name for each in candidates}))
            for name in connection.execute(select(dependency.c.name).where(dependency.c.name.in_(names))).scalars()
        }
        self._best: dict[tuple[str, str], int | None] = {}

    def of(self, needed: StoredImage) -> Iterator[int]:
        """The keys of the images that need this one directly."""
        if needed.name not in self._needed:
            return
        rows = self._connection.execute(select(dependency).where(dependency.c.name == needed.name)).all()
        for row in rows:
            if row.image_id == needed.key or not index.satisfies(needed, row):
                continue
            if row.digest or self._best_for(row) == needed.key:
                yield row.image_id

    def _best_for(self, row: Row[Any]) -> int | None:
        asked = (row.name, row.labels)
        if asked not in self._best:
            found = index.best_by_name(self._connection, ImageName(row.name, json.loads(row.labels)))
            self._best[asked] = None if found is None else found.key
        return self._best[asked]


def _beyond(connection: Connection, max_size: int, chosen: set[int]) -> Iterator[Choice]:
    """The least recently used images that go beside those chosen already until what is alive fits."""
    going = Going(connection, chosen)
    alive = index.live_size(connection) - sum(freed.size for freed in going.freed().values())
    if alive <= max_size:
        return
    others = index.images(connection, image.c.pinned.is_(False), image.c.id.not_in(select(_going.c.image_id)))
    candidates = sorted(others, key=lambda each: each.last_used_at)
    users = _Users(connection, candidates)
    found = True
    while found:  # what an image needs can go once the image does
        found = False
        for each in list(candidates):
            if alive <= max_size:
                return
            if all(user in going for user in users.of(each)):
                candidates.remove(each)
                alive -= going.add(each)
                found = True
                yield each, f"least recently used, and the store is larger than {max_size} bytes"
    if alive > max_size:
        log.warning(
            "what is pinned, or needed by what is, has %d bytes: more than the %d allowed", alive, max_size
        )


@dataclass(frozen=True, slots=True)
class Freed:
    """What goes of a pack: bytes, and the number of bodies and skeletons."""

    size: int = 0
    contents: int = 0


class Going:
    """Images as if they had gone, and what that frees."""

    def __init__(self, connection: Connection, keys: Iterable[int]) -> None:
        self._connection = connection
        self._keys = set(keys)
        _going.create(connection, checkfirst=True)
        connection.execute(delete(_going))
        if self._keys:
            connection.execute(insert(_going), [{"image_id": key} for key in self._keys])

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def add(self, gone: StoredImage) -> int:
        """One more; returns the bytes that are freed by it beside those before."""
        self._keys.add(gone.key)
        self._connection.execute(insert(_going).values(image_id=gone.key))
        bodies = select(func.coalesce(func.sum(blob.c.size), 0)).where(
            blob.c.id.in_(_orphans().where(file.c.image_id == gone.key))
        )
        skeleton = select(image.c.skeleton_length).where(image.c.id == gone.key)
        return int(self._connection.execute(bodies).scalar_one() + self._connection.execute(skeleton).scalar_one())

    def blobs(self) -> int:
        """The number of bodies that only these images need."""
        if self._are_all():
            return self._connection.execute(select(func.count()).select_from(blob)).scalar_one()
        orphans = _orphans().subquery()
        return self._connection.execute(select(func.count()).select_from(orphans)).scalar_one()

    def freed(self) -> dict[str, Freed]:
        """What in each pack, by its name, only these images need: bodies and their own skeletons."""
        bodies = select(pack.c.name, func.sum(blob.c.size), func.count()).join_from(blob, pack)
        skeletons = select(pack.c.name, func.sum(image.c.skeleton_length), func.count()).join_from(image, pack)
        if not self._are_all():
            bodies = bodies.where(blob.c.id.in_(_orphans()))
            skeletons = skeletons.where(image.c.id.in_(select(_going.c.image_id)))
        freed: dict[str, Freed] = {}
        for query in (bodies, skeletons):
            for name, size, count in self._connection.execute(query.group_by(pack.c.name)):
                before = freed.get(name, Freed())
                freed[name] = Freed(before.size + size, before.contents + count)
        return freed

    def _are_all(self) -> bool:
        """Whether no image stays: then nothing has to be asked body by body."""
        total = self._connection.execute(select(func.count()).select_from(image)).scalar_one()
        return len(self._keys) == total


def _orphans() -> Select[Any]:
    """Selects the keys of the bodies that images in `going` refer to, and no other one does."""
    other = file.alias()
    stays = select(other.c.image_id).where(
        other.c.blob_id == file.c.blob_id, other.c.image_id.not_in(select(_going.c.image_id))
    )
    # As a join, SQLite would walk through the bodies of the whole store.
    mine = select(file.c.blob_id).distinct().where(file.c.image_id.in_(select(_going.c.image_id)))
    return mine.where(file.c.blob_id.is_not(None), ~stays.exists())


def _age(age: timedelta) -> str:
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if age.total_seconds() >= 2 * seconds:
            return f"{int(age.total_seconds() // seconds)} {unit}"
    return "moments"
