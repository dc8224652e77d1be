"""What a store's growth costs: `make bench-growth`, or `python -m benchmarks.growth [--sizes N,N,…] [--runs N]`.

One store grows from 100 to 1,000 to 10,000 images (`benchmarks.synthetic`), filled by two processes. At each size
every operation (`benchmarks.operations`) is measured: through the command, in whole processes that are started
cold, and through the library, in this process with the store open. What is removed was added just before, so the
size stays. Figures are medians after one run that warms up; the last column is the largest size to the smallest:
1.0 is flat.

rkt 1.30 on this kind of machine takes 0.02 s to list 1 image, 0.54 s for 250, 5.4 s for 1,000.
"""

import argparse
import io
import itertools
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from acistore.store import Store, StoredImage
from acistore.store.records import Admission
from benchmarks import synthetic
from benchmarks.operations import OPERATIONS, Case, Operation
from benchmarks.processes import Acistore

PROCESSES = 2
# Numbers of images that are added only to be removed: above those of the images that stay.
PASSING = itertools.count(10_000_000)

_SIZES = (100, 1_000, 10_000)
# Characters of an image ID that are unique in any of these stores.
_ID_PREFIX = len("sha512-") + 20

# Seconds by operation, for one size of the store; None where this version has no such operation.
Curve = Mapping[str, float | None]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="acistore-growth-") as directory:
        top = options.keep or Path(directory)
        commands: dict[int, Curve] = {}
        library: dict[int, Curve] = {}
        print(f"{os.cpu_count()} cores; {options.runs} runs; {synthetic.FILES} files an image\n")
        for size in options.sizes:
            acistore = Acistore(top)
            _grow(acistore.store, size)
            with Store.open(acistore.store) as store:
                operations = _chosen(options.only)
                library[size] = _by_library(operations, store, size, options.runs)
                commands[size] = _by_command(operations, acistore, store, size, options.runs)
            _print_sizes(acistore.store)
        _print("command, a whole process: seconds", commands, unit=1, digits=2)
        _print("library, store open: milliseconds", library, unit=1000, digits=1)
        print(__doc__.strip().splitlines()[-1])


# --- the store


