"""What an image needs comes with it."""

import hashlib
from dataclasses import replace

import pytest

from acistore.config import Limits
from acistore.errors import DependencyCycle, EndpointNotFound, ImageMismatch, LimitExceeded, NoTrustedKey
from acistore.naming import ImageID
from tests.fetch.conftest import HOST, NAME, Operator, Publisher
from tests.images import image


def publish(publisher: Publisher, name: str, needs: list[dict[str, object]], version: str = "latest") -> ImageID:
    archive = image(name, labels={"os": "linux", "arch": "amd64"}, dependencies=needs)
    publisher.publish(archive, name=name, version=version)
    return ImageID(hashlib.sha512(archive).digest())


@pytest.fixture
def trusting(operator: Operator, publisher: Publisher) -> Operator:
    operator.trusts(publisher.key, HOST)
    return operator


def test_dependencies_are_fetched_with_the_image(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/libc", [])
    base = publish(publisher, "example.com/base", [{"imageName": "example.com/libc"}])
    publish(
        publisher,
        NAME,
        [{"imageName": "example.com/base", "imageID": str(base)}, {"imageName": "example.com/libc"}],
    )
    assert trusting.fetch(NAME).name == NAME
    assert {each.name for each in trusting.store.list()} == {NAME, "example.com/base", "example.com/libc"}
    log = publisher.web.log()
    assert sum(".aci " in line for line in log) == 3
    trusting.fetch(NAME)
    later = publisher.web.log()[len(log) :]
    assert not any("libc" in line or "base" in line for line in later)


def test_a_dependency_that_is_not_the_pinned_one_is_refused(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [{"imageName": "example.com/base", "imageID": f"sha512-{'ab' * 64}"}])
    with pytest.raises(ImageMismatch, match="demanded"):
        trusting.fetch(NAME)
    assert {each.name for each in trusting.store.list()} == {NAME}


def test_the_size_of_a_dependency_bounds_its_download(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [{"imageName": "example.com/base", "size": 10}])
    with pytest.raises(LimitExceeded, match="10"):
        trusting.fetch(NAME)


def test_a_cycle_is_an_error_not_a_loop(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [{"imageName": NAME}])
    publish(publisher, NAME, [{"imageName": "example.com/base"}])
    with pytest.raises(DependencyCycle) as cycle:
        trusting.fetch(NAME)
    assert cycle.value.exit_code == 1


def test_dependencies_nest_only_so_deep(publisher: Publisher, trusting: Operator) -> None:
    for depth in range(5):
        publish(publisher, f"example.com/n{depth}", [{"imageName": f"example.com/n{depth + 1}"}])
    publish(publisher, "example.com/n5", [])
    trusting.config = replace(trusting.config, limits=Limits(dependency_depth=3))
    with pytest.raises(DependencyCycle, match="deeper than 3"):
        trusting.fetch("example.com/n0")
    trusting.config = replace(trusting.config, limits=Limits(dependency_depth=5))
    trusting.fetch("example.com/n0")


def test_a_dependency_is_as_little_trusted_as_any_image(publisher: Publisher, operator: Operator) -> None:
    operator.trusts(publisher.key, NAME)
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [{"imageName": "example.com/base"}])
    with pytest.raises(NoTrustedKey):
        operator.fetch(NAME)


def test_for_a_dependency_that_no_key_is_trusted_for_nobody_is_asked(
    publisher: Publisher, trusting: Operator
) -> None:
    publisher.web.put("example.org", "index.html", b"nothing")
    publish(publisher, NAME, [{"imageName": f"example.org/{number}"} for number in range(10)])
    with pytest.raises(NoTrustedKey) as refused:
        trusting.fetch(NAME)
    assert refused.value.next_step == "acistore trust add --prefix example.org/0"
    assert not any("example.org" in line for line in publisher.web.log())


def test_keys_from_https_are_not_trusted_for_dependencies(publisher: Publisher, operator: Operator) -> None:
    publisher.page(keys=publisher.web.put(HOST, "keys.asc", publisher.key.public()))
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [{"imageName": "example.com/base"}])
    with pytest.raises(NoTrustedKey):
        operator.fetch(NAME, trust_keys_from_https=True)
    assert operator.trust.keys_for(NAME)
    assert not operator.trust.keys_for("example.com/base")


def test_a_missing_dependency_is_named(publisher: Publisher, trusting: Operator) -> None:
    trusting.trusts(publisher.key, "example.org")
    publish(publisher, NAME, [{"imageName": "example.org/gone"}])
    publisher.web.put("example.org", "index.html", b"nothing")
    with pytest.raises(EndpointNotFound, match=r"example\.org/gone") as missing:
        trusting.fetch(NAME)
    assert missing.value.facts["needed by"].startswith(NAME)


def test_equal_dependencies_are_looked_for_once(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [{"imageName": "example.com/base"}] * 50)
    trusting.fetch(NAME, pull_policy="update")
    assert sum("base-latest.aci" in line for line in publisher.web.log()) == 2
