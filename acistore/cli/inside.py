"""Look, inside of images: their files, the content of one, what differs, and who holds what."""

import codecs
import stat
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import click

from acistore.cli.completion import complete_images
from acistore.cli.output import StdoutBytes, cut, escape, on_terminal, table, terminal_width
from acistore.cli.parameters import Command, one_image, option
from acistore.cli.session import Session
from acistore.errors import PathNotFound

if TYPE_CHECKING:
    from acistore.archive.tar import Entry
    from acistore.store.difference import Change

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BILLION = 10**9
# Characters of an ID on a terminal; as many as `list` begins with.
_SHORT_ID = len("sha512-") + 12
_TYPE_BITS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command(cls=Command, short_help="List the files in an image.")
@one_image
@click.pass_obj
def files(session: Session, image: str) -> None:
    """List the files in an image: mode, owner and group, size in bytes, time (UTC), path.

    Paths begin at the image's rootfs. A hard link is shown with h before its mode, and as a link to the name that
    has the content. On a terminal lines are cut to its width; in a pipe everything is whole. With --json times are
    as exact as the archive has them, and each plain file has the SHA-512 of its content.

    \b
      acistore files example.com/app:1.0
      acistore --json files example.com/app | jq -r '.[] | select(.mode >= 2048) | .path'
    """
    with session.existing_store() as store:
        found = store.files(store.get(image))
    if session.output.json:
        session.output.document([_document(entry) for entry in found])
        return
    widest = max(len(_size(entry)) for entry in found)
    rows = [
        (_mode(entry), f"{entry.uid}/{entry.gid}", _size(entry).rjust(widest), _time(entry), _path(entry))
        for entry in found
    ]
    session.output.lines(table(rows, cut_to=terminal_width() if on_terminal(sys.stdout) else None))


def _document(entry: "Entry") -> dict[str, object]:
    return {
        "path": entry.path,
        "type": entry.kind,
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime": _exact_time(entry.mtime),
        "digest": _digest(entry.digest),
        "target": entry.target,
        "device": entry.device,
    }


def _digest(digest: bytes | None) -> str | None:
    return None if digest is None else f"sha512-{digest.hex()}"


def _moment(nanoseconds: int) -> datetime:
    """The whole second of a time since 1970."""
    return _EPOCH + timedelta(seconds=nanoseconds // _BILLION)


def _exact_time(nanoseconds: int) -> str:
    """RFC 3339, with as many digits of the second as say something."""
    fraction = f".{nanoseconds % _BILLION:09}".rstrip("0").rstrip(".")
    return f"{_moment(nanoseconds).replace(tzinfo=None).isoformat()}{fraction}Z"


def _mode(entry: "Entry") -> str:
    if entry.kind == "hardlink":
        return "h" + stat.filemode(stat.S_IFREG | entry.mode)[1:]
    return stat.filemode(_TYPE_BITS[entry.kind] | entry.mode)


def _size(entry: "Entry") -> str:
    return str(entry.size) if entry.device is None else "{},{}".format(*entry.device)


def _time(entry: "Entry") -> str:
    return _moment(entry.mtime).replace(tzinfo=None).isoformat(" ")


def _path(entry: "Entry") -> str:
    if entry.target is None:
        return entry.path
    return f"{entry.path} {'link to' if entry.kind == 'hardlink' else '->'} {entry.target}"


@click.command(cls=Command, short_help="Print a file of an image.")
@one_image
@click.argument("path", metavar="PATH")
@click.pass_obj
def cat(session: Session, image: str, path: str) -> None:
    """Print the content of a file of an image, byte for byte.

    Links are followed inside of the image. The content is checked against its SHA-512 on its way: what is damaged
    does not come out to its end, and the exit code is 6. On a terminal whatever is not plain text is escaped.

    \b
      acistore cat example.com/app:1.0 /etc/os-release
      acistore cat example.com/app usr/bin/app > app
    """
    with session.existing_store() as store, store.read_file(store.get(image), path) as pieces:
        at_terminal = sys.stdout is not None and sys.stdout.isatty()
        out = StdoutBytes()
        for piece in _plain_text(pieces) if at_terminal else pieces:
            out.write(piece)


def _plain_text(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What a terminal can be shown: lines and tabs stay, all else that is not plain print is escaped."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    for piece in chain(pieces, [b""]):
        text = decoder.decode(piece, final=not piece)
        lines = ("\t".join(map(escape, line.split("\t"))) for line in text.split("\n"))
        yield "\n".join(lines).encode()


@click.command(cls=Command, short_help="Tell how the files of two images differ.")
@click.argument("old", metavar="A", shell_complete=complete_images)
@click.argument("new", metavar="B", shell_complete=complete_images)
@option("--exit-code/--no-exit-code", help="Exit with 1 when there is a difference.")
@click.pass_obj
def diff(session: Session, old: str, new: str, *, exit_code: bool) -> int:
    """Tell how the files of image B differ from those of image A: a line for each.

    + for a file that was added, - for one that was removed, ~ for one that was changed, and then what of it:
    content, mode, owner, mtime, type, target (of a link), xattrs (extended attributes).

    \b
      acistore diff example.com/app:1.0 example.com/app:1.1
      acistore --json diff sha512-6b4f sha512-91c0 | jq -r '.[] | select(.change == "added") | .path'
    """
    with session.existing_store() as store:
        changes = store.diff(store.get(old), store.get(new))
    if session.output.json:
        session.output.document(
            [{"path": each.path, "change": each.change, "what": each.what} for each in changes]
        )
    else:
        room = terminal_width() if on_terminal(sys.stdout) else None
        lines = (escape(_line(each)) for each in changes)
        session.output.lines(lines if room is None else (cut(line, room) for line in lines))
    return 1 if changes and exit_code else 0


def _line(change: "Change") -> str:
    what = f"  {', '.join(change.what)}" if change.what else ""
    return f"{_SIGNS[change.change]} {change.path}{what}"


@click.command(cls=Command, short_help="Find the images that hold a path or a content.")
@click.argument("wanted", metavar="PATH|DIGEST")
@click.pass_obj
def which(session: Session, wanted: str) -> None:
    """Find the images that hold a path, or a file with this content: newest import first.

    DIGEST is sha512- and the 128 hex digits of the content's SHA-512. No links are followed: a path is found where
    the archive has it, and a content under the names that are not hard links to another one. Without a hit the
    exit code is 3.

    \b
      acistore which /usr/lib/x86_64-linux-gnu/libssl.so.3
      acistore which sha512-$(sha512sum < libssl.so.3 | cut -d' ' -f1)
    """
    with session.existing_store() as store:
        found = store.which(wanted)
    if not found:
        raise PathNotFound(f"no image in the store holds {wanted}")
    if session.output.json:
        session.output.document(
            [
                {
                    "id": each.image.id,
                    "name": each.image.name,
                    "labels": each.image.labels,
                    "path": each.path,
                    "digest": _digest(each.digest),
                }
                for each in found
            ]
        )
        return
    whole = not on_terminal(sys.stdout)
    rows = [
        (str(each.image.id)[: None if whole else _SHORT_ID], str(each.image.image_name), each.path)
        for each in found
    ]
    session.output.lines(table(rows, cut_to=None if whole else terminal_width()))
