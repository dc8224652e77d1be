"""Tars by the programs that people use, read right and joined to the same bytes."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acistore.archive.compression import decompress
from acistore.archive.layout import check_layout
from acistore.archive.tar import Entry, Kind, join
from tests.archive import tree
from tests.archive.tars import cut, round_trip, take_apart
from tests.programs import program
from tests.rootfs import debian_tar

GNU_TAR = ["tar", "--format={}", "--numeric-owner"]
BSDTAR = ["bsdtar", "--format={}", "--numeric-owner"]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one tree for each of the makers."""
    top = tmp_path_factory.mktemp("trees")
    for make in (tree.make_plain, tree.make_special, tree.make_long, tree.make_everything, tree.make_sparse):
        make(top / make.__name__)
    return top


def archive(command: list[str], format: str, directory: Path, *content: str) -> bytes:
    """What a tar program writes."""
    arguments = [argument.format(format) for argument in command[1:]]
    return subprocess.run(
        [program(command[0]), *arguments, "-cf", "-", "-C", str(directory), *content],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("command", "format", "make"),
    [
        (GNU_TAR, "v7", tree.make_plain),
        (GNU_TAR, "ustar", tree.make_special),
        (GNU_TAR, "oldgnu", tree.make_everything),
        (GNU_TAR, "gnu", tree.make_everything),
        (GNU_TAR, "posix", tree.make_everything),
        ([*GNU_TAR, "--pax-option=globexthdr.name=g,comment=all,delete=atime"], "pax", tree.make_everything),
        ([*GNU_TAR, "--hard-dereference", "-b", "1"], "gnu", tree.make_everything),
        (BSDTAR, "ustar", tree.make_special),
        (BSDTAR, "gnutar", tree.make_long),
        (BSDTAR, "pax", tree.make_everything),
    ],
)
def test_a_tree_is_read_right(command: list[str], format: str, make: Callable[[Path], None], trees: Path) -> None:
    data = archive(command, format, trees / make.__name__, ".")
    found = tree.settled([entry for entry in round_trip(data) if entry.path != "."])
    wanted = {entry.path: entry for entry in tree.expected(trees / make.__name__)}
    assert found == wanted


@pytest.mark.parametrize("command", [[*GNU_TAR, "--xattrs"], [*BSDTAR, "--xattrs"]])
def test_extended_attributes_stay_in_the_skeleton(command: list[str], trees: Path) -> None:
    data = archive(command, "pax", trees / "make_everything", "old")
    assert b"SCHILY.xattr.user.acistore=value\0with = and\nnewline\n" in data
    assert [entry.path for entry in round_trip(data)] == ["old"]


def test_pax_times_are_exact(trees: Path) -> None:
    path = trees / "make_plain" / "sizes" / "1"
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    for data in (archive(GNU_TAR, "pax", path.parent, "1"), archive(BSDTAR, "pax", path.parent, "1")):
        assert [entry.mtime for entry in round_trip(data)] == [1_234_567_890_123_456_789]


@pytest.mark.parametrize(
    ("command", "format"),
    [
        ([*GNU_TAR, "--sparse"], "oldgnu"),
        ([*GNU_TAR, "--sparse"], "gnu"),
        ([*GNU_TAR, "--sparse", "--sparse-version=0.0"], "posix"),
        ([*GNU_TAR, "--sparse", "--sparse-version=0.1"], "posix"),
        ([*GNU_TAR, "--sparse", "--sparse-version=1.0"], "posix"),
        (BSDTAR, "pax"),
    ],
)
@pytest.mark.parametrize("directory", ["make_sparse", "/".join(["long"] * 60)])
def test_sparse_files_stay_whole_in_the_skeleton(
    command: list[str], format: str, directory: str, trees: Path
) -> None:
    top = trees / "of" / directory
    if not top.exists():
        tree.make_sparse(top)
    data = archive(command, format, trees / "of", directory)
    found = tree.settled([entry for entry in round_trip(data, chunk_size=10_000) if entry.kind != "dir"])
    wanted = {entry.path: entry for entry in tree.expected(top, f"{directory}/")}
    sparse = {path for path, entry in found.items() if entry.digest is None}
    assert {Path(path).name for path in sparse} == {"ends", "comb", "hole"}
    for path in sparse:
        wanted[path] = replace(wanted[path], digest=None)
    assert found == wanted


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_python_tars_with_devices_are_read_right(format: int) -> None:
    file = io.BytesIO()
    kinds: dict[Kind, bytes] = {
        "char": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE,
        "fifo": tarfile.FIFOTYPE,
        "dir": tarfile.DIRTYPE,
    }
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, type in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime, info.uid, info.gid = type, 0o600, 7, 1000, 2000
            info.devmajor, info.devminor = 4, 64
            tar.addfile(info)
    devices: dict[Kind, tuple[int, int]] = {"char": (4, 64), "block": (4, 64)}
    assert round_trip(file.getvalue()) == [
        Entry(kind, kind, 0o600, 1000, 2000, 7 * 10**9, 0, device=devices.get(kind)) for kind in kinds
    ]


@pytest.mark.parametrize(
    "command", [["gzip", "-1c"], ["bzip2", "-c"], ["xz", "-0c"], ["zstd", "-qc"]], ids=lambda command: command[0]
)
def test_compressed_tars_have_the_same_parts(command: list[str], trees: Path) -> None:
    data = archive(GNU_TAR, "gnu", trees, "make_everything")
    packed = subprocess.run([program(command[0]), *command[1:]], input=data, stdout=subprocess.PIPE, check=True)
    chunks = decompress(io.BytesIO(packed.stdout), limit=1 << 30)
    entries, skeleton, bodies = take_apart(chunks)
    plain_entries, plain_skeleton, _ = take_apart([data])
    assert entries == plain_entries
    assert skeleton == plain_skeleton
    assert b"".join(join([skeleton], bodies.get)) == data


def test_a_debian_image_round_trips_and_reads_as_tarfile_reads_it() -> None:
    path = debian_tar()
    data = path.read_bytes()
    entries, skeleton, bodies = take_apart(cut(data, 1 << 20))
    assert b"".join(join(cut(skeleton, 1 << 20), bodies.get)) == data
    assert list(check_layout(entries)) == entries
    with tarfile.open(path) as tar:
        wanted = [
            (info.name, info.mode, info.uid, info.gid, info.mtime * 10**9, info.size, info.linkname)
            for info in tar
        ]
    assert wanted == [(e.path, e.mode, e.uid, e.gid, e.mtime, e.size, e.target or "") for e in entries]
