"""How long an answer holds, and how to ask again: RFC 9111 for a private cache, read by ourselves."""

import time
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.net.answers import Response
from acistore.net.freshness import (
    MOST_SECONDS,
    Freshness,
    Validators,
    freshness,
    retry_after,
    strong_validators,
)

# Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
NOW = 784_111_777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:48:37 GMT"
LATER = "Sun, 06 Nov 1994 08:50:37 GMT"
NEXT_DAY = "Mon, 07 Nov 1994 08:49:37 GMT"


def at(*headers: tuple[str, str], asked_at: float = NOW, longest: float = MOST_SECONDS) -> Freshness:
    return freshness(httpx.Headers(list(headers), encoding="utf-8"), asked_at=asked_at, now=NOW, longest=longest)


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("max-age=60", 60),
        ("MAX-AGE=60", 60),
        ("Max-Age=060", 60),
        ("max-age=0", 0),
        (" public ,\tmax-age=60 ", 60),
        (",, max-age=60,,", 60),
        ('max-age="60"', 60),
        (r'max-age="6\0"', 60),
        ("private, max-age=60", 60),
        ('private="set-cookie, x", max-age=60', 60),
        # It may be used while it is fresh, and we never use what is stale.
        ("max-age=60, must-revalidate", 60),
        ("max-age=60, proxy-revalidate, immutable, stale-while-revalidate=600", 60),
        # For shared caches alone.
        ("s-maxage=600", None),
        ("s-maxage=600, max-age=60", 60),
        ("s-maxage=0, max-age=60", 60),
        # Words that we don't know, and what is in quotes is no directive.
        ("community=UCI, max-age=60", 60),
        ('x="no-store, no-cache", max-age=60', 60),
        (r'x="\", no-cache, \"", max-age=60', 60),
        ('x="max-age=600"', None),
        ("no-cache-at-all, max-age=60", 60),
        ("", None),
        (",", None),
        ("public", None),
        # To be asked for each time.
        ("no-cache", 0),
        ("No-Cache, max-age=60", 0),
        ("max-age=60, no-cache", 0),
        ('no-cache="set-cookie", max-age=60', 0),
        ("no-cache=set-cookie, max-age=60", 0),
        # Said twice, or no number of seconds.
        ("max-age=60, max-age=60", 0),
        ("max-age=60, max-age=600", 0),
        ("max-age", 0),
        ('max-age=""', 0),
        ("max-age=-60", 0),
        ("max-age=60.5", 0),
        ("max-age=+60", 0),
        ("max-age=6e1", 0),
        ('max-age="60, 70"', 0),
        # Malformed as a whole.
        ("max-age=", 0),
        ("max-age = 60", 0),
        ("max-age=60; public", 0),
        ("max-age=60 public", 0),
        ('max-age=60, x="', 0),
        ('max-age=60, x="\\', 0),
        ("max-age=60, x=a b", 0),
        ("max-age=60, é", 0),
        ("max-age=٦٠", 0),
        ("max-age=60\x00", 0),
        ("max-age=60\x0b", 0),
        # More than a number of seconds may be.
        ("max-age=2147483647", MOST_SECONDS - 1),
        ("max-age=2147483648", MOST_SECONDS),
        ("max-age=" + "9" * 10_000, MOST_SECONDS),
        ("max-age=" + "0" * 10_000 + "60", 60),
    ],
)
def test_cache_control(cache_control: str, seconds: int | None) -> None:
    assert at(("Cache-Control", cache_control)) == Freshness(seconds, storable=True)


