"""What was admitted once, judged by the keys and policies of today."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from acistore.errors import (
    ExpiredKey,
    ExpiredSignature,
    NotTrusted,
    RevokedKey,
    SignatureMissing,
    TooFewSigners,
    UntrustedSigner,
    WeakSignature,
)
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import KeyBlock, PublicKey, Subkey
from acistore.trust.keystore.store import TrustStore
from acistore.trust.refusals import shown_time
from acistore.trust.rules import Rules
from acistore.trust.schemes import describe


class Admitted(Protocol):
    """The record of one admission: `verified` by a signature, `unsigned` by a policy, or `unverified`.

    Fingerprints are of the primary key and of the key that signed (the same, or a subkey).
    """

    @property
    def verdict(self) -> str: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def signing_fingerprint(self) -> str | None: ...
    @property
    def signature_expires_at(self) -> datetime | None: ...


class Today:
    """The rules at one moment: the directories are read once, and what is known of a key is asked once.

    `now` is when signatures have expired or not.
    """

    def __init__(self, trust: TrustStore, now: datetime) -> None:
        self._snapshot = trust.snapshot()
        self._now = now
        self._known: dict[KeyBlock, PublicKey] = {}
        self._asked: set[KeyBlock] = set()
        self._revoked: dict[str, Mapping[str, frozenset[str]]] = {}

    def know(self, blocks: Iterable[KeyBlock]) -> None:
        """Asks about these keys at once, where that has not been done. Raises ProgramMissing."""
        fresh = set(blocks) - self._asked
        self._asked |= fresh
        self._known |= describe(fresh) if fresh else {}

    def know_all(self) -> None:
        """Asks about every key there is, at once: for whoever judges many images. Raises ProgramMissing."""
        self.know(self._snapshot.blocks())

    def refusal(self, image: str, name: str, past: Collection[Admitted]) -> NotTrusted | None:
        """Why an image of this name would not be admitted today on the strength of what admitted it; None when it
        would be. Raises ProgramMissing."""
        rules = self._snapshot.rules_for(name)
        signers = {each.fingerprint for each in past}
        blocks = {key.fingerprint: key.block for key in rules.counting if key.fingerprint in signers}
        self.know(blocks.values())
        keys = {
            fingerprint: self._known[block].with_revoked(self._revoked_of(block))
            for fingerprint, block in blocks.items()
            if block in self._known
        }
        return judge_again(image, rules, past, keys, self._now)

    def _revoked_of(self, key: KeyBlock) -> Mapping[str, frozenset[str]]:
        if key.fingerprint not in self._revoked:
            self._revoked[key.fingerprint] = self._snapshot.revoked([key])
        return self._revoked[key.fingerprint]


def judge_again(
    image: str, rules: Rules, past: Collection[Admitted], keys: Mapping[str, PublicKey], now: datetime
) -> NotTrusted | None:
    """The refusal of what was admitted before, or None. `keys` are those of the signers that count today."""
    if rules.allows_unsigned and any(each.verdict == "unsigned" for each in past):
        return None
    verified = [each for each in past if each.verdict == "verified" and each.fingerprint]
    if not verified:
        unsigned = any(each.verdict == "unsigned" for each in past)
        why = "a signature, which its policy does not allow now" if unsigned else "a check of its signature"
        return SignatureMissing(f"{image} was admitted without {why}")
    counting = [(each, key) for each in verified if (key := keys.get(each.fingerprint or ""))]
    if not counting:
        signers = ", ".join(dict.fromkeys(shown_fingerprint(each.fingerprint or "") for each in verified))
        return UntrustedSigner(
            f"{image} was admitted by a key that is not trusted for this name any more",
            facts={"signed by": signers},
        )
    problems = [(key, _problem(image, each, key, now)) for each, key in counting]
    sound = {key.fingerprint for key, problem in problems if problem is None}
    if len(sound) >= rules.policy.threshold:
        return None
    if sound:
        return TooFewSigners(
            f"{image} was signed by {len(sound)} of the {rules.policy.threshold} distinct keys that are demanded",
            facts={"signed by": ", ".join(map(shown_fingerprint, sorted(sound)))},
        )
    return next(problem for _, problem in problems if problem)


def _problem(image: str, past: Admitted, key: PublicKey, now: datetime) -> NotTrusted | None:
    """What is the matter today with the signature that has admitted an image."""
    signer = {"signed by": shown_fingerprint(key.fingerprint)}
    signing = past.signing_fingerprint or key.fingerprint
    subkeys = [each for each in key.subkeys if each.fingerprint == signing]
    if signing != key.fingerprint and not subkeys:
        return UntrustedSigner(f"{image} was signed by a subkey that the key has no more", facts=signer)
    parts: list[PublicKey | Subkey] = [key, *subkeys]
    if any(each.revoked for each in parts):
        return RevokedKey(f"{image} was signed by a key that its owner has revoked since", facts=signer)
    if expired := [each.expires_at for each in parts if each.expired]:
        facts = {**signer, "expired": shown_time(expired[0])}
        return ExpiredKey(f"{image} was signed by a key that has expired since", facts=facts)
    if past.signature_expires_at is not None and past.signature_expires_at <= now:
        facts = {**signer, "expired": shown_time(past.signature_expires_at)}
        return ExpiredSignature(f"the signature of {image} has expired since", facts=facts)
    if key.is_weak(signing):
        return WeakSignature(f"{image} was signed by a key that is too short", facts=signer)
    return None
