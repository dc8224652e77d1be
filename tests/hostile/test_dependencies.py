"""Images that are signed as they should be, and need each other in circles, without end, or a thousandfold."""

import pytest

from acistore.errors import AcistoreError, DependencyCycle, LimitExceeded
from tests.cli.running import spawn
from tests.fetch.conftest import HOST, Publisher
from tests.hostile.conftest import Victim
from tests.images import image


@pytest.fixture
def publisher(victim: Victim) -> Publisher:
    publisher = Publisher(victim.web, victim.key)
    publisher.page()
    return publisher


def publish(publisher: Publisher, needs: dict[str, list[str]]) -> None:
    """Publishes images of these last parts of a name, each with what it needs."""
    for name, below in needs.items():
        dependencies = [{"imageName": f"{HOST}/{each}"} for each in below]
        archive = image(f"{HOST}/{name}", labels={"os": "linux", "arch": "amd64"}, dependencies=dependencies)
        publisher.publish(archive, name=f"{HOST}/{name}", version="latest")


def images_asked_for(victim: Victim) -> list[str]:
    return [line for line in victim.web.log() if line.startswith("GET ") and ".aci " in line]


def cycle_of(victim: Victim, name: str, **limits: str) -> AcistoreError:
    with pytest.raises(DependencyCycle) as raised:
        victim.fetch(f"{HOST}/{name}", limits)
    assert raised.value.exit_code == 1
    assert victim.contacts() == {HOST}
    return raised.value


@pytest.mark.parametrize(
    "needs",
    [
        {"a": ["a"]},
        {"a": ["b"], "b": ["a"]},
        {"a": ["b"], "b": ["c"], "c": ["d"], "d": ["e"], "e": ["a"]},
        {"a": ["b"], "b": ["c"], "c": ["d"], "d": ["b"]},
        {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["c"]},
    ],
    ids=["itself", "two", "five", "below", "one of two"],
)
def test_a_circle_is_found(victim: Victim, publisher: Publisher, needs: dict[str, list[str]]) -> None:
    publish(publisher, needs)
    cycle_of(victim, "a")
    asked = images_asked_for(victim)
    assert len(asked) == len(set(asked)) <= len(needs)


def test_a_circle_ends_the_command_as_well(victim: Victim, publisher: Publisher) -> None:
    publish(publisher, {"a": ["b"], "b": ["a"]})
    ran = spawn("--json", "fetch", f"{HOST}/a", **victim.environment({}))
    assert (ran.code, ran.error["kind"]) == (1, "DependencyCycle")


def test_a_chain_is_followed_only_so_far(victim: Victim, publisher: Publisher) -> None:
    publish(publisher, {f"n{depth}": [f"n{depth + 1}"] for depth in range(12)})
    cycle_of(victim, "n0", dependency_depth="4")
    asked = images_asked_for(victim)
    assert len(asked) == 5


def test_of_too_many_dependencies_not_even_a_few_are_fetched_beyond_the_limit(
    victim: Victim, publisher: Publisher
) -> None:
    publish(publisher, {"wide": [f"w{number}" for number in range(20)]})
    publish(publisher, {f"w{number}": [] for number in range(20)})
    cycle_of(victim, "wide", dependencies="5")
    asked = images_asked_for(victim)
    assert len(asked) <= 6


def test_twenty_thousand_dependencies_are_too_many(victim: Victim, publisher: Publisher) -> None:
    """In a manifest that is within its bounds; it is the count that is refused, not each of them."""
    publish(publisher, {"crowd": [f"c{number}" for number in range(20_000)]})
    cycle_of(victim, "crowd", dependencies="2")
    asked = images_asked_for(victim)
    assert len(asked) <= 6


def test_many_ways_to_the_same_images_are_one(victim: Victim, publisher: Publisher) -> None:
    """Two images a level, each of which needs both below: 2 ** 10 ways, and 21 images."""
    levels = 10
    needs = {"top": ["l0a", "l0b"]}
    for level in range(levels):
        below = [f"l{level + 1}a", f"l{level + 1}b"] if level + 1 < levels else []
        needs |= {f"l{level}a": below, f"l{level}b": below}
    publish(publisher, needs)
    victim.fetch(f"{HOST}/top")
    asked = images_asked_for(victim)
    assert len(asked) == len(set(asked)) == 1 + 2 * levels


def test_a_dependency_may_not_be_larger_than_it_was_said_to_be(victim: Victim, publisher: Publisher) -> None:
    publish(publisher, {"small": []})
    needs = [{"imageName": f"{HOST}/small", "size": 1}]
    archive = image(f"{HOST}/large", labels={"os": "linux", "arch": "amd64"}, dependencies=needs)
    publisher.publish(archive, name=f"{HOST}/large", version="latest")
    with pytest.raises(LimitExceeded):
        victim.fetch(f"{HOST}/large")