@pytest.mark.parametrize(
    "cache_control",
    [
        "no-store",
        "NO-STORE",
        "no-store=x",
        "no-store, max-age=60",
        "max-age=60,no-store",
        "must-understand, no-store, max-age=60",
        "max-age=60; no-store",  # malformed, and meant
        "no-store, x=a b",
    ],
)
def test_nothing_is_kept_of_what_may_not_be_stored(cache_control: str) -> None:
    assert at(("Cache-Control", cache_control)) == Freshness(0, storable=False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("Cache-Control", "public"), ("cache-control", "max-age=60")], 60),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-cache")], 0),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=60")], 0),
        # Expires, for which max-age stands in.
        ([("Expires", LATER)], 60),
        ([("Expires", LATER), ("Date", DATE)], 60),
        ([("Expires", LATER), ("Date", EARLIER)], 60),  # of the two minutes one is over
        ([("Expires", DATE)], 0),
        ([("Expires", EARLIER)], 0),
        ([("Expires", "0")], 0),
        ([("Expires", "-1")], 0),
        ([("Expires", "")], 0),
        ([("Expires", "tomorrow")], 0),
        ([("Expires", LATER), ("Expires", LATER)], 0),
        ([("Expires", "Fri, 31 Dec 9999 23:59:59 GMT")], MOST_SECONDS),
        ([("Expires", EARLIER), ("Cache-Control", "max-age=60")], 60),
        ([("Expires", LATER), ("Cache-Control", "max-age=5")], 5),
        ([("Expires", LATER), ("Cache-Control", "max-age=x")], 0),
        ([("Expires", LATER), ("Cache-Control", "public")], 60),
        ([("Expires", LATER), ("Cache-Control", "s-maxage=600")], 60),
        ([("Expires", LATER), ("Cache-Control", "no-cache")], 0),
        # How old it is.
        ([("Cache-Control", "max-age=60"), ("Age", "20")], 40),
        ([("Cache-Control", "max-age=60"), ("Age", "60")], 0),
        ([("Cache-Control", "max-age=60"), ("Age", "9" * 5000)], 0),
        ([("Expires", LATER), ("Age", "20")], 40),
        ([("Cache-Control", "max-age=60"), ("Age", "20, 5")], 40),
        ([("Cache-Control", "max-age=60"), ("Age", "-20")], 60),
        ([("Cache-Control", "max-age=60"), ("Age", "old")], 60),
        ([("Cache-Control", "max-age=90"), ("Date", EARLIER)], 30),
        ([("Cache-Control", "max-age=90"), ("Date", EARLIER), ("Age", "20")], 30),
        ([("Cache-Control", "max-age=90"), ("Date", EARLIER), ("Age", "70")], 20),
        ([("Cache-Control", "max-age=90"), ("Date", "yesterday")], 0),
        ([("Cache-Control", "max-age=90"), ("Date", DATE), ("Date", DATE)], 0),
        ([("Expires", LATER), ("Date", "")], 0),
        # A clock that is fast makes nothing fresh for longer, one that is slow makes it stale.
        ([("Cache-Control", "max-age=60"), ("Date", NEXT_DAY)], 60),
        ([("Expires", NEXT_DAY), ("Date", NEXT_DAY)], 0),
        ([("Cache-Control", "max-age=60"), ("Date", EARLIER)], 0),
        # Nothing is guessed.
        ([], None),
        ([("Last-Modified", EARLIER), ("Date", DATE), ("ETag", '"1"')], None),
        # What depends on everything.
        ([("Cache-Control", "max-age=60"), ("Vary", "Accept-Encoding")], 60),
        ([("Cache-Control", "max-age=60"), ("Vary", "*")], 0),
        ([("Cache-Control", "max-age=60"), ("Vary", "Accept"), ("Vary", " * ")], 0),
        ([("Vary", "*")], 0),
        # Pragma, for servers that know no Cache-Control.
        ([("Pragma", "no-cache")], 0),
        ([("Pragma", "x=y, No-Cache"), ("Expires", LATER)], 0),
        ([("Pragma", "no-cache"), ("Cache-Control", "max-age=60")], 60),
        ([("Pragma", "no-cache"), ("Cache-Control", "")], None),
        ([("Pragma", "public"), ("Expires", LATER)], 60),
    ],
)
def test_headers_together(headers: list[tuple[str, str]], seconds: int | None) -> None:
    assert at(*headers) == Freshness(seconds, storable=True)


