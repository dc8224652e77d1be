"""What a skeleton alone tells of its tar: the entries again, and the content of sparse files."""

import base64
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha512
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.archive.tar import Entry, entries, entries_and_parts, filled, fingerprint, split
from acistore.archive.tar.skeleton import MAGIC
from acistore.archive.tar.sparse import MAP_LIMIT
from acistore.errors import ArchiveRefused, StoreDamaged
from tests.archive import tree
from tests.archive.tars import (
    END,
    GNU,
    GOOD,
    V7,
    changed,
    cut,
    header,
    member,
    old_sparse,
    only,
    pax,
    take_apart,
)
from tests.archive.test_real_tars import BSDTAR, GNU_TAR, archive
from tests.archive.test_tar_properties import SPECIMEN, changed_specimen, changes, chunks_of, tars
from tests.rootfs import debian_tar

SPARSE_WAYS = [
    ([*GNU_TAR, "--sparse"], "oldgnu"),
    ([*GNU_TAR, "--sparse"], "gnu"),
    ([*GNU_TAR, "--sparse", "--sparse-version=0.0"], "posix"),
    ([*GNU_TAR, "--sparse", "--sparse-version=0.1"], "posix"),
    ([*GNU_TAR, "--sparse", "--sparse-version=1.0"], "posix"),
    (BSDTAR, "pax"),
]


# --- entries


@given(tars(), st.lists(st.integers(0, 3000), max_size=30), st.binary(max_size=1500))
def test_a_skeleton_has_the_entries_of_its_tar(
    made: tuple[bytes, list[Entry]], sizes: list[int], after: bytes
) -> None:
    found, skeleton, _ = take_apart([made[0] + after])
    assert list(entries(chunks_of(skeleton, sizes))) == found


@pytest.mark.parametrize(
    "data",
    [
        SPECIMEN,
        END,
        bytes(512),
        member(b"v7", body=b"old", magic=V7) + END,
        member(b"empty") + member(b"empty too") + END,
        pax((b"uid", b"7"), type=b"g") + GOOD + pax((b"mtime", b"-1.5")) + GOOD + END,
        old_sparse(b"x" * 1000, more=3) + GOOD + END + b"what follows" * 100_000,
        old_sparse(b"", more=2) + GOOD + END,
        member(b"large", body=bytes(300_000)) + pax((b"path", b"p" * 200_000)) + GOOD + END,
    ],
    ids=["specimen", "nothing", "one block", "v7", "empty", "global", "sparse", "hole", "long runs"],
)
def test_every_format_comes_again(data: bytes) -> None:
    found, skeleton, _ = take_apart([data])
    for size in (1, 511, 512, 70_000, len(skeleton)):
        assert list(entries(cut(skeleton, size))) == found


@pytest.mark.parametrize(
    ("command", "format", "make"),
    [
        (GNU_TAR, "v7", tree.make_plain),
        (GNU_TAR, "ustar", tree.make_special),
        (GNU_TAR, "oldgnu", tree.make_everything),
        (GNU_TAR, "gnu", tree.make_everything),
        ([*GNU_TAR, "--xattrs"], "posix", tree.make_everything),
        (BSDTAR, "ustar", tree.make_special),
        (BSDTAR, "gnutar", tree.make_long),
        (BSDTAR, "pax", tree.make_everything),
        *((command, format, tree.make_sparse) for command, format in SPARSE_WAYS),
    ],
)
def test_real_tars_come_again(
    command: list[str], format: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "tree")
    found, skeleton, _ = take_apart([archive(command, format, tmp_path / "tree", ".")])
    assert list(entries(cut(skeleton, 5000))) == found


def test_a_debian_image_comes_again() -> None:
    class Hashed:
        def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
            return sha512(b"".join(pieces)).digest()

    skeleton = bytearray()
    with debian_tar().open("rb") as file:
        chunks = iter(lambda: file.read(1 << 20), b"")
        found = list(split(chunks, bodies=Hashed(), skeleton=skeleton.extend))
    assert list(entries([bytes(skeleton)])) == found


# --- extended attributes


@pytest.mark.parametrize("command", [[*GNU_TAR, "--xattrs"], [*BSDTAR, "--xattrs"]])
def test_extended_attributes_are_told(command: list[str], tmp_path: Path) -> None:
    tree.make_everything(tmp_path / "tree")
    _, skeleton, _ = take_apart([archive(command, "pax", tmp_path / "tree", "old")])
    (entry,) = entries([skeleton])
    assert entry.xattrs == (("user.acistore", b"value\0with = and\nnewline"),)


