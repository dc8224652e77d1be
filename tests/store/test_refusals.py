"""Archives that are refused, and that nothing of them remains."""

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from acistore.errors import AcistoreError, ArchiveRefused, ImageMismatch, InvalidManifest
from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.store import Admission, Store
from tests.images import entry, image, manifest, tar
from tests.store.conftest import add, exported, files_in

ROOTFS = entry("rootfs", kind=tarfile.DIRTYPE)
MANIFEST = entry("manifest", manifest())
WHOLE = image(files={"a": b"a" * 3000, "b": b"b" * 200})


def _with_wrong_checksum() -> bytes:
    damaged = bytearray(WHOLE)
    damaged[0] ^= 1
    return bytes(damaged)


REFUSED = {
    "no manifest": (tar([ROOTFS]), "manifest"),
    "two manifests": (tar([MANIFEST, MANIFEST, ROOTFS]), "manifest"),
    "manifest is a directory": (tar([entry("manifest", kind=tarfile.DIRTYPE), ROOTFS]), "manifest"),
    "no rootfs": (tar([MANIFEST]), "rootfs"),
    "rootfs is a file": (tar([MANIFEST, entry("rootfs", b"x")]), "rootfs"),
    "file outside rootfs": (tar([MANIFEST, ROOTFS, entry("etc/passwd", b"x")]), "etc/passwd"),
    "name that only begins like rootfs": (tar([MANIFEST, ROOTFS, entry("rootfs2/x", b"x")]), "rootfs2"),
    "path that climbs out": (tar([MANIFEST, ROOTFS, entry("rootfs/../../x", b"x")]), r"\.\."),
    "duplicate entry": (tar([MANIFEST, ROOTFS, entry("rootfs/a", b"1"), entry("./rootfs/a", b"2")]), "rootfs/a"),
    "truncated tar": (WHOLE[:2000], "truncated"),
    "no end of archive": (WHOLE[: -len(WHOLE) % 10240 + 1024 * 3], "truncated"),
    "truncated gzip": (gzip.compress(WHOLE)[:-20], "truncated|cut off|ends"),
    "garbage behind gzip": (gzip.compress(WHOLE) + b"garbage", "gzip"),
    "wrong header checksum": (_with_wrong_checksum(), "checksum"),
    "empty": (b"", "empty"),
    "no archive": (b"hello " * 1000, "tar"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_archive_is_refused_with_the_reason_and_nothing_remains(
    store: Store, directory: Path, case: str
) -> None:
    archive, reason = REFUSED[case]
    kept = add(store, image("example.com/kept", {"a": b"a" * 3000}))
    before = files_in(directory)
    with pytest.raises(ArchiveRefused) as refused:
        add(store, archive)
    assert re.search(reason, f"{refused.value.message} {refused.value.facts}")
    assert files_in(directory) == before
    assert [each.id for each in store.list()] == [kept.id]
    assert store.verify().ok


def test_an_invalid_manifest_is_refused_by_its_field(store: Store, directory: Path) -> None:
    app = {"exec": ["/a"], "user": "0", "group": "0", "ports": [{"name": "x", "port": 70000, "protocol": "tcp"}]}
    with pytest.raises(InvalidManifest, match=r"^app\.ports\[0\]\.port: 70000 is not in 1\.\.65535"):
        add(store, image(app=app))
    assert files_in(directory) == []


def test_what_admission_refuses_leaves_nothing(store: Store, directory: Path) -> None:
    def refuse(_image_id: ImageID, _manifest: ImageManifest) -> list[Admission]:
        raise ImageMismatch("another image")

    with pytest.raises(ImageMismatch):
        store.add(io.BytesIO(WHOLE), admit=refuse)
    assert (files_in(directory), store.list()) == ([], [])


def test_a_bomb_is_stopped_at_the_limit(store: Store, directory: Path) -> None:
    bomb = gzip.compress(image(files={"zeros": bytes(30 << 20)}))
    assert len(bomb) < 100_000
    with pytest.raises(ArchiveRefused, match="1048576"):
        store.add(io.BytesIO(bomb), limit=1 << 20)
    assert files_in(directory) == []


def test_a_manifest_as_large_as_a_disk_is_refused(store: Store) -> None:
    huge = tar([entry("manifest", b" " * (5 << 20) + manifest()), ROOTFS])
    with pytest.raises(ArchiveRefused, match="manifest"):
        add(store, huge)


def test_bytes_behind_the_end_of_the_tar_are_part_of_the_image(store: Store) -> None:
    archive = WHOLE + b"and more" * 1000
    assert exported(store, add(store, archive)) == archive


@pytest.mark.parametrize("position", range(0, len(WHOLE), 997))
def test_any_altered_byte_is_another_image_or_none(store: Store, position: int) -> None:
    altered = bytearray(WHOLE)
    altered[position] ^= 0x41
    original = add(store, WHOLE)
    try:
        other = add(store, bytes(altered))
    except AcistoreError:
        assert [each.id for each in store.list()] == [original.id]
    else:
        assert other.id != original.id
        assert exported(store, other) == altered
    assert exported(store, original) == WHOLE
