"""What an answer's headers say of time: how long it holds, how to ask whether it still does, when to come again.

Pure: values in, values out. RFC 9111 as it is for a private cache that guesses nothing (no heuristics), and the
validators of RFC 9110, sections 8.8 and 13.1. In doubt an answer is stale, since to ask costs little.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

# What counts for a number of seconds that is larger still (RFC 9111, section 1.2.2).
MOST_SECONDS = 1 << 31
# Bytes; a longer validator is none, or servers would refuse the request that carries it, ever after.
_LONGEST_VALIDATOR = 1024

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 - a word of HTTP
_ARGUMENT = rf"""(?P<token>{_TOKEN})|"(?P<quoted>(?:[^"\\]|\\.)*+)\""""
# Nothing in it goes back: a header is read in the time that it is long.
_DIRECTIVE = re.compile(rf"[ \t]*+(?:(?P<name>{_TOKEN})(?:=(?:{_ARGUMENT}))?[ \t]*+)?(?:,|\Z)")
_ENTITY_TAG = re.compile(r'(?:W/)?"[!#-~]*"')
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = (
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(
        r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
        rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


@dataclass(frozen=True, slots=True)
class Freshness:
    """For how many seconds from now an answer holds, None where the server doesn't say. `storable`: something of
    the answer may be kept, be it only its validators."""

    seconds: int | None
    storable: bool


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a resource from another: header values as the server sent them.

    They say nothing of any other resource (RFC 9110, section 8.8.1), so `place` is whose they are: where redirects
    ended (`urls.place_of`), or None for what was asked for itself.
    """

    etag: str | None = None
    last_modified: str | None = None
    place: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], place: str | None = None) -> Self:
        """Those of an answer, weak ones too; without what is none."""
        return cls(_entity_tag(headers.get("etag")), _date_text(headers.get("last-modified")), place)

    def at(self, place: str | None) -> "Validators":
        """Those that say something of what is at a place.

        Of a query (`?`) nothing is recorded: that of a signed URL is another each time, and as good as a password.
        So where there is one it may be another one than before, and only a strong tag counts, which is made from
        the content as a rule. Files that differ in the query alone may well have the same date, or weak tag.
        """
        if place != self.place:
            return Validators()
        if not (place or "").endswith("?"):
            return self
        is_strong = self.etag and not self.etag.startswith("W/")
        return Validators(self.etag, None, self.place) if is_strong else Validators()

    def conditions(self, place: str | None = None) -> dict[str, str]:
        """The request headers that ask for a 304 while nothing has changed at a place. What is no validator,
        whoever kept it, is left out."""
        valid = self.at(place)
        conditions = {
            "If-None-Match": _entity_tag(valid.etag),
            "If-Modified-Since": _date_text(valid.last_modified),
        }
        return {name: value for name, value in conditions.items() if value is not None}

    def is_confirmed_by(self, headers: Mapping[str, str]) -> bool:
        """Whether a 304 is about what these belong to, by the validators that it repeats (RFC 9111, 4.3.4).

        One that names another state would be kept with what is here, and hide ever after that it is old.
        """
        said = Validators.of(headers)
        if self.etag and said.etag:
            return self.etag.removeprefix("W/") == said.etag.removeprefix("W/")
        if self.last_modified and said.last_modified:
            return http_date(self.last_modified) == http_date(said.last_modified)
        return True

    def updated_by(self, headers: Mapping[str, str], place: str | None = None) -> "Validators":
        """These after a 304 from a place, which need not repeat all of them."""
        said = Validators.of(headers)
        return Validators(said.etag or self.etag, said.last_modified or self.last_modified, place)

    def __bool__(self) -> bool:
        return self.etag is not None or self.last_modified is not None


def strong_validators(headers: Mapping[str, str]) -> Validators:
    """The one validator, if any, that If-Range may have: it changes with every byte (RFC 9110, section 13.1.5).

    An entity tag that isn't weak; where the server gives none at all, a Last-Modified at least a second before the
    answer's Date, since there may be two changes in one second (section 8.8.2.2).
    """
    given = headers.get("etag", "").strip()
    if given[:2].upper() == "W/":
        return Validators()
    if tag := _entity_tag(given):
        return Validators(etag=tag)
    modified, date = (http_date(headers.get(name, "")) for name in ("last-modified", "date"))
    if modified is None or date is None or date - modified < 1:
        return Validators()
    return Validators(last_modified=_date_text(headers.get("last-modified")))