def test_both_ways_to_record_an_attribute_are_read() -> None:
    encoded = base64.b64encode(b"\0value").rstrip(b"=")
    entry = only(
        pax(
            (b"SCHILY.xattr.user.b", b"plain"),
            (b"LIBARCHIVE.xattr.user.%61%e9", encoded),
            (b"LIBARCHIVE.xattr.user.b", base64.b64encode(b"forged")),
            (b"LIBARCHIVE.xattr.user.c", b"x"),
        )
        + GOOD
    )
    assert entry.xattrs == (("user.a\udce9", b"\0value"), ("user.b", b"plain"), ("user.c", b"x"))


def test_an_attribute_is_that_of_the_next_entry_alone() -> None:
    found, _, _ = take_apart([pax((b"SCHILY.xattr.user.a", b"1")) + GOOD + GOOD + END])
    assert [entry.xattrs for entry in found] == [(("user.a", b"1"),), ()]


# --- sparse files


def contents(data: bytes, *, chunk_size: int = 10_000) -> dict[str, bytes]:
    """What the sparse files of a tar hold, read from its skeleton."""
    _, skeleton, _ = take_apart([data])
    return {
        entry.path: b"".join(filled(parts, entry.size))
        for entry, parts in entries_and_parts(cut(skeleton, chunk_size))
        if parts is not None
    }


@pytest.mark.parametrize(("command", "format"), SPARSE_WAYS)
def test_sparse_files_are_read_as_they_were(command: list[str], format: str, tmp_path: Path) -> None:
    top = tmp_path / "tree"
    tree.make_sparse(top)
    with (top / "ends").open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"odd" * 1001)
        file.truncate()
    found = contents(archive(command, format, top, "ends", "comb", "hole", "dense"))
    assert found == {name: (top / name).read_bytes() for name in ("ends", "comb", "hole")}


def sparse(*records: tuple[bytes, bytes], body: bytes = b"") -> bytes:
    return pax(*records) + member(b"sparse", body=body) + GOOD + END


