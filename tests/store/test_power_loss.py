"""What is on disk when the power goes: the order of system calls, as another process sees them.

A crash loses nothing that was written; a power loss may lose whatever was not synced (fsync, fdatasync), and keep
any part of it. So what must hold between the calls of a job, whatever was going on around it:

1. The data of a pack is synced after its last write and before it is renamed into `packs/`.
2. `packs/` is synced after the rename, and before anything is written to the write-ahead log: the commit that
   refers to the pack comes after both.
3. When a job says that it succeeded, all that it wrote to the write-ahead log is synced, and the log's name is.
   When the log is emptied, the database that has taken its content over is synced.
4. When a pack is deleted, all that was written to the write-ahead log is synced, and something was: the
   transaction that forgets the pack. (That it forgets this one is what test_crashes.py sees, killed in between.)
5. The copy made before an upgrade is synced, with its name, before the upgrade commits.
6. When a new store is first said to be there, its directories and its database are synced where their names are.

The calls come from `python -m tests.faults record PATH`, which names them by path: `.` is where the store is.
"""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest

from tests.faults.paths import PATHS
from tests.faults.supervisor import REPORT

WRITES = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice"}
TRUNCATIONS = {"truncate", "ftruncate"}
SYNCS = {"fsync", "fdatasync"}
RENAMES = {"rename", "renameat", "renameat2"}
MAKES = {"mkdir", "mkdirat", "open", "openat", "creat", "link", "linkat", *RENAMES}
DELETES = {"unlink", "unlinkat"}

DATABASE = "store/acistore.db"
LOG = f"{DATABASE}-wal"
PACKS = "store/packs"
UPGRADES = [path.name for path in PATHS.values() if path.upgrades]
NEW_STORES = ["new-store", "first-image"]
INGESTS = ["ingest", "ingest-large", "first-image", "replace"]


@dataclass(frozen=True)
class Recording:
    """The calls of one job in order. An index into them is a moment."""

    calls: list[list[str]]

    def moments(self, names: set[str], path: str) -> list[int]:
        """When calls of these names were made for a path; of a rename, the new one."""
        return [at for at, (name, *paths) in enumerate(self.calls) if name in names and paths[-1] == path]

    def last(self, names: set[str], path: str, before: int) -> int:
        """The last of those moments before another; -1 when there was none."""
        return max((at for at in self.moments(names, path) if at < before), default=-1)

    def is_synced(self, path: str, at: int) -> bool:
        """Whether all that was written to a file until then, if anything was, is on disk."""
        return self.last(WRITES, path, at) < max(self.last(SYNCS, path, at), 0)

    def is_named(self, path: str, at: int) -> bool:
        """Whether the name of a file that was made by the job is on disk then."""
        made = self.moments(MAKES, path)[0]
        return made < self.last(SYNCS, str(PurePath(path).parent), at) < at

    @property
    def success(self) -> int:
        """When the job said that it had succeeded."""
        return self.moments(WRITES, REPORT)[0]

    @property
    def published(self) -> list[tuple[int, str]]:
        """When files became packs, and what they were called before."""
        return [
            (at, paths[0])
            for at, (name, *paths) in enumerate(self.calls)
            if name in RENAMES and paths[1].startswith(f"{PACKS}/")
        ]

    @property
    def deleted_packs(self) -> list[int]:
        return [
            at
            for at, (name, *paths) in enumerate(self.calls)
            if name in DELETES and paths[0].startswith(f"{PACKS}/")
        ]


@functools.cache
def recorded(path: str) -> Recording:
    command = [sys.executable, "-m", "tests.faults", "record", path]
    ended = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return Recording([json.loads(line) for line in ended.stdout.splitlines()])


@pytest.mark.parametrize("path", [*INGESTS, "compact"])
def test_a_pack_is_on_disk_before_it_has_its_name_and_its_name_before_the_index_is_written(path: str) -> None:
    job = recorded(path)
    [(renamed, unnamed)] = job.published
    assert job.last(WRITES, unnamed, renamed) >= 0, "nothing was seen to be written"
    assert job.is_synced(unnamed, renamed)
    synced = min(at for at in job.moments(SYNCS, PACKS) if at > renamed)
    committed = min(at for at in job.moments(WRITES, LOG) if at > renamed)
    assert synced < committed < job.success


@pytest.mark.parametrize("path", PATHS)
def test_what_a_job_has_done_is_on_disk_when_it_says_so(path: str) -> None:
    job = recorded(path)
    assert job.is_synced(LOG, job.success)
    if job.last(WRITES, LOG, job.success) >= 0:
        assert job.is_named(LOG, job.success)
    for emptied in job.moments(TRUNCATIONS | DELETES, LOG):
        assert job.is_synced(LOG, emptied)
        assert job.is_synced(DATABASE, emptied)


@pytest.mark.parametrize("path", ["compact", "collect-by-age"])
def test_a_pack_is_deleted_after_the_transaction_that_forgets_it_is_on_disk(path: str) -> None:
    job = recorded(path)
    assert job.deleted_packs
    for deleted in job.deleted_packs:
        assert job.last(WRITES, LOG, deleted) >= 0, "nothing was committed before"
        assert job.is_synced(LOG, deleted)


@pytest.mark.parametrize("path", UPGRADES)
def test_the_copy_made_before_an_upgrade_is_on_disk_before_the_upgrade_commits(path: str) -> None:
    job = recorded(path)
    committed = job.last(WRITES, LOG, job.success)
    [aside] = {paths[-1] for _name, *paths in job.calls if _is_copy(paths[-1])}
    written = aside
    for renamed in job.moments(RENAMES, aside):
        written = job.calls[renamed][1]
        assert job.is_synced(written, renamed)
    assert job.last(WRITES, written, committed) >= 0, "nothing was seen to be written"
    assert job.is_synced(written, committed)
    assert job.is_named(aside, committed)
    # A journal that is still there after a power loss would take the copy back.
    journal = job.last(DELETES, f"{written}-journal", len(job.calls))
    named = [*job.moments(RENAMES, aside), journal]
    assert max(named) < job.last(SYNCS, "store", committed)


def _is_copy(path: str) -> bool:
    return path.startswith("store/acistore.db.before-") and not path.endswith(("-journal", "-wal", "-shm", ".tmp"))


@pytest.mark.parametrize("path", NEW_STORES)
@pytest.mark.parametrize("made", ["store", "store/acistore.db", "store/packs", "store/spool", "store/tmp"])
def test_a_new_store_is_on_disk_with_all_its_names_before_anything_is_said_to_be_in_it(
    path: str, made: str
) -> None:
    job = recorded(path)
    assert job.is_named(made, job.success)
