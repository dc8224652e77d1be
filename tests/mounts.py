"""Disks of a test's own: small, full, read-only. They are in mounts that nobody else sees.

    @on_a_disk(size=32 * MIB)
    def test_something(place: Place) -> None:        # in a process of its own, to which `place.disk` is mounted
        fill(place.disk)
        assert command("list").code == 0

Root does it as it is, anybody else as root of a user namespace. What such a process forks must find no store open.
"""

import ctypes
import errno
import importlib
import io
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from acistore.cli import main
from acistore.store import Store
from tests.cli.running import Ran
from tests.forking import CONTEXT
from tests.programs import program

MIB = 1 << 20
PAGE = 4096
_PATIENCE = 120.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_USERS = 0x0002_0000, 0x1000_0000
_FOREIGN = "foreign"


@dataclass(frozen=True)
class Place:
    """A disk to which a file system is mounted, and a directory on another one. Anybody may enter both."""

    disk: Path
    elsewhere: Path

    @property
    def store(self) -> Path:
        """The store of the environment."""
        return self.disk / "store"


Scenario = Callable[[Place], None]


def on_a_disk(size: int, *, files: int | None = None) -> Callable[[Scenario], Callable[[], None]]:
    """Makes a test of what is to be done on a disk of `size` bytes, with room for so many files."""

    def decorate(scenario: Scenario) -> Callable[[], None]:
        def test() -> None:
            _in_mounts(scenario, size, files)

        test.__name__, test.__qualname__ = scenario.__name__, scenario.__qualname__
        test.__module__, test.__doc__ = scenario.__module__, scenario.__doc__
        vars(test)["scenario"] = scenario
        return test

    return decorate


def _in_mounts(scenario: Scenario, size: int, files: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="acistore-", dir="/tmp") as top:
        failure = Path(top) / "failure"
        names = (scenario.__module__, scenario.__name__)
        process = CONTEXT.Process(target=_enter, args=(names, Path(top), size, files, failure))
        process.start()
        process.join(_PATIENCE)
        process.kill()
        process.join()
        said = failure.read_text() if failure.exists() else ""
        assert (process.exitcode, said) == (0, ""), said or f"the process ended with {process.exitcode}"


def _enter(names: tuple[str, str], top: Path, size: int, files: int | None, failure: Path) -> None:
    """The other process: mounts the disk, and does what is to be done on it."""
    module, name = names
    place = Place(top / "disk", top / "elsewhere")
    try:
        warnings.simplefilter("error")
        _surround(place)
        _separate()
        for directory in (top, place.disk, place.elsewhere):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
        options = f"size={size},mode=755" + (f",nr_inodes={files}" if files else "")
        mount("-t", "tmpfs", "-o", options, "tmpfs", place.disk)
        vars(getattr(importlib.import_module(module), name))["scenario"](place)
    except BaseException:  # noqa: BLE001 - the test is told
        failure.write_text(traceback.format_exc())
        raise SystemExit(1) from None


def _surround(place: Place) -> None:
    """Nothing of this machine's; a store on the disk, and a configuration that is not there."""
    for name in [name for name in os.environ if name.startswith(("ACISTORE_", "XDG_"))]:
        del os.environ[name]
    os.environ["ACISTORE_DIR"] = str(place.store)
    for layer in ("SYSTEM", "LOCAL"):
        os.environ[f"ACISTORE_{layer}_CONFIG"] = str(place.elsewhere / layer)


def _separate() -> None:
    """Gives this process mounts of its own, and where it is not root a user namespace in which it is."""
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(_NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USERS) != 0:
        raise OSError(ctypes.get_errno(), "no mounts of its own can be given to this process")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("--make-rprivate", "/")


def mount(*arguments: str | Path) -> None:
    subprocess.run([program("mount"), *arguments], check=True)


def make_read_only(directory: Path) -> None:
    """Makes a mount of a directory that nobody can write to: it looks like a medium that can only be read."""
    mount("--bind", directory, directory)
    mount("-o", "remount,bind,ro", directory)


def unmount(directory: Path) -> None:
    """Ends what `make_read_only` began."""
    subprocess.run([program("umount"), directory], check=True)


# --- room


def room(disk: Path) -> int:
    """The bytes that can still be written."""
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(disk: Path, *, but: int = 0) -> None:
    """Lets a foreign file take all room, or all but so many bytes (in whole pages)."""
    path = disk / _FOREIGN
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
    make_room(disk, but)


def make_room(disk: Path, size: int) -> None:
    """Lets the foreign file give up so many bytes."""
    path = disk / _FOREIGN
    os.truncate(path, path.stat().st_size - size)


# --- processes


def command(*arguments: object, become: Callable[[], object] = lambda: None) -> Ran:
    """Runs the command in a fork of this process, which has `become` somebody else before."""
    return forked(lambda: main([str(each) for each in arguments]), become=become)


def forked(job: Callable[[], int | None], *, become: Callable[[], object] = lambda: None) -> Ran:
    """Does a job in a process of its own; a traceback is code 70."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (pid := os.fork()) == 0:
            code = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                become()
                code = job() or 0
            except BaseException:  # noqa: BLE001 - nothing of the parent's may run on here
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _pid, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        text = [file.read().decode(errors="backslashreplace") for file in (out, err)]
        return Ran(os.waitstatus_to_exitcode(status), *text)


def import_everything(place: Place) -> None:
    """Imports what modules import when they are used, as long as it can be read."""
    with (
        tempfile.TemporaryDirectory(dir=place.elsewhere) as directory,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        Store.open(Path(directory) / "store").close()
        for arguments in (["list"], ["df"], ["gc"], ["verify"]):
            main(["--dir", f"{directory}/store", *arguments])
