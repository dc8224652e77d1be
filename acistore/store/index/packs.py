"""What the index knows of packs."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, func, select

from acistore.store.index.batches import batches
from acistore.store.records import LiveContents, Location, PackState
from acistore.store.schema import blob, image, mostly_dead, pack


def pack_exists(connection: Connection, name: str) -> bool:
    """Whether the index refers to a pack of that name."""
    return connection.execute(select(pack.c.id).where(pack.c.name == name)).first() is not None


def pack_names(connection: Connection) -> list[str]:
    """Every pack that the index refers to."""
    return list(connection.execute(select(pack.c.name)).scalars())


def mostly_dead_packs(connection: Connection) -> list[str]:
    """The packs of which more than half is dead."""
    return list(connection.execute(select(pack.c.name).where(mostly_dead)).scalars())


def pack_states(connection: Connection, names: Sequence[str]) -> Iterator[PackState]:
    """Of each of these packs how large it is, and what is alive in it."""
    for batch in batches(names):
        bodies = select(blob.c.pack_id, func.count()).group_by(blob.c.pack_id)
        skeletons = select(image.c.pack_id, func.count()).group_by(image.c.pack_id)
        rows = connection.execute(select(pack).where(pack.c.name.in_(batch))).all()
        counts: dict[int, int] = {}
        for query, column in ((bodies, blob.c.pack_id), (skeletons, image.c.pack_id)):
            for pack_id, count in connection.execute(query.where(column.in_([row.id for row in rows]))):
                counts[pack_id] = counts.get(pack_id, 0) + count
        yield from (PackState(row.name, row.size, row.dead_size, counts.get(row.id, 0)) for row in rows)


def live_contents(connection: Connection, pack_name: str) -> LiveContents:
    """What in a pack is referred to, in the order of its bytes."""
    pack_id = connection.execute(select(pack.c.id).where(pack.c.name == pack_name)).scalar_one_or_none()
    bodies = select(blob.c.digest, blob.c.offset, blob.c.size).where(blob.c.pack_id == pack_id)
    skeletons = select(
        image.c.id, image.c.skeleton_digest, image.c.skeleton_offset, image.c.skeleton_length
    ).where(image.c.pack_id == pack_id)
    return LiveContents(
        {
            digest: Location(pack_name, *place)
            for digest, *place in connection.execute(bodies.order_by(blob.c.offset))
        },
        {
            key: (digest, Location(pack_name, *place))
            for key, digest, *place in connection.execute(skeletons.order_by(image.c.skeleton_offset))
        },
    )


def live_size(connection: Connection) -> int:
    """The bytes of all packs, less what is dead in them."""
    query = select(func.coalesce(func.sum(pack.c.size - pack.c.dead_size), 0))
    return int(connection.execute(query).scalar_one())
