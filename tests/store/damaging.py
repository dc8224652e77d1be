"""Damage of the kinds that disks and people do, for tests."""

import sqlite3
from contextlib import closing
from pathlib import Path


def flip(path: Path, position: int, mask: int = 0x20) -> None:
    """Flips bits of one byte of a file; done again, it is as before."""
    with path.open("r+b") as file:
        file.seek(position)
        [byte] = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ mask]))


def the_pack_with(directory: Path, content: bytes) -> Path:
    """The one pack in a store that holds this content."""
    [pack] = [path for path in (directory / "packs").iterdir() if content in path.read_bytes()]
    return pack


def rot(directory: Path, content: bytes) -> Path:
    """Flips a bit in the middle of this content, in the one pack that holds it, and returns the pack."""
    pack = the_pack_with(directory, content)
    flip(pack, pack.read_bytes().index(content) + len(content) // 2)
    return pack


def lose_database(directory: Path) -> None:
    for path in directory.glob("acistore.db*"):
        path.unlink()


def damage_sequence(directory: Path) -> None:
    """Lets the database contradict itself in what no image depends on: reason enough to make it again."""
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'blob'")
