"""Streams of every kind, made by the real programs and by hand."""

import bz2
import contextlib
import gzip
import io
import lzma
import random
import re
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from acistore.archive.compression import compression_name, decompress
from acistore.errors import ArchiveRefused
from tests.programs import program

_NOISE = random.Random(0).randbytes(300_000)
PLAIN = b"manifest" + bytes(100_000) + _NOISE + b"text, again and again. " * 20_000
LIMIT = 1 << 30

COMMANDS = [
    ["gzip", "-c"],
    ["gzip", "-1c"],
    ["gzip", "-9nc"],
    ["bzip2", "-c"],
    ["bzip2", "-1c"],
    ["xz", "-c"],
    ["xz", "-0c", "--check=crc32"],
    ["xz", "-1c", "--check=sha256", "--block-size=65536"],
    ["xz", "-1c", "--check=none"],
    ["zstd", "-qc"],
    ["zstd", "-qc", "-19", "--long=27"],
    ["zstd", "-qc", "--no-check", "--no-content-size"],
]
IN_PYTHON: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}
FORMATS = pytest.mark.parametrize("name", IN_PYTHON)


class Dribble(io.BytesIO):
    """A file that gives a few bytes at a time, as a socket may."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._most)


def unpack(data: bytes, *, limit: int = LIMIT, chunk_size: int = 1 << 20) -> bytes:
    chunks = list(decompress(io.BytesIO(data), limit=limit, chunk_size=chunk_size))
    assert all(0 < len(chunk) <= max(chunk_size, 128 << 10) for chunk in chunks)
    return b"".join(chunks)


def reason(data: bytes, *, limit: int = LIMIT) -> str:
    with pytest.raises(ArchiveRefused) as refused:
        unpack(data, limit=limit)
    return refused.value.message


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_the_real_programs_write_is_unpacked(command: list[str]) -> None:
    packed = subprocess.run([program(command[0]), *command[1:]], input=PLAIN, stdout=subprocess.PIPE, check=True)
    assert compression_name(packed.stdout[:6]) == command[0]
    assert unpack(packed.stdout) == PLAIN
    assert unpack(packed.stdout, chunk_size=1000) == PLAIN


def test_anything_else_is_taken_to_be_plain() -> None:
    for data in (PLAIN, b"m", b"BZh", b"\x1f", b"(\xb5/", b"Zip"):
        assert compression_name(data[:6]) == "none"
        assert unpack(data) == data


@FORMATS
@pytest.mark.parametrize("most", [1, 3, 100])
def test_input_may_come_in_small_pieces(name: str, most: int) -> None:
    packed = IN_PYTHON[name](PLAIN[99_000:103_000]) * 2
    assert b"".join(decompress(Dribble(packed, most), limit=LIMIT)) == PLAIN[99_000:103_000] * 2


@FORMATS
def test_several_members_are_one_stream(name: str) -> None:
    pack = IN_PYTHON[name]
    assert unpack(pack(b"first") + pack(b"") + pack(PLAIN) + pack(b"last")) == b"first" + PLAIN + b"last"


@FORMATS
def test_many_empty_members_take_no_time_to_speak_of(name: str) -> None:
    assert unpack(IN_PYTHON[name](b"") * 3000 + IN_PYTHON[name](b"end")) == b"end"


@FORMATS
def test_members_of_two_kinds_are_refused(name: str) -> None:
    other = "xz" if name == "gzip" else "gzip"
    assert "followed by something else" in reason(IN_PYTHON[name](b"one") + IN_PYTHON[other](b"two"))


@FORMATS
@pytest.mark.parametrize("garbage", [b"x", b"\0", bytes(511), b"garbage " * 100])
def test_trailing_garbage_is_refused(name: str, garbage: bytes) -> None:
    message = reason(IN_PYTHON[name](PLAIN) + garbage)
    assert ("followed by something else" in message) or (name == "xz" and "padding" in message)


@FORMATS
def test_a_truncated_stream_is_refused_wherever_it_ends(name: str) -> None:
    packed = IN_PYTHON[name](PLAIN[99_900:100_200])
    for length in range(6, len(packed)):
        assert "truncated" in reason(packed[:length]), length


@FORMATS
def test_a_flipped_bit_is_never_unpacked_as_something_else(name: str) -> None:
    plain = PLAIN[99_900:100_200]
    packed = IN_PYTHON[name](plain)
    chance = random.Random(name)
    for at in range(6, len(packed)):
        damaged = bytearray(packed)
        damaged[at] ^= 1 << chance.randrange(8)
        try:
            assert unpack(bytes(damaged)) == plain
        except ArchiveRefused as refused:
            assert re.search("corrupt|truncated|followed", refused.message)


@FORMATS
def test_a_wrong_checksum_at_the_end_is_corrupt(name: str) -> None:
    packed = bytearray(IN_PYTHON[name](b"body"))
    packed[{"gzip": -8, "bzip2": -2, "xz": -40, "zstd": -1}[name]] ^= 0xFF
    assert "corrupt" in reason(bytes(packed))


def test_an_empty_stream_is_refused() -> None:
    assert reason(b"") == "the archive is empty"


@FORMATS
def test_the_limit_is_on_plain_bytes(name: str) -> None:
    packed = IN_PYTHON[name](PLAIN)
    assert unpack(packed, limit=len(PLAIN)) == PLAIN
    assert "larger than the limit" in reason(packed, limit=len(PLAIN) - 1)
    assert "larger than the limit" in reason(PLAIN, limit=len(PLAIN) - 1)


@FORMATS
def test_a_bomb_is_stopped_before_it_is_produced(name: str) -> None:
    bomb = IN_PYTHON[name](bytes(100 << 20))
    chunks = decompress(io.BytesIO(bomb), limit=10 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveRefused):
            for chunk in chunks:
                assert len(chunk) <= 1 << 20
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def _gzip_with(flags: int, fields: bytes, *, checksum: int | None = None) -> bytes:
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + fields
    if flags & 2:
        head += (zlib.crc32(head) & 0xFFFF if checksum is None else checksum).to_bytes(2, "little")
    return head + gzip.compress(b"body")[10:]


def test_every_gzip_header_field_is_understood_wherever_the_input_is_cut() -> None:
    stream = _gzip_with(2 | 4 | 8 | 16, b"\5\0extra" + b"name\0" + b"comment\0")
    assert unpack(stream) == b"body"
    for most in range(1, len(stream)):
        assert b"".join(decompress(Dribble(stream, most), limit=LIMIT)) == b"body"


def test_broken_gzip_headers_are_corrupt() -> None:
    assert "header checksum" in reason(_gzip_with(2, b"", checksum=1))
    assert "flags" in reason(_gzip_with(0x20, b""))
    assert "length" in reason(_gzip_with(8, b"a" * (1 << 20) + b"\0"))
    assert "truncated" in reason(_gzip_with(8, b"name\0")[:13])


def test_xz_padding_is_allowed_after_and_between_streams() -> None:
    stream = lzma.compress(b"body")
    assert unpack(stream + bytes(4) + stream + bytes(1 << 20)) == b"bodybody"
    assert "multiple of 4" in reason(stream + bytes(6) + stream)
    assert "multiple of 4" in reason(stream + bytes((1 << 20) + 2))


def test_xz_that_needs_too_much_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    stream = lzma.compress(b"body", lzma.FORMAT_XZ, filters=filters)
    assert "Memory usage limit" in reason(stream)


def test_zstd_that_needs_too_much_memory_is_refused() -> None:
    # A frame header with a window of 256 MiB, then one raw block.
    stream = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([18 << 3]) + b"\x21\x00\x00body"
    assert "memory" in reason(stream)
    assert unpack(stream.replace(bytes([18 << 3]), bytes([10 << 3]))) == b"body"


def test_zstd_skippable_frames_are_skipped() -> None:
    frame = IN_PYTHON["zstd"](b"body")
    skippable = b"\x5f\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)
    assert unpack(skippable + frame + skippable + frame) == b"bodybody"
    assert "truncated" in reason(frame + skippable[:-1])
    assert compression_name(skippable[:6]) == "zstd"


def test_zstd_blocks_that_produce_far_more_than_they_take_come_one_by_one() -> None:
    run = (128 << 10 << 3 | 1 << 1).to_bytes(3, "little") + b"z"  # RLE: 4 bytes make 128 KiB
    stream = b"\x28\xb5\x2f\xfd\x00\x38" + run * 1000 + b"\x01\x00\x00"
    assert unpack(stream) == b"z" * (1000 * 128 << 10)


@given(st.data(), st.sampled_from(sorted(IN_PYTHON)))
def test_damage_raises_nothing_but_archive_refused(data: st.DataObject, name: str) -> None:
    packed = bytearray(IN_PYTHON[name](PLAIN[99_500:100_500]) * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(packed)))
    with contextlib.suppress(ArchiveRefused):
        unpack(bytes(packed[:length]), limit=1 << 20)


def test_an_error_of_the_file_itself_comes_through() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read(100)

    with pytest.raises(OSError, match="Input/output"):
        list(decompress(Failing(bz2.compress(PLAIN)), limit=LIMIT))
