"""Joining: what a skeleton promises, and what happens when it or a body does not keep it."""

import hashlib
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from acistore.archive.tar import Entry, join, split
from acistore.archive.tar.skeleton import MAGIC
from acistore.errors import StoreDamaged
from tests.archive.tars import END, GNU, Bodies, changed, header, member, take_apart

DATA = member(b"a", body=b"body of a") + member(b"b") + header(b"d", b"5") + END


def joined(skeleton: bytes, body: bytes = b"") -> bytes:
    return b"".join(join([skeleton], lambda digest, size: [body]))


def damage(skeleton: bytes, body: bytes = b"") -> str:
    with pytest.raises(StoreDamaged) as damaged:
        joined(skeleton, body)
    return damaged.value.message


def test_the_format_is_as_documented() -> None:
    _, skeleton, _ = take_apart([member(body=b"x") + bytes(512)])
    digest = hashlib.sha512(b"x").digest()
    assert skeleton == (
        b"acistore-skeleton-1\n"
        + b"L\x00\x00\x02\x00"
        + header(size=1)
        + b"B\x00\x00\x00\x00\x00\x00\x00\x01"
        + digest
        + b"L\x00\x00\x03\xff"
        + bytes(511 + 512)
        + b"E\x00\x00\x00\x00\x00\x00\x06\x00"
    )


def test_a_skeleton_that_is_cut_off_is_damaged_wherever() -> None:
    _, skeleton, bodies = take_apart([DATA])
    for length in range(len(skeleton)):
        with pytest.raises(StoreDamaged):
            list(join([skeleton[:length]], bodies.get))


def test_what_makes_no_sense_is_damaged() -> None:
    end = b"E" + bytes(8)
    assert joined(MAGIC + end) == b""
    for skeleton in (b"", end, b"acistore-skeleton-2\n" + end, MAGIC + b"Z" + end, MAGIC + end + b"x"):
        damage(skeleton)
    damage(MAGIC + b"E" + (1).to_bytes(8, "big"))


@pytest.mark.parametrize(("body", "what"), [(b"bod", "shorter"), (b"", "shorter"), (b"bodyy", "longer")])
def test_a_body_of_another_length_is_damage(body: bytes, what: str) -> None:
    skeleton = MAGIC + b"B" + (4).to_bytes(8, "big") + bytes(64) + b"E" + (4).to_bytes(8, "big")
    assert joined(skeleton, b"body") == b"body"
    assert f"{what} than the 4 bytes" in damage(skeleton, body)


def test_a_body_without_end_is_stopped() -> None:
    def endless(digest: bytes, size: int) -> Iterator[bytes]:
        while True:
            yield b"more"

    skeleton = MAGIC + b"B" + (40).to_bytes(8, "big") + bytes(64)
    with pytest.raises(StoreDamaged, match="longer"):
        list(join([skeleton], endless))


def test_announced_sizes_allocate_nothing() -> None:
    tracemalloc.start()
    try:
        assert "shorter" in damage(MAGIC + b"L\xff\xff\xff\xff" + b"few")
        assert "shorter" in damage(MAGIC + b"B" + b"\xff" * 8 + bytes(64), b"few")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def _large(kind: bytes, size: int) -> Iterator[bytes]:
    """A tar with one large file, in chunks of 1 MiB, and as much again after its end."""
    yield changed(header(b"large", kind, size, magic=GNU), "sparse_size", b"00000000001\0")
    zeros = bytes(1 << 20)
    for _ in range(size >> 20):
        yield zeros
    yield END
    for _ in range(size >> 20):
        yield zeros


@pytest.mark.parametrize("kind", [b"0", b"S"])
def test_memory_is_bounded_whatever_the_size_of_files(kind: bytes) -> None:
    class Hashed:
        def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
            hasher = hashlib.sha512()
            for piece in pieces:
                hasher.update(piece)
            return hasher.digest()

    tracemalloc.start()
    try:
        entries = list(split(_large(kind, 64 << 20), bodies=Hashed(), skeleton=len))
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()
    assert entries[0].size == (64 << 20 if kind == b"0" else 1)


def test_a_large_body_is_never_held_whole() -> None:
    bodies = Bodies()
    entries = list(split(_large(b"0", 4 << 20), bodies=bodies, skeleton=len))
    assert [entry.size for entry in entries] == [4 << 20]
    assert bodies.pieces == [4]
