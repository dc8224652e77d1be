"""Facts, keys and a name to a verdict: whether an image is admitted. Pure: no file, no clock, no gpg.

`image` is the text by which the image is called in messages; `name` is the AC name that the keys are trusted
for, None as long as an image fetched by URL or from a file has not told its name. `keys` are those trusted
for the name (`TrustStore.keys_for`), or for anything when there is no name (`TrustStore.everything_trusted`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from acistore.errors import (
    BadSignature,
    ExpiredKey,
    ExpiredSignature,
    MalformedSignature,
    NoTrustedKey,
    NotTrusted,
    RevokedKey,
    UntrustedSigner,
    WeakSignature,
)
from acistore.trust.keys import Place, PublicKey, TrustedKey, shown_fingerprint
from acistore.trust.packets import Signature
from acistore.trust.results import SignatureResult, Status


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an image is admitted, and by whom, or why not.

    `error` is None when it is; then `fingerprint` (primary key), `signing_fingerprint` (that or a subkey),
    `rule` (a prefix, or `root`), `signer` (user ID), `signed_at` and `expires_at` (of the signature) say on whose
    word.
    """

    error: NotTrusted | None
    fingerprint: str | None = None
    signer: str | None = None
    rule: str | None = None
    signed_at: datetime | None = None
    signing_fingerprint: str | None = None
    expires_at: datetime | None = None

    @property
    def admitted(self) -> bool:
        """Whether nothing speaks against the image."""
        return self.error is None

    def raise_if_refused(self) -> Self:
        """This very verdict; raises its error when the image is refused."""
        if self.error is not None:
            raise self.error
        return self


def judge_issuers(
    image: str, name: str | None, signatures: Sequence[Signature], keys: Sequence[TrustedKey]
) -> NotTrusted | None:
    """What already speaks against an image before it is downloaded: NoTrustedKey, UntrustedSigner, or nothing.

    Claims are compared, nothing is proven: a key ID that fits several keys fits, and `judge` has the last
    word.
    """
    if not keys:
        return _no_trusted_key(image, name, signatures)
    if any(signature.claims(part) for signature in signatures for key in keys for part in _parts(key)):
        return None
    return _untrusted_signer(image, name, signatures, keys)


def judge(image: str, name: str | None, results: Sequence[SignatureResult], keys: Sequence[TrustedKey]) -> Verdict:
    """The verdict over an image, from all of its signatures, whatever their order.

    Signatures by other keys than `keys` don't count. A bad one by one of these refuses the image whatever
    the others say; otherwise one good one admits it. An image that had no name is judged again, with the same
    results, once its name is known.
    """
    if not keys:
        return Verdict(_no_trusted_key(image, name, [result.signature for result in results]))
    trusted = {key.fingerprint: key for key in keys}
    counting = [(result, result.key) for result in results if result.fingerprint in trusted and result.key]
    if not counting:
        return Verdict(_untrusted_signer(image, name, [result.signature for result in results], keys))
    for status in _BY_WEIGHT:
        for result, signer in counting:
            if result.status is status:
                place = trusted[signer.fingerprint].place
                if status is not Status.GOOD:
                    return Verdict(_refusal(image, result, signer, place))
                return Verdict(
                    None,
                    signer.fingerprint,
                    signer.user_id,
                    place.rule,
                    result.signature.created_at,
                    result.signing_fingerprint,
                    result.signature.expires_at,
                )
    return Verdict(_untrusted_signer(image, name, [result.signature for result, _ in counting], keys))


# A bad signature outweighs a good one, a good one all other complaints.
_BY_WEIGHT = (
    Status.BAD,
    Status.GOOD,
    Status.REVOKED_KEY,
    Status.EXPIRED_KEY,
    Status.EXPIRED_SIGNATURE,
    Status.WEAK_DIGEST,
    Status.WEAK_KEY,
    Status.ERROR,
)


def _parts(key: TrustedKey) -> tuple[str, ...]:
    return (key.fingerprint, *key.block.subkeys)


def refuse_without_keys(image: str, name: str, keys: Sequence[TrustedKey]) -> NoTrustedKey | None:
    """The refusal of an image of which nothing is known but its name, where no key is trusted for that."""
    if keys:
        return None
    return NoTrustedKey(
        f"{image} can't be checked: no key is trusted for this name",
        facts={"trusted": f"no key for {name} or above it"},
        next_step=f"acistore trust add --prefix {name}",
    )


