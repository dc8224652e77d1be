"""The keys of a `gpg --with-colons` listing (GnuPG, doc/DETAILS) as values."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from acistore.trust.keys import PublicKey, Subkey
from acistore.trust.openpgp.packets import KeyBlock, dsa_orders

# Bits: DSA in a subgroup of less than the one is no stronger than with a modulus of the other.
_SHORTEST_ORDER, _AS_WEAK_AS = 224, 1024

# What gpg writes behind a backslash, besides `x` and two digits.
_ESCAPES = {"0": "\0", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "v": "\v"}

_ALGORITHMS = {1: "rsa", 2: "rsa", 3: "rsa", 16: "elgamal", 17: "dsa", 18: "ecdh", 19: "ecdsa", 22: "eddsa"}


def read_listing(listing: bytes, blocks: Mapping[str, KeyBlock]) -> Iterator[PublicKey]:
    """The keys of a listing that are of these blocks, by fingerprint. Raises ValueError, LookupError."""
    records = [line.decode("utf-8", "replace").split(":") for line in listing.split(b"\n")]
    start: int | None = None
    for number, record in enumerate([*records, ["pub"]]):
        if record[0] == "pub":
            if start is not None:
                fingerprints = [each[9].lower() for each in records[start:number] if each[0] == "fpr"]
                if (block := blocks.get(fingerprints[0])) is not None:
                    yield _public_key(records[start:number], fingerprints, block)
            start = number


def _public_key(records: list[list[str]], fingerprints: list[str], block: KeyBlock) -> PublicKey:
    primary = records[0]
    subkeys = [record for record in records if record[0] == "sub"]
    revoked = primary[1] == "r"
    orders = dsa_orders(block)
    return PublicKey(
        block=block,
        # A user ID that its owner has withdrawn says nothing; of a revoked key all count as withdrawn.
        user_ids=tuple(_unescaped(r[9]) for r in records if r[0] == "uid" and (revoked or r[1] not in "ri")),
        algorithm=_algorithm(primary),
        bits=_bits(primary, orders.get(fingerprints[0])),
        created_at=_time(primary[5]) or datetime.fromtimestamp(0, UTC),
        expires_at=_time(primary[6]),
        expired=primary[1] == "e",
        revoked=revoked,
        subkeys=tuple(
            _subkey(record, each, orders.get(each)) for record, each in zip(subkeys, fingerprints[1:], strict=True)
        ),
        # Capitals tell what the key can do as a whole.
        capabilities="".join(letter for letter in primary[11] if letter.islower()),
    )


def _subkey(record: list[str], fingerprint: str, order: int | None) -> Subkey:
    return Subkey(
        fingerprint=fingerprint,
        algorithm=_algorithm(record),
        bits=_bits(record, order),
        capabilities=record[11],
        created_at=_time(record[5]) or datetime.fromtimestamp(0, UTC),
        expires_at=_time(record[6]),
        expired=record[1] == "e",
        revoked=record[1] == "r",
    )


def _bits(record: list[str], order: int | None) -> int:
    """The length of a key: of a DSA key in a short subgroup, the one that is as weak (NIST SP 800-57, part 1)."""
    bits = int(record[2])
    return bits if order is None or order >= _SHORTEST_ORDER else min(bits, _AS_WEAK_AS)


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
    return re.sub(r"\\(?:x([0-9a-f]{2})|([0bfnrv]))", _character, text)


def _character(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 16)) if escaped[1] else _ESCAPES[escaped[2]]
