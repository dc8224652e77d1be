"""The order of versions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.versions import is_older, is_same

# Each line from the oldest to the newest.
ORDERS = [
    # SemVer 2.0, section 11
    ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"],
    ["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1"],
    ["0.9", "0.10", "1", "1.1", "1.1.1", "1.2", "10"],
    ["1.0a1", "1.0b1", "1.0b2", "1.0rc1", "1.0rc2", "1.0rc10", "1.0", "1.0.1rc1", "1.0.1"],
    ["1.0.2", "1.0.2a", "1.0.2k", "1.0.2l", "1.0.3"],
    ["3.0a", "3.1", "3.1a", "3.1b", "3.1c", "3.2-rc", "3.2"],
    ["v1.2.3", "1.2.4", "v1.2.10"],
    ["2025.12.31", "2026.1.1", "2026.11.26"],
    ["20251231", "20260101T000000Z", "20260101T000001Z", "20260102"],
    ["1.0-2", "1.0-10", "1.0"],
    ["bookworm-11", "bookworm-12", "trixie-1"],
    ["1.0.0", "1.0.0.1"],
]


@pytest.mark.parametrize("order", ORDERS)
def test_order(order: list[str]) -> None:
    for older, newer in itertools.combinations(order, 2):
        assert is_older(older, newer), (older, newer)
        assert not is_older(newer, older), (newer, older)
        assert not is_same(older, newer)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0.0"), ("v2", "2.0"), ("1.0+linux", "1.0+darwin"), ("01.2", "1.02"), ("", "0")]
)
def test_one_version_in_other_words(one: str, other: str) -> None:
    assert is_same(one, other)
    assert not is_older(one, other)
    assert not is_older(other, one)


VERSIONS = st.text(st.sampled_from("0123456789abcrcv.-+_~ é٣"), max_size=12) | st.text(max_size=8)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_any_text_has_a_place_in_one_order(one: str, other: str, third: str) -> None:
    assert is_same(one, one)
    assert is_older(one, other) + is_older(other, one) + is_same(one, other) == 1
    if is_older(one, other) and is_older(other, third):
        assert is_older(one, third)
    if is_same(one, other) and is_same(other, third):
        assert is_same(one, third)


def test_a_number_of_any_length_is_compared_in_no_time() -> None:
    """Python refuses to read more than 4,300 digits, and a label may have more."""
    assert is_older("1." + "9" * 100_000, "1.1" + "0" * 100_000)
    assert is_older("1." * 50_000 + "1", "1." * 50_000 + "2")
