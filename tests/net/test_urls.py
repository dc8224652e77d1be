"""URLs: what can be asked for, and what of one is shown."""

import time

import pytest

from acistore.errors import ConnectionFailed
from acistore.net.urls import known_scheme, parse, shown


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
        "https://[secret/",
        "https://Bearer secret/",
        "https://a%00b.com/",
        "https://u:p@xn--a.com/",
        "https://" + "a" * 70_000,
    ],
)
def test_what_can_not_be_asked_for(url: str) -> None:
    with pytest.raises(ConnectionFailed):
        parse(url)


@pytest.mark.parametrize(
    "host", ["a_b.example-1.com", "127.0.0.1", "[2001:db8::1]", "[fe80::1%25eth0]", "bücher.de"]
)
def test_a_name_or_an_address_can_be_asked_for(host: str) -> None:
    assert parse(f"https://{host}:8443/a").port == 8443


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
    ("text", "scheme"),
    [("FTP://u:p@b.com/a", "ftp"), ("gopher:secret", "gopher"), ("s3cr3t:x", None), ("secret", None), ("", None)],
)
def test_of_a_place_that_a_server_names_a_known_scheme_is_told(text: str, scheme: str | None) -> None:
    assert known_scheme(text) == scheme


@pytest.mark.parametrize("piece", ["x", "//", "//a", "x://", "@", "x:/@", " "])
def test_a_long_text_is_shown_shortly_and_soon(piece: str) -> None:
    started = time.process_time()
    assert len(shown(piece * 200_000)) <= 300
    assert time.process_time() - started < 2
