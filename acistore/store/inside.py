"""What is inside of images: the files of one, the content of a file, the images that hold a path or a body.

Paths are absolute here, with the image's rootfs as "/"; the manifest is no file inside. Bytes that are not UTF-8
are surrogate-escaped. Looking inside of an image does not count as using it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from acistore.archive.tar import Entry, entries_and_parts, filled
from acistore.errors import FileUnusable, ImageNotFound, InvalidName, PathNotFound, StoreDamaged
from acistore.store import index
from acistore.store.disk import Disk
from acistore.store.export import RETRIES, decompressed
from acistore.store.packfile import PackReader
from acistore.store.packs import open_packs
from acistore.store.records import Location, StoredImage

# As Linux has it, for links on the way to a file and for a link's text in characters.
LINK_LIMIT = 40
TARGET_LIMIT = 4096
# What all names, link targets and extended attributes of an image may have together where they are held in memory.
# Real images have a few MiB, and archives admit far more.
LISTING_LIMIT = 512 << 20
_ROOTFS = "rootfs"
_KINDS = {"dir": "a directory", "fifo": "a named pipe", "char": "a character device", "block": "a block device"}
_DIGEST = "sha512-"

# A file, and of a sparse one its pieces and their places.
Listed = tuple[Entry, Iterator[tuple[int, bytes]] | None]
_Place = tuple[PackReader, Location, bytes]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A file that an image holds. `digest` is the SHA-512 of its body (64 bytes), None for what has none of its
    own: directories, links, devices, sparse files."""

    image: StoredImage
    path: str
    digest: bytes | None


# --- files


def files(image: StoredImage, disk: Disk) -> list[Entry]:
    """Every file of the image, a directory before what is in it."""
    with open_listing(image, disk) as listing:
        return sorted((entry for entry, _parts in listing), key=lambda entry: by_directory(entry.path))


def by_directory(path: str) -> str:
    """A key that sorts paths so that what is in a directory follows it."""
    return path.replace("/", "\0")


@contextmanager
def open_listing(image: StoredImage, disk: Disk) -> Iterator[Iterator[Listed]]:
    """The files in the archive's order, read from the image's skeleton; `parts` as `entries_and_parts` has them.

    Nothing comes out of a damaged skeleton: it is hashed first. Raises ImageNotFound, StoreDamaged, and
    FileUnusable for an image with more than LISTING_LIMIT bytes of names, targets and attributes.
    """
    with _opened(lambda connection: _skeleton(connection, image), image, disk) as place:
        if place is None:
            raise ImageNotFound(f"{image.id} was removed from the store")
        reader, location, digest = place
        hasher = hashlib.sha512()
        for chunk in reader.read(location.offset, location.length):
            hasher.update(chunk)
        if hasher.digest() != digest:
            raise _damaged(image, "its skeleton has another SHA-512")
        skeleton = decompressed(reader.read(location.offset, location.length), location.pack)
        yield _inside(entries_and_parts(skeleton), image)


def _skeleton(connection: Connection, image: StoredImage) -> tuple[bytes, Location] | None:
    location = index.skeleton_of(connection, image)
    digest = index.skeleton_digest_of(connection, image)
    return None if location is None or digest is None else (digest, location)


def _inside(listing: Iterable[Listed], image: StoredImage) -> Iterator[Listed]:
    """What is in the rootfs, by the paths that it has there."""
    length = 0
    for entry, parts in listing:
        length += len(entry.path) + len(entry.target or "")
        length += sum(len(name) + len(value) for name, value in entry.xattrs)
        if length > LISTING_LIMIT:
            raise FileUnusable(f"{image.id} has too many names and attributes to be looked into")
        if entry.path.startswith(_ROOTFS):
            target = path_inside(entry.target) if entry.kind == "hardlink" and entry.target else entry.target
            yield entry.renamed(path_inside(entry.path), target), parts


def path_inside(archive_path: str) -> str:
    """The path that a file of the archive has in the image."""
    return archive_path.removeprefix(_ROOTFS) or "/"


