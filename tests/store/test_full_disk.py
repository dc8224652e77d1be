"""A store on a disk that is full, or too small, or has no room for another file."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.errors import DiskFull
from acistore.store import Store, StoredImage
from acistore.store.workspace import RESERVE
from tests.cli.running import spawn
from tests.fileserver import File
from tests.images import image
from tests.mounts import MIB, PAGE, Place, command, fill, make_room, on_a_disk, room
from tests.store.conftest import add, exported, files_in
from tests.web import RawServer, answering

NOTHING = timedelta(0)
# So large that a reserve is kept.
AMPLE = 80 * MIB
SHARED = {f"lib/{n}": os.urandom(70_000) for n in range(4)}
APP = image("example.com/app", {"etc/name": b"app", "big": os.urandom(MIB), **SHARED})
OTHER = image("example.com/other", {"etc/name": b"other", **SHARED})


def stored(place: Place, *archives: bytes) -> list[StoredImage]:
    """A store on the disk that has these images, and is not open."""
    with Store.open(place.store) as store:
        return [add(store, archive) for archive in archives]


def is_whole(place: Place, *archives: bytes) -> None:
    """The store has these images, and nothing else but the packs that they are in."""
    with Store.open(place.store) as store:
        assert store.verify().ok, store.verify()
        listed = store.list()
        assert sorted(exported(store, each) for each in listed) == sorted(archives)
        assert store.collect(dry_run=True).packs == 0
    assert [name for name in files_in(place.store) if not name.startswith("packs/")] == []


def size_of(text: str) -> int:
    """The number of bytes in `more than 12345 bytes, for …`."""
    return next(int(word) for word in text.split() if word.isdecimal())


# --- what does not fit


@on_a_disk(size=32 * MIB)
def test_an_image_that_does_not_fit_says_how_much_it_needs(place: Place) -> None:
    stored(place, OTHER)
    new = {f"new/{n}": os.urandom(500_000) for n in range(8)}
    archive = image("example.com/new", {**SHARED, **new})
    fill(place.disk, but=MIB)
    with Store.open(place.store) as store, pytest.raises(DiskFull) as caught:
        add(store, archive)
    needed = size_of(caught.value.facts["needed"])
    assert sum(map(len, new.values())) <= needed < sum(map(len, new.values())) + 1000  # and the manifest
    assert abs(size_of(caught.value.facts["free"]) - MIB) < 64 * PAGE
    is_whole(place, OTHER)

    make_room(place.disk, needed - room(place.disk) - MIB)
    with Store.open(place.store) as store, pytest.raises(DiskFull):
        add(store, archive)
    make_room(place.disk, MIB + 64 * PAGE)
    with Store.open(place.store) as store:
        add(store, archive)
    is_whole(place, OTHER, archive)


@on_a_disk(size=32 * MIB)
def test_what_is_wrong_with_an_image_that_does_not_fit_is_not_what_is_told(place: Place) -> None:
    """It was not read to its end: a bomb, say, may have none."""
    stored(place, OTHER)
    archive = image("example.com/new", {f"new/{n}": os.urandom(2_000_000) for n in range(12)})
    fill(place.disk, but=MIB)
    with Store.open(place.store) as store, pytest.raises(DiskFull) as caught:
        add(store, archive[:-1_000_000])
    assert caught.value.facts["needed"].startswith("not counted")
    is_whole(place, OTHER)


@on_a_disk(size=32 * MIB)
def test_a_file_that_does_not_fit_into_the_spool_leaves_nothing(place: Place) -> None:
    stored(place, OTHER)
    file = place.elsewhere / "app.aci"
    file.write_bytes(APP)
    fill(place.disk, but=len(APP) // 2)
    ran = command("--json", "--insecure-options", "image", "fetch", file)
    assert (ran.code, ran.out) == (1, "[]\n")
    error = json.loads(ran.err.splitlines()[-1])["error"]
    assert error["kind"] == "DiskFull"
    assert "needed" in error["facts"]
    is_whole(place, OTHER)


@on_a_disk(size=32 * MIB)
def test_a_download_that_does_not_fit_is_refused_before_its_first_byte(place: Place) -> None:
    stored(place, OTHER)
    fill(place.disk, but=MIB)
    size = 3 * MIB
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    with RawServer(answering(head, bytes(size))) as server:
        ran = spawn("--json", "-q", "--insecure-options", "image,http", "fetch", f"{server.url}app.aci")
    assert (ran.code, ran.error["kind"]) == (1, "DiskFull")
    assert size_of(ran.error["facts"]["needed"]) == size
    assert abs(size_of(ran.error["facts"]["free"]) - MIB) < 64 * PAGE
    is_whole(place, OTHER)


@on_a_disk(size=32 * MIB)
def test_what_is_there_of_a_download_needs_no_room(place: Place) -> None:
    """It breaks off, and for the rest there is room, which there would not be for the whole again."""
    stored(place, OTHER)
    fill(place.disk, but=4 * MIB)
    file = File(bytes(3 * MIB), cuts=[2 * MIB])
    with RawServer(file.serve) as server:
        at_once = ("--limits-retry-delay", "1ms", "--insecure-options", "image,http")
        ran = spawn("--json", "-q", *at_once, "fetch", f"{server.url}app.aci")
    assert ran.error["kind"] == "ArchiveRefused", ran  # no image, but it has come
    assert file.ranges[1] == f"bytes={2 * MIB}-"


@on_a_disk(size=32 * MIB)
def test_a_download_that_fills_the_disk_gives_its_room_back(place: Place) -> None:
    """Its server has not said how much would come."""
    stored(place, OTHER)
    fill(place.disk, but=MIB)
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n'
    with RawServer(answering(head, b"%x\r\n" % (3 * MIB), bytes(3 * MIB), b"\r\n0\r\n\r\n")) as server:
        ran = spawn("--json", "-q", "--insecure-options", "image,http", "fetch", f"{server.url}app.aci")
    assert (ran.code, ran.error["kind"], len(server.requests)) == (1, "DiskFull", 1)
    assert room(place.disk) > MIB // 2
    is_whole(place, OTHER)


# --- a full disk


@on_a_disk(size=AMPLE)
def test_everything_that_reads_works_on_a_full_disk(place: Place) -> None:
    app, other = stored(place, APP, OTHER)
    fill(place.disk)
    assert room(place.disk) == 0
    assert spawn("list", "--no-headers").out.count("\n") == 2
    assert command("show", app.id).out.startswith("example.com/app")
    assert "/etc/name" in command("files", app.id).out
    assert command("cat", app.id, "/etc/name").out == "app"
    assert command("which", "/etc/name").out.count("\n") >= 2
    assert command("diff", app.id, other.id).code == 0
    assert command("--json", "df").document["images"] == 2
    assert command("--json", "verify").document["images_checked"] == 2
    assert len(command("--json", "gc", "--dry-run", "--grace-period", "0s").document["images"]) == 2
    ran = spawn("export", str(app.id), str(place.elsewhere / "app.aci"))
    assert (ran.code, ran.err.count("\n")) == (0, 2), "that the use can't be noted is not said"
    assert (place.elsewhere / "app.aci").read_bytes() == APP
    assert (place.store / "reserve").stat().st_size == RESERVE, "reading has no need of the reserve"
    assert room(place.disk) == 0


@on_a_disk(size=AMPLE)
def test_removing_and_collecting_work_on_a_full_disk_and_make_room_for_a_fetch(place: Place) -> None:
    stored(place, APP, OTHER)
    file = place.elsewhere / "app.aci"
    file.write_bytes(APP)
    fill(place.disk)
    assert command("pin", "example.com/other").code == 0
    assert spawn("rm", "example.com/app").code == 0
    fill(place.disk)  # whatever the reserve has left
    ran = command("--json", "gc")
    assert ran.document["compacted"] == 0, "a pack that is half alive can't be copied here"
    assert command("unpin", "example.com/other").code == 1, "there is no reserve any more"
    make_room(place.disk, MIB)
    assert command("--json", "gc").document["compacted"] == 1
    make_room(place.disk, len(APP))
    ran = command("--insecure-options", "image", "fetch", file)
    assert ran.code == 0, ran.err
    is_whole(place, APP, OTHER)


@on_a_disk(size=AMPLE)
def test_a_collection_on_a_full_disk_frees_what_it_may(place: Place) -> None:
    stored(place, APP, image("example.com/own", {"own": os.urandom(MIB)}))
    fill(place.disk)
    ran = spawn("--json", "gc", "--grace-period", "0s")
    assert ran.code == 0, ran.err
    assert len(ran.document["images"]) == 2
    assert ran.document["freed_size"] > 2 * MIB
    is_whole(place)


@on_a_disk(size=AMPLE)
def test_a_collection_on_a_full_disk_takes_many_images_of_many_files(place: Place) -> None:
    """One after the other: each transaction has to fit into the reserve, not all of them together."""
    files = [{f"{number}/{n:04}": b"%d %d" % (number, n) for n in range(1000)} for number in range(6)]
    stored(place, *(image(f"example.com/n{number}", each) for number, each in enumerate(files)))
    fill(place.disk)
    ran = command("--json", "gc", "--grace-period", "0s")
    assert ran.code == 0, ran.err
    assert len(ran.document["images"]) == len(files)
    is_whole(place)


@on_a_disk(size=16 * MIB)
def test_without_a_reserve_a_full_disk_is_told_as_what_it_is(place: Place) -> None:
    stored(place, APP, OTHER)
    assert not (place.store / "reserve").exists()
    fill(place.disk)
    assert command("list").code == 0
    for arguments in (["rm", "example.com/app"], ["gc", "--grace-period", "0s"], ["pin", "example.com/app"]):
        ran = command("--json", *arguments)
        assert (ran.code, ran.error["kind"]) == (1, "DiskFull"), ran
        assert ran.error["facts"]["free"] == "0 bytes"
        assert ran.error["next"].startswith("delete something else"), "a collection would fail as well"
    make_room(place.disk, MIB // 2)
    assert command("rm", "example.com/app").code == 0
    assert command("gc", "--grace-period", "0s").code == 0
    is_whole(place)


@on_a_disk(size=16 * MIB)
def test_a_store_can_not_be_made_on_a_full_disk(place: Place) -> None:
    fill(place.disk)
    file = place.elsewhere / "app.aci"
    file.write_bytes(APP)
    ran = command("--json", "-q", "--insecure-options", "image", "fetch", file)
    assert (ran.code, ran.error["kind"]) == (1, "DiskFull"), ran


# --- a disk that fills meanwhile


@on_a_disk(size=16 * MIB)
def test_a_removal_for_which_there_is_not_enough_room_changes_nothing(place: Place) -> None:
    """The room ends at one page or another that the removal writes."""
    big = image("example.com/big", {f"{n:04}": b"%d" % n for n in range(400)})
    stored(place, big, OTHER)
    fill(place.disk)
    refused = 0
    while True:
        with Store.open(place.store) as store:
            try:
                store.remove([store.get("example.com/big")])
            except DiskFull:
                refused += 1
            else:
                break
        is_whole(place, big, OTHER)
        make_room(place.disk, 3 * refused * PAGE)
    assert refused > 3
    with Store.open(place.store) as store:
        store.collect()
    is_whole(place, OTHER)


@on_a_disk(size=16 * MIB)
def test_a_pack_for_whose_copy_there_is_not_enough_room_stays(place: Place) -> None:
    app, _other = stored(place, APP, OTHER)
    with Store.open(place.store) as store:
        store.remove([app])
    fill(place.disk)
    refused = 0
    while True:
        with Store.open(place.store) as store:
            try:
                compacted = store.collect().compacted
            except DiskFull:
                compacted = 0
        is_whole(place, OTHER)
        if compacted:
            break
        refused += 1
        make_room(place.disk, 6 * refused * PAGE)
    assert refused > 3
    assert sum(path.stat().st_size for path in (place.store / "packs").iterdir()) < MIB


# --- no room for another file


@on_a_disk(size=AMPLE, files=60)
def test_a_disk_without_room_for_another_file_is_not_said_to_lack_bytes(place: Place) -> None:
    app, other = stored(place, APP, OTHER)
    with Store.open(place.store) as store:
        store.remove([app])
    foreign = _files_until_full(place.disk)
    assert command("list").code == 0
    assert command("verify").code == 0
    file = place.elsewhere / "app.aci"
    file.write_bytes(APP)
    ran = command("--json", "-q", "--insecure-options", "image", "fetch", file)
    assert (ran.code, ran.error["kind"]) == (1, "DiskFull"), ran
    assert "another file" in ran.error["facts"]["needed"], ran.error
    assert command("pin", other.id).code == 0
    assert command("gc", "--grace-period", "0s").code == 0
    assert command("unpin", other.id).code == 0
    assert command("gc", "--grace-period", "0s").code == 0
    is_whole(place)
    for each in foreign:
        each.unlink()
    assert command("--insecure-options", "image", "fetch", file).code == 0
    is_whole(place, APP)


def _files_until_full(disk: Path) -> list[Path]:
    made: list[Path] = []
    while os.statvfs(disk).f_favail:
        made.append(disk / f"foreign-{len(made)}")
        made[-1].touch()
    return made
