"""Why an image is refused, in words and with what to do next: the errors behind a verdict."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

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
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.keys import Place, PublicKey, TrustedKey
from acistore.trust.rules import Rules
from acistore.trust.signatures import Signature, SignatureResult, Status

_CAUTION = "trust another signer only when the publisher confirms the fingerprint in some other way"


def without_keys(image: str, rules: Rules) -> NoTrustedKey | None:
    """The refusal of an image of which nothing is known but its name, where no key is trusted for that."""
    return None if rules.counting else no_trusted_key(image, rules, ())


def no_trusted_key(image: str, rules: Rules, signatures: Sequence[Signature]) -> NoTrustedKey:
    """No key counts for the name (or, without one, for anything)."""
    signed_by = {"signed by": _issuers(signatures)} if signatures else {}
    if rules.name is None:
        return NoTrustedKey(
            f"{image} can't be checked: no key is trusted for anything",
            facts=signed_by,
            next_step=f"acistore trust add --prefix NAME{_fingerprint_option(signatures)} KEYFILE",
        )
    caution = {"caution": _CAUTION} if signatures else {}
    if rules.policy.keys:
        return NoTrustedKey(
            f"{image} can't be checked: no key that its policy takes is trusted for this name",
            facts={**signed_by, **_taken(rules), "trusted": _trusted(rules.keys)},
            next_step=f"{_add(rules.name)} --fingerprint {option_fingerprint(rules.policy.keys[0])}",
        )
    message = f"{image} can't be checked: no key is trusted for this name"
    facts = {**signed_by, "trusted": f"no key for {rules.name} or above it"}
    if masked := _masked(rules, signatures):
        return NoTrustedKey(message, facts=facts | masked, next_step=_explain(rules.name))
    next_step = f"{_add(rules.name)}{_fingerprint_option(signatures)}"
    return NoTrustedKey(message, facts=facts | caution, next_step=next_step)


def untrusted_signer(image: str, rules: Rules, signatures: Sequence[Signature]) -> UntrustedSigner:
    """Signed, but by nobody whose key counts."""
    passed_over = [
        key
        for key in rules.keys
        if not rules.policy.counts(key.fingerprint)
        and any(each.claims(part) for each in signatures for part in key.parts)
    ]
    if passed_over:
        return UntrustedSigner(
            f"{image} is signed by a key that the policy for this name does not take",
            facts={"signed by": _trusted(passed_over), **_taken(rules), "set by": rules.policy.origin},
            next_step="acistore config shows the policies; the signature of one of its keys is needed",
        )
    message = f"{image} is signed by a key that is not trusted for {'this name' if rules.name else 'any name'}"
    facts = {"signed by": _issuers(signatures), "trusted": _trusted(rules.counting)}
    if rules.name and (masked := _masked(rules, signatures)):
        return UntrustedSigner(message, facts=facts | masked, next_step=_explain(rules.name))
    return UntrustedSigner(
        message,
        facts=facts | {"caution": _CAUTION},
        next_step=f"{_add(rules.name)}{_fingerprint_option(signatures)}",
    )


def _masked(rules: Rules, signatures: Sequence[Signature]) -> dict[str, str]:
    """Who of the signers was taken out of force on purpose: nobody is to be told to trust them."""
    masked = sorted(rules.masked.intersection(each.fingerprint for each in signatures if each.fingerprint))
    return {"masked": _listed(map(shown_fingerprint, masked))} if masked else {}


def _add(name: str | None) -> str:
    return f"acistore trust add --prefix {shlex.quote(name) if name else 'NAME'}"


def _explain(name: str) -> str:
    return shlex.join(["acistore", "trust", "explain", name])


def too_few_signers(
    image: str,
    rules: Rules,
    signers: Sequence[TrustedKey],
    others: Iterable[tuple[SignatureResult, PublicKey]] = (),
) -> TooFewSigners:
    """Fewer distinct keys have signed than are demanded; `others` signed as well, and don't count."""
    policy = rules.policy
    possible = len(rules.counting)
    if possible < policy.threshold and rules.name:
        next_step = _add(rules.name)  # as it is, no image can be admitted
    else:
        next_step = "ask its publisher for a signature by another of these keys, in the same file"
    return TooFewSigners(
        f"{image} is signed by {len(signers)} of the {policy.threshold} distinct keys that are demanded",
        facts={
            "signed by": _trusted(signers),
            **({"not counted": told} if (told := _listed(_uncounted(*each) for each in others)) else {}),
            "policy": f"for {policy.prefix or 'all names'}, set by {policy.origin}",
            "counting": _trusted(rules.counting),
        },
        next_step=next_step,
    )


