"""How two images differ, file by file.

A hard link is compared as the file whose name it is. Of a sparse file the content counts, and not how the archive
tells it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from acistore.archive.tar import Entry, fingerprint
from acistore.store.disk import Disk
from acistore.store.inside import LINK_LIMIT, by_directory, open_body, open_listing
from acistore.store.records import StoredImage

What = Literal["content", "mode", "owner", "mtime", "type", "target", "xattrs"]


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not in both images alike; `what` differs where it is in both.

    `type` is also the number of a device. `target` is a symbolic link's text, or with which other names a file
    is shared. The mode of symbolic links means nothing, and does not count.
    """

    path: str
    change: Literal["added", "removed", "changed"]
    what: tuple[What, ...] = ()


def diff(old: StoredImage, new: StoredImage, disk: Disk) -> list[Change]:
    """What has to be changed in `old` to get `new`, a directory before what is in it.

    Raises ImageNotFound, StoreDamaged.
    """
    if old.id == new.id:
        return []
    before, after = _read(old, disk), _read(new, disk)
    changes = []
    for path in sorted({*before.files, *after.files}, key=by_directory):
        if path not in before.files:
            changes.append(Change(path, "added"))
        elif path not in after.files:
            changes.append(Change(path, "removed"))
        elif what := tuple(_differences(path, before, after, disk)):
            changes.append(Change(path, "changed", what))
    return changes


@dataclass(frozen=True, slots=True)
class _Tree:
    """The files of an image by path, hard links as the files they are. `origins` has the path that each of those
    has its body under, `sparse` the fingerprint of each sparse file, None where it can't be read."""

    image: StoredImage
    files: dict[str, Entry]
    origins: dict[str, str]
    sparse: dict[str, bytes | None]


def _read(image: StoredImage, disk: Disk) -> _Tree:
    tree = _Tree(image, {}, {}, {})
    with open_listing(image, disk) as listing:
        for entry, parts in listing:
            tree.files[entry.path] = entry
            if parts is not None:
                try:
                    tree.sparse[entry.path] = fingerprint(parts)
                except ValueError:
                    tree.sparse[entry.path] = None
    _settle_links(tree)
    return tree


def _settle_links(tree: _Tree) -> None:
    """Makes each hard link the file that it is, whichever of its names the archive has first: what the names after
    the first (in the order of text) have in common with it is their target."""
    names: dict[str, list[str]] = {}
    for path, entry in tree.files.items():
        if entry.kind == "hardlink" and (origin := _origin(entry, tree.files)) is not None:
            tree.origins[path] = origin
            names.setdefault(origin, [origin]).append(path)
    for origin, group in names.items():
        file, first = tree.files[origin], min(group)
        for path in group:
            target = file.target if file.kind == "symlink" or path == first else first
            tree.files[path] = file.renamed(path, target)


def _origin(link: Entry, files: dict[str, Entry]) -> str | None:
    """The path of what a hard link leads to in the end; None when that is not in the image."""
    found: Entry | None = link
    for _hop in range(LINK_LIMIT):
        if found is None or found.kind != "hardlink":
            break
        found = files.get(found.target or "")
    return None if found is None or found.kind == "hardlink" else found.path


def _differences(path: str, before: _Tree, after: _Tree, disk: Disk) -> Iterator[What]:
    """What of a path differs, in the order in which the contract lists it."""
    a, b = before.files[path], after.files[path]
    same_kind = a.kind == b.kind
    if same_kind and a.kind == "file" and not _same_content(path, before, after, disk):
        yield "content"
    if a.mode != b.mode and not a.kind == b.kind == "symlink":
        yield "mode"
    if (a.uid, a.gid) != (b.uid, b.gid):
        yield "owner"
    if a.mtime != b.mtime:
        yield "mtime"
    if not same_kind or a.device != b.device:
        yield "type"
    if same_kind and a.target != b.target:
        yield "target"
    if a.xattrs != b.xattrs:
        yield "xattrs"


def _same_content(path: str, before: _Tree, after: _Tree, disk: Disk) -> bool:
    a, b = before.files[path], after.files[path]
    if a.size != b.size:
        return False
    if a.digest is not None and b.digest is not None:
        return a.digest == b.digest
    fingerprints = [_fingerprint(path, tree, disk) for tree in (before, after)]
    return None not in fingerprints and fingerprints[0] == fingerprints[1]


def _fingerprint(path: str, tree: _Tree, disk: Disk) -> bytes | None:
    """That of a sparse file, or of a plain one that is compared with a sparse one."""
    origin = tree.origins.get(path, path)
    if origin in tree.sparse:
        return tree.sparse[origin]
    with open_body(tree.image, origin, disk) as pieces:
        return None if pieces is None else fingerprint(_placed(pieces))


def _placed(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    position = 0
    for piece in pieces:
        yield position, piece
        position += len(piece)
