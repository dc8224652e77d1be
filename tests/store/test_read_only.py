"""A store that can only be read: on such a medium, or by such a user. Reading leaves no trace in it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acistore.store import Store
from tests.images import image
from tests.mounts import MIB, Place, command, forked, import_everything, make_read_only, on_a_disk, unmount
from tests.store.conftest import add
from tests.store.test_upgrade import REVISIONS
from tests.users import User

APP = image("example.com/app", {"etc/name": b"app", "lib": os.urandom(300_000)})
OTHER = image("example.com/other", {"etc/name": b"other", "lib": os.urandom(1000)})
READER = User(uid=12_345, groups=(12_345,), umask=0o077)

Become = Callable[[], object]


def nobody_else() -> None:
    pass


def state(directory: Path) -> dict[str, object]:
    """What tells of each file whether it was written, changed or made anew."""
    found: dict[str, object] = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def can_be_read(place: Place, store: Path, become: Become = nobody_else, *, writers: int = 0) -> None:
    """Every command that only reads does its work, and says nothing else. Each writer may have added an image."""

    def run(*arguments: str) -> str:
        ran = command("--dir", store, *arguments, become=become)
        assert (ran.code, ran.err) == (0, ""), (arguments, ran)
        return ran.out

    def document(*arguments: str) -> Any:
        return json.loads(run("--json", *arguments))

    counts = range(2, 3 + writers)
    assert len(document("list")) in counts
    assert "example.com/app" in run("show", "example.com/app")
    assert "/etc/name" in run("files", "example.com/app")
    assert run("cat", "example.com/app", "/etc/name") == "app"
    assert run("diff", "example.com/app", "example.com/other")
    assert run("which", "/etc/name").count("example.com/") >= 2
    assert document("df")["images"] in counts
    assert document("verify")["ok"]
    assert document("gc", "--dry-run", "--grace-period", "0s")["dry_run"]
    out = place.elsewhere / "out"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    run("-q", "export", "example.com/app", str(out / "app.aci"))
    assert (out / "app.aci").read_bytes() == APP
    (out / "app.aci").unlink()


def can_not_be_changed(place: Place, store: Path, become: Become = nobody_else) -> None:
    """Every command that changes something says why it does not."""
    file = place.elsewhere / "new.aci"
    file.write_bytes(image("example.com/new"))
    for arguments in (
        ("-q", "--insecure-options", "image", "fetch", file),
        ("rm", "example.com/app"),
        ("gc", "--grace-period", "0s"),
        ("pin", "example.com/app"),
        ("unpin", "example.com/app"),
        ("verify", "--repair", "--yes"),
    ):
        ran = command("--dir", store, "--json", *arguments, become=become)
        assert (ran.code, ran.errors[0]["kind"]) == (1, "StoreUnavailable"), (arguments, ran)
        said = ran.errors[0]["message"]
        assert "only be read" in said, ran.errors


def leaves_no_trace(place: Place, store: Path, become: Become = nobody_else) -> None:
    """Reading works, changing does not, and afterwards everything is as it was."""
    before = state(store)
    can_be_read(place, store, become)
    can_not_be_changed(place, store, become)
    assert state(store) == before


def make(directory: Path, *, mode: int = 0o700, killed: bool = False) -> None:
    """A store with two images, whose last writer has closed it or was killed."""
    directory.mkdir(mode=mode)
    with Store.open(directory) as store:
        add(store, APP)

    def work() -> None:
        store = Store.open(directory)
        add(store, OTHER)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        store.close()

    assert forked(work).code == (-signal.SIGKILL if killed else 0)
    assert bool((directory / "acistore.db-wal").stat().st_size) == killed


# --- a medium


@on_a_disk(size=16 * MIB)
def test_a_read_only_disk_whose_store_was_closed(place: Place) -> None:
    make(place.store)
    make_read_only(place.disk)
    leaves_no_trace(place, place.store)


@on_a_disk(size=16 * MIB)
def test_a_read_only_disk_whose_stores_last_writer_was_killed(place: Place) -> None:
    make(place.store, killed=True)
    make_read_only(place.disk)
    leaves_no_trace(place, place.store)


@on_a_disk(size=32 * MIB)
def test_a_read_only_disk_to_which_a_store_was_copied_without_its_log_index(place: Place) -> None:
    make(place.store, killed=True)
    crashed, closed = place.disk / "crashed", place.disk / "closed"
    shutil.copytree(place.store, crashed, ignore=shutil.ignore_patterns("*-shm"))
    with Store.open(place.store):
        pass
    shutil.copytree(
        place.store, closed, ignore=shutil.ignore_patterns("*-shm", "*-wal", "spool", "tmp", "reserve")
    )
    make_read_only(place.disk)
    leaves_no_trace(place, closed)
    before = state(crashed)
    can_be_read(place, crashed)
    assert state(crashed) == before


@on_a_disk(size=32 * MIB)
def test_an_older_store_that_can_only_be_read_says_that_it_has_to_be_upgraded(place: Place) -> None:
    import_everything(place)
    for archive in REVISIONS:
        subprocess.run(["tar", "-xJf", archive, "-C", place.disk], check=True)
        place.store.chmod(0o755)
        subprocess.run(["chmod", "-R", "a+rX", place.store], check=True)
        before = state(place.store)
        ran = command("--json", "list", become=READER.become)
        assert (ran.code, ran.error["kind"]) == (1, "StoreUnavailable"), ran
        assert "older acistore" in ran.error["message"]
        make_read_only(place.disk)
        ran = command("--json", "verify")
        assert (ran.code, ran.error["kind"]) == (1, "StoreUnavailable"), ran
        assert state(place.store) == before
        unmount(place.disk)
        shutil.rmtree(place.store)


# --- a user


@on_a_disk(size=32 * MIB)
def test_a_user_who_may_only_read(place: Place) -> None:
    import_everything(place)
    make(place.store, mode=0o755)
    make(place.disk / "killed", mode=0o755, killed=True)
    shutil.copytree(place.store, place.disk / "copied", ignore=shutil.ignore_patterns("*-shm", "*-wal"))
    shutil.copytree(place.store, place.disk / "cut off")
    header = (place.disk / "killed" / "acistore.db-wal").read_bytes()[:32]
    assert len(header) == 32
    (place.disk / "cut off" / "acistore.db-wal").write_bytes(header)
    leaves_no_trace(place, place.store, READER.become)
    before = state(place.disk)
    for name in ("killed", "copied", "cut off"):
        can_be_read(place, place.disk / name, READER.become)
    assert state(place.disk) == before


@on_a_disk(size=32 * MIB)
def test_a_user_who_may_only_read_beside_one_who_writes(place: Place) -> None:
    import_everything(place)
    make(place.store, mode=0o755)
    go_on, stop = os.pipe()
    begun, begin = os.pipe()

    def write() -> None:
        os.close(stop)
        os.set_blocking(go_on, False)
        while True:
            with Store.open(place.store) as store:
                for _time in range(5):
                    store.remove([add(store, image("example.com/third", {"lib": os.urandom(100_000)}))])
                store.collect()
                os.write(begin, b"x")
            try:
                os.read(go_on, 1)
            except BlockingIOError:
                continue
            return

    if (writer := os.fork()) == 0:
        try:
            write()
            os._exit(0)
        finally:
            os._exit(70)
    os.close(go_on)
    os.read(begun, 1)
    can_be_read(place, place.store, READER.become, writers=1)
    os.close(stop)
    assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == 0
    before = state(place.store)
    can_be_read(place, place.store, READER.become)
    assert state(place.store) == before


@on_a_disk(size=16 * MIB)
def test_a_user_who_may_not_even_read(place: Place) -> None:
    import_everything(place)
    make(place.store)
    before = state(place.store)
    for arguments in (
        ("list",),
        ("show", "example.com/app"),
        ("verify",),
        ("df",),
        ("rm", "example.com/app"),
        ("gc",),
    ):
        ran = command("--json", *arguments, become=READER.become)
        assert (ran.code, ran.error["kind"]) == (1, "StoreUnavailable"), (arguments, ran)
        assert "Permission denied" in ran.error["message"], ran
    assert state(place.store) == before
