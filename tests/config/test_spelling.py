"""Which known word was probably meant by one that nobody knows."""

import pytest

from acistore.config import KEYS
from acistore.config.spelling import nearest

HOST = ("name", "ca_file", "ca_directory", "client_certificate", "client_key", "username", "password", "token")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("jobz", "jobs"),
        ("mirors", "mirrors"),
        ("mirror", "mirrors"),
        ("cafile", "ca_file"),
        ("limits.page_sice", "limits.page_size"),
        ("image_sice", "limits.image_size"),
        ("retrys", "limits.retries"),
        ("gc.graceperiod", "gc.grace_period"),
    ],
)
def test_a_slip_is_seen(word: str, meant: str) -> None:
    assert nearest(word, KEYS) == meant


@pytest.mark.parametrize(
    ("word", "meant"), [("retries", "limits.retries"), ("keep", "gc.keep"), ("limits.jobs", "jobs")]
)
def test_a_key_in_the_wrong_section_is_found_in_its_own(word: str, meant: str) -> None:
    assert nearest(word, KEYS) == meant


def test_a_word_that_was_cut_short_is_completed_rather_than_changed() -> None:
    assert nearest("client_cert", HOST) == "client_certificate"
    assert nearest("ca", HOST) == "ca_file"
    assert nearest("insecure", KEYS) == "insecure_options"


@pytest.mark.parametrize(
    "word",
    ["verbose", "no_cache", "quiet", "debug", "json", "format", "proxy", "prefix", "verify", "size", "a", "", "."],
)
def test_what_is_like_nothing_suggests_nothing(word: str) -> None:
    assert nearest(word, KEYS) is None
    assert nearest("a", []) is None
