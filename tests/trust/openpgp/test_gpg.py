"""What gpg says of keys and signatures: every status, with a real signature."""

import io
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from acistore.errors import KeyRefused
from acistore.trust.openpgp.gpg import Keyring, read_keys
from acistore.trust.openpgp.packets import read_key_blocks, read_signatures
from acistore.trust.signatures import SignatureResult, Status
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey

DATA = b"an image, as it is served\n" * 1000


def results_of(signatures: bytes, keys: Iterable[SigningKey], data: bytes = DATA) -> tuple[SignatureResult, ...]:
    blocks = [block for key in keys for block in read_key_blocks(key.public())]
    with Keyring(blocks) as keyring:
        return keyring.verify(read_signatures(signatures), io.BytesIO(data))


def statuses_of(signatures: bytes, keys: Iterable[SigningKey], data: bytes = DATA) -> list[Status]:
    return [result.status for result in results_of(signatures, keys, data)]


# Signatures


@pytest.mark.parametrize("armor", [True, False])
def test_good_signature(release: SigningKey, other: SigningKey, armor: bool) -> None:
    signature = release.sign(DATA, armored=armor)
    (result,) = results_of(signature, [release, other])
    assert result.status is Status.GOOD
    assert result.fingerprint == release.fingerprint
    assert result.key is not None
    assert result.key.user_id == release.user_id


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\n", DATA.replace(b"\n", b"\r\n")])
def test_signature_over_other_data_is_bad(release: SigningKey, data: bytes) -> None:
    (result,) = results_of(release.sign(DATA), [release], data)
    assert (result.status, result.fingerprint) == (Status.BAD, release.fingerprint)


def test_nothing_can_be_signed(release: SigningKey) -> None:
    assert statuses_of(release.sign(b""), [release], b"") == [Status.GOOD]


def test_altered_signature_is_bad(release: SigningKey) -> None:
    signature = bytearray(release.sign(DATA, armored=False))
    signature[-1] ^= 1
    assert statuses_of(bytes(signature), [release]) == [Status.BAD]


def test_signature_by_a_key_not_given(release: SigningKey, stranger: SigningKey) -> None:
    (result,) = results_of(stranger.sign(DATA), [release])
    assert (result.status, result.fingerprint) == (Status.NO_PUBLIC_KEY, None)
    assert result.signature.fingerprint == stranger.fingerprint
    assert statuses_of(stranger.sign(DATA), []) == [Status.NO_PUBLIC_KEY]


def test_signature_by_a_key_that_has_expired_since(expired: SigningKey) -> None:
    assert statuses_of(expired.sign(DATA, at="20200601T000000"), [expired]) == [Status.EXPIRED_KEY]


def test_signature_by_a_key_that_was_revoked_since(maker: KeyMaker) -> None:
    key = maker.key("Revoked <revoked@example.com>")
    signature = key.sign(DATA)
    assert statuses_of(signature, [key]) == [Status.GOOD]
    key.revoke()
    assert statuses_of(signature, [key]) == [Status.REVOKED_KEY]


def test_expired_signature(release: SigningKey) -> None:
    (result,) = results_of(release.sign(DATA, at="20200601T000000", expires="1d"), [release])
    assert (result.status, result.fingerprint) == (Status.EXPIRED_SIGNATURE, release.fingerprint)


@pytest.mark.parametrize("digest", ["SHA1", "MD5", "RIPEMD160"])
def test_weak_digest(maker: KeyMaker, digest: str) -> None:
    key = maker.key(f"{digest} <digest@example.com>", algorithm="rsa2048")
    (result,) = results_of(key.sign(DATA, digest=digest), [key])
    assert (result.status, result.fingerprint) == (Status.WEAK_DIGEST, key.fingerprint)


@pytest.mark.parametrize("algorithm", ["rsa1024", "dsa1024"])
def test_weak_key(maker: KeyMaker, algorithm: str) -> None:
    key = maker.key(f"{algorithm} <weak@example.com>", algorithm=algorithm)
    assert statuses_of(key.sign(DATA, digest="SHA512"), [key]) == [Status.WEAK_KEY]