@pytest.mark.parametrize(
    ("headers", "took", "seconds"),
    [
        ([("Cache-Control", "max-age=60")], 10, 50),
        ([("Cache-Control", "max-age=60"), ("Age", "20")], 10, 30),
        ([("Cache-Control", "max-age=90"), ("Date", EARLIER), ("Age", "20")], 10, 30),  # the older of the two
        ([("Cache-Control", "max-age=60")], 100, 0),
        ([("Cache-Control", "max-age=60")], 0.25, 59),
        ([("Cache-Control", "max-age=60")], -100, 60),  # our own clock was set back
        ([], 10, None),
    ],
)
def test_the_time_since_the_request_counts(
    headers: list[tuple[str, str]], took: float, seconds: int | None
) -> None:
    assert at(*headers, asked_at=NOW - took).seconds == seconds


@pytest.mark.parametrize(
    ("own", "redirects", "seconds"),
    [
        ("max-age=600", ["max-age=60"], 60),
        ("max-age=60", ["max-age=600"], 60),
        ("max-age=600", ["max-age=600", "max-age=5"], 5),
        # A redirect that promises nothing is asked for each time, however long its target holds.
        ("max-age=31536000, immutable", [""], 0),
        ("max-age=600", ["no-cache"], 0),
        ("max-age=600", ["max-age=600", "no-store"], 0),
        ("", ["max-age=600"], 0),
    ],
)
def test_an_answer_holds_no_longer_than_the_redirects_to_it(own: str, redirects: list[str], seconds: int) -> None:
    passed = [{"cache-control": each} for each in redirects]
    assert freshness({"cache-control": own}, redirects=passed) == Freshness(seconds, storable=True)


def test_an_answer_knows_when_it_was_asked_for() -> None:
    asked_at = time.time() - 100
    answer = Response("", 200, {"cache-control": "max-age=600"}, b"", redirects=(), asked_at=asked_at)
    assert 400 < (answer.freshness().seconds or 0) <= 500
    assert answer.freshness(longest=5).seconds == 5


def test_what_may_be_kept_is_for_the_answer_to_say() -> None:
    assert not freshness({"cache-control": "no-store"}, redirects=[{"cache-control": "max-age=60"}]).storable


@pytest.mark.parametrize(("longest", "seconds"), [(86_400, 86_400), (0, 0), (0.5, 0), (1e9, 1_000_000)])
def test_a_server_is_believed_for_the_longest_that_is_configured(longest: float, seconds: int) -> None:
    assert at(("Cache-Control", "max-age=1000000"), longest=longest).seconds == seconds


def test_without_a_clock_it_is_now() -> None:
    assert freshness({"cache-control": "max-age=60", "date": DATE}).seconds == 0
    assert freshness({"cache-control": "max-age=60"}).seconds == 60


# --- validators


@pytest.mark.parametrize(
    ("etag", "kept"),
    [
        ('"abc"', '"abc"'),
        (' "abc"\t', '"abc"'),
        ('""', '""'),
        ('"a, b"', None),  # a blank is no character of a tag
        ('"a,b"', '"a,b"'),
        (r'"a\b"', r'"a\b"'),
        ('W/"abc"', 'W/"abc"'),
        ('w/"abc"', None),
        ('W/ "abc"', None),
        ("abc", None),
        ("'abc'", None),
        ('"abc', None),
        ('"a"b"', None),
        ('"a", "b"', None),
        ('"é"', None),
        ('"a\x7f"', None),
        ('"a\r\nx-y: z"', None),
        ('"a"\n', None),
        ("*", None),
        ("", None),
        ('"' + "a" * 2000 + '"', None),
    ],
)
def test_entity_tags(etag: str, kept: str | None) -> None:
    found = Validators.of({"etag": etag})
    assert (found.etag, bool(found)) == (kept, kept is not None)
    assert found.conditions() == ({"If-None-Match": kept} if kept else {})
    # What somebody else has kept is looked at again.
    assert Validators(etag).conditions() == found.conditions()


