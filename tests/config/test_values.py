"""Kinds of values: how they are read and written."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.config import OPTIONS, Config, Option, parse_duration, parse_insecure_options, parse_size
from acistore.config.values import written

KINDS = {option.kind.metavar: option.kind for option in OPTIONS}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500M", 500_000_000),
        ("2GiB", 2 << 30),
        ("2 gib", 2 << 30),
        ("1.5K", 1500),
        (4096, 4096),
        ("9223372036854775807", (1 << 63) - 1),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "big", "-1", "1e3", "2GiBs", True, None, [], {}, "٣", "9" * 400, float("nan")]
)
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size, such as 500M or 2GiB"):
        parse_size(text)


def test_a_size_that_nothing_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than a size can be"):
        parse_size("9000000P")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("500ms", 0.5), ("90s", 90), ("2m", 120), ("24h", 86400), ("1.5d", 129600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", 90, "1y", "-1s", "1h30m", True, "9" * 400 + "w", "99999999999w"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration, such as 90s, 24h or 7d|longer than a duration can be"
    ):
        parse_duration(text)


@given(st.integers(0, (1 << 63) - 1) | st.sampled_from([1000, 1024, 2 << 30, 5 * 10**12]))
def test_a_size_is_read_as_it_was_written(size: int) -> None:
    kind = KINDS["SIZE"]
    assert kind.parse(tomllib.loads(f"x = {kind.write(size)}")["x"]) == size


@pytest.mark.parametrize(
    "text", ["0", "500", "1k", "10G", "500M", "16GiB", "1KiB", "1536", "1500k", "100KiB", "1025", "3T"]
)
def test_a_size_is_written_as_a_person_would(text: str) -> None:
    assert KINDS["SIZE"].write(parse_size(text)) == f'"{text}"'
    assert KINDS["SIZE"].write(parse_size("10GB")) == '"10G"'


@given(st.timedeltas(timedelta(0), timedelta(days=10_000)))
def test_a_duration_is_read_as_it_was_written(duration: timedelta) -> None:
    kind = next(option.kind for option in OPTIONS if option.name == "gc.grace_period")
    assert kind.parse(tomllib.loads(f"x = {kind.write(duration)}")["x"]) == duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (60, "60s"), (120, "2m"), (86400, "24h"), (7 * 86400, "7d"), (0.5, "500ms")]
)
def test_a_duration_is_written_as_a_person_would(seconds: float, text: str) -> None:
    kind = next(option.kind for option in OPTIONS if option.name == "limits.freshness")
    assert kind.write(seconds) == f'"{text}"'


@given(st.text(st.characters(codec="utf-8")))
def test_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"x = {written(text)}") == {"x": text}


@pytest.mark.parametrize("text", ["0.5", "1.5", "5i", "1e3", "-1", "1 000", "5 GiB B"])
def test_what_is_no_whole_number_of_bytes_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_default_is_read_as_it_is_written(option: Option) -> None:
    value = Config().value(option.name)
    assert option.kind.parse(tomllib.loads(f"x = {option.kind.write(value)}")["x"]) == value


def test_insecure_options() -> None:
    assert parse_insecure_options("image, tls") == parse_insecure_options(["tls", "image"]) == {"image", "tls"}
    assert parse_insecure_options("all") == {"image", "tls", "http", "pubkey"}
    assert parse_insecure_options("none") == parse_insecure_options([]) == frozenset()
    for wrong in ("tsl", ["image", 1], 3, {"image": True}, [["tls"]]):
        with pytest.raises(ValueError, match="is not"):
            parse_insecure_options(wrong)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("wrong", [{"a": 1}, [{"a": 1}], 1.5, "\0", "x" * 5000, "~nobody-at-all/x"], ids=str)
def test_a_value_of_a_wrong_type_is_refused_in_a_short_message(option: Option, wrong: Any) -> None:
    if option.kind.metavar == "PATH" and wrong == "x" * 5000:
        assert option.kind.parse(wrong) == Path(wrong)  # how long a path may be is up to the file system
        return
    with pytest.raises(ValueError, match=r"^.{1,300}$"):
        option.kind.parse(wrong)


def test_a_wait_is_more_than_nothing_and_at_most_a_week() -> None:
    kinds = {option.name: option.kind for option in OPTIONS}
    with pytest.raises(ValueError, match="more than nothing"):
        kinds["limits.deadline"].parse("0s")
    assert kinds["limits.retry_delay"].parse("0s") == 0
    assert kinds["limits.deadline"].parse("7d") == 7 * 86400
    for name in ("limits.deadline", "limits.connect_timeout", "limits.retry_after"):
        with pytest.raises(ValueError, match="longer than a week"):
            kinds[name].parse("8d")
    assert kinds["limits.freshness"].parse("365d") == 365 * 86400
