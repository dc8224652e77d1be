"""What gpg found out about each signature, read from its status lines (GnuPG, doc/DETAILS) and nothing else.

Facts only; whether they are enough is decided in `acistore.trust.policy`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from acistore.trust.keys import PublicKey, Subkey
from acistore.trust.openpgp.packets import DIGESTS, Signature
from acistore.trust.signatures import SignatureResult, Status

WEAK_DIGESTS = frozenset({"MD5", "SHA1", "RIPEMD160"})
_WEAK_NUMBERS = {str(number) for number, name in DIGESTS.items() if name in WEAK_DIGESTS}
# What every gpg can hash with. One digest that it can't, and it may look at no signature at all.
_DIGESTS_OF_GPG = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}

# By how much the clock of whoever signs may be ahead of this machine's.
_CLOCKS_DIFFER = timedelta(minutes=5)

StatusLine = tuple[str, str]

_VERDICTS = ("BADSIG", "REVKEYSIG", "EXPKEYSIG", "EXPSIG", "GOODSIG", "ERRSIG")
_NO_PUBLIC_KEY = "9"
_TIME = re.compile("[0-9]{1,10}")  # seconds of the epoch

# Which of several results counts, of keyrings that hold different versions of a key, or others that claim to have
# it. A key that was revoked in one version is revoked; otherwise whoever proves something is right.
_FOREMOST = (
    Status.REVOKED_KEY,
    Status.GOOD,
    Status.EXPIRED_KEY,
    Status.EXPIRED_SIGNATURE,
    Status.WEAK_DIGEST,
    Status.WEAK_KEY,
    Status.BAD,
    Status.FUTURE,
    Status.NOT_FOR_SIGNING,
    Status.ERROR,
    Status.NO_PUBLIC_KEY,
)


class Unreadable(Exception):
    """The status lines don't tell of every signature: gpg broke off, or saw something else."""


def is_for_gpg(signature: Signature) -> bool:
    """Whether gpg is asked about a signature, or it is known beforehand that there is nothing to prove."""
    return signature.digest in _DIGESTS_OF_GPG


def unproven(signature: Signature, keys: Iterable[PublicKey]) -> SignatureResult:
    """The result for a signature that gpg has said nothing about."""
    key = _claimed_key(signature, keys)
    if key is None:
        return SignatureResult(Status.NO_PUBLIC_KEY, signature, None)
    return SignatureResult(
        Status.WEAK_DIGEST if signature.digest in WEAK_DIGESTS else Status.ERROR, signature, key
    )


def foremost(results: Iterable[SignatureResult]) -> SignatureResult:
    """The one that counts of several results for one signature."""
    return min(results, key=lambda result: _FOREMOST.index(result.status))


def read_results(
    lines: Sequence[StatusLine], signatures: Sequence[Signature], keys: Mapping[str, PublicKey], now: datetime
) -> tuple[SignatureResult, ...]:
    """One result per signature, in their order, from all status lines of one run. Raises Unreadable."""
    groups = list(_groups(lines))
    if len(groups) != len(signatures):
        raise Unreadable
    pairs = zip(signatures, groups, strict=True)
    return tuple(_result(signature, group, keys, now) for signature, group in pairs)


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


def _result(
    signature: Signature, group: list[StatusLine], keys: Mapping[str, PublicKey], now: datetime
) -> SignatureResult:
    verdicts = [line for line in group if line[0] in _VERDICTS]
    if len(verdicts) != 1:
        return unproven(signature, keys.values())
    keyword, value = verdicts[0]
    if keyword == "BADSIG":
        return SignatureResult(Status.BAD, signature, _claimed_key(signature, keys.values()))
    if keyword == "ERRSIG":
        return _unchecked_result(signature, value, keys, now)
    proofs = [value.split() for keyword, value in group if keyword == "VALIDSIG"]
    if len(proofs) != 1 or len(proofs[0]) < 10 or _TIME.fullmatch(proofs[0][2]) is None:
        return unproven(signature, keys.values())
    return _proven_result(signature, keyword, proofs[0], keys, now)


def _claimed_key(signature: Signature, keys: Iterable[PublicKey]) -> PublicKey | None:
    return next((key for key in keys if any(signature.claims(part.fingerprint) for part in _parts(key))), None)


def _parts(key: PublicKey) -> tuple[PublicKey | Subkey, ...]:
    return (key, *key.subkeys)


def _unchecked_result(
    signature: Signature, value: str, keys: Mapping[str, PublicKey], now: datetime
) -> SignatureResult:
    # ERRSIG <key id> <public key algorithm> <digest> <class> <time> <reason> <fingerprint>
    key = _claimed_key(signature, keys.values())
    signing = [part for part in _parts(key) if signature.claims(part.fingerprint)] if key else []
    if value.split()[5:6] == [_NO_PUBLIC_KEY]:
        status = Status.NO_PUBLIC_KEY
    elif any(part.created_at and part.created_at > now for part in signing):
        status = Status.FUTURE
    elif signing and not any("s" in part.capabilities for part in signing):
        status = Status.NOT_FOR_SIGNING
    else:
        status = Status.WEAK_DIGEST if signature.digest in WEAK_DIGESTS else Status.ERROR
    return SignatureResult(status, signature, key)


def _proven_result(
    signature: Signature, keyword: str, proof: list[str], keys: Mapping[str, PublicKey], now: datetime
) -> SignatureResult:
    # VALIDSIG <fingerprint> <date> <time> <expires> <version> 0 <algorithm> <digest> <class> <primary>
    signing, digest, primary = proof[0].lower(), proof[7], proof[9].lower()
    key = keys.get(primary)
    part = next((part for part in _parts(key) if part.fingerprint == signing), None) if key else None
    if key is None or part is None or not signature.claims(signing):
        return unproven(signature, keys.values())
    made_at = datetime.fromtimestamp(int(proof[2]), UTC)
    if keyword == "REVKEYSIG" or key.revoked or part.revoked:
        status = Status.REVOKED_KEY
    elif keyword == "EXPKEYSIG" or key.expired or part.expired:
        status = Status.EXPIRED_KEY
    elif keyword == "EXPSIG":
        status = Status.EXPIRED_SIGNATURE
    elif signature.digest in WEAK_DIGESTS or digest in _WEAK_NUMBERS:
        status = Status.WEAK_DIGEST
    elif key.is_weak(signing):
        status = Status.WEAK_KEY
    elif made_at > now + _CLOCKS_DIFFER:
        # gpg doesn't mind. But then one of the two clocks is wrong, and nothing is known of what has expired.
        status = Status.FUTURE
    elif "s" not in part.capabilities:
        # Newer versions of gpg say so themselves.
        status = Status.NOT_FOR_SIGNING
    else:
        status = Status.GOOD
    return SignatureResult(status, signature, key, signing)