@pytest.mark.parametrize(
    ("last_modified", "is_kept"),
    [
        (DATE, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sun Nov  6 08:49:37 1994", True),
        ("0", False),
        ("Sun, 06 Nov 1994 08:49:37 +0000", False),
        (DATE + "\r\nX: y", False),
    ],
)
def test_modification_dates(last_modified: str, is_kept: bool) -> None:
    found = Validators.of({"last-modified": last_modified})
    assert found == Validators(None, last_modified if is_kept else None)
    assert Validators(None, last_modified).conditions() == found.conditions()
    assert found.conditions() == ({"If-Modified-Since": last_modified} if is_kept else {})


def test_both_conditions_are_sent_and_none_without_validators() -> None:
    assert Validators('W/"a"', DATE).conditions() == {"If-None-Match": 'W/"a"', "If-Modified-Since": DATE}
    assert Validators().conditions() == {}
    assert not Validators()


@pytest.mark.parametrize(
    ("place", "asked", "what_counts"),
    [
        (None, None, "all"),
        (None, "https://a.com/", "nothing"),
        ("https://a.com/", None, "nothing"),
        ("https://a.com/", "https://a.com/", "all"),
        ("https://a.com/", "https://b.com/", "nothing"),
        ("https://a.com/", "http://a.com/", "nothing"),
        # Of a query it is known that there was one, and no more.
        ("https://a.com/?", "https://a.com/?", "tag"),
        ("https://a.com/?", "https://a.com/", "nothing"),
        ("https://a.com/", "https://a.com/?", "nothing"),
        ("https://a.com/?", "https://b.com/?", "nothing"),
    ],
)
@pytest.mark.parametrize("tag", ['"a"', 'W/"a"'])
def test_conditions_are_for_the_place_that_the_validators_are_from(
    place: str | None, asked: str | None, what_counts: str, tag: str
) -> None:
    what_counts = "nothing" if what_counts == "tag" and tag.startswith("W/") else what_counts
    expected = {
        "all": {"If-None-Match": tag, "If-Modified-Since": DATE},
        "tag": {"If-None-Match": tag},
        "nothing": {},
    }
    assert Validators(tag, DATE, place).conditions(asked) == expected[what_counts]


@pytest.mark.parametrize(
    ("headers", "strong"),
    [
        ({"etag": '"a"'}, Validators('"a"')),
        ({"etag": '"a"', "last-modified": EARLIER, "date": DATE}, Validators('"a"')),
        # There is a tag, so the date may not take its place.
        ({"etag": 'W/"a"', "last-modified": EARLIER, "date": DATE}, Validators()),
        ({"etag": "w/a", "last-modified": EARLIER, "date": DATE}, Validators()),
        ({"etag": "a", "last-modified": EARLIER, "date": DATE}, Validators(None, EARLIER)),
        ({"last-modified": EARLIER, "date": DATE}, Validators(None, EARLIER)),
        ({"last-modified": "Sun, 06 Nov 1994 08:49:36 GMT", "date": DATE}, Validators(None, DATE[:-6] + "36 GMT")),
        ({"last-modified": DATE, "date": DATE}, Validators()),
        ({"last-modified": LATER, "date": DATE}, Validators()),
        ({"last-modified": EARLIER}, Validators()),
        ({"last-modified": EARLIER, "date": "today"}, Validators()),
        ({"last-modified": "long ago", "date": DATE}, Validators()),
        ({}, Validators()),
    ],
)
def test_only_what_changes_with_every_byte_is_strong(headers: Mapping[str, str], strong: Validators) -> None:
    assert strong_validators(headers) == strong


@pytest.mark.parametrize(
    ("known", "said", "confirmed"),
    [
        (Validators('"a"', DATE), {"etag": '"a"'}, True),
        (Validators('"a"', DATE), {}, True),
        (Validators('"a"', DATE), {"etag": 'W/"a"'}, True),  # 304 is by weak comparison
        (Validators('W/"a"'), {"etag": '"a"'}, True),
        (Validators('"a"', DATE), {"etag": '"a"', "last-modified": LATER}, True),  # touched
        (Validators('"a"', DATE), {"last-modified": LATER}, False),
        (Validators('"a"', DATE), {"last-modified": DATE}, True),
        (Validators('"a"'), {"last-modified": DATE}, True),
        (Validators('"a"'), {"etag": "a"}, True),  # no tag at all
        (Validators('"a"', DATE), {"etag": '"b"', "last-modified": DATE}, False),
        (Validators('"a"'), {"etag": 'W/"b"'}, False),
        (Validators(None, DATE), {"last-modified": DATE}, True),
        (Validators(None, DATE), {"last-modified": "Sunday, 06-Nov-94 08:49:37 GMT"}, True),
        (Validators(None, DATE), {"etag": '"a"'}, True),
        (Validators(None, DATE), {"last-modified": EARLIER}, False),  # an older one is back
        (Validators(None, DATE), {"etag": '"a"', "last-modified": LATER}, False),
    ],
)
def test_a_304_is_about_what_is_known(known: Validators, said: Mapping[str, str], confirmed: bool) -> None:
    assert known.is_confirmed_by(said) is confirmed


@pytest.mark.parametrize(
    ("said", "updated"),
    [
        ({}, Validators('"a"', DATE)),
        ({"etag": 'W/"a"'}, Validators('W/"a"', DATE)),
        ({"last-modified": LATER}, Validators('"a"', LATER)),
        ({"etag": "none", "last-modified": "never"}, Validators('"a"', DATE)),
    ],
)
def test_a_304_changes_what_it_repeats(said: Mapping[str, str], updated: Validators) -> None:
    assert Validators('"a"', DATE).updated_by(said) == updated


# --- whatever comes

NAMES = ("cache-control", "age", "date", "expires", "vary", "pragma", "etag", "last-modified", "retry-after")
VALUES = st.one_of(
    st.text(max_size=60),
    st.text('max-age=no-cache,store"\\ \t;0129*W/', max_size=60),
    st.sampled_from([DATE, EARLIER, LATER, "max-age=60", "*", "60", '"a"', 'W/"a"', "no-store"]),
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES)
MOMENTS = st.floats(0, 4e9)


@given(HEADERS, MOMENTS, MOMENTS, st.floats(0, 1e10))
def test_no_header_is_too_odd(headers: dict[str, str], asked_at: float, now: float, longest: float) -> None:
    found = freshness(headers, asked_at=asked_at, now=now, longest=longest)
    assert found.seconds is None or 0 <= found.seconds <= longest
    assert found.storable or found.seconds == 0
    known = Validators.of(headers)
    for value in [*known.conditions().values(), *strong_validators(headers).conditions().values()]:
        assert value.isascii() and value.isprintable()
    assert known.conditions() == Validators(headers.get("etag"), headers.get("last-modified")).conditions()
    assert (retry_after(headers, now) or 0) >= 0


@given(HEADERS, VALUES)
def test_no_store_is_found_wherever_it_stands(headers: dict[str, str], rest: str) -> None:
    assert not freshness(headers | {"cache-control": f"no-store, {rest}"}).storable


@pytest.mark.parametrize(
    "value",
    [" " * 500_000 + ";", "a" * 500_000 + " ;", 'x="' + "\\a" * 250_000, "," * 500_000 + ";", "x,\t" * 150_000],
)
def test_long_headers_cost_no_more_than_they_are_long(value: str) -> None:
    began = time.process_time()
    freshness({"cache-control": value, "vary": value, "age": value, "expires": value, "date": value})
    Validators.of({"etag": value, "last-modified": value})
    assert time.process_time() - began < 10  # and hours, if it were the square
