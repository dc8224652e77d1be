"""What an image needs comes with it."""

import hashlib
from dataclasses import replace

import pytest

from acistore.config import Limits
from acistore.errors import (
    DependencyCycle,
    EndpointNotFound,
    ImageMismatch,
    ImageNotFound,
    LimitExceeded,
    NoTrustedKey,
)
from acistore.naming import ImageID
from tests.fetch.conftest import HOST, NAME, Operator, Publisher
from tests.images import image


def publish(publisher: Publisher, name: str, needs: list[dict[str, object]], version: str = "latest") -> ImageID:
    labels = {"os": "linux", "arch": "amd64"} | ({} if version == "latest" else {"version": version})
    archive = image(name, labels=labels, dependencies=needs)
    publisher.publish(archive, name=name, version=version)
    return ImageID(hashlib.sha512(archive).digest())


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
    whys = {about.partition(",")[0]: why for about, what, why in trusting.decisions if what == "reuse"}
    assert whys["example.com/base"] == "it is meant by its ID, and that can't change"
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
    with pytest.raises(LimitExceeded, match="10") as raised:
        trusting.fetch(NAME)
    assert raised.value.facts["limit"] == "the size in the manifest of the image that needs it"


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
    with pytest.raises(NoTrustedKey) as refused:
        operator.fetch(NAME)
    assert refused.value.exit_code == 4
    assert refused.value.facts["needed by"].startswith(NAME)
    assert "is in the store, without all that it needs" in refused.value.facts["stored"]
    assert {each.name for each in operator.store.list()} == {NAME}


def needing(name: str, **labels: str) -> dict[str, object]:
    return {"imageName": name, "labels": [{"name": key, "value": value} for key, value in labels.items()]}


def test_a_dependency_is_found_by_its_labels(publisher: Publisher, trusting: Operator) -> None:
    """Versions of one name that two images need are two images."""
    wanted = [publish(publisher, "example.com/base", [], version) for version in ("1.0", "2.0")]
    publish(publisher, "example.com/old", [needing("example.com/base", version="1.0")])
    publish(publisher, NAME, [needing("example.com/base", version="2.0"), needing("example.com/old")])
    trusting.fetch(NAME)
    found = [each.id for each in trusting.store.list() if each.name == "example.com/base"]
    assert sorted(map(str, found)) == sorted(map(str, wanted))


def test_a_dependency_with_other_labels_is_refused(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [needing("example.com/base", arch="aarch64")])
    with pytest.raises(ImageMismatch, match="arch"):
        trusting.fetch(NAME)
    assert {each.name for each in trusting.store.list()} == {NAME}


def test_of_a_pinned_dependency_the_labels_only_say_where_it_is(publisher: Publisher, trusting: Operator) -> None:
    """appc spec, aci.md § Dependency Matching: the ID has to match, and otherwise the labels."""
    archive = image("example.com/base")
    publisher.publish(archive, name="example.com/base", version="3.0")
    pinned = f"sha512-{hashlib.sha512(archive).hexdigest()}"
    publish(publisher, NAME, [needing("example.com/base", version="3.0") | {"imageID": pinned}])
    for policy in (None, None, "never"):
        trusting.fetch(NAME, pull_policy=policy)
    assert {str(each.id) for each in trusting.store.list()} > {pinned}
    assert sum("base-3.0.aci " in line for line in publisher.web.log()) == 1


def test_to_a_dependency_nothing_of_this_machine_is_added(publisher: Publisher, trusting: Operator) -> None:
    publisher.page(
        f"https://{HOST}/acis/{{name}}-{{os}}.{{ext}}", f"https://{HOST}/acis/{{name}}-{{version}}.{{ext}}"
    )
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [needing("example.com/base")])
    trusting.fetch(f"{NAME},os=linux,arch=amd64")
    asked = [line for line in publisher.web.log() if "base-" in line]
    assert asked and not any("base-linux" in line for line in asked)


def test_the_pull_policy_of_dependencies(publisher: Publisher, trusting: Operator) -> None:
    """By default what is there is taken; one that is given holds for them, too."""
    publish(publisher, "example.com/base", [])
    publish(publisher, NAME, [needing("example.com/base")])
    trusting.fetch(NAME)
    before = len(publisher.web.log())
    trusting.fetch(NAME, pull_policy="never")
    assert len(publisher.web.log()) == before
    for policy, asks in ((None, False), ("new", False), ("update", True)):
        before = len(publisher.web.log())
        trusting.fetch(NAME, pull_policy=policy)
        assert any("base-" in line for line in publisher.web.log()[before:]) == asks, policy
    [base] = [each for each in trusting.store.list() if each.name == "example.com/base"]
    trusting.store.remove([base], force=True)
    with pytest.raises(ImageNotFound, match=r"example\.com/base"):
        trusting.fetch(NAME, pull_policy="never")


def test_a_cycle_through_what_the_store_has_is_one_too(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, "example.com/base", [needing(NAME)])
    publish(publisher, NAME, [needing("example.com/base")])
    for _ in range(2):
        with pytest.raises(DependencyCycle):
            trusting.fetch(NAME, pull_policy="new")
    assert sum(".aci " in line for line in publisher.web.log()) == 2


def test_a_cycle_through_other_labels_is_one_too(publisher: Publisher, trusting: Operator) -> None:
    """Two ways to ask for one image."""
    publish(publisher, "example.com/base", [needing(NAME, os="linux")])
    publish(publisher, NAME, [needing("example.com/base")])
    with pytest.raises(DependencyCycle, match="depends on itself"):
        trusting.fetch(NAME)


def test_versions_that_need_older_ones_are_no_cycle(publisher: Publisher, trusting: Operator) -> None:
    publish(publisher, NAME, [], "1.0")
    publish(publisher, NAME, [needing(NAME, version="1.0")], "2.0")
    trusting.fetch(f"{NAME}:2.0,os=linux,arch=amd64")
    assert len(trusting.store.list()) == 2


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
