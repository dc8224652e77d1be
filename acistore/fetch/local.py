"""An image that is a file on this machine. It is copied on its way into the store, so that the bytes stored are
the bytes verified, whoever writes to the file meanwhile.
"""

import os
from pathlib import Path
from typing import BinaryIO

from acistore.errors import FileUnusable, LimitExceeded
from acistore.fetch.signature import Claim
from acistore.net.transfer import require_room

COPY_CHUNK = 1 << 20


def copy_in(path: Path, spool: BinaryIO, claim: Claim, limit: int) -> None:
    """Copies a local image into the spool file, each piece hashed on its way.

    At most `limit` bytes. Raises FileUnusable, LimitExceeded, DiskFull, and what the claim raises.
    """
    size = 0
    try:
        file = path.open("rb")
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
