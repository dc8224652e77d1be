"""The commands of the fault injection; see the package."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.faults.paths import PATHS, UNSAFE
from tests.faults.points import MODES, workbench
from tests.faults.syscalls import NotSupported
from tests.faults.table import HEADING, Row, rows_of

# Problems told in full, of each write path and mode; the rest is counted.
TOLD = 5


def main() -> int:
    try:
        return _main()
    except NotSupported as error:
        _say(f"tests.faults: {error}")
        return 2


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="every point of these write paths, or of all")
    run.add_argument("paths", nargs="*", metavar="PATH", help=", ".join(PATHS))
    run.add_argument(
        "--every", type=int, default=1, metavar="K", help="about every Kth point; see Workbench.points"
    )
    run.add_argument("--messages", action="store_true", help="also the error messages that were met")
    replay = commands.add_parser("replay", help="one point, told in full")
    replay.add_argument("path", choices=[*PATHS, *UNSAFE])
    replay.add_argument("mode", choices=MODES)
    replay.add_argument("number", type=int)
    record = commands.add_parser("record", help="the system calls of a job, in order, as JSON lines")
    record.add_argument("path", choices=[*PATHS, *UNSAFE])
    chosen = parser.parse_args()
    if chosen.command == "run":
        return _run(chosen.paths or list(PATHS), chosen.every, chosen.messages)
    with workbench((PATHS | UNSAFE)[chosen.path]) as bench:
        if chosen.command == "record":
            for call in bench.calls:
                _say(json.dumps([call.name, *call.paths]))
            return 0
        point = bench.point(chosen.mode, chosen.number)
        _say(str(point))
        return bool(point.problems)


def _run(paths: list[str], every: int, with_messages: bool) -> int:
    rows = []
    started = time.monotonic()
    _say(HEADING)
    for row in _rows(paths, every):
        rows.append(row)
        _say(str(row))
        # One of each kind of step and of problem: the rest is the same again.
        apart = {(point.at, point.problems[0].splitlines()[-1]): point for point in reversed(row.broken)}
        for point in list(reversed(apart.values()))[:TOLD]:
            _say(str(point))
    points = [point for row in rows for point in row.points]
    if with_messages:
        for message, count in Counter(each for point in points for each in point.messages).most_common():
            _say(f"{count:6} {message}")
    failed = sum(bool(point.problems) for point in points)
    _say(f"{len(points)} points in {time.monotonic() - started:.0f} s, {failed} not whole")
    return bool(failed)


def _rows(paths: list[str], every: int) -> Iterator[Row]:
    """One write path after another in this process, or several at once, each in a new one."""
    if len(paths) == 1:
        yield from rows_of(paths[0], every)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn, max_tasks_per_child=1) as pool:
        for rows in pool.map(partial(rows_of, every=every), paths):
            yield from rows


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
