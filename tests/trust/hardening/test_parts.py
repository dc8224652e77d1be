"""Which part of a key may sign, and whose part it is: subkeys, good, misused and stolen."""

from collections.abc import Callable

import pytest

from tests.fetch.conftest import HOST, NAME
from tests.gpg import KeyMaker
from tests.trust.hardening.conftest import IMAGE, IMAGE_URL, Operator
from tests.trust.hardening.forging import (
    CERTIFY,
    DAY,
    ENCRYPT,
    LONG_AGO,
    SIGN,
    Pair,
    binding,
    ed25519,
    packet,
    public_key,
    rsa,
    signed,
    subkey,
    subkey_revocation,
)


@pytest.fixture(scope="module")
def part() -> Pair:
    """A subkey, or what is to pass for one."""
    return ed25519()


# A key's own


def test_subkey_signs_for_its_primary_key(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Subkey <subkey@example.com>", usage="cert")
    subkey = key.add_subkey()
    operator.trusts_key(key)
    operator.admits(key.sign(IMAGE, subkey=subkey), key.fingerprint)


def test_encryption_subkey_does_not_sign(operator: Operator, alice: Pair) -> None:
    """An RSA key can do both; what it is for is what its owner says."""
    part = rsa(2048)
    operator.trusts_pair(alice, subkey(alice, part, uses=ENCRYPT, back=False))
    error = operator.refuses(signed(part, IMAGE), "UntrustedSigner")
    assert "not for signing" in error["message"]


def test_encryption_subkey_does_not_sign_although_it_agrees_to_be_one(operator: Operator, alice: Pair) -> None:
    part = rsa(2048)
    operator.trusts_pair(alice, subkey(alice, part, uses=ENCRYPT))
    operator.refuses(signed(part, IMAGE), "UntrustedSigner")


def test_subkey_that_its_owner_no_longer_signs_with(operator: Operator, alice: Pair) -> None:
    part = rsa(2048)
    before = subkey(alice, part, uses=SIGN)
    signature = signed(part, IMAGE, at=LONG_AGO + DAY)
    operator.trusts_pair(alice, before)
    operator.admits(signature, alice.fingerprint)
    operator.trusts_pair(alice, before, binding(alice, part, uses=ENCRYPT, at=LONG_AGO + 2 * DAY))
    operator.refuses(signature, "UntrustedSigner")


def test_primary_key_that_only_certifies_does_not_sign(operator: Operator, alice: Pair, part: Pair) -> None:
    operator.trusts_pair(alice, subkey(alice, part), uses=CERTIFY)
    operator.refuses(signed(alice, IMAGE), "UntrustedSigner")
    operator.admits(signed(part, IMAGE), alice.fingerprint)


def test_subkey_that_has_not_agreed_to_be_one(operator: Operator, alice: Pair, part: Pair) -> None:
    """Without a signature back by the subkey, anybody could adopt it and claim what it has signed."""
    operator.trusts_pair(alice, subkey(alice, part, back=False))
    operator.refuses(signed(part, IMAGE), "MalformedSignature")


def test_subkey_that_its_primary_key_does_not_vouch_for(operator: Operator, alice: Pair, eve: Pair) -> None:
    """Eve has put her own key into Alice's, and has signed the adoption herself."""
    operator.trusts_pair(alice, packet(14, eve.body) + binding(eve, eve))
    operator.refuses(signed(eve, IMAGE), "UntrustedSigner")
    operator.admits(signed(alice, IMAGE), alice.fingerprint)


# Stolen. In gpg's keyring a subkey belongs to whoever it came with first, and a key that is there as a subkey is
# not taken in as a primary one: Alice's signatures would be nobody's.

Theft = Callable[[Pair, Pair, Pair], bytes]

THEFTS: dict[str, Theft] = {
    "subkey": lambda eve, _alice, part: subkey(eve, part, back=False),
    "subkey, called one for encryption": lambda eve, _alice, part: subkey(eve, part, uses=ENCRYPT, back=False),
    "subkey, called revoked": lambda eve, _alice, part: (
        subkey(eve, part, back=False) + subkey_revocation(eve, part)
    ),
    "subkey, claimed without proof": lambda _eve, _alice, part: packet(14, part.body),
    "primary key": lambda eve, alice, _part: subkey(eve, alice, back=False),
}
in_every_way = pytest.mark.parametrize("theft", THEFTS.values(), ids=THEFTS)


def stolen(theft: Theft, eve: Pair, alice: Pair, part: Pair) -> bytes:
    """Eve's key, with what is Alice's in it."""
    return public_key(eve, "Eve <eve@example.net>", theft(eve, alice, part))


@in_every_way
def test_stolen_part_still_signs_for_its_owner_alone(
    operator: Operator, alice: Pair, part: Pair, theft: Theft
) -> None:
    """Both keys are trusted for the same name, and Eve's comes first."""
    operator.trusts_pair(alice, subkey(alice, part))
    eve = next(pair for pair in iter(ed25519, None) if pair.fingerprint < alice.fingerprint)
    operator.trusts(stolen(theft, eve, alice, part), eve.fingerprint)
    for signer, owner in ((alice, alice), (part, alice), (eve, eve)):
        operator.admits(signed(signer, IMAGE), owner.fingerprint)
    operator.refuses(signed(part, b"another image"), "BadSignature")
    listed = {key["fingerprint"]: key["state"] for key in operator.trusted()}
    assert listed == {alice.fingerprint: "valid", eve.fingerprint: "valid"}


def test_order_of_keys_does_not_matter(operator: Operator, alice: Pair, part: Pair) -> None:
    operator.trusts_pair(alice, subkey(alice, part))
    eve = next(pair for pair in iter(ed25519, None) if pair.fingerprint > alice.fingerprint)
    both = subkey(eve, part, back=False) + subkey(eve, alice, back=False)
    operator.trusts(public_key(eve, "Eve <eve@example.net>", both), eve.fingerprint)
    for signer, owner in ((alice, alice), (part, alice), (eve, eve)):
        operator.admits(signed(signer, IMAGE), owner.fingerprint)


@in_every_way
def test_key_trusted_for_another_name_disturbs_nobody(
    operator: Operator, alice: Pair, part: Pair, eve: Pair, theft: Theft
) -> None:
    """An image from a URL has no name at first, and is held against every key that is trusted for anything."""
    operator.trusts_pair(alice, subkey(alice, part))
    operator.trusts(stolen(theft, eve, alice, part), eve.fingerprint, "example.com/aaa")
    operator.admits(signed(part, IMAGE), alice.fingerprint, IMAGE_URL)
    operator.refuses(signed(eve, IMAGE), "UntrustedSigner", IMAGE_URL)


@in_every_way
def test_thief_signs_for_nobody(operator: Operator, alice: Pair, part: Pair, eve: Pair, theft: Theft) -> None:
    """Eve's key alone is trusted, and claims what Alice has signed."""
    operator.trusts(stolen(theft, eve, alice, part), eve.fingerprint)
    for signer in (alice, part):
        ran = operator.fetch(signed(signer, IMAGE))
        assert ran.code == 4
        assert ran.error["kind"] in ("UntrustedSigner", "MalformedSignature", "RevokedKey")


def test_thief_does_not_revoke_what_is_stolen(operator: Operator, alice: Pair, part: Pair, eve: Pair) -> None:
    """Eve has two versions of her key about; what a copy says is revoked counts, but for her own parts alone."""
    operator.trusts_pair(alice, subkey(alice, part))
    revoked = subkey(eve, part, back=False) + subkey_revocation(eve, part)
    for prefix, more in (("example.com/aaa", b""), ("example.net", subkey(eve, ed25519()))):
        operator.trusts(public_key(eve, "Eve <eve@example.net>", revoked, more), eve.fingerprint, prefix)
    operator.admits(signed(part, IMAGE), alice.fingerprint, IMAGE_URL)
    operator.admits(signed(part, IMAGE), alice.fingerprint)


@pytest.mark.parametrize("what", ["primary", "part"])
def test_thief_with_a_newer_version_does_not_revoke_what_is_stolen(
    operator: Operator, alice: Pair, part: Pair, eve: Pair, what: str
) -> None:
    """Eve's key is trusted for the same name, and one copy of it calls Alice's a revoked subkey of hers. That
    undoes nothing that has been admitted, either."""
    stolen = {"primary": alice, "part": part}[what]
    operator.trusts_pair(alice, subkey(alice, part))
    operator.trusts(public_key(eve, "Eve <eve@example.net>"), eve.fingerprint, HOST)
    signature = signed(stolen, IMAGE)
    operator.admits(signature, alice.fingerprint)
    theft = subkey(eve, stolen, back=False) + subkey_revocation(eve, stolen)
    operator.trusts(public_key(eve, "Eve <eve@example.net>", theft), eve.fingerprint, NAME)
    operator.admits(signature, alice.fingerprint)
    assert operator.fetch(signature).code == 0
    assert operator.run("verify", "--trust").code == 0


def test_subkey_of_two_keys_that_both_have_agreed(operator: Operator, alice: Pair, eve: Pair, part: Pair) -> None:
    """Whoever holds the subkey's secret can do that: it signs for both."""
    operator.trusts_pair(alice, subkey(alice, part))
    operator.trusts(public_key(eve, "Eve <eve@example.net>", subkey(eve, part)), eve.fingerprint, "example.net")
    operator.admits(signed(part, IMAGE), alice.fingerprint)


# Versions of one key


def test_old_version_of_a_key_for_another_name_does_not_undo_the_new_one(
    operator: Operator, maker: KeyMaker
) -> None:
    key = maker.key("Renewed <renewed@example.com>", at="20200101T000000", expires="1y")
    operator.trusts_key(key, "example.net")
    signature = key.sign(IMAGE, at="20200601T000000")
    key.expire("0", at="20200602T000000")
    operator.trusts_key(key, NAME)
    for wanted in (f"{NAME}:1.0", IMAGE_URL):
        operator.admits(signature, key.fingerprint, wanted)


def test_key_that_is_revoked_in_one_place_is_revoked(operator: Operator, maker: KeyMaker) -> None:
    key = maker.key("Revoked elsewhere <elsewhere@example.com>")
    operator.trusts_key(key, "example.com")
    signature = key.sign(IMAGE)
    operator.admits(signature, key.fingerprint, IMAGE_URL)
    key.revoke()
    operator.trusts_key(key, "example.net")
    operator.refuses(signature, "RevokedKey", IMAGE_URL)