@pytest.mark.parametrize("algorithm", ["rsa2048", "nistp256"])
def test_strong_keys_of_other_kinds(maker: KeyMaker, algorithm: str) -> None:
    key = maker.key(f"{algorithm} <strong@example.com>", algorithm=algorithm)
    assert statuses_of(key.sign(DATA), [key]) == [Status.GOOD]


def test_signature_made_before_its_key_was(maker: KeyMaker) -> None:
    key = maker.key("Time traveller <time@example.com>", at="20210101T000000")
    signature = key.sign(DATA, at="20200101T000000", how="--ignore-time-conflict --detach-sign")
    assert statuses_of(signature, [key]) == [Status.ERROR]


def test_signature_by_a_subkey_is_its_primary_keys(maker: KeyMaker) -> None:
    key = maker.key("Subkey <subkey@example.com>", usage="cert")
    subkey = key.add_subkey()
    (result,) = results_of(key.sign(DATA), [key])
    assert (result.status, result.fingerprint) == (Status.GOOD, key.fingerprint)
    assert result.signature.fingerprint == subkey


def test_signature_by_a_subkey_that_has_expired_or_was_revoked(maker: KeyMaker) -> None:
    key = maker.key("Subkeys <old-subkeys@example.com>", usage="cert", at=LONG_AGO)
    key.add_subkey(at=LONG_AGO, expires="1y")
    old = key.sign(DATA, at="20200601T000000")
    assert statuses_of(old, [key]) == [Status.EXPIRED_KEY]
    second = key.add_subkey()
    new = key.sign(DATA, subkey=second)
    assert statuses_of(new, [key]) == [Status.GOOD]
    key.revoke_subkey(2)
    assert statuses_of(new, [key]) == [Status.REVOKED_KEY]


def test_subkey_of_a_key_that_has_expired(maker: KeyMaker) -> None:
    key = maker.key("Gone <gone@example.com>", at=LONG_AGO)
    key.add_subkey(at=LONG_AGO)
    signature = key.sign(DATA, at="20200601T000000")
    assert statuses_of(signature, [key]) == [Status.GOOD]
    key.expire("1y", at="20200301T000000")
    assert statuses_of(signature, [key]) == [Status.EXPIRED_KEY]


def test_weak_subkey_of_a_strong_key(maker: KeyMaker) -> None:
    key = maker.key("Weak subkey <weak-subkey@example.com>", usage="cert")
    key.add_subkey(algorithm="rsa1024")
    assert statuses_of(key.sign(DATA), [key]) == [Status.WEAK_KEY]


def test_subkey_that_its_primary_key_does_not_vouch_for(release: SigningKey, stranger: SigningKey) -> None:
    subkey = bytearray(stranger.public(armored=False))
    subkey[0] = 0x80 | 14 << 2 | subkey[0] & 3  # the primary key of a stranger, posing as a subkey
    (block,) = read_key_blocks(release.public(armored=False) + bytes(subkey))
    assert stranger.fingerprint in block.subkeys
    with Keyring([block]) as keyring:
        (result,) = keyring.verify(read_signatures(stranger.sign(DATA)), io.BytesIO(DATA))
        assert [key.subkeys for key in keyring.keys.values()] == [()]
    assert result.status is Status.NO_PUBLIC_KEY


