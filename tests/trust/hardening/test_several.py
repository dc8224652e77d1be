"""Several signatures in one file: all are judged, in whatever order, and nobody counts twice."""

import itertools
from collections.abc import Iterable

import pytest

from acistore.trust.openpgp.framing import armored
from tests.fetch.conftest import NAME
from tests.gpg import SigningKey
from tests.trust.hardening.conftest import IMAGE, Operator
from tests.trust.hardening.forging import (
    Pair,
    ecdsa,
    ed25519,
    signed,
    signed_as_version_3,
    subkey,
    subpacket,
)

OTHER_IMAGE = IMAGE + b"\n"


def in_every_order(parts: Iterable[bytes]) -> Iterable[bytes]:
    return map(b"".join, itertools.permutations(parts))


def test_bad_one_refuses_the_image_in_any_order(
    operator: Operator, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    operator.trusts_key(release)
    operator.trusts_key(other)
    good, bad, strange = release.sign(IMAGE), other.sign(OTHER_IMAGE), stranger.sign(IMAGE)
    for material in in_every_order([good, bad, strange]):
        operator.refuses(material, "BadSignature")


def test_bad_one_and_a_good_one_by_the_same_key(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    for material in in_every_order([signed(alice, IMAGE), signed(alice, OTHER_IMAGE)]):
        operator.refuses(material, "BadSignature")


def test_strangers_do_not_count_good_or_bad(operator: Operator, release: SigningKey, stranger: SigningKey) -> None:
    operator.trusts_key(release)
    good, strange, bad_and_strange = release.sign(IMAGE), stranger.sign(IMAGE), stranger.sign(OTHER_IMAGE)
    for material in in_every_order([good, strange, bad_and_strange]):
        operator.admits(material, release.fingerprint)
    operator.refuses(strange + bad_and_strange, "UntrustedSigner")


def test_good_one_outweighs_weak_and_expired_ones(
    operator: Operator, release: SigningKey, other: SigningKey
) -> None:
    operator.trusts_key(release)
    operator.trusts_key(other)
    weak = other.sign(IMAGE, digest="SHA1")
    expired = other.sign(IMAGE, at="20200601T000000", expires="1d")
    for material in in_every_order([release.sign(IMAGE), weak, expired]):
        operator.admits(material, release.fingerprint)
    operator.refuses(weak + expired, "ExpiredSignature")


# As many signers as the policy demands


def demand_two(operator: Operator) -> None:
    path = operator.top / "local" / "acistore.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'[[policies]]\nprefix = "{NAME}"\nthreshold = 2\n')


def test_signer_counts_once_however_often_he_has_signed(operator: Operator, alice: Pair, eve: Pair) -> None:
    """The same signature twice, another one by the same key, and one by a subkey of it are one signer's."""
    demand_two(operator)
    part, bob = ed25519(), ed25519()
    operator.trusts_pair(alice, subkey(alice, part))
    operator.trusts_pair(bob)
    one, another, by_subkey = signed(alice, IMAGE), signed(alice, IMAGE, at=1700000000), signed(part, IMAGE)
    old_form = signed_as_version_3(alice, IMAGE)
    operator.refuses(one + one, "TooFewSigners")
    operator.refuses(one + another + by_subkey + old_form + signed(eve, IMAGE), "TooFewSigners")
    operator.refuses(one + signed(bob, OTHER_IMAGE), "BadSignature")
    assert operator.fetch(one + signed(bob, IMAGE)).code == 0


def test_signer_counts_once_whatever_stands_in_the_unsigned_part(operator: Operator, alice: Pair) -> None:
    """Anybody can write anything there: of one signature that makes many."""
    demand_two(operator)
    operator.trusts_pair(alice)
    operator.trusts_pair(ed25519())
    at = 1700000000
    copies = [signed(alice, IMAGE, at=at, unhashed=subpacket(100, bytes([number]))) for number in range(3)]
    operator.refuses(b"".join(copies), "TooFewSigners")


def test_key_in_two_places_is_one_signer(operator: Operator, alice: Pair) -> None:
    demand_two(operator)
    for prefix in (None, "example.com", NAME):
        operator.trusts_pair(alice, prefix=prefix)
    operator.refuses(signed(alice, IMAGE), "TooFewSigners")


# Who claims to have signed is not who has


def test_stranger_who_claims_a_trusted_key(operator: Operator, alice: Pair, eve: Pair) -> None:
    operator.trusts_pair(alice)
    fingerprint = subpacket(33, b"\x04" + bytes.fromhex(alice.fingerprint))
    key_id = subpacket(16, bytes.fromhex(alice.fingerprint)[-8:])
    made = subpacket(2, (1700000000).to_bytes(4, "big"))
    for claim in (fingerprint, key_id, fingerprint + key_id):
        operator.refuses(signed(eve, IMAGE, whole_area=made + claim, unhashed=b""), "BadSignature")
    operator.refuses(signed(eve, IMAGE, whole_area=made, unhashed=key_id), "BadSignature")
    operator.refuses(signed(eve, IMAGE, whole_area=made, unhashed=fingerprint), "MalformedSignature")
    # Both at once: what stands in the signed part counts, and that is Eve.
    operator.refuses(signed(eve, IMAGE, unhashed=fingerprint + key_id), "UntrustedSigner")


def test_trusted_signer_who_claims_to_be_somebody_else(operator: Operator, alice: Pair, eve: Pair) -> None:
    operator.trusts_pair(alice)
    operator.trusts_pair(eve, prefix="example.net")
    made = subpacket(2, (1700000000).to_bytes(4, "big"))
    of_eve = subpacket(33, b"\x04" + bytes.fromhex(eve.fingerprint))
    of_alice = subpacket(16, bytes.fromhex(alice.fingerprint)[-8:])
    operator.refuses(signed(alice, IMAGE, whole_area=made + of_eve, unhashed=of_alice), "UntrustedSigner")


def test_signature_by_nobody(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    made = subpacket(2, (1700000000).to_bytes(4, "big"))
    operator.refuses(signed(alice, IMAGE, whole_area=made, unhashed=b""), "UntrustedSigner")


def test_part_of_a_key_id_claims_nobody(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    for digits in (2, 8, 14, 18, 40):
        claim = subpacket(16, bytes.fromhex(alice.fingerprint[-digits:]))
        made = subpacket(2, (1700000000).to_bytes(4, "big"))
        error = operator.refuses(signed(alice, IMAGE, whole_area=made, unhashed=claim), "UntrustedSigner")
        assert error["facts"]["signed by"] == "nobody by name"


def test_key_id_alone_finds_the_key_and_the_fingerprint_is_what_is_recorded(
    operator: Operator, alice: Pair
) -> None:
    operator.trusts_pair(alice)
    made = subpacket(2, (1700000000).to_bytes(4, "big"))
    operator.admits(signed(alice, IMAGE, whole_area=made), alice.fingerprint)


# No more than anybody needs


@pytest.mark.parametrize("count", [101, 1000, 8000])
def test_many_signatures_are_refused_before_any_is_checked(operator: Operator, alice: Pair, count: int) -> None:
    operator.trusts_pair(alice)
    error = operator.refuses(signed(alice, IMAGE) * count, "MalformedSignature")
    assert "more than 100 signatures" in error["message"]


def test_a_hundred_thousand_tiny_ones(operator: Operator, alice: Pair) -> None:
    """As many packets as there is room for in a file of signatures."""
    operator.trusts_pair(alice)
    tiny = b"\xc2\x0a" + b"\x04\x00\x63\x0a\x00\x00\x00\x00\x00\x00"
    operator.refuses(tiny * 87_000, "MalformedSignature")


def test_a_hundred_signatures_are_all_checked(operator: Operator, alice: Pair, eve: Pair) -> None:
    """By a key whose signatures take long to check."""
    slow = ecdsa("brainpoolP256r1")
    operator.trusts_pair(alice)
    operator.trusts_pair(slow)
    many = [signed(slow, IMAGE, at=1700000000 + number) for number in range(99)]
    operator.admits(b"".join(many) + signed(eve, IMAGE), slow.fingerprint)
    operator.refuses(b"".join(many) + signed(alice, OTHER_IMAGE), "BadSignature")


def test_blocks_of_armor(operator: Operator, release: SigningKey, other: SigningKey) -> None:
    """One after another, or all in one; both are several signatures."""
    operator.trusts_key(release)
    operator.trusts_key(other)
    good, bad = release.sign(IMAGE, armored=False), other.sign(OTHER_IMAGE, armored=False)

    def block(packets: bytes) -> bytes:
        return armored(packets).replace(b"PUBLIC KEY BLOCK", b"SIGNATURE")

    operator.admits(block(good + good), release.fingerprint)
    operator.admits(block(good) + b"\n\n" + block(good), release.fingerprint)
    for material in (block(good + bad), block(good) + block(bad), block(bad) + b"\r\n" + block(good)):
        operator.refuses(material, "BadSignature")


# Key IDs


@pytest.fixture(scope="module")
def twins() -> tuple[Pair, Pair]:
    """Two keys with the same short ID, the last eight digits of the fingerprint, as 65,536 tries make them.

    Half as many digits as gpg looks at: to make those meet takes weeks on many machines.
    """
    seen: dict[str, Pair] = {}
    base = ed25519(0)
    at = 0
    while True:
        at += 1
        pair = Pair(base.body[:1] + at.to_bytes(4, "big") + base.body[5:], base.sign)
        if (twin := seen.setdefault(pair.fingerprint[-8:], pair)) is not pair:
            return twin, pair


def test_short_key_ids_play_no_role(operator: Operator, twins: tuple[Pair, Pair]) -> None:
    one, other = twins
    assert one.fingerprint[-8:] == other.fingerprint[-8:]
    operator.trusts_pair(one)
    operator.admits(signed(one, IMAGE), one.fingerprint)
    operator.refuses(signed(other, IMAGE), "UntrustedSigner")
    for given in (one.fingerprint[-8:], f"0x{one.fingerprint[-8:]}"):
        assert operator.run("--json", "trust", "remove", "--prefix", NAME, given).code == 2
    operator.trusts_pair(other, prefix="example.net")
    operator.admits(signed(one, IMAGE), one.fingerprint)
    operator.refuses(signed(other, IMAGE), "UntrustedSigner")
