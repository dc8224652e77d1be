"""The images that a key has admitted: named when the key goes, and taken out when that is wished for."""

from collections.abc import Iterator, Sequence

import acistore
from acistore.cli.output import facts
from acistore.cli.parameters import option
from acistore.cli.session import Session, holds_store

remove_images_option = option(
    "--remove-images/--no-remove-images",
    help="Take the images that the key admitted out of the store, pinned ones and those that others need too.",
)


def images_of(
    session: Session, fingerprint: str, *, prefix: str | None = None, root: bool = False, take_out: bool = False
) -> list["acistore.StoredImage"]:
    """The images in the store that a key has admitted, by its whole fingerprint, taken out if so wished.

    With `prefix` or `root` only those that it has admitted through this.
    """
    if not holds_store(session.config().dir):
        return []
    with session.store() as store:
        images = list(store.images_admitted_by(fingerprint, "root" if root else prefix))
        if take_out:
            store.remove(images, force=True)
        return images


def names_of(images: Sequence["acistore.StoredImage"], *, taken_out: bool = False) -> dict[str, object]:
    """The images that a key has admitted, and which of them went, as scripts get it."""
    return {
        "images": [{"id": image.id, "name": image.name} for image in images],
        "images_removed": taken_out and bool(images),
        "removed_images": [image.id for image in images] if taken_out else [],
    }


def facts_of(images: Sequence["acistore.StoredImage"], word: str) -> Iterator[tuple[str, str]]:
    """A fact for each image, with this label."""
    return ((word, f"{image.image_name} {image.id}") for image in images)


def tell_of(session: Session, images: Sequence["acistore.StoredImage"], *, taken_out: bool) -> None:
    """Says what became of the images that a key has admitted which is no longer trusted, or was revoked."""
    session.output.lines(facts(facts_of(images, "image removed" if taken_out else "has admitted")))
    if images and not taken_out:
        session.output.note("these images are still in the store: --remove-images or acistore rm takes them out")
