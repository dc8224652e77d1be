"""URLs: what can be asked for, and what of one is shown."""

import time

import pytest

from acistore.errors import ConnectionFailed
from acistore.net.urls import parse, shown, shown_place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a",
        "https:///a",
        "https://",
        "file:///etc/passwd",
        "ftp://a.com/",
        "https://a:99999/",
        "https://a:0/",
        "https://a:-1/",
        "https://[::1/",
        "https://a.com/\x00",
        "https://xn--/",
        "https://u:p@xn--a.com/",
        "https://" + "a" * 70_000,
    ],
)
def test_what_can_not_be_asked_for(url: str) -> None:
    with pytest.raises(ConnectionFailed):
        parse(url)


def test_user_password_and_fragment_are_left_out() -> None:
    assert str(parse("https://u:p@example.com:8443/a?b=@#c")) == "https://example.com:8443/a?b=@"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("https://u:p@example.com/a", "https://example.com/a"),
        ("https://u:p/@example.com:x/a", "https://example.com:x/a"),
        ("u:p@example.com/a", "example.com/a"),
        ("mailto:u:p@example.com", "example.com"),
        ("https://u:p@", "https://"),
        ("not a URL", "not a URL"),
    ],
)
def test_what_is_shown(text: str, what: str) -> None:
    assert shown(text) == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://b.com/a?X-Amz-Signature=secret#x", "https://b.com/a"),
        ("ftp://u:p@b.com/a#secret?", "ftp://b.com/a"),
        ("https://u:p?q@b.com:x/a?secret", "https://b.com:x/a"),
        ("https://b.com/" + "a" * 70_000, "https://b.com/" + "a" * 186),
    ],
)
def test_what_is_shown_of_a_place_that_a_server_names(text: str, what: str) -> None:
    assert shown_place(text) == what


@pytest.mark.parametrize("piece", ["x", "//", "//a", "x://", "@", "x:/@", " "])
def test_a_long_text_is_shown_shortly_and_soon(piece: str) -> None:
    started = time.process_time()
    assert len(shown(piece * 200_000)) <= 300
    assert time.process_time() - started < 2
