"""What gpg found out about each signature, read from its status lines (GnuPG, doc/DETAILS) and nothing else.

Facts only; whether they are enough is decided in `policy`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from acistore.trust.keys import PublicKey
from acistore.trust.packets import DIGESTS, Signature

WEAK_DIGESTS = frozenset({"MD5", "SHA1", "RIPEMD160"})
_WEAK_NUMBERS = {str(number) for number, name in DIGESTS.items() if name in WEAK_DIGESTS}

StatusLine = tuple[str, str]

_VERDICTS = ("BADSIG", "REVKEYSIG", "EXPKEYSIG", "EXPSIG", "GOODSIG", "ERRSIG")
_NO_PUBLIC_KEY = "9"


class Status(StrEnum):
    """What became of one signature."""

    GOOD = "good"
    BAD = "bad"
    REVOKED_KEY = "revoked key"
    EXPIRED_KEY = "expired key"
    EXPIRED_SIGNATURE = "expired signature"
    WEAK_DIGEST = "weak digest"
    WEAK_KEY = "weak key"
    NO_PUBLIC_KEY = "no public key"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SignatureResult:
    """One signature after the check. `key` is the signer's, None when it is not among the keys given.

    What the signature says of itself (`signature`) is proven only where the status is neither `bad`, `error`
    nor `no public key`.
    """

    status: Status
    signature: Signature
    key: PublicKey | None
    signing_fingerprint: str | None = None
    """Of the primary key or subkey that signed, where that is proven."""

    @property
    def fingerprint(self) -> str | None:
        """Of the signer's primary key."""
        return self.key.fingerprint if self.key else None


class Unreadable(Exception):
    """The status lines don't tell of every signature: gpg broke off, or saw something else."""


def read_results(
    lines: Sequence[StatusLine], signatures: Sequence[Signature], keys: Mapping[str, PublicKey]
) -> tuple[SignatureResult, ...]:
    """One result per signature, in their order, from all status lines of one run. Raises Unreadable."""
    groups = list(_groups(lines))
    if len(groups) != len(signatures):
        raise Unreadable
    return tuple(_result(signature, group, keys) for signature, group in zip(signatures, groups, strict=True))


def _groups(lines: Sequence[StatusLine]) -> Iterator[list[StatusLine]]:
    group: list[StatusLine] | None = None
    for line in lines:
        if line[0] == "NEWSIG":
            if group is not None:
                yield group
            group = []
        elif group is not None:
            group.append(line)
    if group is not None:
        yield group


def _result(signature: Signature, group: list[StatusLine], keys: Mapping[str, PublicKey]) -> SignatureResult:
    verdicts = [line for line in group if line[0] in _VERDICTS]
    if len(verdicts) != 1:
        return SignatureResult(Status.ERROR, signature, None)
    keyword, value = verdicts[0]
    if keyword == "BADSIG":
        return SignatureResult(Status.BAD, signature, _claimed_key(signature, keys))
    if keyword == "ERRSIG":
        return SignatureResult(_why_unchecked(signature, value), signature, _claimed_key(signature, keys))
    proofs = [value.split() for keyword, value in group if keyword == "VALIDSIG"]
    if len(proofs) != 1 or len(proofs[0]) < 10:
        return SignatureResult(Status.ERROR, signature, None)
    return _proven_result(signature, keyword, proofs[0], keys)


def _claimed_key(signature: Signature, keys: Mapping[str, PublicKey]) -> PublicKey | None:
    for key in keys.values():
        if any(map(signature.claims, (key.fingerprint, *(subkey.fingerprint for subkey in key.subkeys)))):
            return key
    return None


def _why_unchecked(signature: Signature, value: str) -> Status:
    # ERRSIG <key id> <public key algorithm> <digest> <class> <time> <reason> <fingerprint>
    reason = value.split()[5:6]
    if reason == [_NO_PUBLIC_KEY]:
        return Status.NO_PUBLIC_KEY
    return Status.WEAK_DIGEST if signature.digest in WEAK_DIGESTS else Status.ERROR


def _proven_result(
    signature: Signature, keyword: str, proof: list[str], keys: Mapping[str, PublicKey]
) -> SignatureResult:
    # VALIDSIG <fingerprint> <date> <time> <expires> <version> 0 <algorithm> <digest> <class> <primary>
    signing, digest, primary = proof[0].lower(), proof[7], proof[9].lower()
    key = keys.get(primary)
    if key is None or not signature.claims(signing):
        return SignatureResult(Status.ERROR, signature, None)
    if keyword == "REVKEYSIG" or key.revoked:
        status = Status.REVOKED_KEY
    elif keyword == "EXPKEYSIG" or key.expired:
        status = Status.EXPIRED_KEY
    elif keyword == "EXPSIG":
        status = Status.EXPIRED_SIGNATURE
    elif signature.digest in WEAK_DIGESTS or digest in _WEAK_NUMBERS:
        status = Status.WEAK_DIGEST
    elif key.is_weak(signing):
        status = Status.WEAK_KEY
    else:
        status = Status.GOOD
    return SignatureResult(status, signature, key, signing)
