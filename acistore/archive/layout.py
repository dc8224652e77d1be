"""The layout of an image archive: which paths there may and must be (appc spec, aci.md § Image Archives).

Only what entries say of themselves; what the manifest says is not looked at.
"""

from collections.abc import Iterable, Iterator

from acistore.archive.tar import Entry
from acistore.errors import ArchiveRefused

# What has to be remembered of an archive is every path in it: a hostile one could have any number of them.
ENTRY_LIMIT = 500_000
PATHS_LIMIT = 256 << 20


def check_layout(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Passes on the entries of an image, as long as they keep to the layout.

    One regular file "manifest", one directory "rootfs", all else below it, no path twice. The top directory
    itself ("." or "./", as `tar -C image .` has it) is allowed and not passed on. Raises ArchiveRefused with
    the reason and the path at the entry that breaks a rule, and at the end for what is missing.
    """
    seen: set[str] = set()
    length = 0
    for entry in entries:
        path = entry.path
        if path in seen:
            raise _refused("has a path twice", path)
        seen.add(path)
        length += len(path)
        if len(seen) > ENTRY_LIMIT or length > PATHS_LIMIT:
            raise ArchiveRefused(
                f"the image has more than {ENTRY_LIMIT} entries, or {PATHS_LIMIT} characters of paths"
            )
        _check_entry(entry)
        if path != ".":
            yield entry
    for path in ("manifest", "rootfs"):
        if path not in seen:
            raise ArchiveRefused(f"the image has no {path}")


def _check_entry(entry: Entry) -> None:
    """One entry by itself."""
    path = entry.path
    if path == "manifest":
        if entry.digest is None:  # only plain files have one
            raise _refused("has a manifest that is not a plain file", path)
    elif path in ("rootfs", "."):
        if entry.kind != "dir":
            raise _refused("has something else where a directory must be", path)
    elif not _is_inside(path):
        raise _refused("has something other than manifest and rootfs", path)
    if entry.kind == "hardlink" and not _is_inside(entry.target or ""):
        raise _refused("has a hard link to something outside of rootfs", path, target=entry.target or "")


def _is_inside(path: str) -> bool:
    """Whether a path is below rootfs, wherever it is read."""
    return path.startswith("rootfs/") and (".." not in path or ".." not in path.split("/"))


def _refused(reason: str, path: str, **facts: str) -> ArchiveRefused:
    return ArchiveRefused(f"the image {reason}", facts={"path": path, **facts})