def version_0(map: bytes, *, size: int = 5000, body: bytes = b"") -> bytes:
    return sparse((b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.map", map), body=body)


def version_1(stored: bytes, *, size: int = 5000) -> bytes:
    records = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % size)
    return sparse(*records, body=stored)


def test_repeated_records_are_a_map() -> None:
    pairs = [(b"GNU.sparse.offset", b"512"), (b"GNU.sparse.numbytes", b"512")]
    pairs += [(b"GNU.sparse.offset", b"4999"), (b"GNU.sparse.numbytes", b"1")]
    data = sparse((b"GNU.sparse.size", b"5000"), (b"GNU.sparse.numblocks", b"2"), *pairs, body=b"a" * 512 + b"z")
    assert contents(data) == {"sparse": bytes(512) + b"a" * 512 + bytes(3975) + b"z"}


@pytest.mark.parametrize(
    "data",
    [
        version_0(b"0,4", body=b""),
        version_0(b"0,4", body=b"longer"),
        version_0(b"0", body=b""),
        version_0(b"0,x", body=b""),
        version_0(b"1024,512,0,512", body=bytes(1024)),
        version_0(b"0,100,1024,512", body=bytes(612)),
        version_0(b"4999,512", body=bytes(512)),
        version_0(b"18446744073709551615,512", body=bytes(512)),
        version_1(b""),
        version_1(b"no number".ljust(512, b"\0")),
        version_1(b"1\n0\n".ljust(512, b"\0")),
        version_1(b"9" * 20 + b"\n"),
        version_1(b"2000000\n".ljust(MAP_LIMIT + 1024, b"\0")),
        version_1(b"1\n-1\n5\n".ljust(512, b"\0") + b"12345"),
        old_sparse(b"data") + GOOD + END,
        old_sparse(b"", more=MAP_LIMIT // 504 + 2) + GOOD + END,
        sparse((b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.offset", b"0")),
    ],
)
def test_a_map_that_makes_no_sense_is_told_and_the_other_entries_stay(data: bytes) -> None:
    found, skeleton, _ = take_apart([data])
    seen = []
    for entry, parts in entries_and_parts([skeleton]):
        seen.append(entry)
        if parts is not None:
            with pytest.raises(ValueError, match="a sparse file whose map"):
                list(filled(parts, entry.size))
    assert seen == found
    assert list(entries([skeleton])) == found


def test_parts_that_nobody_takes_are_passed_over() -> None:
    data = version_0(b"0,1024,2048,512", body=bytes(1536))
    found, skeleton, _ = take_apart([data])
    seen = []
    for entry, parts in entries_and_parts([skeleton]):
        seen.append(entry)
        if parts is not None:
            assert [at for at, _ in islice(parts, 1)] == [0]
    assert seen == found


pieces = st.lists(
    st.tuples(st.integers(0, 9000), st.sampled_from([b"\0", b"x"]), st.integers(0, 9000)), max_size=4
)


@given(pieces, st.integers(1, 10_000))
def test_a_fingerprint_depends_on_content_alone(holes: list[tuple[int, bytes, int]], size: int) -> None:
    parts, position = [], 0
    for hole, byte, length in holes:
        parts.append((position + hole, byte * length))
        position += hole + length
    content = b"".join(filled(parts, position))
    plain = [(at, content[at : at + size]) for at in range(0, len(content), size)]
    assert fingerprint(parts) == fingerprint(plain)
    if content:
        other = bytes([content[0] ^ 1]) + content[1:]
        assert fingerprint([(0, other)]) != fingerprint(parts)


# --- damage and bounds


def damage(skeleton: bytes) -> str:
    with pytest.raises(StoreDamaged) as damaged:
        list(entries([skeleton]))
    return damaged.value.message


def test_a_skeleton_that_is_cut_off_is_damaged_wherever() -> None:
    _, skeleton, _ = take_apart([SPECIMEN + b"after"])
    for length in range(len(skeleton)):
        damage(skeleton[:length])


def run(data: bytes) -> bytes:
    return b"L" + len(data).to_bytes(4, "big") + data


def body(size: int) -> bytes:
    return b"B" + size.to_bytes(8, "big") + bytes(64)


def end(size: int) -> bytes:
    return b"E" + size.to_bytes(8, "big")


def test_what_makes_no_sense_is_damaged() -> None:
    file = header(b"file", size=512)
    assert len(list(entries([MAGIC, run(file), body(512), run(END), end(2048)]))) == 1
    for records in (
        run(file) + body(511) + run(bytes(1) + END) + end(2048),
        run(file) + run(bytes(512)) + run(END) + end(2048),
        run(file) + end(512),
        run(file[:100]) + body(512),
        run(header(b"d", b"5")) + body(5) + run(END),
        run(bytes(512)) + body(512) + end(1024),
        run(END) + body(512) + end(1536),
        run(END) + end(1),
        run(END) + end(1024) + b"x",
        run(b"x" * 512) + run(END) + end(1536),
    ):
        damage(MAGIC + records)
    assert list(entries([MAGIC + run(b"") + run(END) + run(b"") + end(1024)])) == []


def test_damage_in_a_sparse_file_is_damage_to_who_reads_it() -> None:
    sparse_file = old_sparse(b"x" * 1024)
    for records in (run(sparse_file[:800]) + end(800), run(sparse_file[:800]) + body(5)):
        for _entry, parts in entries_and_parts([MAGIC + records]):
            with pytest.raises(StoreDamaged):
                list(parts or [])
            break
        damage(MAGIC + records)


@given(changes, st.data())
def test_a_damaged_skeleton_raises_nothing_but_store_damaged(
    where: list[tuple[int, int]], data: st.DataObject
) -> None:
    try:
        skeleton = bytearray(take_apart([changed_specimen(where)])[1])
    except ArchiveRefused:
        skeleton = bytearray(take_apart([SPECIMEN])[1])
    for _ in range(data.draw(st.integers(1, 4))):
        skeleton[data.draw(st.integers(0, len(skeleton) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(skeleton)))
    for candidate in (skeleton, skeleton[:length]):
        with suppress(StoreDamaged):
            for entry, parts in entries_and_parts([bytes(candidate)]):
                with suppress(ValueError):
                    for _piece in islice(filled(parts or (), entry.size), 100):
                        pass


def large_sparse(size: int) -> Iterator[bytes]:
    """The skeleton of a tar with a sparse file of so much data, and as much again after the tar's end."""
    block = changed(header(b"sparse", b"S", size, magic=GNU), "sparse_size", b"%011o\0" % size)
    yield MAGIC + run(changed(block, "prefix", bytes(41) + b"%011o\0%011o\0" % (0, size)))
    for _ in range(size >> 16):
        yield run(bytes(1 << 16))
    yield run(END)
    for _ in range(size >> 16):
        yield run(bytes(1 << 16))
    yield end(512 + size + 1024 + size)


def test_memory_is_bounded_whatever_is_announced() -> None:
    tracemalloc.start()
    try:
        assert [entry.size for entry in entries(large_sparse(32 << 20))] == [32 << 20]
        for entry, parts in entries_and_parts(large_sparse(32 << 20)):
            assert sum(map(len, filled(parts or (), entry.size))) == 32 << 20
        damage(MAGIC + run(header(b"f", size=8 << 30)) + b"L\xff\xff\xff\xff" + b"few")
        damage(MAGIC + b"L\xff\xff\xff\xff" + b"few")
        hole = version_0(b"", size=1 << 40)
        ((_entry, parts), _) = entries_and_parts([take_apart([hole])[1]])
        assert fingerprint(parts or ()) == fingerprint([])
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_large_body_costs_nothing() -> None:
    size = 3 << 30
    skeleton = MAGIC + run(header(b"large", size=size)) + body(size) + run(END) + end(512 + size + 1024)
    assert [entry.size for entry in entries([skeleton])] == [size]
