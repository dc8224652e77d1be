"""Images without meaning in any number, and large ones, made as fast as a store takes them in.

The n-th image is the same wherever it is made, and has FILES files of 100 to 1,000 bytes: nine of ten with the
paths that all images have and the bodies that all of its family have, the others with paths and bodies of its
own. Every other one has a name of its own; the rest are versions of a few names.
"""

import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

from acistore.naming import ImageName

FILES = 500
OWN_FILES = 50
FAMILIES = 20
# Names that have many versions.
SERVICES = 5

BLOCK = 512
MIB = 1 << 20
END = bytes(2 * BLOCK)
# Where an archive's size is a multiple of it, as tar programs leave it.
RECORD = 20 * BLOCK


def name_of(number: int) -> ImageName:
    """The name and labels of the n-th image."""
    if number % 2:
        name, version = f"example.com/service-{number // 2 % SERVICES}", f"1.0.{number}"
    else:
        name, version = f"example.com/team-{number % 97}/app-{number}", "1.0.0"
    return ImageName(name, {"version": version, "os": "linux", "arch": "amd64"})


def own_path(number: int) -> str:
    """A path that the n-th image alone has, as it is inside the image."""
    return f"/opt/app-{number}/share/file-0.dat"


def image(number: int) -> bytes:
    """The uncompressed tar of the n-th image."""
    own = random.Random(f"image {number}")
    files = (
        _file(f"rootfs/opt/app-{number}/share/file-{each}.dat", own.randbytes(own.randint(100, 1000)))
        for each in range(OWN_FILES)
    )
    return _whole(_file("manifest", _manifest(name_of(number))), _shared(number % FAMILIES), *files)


@dataclass(frozen=True)
class Large:
    """An image of `size` bytes in one large file and others of 64 MiB, of bytes that don't repeat."""

    large: int
    others: int

    def write(self, out: BinaryIO) -> None:
        out.write(_file("manifest", _manifest(ImageName.parse("example.com/large:1.0"))) + _rootfs())
        chunk = 0
        for index, size in enumerate([self.large, *[64 * MIB] * self.others]):
            out.write(_header(f"rootfs/var/lib/data-{index}.bin", size))
            for _ in range(size // MIB):
                out.write(random.Random(chunk).randbytes(MIB))
                chunk += 1
        out.write(END)


@dataclass(frozen=True)
class Many:
    """An image of so many entries, manifest and rootfs included: files of about 100 bytes, each of its own."""

    entries: int

    def write(self, out: BinaryIO) -> None:
        out.write(
            _file("manifest", _manifest(ImageName.parse(f"example.com/many-{self.entries}:1.0"))) + _rootfs()
        )
        for number in range(self.entries - 2):
            body = b"%0100d" % number
            out.write(_file(f"rootfs/usr/share/data/{number // 1000:03}/entry-{number:06}.txt", body))
        out.write(END)


def _whole(*parts: bytes) -> bytes:
    archive = b"".join(parts) + END
    return archive + bytes(-len(archive) % RECORD)


@cache
def _shared(family: int) -> bytes:
    """What the images of a family have in common, as a piece of a tar."""
    bodies = random.Random(f"family {family}")
    return _rootfs() + b"".join(_shared_files(bodies))


def _shared_files(bodies: random.Random) -> Iterator[bytes]:
    for number in range(FILES - OWN_FILES):
        path = f"rootfs/usr/lib/part-{number // 50}/module-{number}.so"
        yield _file(path, bodies.randbytes(bodies.randint(100, 1000)))


@cache
def _rootfs() -> bytes:
    return _entry("rootfs", kind=tarfile.DIRTYPE, mode=0o755)


def _file(path: str, body: bytes) -> bytes:
    return _header(path, len(body)) + body + bytes(-len(body) % BLOCK)


def _header(path: str, size: int) -> bytes:
    return _entry(path, kind=tarfile.REGTYPE, mode=0o644, size=size)


def _entry(path: str, *, kind: bytes, mode: int, size: int = 0) -> bytes:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, 1_400_000_000
    return info.tobuf(tarfile.USTAR_FORMAT)


def _manifest(name: ImageName) -> bytes:
    """A manifest of about 1 KiB, as most are."""
    document = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name.name,
        "labels": [{"name": label, "value": value} for label, value in name.labels.items()],
        "app": {
            "exec": ["/usr/bin/serve", "--listen", "0.0.0.0:8080", "--data", "/var/lib/data"],
            "user": "1000",
            "group": "1000",
            "environment": [
                {"name": f"SETTING_{number}", "value": f"a value for {number}"} for number in range(6)
            ],
            "mountPoints": [{"name": "data", "path": "/var/lib/data", "readOnly": False}],
            "ports": [{"name": "http", "port": 8080, "protocol": "tcp", "count": 1, "socketActivated": False}],
        },
        "annotations": [
            {"name": "created", "value": "2024-01-05T12:00:00Z"},
            {"name": "homepage", "value": f"https://{name.name}"},
        ],
    }
    return json.dumps(document).encode()