def _grow(directory: Path, size: int) -> None:
    """Adds what is missing to that size, and says how fast that went."""
    with Store.open(directory) as store:
        there = len(store.list())
    if there >= size:
        return
    step = max(1, min(50, (size - there) // (2 * PROCESSES)))
    parts = [(directory, start, min(start + step, size)) for start in range(there, size, step)]
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        seconds = pool.starmap(_add_range, parts, chunksize=1)
    elapsed = time.perf_counter() - started
    tenth = max(1, len(parts) // 10)
    last = sum(end - start for _directory, start, end in parts[-tenth:]) / sum(seconds[-tenth:]) * PROCESSES
    print(
        f"{size:,} images: {size - there:,} added by {PROCESSES} processes in {elapsed:.1f} s, "
        f"{(size - there) / elapsed:.1f} a second; the last tenth of them {last:.1f} a second",
        flush=True,
    )


def _add_range(directory: Path, start: int, end: int) -> float:
    """Adds these images; the seconds that it took."""
    with Store.open(directory) as store:
        started = time.perf_counter()
        for number in range(start, end):
            store.add(io.BytesIO(synthetic.image(number)))
        return time.perf_counter() - started


def _add_passing(store: Store, age: timedelta) -> StoredImage:
    """One more image, last used so long ago."""
    moment = datetime.now(UTC) - age
    archive = io.BytesIO(synthetic.image(next(PASSING)))
    return store.add(archive, admit=lambda _id, _manifest: [Admission("unverified", moment)])


# --- the runs


def _by_command(operations: Sequence[Operation], acistore: Acistore, store: Store, size: int, runs: int) -> Curve:
    seconds: dict[str, float | None] = {
        "--version": statistics.median(acistore.run("--version").seconds for _ in range(runs))
    }
    for operation in operations:
        cases = _cases(operation, store, size, runs)
        if not acistore.has(operation.label.split()[0].strip(",")):
            seconds[operation.label] = None
        else:
            each = [acistore.run(*operation.command(case)).seconds for case in cases]
            seconds[operation.label] = statistics.median(each[1:])
    return seconds


def _by_library(operations: Sequence[Operation], store: Store, size: int, runs: int) -> Curve:
    seconds: dict[str, float | None] = {"add, one image": _adding(store, runs)}
    for operation in operations:
        cases = _cases(operation, store, size, runs)
        if operation.needs and not hasattr(store, operation.needs):
            seconds[operation.label] = None
        else:
            each = [_timed(partial(operation.library, case, store)) for case in cases]
            seconds[operation.label] = statistics.median(each[1:])
    return seconds


def _adding(store: Store, runs: int) -> float:
    """Seconds that an image takes to come in. Those that were added are gone afterwards."""
    archives = [io.BytesIO(synthetic.image(next(PASSING))) for _ in range(runs + 1)]
    each = [_timed(partial(store.add, archive)) for archive in archives]
    store.remove(store.list()[: runs + 1])
    store.collect()
    return statistics.median(each[1:])


def _cases(operation: Operation, store: Store, size: int, runs: int) -> Iterator[Case]:
    """What each run is about, the one that warms up first: another image each time."""
    for run in range(runs + 1):
        number = run * size // (runs + 1) // 2 * 2
        yield Case(
            single=number,
            version=number + 1,
            passing=None if operation.added is None else _add_passing(store, operation.added),
            prefix=str(store.get(synthetic.name_of(number)).id)[:_ID_PREFIX],
        )


def _timed(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


# --- the figures


def _print(title: str, curves: Mapping[int, Curve], *, unit: float, digits: int) -> None:
    sizes = list(curves)
    print(f"\n{title:34}" + "".join(f"{size:>12,}" for size in sizes) + f"{'ratio':>9}")
    for label in curves[sizes[0]]:
        figures = [curves[size][label] for size in sizes]
        if None in figures:
            print(f"{label:34}  this version has no such operation")
            continue
        known = [figure for figure in figures if figure is not None]
        columns = "".join(f"{figure * unit:12.{digits}f}" for figure in known)
        print(f"{label:34}{columns}{known[-1] / known[0]:9.1f}")


def _print_sizes(directory: Path) -> None:
    """How large database and packs are, and what rows cost, their indexes included."""
    packs = [path.stat() for path in (directory / "packs").iterdir()]
    apparent, occupied = sum(each.st_size for each in packs), sum(each.st_blocks * 512 for each in packs)
    with closing(sqlite3.connect(directory / "acistore.db")) as database:
        whole = _scalar(database, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        print(
            f"  database {whole / 1e6:,.1f} MB; {len(packs):,} packs {apparent / 1e6:,.1f} MB, "
            f"{occupied / 1e6:,.1f} MB on disk"
        )
        sizes = dict(
            database.execute(
                "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
            )
        )
        for table in ("image", "label", "file", "blob", "path", "pack"):
            rows, size = _scalar(database, f"SELECT count(*) FROM {table}"), sizes[table]
            print(f"  {table:6}{rows:>12,} rows{size / 1e6:10.1f} MB{size / max(rows, 1):8.0f} bytes a row")
    print(flush=True)


def _scalar(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


def _chosen(only: str | None) -> list[Operation]:
    chosen = [each for each in OPERATIONS if only is None or only in each.label]
    if not chosen:
        sys.exit(f"no operation has {only!r} in its name")
    return chosen


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times a store's operations as it grows.")
    parser.add_argument(
        "--sizes",
        type=lambda text: sorted(int(size) for size in text.split(",")),
        default=list(_SIZES),
        help="images in the store at each point of the curve (default 100,1000,10000)",
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs, after one that warms up (default 5)")
    parser.add_argument("--only", help="only operations with this in their name, such as gc")
    parser.add_argument("--directory", type=Path, help="where to work; about 2 GB for 10,000 images")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the store in this directory, and use what is there"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