def _stored(path: str) -> bytes:
    """The path that a file has in the archive."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    try:
        return "/".join([_ROOTFS, *parts]).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidName(f"{path!r} is not a path") from None


# --- the content of a file


@contextmanager
def open_file(image: StoredImage, path: str, disk: Disk) -> Iterator[Iterator[bytes]]:
    """The content of a file, in pieces, with the pack open that has it. Links are followed inside of the rootfs.

    Raises PathNotFound, FileUnusable for what is no file, StoreDamaged, at the latest before the last piece, when
    the content is not what was stored, ImageNotFound.
    """
    with ExitStack() as stack:
        pieces = None if ".." in path else stack.enter_context(open_body(image, path, disk))
        if pieces is None:
            found = _resolved(image, path, disk)
            if found.digest is None:
                pieces = _sparse_content(stack.enter_context(open_listing(image, disk)), found)
            else:
                pieces = stack.enter_context(open_body(image, found.path, disk))
        if pieces is None:
            raise _damaged(image, f"the index has no body for {path}")
        yield pieces


@contextmanager
def open_body(image: StoredImage, path: str, disk: Disk) -> Iterator[Iterator[bytes] | None]:
    """The body that the index has for a path, in pieces, checked; None where it has none. Nothing is followed."""
    stored = _stored(path)
    with _opened(lambda connection: index.body_at(connection, image, stored), image, disk) as place:
        if place is None:
            yield None
        else:
            reader, location, digest = place
            yield _checked(reader.read(location.offset, location.length), digest, path, image)


def _checked(pieces: Iterator[bytes], digest: bytes, path: str, image: StoredImage) -> Iterator[bytes]:
    """The pieces; the last one is held back until all of them have the right SHA-512."""
    hasher = hashlib.sha512()
    last = b""
    for piece in pieces:
        hasher.update(piece)
        if last:
            yield last
        last = piece
    if hasher.digest() != digest:
        raise _damaged(image, f"the body of {path} has another SHA-512")
    if last:
        yield last


def _sparse_content(listing: Iterable[Listed], wanted: Entry) -> Iterator[bytes]:
    for entry, parts in listing:
        if entry.path == wanted.path and parts is not None:
            try:
                yield from filled(parts, entry.size)
            except ValueError as error:
                raise FileUnusable(f"{wanted.path} can't be read: it is {error}") from None
            return


def _resolved(image: StoredImage, path: str, disk: Disk) -> Entry:
    _stored(path)  # raises for what is no path at all
    with open_listing(image, disk) as listing:
        everything = {entry.path: entry for entry, _parts in listing}
    try:
        return resolve(everything, path)
    except (PathNotFound, FileUnusable) as error:
        error.facts = {"image": str(image.image_name), **error.facts}
        error.next_step = f"acistore files {image.id}"
        raise


def resolve(files: Mapping[str, Entry], path: str) -> Entry:
    """The file that a path leads to: symbolic links, on the way too, and hard links are followed, as in a system
    of which this is the root. Pure.

    Raises PathNotFound, and FileUnusable for a loop of links and for what is not a file in the end.
    """
    at = ""
    ahead = path.split("/")[::-1]
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            at = at.rpartition("/")[0]
        elif part not in ("", "."):
            at = f"{at}/{part}"
            link = files.get(at)
            if link is not None and link.target is not None:
                links += 1
                if links > LINK_LIMIT or len(link.target) > TARGET_LIMIT:
                    raise FileUnusable(f"{path} leads through too many links, or one too long", facts={"link": at})
                is_absolute = link.kind == "hardlink" or link.target.startswith("/")
                at = "" if is_absolute else at.rpartition("/")[0]
                ahead += link.target.split("/")[::-1]
    found = files.get(at or "/")
    if found is None:
        raise PathNotFound(f"the image holds no {path}", facts={"leads to": at} if links else None)
    if found.kind != "file":
        raise FileUnusable(
            f"{path} is {_KINDS[found.kind]}, not a file", facts={"leads to": at} if links else None
        )
    return found


# --- who holds it


def which(wanted: str, disk: Disk) -> list[Occurrence]:
    """Where a path, or a body (`sha512-` and 128 hex digits), is, the newest import first.

    The cost follows what is found. Raises InvalidName for a digest that is none.
    """
    with disk.database.read() as connection:
        if wanted.startswith(_DIGEST):
            holders = index.images_with_body(connection, _parse_digest(wanted))
        else:
            holders = index.images_with_path(connection, _stored(wanted))
    found = ((image, text.decode(errors="surrogateescape"), digest) for image, text, digest in holders)
    return [
        Occurrence(image, path_inside(path), digest) for image, path, digest in found if path.startswith(_ROOTFS)
    ]


def _parse_digest(text: str) -> bytes:
    digits = text.removeprefix(_DIGEST)
    if len(digits) != 128 or digits.lower().strip("0123456789abcdef"):
        raise InvalidName(
            f"{text!r} is not a digest: sha512- and 128 hex digits",
            next_step="a slash before it, if it is the path of a file",
        )
    return bytes.fromhex(digits)


# --- open


@contextmanager
def _opened(
    where: Callable[[Connection], tuple[bytes, Location] | None], image: StoredImage, disk: Disk
) -> Iterator[_Place | None]:
    """The one pack that something lies in, open, with the place and the digest that the index has for it.

    Asks again when the pack was compacted meanwhile. None when the index says so.
    """
    with ExitStack() as stack:
        missing = ""
        for _attempt in range(RETRIES):
            with disk.database.read() as connection:
                answer = where(connection)
            if answer is None:
                yield None
                return
            digest, location = answer
            try:
                readers = stack.enter_context(open_packs(disk.packs, {location.pack}))
            except FileNotFoundError as error:
                missing = str(error.filename)
                continue
            yield readers[location.pack], location, digest
            return
        raise _damaged(image, f"its pack {missing} is missing")


def _damaged(image: StoredImage, what: str) -> StoreDamaged:
    return StoreDamaged(f"{image.id} is damaged in the store: {what}", next_step=f"acistore verify {image.id}")
