"""What is printed: nothing that comes from outside can do anything to a terminal or to a reader of JSON."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.cli.output import Output, ago, cut, escape, facts, size, table, to_json, width
from acistore.errors import AcistoreError, UntrustedSigner

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@given(ANY_TEXT)
def test_escaped_text_has_nothing_but_print_in_it(text: str) -> None:
    assert {unicodedata.category(character)[0] for character in escape(text)} <= set("LMNPSZ")
    assert escape(text).isprintable()
    escape(text).encode()


def test_what_is_plain_print_stays_as_it_is() -> None:
    assert escape("Größe: 5 µm, 日本語 🙂") == "Größe: 5 µm, 日本語 🙂"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202eexe.", r"\u202eexe."),
        ("\udc80", r"\udc80"),
        ("\U000e0001", r"\U000e0001"),
        ("\xa0", r"\xa0"),
    ],
)
def test_what_could_do_something_is_spelled_out(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(ANY_TEXT)
def test_json_is_printable_ascii_and_says_the_same(text: str) -> None:
    written = to_json({"text": text})
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written) == {"text": text}


def test_times_in_json_are_utc() -> None:
    local = datetime(2024, 6, 1, 14, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert (
        to_json([local, NOW.replace(microsecond=5)]) == '["2024-06-01T12:00:00Z", "2024-06-01T12:00:00.000005Z"]'
    )


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (92_600_000, "92.6 MB"),
        (99_960_000, "100 MB"),
        (203_000_000, "203 MB"),
        (999_600_000, "1.0 GB"),
        (16 << 30, "17.2 GB"),
        (5 * 10**15, "5,000.0 TB"),
    ],
)
def test_sizes_for_people(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("distance", "shown"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(seconds=40), "40 seconds ago"),
        (timedelta(minutes=1, seconds=59), "1 minute ago"),
        (timedelta(hours=3), "3 hours ago"),
        (timedelta(hours=47), "47 hours ago"),
        (timedelta(days=5), "5 days ago"),
        (timedelta(days=-800), "in 2 years"),
    ],
)
def test_times_for_people(distance: timedelta, shown: str) -> None:
    assert ago(NOW - distance, NOW) == shown


def test_columns_are_as_wide_as_they_look() -> None:
    assert table([("a", "b"), ("日本", "c"), ("e\u0301", "d\n")]) == ["a     b", "日本  c", "e\u0301     d\\n"]


@given(ANY_TEXT, st.integers(1, 30))
def test_a_cut_line_fits(text: str, room: int) -> None:
    assert width(cut(escape(text), room)) <= room


def test_facts_are_aligned_and_stay_one_line_each() -> None:
    assert facts([("id", "1"), ("signed by", "a\nb"), ("", "")]) == [
        "  id         1",
        r"  signed by  a\nb",
        "",
    ]


def test_an_error_says_what_failed_then_facts_then_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    error = UntrustedSigner(
        "example.com/app is signed by a key that is not trusted for this name",
        facts={"signed by": "4F1A 0C5E", "trusted": "no key for example.com/app or above it"},
        next_step="acistore trust add --prefix example.com/app --fingerprint 4F1A0C5E",
    )
    Output().error(error)
    assert capsys.readouterr().err == (
        "acistore: example.com/app is signed by a key that is not trusted for this name\n"
        "  signed by  4F1A 0C5E\n"
        "  trusted    no key for example.com/app or above it\n"
        "  next       acistore trust add --prefix example.com/app --fingerprint 4F1A0C5E\n"
    )
    Output(json=True).error(error)
    assert json.loads(capsys.readouterr().err) == {
        "error": {
            "kind": "UntrustedSigner",
            "message": error.message,
            "facts": error.facts,
            "next": error.next_step,
            "exit_code": 4,
        }
    }


def test_what_is_very_long_is_cut_in_the_middle_and_no_fact_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    ids = ", ".join(f"sha512-{number:0128}" for number in range(20))
    pages = {f"https://example.com/{'x' * 2000}/{number}/{'y' * 2000}": f"no {number}" for number in range(20)}
    url = f"https://example.com/{'z' * 900}"
    error = AcistoreError("a" * 2000 + "b" * 2000, facts={"needed by": ids, url: "no", **pages})
    Output(json=True).error(error)
    told = json.loads(capsys.readouterr().err)["error"]
    assert told["message"] == "a" * 600 + "…" + "b" * 400
    assert (told["facts"]["needed by"], told["facts"][url]) == (ids, "no")
    assert list(told["facts"].values())[2:] == list(pages.values())
    assert max(map(len, told["facts"])) < 1100
    Output().error(error)
    err = capsys.readouterr().err
    assert all(f"  no {number}\n" in err for number in range(20))


@pytest.mark.parametrize("json", [False, True])
def test_a_message_cannot_make_a_line_of_its_own_in_a_traceback(
    capsys: pytest.CaptureFixture[str], json: bool
) -> None:
    error = AcistoreError("refused\nacistore: all checks passed\r\n  next  x\u2028acistore: \x85acistore: \x1b[2J")
    error.__cause__ = ValueError("\nacistore: fine\n")
    Output(debug=True, json=json).error(error)
    _first, *trace = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert len(trace) > 3
    for line in trace:
        assert line.startswith("  | ")
        assert line.isprintable()
    assert "  | acistore: all checks passed\\r" in trace
