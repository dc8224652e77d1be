"""Signatures of SSH checked over data that is still to come, in process."""

import hashlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from acistore.trust.keys import PublicKey
from acistore.trust.signatures import SignatureResult, Status
from acistore.trust.ssh.keys import SshKey
from acistore.trust.ssh.sshsig import SshSignature, signed_message

_WEAK_DIGEST = "SHA1"
_TOUCHED = 0x01  # PROTOCOL.u2f: somebody was there to touch the token


class Verification:
    """Hashes data as it arrives, and then says what is to be thought of the signatures.

    `keys` are those that may have signed, by fingerprint; of signatures by others nothing is calculated. For one
    thread at a time. Ends with `finish` or `close`.
    """

    def __init__(self, signatures: Sequence[SshSignature], keys: Mapping[str, PublicKey]) -> None:
        self._signatures = tuple(signatures)
        self._keys = {
            fingerprint: (key, key.block)
            for fingerprint, key in keys.items()
            if isinstance(key.block, SshKey) and key.fingerprint == fingerprint
        }
        self._digests = {
            signature.data_digest: hashlib.new(signature.data_digest)
            for signature in self._signatures
            if signature.fingerprint in self._keys
        }
        self._over = False

    def feed(self, data: bytes) -> None:
        """The next piece of the data, of any length."""
        for digest in self._digests.values():
            digest.update(data)

    def finish(self) -> tuple[SignatureResult, ...]:
        """The data is complete: one result per signature, in their order."""
        if self._over:
            raise RuntimeError("a verification ends once, and what was given up has no result")
        self.close()
        return tuple(map(self._result, self._signatures))

    def close(self) -> None:
        """The data will not become complete: no verdict is wanted any more."""
        self._over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _result(self, signature: SshSignature) -> SignatureResult:
        if signature.fingerprint not in self._keys:
            return SignatureResult(Status.NO_PUBLIC_KEY, signature, None)
        key, block = self._keys[signature.fingerprint]
        if signature.digest == _WEAK_DIGEST:
            return SignatureResult(Status.WEAK_DIGEST, signature, key)
        if (problem := self._disproof(signature, block)) is not None:
            return SignatureResult(problem, signature, key)
        return SignatureResult(_status(signature, key), signature, key, signature.fingerprint)

    def _disproof(self, signature: SshSignature, block: SshKey) -> Status | None:
        """What shows that the key has not signed this data, None when it has."""
        from acistore.trust.ssh.algorithms import Unsupported, has_signed  # noqa: PLC0415 - its library costs 30 ms

        message = signed_message(signature.data_digest, self._digests[signature.data_digest].digest())
        try:
            return None if has_signed(block.blob, signature.proof, message) else Status.BAD
        except Unsupported:
            return Status.ERROR


def _status(signature: SshSignature, key: PublicKey) -> Status:
    """What becomes of a signature that is the key's."""
    if signature.key.type.security_key and not signature.proof.flags & _TOUCHED:
        return Status.NO_TOUCH
    return Status.WEAK_KEY if key.is_weak(signature.fingerprint) else Status.GOOD
