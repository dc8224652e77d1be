"""What a tar says of one file, and where bodies go."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as its header and the records before it say together.

    `path` has no "." components, doubled slashes, leading "./" or trailing "/"; the top itself is ".". It may
    still be absolute or hold "..": what an image allows is for the layout to say. Bytes that are not UTF-8
    are surrogate-escaped, here and in `target`. `mode` is the permission bits, up to 0o7777. `mtime` is
    nanoseconds since 1970, within the years 1 to 9999. `size` is the length of the file as one reads it (a
    sparse file with its holes), 0 for all but files. `target` is a symbolic link's text, or the path that a
    hard link shares, cleaned as `path` is. `device` is the major and minor number of a char or block device.
    `digest` is the SHA-512 of the body (64 bytes) of every plain file, empty ones too; None for all else,
    among it sparse files, which stay whole in the skeleton. `xattrs` are extended attributes, name and value, by
    name; ACLs that a tar holds as text are not among them.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    target: str | None = None
    device: tuple[int, int] | None = None
    digest: bytes | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()

    def with_digest(self, digest: bytes) -> "Entry":
        """The same plain file, its body being stored (half the time of dataclasses.replace, at every file)."""
        return Entry(
            self.path,
            self.kind,
            self.mode,
            self.uid,
            self.gid,
            self.mtime,
            self.size,
            None,
            None,
            digest,
            self.xattrs,
        )

    def renamed(self, path: str, target: str | None) -> "Entry":
        """The same entry under another path, and with another target."""
        whose = self.mode, self.uid, self.gid, self.mtime
        return Entry(path, self.kind, *whose, self.size, target, self.device, self.digest, self.xattrs)


class BodySink(Protocol):
    """Takes the bodies of plain files."""

    def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
        """Stores one body, of `entry.size` bytes; returns its SHA-512 (64 bytes).

        `entry.digest` is None as yet. All pieces must be taken before this returns; what taking them raises
        (the archive is cut off) must come through.
        """