def freshness(
    headers: Mapping[str, str],
    *,
    redirects: Sequence[Mapping[str, str]] = (),
    asked_at: float | None = None,
    now: float | None = None,
    longest: float = MOST_SECONDS,
) -> Freshness:
    """What is left at the moment `now` of an answer's freshness, at most `longest` seconds (RFC 9111, 4.2).

    Moments are seconds since 1970; `asked_at` is when the request was sent. `no-cache`, also of single fields,
    `Vary: *` and all that is contradictory, given twice or malformed: no seconds at all. `redirects` are the
    headers of those that led to the answer: it holds for what was asked for no longer than each of them.
    """
    now = time.time() if now is None else now
    if redirects:
        answers = [freshness(each, asked_at=asked_at, now=now, longest=longest) for each in (headers, *redirects)]
        return Freshness(min(each.seconds or 0 for each in answers), answers[0].storable)
    directives = _directives(headers.get("cache-control", ""))
    if directives is None:  # `max-age=60; no-store` means something to whoever wrote it
        return Freshness(0, "no-store" not in headers.get("cache-control", "").lower())
    if "no-store" in directives:
        return Freshness(0, storable=False)
    lifetime = _lifetime(headers, directives, now)
    if lifetime is None:
        return Freshness(None, storable=True)
    left = lifetime - _age(headers, now if asked_at is None else asked_at, now)
    return Freshness(int(max(0, min(left, longest))), storable=True)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """How many seconds after the moment `now` the server wants to be asked again; None when it doesn't say, or
    nothing that can be understood (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if (seconds := _seconds(value)) is not None:
        return seconds
    moment = http_date(value, now=now)
    return None if moment is None else max(0.0, moment - (time.time() if now is None else now))


def http_date(text: str, *, now: float | None = None) -> float | None:
    """The moment, in seconds since 1970, of an HTTP date in any of its three forms (RFC 9110, section 5.6.7); None
    for what is none. A year of two digits is one that is at most 50 years after `now`."""
    match = next(filter(None, (form.fullmatch(text.strip(" \t")) for form in _DATES)), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        this_year = datetime.fromtimestamp(time.time() if now is None else now, UTC).year
        year += (this_year + 50 - year) // 100 * 100
    month, day = _MONTHS.index(match["month"]) + 1, int(match["day"])
    second = min(int(match["second"]), 59) if match["second"] == "60" else int(match["second"])  # a leap second
    try:
        return datetime(year, month, day, int(match["hour"]), int(match["minute"]), second, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _lifetime(headers: Mapping[str, str], directives: Mapping[str, list[str | None]], now: float) -> int | None:
    """For how many seconds the answer is fresh from when its server made it; None when it doesn't say.

    `s-maxage` is for caches that several share, and `must-revalidate` is about what is stale.
    """
    pragma = "" if "cache-control" in headers else headers.get("pragma", "")
    everywhere = "no-cache" in directives or "no-cache" in (_directives(pragma) or ())
    if everywhere or "*" in _members(headers.get("vary", "")):
        return 0
    if "max-age" in directives:
        given = directives["max-age"]
        return (_seconds(given[0] or "") or 0) if len(given) == 1 else 0
    if "expires" in headers:
        expires = http_date(headers["expires"], now=now)
        date = http_date(headers.get("date", ""), now=now)
        # `Expires: 0` and the like: it has expired.
        return 0 if expires is None else min(int(expires - (now if date is None else date)), MOST_SECONDS)
    return None


def _age(headers: Mapping[str, str], asked_at: float, now: float) -> float:
    """How many seconds ago the answer was made, at least (RFC 9111, section 4.2.3): for ever, where that is told
    twice or can't be understood.

    The time since it came is a part of both sums, so it needn't be known when it came. A server whose clock is
    fast makes nothing younger than it can be.
    """
    told = _seconds(next(_members(headers.get("age", "")), "")) or 0  # what is no number is passed over (5.1)
    date = http_date(headers.get("date", ""), now=now)
    if date is None and "date" in headers:
        return math.inf
    apparent = 0 if date is None else now - date
    return max(0.0, apparent, told + max(0.0, now - asked_at))


def _directives(text: str) -> dict[str, list[str | None]] | None:
    """The arguments of each directive, in order, by its name in small letters; None for what is malformed."""
    found: dict[str, list[str | None]] = {}
    position = 0
    while position < len(text):
        match = _DIRECTIVE.match(text, position)
        if match is None:
            return None
        if match["name"]:
            quoted = match["quoted"]
            argument = match["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found.setdefault(match["name"].lower(), []).append(argument)
        position = match.end()
    return found


def _members(text: str) -> Iterator[str]:
    """The members of a list that has no quoted strings."""
    return (member.strip(" \t") for member in text.split(","))


def _seconds(text: str) -> int | None:
    """delta-seconds; None for what is none."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text.lstrip("0")[:11] or "0"), MOST_SECONDS)


def _entity_tag(text: str | None) -> str | None:
    """An entity tag, weak or not, in ASCII; None for what is none."""
    text = (text or "").strip(" \t")
    return text if len(text) <= _LONGEST_VALIDATOR and _ENTITY_TAG.fullmatch(text) else None


def _date_text(text: str | None) -> str | None:
    """A date as the server wrote it; None for what is none."""
    text = (text or "").strip(" \t")
    return text if http_date(text) is not None else None
