"""Facts and rules to a verdict: whether an image is admitted. Pure: no file, no clock, no gpg.

`image` is the text by which the image is called in messages; the rules are those of its name, or of no name as
long as an image fetched by URL or from a file has not told it (`TrustStore.rules_for`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from acistore.errors import NotTrusted
from acistore.trust import refusals
from acistore.trust.keys import Place, PublicKey, Scheme, Subkey, TrustedKey
from acistore.trust.rules import Rules
from acistore.trust.signatures import Signature, SignatureResult, Status


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody on whose word an image is admitted.

    `fingerprint` is of the primary key, `signing_fingerprint` of that or of a subkey, `rule` the prefix that the
    key is trusted for, or `root`; `signed_at` and `expires_at` are what the signature says of itself, None where
    it says nothing.
    """

    scheme: Scheme
    fingerprint: str
    signing_fingerprint: str
    user_id: str | None
    rule: str
    signed_at: datetime | None
    expires_at: datetime | None
    signature: Signature


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an image is admitted, and on whose word, or why not: `error` is None when it is.

    One without signers is admitted unsigned, because the policy of its name allows that.
    """

    error: NotTrusted | None
    signers: tuple[Signer, ...] = ()

    @property
    def admitted(self) -> bool:
        """Whether nothing speaks against the image."""
        return self.error is None

    def raise_if_refused(self) -> Self:
        """This very verdict; raises its error when the image is refused."""
        if self.error is not None:
            raise self.error
        return self


def judge_issuers(image: str, rules: Rules, signatures: Sequence[Signature]) -> NotTrusted | None:
    """What already speaks against an image before it is downloaded: NoTrustedKey, UntrustedSigner, TooFewSigners,
    or nothing.

    Claims are compared, nothing is proven: a key ID that fits several keys fits, and `judge` has the last word.
    """
    if not rules.counting:
        return refusals.no_trusted_key(image, rules, signatures)
    signers = claimed(rules, signatures)
    if not signers:
        return refusals.untrusted_signer(image, rules, signatures)
    if len(signers) < rules.policy.threshold:
        return refusals.too_few_signers(image, rules, list(signers.values()))
    return None


def claimed(rules: Rules, signatures: Sequence[Signature]) -> dict[str, TrustedKey]:
    """The keys that count and that some signature claims to be by, by fingerprint."""
    return {
        key.fingerprint: key
        for key in rules.counting
        if any(signature.claims(part) for signature in signatures for part in key.parts)
    }


def judge_signers(
    image: str, rules: Rules, signatures: Sequence[Signature], known: Mapping[str, PublicKey]
) -> NotTrusted | None:
    """What already speaks against an image when more is known of the keys that count: that whoever claims to have
    signed is out of use. `known` are keys by fingerprint. Nothing is proven here either.
    """
    places = {key.fingerprint: key.place for key in rules.counting if key.fingerprint in known}
    claims = [
        (SignatureResult(status, signature, known[fingerprint]), known[fingerprint], place)
        for signature in signatures
        for fingerprint, place in places.items()
        if (status := _claimed_status(signature, known[fingerprint])) is not None
    ]
    if not claims or any(result.status is Status.GOOD for result, _, _ in claims):
        return None
    return _worst(image, claims)


def _claimed_status(signature: Signature, key: PublicKey) -> Status | None:
    """How a signature would stand if it were by this key, as it claims; None when it doesn't."""
    subkeys = [subkey for subkey in key.subkeys if signature.claims(subkey.fingerprint)]
    if not subkeys and not signature.claims(key.fingerprint):
        return None
    parts: list[PublicKey | Subkey] = [key, *subkeys]
    if any(part.revoked for part in parts):
        return Status.REVOKED_KEY
    return Status.EXPIRED_KEY if any(part.expired for part in parts) else Status.GOOD


def with_revocations(
    results: Sequence[SignatureResult], revoked: Mapping[str, Collection[str]]
) -> list[SignatureResult]:
    """The results as they are when of each of these keys some parts are revoked, all by fingerprint."""

    def is_revoked(result: SignatureResult) -> bool:
        parts = revoked.get(result.fingerprint or "", ())
        return result.status is not Status.BAD and (
            result.fingerprint in parts or result.signing_fingerprint in parts
        )

    return [replace(each, status=Status.REVOKED_KEY) if is_revoked(each) else each for each in results]


def judge(image: str, rules: Rules, results: Sequence[SignatureResult]) -> Verdict:
    """The verdict over an image, from all of its signatures, whatever their order.

    Signatures by other keys than those that count don't matter. A bad one by one of these refuses the image
    whatever the others say; otherwise good ones admit it when as many distinct keys have made them as the policy
    demands. An image that had no name is judged again, with the same results, once its name is known.
    """
    signatures = [result.signature for result in results]
    trusted = {key.fingerprint: key for key in rules.counting}
    if not trusted:
        return Verdict(refusals.no_trusted_key(image, rules, signatures))
    counting = [
        (result, result.key, trusted[result.key.fingerprint].place)
        for result in results
        if result.key and result.key.fingerprint in trusted
    ]
    if not counting:
        return Verdict(refusals.untrusted_signer(image, rules, signatures))
    for result, key, place in counting:
        if result.status is Status.BAD:
            return Verdict(refusals.refusal(image, result, key, place))
    signers = {
        key.fingerprint: _signer(result, key, place.rule)
        for result, key, place in reversed(counting)  # of several by one key the first counts
        if result.status is Status.GOOD
    }
    if len(signers) >= rules.policy.threshold:
        return Verdict(None, tuple(reversed(signers.values())))
    if signers:
        good = [trusted[fingerprint] for fingerprint in signers]
        others = [(result, key) for result, key, _ in counting if key.fingerprint not in signers]
        return Verdict(refusals.too_few_signers(image, rules, good, others))
    return Verdict(_worst(image, counting))


def _worst(image: str, counting: Sequence[tuple[SignatureResult, PublicKey, Place]]) -> NotTrusted:
    """The refusal by the weightiest of the signatures, of which none is good."""
    return refusals.refusal(image, *min(counting, key=lambda each: _BY_WEIGHT.index(each[0].status)))


# What is told first where no signature is good.
_BY_WEIGHT = (
    Status.REVOKED_KEY,
    Status.EXPIRED_KEY,
    Status.EXPIRED_SIGNATURE,
    Status.WEAK_DIGEST,
    Status.WEAK_KEY,
    Status.FUTURE,
    Status.NOT_FOR_SIGNING,
    Status.NO_TOUCH,
    Status.ERROR,
    Status.NO_PUBLIC_KEY,
)


def _signer(result: SignatureResult, key: PublicKey, rule: str) -> Signer:
    return Signer(
        key.block.scheme,
        key.fingerprint,
        result.signing_fingerprint or key.fingerprint,
        key.user_id,
        rule,
        result.signature.created_at,
        result.signature.expires_at,
        result.signature,
    )