def _no_trusted_key(image: str, name: str | None, signatures: Sequence[Signature]) -> NoTrustedKey:
    signed_by = {"signed by": _issuers(signatures)}
    if name is None:
        return NoTrustedKey(
            f"{image} can't be checked: no key is trusted for anything",
            facts=signed_by,
            next_step=f"acistore trust add --prefix NAME{_fingerprint_option(signatures)} KEYFILE",
        )
    return NoTrustedKey(
        f"{image} can't be checked: no key is trusted for this name",
        facts={**signed_by, "trusted": f"no key for {name} or above it"},
        next_step=f"acistore trust add --prefix {name}{_fingerprint_option(signatures)}",
    )


def _untrusted_signer(
    image: str, name: str | None, signatures: Sequence[Signature], keys: Sequence[TrustedKey]
) -> UntrustedSigner:
    trusted = _listed(f"{shown_fingerprint(key.fingerprint)}  ({key.place.rule})" for key in keys)
    return UntrustedSigner(
        f"{image} is signed by a key that is not trusted for {'any name' if name is None else 'this name'}",
        facts={
            "signed by": _issuers(signatures),
            "trusted": trusted,
            "caution": "trust another signer only when the publisher confirms the fingerprint in some other way",
        },
        next_step=f"acistore trust add --prefix {name or 'NAME'}{_fingerprint_option(signatures)}",
    )


def _issuers(signatures: Sequence[Signature]) -> str:
    return _listed(_shown_issuer(signature) for signature in signatures)


def _fingerprint_option(signatures: Sequence[Signature]) -> str:
    whole = next((signature.fingerprint for signature in signatures if signature.fingerprint), None)
    return f" --fingerprint {whole.upper()}" if whole else ""


def _shown_issuer(signature: Signature) -> str:
    if signature.fingerprint:
        return shown_fingerprint(signature.fingerprint)
    return f"key ID {shown_fingerprint(signature.key_id)}" if signature.key_id else "nobody by name"


def _listed(texts: Iterable[str], shown: int = 5) -> str:
    distinct = list(dict.fromkeys(texts))
    more = f", and {len(distinct) - shown} more" if len(distinct) > shown else ""
    return ", ".join(distinct[:shown]) + more


_REFUSALS: Mapping[Status, tuple[type[NotTrusted], str]] = {
    Status.BAD: (BadSignature, "{image} does not fit its signature: one of the two was altered"),
    Status.REVOKED_KEY: (RevokedKey, "{image} is signed by a key that its owner has revoked"),
    Status.EXPIRED_KEY: (ExpiredKey, "{image} is signed by a key that has expired"),
    Status.EXPIRED_SIGNATURE: (ExpiredSignature, "the signature of {image} has expired"),
    Status.WEAK_DIGEST: (WeakSignature, "the signature of {image} rests on a broken digest"),
    Status.WEAK_KEY: (WeakSignature, "{image} is signed by a key that is too short"),
    Status.ERROR: (MalformedSignature, "the signature of {image} is one that gpg can't check"),
}


def _refusal(image: str, result: SignatureResult, signer: PublicKey, place: Place) -> NotTrusted:
    """The error for a signature by a trusted key that is anything but good."""
    kind, message = _REFUSALS[result.status]
    user_id = f'  "{signer.user_id}"' if signer.user_id else ""
    return kind(
        message.format(image=image),
        facts={
            "signed by": shown_fingerprint(signer.fingerprint) + user_id,
            **_details(result.status, result.signature, signer),
        },
        next_step=_remedy(result.status, place),
    )


def _details(status: Status, signature: Signature, signer: PublicKey) -> dict[str, str]:
    match status:
        case Status.EXPIRED_KEY:
            return {"expired": _shown_time(_expiry(signer, signature))}
        case Status.EXPIRED_SIGNATURE:
            return {"expired": _shown_time(signature.expires_at)}
        case Status.WEAK_DIGEST:
            return {"digest": f"{signature.digest}, where SHA256 or a longer one is needed"}
        case Status.WEAK_KEY:
            return {"needed": "2048 bits or more for RSA and DSA"}
        case _:
            return {}


def _remedy(status: Status, place: Place) -> str | None:
    option = f"--prefix {place.prefix}" if place.prefix else "--root"
    if status is Status.EXPIRED_KEY:
        return f"acistore trust add {option} KEYFILE"
    if status is Status.REVOKED_KEY:
        return f"acistore trust remove {option} {place.fingerprint.upper()}"
    return None


def _expiry(signer: PublicKey, signature: Signature) -> datetime | None:
    expired = [
        subkey.expires_at for subkey in signer.subkeys if subkey.expired and signature.claims(subkey.fingerprint)
    ]
    return signer.expires_at if signer.expired or not expired else expired[0]


def _shown_time(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC") if time else "at a time not told"
