"""Keep the store: what goes, what stays, and whether it is all well."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import Output, count, facts, size
from acistore.cli.parameters import Command, any_images, checking, option, some_images
from acistore.cli.session import Session
from acistore.config import parse_duration, parse_size
from acistore.errors import ImageInUse, StoreDamaged

if TYPE_CHECKING:
    from acistore.store.records import Collected, VerifyReport


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
    if collected.compacted:
        what.append(f"{count(collected.compacted, 'pack')} {compacted}")
    output.line(f"{freed} {size(collected.freed_size)}: {', '.join(what)}")


@click.command(cls=Command, short_help="Check that the store holds what was stored.")
@any_images
@click.pass_obj
def verify(session: Session, images: Sequence[str]) -> int:
    """Read images in full and compare them with the SHA-512 that is their ID.

    Without IMAGE everything is checked: the database, every pack, every image. On damage the report names what
    is damaged, and the exit code is 6.

    \b
      acistore verify
      acistore verify example.com/app:1.0
    """
    with session.existing_store() as store:
        if images:
            found, code = session.try_each(images, store.get)
            report = store.verify(list({image.key: image for image in found}.values()))
        else:
            report, code = store.verify(), 0
    if session.output.json:
        session.output.document(_verified(report))
    elif report.images_checked or not code:
        _print_verified(session.output, report)
    if not report.ok:
        damage = _damage(report)
        session.output.error(damage)
        code = code or damage.exit_code
    return code


def _verified(report: "VerifyReport") -> dict[str, object]:
    return {
        "ok": report.ok,
        "images_checked": report.images_checked,
        "bytes_checked": report.bytes_checked,
        "damaged": [
            {
                "id": each.image and each.image.id,
                "name": each.image and each.image.name,
                "what": each.what,
                "path": each.path,
            }
            for each in report.damaged
        ],
        "repaired": [],
        "not_admitted": [],
    }


def _print_verified(output: Output, report: "VerifyReport") -> None:
    """What is damaged, image by image, and how much was looked at."""
    for image in dict.fromkeys(each.image and each.image.id for each in report.damaged):
        damages = [each for each in report.damaged if (each.image and each.image.id) == image]
        named = damages[0].image
        output.line(f"{named.image_name if named else 'the store'} is damaged")
        about = [("id", str(image))] if image else []
        output.lines(facts([*about, *((each.path or "damage", each.what) for each in damages)]))
    checked = f"{count(report.images_checked, 'image')}, {size(report.bytes_checked)}"
    output.line(f"checked {checked}: {'no damage' if report.ok else 'damage found'}")


def _damage(report: "VerifyReport") -> StoreDamaged:
    damaged = {each.image.key: each.image for each in report.damaged if each.image}
    if not damaged:
        return StoreDamaged(
            "the store is damaged",
            facts={"damage": report.damaged[0].what},
            next_step="acistore gc, then verify again",
        )
    ids = " ".join(str(image.id) for image in damaged.values())
    return StoreDamaged(
        f"{len(damaged)} of {count(report.images_checked, 'image')} in the store "
        f"{'is' if len(damaged) == 1 else 'are'} damaged",
        facts={str(image.id): str(image.image_name) for image in damaged.values()},
        next_step=f"acistore rm --force {ids}, then acistore gc, and fetch anew what is needed",
    )
