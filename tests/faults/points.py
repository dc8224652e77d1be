"""One write path at one point of failure: prepared, run, checked; and the counting of points and outcomes."""

import errno
import gc
import logging
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from acistore.errors import AcistoreError
from acistore.store import Store
from tests.faults import checks
from tests.faults.paths import WritePath
from tests.faults.statements import StatementFault
from tests.faults.supervisor import KILL, REPORT, RUN, Call, Ended, Report, in_fork, under_watch


@dataclass(frozen=True, slots=True)
class Mode:
    """What is decided about the nth system call and, where it `stays` so, about every later one: a broken disk
    fails all of them, a full one those that take room. `then_kill`: the process dies before it has closed the
    database, when what a failed commit has written to the log is still there."""

    decision: int
    stays: bool = False
    spared: frozenset[str] = frozenset()
    then_kill: bool = False


_TAKE_NO_ROOM = frozenset(
    {"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat"}
)

SYSTEM_CALL_MODES = {
    "EIO": Mode(errno.EIO),
    "ENOSPC": Mode(errno.ENOSPC),
    "KILL": Mode(KILL),
    "EIO-THEN-KILL": Mode(errno.EIO, then_kill=True),
    "EIO-STAYS": Mode(errno.EIO, stays=True),
    "ENOSPC-STAYS": Mode(errno.ENOSPC, stays=True, spared=_TAKE_NO_ROOM),
}
# Whether the statement kills.
STATEMENT_MODES = {"STATEMENT-ERROR": False, "STATEMENT-KILL": True}
MODES = (*SYSTEM_CALL_MODES, *STATEMENT_MODES)

# So many statements are tried where not all are.
FEW_STATEMENTS = 3

# A job that takes longer waits for something that never comes, in seconds.
JOB_TIME = 20.0
_MEMORY = Path("/dev/shm")

_STORE = "store"


@dataclass(frozen=True, slots=True)
class Point:
    """What happened at one point. `at`: the call or statement that was its nth step, None when there are fewer."""

    path: str
    mode: str
    number: int
    at: str | None
    outcome: str
    problems: list[str]
    messages: list[str]

    def __str__(self) -> str:
        head = f"{self.path} {self.mode} {self.number}: {self.at or 'no such step'}: {self.outcome}"
        replay = f"python -m tests.faults replay {self.path} {self.mode} {self.number}"
        return "\n    ".join([head, *self.messages, *self.problems, replay])


@dataclass(slots=True)
class _Step:
    """Counts the steps of a job, and decides about the nth."""

    number: int
    mode: Mode
    count: int = 0
    met: Call | None = None
    calls: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> int:
        self.calls.append(call)
        if call.paths == (REPORT,):
            return RUN
        self.count += 1
        if self.count == self.number:
            self.met = call
            return self.mode.decision
        if self.met and self.mode.stays and call.name not in self.mode.spared:
            return self.mode.decision
        if self.met and self.mode.then_kill and _closes_database(call):
            return KILL
        return RUN


def _counted(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.paths != (REPORT,)]


def _closes_database(call: Call) -> bool:
    """Whether this is what SQLite does in the end: copies the log into the database, empties or deletes it."""
    database = f"{_STORE}/acistore.db"
    copies = call.name == "pwrite64" and call.paths[0] == database
    return copies or (call.name in {"ftruncate", "unlink"} and call.paths[0] == f"{database}-wal")


