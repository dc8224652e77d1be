"""A tree of files of every kind that a tar can hold, and what an archive of it should say."""

import os
import random
import stat
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha512
from pathlib import Path

from acistore.archive.tar import Entry, Kind

# Fits the 255 bytes that ustar has for a name and its directory, and not the 100 of a name alone.
MEDIUM = "medium/" + "/".join(["a" * 60, "b" * 50, "c" * 90])
LONG = "long/" + "/".join(["d" * 200, "e" * 250, "f" * 120])
_BILLION = 10**9


def make_plain(top: Path) -> None:
    """What every format can say, v7 too but for the fifo and the devices."""
    chance = random.Random(7)
    (top / "sizes").mkdir(parents=True)
    for size in (0, 1, 511, 512, 513, 10_240, 1 << 20, 2_500_001):
        (top / "sizes" / str(size)).write_bytes(chance.randbytes(size))
    (top / "empty directory").mkdir(mode=0o1777)
    (top / "Größe 大小").write_text("a name in UTF-8")
    (Path(os.fsdecode(os.fsencode(top) + b"/caf\xe9"))).write_text("a name in Latin-1")
    (top / "control\n\x1b[31m").write_text("a name to be careful with")
    (top / "set-user-id").write_bytes(b"#!")
    (top / "set-user-id").chmod(0o6755)
    (top / "soft").symlink_to("../anywhere/at all")
    (top / "hard").hardlink_to(top / "sizes" / "513")
    for number, path in enumerate(sorted(top.rglob("*"))):
        if not path.is_symlink():
            os.utime(path, ns=(0, (1_300_000_000 + number) * _BILLION))


def make_special(top: Path) -> None:
    """What needs at least ustar: names of medium length, a fifo, devices where we may make them."""
    make_plain(top)
    (top / MEDIUM).parent.mkdir(parents=True)
    (top / MEDIUM).write_text("medium")
    os.mkfifo(top / "fifo", 0o640)
    if os.geteuid() == 0:
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(top / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 300))


def make_long(top: Path) -> None:
    """What needs GNU's or PAX's extensions: names and targets of any length."""
    make_special(top)
    (top / LONG).parent.mkdir(parents=True)
    (top / LONG).write_text("long")
    (top / "long soft link").symlink_to("../" * 60 + LONG)
    (top / "to long").hardlink_to(top / LONG)


def make_everything(top: Path) -> None:
    """And what bsdtar's GNU format can't say: a time before 1970, extended attributes."""
    make_long(top)
    (top / "old").write_text("old")
    os.utime(top / "old", (0, -86_400 * 365))
    os.setxattr(top / "old", "user.acistore", b"value\0with = and\nnewline")


def make_sparse(top: Path) -> None:
    """Files with holes: at either end, everywhere, and nothing but one. 60 parts need two more headers."""
    top.mkdir(parents=True)
    for name, parts, size in (
        ("ends", range(1, 2), 3 << 20),
        ("comb", range(0, 120, 2), 120 << 16),
        ("hole", range(0), 1 << 20),
    ):
        with (top / name).open("wb") as file:
            for part in parts:
                file.seek(part << 16)
                file.write(bytes([part + 1]) * 4096)
            file.truncate(size)
    (top / "dense").write_text("after the sparse ones")


def expected(top: Path, prefix: str = "") -> Iterator[Entry]:
    """What an archive of the tree should say of each file below `top`, each path after `prefix`.

    Hard links are a matter of order: here every name of a file is the file. Times are whole seconds.
    """
    for path in top.rglob("*"):
        status = path.lstat()
        kind = _kind(status.st_mode)
        is_file = kind == "file"
        yield Entry(
            path=prefix + str(path.relative_to(top)),
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns // _BILLION * _BILLION,
            size=status.st_size if is_file else 0,
            target=str(path.readlink()) if kind == "symlink" else None,
            device=_device(status.st_rdev) if kind in ("char", "block") else None,
            digest=sha512(path.read_bytes()).digest() if is_file else None,
        )


def settled(entries: list[Entry]) -> dict[str, Entry]:
    """Entries by path, in the form that `expected` has: hard links resolved, times in whole seconds, and without
    extended attributes."""
    found = {entry.path: entry for entry in entries}
    assert len(found) == len(entries)
    for entry in entries:
        if entry.kind == "hardlink":
            found[entry.path] = replace(found[entry.target or ""], path=entry.path)
    return {
        path: replace(entry, mtime=entry.mtime // _BILLION * _BILLION, xattrs=()) for path, entry in found.items()
    }


def _kind(mode: int) -> Kind:
    kinds: dict[int, Kind] = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "dir",
        stat.S_IFLNK: "symlink",
        stat.S_IFCHR: "char",
        stat.S_IFBLK: "block",
        stat.S_IFIFO: "fifo",
    }
    return kinds[stat.S_IFMT(mode)]


def _device(number: int) -> tuple[int, int]:
    return os.major(number), os.minor(number)
