"""Take out: what is in the store goes where a person wants it."""

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

import click

from acistore.cli.look import document
from acistore.cli.output import StdoutBytes, size
from acistore.cli.parameters import Command, one_image
from acistore.cli.session import Session
from acistore.errors import FileUnusable, UsageError
from acistore.progress import Meter

_STDOUT = "-"


@click.command(cls=Command, short_help="Write an image's archive to a file.")
@one_image
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@click.pass_obj
def export(session: Session, image: str, file: str) -> None:
    """Write the archive of an image to FILE, uncompressed: byte for byte the tar whose SHA-512 is the image's ID.

    This is checked while it is written. FILE appears, or is replaced, when it is complete and right, and not
    otherwise. With - the archive goes to stdout, where only the exit code can tell.

    \b
      acistore export example.com/app:1.0 app.aci
      acistore export example.com/app:1.0 - | tar -t
    """
    with session.existing_store() as store:
        found = store.get(image)
        if file == _STDOUT:
            _refuse_terminal(sys.stdout)
            store.export(found, cast(BinaryIO, StdoutBytes()))
            return
        with session.progress() as progress, _replacing(Path(file)) as out:
            meter = progress.start(f"writing {file}", found.size)
            try:
                store.export(found, cast(BinaryIO, _Written(out, Path(file), meter)))
            finally:
                meter.done()
    if session.output.json:
        session.output.document(document(found) | {"file": str(Path(file).absolute())})
    else:
        session.output.note(f"wrote {file}: {found.image_name}, {size(found.size)}")


class _Written:
    """A file whose progress is shown, and whose failures are told by its name."""

    def __init__(self, file: BinaryIO, path: Path, meter: Meter) -> None:
        self._file = file
        self._path = path
        self._meter = meter

    def write(self, data: bytes) -> int:
        with _telling_of(self._path):
            written = self._file.write(data)
        self._meter.advance(len(data))
        return written


def _refuse_terminal(stream: IO[str] | IO[bytes] | None) -> None:
    if stream is not None and stream.isatty():
        raise UsageError(
            "an archive is nothing for a terminal", next_step="acistore export IMAGE FILE, or a pipe behind it"
        )


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when all went well, and is gone otherwise.

    What isn't a regular file (a device, a named pipe) is written to as it is. Raises FileUnusable.
    """
    with _telling_of(path):
        target = path.resolve()
        special = target.exists() and not stat.S_ISREG(target.stat().st_mode)
        place = target if special else target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
        file = place.open("wb" if special else "xb")
    try:
        _refuse_terminal(file)
        yield file
        with _telling_of(path):
            file.flush()
            if not special:
                os.fsync(file.fileno())
                place.replace(target)
    finally:
        with suppress(OSError):
            file.close()
        if not special:
            place.unlink(missing_ok=True)


@contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileUnusable(f"{path} can't be written: {error.strerror}") from error
