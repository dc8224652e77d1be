"""Digests, lengths and curves: which are relied on, and which aren't, in keys, subkeys and signatures."""

from collections.abc import Callable

import pytest

from tests.gpg import KeyMaker, SigningKey
from tests.trust.hardening.conftest import IMAGE, Operator
from tests.trust.hardening.forging import (
    ENCRYPT,
    MD5,
    SHA1,
    SHORT_SUBGROUP,
    Pair,
    dsa,
    dsa_parameters,
    ecdsa,
    ed25519,
    packet,
    public_key,
    rsa,
    signed,
    signed_as_version_3,
    subkey,
    user,
)


@pytest.fixture(scope="module")
def rsa_key(maker: KeyMaker) -> SigningKey:
    return maker.key("RSA <rsa@example.com>", algorithm="rsa2048")


@pytest.mark.parametrize("digest", ["MD5", "SHA1", "RIPEMD160"])
def test_broken_digests(operator: Operator, rsa_key: SigningKey, digest: str) -> None:
    operator.trusts_key(rsa_key)
    error = operator.refuses(
        rsa_key.sign(IMAGE, digest=digest, how="--allow-weak-digest-algos --detach-sign"), "WeakSignature"
    )
    assert error["facts"]["digest"].startswith(digest)


@pytest.mark.parametrize("digest", ["SHA224", "SHA256", "SHA384", "SHA512"])
def test_sound_digests(operator: Operator, rsa_key: SigningKey, digest: str) -> None:
    operator.trusts_key(rsa_key)
    operator.admits(rsa_key.sign(IMAGE, digest=digest), rsa_key.fingerprint)


@pytest.mark.parametrize("number", [0, 6, 12, 14, 99])
def test_digests_that_gpg_does_not_know(operator: Operator, alice: Pair, number: int) -> None:
    """In the first signature one of them would keep gpg from looking at the others."""
    operator.trusts_pair(alice)
    good = signed(alice, IMAGE)
    odd = packet(2, good[6:9] + bytes([number]) + good[10:])
    operator.refuses(odd, "MalformedSignature")
    for material in (odd + good, good + odd):
        operator.admits(material, alice.fingerprint)


def test_old_form_of_signatures(operator: Operator, alice: Pair) -> None:
    """Version 3 says less of itself, and is as hard to forge."""
    operator.trusts_pair(alice)
    operator.admits(signed_as_version_3(alice, IMAGE), alice.fingerprint)
    operator.refuses(signed_as_version_3(alice, IMAGE + b"\n"), "BadSignature")
    operator.refuses(signed_as_version_3(alice, IMAGE, digest=SHA1), "WeakSignature")


# Lengths and curves

TOO_SHORT: dict[str, Callable[[], Pair]] = {
    "RSA of 1024 bits": lambda: rsa(1024),
    "RSA of 1536 bits": lambda: rsa(1536),
    "RSA of 2047 bits": lambda: rsa(2047),
    "DSA of 1024 bits": lambda: dsa(*dsa_parameters(1024)),
    "DSA of 2048 bits in a subgroup of 160": lambda: dsa(*SHORT_SUBGROUP),
    "curve of 192 bits": lambda: ecdsa("nistp192"),
    "curve of 224 bits": lambda: ecdsa("nistp224"),
}
LONG_ENOUGH: dict[str, Callable[[], Pair]] = {
    "RSA of 2048 bits": lambda: rsa(2048),
    "DSA of 2048 bits": lambda: dsa(*dsa_parameters(2048)),
    "P-256": lambda: ecdsa("nistp256"),
    "secp256k1": lambda: ecdsa("secp256k1"),
    "brainpoolP256r1": lambda: ecdsa("brainpoolP256r1"),
    "Ed25519": ed25519,
}
short_keys = pytest.mark.parametrize("make", TOO_SHORT.values(), ids=TOO_SHORT)


@short_keys
def test_short_keys(operator: Operator, make: Callable[[], Pair]) -> None:
    """Such a key can be added, with a warning, and admits nothing."""
    pair = make()
    added = operator.adds(public_key(pair, "Weak <weak@example.com>"))
    assert added.code == 0
    assert "too short" in added.err
    error = operator.refuses(signed(pair, IMAGE), "WeakSignature")
    assert "too short" in error["message"]


@pytest.mark.parametrize("make", LONG_ENOUGH.values(), ids=LONG_ENOUGH)
def test_keys_that_are_long_enough(operator: Operator, make: Callable[[], Pair]) -> None:
    pair = make()
    operator.trusts_pair(pair)
    operator.admits(signed(pair, IMAGE), pair.fingerprint)


def test_short_keys_that_gpg_makes(operator: Operator, maker: KeyMaker) -> None:
    for algorithm in ("rsa1024", "rsa1536"):
        key = maker.key(f"{algorithm} <weak@example.com>", algorithm=algorithm)
        operator.trusts_key(key)
        operator.refuses(key.sign(IMAGE), "WeakSignature")


@short_keys
def test_short_subkey_of_a_long_key(operator: Operator, alice: Pair, make: Callable[[], Pair]) -> None:
    part = make()
    operator.trusts_pair(alice, subkey(alice, part))
    operator.refuses(signed(part, IMAGE), "WeakSignature")
    operator.admits(signed(alice, IMAGE), alice.fingerprint)


def test_long_subkey_of_a_short_key(operator: Operator) -> None:
    """Whoever breaks the primary key adopts subkeys at will."""
    primary, part = rsa(1024), ed25519()
    operator.trusts_pair(primary, subkey(primary, part))
    operator.refuses(signed(part, IMAGE), "WeakSignature")


def test_short_subkey_that_does_not_sign_is_no_matter(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice, subkey(alice, rsa(1024), uses=ENCRYPT, back=False))
    operator.admits(signed(alice, IMAGE), alice.fingerprint)


# Keys that rest on a broken digest themselves. What such a signature covers was written by the key's owner, as a
# rule long ago; to forge another one takes a second preimage, and nobody can find one even for SHA-1. gpg takes
# SHA-1 there and not MD5, and so do we.


def test_key_that_has_signed_itself_with_sha1(operator: Operator) -> None:
    primary, part = rsa(2048), rsa(2048)
    key = packet(6, primary.body) + user(primary, "Old <old@example.com>", digest=SHA1)
    operator.trusts(key + subkey(primary, part, digest=SHA1), primary.fingerprint)
    for signer in (primary, part):
        operator.admits(signed(signer, IMAGE), primary.fingerprint)


def test_key_that_has_signed_itself_with_md5(operator: Operator) -> None:
    primary, part = rsa(2048), rsa(2048)
    operator.refuses_key(packet(6, primary.body) + user(primary, "Older <older@example.com>", digest=MD5))
    operator.trusts_pair(primary, subkey(primary, part, digest=MD5))
    operator.admits(signed(primary, IMAGE), primary.fingerprint)
    operator.refuses(signed(part, IMAGE), "UntrustedSigner")


def test_elgamal_signs_nothing(operator: Operator, alice: Pair) -> None:
    """Signatures of that kind gave keys away, and no program makes them any more."""
    for number in (16, 20):
        body = alice.body[:5] + bytes([number]) + (b"\x08\x00\x80" + bytes(255)) * 3
        operator.refuses_key(packet(6, body) + user(Pair(body, alice.sign), "ElGamal <elgamal@example.com>"))