def _uncounted(result: SignatureResult, key: PublicKey) -> str:
    return f"{shown_fingerprint(key.fingerprint)} ({result.status.value})"


def _taken(rules: Rules) -> dict[str, str]:
    """Which keys the policy takes."""
    policy = rules.policy
    return {"policy": f"for {policy.prefix or 'all names'} takes {_listed(map(shown_fingerprint, policy.keys))}"}


def _trusted(keys: Iterable[TrustedKey]) -> str:
    return _listed(f"{shown_fingerprint(key.fingerprint)}  ({key.place.rule})" for key in keys) or "none"


def _issuers(signatures: Sequence[Signature]) -> str:
    return _listed(_shown_issuer(signature) for signature in signatures)


def _fingerprint_option(signatures: Sequence[Signature]) -> str:
    whole = next((signature.fingerprint for signature in signatures if signature.fingerprint), None)
    return f" --fingerprint {option_fingerprint(whole)}" if whole else ""


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
    Status.FUTURE: (
        MalformedSignature,
        "{image} is signed at a time that is still to come, or by a key made then",
    ),
    Status.NOT_FOR_SIGNING: (UntrustedSigner, "{image} is signed by a part of a key that is not for signing"),
    Status.NO_TOUCH: (WeakSignature, "{image} is signed by a security key that nobody has touched"),
    Status.ERROR: (MalformedSignature, "the signature of {image} is one that can't be checked"),
    Status.NO_PUBLIC_KEY: (MalformedSignature, "the signature of {image} is one that can't be checked"),
}


def refusal(image: str, result: SignatureResult, signer: PublicKey, place: Place) -> NotTrusted:
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
    known = {
        Status.EXPIRED_KEY: ("expired", shown_time(_expiry(signer, signature))),
        Status.EXPIRED_SIGNATURE: ("expired", shown_time(signature.expires_at)),
        Status.WEAK_DIGEST: ("digest", f"{signature.digest}, where SHA256 or a longer one is needed"),
        Status.WEAK_KEY: ("needed", "2048 bits or more for RSA and DSA, 255 for curves"),
        Status.FUTURE: ("signed at", shown_time(signature.created_at)),
        Status.NO_TOUCH: ("needed", "a signature made with the user present: without no-touch-required"),
    }
    return dict([known[status]]) if status in known else {}


def _remedy(status: Status, place: Place) -> str | None:
    option = f"--prefix {shlex.quote(place.prefix)}" if place.prefix else "--root"
    if status is Status.BAD:
        return "fetch it again; if it stays so, tell its publisher"
    if status is Status.EXPIRED_KEY:
        return f"acistore trust refresh {option} {option_fingerprint(place.fingerprint)}"
    if status is Status.FUTURE:
        return "date  # one of the two clocks is wrong: this machine's, or the signer's"
    if status is Status.REVOKED_KEY:
        return f"acistore trust add {option} KEYFILE, with the publisher's new key"
    return None


def _expiry(signer: PublicKey, signature: Signature) -> datetime | None:
    expired = [
        subkey.expires_at for subkey in signer.subkeys if subkey.expired and signature.claims(subkey.fingerprint)
    ]
    return signer.expires_at if signer.expired or not expired else expired[0]


def shown_time(time: datetime | None) -> str:
    """A time for people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC") if time else "at a time not told"
