"""The signatures of one image from claim to proof: the room's own story, for whoever fetches an image."""

import hashlib
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from acistore.trust import policy
from acistore.trust.keys import KeyBlock
from acistore.trust.keystore.store import TrustStore
from acistore.trust.policy import Verdict
from acistore.trust.schemes import Verification, read_signatures
from acistore.trust.signatures import Signature, SignatureResult


class SignatureCheck:
    """Checks detached signatures over data that is still to come. Used as a context manager.

    `files` are the files of signatures, of any scheme. Entering it raises when the claims are enough to refuse:
    NoTrustedKey, UntrustedSigner, TooFewSigners, ExpiredKey, RevokedKey, MalformedSignature. Then the data goes
    through `feed`, `finish` proves the signatures, and `verdict` judges the image for a name. `name` is None as
    long as the image has not told it. `image` is what it is called in messages.
    """

    def __init__(self, image: str, name: str | None, files: Collection[bytes], trust: TrustStore) -> None:
        self._image = image
        self._name = name
        self._trust = trust
        self._file_of: dict[Signature, bytes] = {}
        for file in files:
            digest = hashlib.sha512(file).digest()
            for signature in read_signatures(file):
                self._file_of.setdefault(signature, digest)
        self._stack = ExitStack()
        self._results: Sequence[SignatureResult] = ()
        self._signers: Sequence[KeyBlock] = ()

    def __enter__(self) -> Self:
        snapshot = self._trust.snapshot()
        rules = snapshot.rules_for(self._name)
        signatures = list(self._file_of)
        if refusal := policy.judge_issuers(self._image, rules, signatures):
            raise refusal
        blocks = [key.block for key in rules.counting]
        with self._stack:
            verification = self._stack.enter_context(Verification(signatures, blocks))
            self._signers = [key.block for key in policy.claimed(rules, signatures).values()]
            revoked = snapshot.revoked(self._signers)
            known = {each: key.with_revoked(revoked) for each, key in verification.known.items()}
            if refusal := policy.judge_signers(self._image, rules, signatures, known):
                raise refusal
            self._verification = verification
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def digests(self) -> frozenset[bytes]:
        """The SHA-512 of each file of signatures."""
        return frozenset(self._file_of.values())

    def digest_of(self, signature: Signature) -> bytes:
        """The SHA-512 of the file that a signature stands in."""
        return self._file_of[signature]

    def feed(self, data: bytes) -> None:
        """The next piece of the image as it is served. Raises ProgramMissing."""
        self._verification.feed(data)

    def finish(self) -> None:
        """All data was fed. Raises NotTrusted when the image is refused whatever its name, and ProgramMissing."""
        self._results = self._verification.finish()
        self.verdict(self._name).raise_if_refused()

    def verdict(self, name: str | None) -> Verdict:
        """Whether the image is admitted under this name; None stands for any name that a key is trusted for.

        By the keys and policies as they are at this moment: a revocation may have come since the check began.
        Raises ProgramMissing.
        """
        snapshot = self._trust.snapshot()
        results = policy.with_revocations(self._results, snapshot.revoked(self._signers))
        return policy.judge(self._image, snapshot.rules_for(name), results)
