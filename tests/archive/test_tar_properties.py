"""What holds for any tar, however it is made, cut or damaged."""

import io
import tarfile
from contextlib import suppress
from hashlib import sha512

from hypothesis import assume, example, given
from hypothesis import strategies as st

from acistore.archive.tar import Entry, Kind, join
from acistore.errors import ArchiveRefused, StoreDamaged
from tests.archive.tars import GOOD, cut, member, pax, round_trip, summed, take_apart

_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
_FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)

components = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40)
paths = st.lists(components.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6).map("/".join)
bodies = st.one_of(
    st.binary(max_size=40), st.builds(lambda part, times: part * times, st.binary(), st.integers(0, 300))
)


@st.composite
def members(draw: st.DrawFn, format: int) -> tuple[tarfile.TarInfo, bytes]:
    """An entry that the format can say, and its body."""
    info = tarfile.TarInfo(draw(paths))
    info.type = draw(st.sampled_from(sorted(_KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    large = 2**21 - 1 if format == tarfile.USTAR_FORMAT else 2**32 - 2
    info.uid, info.gid = draw(st.integers(0, large)), draw(st.integers(0, large))
    earliest = 0 if format == tarfile.USTAR_FORMAT else -62_135_596_800
    info.mtime = draw(st.integers(earliest, 8**11 - 1))
    if info.islnk() or info.issym():
        info.linkname = draw(paths)
    if info.ischr() or info.isblk():
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20))
    body = draw(bodies) if info.isreg() else b""
    info.size = len(body)
    return info, body


@st.composite
def tars(draw: st.DrawFn) -> tuple[bytes, list[Entry]]:
    """A tar by Python's tarfile, and its entries."""
    format = draw(st.sampled_from(_FORMATS))
    file, entries = io.BytesIO(), []
    with tarfile.open(fileobj=file, mode="w", format=format, encoding="utf-8") as tar:
        for info, body in draw(st.lists(members(format), max_size=5)):
            try:
                tar.addfile(info, io.BytesIO(body))
            except ValueError:  # too long for ustar
                assume(format == tarfile.USTAR_FORMAT)
                continue
            entries.append(
                Entry(
                    path=info.name,
                    kind=_KINDS[info.type],
                    mode=info.mode,
                    uid=info.uid,
                    gid=info.gid,
                    mtime=int(info.mtime) * 10**9,
                    size=info.size,
                    target=info.linkname if info.islnk() or info.issym() else None,
                    device=(info.devmajor, info.devminor) if info.ischr() or info.isblk() else None,
                    digest=sha512(body).digest() if info.isreg() else None,
                )
            )
    return file.getvalue(), entries


@given(tars(), st.binary(max_size=1500))
def test_a_tar_is_read_right_and_comes_back_identical(made: tuple[bytes, list[Entry]], after: bytes) -> None:
    data, entries = made
    assert round_trip(data + after) == entries


@given(tars(), st.lists(st.integers(0, 3000), min_size=1, max_size=30))
def test_where_chunks_are_cut_makes_no_difference(made: tuple[bytes, list[Entry]], sizes: list[int]) -> None:
    data, _ = made
    whole, pieces = take_apart([data]), take_apart(chunks_of(data, sizes))
    assert pieces[:2] == whole[:2]
    assert pieces[2].kept == whole[2].kept
    assert b"".join(join(chunks_of(pieces[1], sizes), pieces[2].get)) == data


def chunks_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data cut into chunks of these sizes, and one more."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


SPECIMEN = (
    pax((b"comment", b"x"), type=b"g")
    + pax((b"path", b"a/" + b"b" * 120), (b"mtime", b"1.5"))
    + GOOD
    + member(b"L", b"L", b"long name\0", magic=b"ustar  \0")
    + member(b"to", b"2", link=b"target")
    + pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"99"))
    + member(b"sparse", body=b"0\n" + bytes(510))
    + member(b"last", body=b"x" * 1000)
    + bytes(1024)
)

changes = st.lists(st.tuples(st.integers(0, len(SPECIMEN) - 1), st.integers(0, 255)), min_size=1, max_size=6)


def changed_specimen(where: list[tuple[int, int]]) -> bytes:
    data = bytearray(SPECIMEN)
    for at, byte in where:
        data[at] = byte
    return bytes(data)


@given(changes, st.integers(0, len(SPECIMEN)))
def test_a_damaged_tar_is_refused_or_comes_back_identical(where: list[tuple[int, int]], length: int) -> None:
    for data in (changed_specimen(where), changed_specimen(where)[:length]):
        with suppress(ArchiveRefused):
            round_trip(data)


@given(changes)
@example([(124, 0xFF)])
def test_a_forged_header_is_refused_or_comes_back_identical(where: list[tuple[int, int]]) -> None:
    blocks = cut(changed_specimen(where), 512)
    forged = b"".join(summed(block) if block[257:262] == b"ustar" else block for block in blocks)
    with suppress(ArchiveRefused):
        round_trip(forged, chunk_size=777)


@given(st.binary(max_size=2000))
def test_noise_is_refused(data: bytes) -> None:
    with suppress(ArchiveRefused):
        assert round_trip(data) == []


@given(st.data())
def test_a_damaged_skeleton_raises_nothing_but_store_damaged(data: st.DataObject) -> None:
    _, skeleton, bodies = take_apart([SPECIMEN])
    damaged = bytearray(skeleton)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(damaged)))

    def body(digest: bytes, size: int) -> list[bytes]:
        if digest not in bodies.kept:
            raise StoreDamaged("no such body")
        return [bodies.kept[digest]]

    for candidate in (damaged, damaged[:length]):
        try:
            joined = b"".join(join([bytes(candidate)], body))
        except StoreDamaged:
            continue
        assert len(joined) == len(SPECIMEN)


def test_the_specimen_itself_is_good() -> None:
    assert [entry.path for entry in round_trip(SPECIMEN)] == ["a/" + "b" * 120, "long name", "sparse", "last"]