class Workbench:
    """Runs one write path again and again, each time on a fresh copy of the store that it is to find."""

    def __init__(self, path: WritePath, directory: Path) -> None:
        self.path = path
        self._template = directory / "template"
        self._work = directory / "work"
        self._scratch = directory / "scratch"
        self._template.mkdir()
        path.prepare(self._template / _STORE)
        self._before = checks.NOTHING if path.repairs else self._state_of_copy()
        self.calls = self._without_fault(self._job)
        self.after = checks.state(self._store)
        if wrong := _found(checks.problems(self._store, [self.after])):
            raise RuntimeError(f"{path.name} leaves a store that isn't whole, without any fault: {wrong}")
        self._opening = self._count_opening()
        self.steps = self._count()
        gc.collect()
        gc.freeze()  # so that forked processes don't copy what they only look at

    @property
    def _store(self) -> Path:
        return self._work / _STORE

    def points(self, mode: str, every: int = 1) -> Iterator[Point]:
        """Every point in this mode; with `every` > 1 a part of them.

        Then those system calls count that are not the one before once more (the same call for the same file) nor
        those of opening the store, which the paths that do no more than that try. Of these every so manieth is
        taken, each mode beginning one later than the mode before, so that together they meet more of them. Of
        statements FEW_STATEMENTS. Where the process dies after the failure, all calls that sync the database. The
        first and the last always.
        """
        last = self.steps[mode]
        numbers = list(range(1, last + 1))
        if every > 1:
            chosen = self._different_calls() if mode in SYSTEM_CALL_MODES else numbers
            shift, stride = MODES.index(mode) % every, every
            if mode in STATEMENT_MODES:
                shift, stride = 0, max(1, last // FEW_STATEMENTS)
            if SYSTEM_CALL_MODES.get(mode) and SYSTEM_CALL_MODES[mode].then_kill:
                chosen = self._syncs() or chosen[:1]
                shift, stride = 0, 1
            numbers = sorted({chosen[0], *chosen[shift::stride], last})
        for number in numbers:
            yield self.point(mode, number)

    def point(self, mode: str, number: int) -> Point:
        """Lets the job meet a failure at its nth step, and checks what it leaves."""
        self._fresh_copy()
        at, ended = self._run(mode, number)
        said = _Said(ended)
        found = list(said.problems(self._store))
        if self.path.upgrades:
            found += _found(checks.upgrade_problems(self._store, self._template / _STORE, self._scratch))
        if self.path.repairs:
            found += _found(self._once_more())
        lenient = not self.path.repairs and (not said.succeeded or (self.path.notes and mode.startswith("ENOSPC")))
        allowed = [self._before, self.after] if lenient else [self.after]
        if self.path.repairs:  # what could not be read of the old index is not known, and that is said
            allowed.append(checks.with_state_lost(self.after))
        found += _found(checks.problems(self._store, allowed))
        messages = [message.replace(str(self._store), "STORE") for message in said.messages]
        return Point(self.path.name, mode, number, at, said.outcome, found, messages)

    def _once_more(self) -> Iterator[str]:
        """Mends the store in peace: what a repair that failed has left is not worse than what it found."""
        self.path.job(self._store, lambda: None)
        yield from ()

    def _run(self, mode: str, number: int) -> tuple[str | None, Ended]:
        if mode in SYSTEM_CALL_MODES:
            step = _Step(number, SYSTEM_CALL_MODES[mode])
            ended = under_watch(self._job, self._work, step, seconds=JOB_TIME)
            return str(step.met) if step.met else None, ended
        ended = in_fork(lambda report: self._job(report, number, kill=STATEMENT_MODES[mode]), seconds=JOB_TIME)
        return f"statement {number}", ended

    def _job(self, report: Report, number: int = 0, kill: bool = False) -> None:
        """In the process that is to fail: runs the job and reports what its user would see of it."""
        fault = StatementFault(number, kill=kill)
        _report_what_is_lost(report)
        try:
            self.path.job(self._store, lambda: report({"done": True}))
            report({"ended": True, "statements": fault.count})
        except AcistoreError as error:
            report({"error": type(error).__name__, "message": error.message})
        except Exception:  # noqa: BLE001 - what a user must never see is what is looked for
            report({"bare": traceback.format_exc()})

    # --- the job without a fault, and what is known from it

    def _state_of_copy(self) -> Any:
        self._fresh_copy()
        # Where the store is of an older schema this upgrades it: what is known of its images must survive that.
        return checks.state(self._store) if self._store.exists() else checks.NOTHING

    def _without_fault(self, job: Callable[[Report], None]) -> list[Call]:
        """The calls of a job, in order, reports among them. Raises RuntimeError when it fails by itself."""
        self._fresh_copy()
        step = _Step(0, Mode(RUN))
        said = _Said(under_watch(job, self._work, step, seconds=JOB_TIME))
        if said.outcome != "succeeded":
            raise RuntimeError(f"{self.path.name} fails without any fault: {said.outcome} {said.messages}")
        return step.calls

    def _different_calls(self) -> list[int]:
        """The numbers of the calls that don't repeat the one before, from the first that opening doesn't make."""
        calls = _counted(self.calls)
        different = [number for number, (one, next_) in enumerate(pairwise([None, *calls]), 1) if one != next_]
        return [number for number in different if number > self._opening]

    def _syncs(self) -> list[int]:
        """The numbers of the calls that make the database durable: what a commit that fails there has left."""
        calls = enumerate(_counted(self.calls), 1)
        return [number for number, call in calls if "sync" in call.name and "acistore.db" in call.paths[0]]

    def _count_opening(self) -> int:
        """How many of the job's calls are made by opening the store; none when that is all of the job."""

        def opens(report: Report) -> None:
            with Store.open(self._store):
                report({"done": True})

        if self.path.repairs:
            return 0
        until = [calls.index(Call("write", (REPORT,))) for calls in (self.calls, self._without_fault(opens))]
        return until[1] if until[1] < until[0] else 0

    def _count(self) -> dict[str, int]:
        counts = dict.fromkeys(SYSTEM_CALL_MODES, len(_counted(self.calls)))
        for mode, kill in STATEMENT_MODES.items():
            self._fresh_copy()
            job = in_fork(lambda report, kill=kill: self._job(report, 0, kill=kill))  # type: ignore[misc]
            counts[mode] = job.reports[-1]["statements"]
        return counts

    def _fresh_copy(self) -> None:
        for place in (self._work, self._scratch):
            shutil.rmtree(place, ignore_errors=True)
        self._scratch.mkdir()
        shutil.copytree(self._template, self._work)


def _found(problems: Iterator[str]) -> list[str]:
    """The problems that a check finds; that it fails is one. It runs in this process, which is not the one that
    failed, and holds nothing of the store from one point to the next."""
    found: list[str] = []
    try:
        found.extend(problems)
    except Exception:  # noqa: BLE001 - the next point is tried all the same
        found.append(f"the check ended with {traceback.format_exc()}")
    return found


class _Said:
    """What a job said before it ended, and how it ended."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._by_kind: dict[str, list[Any]] = {}
        for line in ended.reports:
            for kind, value in line.items():
                self._by_kind.setdefault(kind, []).append(value)
        self.succeeded = "done" in self._by_kind
        self.messages: list[str] = [
            f"{name}: {message}" for name, message in zip(self._of("error"), self._of("message"), strict=True)
        ]

    @property
    def outcome(self) -> str:
        how = "hung" if self._ended.hung else "killed" if self._ended.status < 0 else ""
        if not how and self._of("error"):
            how = "refused"
        if self.succeeded:
            return f"succeeded, then {how}" if how else "succeeded"
        return how or "broken"

    def problems(self, store: Path) -> Iterator[str]:
        if self._ended.hung:
            yield f"the job did not end within {JOB_TIME} seconds"
        if self._ended.status > 0:
            yield f"the job ended with status {self._ended.status}"
        for kind, what in (("bare", "an error that is no AcistoreError"), ("lost", "an error that went astray")):
            for text in self._of(kind):
                yield f"{what}: {text}"
        for message in self._of("message"):
            if str(store) not in message:
                yield f"an error that does not name the store: {message}"

    def _of(self, kind: str) -> list[Any]:
        return self._by_kind.get(kind, [])


def _report_what_is_lost(report: Report) -> None:
    """Errors in threads and finalisers, and whatever is logged as one, are part of what the user sees."""

    def lost(unraisable: Any) -> None:
        report({"lost": f"{unraisable.exc_type} {unraisable.exc_value}"})

    class Reporting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            report({"lost": self.format(record)})

    threading.excepthook = lost
    sys.unraisablehook = lost
    logging.getLogger().addHandler(Reporting(logging.ERROR))


@contextmanager
def workbench(path: WritePath) -> Iterator[Workbench]:
    """A workbench in memory where there is such a place, since every point copies a store."""
    parent = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="acistore-faults-", dir=parent) as directory:
        yield Workbench(path, Path(directory))
