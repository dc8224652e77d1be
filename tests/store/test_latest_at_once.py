"""Several processes fetch versions of one image as latest at once."""

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from acistore.store import Newest, Store
from tests.store.conftest import admissions, files_in
from tests.store.versions import NAME, Older, fetch, refuse_older, versions

ONE, TWO, THREE = versions(1, 2, 3)


def admit_newer(directory: Path, pipe: "Pipe[Any, Any]") -> None:
    """Stays in the middle of its transaction until it is told to go on."""

    def rule(last: Newest | None, now: Newest) -> None:
        pipe.send("inside")
        pipe.recv()
        refuse_older(last, now)

    with Store.open(directory) as store:
        fetch(store, THREE, rule=rule)


def admit_older(directory: Path, how: str, pipe: "Pipe[Any, Any]") -> None:
    """Tells when all that it has asked outside its transaction was asked, and what the rule was told."""
    with Store.open(directory) as store:
        here = [each for each in store.list() if each.labels["version"] == "2"]

        @event.listens_for(Engine, "before_cursor_execute")
        def tell(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement == "BEGIN IMMEDIATE":
                pipe.send("about to write")

        def rule(last: Newest | None, now: Newest) -> None:
            pipe.send(last and last.version)
            refuse_older(last, now)

        try:
            if how == "record_fetch":
                store.record_fetch(here[0], latest=rule)
            else:
                fetch(store, TWO, rule=rule, by=admissions("cd" * 20))
        except Older:
            pipe.send("refused")


@pytest.mark.parametrize("how", ["a new image", "an image that is there", "record_fetch"])
def test_the_older_of_two_at_once_can_not_win_once_the_newer_is_there(directory: Path, how: str) -> None:
    with Store.open(directory) as store:
        fetch(store, ONE)
        if how != "a new image":
            fetch(store, TWO, rule=None)
        before = {each.id: store.admissions(each) for each in store.list()}
        packs = set(files_in(directory))
    context = multiprocessing.get_context("spawn")
    newer, its_end = context.Pipe()
    older, other_end = context.Pipe()
    processes = [context.Process(target=admit_newer, args=(directory, its_end))]
    processes += [context.Process(target=admit_older, args=(directory, how, other_end))]
    processes[0].start()
    assert answer(newer) == "inside"
    processes[1].start()
    assert answer(older) == "about to write"
    newer.send("go on")
    heard = [answer(older)]
    while heard[-1] not in ("refused", None):  # what else it writes is the end of what it began
        heard.append(answer(older))
    heard = [each for each in heard if each != "about to write"]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert heard == ["3", "refused"]
    with Store.open(directory) as store:
        newest = store.newest(NAME)
        assert newest
        assert newest.version == store.find(NAME).labels["version"] == "3"
        for each in store.list():
            assert each.labels["version"] == "3" or store.admissions(each) == before[each.id]
        assert len(store.list()) == len(before) + 1
        assert len(set(files_in(directory)) - packs) == 1
        assert store.verify().damaged == ()


def answer(pipe: "Pipe[Any, Any]") -> object:
    assert pipe.poll(60), "nothing was heard within a minute"
    return pipe.recv()


def race(directory: Path, seed: int) -> None:
    """Fetches versions in some order, some of them twice; what comes too late is refused."""
    chance = random.Random(seed)
    highest = 0
    with Store.open(directory) as store:
        for number in chance.sample(range(1, 29), 28):
            with suppress(Older):
                fetch(store, versions(number)[0], rule=refuse_older)
                highest = max(highest, number)
            newest = store.newest(NAME)
            assert newest
            assert newest.version
            assert int(newest.version) >= highest


@pytest.fixture
def racing(directory: Path) -> Iterator[list[int | None]]:
    Store.open(directory).close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=race, args=(directory, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    yield [process.exitcode for process in processes]


def test_of_many_at_once_the_newest_is_the_latest_in_the_end(directory: Path, racing: list[int | None]) -> None:
    assert racing == [0, 0, 0]
    with Store.open(directory) as store:
        newest = store.newest(NAME)
        assert newest
        assert newest.version == "28"
        assert [each.labels["version"] for each in store.list() if each.latest] == ["28"]
        assert store.verify().damaged == ()
