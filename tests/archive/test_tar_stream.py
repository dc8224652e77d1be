"""Where a tar ends, what is kept as it is, and how bodies are handed over."""

import random
from collections.abc import Iterable, Iterator

import pytest

from acistore.archive.tar import Entry, split
from tests.archive.tars import END, GNU, GOOD, header, member, old_sparse, pax, refusal, round_trip


def test_a_tar_is_truncated_wherever_it_ends_before_its_marker() -> None:
    data = pax((b"path", b"a")) + GOOD + member(b"L", b"L", b"long\0", magic=GNU) + old_sparse(b"data", more=1)
    for length in range(0, len(data) + 1, 64):
        error = refusal(data[:length])
        assert "truncated" in error.message
        assert error.facts["offset"].startswith("byte ")


def test_one_block_of_zeros_at_the_end_is_a_marker() -> None:
    assert len(round_trip(GOOD + bytes(512))) == 1
    assert round_trip(bytes(512)) == []


def test_one_block_of_zeros_before_anything_else_is_refused() -> None:
    assert "single block of zeros" in refusal(GOOD + bytes(512) + GOOD + END).message
    assert "single block of zeros" in refusal(GOOD + bytes(600)).message


@pytest.mark.parametrize("after", [b"x", bytes(9216), GOOD, random.Random(0).randbytes(200_001)])
def test_what_follows_the_marker_is_kept(after: bytes) -> None:
    assert [entry.path for entry in round_trip(GOOD + END + after)] == ["good"]


def test_padding_that_is_not_zero_is_kept() -> None:
    assert len(round_trip(header(size=5) + b"body\n" + b"\xff" * 507 + GOOD + END)) == 2


def test_every_plain_file_goes_to_the_sink_also_when_empty() -> None:
    entries = round_trip(member(b"a") + member(b"b", body=b"x") + header(b"d", b"5") + END)
    assert [entry.digest is None for entry in entries] == [False, False, True]


def test_a_sink_that_does_not_take_all_is_an_error_of_the_program() -> None:
    class Lazy:
        def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
            next(iter(pieces))
            return bytes(64)

    chunks = iter([header(size=2000), bytes(1000), bytes(1000 + 48), END])
    with pytest.raises(RuntimeError, match="before it had all of file"):
        list(split(chunks, bodies=Lazy(), skeleton=len))


def test_chunks_are_taken_no_earlier_than_needed() -> None:
    taken = []

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate([GOOD, GOOD, END]):
            taken.append(number)
            yield chunk

    class Sink:
        def put(self, entry: Entry, pieces: Iterable[bytes]) -> bytes:
            return bytes(64 + 0 * sum(map(len, pieces)))

    entries = split(chunks(), bodies=Sink(), skeleton=len)
    next(entries)
    assert taken == [0]
