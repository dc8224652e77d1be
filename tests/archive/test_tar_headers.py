"""The fields of a header: what is read, and what is refused."""

import pytest

from tests.archive.tars import END, GNU, GOOD, USTAR, V7, changed, header, member, only, pax, refusal


def test_a_wrong_checksum_names_the_entry_and_the_offset() -> None:
    block = bytearray(header(b"rootfs/bad"))
    block[0] ^= 1
    error = refusal(GOOD + bytes(block) + END)
    assert "checksum" in error.message
    assert error.facts == {"entry": "sootfs/bad", "offset": "byte 1024"}


def test_a_checksum_of_signed_bytes_is_accepted() -> None:
    block = header("Größe".encode())
    signed = sum(byte - 256 * (byte > 127) for byte in block[:148] + block[156:]) + 8 * 32
    assert only(block[:148] + b"%06o\0 " % signed + block[156:]).path == "Größe"
    assert "checksum" in refusal(block[:148] + b"%06o\0 " % (signed + 1) + block[156:] + END).message


@pytest.mark.parametrize("magic", [USTAR, GNU, V7, b"ustar\0\0\0"])
def test_known_formats_are_accepted(magic: bytes) -> None:
    assert only(member(b"file", body=b"body", magic=magic)).size == 4


@pytest.mark.parametrize("magic", [b"ustar 00", b"USTAR\x0000", b"ustar  0", b"\0\0\0\0\0\0\0x"])
def test_an_unknown_format_is_refused(magic: bytes) -> None:
    assert "unknown format" in refusal(member(magic=magic) + END).message


def test_the_prefix_belongs_to_the_path_in_ustar_alone() -> None:
    assert only(header(b"name", prefix=b"some/dir")).path == "some/dir/name"
    assert only(header(b"name", prefix=b"d" * 155)).path == "d" * 155 + "/name"
    assert only(header(b"name", prefix=b"12345670123\0", magic=GNU)).path == "name"
    star = changed(header(b"name", prefix=b"d" * 131 + b"12345670123\0"), "tail", b"tar\0")
    assert only(star).path == "d" * 131 + "/name"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000017\0", 15),
        (b"     17 ", 15),
        (b"17\0xxxxx", 15),
        (b"00000017", 15),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"\x80\0\0\0\0\0\0\x0f", 15),
        (b"\x80\0\0\0\xff\xff\xff\xfe", 2**32 - 2),
    ],
)
def test_numbers_are_octal_or_base_256(field: bytes, value: int) -> None:
    assert only(header(uid=field)).uid == value


@pytest.mark.parametrize(
    "field",
    [
        b"0000018\0",
        b"-000001\0",
        b"+000001\0",
        b"0x00001\0",
        b"00_0001\0",
        b"1 0\0    ",
        b"\0000017\0",
        b"\x81\0\0\0\0\0\0\0",
        b"\xfe\0\0\0\0\0\0\0",
        b"\xc2\xb2\0\0\0\0\0\0",
        b"abcdefg\0",
    ],
)
def test_anything_else_is_no_number(field: bytes) -> None:
    for name in ("mode", "uid", "gid", "size", "mtime"):
        block = header(size=0, mtime=b"\0" * 12)
        tail = b"\0" * 4 if name in ("size", "mtime") else b""
        assert "numeric field" in refusal(changed(block, name, field + tail) + END).message


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,
        b"\xff" + bytes(11),
        b"\x80\0\0\0\x80" + bytes(7),
        b"\x80\0\0\0\x7f" + b"\xff" * 7,
        b"\x80" + b"\xff" * 11,
    ],
)
@pytest.mark.parametrize("kind", [b"0", b"5", b"S", b"x", b"g", b"L", b"K"])
def test_sizes_below_zero_or_beyond_64_bits_are_refused(size: bytes, kind: bytes) -> None:
    block = changed(header(b"big", kind, magic=GNU), "size", size)
    assert "a size of" in refusal(block + bytes(4096)).message


@pytest.mark.parametrize("owner", [b"\xff" * 8, b"\x80\0\0\0\xff\xff\xff\xff", b"\x80\0\0\1\0\0\0\0"])
def test_owners_that_nothing_can_have_are_refused(owner: bytes) -> None:
    assert "owner" in refusal(header(uid=owner) + END).message
    assert "owner" in refusal(header(gid=owner) + END).message


def test_times_are_within_the_years_that_can_be_written() -> None:
    def base_256(value: int) -> bytes:
        return b"\x80" + value.to_bytes(11, "big") if value >= 0 else value.to_bytes(12, "big", signed=True)

    assert only(header(mtime=base_256(-62_135_596_800))).mtime == -62_135_596_800 * 10**9
    assert only(header(mtime=base_256(253_402_300_799))).mtime == 253_402_300_799 * 10**9
    for value in (-62_135_596_801, 253_402_300_800, 2**80):
        assert "years 1 to 9999" in refusal(header(mtime=base_256(value)) + END).message


@pytest.mark.parametrize("kind", [b"D", b"M", b"N", b"V", b"X", b"A", b"z", b"8", b" ", b"\xff"])
def test_types_that_an_image_cannot_have_are_refused_by_name(kind: bytes) -> None:
    assert "which an image can't have" in refusal(member(b"odd", kind) + END).message


def test_a_directory_has_no_body_whatever_its_size() -> None:
    entry = only(header(b"directory/", b"5", 4096))
    assert (entry.path, entry.kind, entry.size) == ("directory", "dir", 0)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6"])
def test_links_and_devices_with_a_size_are_refused(kind: bytes) -> None:
    # bsdtar and Go read the next header after them; GNU tar's listing skips that many bytes first.
    assert "read differently" in refusal(header(b"odd", kind, 512, link=b"to") + GOOD + END).message
    assert "read differently" in refusal(pax((b"size", b"9")) + header(b"odd", kind, link=b"to") + END).message


@pytest.mark.parametrize("kind", [b"0", b"\0", b"7"])
def test_a_trailing_slash_makes_an_empty_file_a_directory(kind: bytes) -> None:
    entry = only(header(b"old/", kind))
    assert (entry.path, entry.kind, entry.digest) == ("old", "dir", None)
    assert "read differently" in refusal(member(b"old/", kind, b"body") + END).message


def test_a_contiguous_file_is_a_file() -> None:
    assert only(member(b"file", b"7", b"body")).size == 4


def test_a_mode_is_permission_bits_alone() -> None:
    assert only(header(mode=b"0104755\0")).mode == 0o4755


def test_a_link_without_a_target_is_refused() -> None:
    assert "without a target" in refusal(header(type=b"1") + END).message
    assert "without a target" in refusal(header(type=b"2") + END).message


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"./file", "file"),
        (b"././/a///b/./c", "a/b/c"),
        (b"directory//", "directory"),
        (b".", "."),
        (b"./", "."),
        (b"a/.", "a"),
        (b"/etc//passwd", "/etc/passwd"),
        (b"/", "/"),
        (b"a/../b", "a/../b"),
        (b"..", ".."),
        (b".hidden", ".hidden"),
        (b"a./b", "a./b"),
        (b"caf\xe9", "caf\udce9"),
        (b"a" * 100, "a" * 100),
    ],
)
def test_paths_and_targets_of_hard_links_are_cleaned(name: bytes, path: str) -> None:
    assert only(header(name, b"5")).path == path
    assert only(header(type=b"1", link=name)).target == path
    assert only(header(type=b"2", link=name)).target == name.decode(errors="surrogateescape")


def test_an_entry_without_a_name_is_refused() -> None:
    assert "without a name" in refusal(header(b"") + END).message
