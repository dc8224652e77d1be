"""A local image on its way into the store: copied, so that the bytes stored are the bytes verified, whoever writes
to it meanwhile."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from acistore.errors import FileUnusable, LimitExceeded
from acistore.files import open_regular, require_room

if TYPE_CHECKING:
    from acistore.fetch.signature import Claim

COPY_CHUNK = 1 << 20


def copy_in(path: Path, spool: BinaryIO, claim: "Claim", limit: int) -> None:
    """Copies a local image into the spool file, each piece hashed on its way.

    At most `limit` bytes. Raises FileUnusable, LimitExceeded, DiskFull, and what the claim raises.
    """
    size = 0
    try:
        file = open_regular(path)
    except OSError as error:
        raise FileUnusable(f"the image {path} can't be read: {error.strerror}") from error
    with file:
        require_room(str(path), os.fstat(file.fileno()).st_size, spool)
        while chunk := _piece_of(file, path):
            size += len(chunk)
            if size > limit:
                raise LimitExceeded(f"the image {path} is larger than {limit} bytes", option="limits.image_size")
            spool.write(chunk)
            claim.feed(chunk)


def _piece_of(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(COPY_CHUNK)
    except OSError as error:
        raise FileUnusable(f"the image {path} can't be read: {error.strerror}") from error
