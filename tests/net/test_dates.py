"""HTTP dates, and what Retry-After says with them or with seconds."""

import pytest

from acistore.net.freshness import MOST_SECONDS, http_date, retry_after
from tests.net.test_freshness import DATE, EARLIER, LATER, NOW


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (DATE, NOW),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOW),
        ("Sun Nov  6 08:49:37 1994", NOW),
        ("Sun Nov 06 08:49:37 1994", NOW),
        ("Sun, 06 Nov 1994 08:49:60 GMT", NOW + 22),  # a leap second
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ("Sun, 06-Nov-94 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Wed, 30 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun Nov    08:49:37 1994", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
        (DATE + "\n", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_dates(text: str, moment: float | None) -> None:
    assert http_date(text, now=NOW) == moment


@pytest.mark.parametrize(
    ("year", "now", "full"),
    [("94", 1994, 1994), ("44", 1994, 2044), ("45", 1994, 1945), ("00", 1994, 2000), ("99", 2026, 1999)],
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(year: str, now: int, full: int) -> None:
    today, expected = (http_date(f"Sun, 06 Nov {each} 08:49:37 GMT") for each in (now, full))
    assert http_date(f"Sunday, 06-Nov-{year} 08:49:37 GMT", now=today) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        (LATER, 60),
        (EARLIER, 0),
        ("9" * 5000, MOST_SECONDS),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds
    assert retry_after({}, NOW) is None
