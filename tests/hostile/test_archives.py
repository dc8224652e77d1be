"""Archives that are signed as they should be, by a publisher who means harm or whose machine is broken: cut off,
corrupt, far larger inside than outside, or lying about what they hold."""

import bz2
import tarfile

import pytest

from acistore.errors import ArchiveRefused, BadSignature, InvalidManifest
from tests.archive.tars import END, changed, member, old_sparse, pax
from tests.fetch.conftest import LABELS, NAME, app, served
from tests.hostile.archives import (
    BEGINNING,
    COMPRESSORS,
    HIDDEN,
    LIES,
    NOISE,
    ROOM,
    ROOTFS,
    base256,
    bomb,
    huge,
)
from tests.hostile.conftest import MIB, Victim
from tests.hostile.measured import Measured
from tests.hostile.servers import whole
from tests.images import entry, manifest, tar

FORMATS = pytest.mark.parametrize("name", COMPRESSORS)


# --- compression


@FORMATS
def test_a_compressed_image_that_is_cut_off_is_refused(victim: Victim, name: str) -> None:
    body = COMPRESSORS[name](NOISE)
    for size in (7, len(body) // 2, len(body) - 1):
        error = victim.refuses(ArchiveRefused, **victim.signed(body[:size])).error
        assert "truncated" in error.message


@pytest.mark.parametrize(
    "body",
    [
        served(app())[:-8] + bytes(4) + served(app())[-4:],
        served(app())[:-4] + bytes(4),
        served(app())[:-4] + b"\xff\xff\xff\xff",
        served(app()) + b"junk",
        served(app()) + b"\0" * 10_000,
        served(app()) + served(b"junk")[:-1],
        served(app()) + bz2.compress(b"junk"),
        b"\x1f\x8b" + bytes(1000),
        b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 1_000_000,
        b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff" + bytes(10),
        served(served(app())),
        b"PK\x03\x04" + bytes(1000),
        b"<html>" * 1000,
        b"",
    ],
    ids=lambda body: ascii(body[-8:]),
)
def test_what_is_no_whole_gzip_is_refused(victim: Victim, body: bytes) -> None:
    victim.refuses(ArchiveRefused, **victim.signed(body))


def test_a_flipped_bit_is_refused(victim: Victim) -> None:
    body = bytearray(served(NOISE))
    body[len(body) // 2] ^= 1
    victim.refuses(ArchiveRefused, **victim.signed(bytes(body)))


# --- bombs


@FORMATS
def test_ten_gigabytes_in_ten_megabytes_stop_at_the_limit(victim: Victim, name: str) -> None:
    body = bomb(name, BEGINNING + huge(b"rootfs/zeros"))
    assert len(body) < 11_000_000
    assert "limit" in victim.refuses(ArchiveRefused, limits=ROOM, **victim.signed(body)).error.message


@pytest.mark.parametrize("where", HIDDEN)
def test_wherever_a_bomb_is_hidden_it_stops_at_the_limit(victim: Victim, where: str) -> None:
    victim.refuses(ArchiveRefused, limits=ROOM, **victim.signed(bomb("gzip", HIDDEN[where])))


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_a_bomb_costs_the_command_neither_memory_nor_disk(victim: Victim, honest: Measured, name: str) -> None:
    """What the limit lets through is 16 MiB, on disk as well, and next to nothing in memory."""
    handlers = victim.signed(bomb(name, HIDDEN["in a file"]))
    ran = victim.command_refuses(ArchiveRefused, limits=ROOM, largest_file=24 * MIB, **handlers)
    assert ran.peak < honest.peak + 64 * MIB


def test_a_bomb_without_the_right_signature_is_not_even_opened(victim: Victim) -> None:
    """If it were unpacked before it is verified, the bound of one byte would be the error."""
    handlers = victim.signed(bomb("gzip", BEGINNING)) | {"signature": whole(victim.good.signature)}
    victim.refuses(BadSignature, limits={**ROOM, "unpacked_size": "1"}, **handlers)


# --- tars that lie


@pytest.mark.parametrize("name", LIES)
def test_tars_that_lie_are_refused(victim: Victim, name: str) -> None:
    victim.refuses(ArchiveRefused, **victim.signed(served(BEGINNING + LIES[name])))


@pytest.mark.parametrize(
    "sparse",
    [
        changed(old_sparse(b"", real_size=base256(7 << 60)), "name", b"rootfs/sparse\0"),
        pax(
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"rootfs/sparse"),
            (b"GNU.sparse.realsize", b"%d" % (7 << 60)),
        )
        + member(b"GNUSparseFile.0/sparse", body=b"1\n0\n1\n".ljust(512, b"\0") + b"x"),
    ],
    ids=["old", "PAX"],
)
def test_a_hole_as_large_as_it_may_be_takes_no_room(victim: Victim, sparse: bytes) -> None:
    """It is a valid image: kept as it came, and nobody fills the hole."""
    with victim.site(**victim.signed(served(BEGINNING + sparse + END))):
        fetched = victim.fetch()
    assert fetched.size < MIB
    assert sum(path.stat().st_size for path in (victim.directory / "packs").iterdir()) < MIB


# --- manifests


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"acKind":' * 100_000,
        b'{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": ' + b"9" * 100_000 + b"}",
        b'{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": 1e999999999}',
        manifest(NAME, labels=LABELS) + b"\0",
        manifest(NAME, labels=LABELS) * 2,
        b"\xff\xfe" + manifest(NAME, labels=LABELS).decode().encode("utf-16-le"),
        manifest("../../etc/passwd", labels=LABELS),
        manifest(NAME, labels={"version": "\x1b[2J", "os": "linux", "arch": "amd64"}, annotations=[{"name": 5}]),
        manifest(NAME, labels=LABELS, dependencies=[{"imageName": "-oProxyCommand=evil"}]),
        manifest(NAME, labels=LABELS, dependencies=[{"imageName": NAME, "size": -1}]),
        manifest(NAME, labels=LABELS, dependencies=[{"imageName": NAME, "size": 10**30}]),
        manifest(NAME, labels=LABELS, dependencies=[{"imageName": NAME, "imageID": "sha512-" + "z" * 128}]),
        manifest(NAME, labels=LABELS, pathWhitelist="/" * 1000),
        b"null",
        b"",
    ],
    ids=lambda raw: ascii(raw[:20] + raw[-30:]),
)
def test_manifests_that_are_none_are_refused(victim: Victim, raw: bytes) -> None:
    body = served(tar([entry("manifest", raw), entry("rootfs", kind=tarfile.DIRTYPE)]))
    victim.refuses(InvalidManifest, ArchiveRefused, **victim.signed(body))


def test_a_manifest_as_large_as_it_may_be_costs_little(victim: Victim, honest: Measured) -> None:
    annotations = [{"name": f"a{number}", "value": "x"} for number in range(100_000)]
    raw = manifest(NAME, labels=LABELS, annotations=annotations)
    assert len(raw) < 4 * MIB
    body = served(member(b"manifest", body=raw.ljust(4 * MIB + 1)) + ROOTFS + END)
    ran = victim.command_refuses(ArchiveRefused, **victim.signed(body))
    assert ran.peak < honest.peak + 64 * MIB
