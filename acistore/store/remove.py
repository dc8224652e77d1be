"""Images are taken out because somebody says so. What a collection takes by its rules is in collect.py."""

from collections.abc import Collection, Sequence

from acistore.errors import ImageInUse
from acistore.store import changes, index, schema
from acistore.store.disk import Disk
from acistore.store.records import StoredImage


def remove(keys: Collection[int], disk: Disk, *, force: bool) -> int:
    """Takes these images (by their keys) out, all or none; returns the bytes that the next collection can free.

    Raises ImageInUse for one that is pinned, or needed by another that stays, unless `force`.
    """
    with disk.database.write() as connection:
        images = index.images(connection, schema.image.c.id.in_(keys))
        if not force:
            for image in images:
                _refuse_if_in_use(image, index.dependents(connection, image, without=keys))
        freed = [changes.remove_image(connection, image) for image in images]
        sparse = list(index.pack_states(connection, index.mostly_dead_packs(connection)))
    gone = sum(disk.packs.size(name) for each in freed for name in each.packs)
    return gone + sum(state.dead_size for state in sparse)


def _refuse_if_in_use(image: StoredImage, users: Sequence[StoredImage]) -> None:
    if image.pinned:
        raise ImageInUse(f"{image.image_name} is pinned", next_step=f"acistore unpin {image.id}")
    if users:
        raise ImageInUse(
            f"{image.image_name} is needed by {users[0].image_name}",
            facts={"id": str(image.id)} | {"needed by": ", ".join(str(user.id) for user in users)},
            next_step=f"acistore rm --force {image.id}",
        )
