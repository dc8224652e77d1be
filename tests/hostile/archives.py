"""Images whose archives are corrupt, far larger inside than outside, or lie about what they hold."""

import bz2
import gzip
import lzma
import random
from collections.abc import Callable

import zstandard

from tests.archive.tars import END, GNU, changed, header, member, old_sparse, pax
from tests.fetch.conftest import LABELS, NAME
from tests.hostile.conftest import MIB
from tests.images import image, manifest

GIB = 1 << 30
MANIFEST = member(b"manifest", body=manifest(NAME, labels=LABELS))
ROOTFS = header(b"rootfs", b"5")
BEGINNING = MANIFEST + ROOTFS
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}
# An image that does not compress, so that its compressed form has a middle.
NOISE = image(NAME, {"noise": random.Random(4).randbytes(100_000)}, labels=LABELS)


def huge(name: bytes, type: bytes = b"0", size: int = 10 * GIB, magic: bytes = GNU) -> bytes:
    """A header that says how many bytes follow, however many."""
    return changed(header(name, type, magic=magic), "size", base256(size))


def base256(number: int) -> bytes:
    return b"\x80" + number.to_bytes(11, "big")


def bomb(name: str, beginning: bytes) -> bytes:
    """A beginning, and 10 GiB of zeros after it; 10 MB at most."""
    compress = COMPRESSORS[name]
    return compress(beginning) + compress(bytes(8 * MIB)) * 1280


ROOM = {"image_size": "16MiB"}
HIDDEN = {
    "in a file": BEGINNING + huge(b"rootfs/zeros"),
    "after the end": BEGINNING + END,
    "in a sparse file": BEGINNING + huge(b"rootfs/zeros", b"S"),
    "in the manifest": huge(b"manifest"),
    "in a PAX header": BEGINNING + header(b"PaxHeaders/file", b"x", GIB),
    "in a long name": BEGINNING + header(b"././@LongLink", b"L", GIB),
    "in a directory": BEGINNING + huge(b"rootfs/directory", b"5"),
    "in nothing": b"",
}
LIES = {
    "8 GiB that are not there": header(b"rootfs/big", size=8 * GIB - 1) + b"x" * 1000,
    "4 EiB that are not there": huge(b"rootfs/big", size=4 << 60) + b"x" * 1000,
    "8 EiB that are not there": huge(b"rootfs/big", size=(8 << 60) - 1) + b"x" * 1000,
    "more than 64 bits": huge(b"rootfs/big", size=1 << 70) + b"x" * 1000,
    "a hole of 8 EiB": old_sparse(b"", real_size=base256((8 << 60) - 1)) + END,
    "1 GB of PAX header": header(b"PaxHeaders/x", b"x", GIB) + bytes(1000),
    "1 GB of long name": header(b"././@LongLink", b"L", GIB) + bytes(1000),
    "1 GB of long link": header(b"././@LongLink", b"K", GIB) + bytes(1000),
    "1 GB of global header": header(b"GlobalHead", b"g", GIB) + bytes(1000),
    "a record longer than its header": member(b"x", b"x", b"999999 path=evil\n") + member(b"rootfs/a") + END,
    "a record of no length": member(b"x", b"x", b"0 path=evil\n") + member(b"rootfs/a") + END,
    "a size of 30 digits": pax((b"size", b"9" * 30)) + member(b"rootfs/a") + END,
    "a size below zero": pax((b"size", b"-1")) + member(b"rootfs/a") + END,
    "a sparse file of 30 digits": pax(
        *((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9" * 30))
    )
    + member(b"rootfs/a", body=b"0\n")
    + END,
    "endless sparse headers": old_sparse(b"", more=1)[:-512] + (bytes(504) + b"\1" + bytes(7)) * 1000,
    "out of the tree": member(b"rootfs/../../etc/cron.d/evil", body=b"x") + END,
    "absolute": member(b"/etc/passwd", body=b"x") + END,
    "a link out of the tree": header(b"rootfs/a", b"1", link=b"../../etc/passwd") + END,
    "the manifest again": MANIFEST + END,
    "one path twice": member(b"rootfs/a") * 2 + END,
    "no end": b"",
    "noise": random.Random(1).randbytes(4096),
}
