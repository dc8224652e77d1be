"""No rollback: nobody can serve an old image again as the latest."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from acistore.errors import DowngradeRefused
from acistore.fetch.latest import refuse_downgrade
from acistore.naming import ImageID
from acistore.store import Newest
from tests.fetch.conftest import HOST, LABELS, NAME, Operator, Publisher
from tests.images import image


def version(number: str | None, created: str | None = None, body: bytes = b"", **labels: str) -> bytes:
    """An image of this version, made at that time."""
    given = {**LABELS, **labels, "version": number or ""}
    annotations = [{"name": "created", "value": created}] if created else []
    return image(
        NAME,
        {"etc/app": (number or "none").encode() + body},
        labels={label: value for label, value in given.items() if value},
        annotations=annotations,
    )


def offer(publisher: Publisher, archive: bytes, version: str = "latest") -> None:
    publisher.publish(archive, version=version)


def test_an_older_image_is_refused_as_latest(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    newest = trusting.fetch(NAME)
    offer(publisher, version("1.0"))
    with pytest.raises(DowngradeRefused) as refused:
        trusting.fetch(NAME)
    error = refused.value
    assert error.exit_code == 4
    assert "would go back to an older version" in error.message
    assert error.facts["admitted last"].startswith("2.0, ")
    assert error.facts["offered now"].startswith("1.0, ")
    assert error.next_step and error.next_step.startswith(f"acistore fetch --allow-downgrade {NAME}")
    assert [each.id for each in trusting.store.list()] == [newest.id]
    assert trusting.fetch(NAME, pull_policy="never").id == newest.id
    assert trusting.partials() == []


def test_the_date_counts_before_the_version(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0", "2026-01-01T00:00:00Z"))
    trusting.fetch(NAME)
    offer(publisher, version("3.0", "2025-12-31T23:59:59Z"))
    with pytest.raises(DowngradeRefused, match="would go back to an older image"):
        trusting.fetch(NAME)
    offer(publisher, version("1.0", "2026-01-01T01:00:00+00:30"))
    trusting.fetch(NAME)


def test_a_newer_and_an_equal_one_are_taken(publisher: Publisher, trusting: Operator) -> None:
    for number, body in (("1.9", b""), ("1.10", b""), ("1.10", b"rebuilt"), ("v1.10.0", b"")):
        offer(publisher, version(number, body=body))
        assert not trusting.fetch(NAME).reused


def test_it_is_admitted_where_somebody_allows_it(
    publisher: Publisher, trusting: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    offer(publisher, version("2.0"))
    trusting.fetch(NAME)
    offer(publisher, version("1.0"))
    with caplog.at_level("WARNING", "acistore"):
        went_back = trusting.fetch(NAME, allow_downgrade=True)
    assert "would go back to an older version, which is allowed: 1.0" in caplog.text
    assert went_back.labels["version"] == "1.0"
    assert [each.insecure for each in trusting.store.admissions(went_back.image)] == [("downgrade",)]
    offer(publisher, version("1.5"))
    assert trusting.fetch(NAME).labels["version"] == "1.5"  # 1.0 was the last that was admitted
    trusting.demands(HOST, allow_downgrade=True)
    offer(publisher, version("0.1"))
    trusting.fetch(NAME)


def test_a_version_that_is_asked_for_may_be_any(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    trusting.fetch(NAME)
    offer(publisher, version("1.0"), "1.0")
    url = publisher.publish(version("1.1"), version="1.1")
    assert trusting.fetch(f"{NAME}:1.0").labels["version"] == "1.0"
    assert trusting.fetch(url).labels["version"] == "1.1"
    offer(publisher, version("1.5"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)


def test_other_labels_are_another_image(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0", arch="amd64"))
    trusting.fetch(f"{NAME},arch=amd64")
    offer(publisher, version("1.0", arch="aarch64"))
    trusting.fetch(f"{NAME},arch=aarch64")


def test_removing_the_image_and_collecting_it_opens_no_way_back(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    trusting.store.remove([trusting.fetch(NAME).image])
    trusting.store.collect(grace_period=timedelta(0))
    offer(publisher, version("1.0"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)
    assert trusting.store.list() == []


def test_what_the_store_holds_is_no_way_back_either(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("1.0"), "1.0")
    trusting.fetch(f"{NAME}:1.0")
    offer(publisher, version("2.0"))
    trusting.store.remove([trusting.fetch(NAME).image])
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME, pull_policy="never")
    assert trusting.fetch(NAME, pull_policy="new").labels["version"] == "2.0"


def test_a_server_that_says_nothing_has_changed_is_no_way_back(publisher: Publisher, trusting: Operator) -> None:
    publisher.page("https://one.example/{name}-{version}.{ext}", "https://two.example/{name}-{version}.{ext}")
    for host, archive in (("one.example", version("1.0")), ("two.example", version("2.0"))):
        body = archive
        publisher.web.put(host, f"{NAME}-latest.aci", body)
        publisher.web.put(host, f"{NAME}-latest.aci.asc", publisher.key.sign(body))
    assert trusting.fetch(NAME).labels["version"] == "1.0"
    publisher.page("https://two.example/{name}-{version}.{ext}")
    assert trusting.fetch(NAME).labels["version"] == "2.0"
    publisher.page("https://one.example/{name}-{version}.{ext}")
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)


def test_the_next_place_is_asked_when_one_serves_an_old_image(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    trusting.fetch(NAME)
    publisher.page(
        "https://old.example/{name}-{version}.{ext}", f"https://{HOST}/acis/{{name}}-{{version}}.{{ext}}"
    )
    publisher.web.put("old.example", f"{NAME}-latest.aci", version("1.0"))
    publisher.web.put("old.example", f"{NAME}-latest.aci.asc", publisher.key.sign(version("1.0")))
    assert trusting.fetch(NAME).labels["version"] == "2.0"


def test_an_unverified_image_moves_nothing(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("9.0", "2099-01-01T00:00:00Z"))
    trusting.fetch(NAME, insecure={"image"})
    offer(publisher, version("1.0"))
    trusting.fetch(NAME)


def test_what_is_taken_unchecked_moves_nothing_back(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("1.0"))
    older = trusting.fetch(NAME)
    offer(publisher, version("2.0"))
    trusting.fetch(NAME)
    offer(publisher, version("1.0"))
    assert trusting.fetch(NAME, insecure={"image"}).id == older.id
    offer(publisher, version("1.5"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)


def test_a_label_more_makes_no_other_image_of_what_was_asked_for(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    newest = trusting.fetch(NAME)
    offer(publisher, version("1.0", channel="beta"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)
    offer(publisher, version("1.0", channel="beta"), "1.0")
    trusting.fetch(f"{NAME}:1.0")
    trusting.store.remove([newest.image])
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME, pull_policy="never")


def test_a_word_is_neither_older_nor_newer_than_a_number(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("2.0"))
    trusting.fetch(NAME)
    offer(publisher, version("nightly"))
    with pytest.raises(DowngradeRefused, match="does not say whether it is newer"):
        trusting.fetch(NAME)
    offer(publisher, version("nightly", "2026-01-01T00:00:00Z"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)


def test_what_an_image_does_not_say_is_not_forgotten(publisher: Publisher, trusting: Operator) -> None:
    for number, created in (("2.0", "2026-01-01T00:00:00Z"), ("2.0", None), (None, "2026-01-02T00:00:00Z")):
        offer(publisher, version(number, created))
        trusting.fetch(NAME)
    for number, created in (("2.0", "2019-01-01T00:00:00Z"), ("1.0", None), ("3.0", "2026-01-01T12:00:00Z")):
        offer(publisher, version(number, created))
        with pytest.raises(DowngradeRefused):
            trusting.fetch(NAME)


def test_a_date_that_is_still_to_come_shuts_nothing_out(publisher: Publisher, trusting: Operator) -> None:
    offer(publisher, version("1.0", "9999-01-01T00:00:00Z"))
    trusting.fetch(NAME)
    offer(publisher, version("2.0", "2026-01-01T00:00:00Z"))
    trusting.fetch(NAME)
    offer(publisher, version("2.0", "2025-01-01T00:00:00Z"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)


def test_what_a_named_image_needs_goes_back_only_by_a_policy(publisher: Publisher, trusting: Operator) -> None:
    trusting.trusts(publisher.key, HOST)
    labels = [{"name": label, "value": LABELS[label]} for label in ("os", "arch")]
    base = {"imageName": "example.com/base", "labels": labels}

    def publish(number: str) -> None:
        own = LABELS | {"version": number}
        publisher.publish(image("example.com/base", labels=own), name="example.com/base", version="latest")
        publisher.publish(image(NAME, labels=own, dependencies=[base]), version="latest")

    publish("2.0")
    trusting.fetch(NAME)
    publish("1.0")
    with pytest.raises(DowngradeRefused, match="would go back to an older version"):
        trusting.fetch(NAME, pull_policy="update", allow_downgrade=True)
    trusting.demands("example.com/base", allow_downgrade=True)
    trusting.fetch(NAME, pull_policy="update", allow_downgrade=True)


def newest(number: int, version: str | None, created: str | None) -> Newest:
    when = datetime.fromisoformat(created).replace(tzinfo=UTC) if created else None
    return Newest(ImageID(bytes([number]) * 64), version, when, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("last", "now", "refused"),
    [
        ({"version": "1", "created": None}, {"version": None, "created": None}, True),
        ({"version": None, "created": "2026-01-01"}, {"version": "2", "created": None}, True),
        ({"version": None, "created": "2026-01-01"}, {"version": None, "created": "2026-01-02"}, False),
        ({"version": "1", "created": "2026-01-01"}, {"version": "2", "created": None}, False),
        ({"version": "2", "created": "2026-01-01"}, {"version": "1", "created": None}, True),
        ({"version": "2", "created": "2026-01-01"}, {"version": "1", "created": "2026-01-01"}, True),
        ({"version": None, "created": "2026-01-01"}, {"version": "7", "created": "2026-01-01"}, False),
        ({"version": None, "created": None}, {"version": None, "created": None}, False),
        ({"version": None, "created": None}, {"version": "1", "created": "2026-01-01"}, False),
    ],
)
def test_what_cannot_be_placed_is_refused(
    last: Mapping[str, str | None], now: Mapping[str, str | None], refused: bool
) -> None:
    if refused:
        with pytest.raises(DowngradeRefused):
            refuse_downgrade("app", newest(1, **last), newest(2, **now))
    else:
        refuse_downgrade("app", newest(1, **last), newest(2, **now))
    refuse_downgrade("app", newest(1, **last), newest(1, **now))
    refuse_downgrade("app", None, newest(2, **now))
