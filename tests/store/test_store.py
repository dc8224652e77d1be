"""What goes into a store, and how it is found there."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acistore.errors import AmbiguousImage, ImageInUse, ImageNotFound, InvalidName
from acistore.fetch import Fetched
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.store import Admission, Store, always
from tests.images import image
from tests.rootfs import debian_tar
from tests.store.conftest import add, exported, files_in

BIG = random.Random(1).randbytes(5 << 20)


def test_image_id_is_the_sha512_of_the_plain_tar(store: Store) -> None:
    archive = image(files={"a": b"hello"})
    assert add(store, gzip.compress(archive)).id == ImageID(hashlib.sha512(archive).digest())


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_the_same_image_under_any_compression_is_stored_once(
    store: Store, directory: Path, compress: "type[bytes]"
) -> None:
    archive = image(files={"a": b"hello", "big": BIG})
    first = add(store, archive)
    before = files_in(directory)
    assert add(store, compress(archive)).key == first.key
    assert files_in(directory) == before
    assert len(store.list()) == 1


def test_bodies_are_stored_once_however_many_images_hold_them(store: Store, directory: Path) -> None:
    add(store, image("example.com/one", {"big": BIG, "copy": BIG}))
    first = sum(path.stat().st_size for path in (directory / "packs").iterdir())
    assert len(BIG) < first < len(BIG) + 20_000
    add(store, image("example.com/two", {"other": BIG}))
    assert sum(path.stat().st_size for path in (directory / "packs").iterdir()) < first + 20_000


bodies = st.one_of(st.binary(max_size=2000), st.integers(0, 3).map(lambda n: BIG[: n * (2 << 20) + 7]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), bodies, max_size=8))
def test_export_gives_back_the_identical_tar(store: Store, files: dict[str, bytes]) -> None:
    archive = image(files=files)
    assert exported(store, add(store, archive)) == archive


def test_a_debian_root_file_system_round_trips(store: Store) -> None:
    archive = debian_tar().read_bytes()
    stored = store.add(io.BytesIO(archive))
    out = io.BytesIO()
    store.export(stored, out)
    assert hashlib.sha512(out.getbuffer()).digest() == stored.id.digest == hashlib.sha512(archive).digest()
    assert store.file_count(stored) > 1000


def test_manifest_and_provenance_are_kept(store: Store) -> None:
    archive = image(labels={"version": "1.0", "os": "linux"}, annotations=[{"name": "authors", "value": "A"}])

    def admit(image_id: ImageID, manifest: ImageManifest) -> list[Admission]:
        assert image_id.digest == hashlib.sha512(archive).digest()
        assert manifest.annotations["authors"] == "A"
        return [
            Admission("verified", moment, fingerprint="ab" * 20, signer="A <a@example.com>", rule="example.com")
        ]

    moment = add(store, image("example.com/other")).imported_at
    stored = store.add(io.BytesIO(archive), admit=admit)
    assert (stored.name, stored.labels) == ("example.com/app", {"version": "1.0", "os": "linux"})
    assert stored.manifest.raw in archive
    [admission] = store.admissions(stored)
    assert (admission.fingerprint, admission.rule, admission.admitted_at) == ("ab" * 20, "example.com", moment)
    assert store.images_admitted_by("ab" * 20) == [stored]
    assert [each.verdict for each in store.admissions(store.get("example.com/other"))] == ["unverified"]


# --- look-up


def test_exact_labels_beat_latest_and_latest_beats_the_newest(store: Store) -> None:
    one = add(store, image(labels={"version": "1"}))
    two = add(store, image(labels={"version": "2"}), latest=True)
    three = add(store, image(labels={"version": "3"}))
    bare = ImageName.parse("example.com/app")
    assert store.find(bare).id == two.id
    assert store.find(ImageName.parse("example.com/app:1")).id == one.id
    store.record_fetch(one, latest=always)
    assert store.find(bare).id == one.id
    assert [each.latest for each in store.list()] == [False, False, True]
    assert add(store, image()).id == store.find(bare).id
    assert store.find(ImageName.parse("example.com/app:3")).id == three.id


def test_latest_is_kept_for_each_os_and_arch(store: Store) -> None:
    for arch in ("amd64", "aarch64"):
        add(store, image(labels={"version": "1", "os": "linux", "arch": arch}), latest=True)
    assert [each.latest for each in store.list()] == [True, True]


def test_a_label_that_was_not_asked_for_may_be_anything(store: Store) -> None:
    stored = add(store, image(labels={"version": "1", "channel": "beta"}))
    assert store.find(ImageName.parse("example.com/app,channel=beta")).id == stored.id
    with pytest.raises(ImageNotFound, match=r"example\.com/app,channel=alpha"):
        store.find(ImageName.parse("example.com/app,channel=alpha"))


def test_images_are_found_by_whole_id_and_by_unique_prefix(store: Store) -> None:
    stored = add(store, image())
    half = str(stored.id)[: 7 + 64]
    for wanted in (
        stored.id,
        str(stored.id),
        str(stored.id).upper().replace("SHA", "sha"),
        half,
        half[:10],
        half[:9],
    ):
        assert store.get(wanted).id == stored.id
    with pytest.raises(ImageNotFound):
        store.get("sha512-" + ("0" if half[7] != "0" else "1") + half[8:20])


def test_an_ambiguous_prefix_lists_what_it_fits(store: Store) -> None:
    by_prefix: dict[str, list[str]] = {}
    for number in range(60):
        stored = add(store, image(labels={"version": str(number)}))
        by_prefix.setdefault(str(stored.id)[:9], []).append(str(stored.id))
    prefix, ids = max(by_prefix.items(), key=lambda pair: len(pair[1]))
    with pytest.raises(AmbiguousImage) as caught:
        store.get(prefix)
    assert sorted(caught.value.facts) == sorted(ids)


@pytest.mark.parametrize("text", ["sha512-", "sha512-a", "sha512-xyz", "sha512-" + "a" * 129, "Example.com/app"])
def test_what_is_no_image_is_refused(store: Store, text: str) -> None:
    with pytest.raises(InvalidName):
        store.get(text)


# --- removal


def test_a_removed_image_is_gone_and_others_are_whole(store: Store) -> None:
    keep = image("example.com/keep", {"shared": b"s" * 1000, "own": b"k" * 1000})
    kept = add(store, keep)
    gone = add(store, image("example.com/gone", {"shared": b"s" * 1000, "own": BIG}))
    assert store.unique_size(gone) > len(BIG)
    assert store.remove([gone]) >= len(BIG)
    with pytest.raises(ImageNotFound):
        store.get(gone.id)
    assert exported(store, kept) == keep
    assert store.verify().ok


def test_an_image_that_another_needs_stays_unless_forced(store: Store) -> None:
    base = add(store, image("example.com/base", labels={"version": "1"}))
    needs = [{"imageName": "example.com/base", "labels": [{"name": "version", "value": "1"}]}]
    app = add(store, image(dependencies=needs))
    other = add(store, image("example.com/base", labels={"version": "2"}))
    store.remove([other])
    with pytest.raises(ImageInUse, match=r"example.com/base:1 is needed by example.com/app"):
        store.remove([base])
    store.remove([base, app])
    assert store.list() == []


def test_force_removes_what_another_needs(store: Store) -> None:
    base = add(store, image("example.com/base"))
    add(store, image(dependencies=[{"imageName": "example.com/base", "imageID": str(base.id)}]))
    store.remove([base], force=True)
    assert [each.name for each in store.list()] == ["example.com/app"]


@pytest.mark.parametrize(
    "use",
    [
        lambda store, given: store.get(given),
        lambda store, given: store.files(given),
        lambda store, given: store.read_file(given, "/a").__enter__(),
        lambda store, given: store.diff(given, given),
        lambda store, given: store.export(given, io.BytesIO()),
        lambda store, given: store.admissions(given),
        lambda store, given: store.remotes(given),
        lambda store, given: store.file_count(given),
        lambda store, given: store.unique_size(given),
        lambda store, given: store.verify([given]),
        lambda store, given: store.heal(given, io.BytesIO()),
        lambda store, given: store.record_fetch(given),
        lambda store, given: store.touch(given),
        lambda store, given: store.pin(given),
        lambda store, given: store.unpin(given),
        lambda store, given: store.remove([given]),
    ],
)
def test_what_is_no_image_of_the_store_is_a_mistake_of_the_program(
    store: Store, use: Callable[[Store, object], object]
) -> None:
    stored = add(store, image(files={"a": b"hello"}))
    fetched = Fetched(stored, "https://example.com/app.aci", stored.imported_at, False, 1)
    with pytest.raises(TypeError, match=r"is needed, not Fetched$"):
        use(store, fetched)
    assert store.list() == [stored]


def test_what_is_inside_is_found_by_the_id_too(store: Store) -> None:
    archive = image(files={"a": b"hello"})
    stored = add(store, archive)
    assert store.files(stored.id) == store.files(stored)
    with store.read_file(stored.id, "/a") as pieces:
        assert b"".join(pieces) == b"hello"
    assert store.diff(stored.id, stored) == []
    out = io.BytesIO()
    assert store.export(stored.id, out).id == stored.id
    assert out.getvalue() == archive


def test_an_image_can_come_again_after_its_removal(store: Store) -> None:
    archive = image(files={"a": BIG})
    store.remove([add(store, archive)])
    assert exported(store, add(store, archive)) == archive
    store.collect()
    assert exported(store, store.list()[0]) == archive
