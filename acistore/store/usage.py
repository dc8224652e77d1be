"""How much a store holds, and how much disk that takes."""

from datetime import datetime, timedelta

from acistore.store import index
from acistore.store.choose import Rules
from acistore.store.collect import plan
from acistore.store.disk import Disk
from acistore.store.records import Usage
from acistore.store.spool import Spool
from acistore.store.workspace import disk_size


def usage(disk: Disk, now: datetime) -> Usage:
    """Counts everything. Changes nothing, and keeps nobody waiting."""
    reclaimable = plan(Rules(grace_period=timedelta(0)), now, disk).freed_size
    with disk.database.read() as connection:
        images = index.images(connection)
        unique = index.unique_sizes(connection)
        bodies = index.bodies_size(connection)
    return Usage(
        images=len(images),
        apparent_size=sum(image.size for image in images),
        unique_size=bodies,
        disk_size=disk.workspace.disk_size(),
        reserve_size=disk_size(disk.workspace.reserve),
        downloads_size=Spool(disk.workspace).disk_size(),
        reclaimable_size=reclaimable,
        per_image=tuple((image, unique.get(image.key, 0)) for image in images),
    )
