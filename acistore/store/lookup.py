"""Which image of the store is meant by an ID, the beginning of one, or a name."""

import shlex

from sqlalchemy import Connection

from acistore.errors import AmbiguousImage, ImageNotFound, InvalidName
from acistore.naming import ImageID, ImageName
from acistore.store import index
from acistore.store.records import StoredImage

ID_PREFIX = "sha512-"


def get(connection: Connection, wanted: str | ImageID | ImageName) -> StoredImage:
    """The image that is meant: by ID, by a unique prefix of one (`sha512-` and 2 or more hex digits), or
    by name and labels. Raises ImageNotFound, AmbiguousImage, InvalidName."""
    if isinstance(wanted, ImageName):
        return find(connection, wanted)
    if not isinstance(wanted, str | ImageID):
        raise TypeError(f"an ImageName, an ImageID or text is needed, not {type(wanted).__name__}")
    text = str(wanted)
    if not text.startswith(ID_PREFIX):
        return find(connection, ImageName.parse(text))
    digits = text.removeprefix(ID_PREFIX).lower()
    if not 2 <= len(digits) <= 128 or digits.strip("0123456789abcdef"):
        raise InvalidName(f"{text!r} is not an image ID: sha512- and 2 to 128 hex digits")
    found = index.images_by_prefix(connection, digits)
    if not found:
        raise ImageNotFound(f"no image in the store has the ID {text}", next_step="acistore list")
    if len(found) > 1:
        raise AmbiguousImage(
            f"{text} is the beginning of {len(found)} image IDs",
            facts={str(image.id): str(image.image_name) for image in found},
            next_step="give more digits of the one that is meant",
        )
    return found[0]


def find(connection: Connection, name: ImageName) -> StoredImage:
    """The best match of a name and labels. Raises ImageNotFound."""
    found = index.best_by_name(connection, name)
    if found is None:
        raise ImageNotFound(
            f"no image in the store is {name}", next_step=shlex.join(["acistore", "fetch", str(name)])
        )
    return found
