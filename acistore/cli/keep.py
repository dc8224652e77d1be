"""Keep the store: what goes, what stays, and how much there is. Whether it is all well: verify.py."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import Output, count, facts, on_terminal, size, table, terminal_width
from acistore.cli.parameters import Command, checking, option, some_images
from acistore.cli.session import Session
from acistore.config import parse_duration, parse_size
from acistore.errors import ImageInUse

if TYPE_CHECKING:
    from acistore.store.records import Collected, Usage


@click.command(cls=Command, short_help="Take images out of the store.")
@some_images
@option("--force/--no-force", help="Take out pinned images too, and images that others depend on.")
@click.pass_obj
def rm(session: Session, images: Sequence[str], force: bool) -> int:
    """Take images out of the store, and print their IDs.

    They are gone at once; their bytes, as far as no other image needs them, are freed by the next gc. An image
    that is pinned or that another one depends on stays, unless this one goes too or --force is given.

    \b
      acistore rm example.com/app:1.0
      acistore rm sha512-6b4f
    """
    with session.existing_store() as store:
        found, code = session.try_each(images, store.get)
        wanted = list({image.key: image for image in found}.values())
        gone, freed, refusals = _remove(store, wanted, force=force)
    for refusal in refusals:
        session.output.error(refusal)
        code = code or refusal.exit_code
    if session.output.json:
        removed = [{"id": image.id, "name": image.name} for image in gone]
        session.output.document({"removed": removed, "reclaimable_size": freed})
    else:
        session.output.lines(str(image.id) for image in gone)
        if gone:
            names = ", ".join(str(image.image_name) for image in gone)
            session.output.note(f"removed {names}; the next acistore gc frees {size(freed)}")
    return code


def _remove(
    store: "acistore.Store", images: Sequence["acistore.StoredImage"], *, force: bool
) -> tuple[list["acistore.StoredImage"], int, list[ImageInUse]]:
    """Removes what can be, whatever the order; returns what went, the bytes to be freed, and the refusals."""
    gone: list[acistore.StoredImage] = []
    freed = 0
    while True:
        refused: list[tuple[acistore.StoredImage, ImageInUse]] = []
        for image in images:
            try:
                freed += store.remove([image], force=force)
                gone.append(image)
            except ImageInUse as error:
                refused.append((image, error))
        # One that was needed by another of these can go now.
        if len(refused) in (0, len(images)):
            return gone, freed, [error for _image, error in refused]
        images = [image for image, _error in refused]


def _whole_number(text: object) -> int:
    if not str(text).isdecimal():
        raise ValueError(f"{text!r} is not a whole number, such as 3")
    return int(str(text))


@click.command(cls=Command, short_help="Free the space of what is not needed.")
@option(
    "--grace-period",
    callback=checking(parse_duration),
    metavar="DURATION",
    help=(
        "Images used within this time stay: 90s, 24h, 7d; 0s is valid. By default 24h, or gc.grace_period of the "
        "configuration."
    ),
)
@option(
    "--keep",
    callback=checking(_whole_number),
    metavar="N",
    help=(
        "The newest N images of each name stay, whatever their age. By default 0, or gc.keep of the configuration."
    ),
)
@option(
    "--max-size",
    callback=checking(parse_size),
    metavar="SIZE",
    help=(
        "The least recently used images beyond this size of the store go, even within the grace period: 20GiB. "
        "By default no limit, or gc.max_size of the configuration."
    ),
)
@option("--dry-run/--no-dry-run", help="Change nothing, and say what would go.")
@click.pass_obj
def gc(
    session: Session, *, grace_period: str | None, keep: str | None, max_size: str | None, dry_run: bool
) -> None:
    """Remove images that have not been used for a while, and free the space of what nothing refers to.

    Pinned images stay, and so does what an image that stays depends on. A fetch that is running loses nothing.
    Partial downloads go as well, when nothing has come of them within the grace period; the next fetch would have
    gone on with them.

    \b
      acistore gc --dry-run
      acistore gc --grace-period 7d --keep 2
      acistore gc --max-size 20GiB
    """
    given = {"gc.grace_period": grace_period, "gc.keep": keep, "gc.max_size": max_size}
    rules = session.config(given).gc
    with session.existing_store() as store:
        collected = store.collect(
            grace_period=rules.grace_period, keep=rules.keep, max_size=rules.max_size, dry_run=dry_run
        )
    if session.output.json:
        session.output.document(_collected(collected))
    else:
        _print_collected(session.output, collected)


def _collected(collected: "Collected") -> dict[str, object]:
    return {
        "dry_run": collected.dry_run,
        "images": [{"id": image.id, "name": image.name, "why": why} for image, why in collected.images],
        "blobs": collected.blobs,
        "packs": collected.packs,
        "compacted": collected.compacted,
        "downloads": collected.downloads,
        "freed_size": collected.freed_size,
    }


def _print_collected(output: Output, collected: "Collected") -> None:
    removed, freed, compacted = ("removed", "freed", "rewritten")
    if collected.dry_run:
        removed, freed, compacted = ("would remove", "would free", "to be rewritten")
    for image, why in collected.images:
        output.line(f"{removed} {image.image_name}")
        output.lines(facts([("id", str(image.id)), ("why", why)]))
    what = [
        count(len(collected.images), "image"),
        count(collected.blobs, "file body", "file bodies"),
        count(collected.packs, "pack"),
    ]
    if collected.downloads:
        what.append(count(collected.downloads, "partial download"))
    if collected.compacted:
        what.append(f"{count(collected.compacted, 'pack')} {compacted}")
    output.line(f"{freed} {size(collected.freed_size)}: {', '.join(what)}")


@click.command(cls=Command, short_help="Keep images whatever their age.")
@some_images
@click.pass_obj
def pin(session: Session, images: Sequence[str]) -> int:
    """Pin images, and print their IDs. A pinned image, and what it depends on, is not collected by gc; rm leaves
    it alone unless --force is given.

    \b
      acistore pin example.com/app:1.0
    """
    return _set_pinned(session, images, pinned=True)


@click.command(cls=Command, short_help="Let pinned images go by their age again.")
@some_images
@click.pass_obj
def unpin(session: Session, images: Sequence[str]) -> int:
    """End what pin began, and print the images' IDs. They are not removed: the next gc decides as for any other.

    \b
      acistore unpin example.com/app:1.0
    """
    return _set_pinned(session, images, pinned=False)


def _set_pinned(session: Session, images: Sequence[str], *, pinned: bool) -> int:
    with session.existing_store() as store:

        def set_one(wanted: str) -> "acistore.StoredImage":
            image = store.get(wanted)
            (store.pin if pinned else store.unpin)(image)
            return image

        found, code = session.try_each(images, set_one)
    if session.output.json:
        session.output.document([{"id": image.id, "name": image.name, "pinned": pinned} for image in found])
    else:
        session.output.lines(str(image.id) for image in found)
    return code


@click.command(cls=Command, short_help="Say how much the store holds, and on how much disk.")
@click.pass_obj
def df(session: Session) -> None:
    """Say how much the store holds, how much disk that takes, and what of it could be freed.

    OWN is the bytes of file bodies that no other image in the store has; the rest of an image is shared.

    \b
      acistore df
      acistore --json df | jq .reclaimable_size
    """
    with session.existing_store() as store:
        usage = store.usage()
    if session.output.json:
        session.output.document(_usage(usage))
        return
    largest = sorted(usage.per_image, key=lambda each: each[1], reverse=True)
    rows = [(str(image.image_name), size(image.size), size(own)) for image, own in largest]
    if rows:
        cut_to = terminal_width() if on_terminal(sys.stdout) else None
        session.output.lines(table([("NAME", "SIZE", "OWN"), *rows], cut_to=cut_to))
        session.output.lines([""])
    saved = size(usage.saved_size) if usage.saved_size >= 0 else f"-{size(-usage.saved_size)}"
    session.output.lines(
        facts(
            [
                ("images", f"{usage.images:,}, {size(usage.apparent_size)} as archives"),
                ("content", f"{size(usage.unique_size)}, each file body counted once"),
                (
                    "on disk",
                    f"{size(usage.disk_size)}, {size(usage.reserve_size)} of it in reserve for a full disk",
                ),
                (
                    "downloads",
                    f"{size(usage.downloads_size)} of that in partial ones, with which the next fetch goes on",
                ),
                ("saved", f"{saved} against the archives side by side"),
                ("to be freed", f"{size(usage.reclaimable_size)} by acistore gc --grace-period 0s"),
            ]
        )
    )


def _usage(usage: "Usage") -> dict[str, object]:
    return {
        "images": usage.images,
        "apparent_size": usage.apparent_size,
        "unique_size": usage.unique_size,
        "disk_size": usage.disk_size,
        "reserve_size": usage.reserve_size,
        "downloads_size": usage.downloads_size,
        "saved_size": usage.saved_size,
        "reclaimable_size": usage.reclaimable_size,
        "per_image": [
            {"id": image.id, "name": image.name, "size": image.size, "unique_size": own}
            for image, own in usage.per_image
        ],
    }
