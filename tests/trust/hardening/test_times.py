"""What has expired, was revoked, or is still to come: by the clock of whoever fetches, whenever it was signed."""

from tests.conftest import LONG_AGO as ISO_LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.trust.hardening.conftest import IMAGE, Operator
from tests.trust.hardening.forging import (
    DAY,
    LONG_AGO,
    Pair,
    ed25519,
    now,
    public_key,
    seconds,
    signed,
    subkey,
    subpacket,
)

IN_TIME = "20200601T000000"
"""When keys that have ended by now had not."""


def test_key_that_has_expired(operator: Operator, expired: SigningKey) -> None:
    operator.trusts_key(expired)
    error = operator.refuses(expired.sign(IMAGE, at=IN_TIME), "ExpiredKey")
    assert error["facts"]["expired"].startswith("2020-12-31 ")


def test_key_that_expired_after_it_had_signed(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Short-lived <short@example.com>", at=ISO_LONG_AGO)
    signature = key.sign(IMAGE, at=IN_TIME)
    operator.trusts_key(key)
    operator.admits(signature, key.fingerprint)
    key.expire("1y", at="20200301T000000")
    operator.trusts_key(key)
    operator.refuses(signature, "ExpiredKey")


def test_key_that_signed_after_it_had_expired(operator: Operator) -> None:
    """gpg would not, but whoever has the key can."""
    pair = ed25519()
    key = public_key(pair, "Gone <gone@example.com>", hashed=subpacket(9, seconds(30 * DAY)))
    operator.trusts(key, pair.fingerprint)
    operator.refuses(signed(pair, IMAGE), "ExpiredKey")
    operator.refuses(signed(pair, IMAGE, at=LONG_AGO + DAY), "ExpiredKey")


def test_key_that_was_revoked(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Revoked <revoked@example.com>", at=ISO_LONG_AGO)
    signature = key.sign(IMAGE, at=IN_TIME)
    operator.trusts_key(key)
    operator.admits(signature, key.fingerprint)
    key.revoke()
    operator.trusts_key(key)
    error = operator.refuses(signature, "RevokedKey")
    assert error["next"].startswith("acistore trust ")


def test_revoked_subkey_counts_only_where_it_has_signed(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Subkeys <subkeys@example.com>", usage="cert")
    first, second = key.add_subkey(), key.add_subkey()
    by_first, by_second = key.sign(IMAGE, subkey=first), key.sign(IMAGE, subkey=second)
    key.revoke_subkey(1)
    operator.trusts_key(key)
    operator.refuses(by_first, "RevokedKey")
    operator.admits(by_second, key.fingerprint)


def test_expired_subkey_counts_only_where_it_has_signed(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Old subkey <old-subkey@example.com>", usage="cert", at=ISO_LONG_AGO)
    old = key.add_subkey(at=ISO_LONG_AGO, expires="1y")
    by_old = key.sign(IMAGE, subkey=old, at=IN_TIME)
    new = key.add_subkey()
    operator.trusts_key(key)
    operator.refuses(by_old, "ExpiredKey")
    operator.admits(key.sign(IMAGE, subkey=new), key.fingerprint)


def test_signature_that_has_expired(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    error = operator.refuses(release.sign(IMAGE, at=IN_TIME, expires="1d"), "ExpiredSignature")
    assert error["facts"]["expired"] == "2020-06-02 00:00 UTC"
    operator.admits(release.sign(IMAGE, expires="1d"), release.fingerprint)


def test_signature_that_has_two_ends(operator: Operator, alice: Pair) -> None:
    """gpg goes by the first, and so does what is recorded."""
    operator.trusts_pair(alice)
    at_once, never = subpacket(3, seconds(1)), subpacket(3, seconds(0))
    operator.refuses(signed(alice, IMAGE, hashed=at_once + never), "ExpiredSignature")
    operator.admits(signed(alice, IMAGE, hashed=never + at_once), alice.fingerprint)


# What is still to come. One of two clocks is wrong then; if it is this machine's, what has expired is not seen to
# have. gpg says nothing about it.


def test_signature_from_the_future(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    error = operator.refuses(release.sign(IMAGE, at="20990101T000000"), "MalformedSignature")
    assert "still to come" in error["message"]
    assert error["facts"]["signed at"] == "2099-01-01 00:00 UTC"
    assert "clock" in error["next"]


def test_signature_with_two_times(operator: Operator, alice: Pair) -> None:
    """gpg goes by the first."""
    operator.trusts_pair(alice)
    issuer = subpacket(33, b"\x04" + bytes.fromhex(alice.fingerprint))
    past, future = subpacket(2, seconds(now() - 60)), subpacket(2, seconds(now() + DAY))
    operator.refuses(signed(alice, IMAGE, whole_area=future + past + issuer), "MalformedSignature")


def test_clocks_may_differ_by_minutes(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    operator.admits(signed(alice, IMAGE, at=now() + 120), alice.fingerprint)
    operator.refuses(signed(alice, IMAGE, at=now() + 1200), "MalformedSignature")


def test_signature_without_a_time(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    issuer = subpacket(33, b"\x04" + bytes.fromhex(alice.fingerprint))
    operator.refuses(signed(alice, IMAGE, whole_area=issuer), "MalformedSignature")


def test_signature_made_before_its_key(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Time traveller <time@example.com>", at="20210101T000000")
    operator.trusts_key(key)
    early = key.sign(IMAGE, at=IN_TIME, how="--ignore-time-conflict --detach-sign")
    operator.refuses(early, "MalformedSignature")


def test_key_from_the_future(operator: Operator) -> None:
    pair = ed25519(now() + 30 * DAY)
    key = public_key(pair, "Tomorrow <tomorrow@example.com>")
    assert "still to be made" in operator.refuses_key(key)["message"]
    operator.trusts(key, pair.fingerprint)
    for at in (now(), now() + 31 * DAY):
        operator.refuses(signed(pair, IMAGE, at=at), "UntrustedSigner")
        assert "gpg does not accept it: by this machine's clock it is still to be made" in operator.warning


def test_subkey_from_the_future(operator: Operator, alice: Pair) -> None:
    part = ed25519(now() + 30 * DAY)
    operator.trusts_pair(alice, subkey(alice, part, at=now() - 60))
    for at in (now(), now() + 31 * DAY):
        error = operator.refuses(signed(part, IMAGE, at=at), "MalformedSignature")
        assert "still to come" in error["message"]
    operator.admits(signed(alice, IMAGE), alice.fingerprint)
