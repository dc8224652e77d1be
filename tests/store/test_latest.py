"""What was last admitted as latest of a name: who may become it, and what is known of it afterwards."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from acistore.errors import ImageMismatch, ImageNotFound
from acistore.manifest import ImageManifest
from acistore.naming import ImageName
from acistore.store import Admission, Newest, Remote, Store
from acistore.store.latest import created_at
from acistore.store.schema import Moment
from tests.images import image, manifest
from tests.store.conftest import WHEN, admissions, files_in
from tests.store.versions import NAME, Older, fetch, refuse_older, versions

UNVERIFIED = [Admission("unverified", WHEN, insecure=("image",))]
ONE, TWO, THREE = versions(1, 2, 3)


def made(day: int) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC)


# --- what is known


def test_what_was_admitted_as_latest_is_known_by_any_version_of_its_name(store: Store) -> None:
    assert store.newest(NAME) is None
    two = fetch(store, TWO)
    known = Newest(two.id, "2", made(2), WHEN)
    for name in ("example.com/app", "example.com/app:2", "example.com/app:9"):
        assert store.newest(ImageName.parse(name)) == known
    for name in ("example.com/app/part", "example.com/app,os=linux"):
        assert store.newest(ImageName.parse(name)) is None


def test_an_image_that_is_fetched_by_its_version_changes_nothing(store: Store) -> None:
    two = fetch(store, TWO)
    three = fetch(store, THREE, rule=None)
    store.record_fetch(three)
    newest = store.newest(NAME)
    assert newest
    assert newest.id == two.id
    assert [each.latest for each in store.list()] == [False, True]


def test_it_is_known_for_each_set_of_other_labels_in_any_order(store: Store) -> None:
    [amd64] = versions(1, os="linux", arch="amd64")
    [aarch64] = versions(2, arch="aarch64", os="linux")
    here, there = fetch(store, amd64), fetch(store, aarch64)
    for labels, expected in (
        ({"arch": "amd64", "os": "linux"}, here),
        ({"os": "linux", "arch": "amd64"}, here),
        ({"os": "linux", "arch": "aarch64", "version": "7"}, there),
    ):
        newest = store.newest(ImageName(NAME.name, labels))
        assert newest
        assert newest.id == expected.id
    assert [each.latest for each in store.list()] == [True, True]


def test_any_text_may_be_a_label(store: Store) -> None:
    labels = {"channel": 'é☃",{}\\\n\x00', "quality": ""}
    stored = fetch(store, versions(1, **labels)[0])
    newest = store.newest(stored.image_name)
    assert newest
    assert newest.id == stored.id
    assert store.verify().damaged == ()


@pytest.mark.parametrize("take_out", ["rm", "gc"])
def test_it_is_known_when_the_image_is_gone(store: Store, directory: Path, take_out: str) -> None:
    two = fetch(store, TWO)
    if take_out == "rm":
        store.remove([two])
    store.collect(grace_period=timedelta(0))
    assert (store.list(), files_in(directory)) == ([], [])
    assert store.newest(NAME) == Newest(two.id, "2", made(2), WHEN)
    with pytest.raises(Older, match="1 is older than 2"):
        fetch(store, ONE, rule=refuse_older)
    assert store.verify().damaged == ()


# --- the rule


def test_the_rule_is_told_what_was_and_what_would_be(store: Store) -> None:
    asked: list[tuple[Newest | None, Newest]] = []

    def rule(last: Newest | None, now: Newest) -> None:
        asked.append((last, now))

    one, two = fetch(store, ONE, rule=rule), fetch(store, TWO, rule=rule)
    store.record_fetch(one, latest=rule)
    was, is_ = Newest(one.id, "1", made(1), WHEN), Newest(two.id, "2", made(2), WHEN)
    assert asked[:2] == [(None, was), (was, is_)]
    [(last, now)] = asked[2:]
    assert (last, now.id, now.created) == (is_, one.id, made(1))
    assert now.admitted_at > WHEN
    assert store.newest(NAME) == now


def test_what_the_rule_lets_pass_is_the_latest_though_it_is_older(store: Store) -> None:
    fetch(store, TWO)
    one = fetch(store, ONE)
    assert store.find(NAME).id == one.id
    assert store.newest(NAME) == Newest(one.id, "1", made(1), WHEN)


def said(store: Store) -> list[object]:
    """All that a refusal must leave as it was."""
    return [[each, store.admissions(each), store.remotes(each)] for each in store.list()] + [store.newest(NAME)]


def refused_new(store: Store, source: Remote) -> None:
    told = admissions("cd" * 20)
    store.add(io.BytesIO(ONE), admit=lambda _id, _manifest: told, remote=source, latest=refuse_older)


def refused_again(store: Store, source: Remote) -> None:
    fetch(store, ONE, rule=None)
    state = said(store)
    with pytest.raises(Older):
        refused_new(store, source)
    assert said(store) == state
    store.remove([store.find(ImageName.parse("example.com/app:1"))])
    store.collect(grace_period=timedelta(days=99999))
    raise Older("again")


def refused_reuse(store: Store, source: Remote) -> None:
    one = fetch(store, ONE, rule=None)
    state = said(store)
    with pytest.raises(Older):
        store.record_fetch(one, remote=source, latest=refuse_older)
    assert said(store) == state
    store.remove([one])
    store.collect(grace_period=timedelta(days=99999))
    raise Older("again")


@pytest.mark.parametrize("attempt", [refused_new, refused_again, refused_reuse])
def test_what_the_rule_refuses_leaves_nothing(
    store: Store, directory: Path, attempt: Callable[[Store, Remote], None]
) -> None:
    fetch(store, TWO)
    state, files = said(store), files_in(directory)
    with pytest.raises(Older):
        attempt(store, Remote("https://example.com/app.aci", None, None, None, None, None, WHEN))
    assert (said(store), files_in(directory)) == (state, files)
    assert store.verify().damaged == ()


def test_what_admission_refuses_the_rule_is_not_asked_about(store: Store) -> None:
    def refuse(*_: object) -> list[Admission]:
        raise ImageMismatch("another image")

    def rule(*_: object) -> None:
        raise AssertionError("nobody need ask")

    with pytest.raises(ImageMismatch):
        store.add(io.BytesIO(ONE), admit=refuse, latest=rule)


def test_an_image_that_is_gone_is_not_asked_about(store: Store) -> None:
    one = fetch(store, ONE)
    store.remove([one])
    with pytest.raises(ImageNotFound):
        store.record_fetch(one, latest=refuse_older)


# --- images that nobody has checked


def test_an_unverified_image_is_the_latest_and_neither_asks_nor_is_compared_with(store: Store) -> None:
    two = fetch(store, TWO)
    known = store.newest(NAME)
    one, three = fetch(store, ONE, rule=refuse_older, by=UNVERIFIED), fetch(store, THREE, by=UNVERIFIED)
    assert store.newest(NAME) == known
    assert store.find(NAME).id == three.id
    store.record_fetch(one, latest=refuse_older)
    assert store.newest(NAME) == known
    assert store.find(NAME).id == one.id
    assert fetch(store, TWO, rule=refuse_older).id == two.id


def test_a_fetch_that_checks_nothing_leaves_what_is_known_even_of_a_verified_image(store: Store) -> None:
    one, two = fetch(store, ONE), fetch(store, TWO)
    store.record_fetch(one, latest=refuse_older, checked=False)
    newest = store.newest(NAME)
    assert newest
    assert (newest.id, store.find(NAME).id) == (two.id, one.id)


def test_an_image_that_a_policy_lets_in_unsigned_is_compared_like_any_other(store: Store) -> None:
    fetch(store, TWO, by=[Admission("unsigned", WHEN)])
    with pytest.raises(Older):
        fetch(store, ONE, rule=refuse_older, by=[Admission("unsigned", WHEN)])


# --- when an image was made


@pytest.mark.parametrize(
    ("text", "created"),
    [
        ("2024-02-29T12:00:00Z", WHEN),
        ("2024-02-29T12:00:00+00:00", WHEN),
        ("2024-02-29T12:00:00-00:00", WHEN),
        ("2024-03-01T11:59:00+23:59", WHEN),
        ("2024-02-28T12:01:00-23:59", WHEN),
        ("2024-02-29T12:00:00.5Z", WHEN + timedelta(seconds=0.5)),
        ("2024-02-29T12:00:00.0000019999999999999Z", WHEN + timedelta(microseconds=1)),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
        ("0000-02-29T00:00:00Z", None),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-00:01", None),
    ],
)
def test_when_an_image_was_made_is_kept_to_the_microsecond(
    store: Store, text: str, created: datetime | None
) -> None:
    stored = fetch(store, image(annotations=[{"name": "created", "value": text}]))
    assert store.newest(NAME) == Newest(stored.id, None, created, WHEN)
    assert store.verify().damaged == ()


def test_an_image_need_not_say_when_it_was_made(store: Store) -> None:
    fetch(store, image())
    newest = store.newest(NAME)
    assert newest
    assert newest.created is None


def test_a_leap_second_is_no_time_that_could_be_kept() -> None:
    """Manifests that name one are refused today; should that change, this is no reason to fail."""
    parsed = ImageManifest.parse(manifest(annotations=[{"name": "created", "value": "2016-12-31T23:59:59Z"}]))
    object.__setattr__(parsed, "annotations", {"created": "2016-12-31T23:59:60Z"})
    assert created_at(parsed) is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_moment_comes_back_from_the_database_as_it_was(moment: datetime) -> None:
    kept = Moment().process_bind_param(moment, sqlite.dialect())
    assert isinstance(kept, int)
    assert Moment().process_result_value(kept, sqlite.dialect()) == moment
