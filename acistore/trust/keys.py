"""Keys of any scheme as values: what is known of one, and where one is trusted.

No gpg is started here and no file is read. Fingerprints are lower-case hex everywhere, times UTC: 40 digits are
an OpenPGP key's, 64 an SSH key's (the SHA-256 of its blob, as `ssh-keygen -l` shows it in Base64).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

Layer = Literal["system", "local", "user"]
Scheme = Literal["openpgp", "ssh"]

# Bits; what is neither is a curve, which reaches the same with fewer.
_SHORTEST = {"rsa": 2048, "dsa": 2048}
_SHORTEST_CURVE = 255


class KeyBlock(Protocol):
    """One public key with all that belongs to it, as a key file holds it. Hashable."""

    @property
    def scheme(self) -> Scheme: ...

    @property
    def fingerprint(self) -> str:
        """Of the primary key."""

    @property
    def subkeys(self) -> tuple[str, ...]:
        """Fingerprints of what claims to be its subkeys."""

    @property
    def as_file(self) -> bytes:
        """The content of its file in the trust store."""


@dataclass(frozen=True, slots=True)
class Subkey:
    """A subkey that its primary key vouches for.

    `capabilities` is some of `s` (sign), `e` (encrypt), `a` (authenticate), `c` (certify).
    """

    fingerprint: str
    algorithm: str
    bits: int
    capabilities: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool
    revoked: bool


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key as it is now. `algorithm` is `rsa`, `dsa` or a curve such as `ed25519`.

    `expired` and `revoked` are of the key as a whole, `capabilities` of the primary key alone; a subkey has its
    own of all three. An SSH key has no end and no subkeys, and it is not known when it was made; its comment
    stands for a user ID.
    """

    block: KeyBlock
    user_ids: tuple[str, ...]
    algorithm: str
    bits: int
    created_at: datetime | None
    expires_at: datetime | None
    expired: bool
    revoked: bool
    subkeys: tuple[Subkey, ...]
    capabilities: str = "sc"

    @property
    def fingerprint(self) -> str:
        """Of the primary key."""
        return self.block.fingerprint

    @property
    def user_id(self) -> str | None:
        """The first user ID."""
        return self.user_ids[0] if self.user_ids else None

    @property
    def parts(self) -> "tuple[PublicKey | Subkey, ...]":
        """The primary key and its subkeys."""
        return (self, *self.subkeys)

    def with_revoked(self, revoked: Mapping[str, Collection[str]]) -> "PublicKey":
        """The same key, of which these parts are revoked, too: `revoked` has them by fingerprint of the key."""
        fingerprints = revoked.get(self.fingerprint, ())
        subkeys = (
            replace(each, revoked=each.revoked or each.fingerprint in fingerprints) for each in self.subkeys
        )
        return replace(self, revoked=self.revoked or self.fingerprint in fingerprints, subkeys=tuple(subkeys))

    def is_weak(self, signing_fingerprint: str) -> bool:
        """Whether the primary key, or the subkey that signs, is too short to be relied on."""
        lengths = {(self.algorithm, self.bits)} | {
            (subkey.algorithm, subkey.bits) for subkey in self.subkeys if subkey.fingerprint == signing_fingerprint
        }
        return any(bits < _SHORTEST.get(algorithm, _SHORTEST_CURVE) for algorithm, bits in lengths)


def scheme_of(fingerprint: str) -> Scheme:
    """The scheme of the key with a whole fingerprint: they differ in length."""
    return "ssh" if len(fingerprint) == 64 else "openpgp"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key file lies, and so what its key is trusted for: the names under `prefix`, or all when None."""

    fingerprint: str
    prefix: str | None
    layer: Layer
    path: Path

    @property
    def rule(self) -> str:
        """The prefix, or `root`."""
        return self.prefix or "root"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that is trusted, and by which file."""

    block: KeyBlock
    place: Place

    @property
    def parts(self) -> tuple[str, ...]:
        """The fingerprints of the primary key and of all that claims to be a subkey."""
        return (self.block.fingerprint, *self.block.subkeys)

    @property
    def fingerprint(self) -> str:
        """Of the primary key."""
        return self.block.fingerprint
