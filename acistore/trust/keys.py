"""Keys as values: what gpg says of one, and where one is trusted.

No gpg is started here and no file is read. Fingerprints are lower-case hex everywhere, times UTC.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from acistore.errors import UsageError
from acistore.naming import quoted
from acistore.trust.packets import KeyBlock

Layer = Literal["system", "local", "user"]

_SHORTEST = 2048
_ALGORITHMS = {1: "rsa", 2: "rsa", 3: "rsa", 16: "elgamal", 17: "dsa", 18: "ecdh", 19: "ecdsa", 22: "eddsa"}


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
    """A key as gpg sees it now. `algorithm` is `rsa`, `dsa` or a curve such as `ed25519`.

    `expired` and `revoked` are of the key as a whole; a subkey has its own.
    """

    block: KeyBlock
    user_ids: tuple[str, ...]
    algorithm: str
    bits: int
    created_at: datetime
    expires_at: datetime | None
    expired: bool
    revoked: bool
    subkeys: tuple[Subkey, ...]

    @property
    def fingerprint(self) -> str:
        """Of the primary key."""
        return self.block.fingerprint

    @property
    def user_id(self) -> str | None:
        """The first user ID."""
        return self.user_ids[0] if self.user_ids else None

    def is_weak(self, signing_fingerprint: str) -> bool:
        """Whether the primary key, or the subkey that signs, is too short to be relied on."""
        lengths = {(self.algorithm, self.bits)} | {
            (subkey.algorithm, subkey.bits) for subkey in self.subkeys if subkey.fingerprint == signing_fingerprint
        }
        return any(algorithm in ("rsa", "dsa") and bits < _SHORTEST for algorithm, bits in lengths)


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
    def fingerprint(self) -> str:
        """Of the primary key."""
        return self.block.fingerprint


def normal_fingerprint(text: str) -> str:
    """A whole fingerprint as people write it (blanks, capitals) in the form used here. Raises UsageError."""
    fingerprint = _hex(text)
    if re.fullmatch(r"[0-9a-f]{40}", fingerprint) is None:
        raise UsageError(
            f"{quoted(text)} is not a whole fingerprint of 40 hexadecimal digits",
            next_step="gpg --show-keys --with-fingerprint KEYFILE",
        )
    return fingerprint


def fingerprint_tail(text: str) -> str:
    """A fingerprint or the last 16 or more digits of one, in the form used here. Raises UsageError."""
    tail = _hex(text)
    if re.fullmatch(r"[0-9a-f]{16,40}", tail) is None:
        raise UsageError(
            f"{quoted(text)} is not a fingerprint, nor the last 16 or more digits of one",
            next_step="acistore trust list",
        )
    return tail


def _hex(text: str) -> str:
    return re.sub(r"\s", "", text).lower().removeprefix("0x")


def shown_fingerprint(fingerprint: str) -> str:
    """A fingerprint (or key ID) for people: capitals, in groups of four."""
    return " ".join(re.findall(r".{1,4}", fingerprint.upper()))


def read_listing(listing: bytes, blocks: Mapping[str, KeyBlock]) -> Iterator[PublicKey]:
    """The keys of a `gpg --with-colons` listing (GnuPG, doc/DETAILS), each with its block of `blocks`."""
    records = [line.decode("utf-8", "replace").split(":") for line in listing.split(b"\n")]
    start: int | None = None
    for number, record in enumerate([*records, ["pub"]]):
        if record[0] == "pub":
            if start is not None:
                yield _public_key(records[start:number], blocks)
            start = number


def _public_key(records: list[list[str]], blocks: Mapping[str, KeyBlock]) -> PublicKey:
    primary = records[0]
    fingerprints = [record[9].lower() for record in records if record[0] == "fpr"]
    subkeys = [record for record in records if record[0] == "sub"]
    revoked = primary[1] == "r"
    return PublicKey(
        block=blocks[fingerprints[0]],
        # A user ID that its owner has withdrawn says nothing; of a revoked key all count as withdrawn.
        user_ids=tuple(_unescaped(r[9]) for r in records if r[0] == "uid" and (revoked or r[1] not in "ri")),
        algorithm=_algorithm(primary),
        bits=int(primary[2]),
        created_at=_time(primary[5]) or datetime.fromtimestamp(0, UTC),
        expires_at=_time(primary[6]),
        expired=primary[1] == "e",
        revoked=revoked,
        subkeys=tuple(map(_subkey, subkeys, fingerprints[1:])),
    )


def _subkey(record: list[str], fingerprint: str) -> Subkey:
    return Subkey(
        fingerprint=fingerprint,
        algorithm=_algorithm(record),
        bits=int(record[2]),
        capabilities=record[11],
        created_at=_time(record[5]) or datetime.fromtimestamp(0, UTC),
        expires_at=_time(record[6]),
        expired=record[1] == "e",
        revoked=record[1] == "r",
    )


def _algorithm(record: list[str]) -> str:
    curve = record[16] if len(record) > 16 else ""
    return curve or _ALGORITHMS.get(int(record[3]), f"algorithm {record[3]}")


def _time(text: str) -> datetime | None:
    if not text:
        return None
    if "T" in text:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(text), UTC)


def _unescaped(text: str) -> str:
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
