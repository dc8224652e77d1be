"""Which image needs which: decided over any graph, without fetching anything."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acistore.config import Limits
from acistore.errors import DependencyCycle, EndpointNotFound
from acistore.fetch.asked import Asked
from acistore.fetch.fetched import Fetched
from acistore.fetch.tree import Tree
from acistore.naming import ImageID, ImageName
from acistore.store import StoredImage
from tests.images import manifest

NOW = datetime(2020, 1, 1, tzinfo=UTC)

Graph = Mapping[int, Sequence[int]]


def asked(number: int) -> Asked:
    return Asked.by_name(ImageName.parse(f"example.com/n{number}"))


def fetched(number: int, graph: Graph) -> Fetched:
    name = f"example.com/n{number}"
    needs = [{"imageName": f"example.com/n{each}"} for each in graph[number]]
    stored = StoredImage(
        number,
        ImageID(number.to_bytes(2, "big") * 32),
        name,
        {},
        1,
        NOW,
        NOW,
        False,
        False,
        manifest(name, dependencies=needs),
    )
    return Fetched(stored, "", NOW, False, 0)


def number_of(each: Asked) -> int:
    return int(each.shown.removeprefix("example.com/n"))


def grow(graph: Graph, *, depth: int = 32, count: int = 1000, last_first: bool = False) -> Fetched | Exception:
    """Fetches n0 and all that it needs, as many at once as there are, in one order or another."""
    [(result, _)] = drive(graph, [0], jobs=1000, depth=depth, count=count, last_first=last_first)
    return result


def drive(
    graph: Graph,
    roots: Sequence[int],
    *,
    jobs: int,
    depth: int = 32,
    count: int = 1000,
    last_first: bool = False,
    chance: random.Random | None = None,
) -> list[tuple[Fetched | Exception, frozenset[int]]]:
    """Fetches as the fetcher does: of each root what came of it, and what had been fetched by then."""
    tree = Tree([asked(root) for root in roots], depth=depth, count=count)
    under_way: list[Asked] = []
    seen: list[int] = []
    results: dict[int, tuple[Fetched | Exception, frozenset[int]]] = {}
    while True:
        for position, root in enumerate(roots):
            if position not in results and (result := tree.result(asked(root))) is not None:
                done = frozenset(seen) - {number_of(each) for each in under_way}
                results[position] = (result, done)
        if len(results) == len(roots):
            return [results[position] for position in range(len(roots))]
        while len(under_way) < jobs and (new := tree.next()) is not None:
            under_way.append(new)
            seen.append(number_of(new))
        assert len(seen) == len(set(seen)), "fetched twice"
        if not under_way:
            assert any(
                tree.result(asked(root)) is not None
                for position, root in enumerate(roots)
                if position not in results
            ), "nothing is under way, and no result is there"
            continue
        index = chance.randrange(len(under_way)) if chance else -1 if last_first else 0
        each = under_way.pop(index)
        tree.settle(
            each, fetched(number_of(each), graph) if number_of(each) in graph else EndpointNotFound(each.shown)
        )


graphs = st.integers(1, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {number: st.lists(st.integers(0, size - 1), max_size=4) for number in range(size)}
    )
)


def reachable(graph: Graph, start: int) -> set[int]:
    found, todo = set(), list(graph.get(start, ()))
    while todo:
        if (each := todo.pop()) not in found:
            found.add(each)
            todo += graph.get(each, ())
    return found


def longest(graph: Graph, start: int = 0) -> int:
    return max((longest(graph, each) + 1 for each in graph[start]), default=0)


@given(graphs, st.booleans())
def test_a_cycle_is_found_wherever_it_is_and_nothing_else_is_one(graph: Graph, last_first: bool) -> None:
    result = grow(graph, last_first=last_first)
    is_ring = any(each in reachable(graph, each) for each in {0, *reachable(graph, 0)})
    assert isinstance(result, DependencyCycle) == is_ring


@given(graphs, st.integers(0, 4), st.booleans())
def test_the_longest_chain_counts_in_whatever_order_images_come(
    graph: Graph, depth: int, last_first: bool
) -> None:
    if any(each in reachable(graph, each) for each in {0, *reachable(graph, 0)}):
        return
    result = grow(graph, depth=depth, last_first=last_first)
    assert isinstance(result, DependencyCycle) == (longest(graph) > depth)


@given(graphs, st.integers(0, 4), st.booleans())
def test_no_more_than_so_many_come_along(graph: Graph, count: int, last_first: bool) -> None:
    if any(each in reachable(graph, each) for each in {0, *reachable(graph, 0)}):
        return
    result = grow(graph, count=count, last_first=last_first)
    assert isinstance(result, DependencyCycle) == (len(reachable(graph, 0)) > count)


@given(
    st.integers(1, 8).flatmap(
        lambda size: st.dictionaries(st.integers(0, size - 1), st.lists(st.integers(0, size - 1), max_size=3))
    ),
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(0, 99).map(random.Random),
)
@settings(max_examples=1500, deadline=None)
def test_whatever_fails_each_root_is_complete_or_told(
    graph: Graph, roots: list[int], jobs: int, chance: random.Random
) -> None:
    """Against a model: numbers that are not in the graph are missing; there may be rings."""
    roots = list(dict.fromkeys(roots))
    for root, (result, done) in zip(roots, drive(graph, roots, jobs=jobs, chance=chance), strict=True):
        needed = {root} | (reachable(graph, root) if root in graph else set())
        is_well = needed <= graph.keys() and not any(each in reachable(graph, each) for each in needed)
        assert isinstance(result, Fetched) == is_well
        if is_well:
            assert needed <= done


@given(graphs, st.integers(0, 3), st.integers(0, 4), st.integers(1, 4), st.integers(0, 99).map(random.Random))
@settings(max_examples=500, deadline=None)
def test_the_limits_of_one_root_are_no_others(
    graph: Graph, depth: int, count: int, jobs: int, chance: random.Random
) -> None:
    roots = sorted(graph)
    outcomes = drive(graph, roots, jobs=jobs, depth=depth, count=count, chance=chance)
    for root, (result, _) in zip(roots, outcomes, strict=True):
        needed = {root} | reachable(graph, root)
        if any(each in reachable(graph, each) for each in needed):
            assert isinstance(result, DependencyCycle)
        else:
            is_well = longest(graph, root) <= depth and len(needed) - 1 <= count
            assert isinstance(result, Fetched) == is_well


def test_a_ring_is_named() -> None:
    result = grow({0: [1], 1: [2], 2: [1]})
    assert isinstance(result, DependencyCycle)
    assert "depends on itself" in result.message
    assert "tell the publishers" in str(result.next_step)
    assert sorted(set(result.facts["by way of"].split(" → "))) == ["example.com/n1", "example.com/n2"]


def test_an_image_that_needs_itself_is_a_ring() -> None:
    assert isinstance(grow({0: [0]}), DependencyCycle)


def test_an_endless_chain_ends_at_the_bound() -> None:
    result = grow({number: [number + 1] for number in range(50)}, depth=5)
    assert isinstance(result, DependencyCycle)
    assert "deeper than 5" in result.message


def test_the_bounds_where_nobody_has_set_others() -> None:
    limits = Limits()

    def result(graph: Graph) -> Fetched | Exception:
        [(result, _)] = drive(graph, [0], jobs=4, depth=limits.dependency_depth, count=limits.dependencies)
        return result

    chain = {number: [number + 1] for number in range(limits.dependency_depth)}
    end = limits.dependency_depth
    assert isinstance(result(chain | {end: []}), Fetched)
    assert isinstance(result(chain | {end: [end + 1], end + 1: []}), DependencyCycle)
    last = limits.dependencies
    many = {0: [*range(1, last + 1)]} | {number: [] for number in range(1, last + 2)}
    assert isinstance(result(many), Fetched)
    assert isinstance(result(many | {1: [last + 1]}), DependencyCycle)


@pytest.mark.parametrize("last_first", [False, True])
def test_of_several_failures_the_first_in_the_manifests_is_told(last_first: bool) -> None:
    result = grow({0: [1, 7, 8], 1: [9]}, last_first=last_first)
    assert isinstance(result, EndpointNotFound)
    assert result.message == "example.com/n7"
    assert result.facts["needed by"] == "example.com/n0"
    assert "example.com/n8" in result.facts


def test_for_an_image_that_has_failed_nothing_more_is_fetched() -> None:
    first, second = asked(0), asked(1)
    graph = {0: [2, 3], 1: [4], 2: [5], 4: [5], 5: []}
    tree = Tree([first, second], depth=9, count=9)
    assert [tree.next(), tree.next(), tree.next()] == [first, second, None]
    tree.settle(first, fetched(0, graph))
    assert [tree.next(), tree.next()] == [asked(2), asked(3)]
    tree.settle(asked(3), EndpointNotFound("n3"))
    assert tree.result(first) is None
    tree.settle(asked(2), fetched(2, graph))
    assert isinstance(tree.result(first), EndpointNotFound)
    assert tree.next() is None
    tree.settle(second, fetched(1, graph))
    assert tree.next() == asked(4)
    tree.settle(asked(4), fetched(4, graph))
    assert tree.next() == asked(5)
    assert tree.result(second) is None
    tree.settle(asked(5), fetched(5, graph))
    assert isinstance(tree.result(second), Fetched)


def test_what_was_not_begun_when_its_image_failed_is_left() -> None:
    root = asked(0)
    graph = {0: [1, 2, 3]}
    tree = Tree([root], depth=9, count=9)
    assert tree.next() == root
    tree.settle(root, fetched(0, graph))
    assert tree.next() == asked(1)
    tree.settle(asked(1), EndpointNotFound("n1"))
    assert tree.next() is None
    assert isinstance(tree.result(root), EndpointNotFound)


def test_images_that_all_need_each_other_are_judged_at_once() -> None:
    graph = {number: [*range(number + 1, 150)] * 3 for number in range(150)}
    assert isinstance(grow(graph, depth=1000), Fetched)


def test_many_failures_are_told_in_few_words() -> None:
    result = grow({0: [*range(1, 100)]})
    assert isinstance(result, EndpointNotFound)
    assert len(result.facts) < 20
