"""Which archives are images."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from acistore.archive import layout
from acistore.archive.layout import check_layout
from acistore.archive.tar import Entry
from acistore.errors import ArchiveRefused

MANIFEST = Entry("manifest", "file", 0o644, 0, 0, 0, 0, digest=bytes(64))
ROOTFS = Entry("rootfs", "dir", 0o755, 0, 0, 0, 0)


def file(path: str) -> Entry:
    return replace(MANIFEST, path=path)


def hard_link(target: str) -> Entry:
    return replace(ROOTFS, path="rootfs/link", kind="hardlink", target=target)


def refusal(*entries: Entry) -> ArchiveRefused:
    with pytest.raises(ArchiveRefused) as refused:
        list(check_layout(entries))
    return refused.value


def test_an_image_passes_whatever_the_order() -> None:
    entries = [file("rootfs/b/a"), ROOTFS, replace(ROOTFS, path="rootfs/b"), MANIFEST, file("rootfs/..a")]
    assert list(check_layout(entries)) == entries


def test_the_top_directory_is_allowed_and_dropped() -> None:
    top = replace(ROOTFS, path=".")
    assert list(check_layout([top, MANIFEST, ROOTFS])) == [MANIFEST, ROOTFS]
    assert "directory must be" in refusal(file("."), MANIFEST, ROOTFS).message
    assert "twice" in refusal(top, top, MANIFEST, ROOTFS).message


@pytest.mark.parametrize(
    "path",
    [
        "rootfsX",
        "rootfs.txt",
        "etc/passwd",
        "Manifest",
        "manifest/a",
        "/manifest",
        "/rootfs/etc",
        "/",
        "..",
        "../rootfs/etc",
        "rootfs/../etc",
        "rootfs/a/..",
        "rootfs/..",
        "a/../rootfs/b",
    ],
)
def test_nothing_may_be_outside_of_rootfs(path: str) -> None:
    error = refusal(MANIFEST, ROOTFS, file(path))
    assert error.message == "the image has something other than manifest and rootfs"
    assert error.facts == {"path": path}


@pytest.mark.parametrize("path", ["manifest", "rootfs", "rootfs/a"])
def test_no_path_may_come_twice(path: str) -> None:
    entries = [MANIFEST, ROOTFS, file("rootfs/a")]
    error = refusal(*entries, next(entry for entry in entries if entry.path == path))
    assert error.facts == {"path": path}
    assert "twice" in error.message


def test_manifest_and_rootfs_must_be_there() -> None:
    assert refusal(ROOTFS).message == "the image has no manifest"
    assert refusal(MANIFEST, file("rootfs/a")).message == "the image has no rootfs"
    assert refusal().message == "the image has no manifest"


def test_the_manifest_must_be_a_plain_file() -> None:
    for manifest in (
        replace(ROOTFS, path="manifest"),
        replace(ROOTFS, path="manifest", kind="symlink", target="rootfs/manifest"),
        replace(ROOTFS, path="manifest", kind="hardlink", target="rootfs/manifest"),
        replace(MANIFEST, digest=None),  # sparse
    ):
        assert "not a plain file" in refusal(manifest, ROOTFS).message


def test_rootfs_must_be_a_directory() -> None:
    link = replace(ROOTFS, kind="symlink", target="/")
    assert "directory must be" in refusal(MANIFEST, link).message
    assert "directory must be" in refusal(MANIFEST, file("rootfs")).message


@pytest.mark.parametrize("target", ["manifest", "rootfs", "/etc/passwd", "rootfs/../manifest", "../a", "."])
def test_hard_links_stay_inside_rootfs(target: str) -> None:
    error = refusal(MANIFEST, ROOTFS, hard_link(target))
    assert error.facts == {"path": "rootfs/link", "target": target}


def test_links_that_stay_inside_and_symbolic_ones_to_anywhere_pass() -> None:
    entries = [
        MANIFEST,
        ROOTFS,
        hard_link("rootfs/a"),
        replace(hard_link("/etc"), path="rootfs/s", kind="symlink"),
    ]
    assert list(check_layout(entries)) == entries


def test_entries_are_passed_on_one_by_one() -> None:
    def entries() -> Iterator[Entry]:
        yield MANIFEST
        raise AssertionError("asked for more than needed")

    assert next(check_layout(entries())) == MANIFEST


def test_what_has_to_be_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ENTRY_LIMIT", 100)
    assert "more than 100 entries" in refusal(ROOTFS, *(file(f"rootfs/{n}") for n in range(100))).message
    monkeypatch.undo()
    monkeypatch.setattr(layout, "PATHS_LIMIT", 10_000)
    assert "10000 characters of paths" in refusal(ROOTFS, file("rootfs/" + "a" * 10_000)).message
