"""The verdict over an image: every refusal with real signatures, and what several of them say together."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acistore.config import Policy
from acistore.errors import (
    BadSignature,
    ExpiredKey,
    ExpiredSignature,
    MalformedSignature,
    NoTrustedKey,
    NotTrusted,
    RevokedKey,
    TooFewSigners,
    UntrustedSigner,
    WeakSignature,
)
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import Place, TrustedKey
from acistore.trust.openpgp.gpg import Keyring
from acistore.trust.openpgp.packets import KeyBlock, Signature, read_key_blocks, read_signatures
from acistore.trust.policy import Verdict, judge, judge_issuers, judge_signers
from acistore.trust.rules import Rules
from acistore.trust.schemes import Verification
from acistore.trust.signatures import SignatureResult
from tests.gpg import KeyMaker, SigningKey

DATA = b"an image"
IMAGE = "example.com/app:1.0"
NAME = "example.com/app"


def trusted(key: SigningKey, prefix: str | None = "example.com") -> TrustedKey:
    (block,) = read_key_blocks(key.public())
    return TrustedKey(block, Place(key.fingerprint, prefix, "local", Path("/etc/acistore") / key.fingerprint))


def rules(keys: Iterable[TrustedKey], name: str | None = NAME, **policy: Any) -> Rules:
    return Rules(name, tuple(keys), Policy(**policy))


def results_of(material: bytes, keys: Iterable[TrustedKey]) -> tuple[SignatureResult, ...]:
    with Verification(read_signatures(material), [key.block for key in keys]) as verification:
        verification.feed(DATA)
        return verification.finish()


def verdict_over(material: bytes, *keys: TrustedKey) -> Verdict:
    return judge(IMAGE, rules(keys), results_of(material, keys))


def refusal_of(material: bytes, *keys: TrustedKey) -> NotTrusted:
    verdict = verdict_over(material, *keys)
    assert not verdict.admitted
    with pytest.raises(NotTrusted) as caught:
        verdict.raise_if_refused()
    assert caught.value is verdict.error
    return caught.value


# Before the download


def test_issuer_that_is_trusted_passes(release: SigningKey, other: SigningKey, stranger: SigningKey) -> None:
    keys = [trusted(release), trusted(other)]
    assert judge_issuers(IMAGE, rules(keys), read_signatures(other.sign(DATA))) is None
    both = read_signatures(stranger.sign(DATA) + release.sign(DATA))
    assert judge_issuers(IMAGE, rules(keys), both) is None


def test_issuer_may_be_a_subkey(maker: KeyMaker) -> None:
    key = maker.key("Subkey <subkey@example.com>", usage="cert")
    key.add_subkey()
    assert judge_issuers(IMAGE, rules([trusted(key)]), read_signatures(key.sign(DATA))) is None


def test_no_key_for_the_name(release: SigningKey) -> None:
    error = judge_issuers(IMAGE, rules([]), read_signatures(release.sign(DATA)))
    assert isinstance(error, NoTrustedKey)
    assert error.message == "example.com/app:1.0 can't be checked: no key is trusted for this name"
    assert error.facts == {
        "signed by": shown_fingerprint(release.fingerprint),
        "trusted": "no key for example.com/app or above it",
        "caution": "trust another signer only when the publisher confirms the fingerprint in some other way",
    }
    fingerprint = release.fingerprint.upper()
    assert error.next_step == f"acistore trust add --prefix example.com/app --fingerprint {fingerprint}"
    nameless = judge_issuers("./app.aci", rules([], None), read_signatures(release.sign(DATA)))
    assert isinstance(nameless, NoTrustedKey)
    assert "no key is trusted for anything" in nameless.message


def test_signer_that_is_not_trusted_is_named(release: SigningKey, stranger: SigningKey) -> None:
    error = judge_issuers(IMAGE, rules([trusted(release)]), read_signatures(stranger.sign(DATA)))
    assert isinstance(error, UntrustedSigner)
    assert error.message == "example.com/app:1.0 is signed by a key that is not trusted for this name"
    assert error.facts["signed by"] == shown_fingerprint(stranger.fingerprint)
    assert error.facts["trusted"] == f"{shown_fingerprint(release.fingerprint)}  (example.com)"
    assert error.next_step == (
        f"acistore trust add --prefix example.com/app --fingerprint {stranger.fingerprint.upper()}"
    )


def test_signer_known_by_key_id_alone(release: SigningKey) -> None:
    def signature(key_id: str | None) -> Signature:
        return Signature(b"", None, key_id, "SHA512", None, None)

    keys = [trusted(release)]
    # Several keys may have the same ID: the check after the download decides.
    assert judge_issuers(IMAGE, rules(keys), [signature(release.fingerprint[-16:])]) is None
    error = judge_issuers(IMAGE, rules(keys), [signature("0123456789abcdef")])
    assert isinstance(error, UntrustedSigner)
    assert error.facts["signed by"] == "key ID 0123 4567 89AB CDEF"
    assert error.next_step == "acistore trust add --prefix example.com/app"
    anonymous = judge_issuers(IMAGE, rules(keys), [signature(None)])
    assert isinstance(anonymous, UntrustedSigner)
    assert anonymous.facts["signed by"] == "nobody by name"


def test_a_signer_that_is_masked_is_called_so_and_nobody_is_told_to_trust_it(
    release: SigningKey, other: SigningKey
) -> None:
    signatures = read_signatures(release.sign(DATA))
    for keys in ([], [trusted(other)]):
        error = judge_issuers(
            IMAGE, Rules(NAME, tuple(keys), Policy(), frozenset({release.fingerprint})), signatures
        )
        assert error is not None
        assert error.facts["masked"] == shown_fingerprint(release.fingerprint)
        assert error.next_step == "acistore trust explain example.com/app"


def test_a_threshold_that_too_few_keys_can_meet_is_told(release: SigningKey) -> None:
    error = judge_issuers(IMAGE, rules([trusted(release)], threshold=2), read_signatures(release.sign(DATA)))
    assert isinstance(error, TooFewSigners)
    assert error.next_step == "acistore trust add --prefix example.com/app"


def test_who_is_out_of_use_is_refused_before_the_download(
    expired: SigningKey, release: SigningKey, maker: KeyMaker
) -> None:
    gone = maker.key("Gone early <gone@example.com>")
    old = maker.key("Subkey early <old@example.com>", usage="cert", at="20200101T000000")
    old.add_subkey(at="20200101T000000", expires="1y")
    signatures = {
        key: read_signatures(key.sign(DATA, at=at))
        for key, at in ((expired, "20200601T000000"), (gone, None), (old, "20200601T000000"), (release, None))
    }
    gone.revoke()
    keys = [trusted(key) for key in signatures]
    with Keyring(key.block for key in keys if isinstance(key.block, KeyBlock)) as keyring:
        known = keyring.keys
    for key, kind in ((expired, ExpiredKey), (gone, RevokedKey), (old, ExpiredKey)):
        assert isinstance(judge_signers(IMAGE, rules(keys), signatures[key], known), kind)
        assert judge_signers(IMAGE, rules(keys), [*signatures[key], *signatures[release]], known) is None
    assert judge_signers(IMAGE, rules(keys), signatures[release], known) is None
    assert judge_signers(IMAGE, rules([]), signatures[expired], known) is None


def test_long_lists_are_cut(release: SigningKey) -> None:
    signatures = [Signature(b"", None, f"{number:016x}", "SHA512", None, None) for number in range(8)]
    error = judge_issuers(IMAGE, rules([trusted(release)]), signatures)
    assert error is not None
    assert error.facts["signed by"].endswith("0004, and 3 more")


# After it


def test_good_signature_admits(release: SigningKey) -> None:
    verdict = verdict_over(release.sign(DATA, at="20240229T120000"), trusted(release))
    assert verdict.raise_if_refused() is verdict
    assert verdict.admitted
    [signer] = verdict.signers
    assert signer.fingerprint == release.fingerprint
    assert signer.user_id == release.user_id
    assert signer.rule == "example.com"
    assert signer.signed_at == datetime(2024, 2, 29, 12, tzinfo=UTC)
    [signer] = verdict_over(release.sign(DATA), trusted(release, None)).signers
    assert signer.rule == "root"


def test_no_key_admits_nothing(release: SigningKey) -> None:
    assert isinstance(refusal_of(release.sign(DATA)), NoTrustedKey)


def test_stranger_does_not_admit(release: SigningKey, stranger: SigningKey) -> None:
    error = refusal_of(stranger.sign(DATA), trusted(release))
    assert isinstance(error, UntrustedSigner)
    assert error.facts["signed by"] == shown_fingerprint(stranger.fingerprint)


def test_signature_over_something_else_is_bad(release: SigningKey) -> None:
    error = refusal_of(release.sign(b"another image"), trusted(release))
    assert isinstance(error, BadSignature)
    assert error.message == "example.com/app:1.0 does not fit its signature: one of the two was altered"
    assert error.facts == {"signed by": f'{shown_fingerprint(release.fingerprint)}  "{release.user_id}"'}


def test_key_that_has_expired(expired: SigningKey) -> None:
    error = refusal_of(expired.sign(DATA, at="20200601T000000"), trusted(expired))
    assert isinstance(error, ExpiredKey)
    assert error.facts["expired"].startswith("2020-12-31 ")
    assert error.next_step == f"acistore trust refresh --prefix example.com {expired.fingerprint.upper()}"


def test_subkey_that_has_expired(maker: KeyMaker) -> None:
    key = maker.key("Old subkey <old@example.com>", usage="cert", at="20200101T000000")
    key.add_subkey(at="20200101T000000", expires="1y")
    error = refusal_of(key.sign(DATA, at="20200601T000000"), trusted(key, None))
    assert isinstance(error, ExpiredKey)
    assert error.facts["expired"].startswith("2020-12-31 ")
    assert error.next_step == f"acistore trust refresh --root {key.fingerprint.upper()}"


def test_key_that_was_revoked(maker: KeyMaker) -> None:
    key = maker.key("Revoked <revoked@example.com>")
    signature = key.sign(DATA)
    key.revoke()
    error = refusal_of(signature, trusted(key))
    assert isinstance(error, RevokedKey)
    assert error.next_step == "acistore trust add --prefix example.com KEYFILE, with the publisher's new key"


def test_signature_that_has_expired(release: SigningKey) -> None:
    error = refusal_of(release.sign(DATA, at="20200601T000000", expires="1d"), trusted(release))
    assert isinstance(error, ExpiredSignature)
    assert error.facts["expired"] == "2020-06-02 00:00 UTC"


def test_broken_digest(release: SigningKey) -> None:
    error = refusal_of(release.sign(DATA, digest="SHA1"), trusted(release))
    assert isinstance(error, WeakSignature)
    assert error.facts["digest"].startswith("SHA1")


def test_key_that_is_too_short(maker: KeyMaker) -> None:
    key = maker.key("Weak <weak@example.com>", algorithm="rsa1024")
    error = refusal_of(key.sign(DATA), trusted(key))
    assert isinstance(error, WeakSignature)
    assert "too short" in error.message


def test_signature_that_gpg_can_not_check(maker: KeyMaker) -> None:
    key = maker.key("Time traveller <time@example.com>", at="20210101T000000")
    signature = key.sign(DATA, at="20200101T000000", how="--ignore-time-conflict --detach-sign")
    error = refusal_of(signature, trusted(key))
    assert isinstance(error, MalformedSignature)


# Several signatures


def test_several_signatures_give_one_verdict_in_any_order(
    release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    good = release.sign(DATA)
    bad = other.sign(b"another image")
    strange = stranger.sign(DATA)
    strange_and_bad = stranger.sign(b"another image")
    old = other.sign(DATA, at="20200601T000000", expires="1d")
    weak = other.sign(DATA, digest="SHA1")
    expected: list[tuple[list[bytes], type[NotTrusted] | None]] = [
        ([good, strange], None),
        ([good, strange_and_bad], None),
        ([good, old, weak], None),
        ([good, bad], BadSignature),
        ([good, bad, strange], BadSignature),
        ([bad, old, weak], BadSignature),
        ([old, weak], ExpiredSignature),
        ([strange, weak], WeakSignature),
        ([strange, strange_and_bad], UntrustedSigner),
    ]
    keys = [trusted(release), trusted(other)]
    results = {one: results_of(one, keys) for one in (good, bad, strange, strange_and_bad, old, weak)}
    for material, error in expected:
        for order in itertools.permutations(material):
            verdict = judge(IMAGE, rules(keys), [result for one in order for result in results[one]])
            assert verdict.error is None if error is None else type(verdict.error) is error
            assert [each.fingerprint for each in verdict.signers] == (
                [release.fingerprint] if error is None else []
            )


# An image that tells its name later


def test_name_that_is_known_later_is_judged_with_the_same_results(release: SigningKey, other: SigningKey) -> None:
    everything = [trusted(release, "example.com"), trusted(other, "example.org")]
    results = results_of(release.sign(DATA), everything)
    assert judge("./app.aci", rules(everything, None), results).admitted
    [signer] = judge("./app.aci", rules(everything[:1]), results).signers
    assert signer.rule == "example.com"
    error = judge("./app.aci", rules(everything[1:], "example.org/app"), results).error
    assert isinstance(error, UntrustedSigner)
    assert error.message == "./app.aci is signed by a key that is not trusted for this name"
    assert error.next_step is not None
    assert "--prefix example.org/app" in error.next_step
    assert isinstance(judge("./app.aci", rules([], "example.net/app"), results).error, NoTrustedKey)


def test_nameless_image_by_a_stranger(release: SigningKey, stranger: SigningKey) -> None:
    keys = [trusted(release)]
    error = judge("./app.aci", rules(keys, None), results_of(stranger.sign(DATA), keys)).error
    assert isinstance(error, UntrustedSigner)
    assert error.message == "./app.aci is signed by a key that is not trusted for any name"
    assert error.next_step is not None
    assert error.next_step.startswith("acistore trust add --prefix NAME --fingerprint ")
