"""What counts as the rest of a download, by the headers alone."""

import pytest

from acistore.net.ranges import asking_for_rest, is_complete, is_same, note_of, size_of_whole, why_not_rest

DAY, NEXT_DAY = "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT"
TAGGED = {"etag": '"1"', "length": "100"}
DATED = {"last_modified": DAY, "length": "100"}
ENDLESS = {"etag": '"1"'}


@pytest.mark.parametrize(
    ("headers", "length", "note"),
    [
        ({"etag": '"1"'}, 100, TAGGED),
        ({"etag": '"1"', "last-modified": DAY, "date": NEXT_DAY}, None, ENDLESS),
        ({"last-modified": DAY, "date": NEXT_DAY}, 100, DATED),
        ({"last-modified": DAY, "date": DAY}, 100, None),
        ({"last-modified": DAY}, 100, None),
        ({"etag": 'W/"1"', "last-modified": DAY, "date": NEXT_DAY}, 100, None),
        ({}, 100, None),
    ],
)
def test_only_what_has_a_strong_validator_is_noted(
    headers: dict[str, str], length: int | None, note: dict[str, str] | None
) -> None:
    assert note_of(headers, length) == note


@pytest.mark.parametrize(
    ("note", "condition"), [(TAGGED, '"1"'), (DATED, DAY), ({"etag": "x\r\ny"}, None), ({"length": "5"}, None)]
)
def test_the_rest_is_asked_for_on_condition(note: dict[str, str], condition: str | None) -> None:
    assert asking_for_rest(40, note) == ({"Range": "bytes=40-", "If-Range": condition} if condition else {})


@pytest.mark.parametrize(
    ("note", "content_range", "validator", "fits"),
    [
        (TAGGED, "bytes 40-99/100", {"etag": '"1"'}, True),
        (TAGGED, "Bytes 40-99/100", {"etag": '"1"'}, True),
        (TAGGED, "bytes 40-59/100", {"etag": '"1"'}, True),
        (TAGGED, "bytes 40-99/*", {"etag": '"1"'}, True),
        (ENDLESS, "bytes 40-99/100", {"etag": '"1"'}, True),
        (TAGGED, "bytes 40-99/100", {"etag": '"1"', "last-modified": DAY}, True),
        # A tag has to be there again; a date that we have sent need not (RFC 9110, section 15.3.7).
        (TAGGED, "bytes 40-99/100", {}, False),
        (TAGGED, "bytes 40-99/100", {"last-modified": DAY}, False),
        (DATED, "bytes 40-99/100", {}, True),
        (DATED, "bytes 40-99/100", {"last-modified": DAY}, True),
        (DATED, "bytes 40-99/100", {"last-modified": NEXT_DAY}, False),
        (TAGGED, "bytes 40-99/100", {"etag": '"2"'}, False),
        (TAGGED, "bytes 40-99/100", {"etag": 'W/"1"'}, False),
        (TAGGED, "bytes 40-99/100", {"etag": '"1", "1"'}, False),
        (TAGGED, "bytes 39-99/100", {"etag": '"1"'}, False),
        (TAGGED, "bytes 0-99/100", {"etag": '"1"'}, False),
        (TAGGED, "bytes 40-100/101", {"etag": '"1"'}, False),
        (TAGGED, "bytes */100", {"etag": '"1"'}, False),
        (TAGGED, "bytes 40-99", {"etag": '"1"'}, False),
        (TAGGED, "bytes 40-/100", {"etag": '"1"'}, False),
        (TAGGED, "bytes=40-99/100", {"etag": '"1"'}, False),
        (TAGGED, "bytes ٤٠-٩٩/100", {"etag": '"1"'}, False),
        (TAGGED, "bytes 40-99/100, bytes 0-1/100", {"etag": '"1"'}, False),
        (TAGGED, "items 40-99/100", {"etag": '"1"'}, False),
        (TAGGED, "", {"etag": '"1"'}, False),
        (TAGGED, None, {"etag": '"1"'}, False),
    ],
)
def test_what_the_rest_is(
    note: dict[str, str], content_range: str | None, validator: dict[str, str], fits: bool
) -> None:
    headers = validator if content_range is None else validator | {"content-range": content_range}
    assert (why_not_rest(40, note, headers) is None) is fits


@pytest.mark.parametrize(
    ("note", "headers", "complete"),
    [
        ({"etag": '"1"', "length": "40"}, {"content-range": "bytes */40"}, True),
        (ENDLESS, {"content-range": "bytes */40"}, True),
        (ENDLESS, {"content-range": "bytes */40", "etag": '"1"'}, True),
        (ENDLESS, {"content-range": "bytes */40", "etag": '"2"'}, False),
        (TAGGED, {"content-range": "bytes */40"}, False),
        (ENDLESS, {"content-range": "bytes */41"}, False),
        (ENDLESS, {"content-range": "bytes */*"}, False),
        (ENDLESS, {}, False),
    ],
)
def test_when_nothing_follows_all_is_there(note: dict[str, str], headers: dict[str, str], complete: bool) -> None:
    assert is_complete(40, note, headers) is complete


@pytest.mark.parametrize(
    ("note", "content_range", "size"),
    [
        (TAGGED, "bytes 40-99/100", 100),
        (TAGGED, "bytes 40-59/*", 100),
        (ENDLESS, "bytes 40-59/*", 60),
        ({"length": "many"}, "bytes 40-59/*", 60),
        (TAGGED, "bytes */100", None),
    ],
)
def test_how_large_the_whole_is(note: dict[str, str], content_range: str, size: int | None) -> None:
    assert size_of_whole(note, {"content-range": content_range}) == size


@pytest.mark.parametrize(
    ("note", "headers", "same"),
    [
        (TAGGED, {"etag": '"1"'}, True),
        (TAGGED, {"etag": 'W/"1"'}, False),
        (TAGGED, {}, False),
        (DATED, {"last-modified": DAY, "date": NEXT_DAY}, True),
        (DATED, {"last-modified": DAY, "date": DAY}, False),
        (DATED, {"last-modified": DAY, "date": NEXT_DAY, "etag": '"1"'}, False),
        ({}, {}, False),
    ],
)
def test_a_whole_is_the_same_only_by_a_strong_validator(
    note: dict[str, str], headers: dict[str, str], same: bool
) -> None:
    assert is_same(note, headers) is same
