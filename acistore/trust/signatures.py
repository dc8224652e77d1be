"""Signatures of any scheme as values: what one says of itself, and what a check has found.

Facts only; whether they are enough is decided in `policy`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from acistore.trust.keys import PublicKey, Scheme


class Signature(Protocol):
    """One detached signature and what it says of itself: claims, until it has been checked."""

    @property
    def scheme(self) -> Scheme: ...

    @property
    def fingerprint(self) -> str | None:
        """Of the very key that signs, often a subkey; lower-case hex. None when the signature doesn't tell."""

    @property
    def key_id(self) -> str | None:
        """The end of that fingerprint, of an OpenPGP signature that tells no more."""

    @property
    def digest(self) -> str:
        """What was used to hash the data: `SHA512`."""

    @property
    def created_at(self) -> datetime | None: ...

    @property
    def expires_at(self) -> datetime | None: ...

    def claims(self, fingerprint: str) -> bool:
        """Whether this may be by the key (or subkey) with that fingerprint."""
        ...


class Status(StrEnum):
    """What became of one signature."""

    GOOD = "good"
    BAD = "bad"
    REVOKED_KEY = "revoked key"
    EXPIRED_KEY = "expired key"
    EXPIRED_SIGNATURE = "expired signature"
    WEAK_DIGEST = "weak digest"
    WEAK_KEY = "weak key"
    FUTURE = "from the future"
    NOT_FOR_SIGNING = "not for signing"
    NO_TOUCH = "no touch"
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
