"""Why something would be decided: the keys that speak for a name or don't, and the verdict over a signature."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from acistore.errors import NotTrusted
from acistore.naming import covers
from acistore.trust.check import SignatureCheck
from acistore.trust.keys import Layer, Place, PublicKey
from acistore.trust.keystore.store import TrustStore
from acistore.trust.lifetime import problem
from acistore.trust.policy import Verdict
from acistore.trust.rules import Rules

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ExplainedKey:
    """A key file that has a say for a name: whether its key is accepted, and why or why not.

    `prefix` is None for a root key.
    """

    key: PublicKey
    prefix: str | None
    layer: Layer
    accepted: bool
    why: str


def explain_keys(name: str, trust: TrustStore) -> tuple[ExplainedKey, ...]:
    """Every key that lies where keys for an AC name lie, those that are accepted first. Raises InvalidName,
    ProgramMissing."""
    snapshot = trust.snapshot()
    rules = snapshot.rules_for(name)
    listed = [each for each in trust.all_keys() if each.place.prefix is None or covers(each.place.prefix, name)]
    revoked = snapshot.revoked({each.key.block for each in listed})
    explained = [
        ExplainedKey(
            each.key,
            each.place.prefix,
            each.place.layer,
            *_judged(
                each.key.with_revoked(revoked),
                each.place,
                rules,
                snapshot.deciding(name, each.key.fingerprint) or each.place,
            ),
        )
        for each in listed
    ]
    return tuple(sorted(explained, key=lambda each: not each.accepted))


def _judged(key: PublicKey, place: Place, rules: Rules, deciding: Place) -> tuple[bool, str]:
    where = f"for {deciding.prefix or 'every name'} in the {deciding.layer} layer"
    if key.fingerprint not in {each.fingerprint for each in rules.keys}:
        return False, f"masked {where}"
    if deciding.path != place.path:
        return False, f"overridden by the same key {where}"
    if trouble := problem(key, datetime.now(UTC)):
        return False, trouble.words
    if not rules.policy.counts(key.fingerprint):
        return False, f"not among the keys of the policy for {rules.policy.prefix or 'all names'}"
    return True, "a root key" if place.prefix is None else f"trusted for {place.prefix}"


@dataclass(frozen=True, slots=True)
class ExplainedSignature:
    """What would be decided over an image with this signature. `admitted` is None when only the issuer could be
    judged; `refusal` is why not, as far as that is known."""

    admitted: bool | None
    refusal: NotTrusted | None
    verdict: Verdict | None


def explain_signature(
    name: str, signature: bytes, image: BinaryIO | None, trust: TrustStore, *, called: str
) -> ExplainedSignature:
    """Judges a file of signatures for an AC name: over an image, as it is served, or else its issuers alone.

    `called` is what the image is called in the refusal. Raises InvalidName, ProgramMissing.
    """
    try:
        with SignatureCheck(called, name, [signature], trust) as check:
            if image is None:
                return ExplainedSignature(None, None, None)
            while piece := image.read(_PIECE):
                check.feed(piece)
            check.finish()
            return ExplainedSignature(True, None, check.verdict(name))
    except NotTrusted as error:
        return ExplainedSignature(None if image is None else False, error, None)