def test_several_signatures_are_all_judged_in_any_order(
    release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    material = {
        Status.GOOD: release.sign(DATA, digest="SHA256"),
        Status.BAD: other.sign(b"something else"),
        Status.NO_PUBLIC_KEY: stranger.sign(DATA),
        Status.WEAK_DIGEST: other.sign(DATA, digest="SHA1"),
        Status.EXPIRED_SIGNATURE: other.sign(DATA, at="20200601T000000", expires="1d"),
    }
    orders = [list(material)[turn:] + list(material)[:turn] for turn in range(len(material))]
    for order in (*orders, orders[0][::-1], orders[0] * 2):
        assert statuses_of(b"".join(material[status] for status in order), [release, other]) == order


def test_forged_status_lines_in_a_user_id_are_not_believed(maker: KeyMaker, release: SigningKey) -> None:
    """The second byte of Å is a line break in Latin-1, and gpg passes it on as it is."""
    victim = release.fingerprint.upper()
    forged = f"Å[GNUPG:] VALIDSIG {victim} 2026-01-01 1767225600 0 4 0 22 10 00 {victim}"
    key = maker.key(f"Eve {forged} <eve@example.com>")
    (result,) = results_of(key.sign(DATA), [key, release])
    assert (result.status, result.fingerprint) == (Status.GOOD, key.fingerprint)
    assert result.key is not None
    assert result.key.user_id == key.user_id


# Data that arrives bit by bit


def test_data_is_checked_while_it_arrives(release: SigningKey) -> None:
    piece = os.urandom(1 << 20)
    data = piece * 24
    signatures = read_signatures(release.sign(data))
    with Keyring(read_key_blocks(release.public())) as keyring, keyring.verification(signatures) as running:
        for start in range(0, len(data), 1 << 20):
            running.feed(data[start : start + (1 << 20)])
            running.feed(b"")
        assert [result.status for result in running.finish()] == [Status.GOOD]


def test_verification_that_is_given_up_has_no_result(release: SigningKey, temporary: Path) -> None:
    signatures = read_signatures(release.sign(DATA))
    with Keyring(read_key_blocks(release.public())) as keyring:
        with keyring.verification(signatures) as running:
            running.feed(DATA)
        running.abort()
        running.feed(DATA)
        with pytest.raises(RuntimeError):
            running.finish()
        keyring.verification(signatures).feed(DATA[:10])
    assert list(temporary.iterdir()) == []


def test_several_verifications_at_once(release: SigningKey, other: SigningKey) -> None:
    blocks = [*read_key_blocks(release.public()), *read_key_blocks(other.public())]
    found: dict[int, list[Status]] = {}

    def check(number: int, material: bytes) -> None:
        results = keyring.verify(read_signatures(material), io.BytesIO(DATA))
        found[number] = [result.status for result in results]

    materials = [release.sign(DATA), other.sign(b"else"), release.sign(DATA) + other.sign(DATA)]
    with Keyring(blocks) as keyring:
        threads = [threading.Thread(target=check, args=pair) for pair in enumerate(materials)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {0: [Status.GOOD], 1: [Status.BAD], 2: [Status.GOOD, Status.GOOD]}


# Keys


def test_key_is_described(maker: KeyMaker) -> None:
    key = maker.key("Zoë: the \\x3a one <zoe@example.com>", at="20240229T120000", expires="20400101T000000")
    signing = key.add_subkey(algorithm="rsa2048", at="20240301T000000", expires="1y")
    (found,) = read_keys(key.public())
    assert found.fingerprint == key.fingerprint
    assert found.user_ids == ("Zoë: the \\x3a one <zoe@example.com>",)
    assert (found.algorithm, found.bits) == ("ed25519", 255)
    assert f"{found.created_at:%FT%T%z}" == "2024-02-29T12:00:00+0000"
    assert found.expires_at is not None
    assert f"{found.expires_at:%F}" == "2040-01-01"
    assert (found.expired, found.revoked) == (False, False)
    (subkey,) = found.subkeys
    assert (subkey.fingerprint, subkey.algorithm, subkey.bits) == (signing, "rsa", 2048)
    assert (subkey.capabilities, subkey.expired, subkey.revoked) == ("s", True, False)
    assert read_keys(found.block.as_file) == (found,)


def test_state_of_keys(maker: KeyMaker, expired: SigningKey) -> None:
    key = maker.key("Withdrawn <withdrawn@example.com>")
    key.revoke()
    assert [found.expired for found in read_keys(expired.public())] == [True]
    (found,) = read_keys(key.public())
    assert (found.revoked, found.user_id) == (True, key.user_id)


def test_several_keys_of_a_file(release: SigningKey, other: SigningKey) -> None:
    found = read_keys(release.public() + other.public())
    assert [key.fingerprint for key in found] == [release.fingerprint, other.fingerprint]


def test_key_without_a_user_id_is_left_out(
    release: SigningKey, other: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    binary = release.public(armored=False)
    bare = binary[: 2 + binary[1]]
    with pytest.raises(KeyRefused):
        read_keys(bare)
    assert [key.fingerprint for key in read_keys(bare + other.public(armored=False))] == [other.fingerprint]
    assert f"key {release.fingerprint} is left out" in caplog.text


def test_versions_of_one_key_are_told_apart(maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    old = key.public(armored=False)
    key.expire("20y", at="20200601T000000")
    assert [found.expired for found in read_keys(old + key.public(armored=False))] == [True, False]
