"""The signature of one image from claim to proof: the room's own story, for whoever fetches an image."""

import hashlib
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from acistore.trust import policy
from acistore.trust.keys import PublicKey
from acistore.trust.keystore import TrustStore
from acistore.trust.openpgp import Keyring
from acistore.trust.packets import read_signatures
from acistore.trust.policy import Verdict
from acistore.trust.results import SignatureResult


class SignatureCheck:
    """Checks a detached signature over data that is still to come. Used as a context manager.

    Entering it raises when the claims are enough to refuse: NoTrustedKey, UntrustedSigner, MalformedSignature.
    Then the data goes through `feed`, `finish` proves the signature, and `verdict` judges the image for a name.
    `name` is None as long as the image has not told it. `image` is what it is called in messages.
    """

    def __init__(self, image: str, name: str | None, signature: bytes, trust: TrustStore) -> None:
        self.digest = hashlib.sha512(signature).digest()
        self._image = image
        self._name = name
        self._trust = trust
        self._signatures = read_signatures(signature)
        self._stack = ExitStack()
        self._results: tuple[SignatureResult, ...] = ()

    def __enter__(self) -> Self:
        keys = self._trust.keys_for(self._name) if self._name else self._trust.everything_trusted()
        if refusal := policy.judge_issuers(self._image, self._name, self._signatures, keys):
            raise refusal
        with self._stack:
            keyring = self._stack.enter_context(Keyring(key.block for key in keys))
            self._verification = self._stack.enter_context(keyring.verification(self._signatures))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def feed(self, data: bytes) -> None:
        """The next piece of the image as it is served. Raises ProgramMissing."""
        self._verification.feed(data)

    def finish(self) -> None:
        """All data was fed. Raises NotTrusted when the image is refused whatever its name, and ProgramMissing."""
        self._results = self._verification.finish()
        self.verdict(self._name).raise_if_refused()

    def verdict(self, name: str | None) -> Verdict:
        """Whether the image is admitted under this name; None stands for any name that a key is trusted for."""
        keys = self._trust.keys_for(name) if name else self._trust.everything_trusted()
        return policy.judge(self._image, name, self._results, keys)


@dataclass(frozen=True, slots=True)
class PastSignature:
    """What admitted an image once: the fingerprints of the primary key and of the key that signed (the same, or
    a subkey), and when the signature expires."""

    fingerprint: str
    signing_fingerprint: str
    expires_at: datetime | None


def would_still_admit(signatures: Collection[PastSignature], name: str, trust: TrustStore, now: datetime) -> bool:
    """Whether one of these signatures would admit an image of this name today as well.

    Its key has to be trusted for the name; neither that, nor the subkey that signed, nor the signature itself may
    have expired or been revoked since.
    """
    fingerprints = {signature.fingerprint for signature in signatures}
    keys = [key for key in trust.keys_for(name) if key.fingerprint in fingerprints]
    if not keys:
        return False
    with Keyring(key.block for key in keys) as keyring:
        return any(
            _is_sound(signature, keyring.keys[signature.fingerprint], now)
            for signature in signatures
            if signature.fingerprint in keyring.keys
        )


def _is_sound(signature: PastSignature, key: PublicKey, now: datetime) -> bool:
    if key.expired or key.revoked or key.is_weak(signature.signing_fingerprint):
        return False
    if signature.expires_at is not None and signature.expires_at <= now:
        return False
    signers = {key.fingerprint} | {
        subkey.fingerprint for subkey in key.subkeys if not (subkey.expired or subkey.revoked)
    }
    return signature.signing_fingerprint in signers
