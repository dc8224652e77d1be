"""Versions, dates, URLs, quantities and variable names: what is one and what isn't."""

from collections.abc import Callable

import pytest

from acistore.manifest.values import check_date, check_quantity, check_semver, check_url, check_variable

Check = Callable[[str], str]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        *((check_semver, text) for text in ("0.8.11", "0.0.1", "1.0.0-rc.1+build.7", "0.0.0-a", "0.0.0+a")),
        *((check_semver, text) for text in ("1.0.0--", "1.0.0-0a", f"{2**63 - 1}.0.0")),
        *((check_date, text) for text in ("2016-02-29T00:00:00Z", "2000-02-29T23:59:59.5+14:00")),
        *((check_date, text) for text in ("0000-02-29T00:00:00Z", "2014-10-27T19:32:27.1234567890123Z")),
        *((check_url, text) for text in ("http://a", "HTTPS://user:pw@example.com:8443/a%20b?q=%#f")),
        *((check_url, text) for text in ("http://[::1]:80/", "https://example.com/a b", "https://é.example")),
        *((check_quantity, text) for text in ("0", "1", "-1", "+1.5", "1.", ".5", "500m", "1n", "1u")),
        *((check_quantity, text) for text in ("64k", "2G", "1E", "128Mi", "1Ei", "1e3", "1E-3", "1e+3")),
        *((check_variable, text) for text in ("A", "_", "PATH_1", "a.b-c")),
    ],
)
def test_text_in_the_right_form_is_returned_as_it_is(check: Check, text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(
    ("check", "text"),
    [
        *((check_semver, text) for text in ("0.0.0", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0-")),
        *((check_semver, text) for text in ("1.0.0-01", "1.0.0+", "1.0.0\n", "1.0.٣", f"{2**63}.0.0")),
        (check_semver, f"{'9' * 10_000}.0.0"),
        *((check_date, text) for text in ("2015-02-29T00:00:00Z", "1900-02-29T00:00:00Z")),
        *((check_date, text) for text in ("2014-04-31T00:00:00Z", "2014-13-01T00:00:00Z")),
        *((check_date, text) for text in ("2014-10-27 19:32:27Z", "2014-10-27t19:32:27z")),
        *((check_date, text) for text in ("2014-10-27T19:32:60Z", "2014-10-27T9:32:27Z", "yesterday")),
        *((check_date, text) for text in ("2014-10-27T19:32:27.Z", "2014-10-27T19:32:27+24:00")),
        *((check_date, text) for text in ("2014-10-27T19:32:27Z\n", "٢014-10-27T19:32:27Z")),
        *((check_url, text) for text in ("", "example.com", "ftp://a", "http:", "http://", "http:///a")),
        *((check_url, text) for text in ("http://a\n", "http://a b", "http://a/%zz", "http://a:x/")),
        (check_url, "httpſ://a"),
        *((check_quantity, text) for text in ("", "+", ".", "M", "1K", "1X", "1MM", "1e", "1Ki5", " 1", "1\n")),
        *((check_quantity, text) for text in ("1,5", "٣", "1.2.3", "1e99999999999999999999")),
        *((check_variable, text) for text in ("", "1A", "A B", "-A", "A=", "A\n", "É")),
    ],
)
def test_text_in_another_form_is_refused(check: Check, text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        check(text)


@pytest.mark.parametrize("check", [check_date, check_quantity, check_semver, check_url, check_variable])
@pytest.mark.parametrize("text", ["1" * 200_000, "1.0.0-" + "1a.-" * 50_000, "http://" + "%20" * 60_000])
def test_hostile_text_of_any_length_is_refused_at_once(check: Check, text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        check(f"{text}\n")
