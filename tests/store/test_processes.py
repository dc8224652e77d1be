"""Several processes and threads on one store."""

import io
import multiprocessing
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from acistore.errors import ImageNotFound
from acistore.store import Admission, Store
from tests.images import image
from tests.store.conftest import add, exported, files_in
from tests.waiting import PATIENCE

SHARED = {f"s{n}": random.Random(n).randbytes(70_000) for n in range(4)}
ARCHIVES = [image(f"example.com/n{n}", {**SHARED, f"own{n}": random.Random(n).randbytes(5000)}) for n in range(4)]


def _use(directory: Path, seed: int, failures: "multiprocessing.Queue[str]") -> None:
    """Adds, exports, removes, collects and verifies for a while, as an operator's scripts would."""
    chance = random.Random(seed)
    try:
        for _round in range(8):
            archive = chance.choice(ARCHIVES)
            with Store.open(directory) as store:
                stored = add(store, archive)
                try:
                    assert exported(store, stored) == archive
                    if chance.random() < 0.5:
                        store.remove([stored])
                except ImageNotFound:
                    pass  # removed by another process between two lines of ours
                store.collect(grace_period=timedelta(0 if chance.random() < 0.3 else 1))
    except BaseException as error:
        failures.put(f"{type(error).__name__}: {error}")
        raise


def test_processes_that_add_remove_and_collect_lose_nothing(directory: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_use, args=(directory, seed, failures)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 4, failures.get(timeout=1)
    with Store.open(directory) as store:
        for archive in ARCHIVES:
            add(store, archive)
        assert store.verify().ok
        assert sorted(exported(store, each) for each in store.list()) == sorted(ARCHIVES)
        store.remove(store.list())
        store.collect()
        assert files_in(directory) == []


def test_threads_may_share_a_store(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda archive: add(store, archive), ARCHIVES * 2))
    assert len(store.list()) == len(ARCHIVES)
    assert len({each.key for each in stored}) == len(ARCHIVES)
    assert store.verify().ok


def test_a_store_is_made_once_however_many_open_it_at_once(directory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _n: Store.open(directory).close(), range(8)))
    with Store.open(directory) as store:
        assert store.verify().ok


def test_a_body_collected_during_an_ingest_is_stored_again(store: Store) -> None:
    """What the ingest found in the store is gone when it commits: it goes through the archive again."""
    body = os.urandom(300_000)
    first = add(store, image("example.com/first", {"shared": body}))
    archive = image("example.com/second", {"shared": body, "other": b"x"})

    rounds: list[int] = []

    def admit(*_: object) -> list[Admission]:
        if not rounds:  # another process takes the body away that the two have in common
            store.remove([first])
            store.collect(grace_period=timedelta(0))
        rounds.append(1)
        return [Admission("unverified", first.imported_at)]

    stored = store.add(io.BytesIO(archive), admit=admit)
    assert len(rounds) == 2
    assert exported(store, stored) == archive
    assert store.verify().ok


def test_the_second_fetch_of_a_source_waits_for_the_first(store: Store) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def waits() -> None:
        order.append("waits")
        waiting.set()

    def second() -> None:
        with store.spool.file("https://example.com/a", waiting=waits):
            order.append("second")

    with store.spool.file("https://example.com/a", waiting=waits) as spool:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(PATIENCE)
        spool.write(b"first")
        order.append("first")
    thread.join(PATIENCE)
    assert order == ["waits", "first", "second"]
