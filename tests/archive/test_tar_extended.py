"""Long names, extended headers and sparse files: what is read, and what is refused."""

import pytest

from tests.archive.tars import (
    END,
    GNU,
    GOOD,
    USTAR,
    header,
    member,
    old_sparse,
    only,
    padded,
    pax,
    record,
    refusal,
    round_trip,
)


def test_gnu_long_names_are_read_up_to_their_nul() -> None:
    long = b"n" * 500
    assert only(member(b"././@LongLink", b"L", long + b"\0", magic=GNU) + GOOD).path == "n" * 500
    assert only(member(b"././@LongLink", b"L", long + b"\0rest", magic=GNU) + GOOD).path == "n" * 500
    for bad in (long, b"", b"\0"):
        assert "empty or does not end" in refusal(member(b"L", b"L", bad, magic=GNU) + GOOD + END).message
    link = member(b"././@LongLink", b"K", long + b"\0", magic=GNU)
    assert only(link + header(type=b"2", link=b"n" * 99)).target == "n" * 500


def test_pax_records_replace_header_fields() -> None:
    records = [(b"path", "ünï/file".encode()), (b"size", b"4"), (b"uid", b"4000000"), (b"gid", b"5000000")]
    block = header(b"short", size=0, uid=b"7777777\0", mode=b"0000600\0")
    entry = only(pax(*records, (b"mtime", b"-1.5"), (b"comment", b"")) + block + padded(b"body"))
    assert (entry.path, entry.size, entry.uid, entry.gid) == ("ünï/file", 4, 4_000_000, 5_000_000)
    assert entry.mtime == -1_500_000_000
    assert only(pax((b"linkpath", b"t" * 300)) + header(type=b"2", link=b"x")).target == "t" * 300


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [(b"1", 10**9), (b"1.", 10**9), (b"1.25", 1_250_000_000), (b"0.0000000019", 1), (b"-0.5", -500_000_000)],
)
def test_pax_times_have_fractions(value: bytes, nanoseconds: int) -> None:
    assert only(pax((b"mtime", value)) + GOOD).mtime == nanoseconds


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"path=a\n",
        b"9 path=a",
        b"9 path=a ",
        b"11 path=a\n",
        b"8 path=a\n",
        b"99 path=a\n",
        b" 9 path=a\n",
        b"-9 path=a\n",
        b"9_ path=a\n",
        b"7 path\n",
        b"5 =a\n",
        b"0 path=a\n",
        b"2 \n",
        b"3 \n\n",
        b"99999999999999999999999999 path=a\n",
        b"9 path=a\n\0",
        b"9 path=a\n\n",
        record(b"path", b"a\0b"),
        record(b"linkpath", b"a\0b"),
        record(b"a\0b", b"c"),
        record(b"path", b""),
        record(b"size", b""),
        record(b"size", b"-1"),
        record(b"size", b"+1"),
        record(b"size", b"0x1"),
        record(b"size", b"1.5"),
        record(b"size", b"9" * 19),
        record(b"size", b"9" * 20),
        record(b"size", b"9" * 5000),
        record(b"uid", b"-1"),
        record(b"gid", b"4294967295"),
        record(b"mtime", b"now"),
        record(b"mtime", b"1e9"),
        record(b"mtime", b"9" * 13),
        record(b"mtime", b"999999999999"),
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.major", b"2") + record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.map", b"0,1"),
        record(b"GNU.sparse.name", b"a"),
        record(b"GNU.sparse.size", b"1"),
    ],
)
def test_malformed_extended_headers_are_refused(records: bytes) -> None:
    refusal(member(b"PaxHeaders", b"x", records) + GOOD + END)


def test_records_of_no_use_here_are_kept_and_ignored() -> None:
    extra = pax((b"SCHILY.xattr.user.a", b"\0\n=\xff"), (b"ctime", b""), (b"hdrcharset", b"BINARY"))
    assert only(extra + GOOD).path == "good"


@pytest.mark.parametrize(
    "keyword",
    [b"path", b"linkpath", b"size", b"GNU.sparse.name", b"GNU.sparse.major", b"GNU.sparse.anything"],
)
def test_a_global_header_may_not_change_what_files_there_are(keyword: bytes) -> None:
    error = refusal(pax((keyword, b"1"), type=b"g") + GOOD + END)
    assert f"sets {keyword.decode()}" in error.message


def test_a_global_header_sets_defaults_for_what_follows() -> None:
    first = pax((b"comment", b"0123abc"), (b"uid", b"7"), (b"mtime", b"5"), type=b"g")
    second = pax((b"uid", b"8"), type=b"g")
    entries = round_trip(first + GOOD + pax((b"uid", b"9")) + GOOD + second + GOOD + END)
    assert [(entry.uid, entry.mtime) for entry in entries] == [(7, 5 * 10**9), (9, 5 * 10**9), (8, 5 * 10**9)]


def test_extended_headers_that_programs_combine_differently_are_refused() -> None:
    path, other = pax((b"path", b"a")), pax((b"path", b"b"))
    long, link = member(b"L", b"L", b"long\0", magic=GNU), member(b"K", b"K", b"long\0", magic=GNU)
    for before in (path + other, long + long, link + link, path + pax((b"comment", b"x"), type=b"g")):
        assert "take different ones" in refusal(before + GOOD + END).message
    for before in (path + long, long + path):
        assert "two long names" in refusal(before + GOOD + END).message
    soft = header(type=b"2", link=b"x")
    assert "two long targets" in refusal(link + pax((b"linkpath", b"a")) + soft + END).message
    assert only(link + long + soft).target == "long"


def test_an_extended_header_without_an_entry_is_refused() -> None:
    for before in (pax((b"path", b"a")), member(b"L", b"L", b"long\0", magic=GNU)):
        assert "without an entry" in refusal(GOOD + before + END).message


def test_extended_headers_have_a_bound() -> None:
    fits = pax((b"comment", b"x" * ((1 << 20) - 18)))
    assert only(fits + GOOD).path == "good"
    for kind in (b"x", b"g", b"L", b"K"):
        block = header(b"big", kind, (1 << 20) + 1, magic=GNU)
        assert "more than the 1048576 allowed" in refusal(block + bytes(2 << 20)).message


def test_old_gnu_sparse_files_are_kept_whole() -> None:
    for more in (0, 1, 5):
        entry = only(old_sparse(b"data" * 300, more=more))
        assert (entry.path, entry.kind, entry.size, entry.digest) == ("sparse", "file", 0o100000, None)


def test_sparse_files_that_are_not_what_they_say_are_refused() -> None:
    assert "GNU's old format" in refusal(old_sparse(b"data", magic=USTAR) + END).message
    assert "a size of" in refusal(old_sparse(b"data", real_size=b"\xff" * 12) + END).message
    version = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
    assert "GNU's old format" in refusal(pax(*version) + old_sparse(b"data") + END).message
    assert "not a file" in refusal(pax(*version) + header(b"d", b"5") + END).message
    assert only(pax(*version) + member(body=b"0\n")).size == 9
    truncated = old_sparse(b"", more=3)
    assert "truncated" in refusal(truncated[:-512]).message
