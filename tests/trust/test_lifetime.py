"""How long a key is of use, and what is the matter with it: pure, with keys as values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from acistore.trust.keys import PublicKey, Subkey
from acistore.trust.lifetime import Problem, differences, ends_at, problem, remaining, standing
from acistore.trust.openpgp.packets import KeyBlock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MADE = datetime(2020, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
PRIMARY, FIRST, SECOND = "ab" * 20, "01" * 20, "02" * 20


def after(days: float) -> datetime:
    return NOW + timedelta(days=days)


def key(
    *subkeys: Subkey,
    expires_at: datetime | None = None,
    revoked: bool = False,
    capabilities: str = "sc",
    algorithm: str = "ed25519",
    bits: int = 256,
) -> PublicKey:
    return PublicKey(
        KeyBlock(PRIMARY, tuple(each.fingerprint for each in subkeys), b""),
        ("Release <release@example.com>",),
        algorithm,
        bits,
        MADE,
        expires_at,
        expired=expires_at is not None and expires_at <= NOW,
        revoked=revoked,
        subkeys=subkeys,
        capabilities=capabilities,
    )


def subkey(
    expires_at: datetime | None = None,
    *,
    fingerprint: str = FIRST,
    revoked: bool = False,
    capabilities: str = "s",
    algorithm: str = "ed25519",
    bits: int = 256,
) -> Subkey:
    expired = expires_at is not None and expires_at <= NOW
    return Subkey(fingerprint, algorithm, bits, capabilities, MADE, expires_at, expired, revoked)


ENDS = [
    (key(), None),
    (key(expires_at=after(5)), after(5)),
    (key(subkey(after(5))), None),  # the primary key signs too
    (key(subkey(after(5)), capabilities="c"), after(5)),
    (key(subkey(after(5)), subkey(after(9), fingerprint=SECOND), capabilities="c"), after(9)),
    (key(subkey(after(5)), subkey(None, fingerprint=SECOND), capabilities="c"), None),
    (key(subkey(after(5)), subkey(None, fingerprint=SECOND, revoked=True), capabilities="c"), after(5)),
    (key(subkey(after(9)), capabilities="c", expires_at=after(5)), after(5)),
    (key(subkey(after(5)), subkey(None, fingerprint=SECOND, capabilities="e"), capabilities="c"), after(5)),
    (key(subkey(after(-5)), capabilities="c"), after(-5)),
    (key(subkey(after(-5)), subkey(after(-9), fingerprint=SECOND), capabilities="c"), after(-5)),
    (
        key(subkey(after(5)), subkey(None, fingerprint=SECOND, algorithm="rsa", bits=1024), capabilities="c"),
        after(5),
    ),
    (key(subkey(after(7), algorithm="rsa", bits=1024), capabilities="c"), after(7)),
    (key(subkey(after(5), revoked=True), capabilities="c", expires_at=after(9)), after(9)),
    (key(capabilities="c", expires_at=after(9)), after(9)),
    (key(subkey(None, capabilities="e"), capabilities="c"), None),
]


@pytest.mark.parametrize(("given", "end"), ENDS)
def test_a_key_ends_with_the_last_part_that_can_sign(given: PublicKey, end: datetime | None) -> None:
    assert ends_at(given) == end


STANDINGS = [
    (key(), "valid"),
    (key(revoked=True, expires_at=after(-5)), "revoked"),
    (key(expires_at=after(-5)), "expired"),
    (key(subkey(after(-5))), "valid"),
    (key(subkey(after(-5)), capabilities="c"), "expired"),
    (key(subkey(after(-5)), subkey(fingerprint=SECOND), capabilities="c"), "valid"),
    (key(subkey(revoked=True), capabilities="c"), "revoked"),
    (key(subkey(revoked=True), subkey(after(-5), fingerprint=SECOND), capabilities="c"), "expired"),
    (key(subkey(capabilities="e"), capabilities="c"), "valid"),
]


@pytest.mark.parametrize(("given", "expected"), STANDINGS)
def test_what_a_key_can_still_do(given: PublicKey, expected: str) -> None:
    assert standing(given) == expected


PROBLEMS = [
    (key(), None),
    (key(expires_at=after(31)), None),
    (key(expires_at=after(30)), Problem("expiring", "expires in 30 days")),
    (key(expires_at=after(1.5)), Problem("expiring", "expires in 1 day")),
    (key(expires_at=after(0.5)), Problem("expiring", "expires within a day")),
    (key(expires_at=after(-5)), Problem("expired", "expired on 2026-05-27")),
    (key(subkey(after(3)), capabilities="c"), Problem("expiring", "expires in 3 days")),
    (key(subkey(after(-5)), capabilities="c"), Problem("expired", "expired on 2026-05-27")),
    (key(revoked=True), Problem("revoked", "revoked by its owner")),
    (
        key(subkey(revoked=True), capabilities="c"),
        Problem("revoked", "what signs for it was revoked by its owner"),
    ),
    (key(algorithm="rsa", bits=2047), Problem("weak", "too short: what it signs is refused")),
    (key(algorithm="rsa", bits=2048), None),
    (
        key(subkey(algorithm="dsa", bits=1024), capabilities="c"),
        Problem("weak", "too short: what it signs is refused"),
    ),
    (
        key(subkey(), algorithm="dsa", bits=1024, capabilities="c"),
        Problem("weak", "too short: what it signs is refused"),
    ),
    (key(subkey(algorithm="rsa", bits=1024)), None),
    (key(subkey(capabilities="e"), capabilities="c"), Problem("cannot_sign", "nothing in it can sign")),
    (key(capabilities="c"), Problem("cannot_sign", "nothing in it can sign")),
]


@pytest.mark.parametrize(("given", "expected"), PROBLEMS)
def test_what_is_the_matter_with_a_key(given: PublicKey, expected: Problem | None) -> None:
    assert problem(given, NOW, MONTH) == expected


def test_how_soon_is_soon_is_the_askers_choice() -> None:
    assert problem(key(expires_at=after(5)), NOW, timedelta(0)) is None
    assert problem(key(expires_at=after(300)), NOW, timedelta(days=365)) == Problem(
        "expiring", "expires in 300 days"
    )
    assert remaining(None, NOW, timedelta(days=10_000)) is None


def test_what_has_changed_is_told_in_words() -> None:
    old = key(subkey(after(5)), expires_at=after(10))
    assert list(differences(old, old)) == []
    shown = "0101 0101 0101 0101 0101 0101 0101 0101 0101 0101"
    new = replace(
        old,
        expires_at=None,
        user_ids=("New <new@example.com>",),
        subkeys=(subkey(after(50), revoked=True), subkey(fingerprint=SECOND)),
    )
    assert list(differences(old, new)) == [
        "expires never, was 2026-06-11",
        f"subkey {shown} revoked by its owner",
        f"subkey {shown} expires 2026-07-21, was 2026-06-06",
        f"new subkey {shown.replace('0', '').replace('1', '02')}, expires never",
        "new user ID New <new@example.com>",
        "withdrawn user ID Release <release@example.com>",
    ]
    assert list(differences(old, replace(old, revoked=True))) == ["revoked by its owner"]
    assert list(differences(old, replace(old, subkeys=(subkey(after(5), capabilities="e"),)))) == [
        f"subkey {shown} has other uses"
    ]
