"""OpenPGP bytes taken apart: who claims to have made a signature, which keys a file holds.

Pure and strict, and no cryptography: nothing read here is proven, gpg does that (`openpgp`). What gpg is
given are the very packets found here, so that the two can't read the same bytes differently. Rules: RFC 4880,
sections 5.2 (signatures), 5.5 (key packets), 11.1 (keys), 12.2 (fingerprints); those below are `framing`'s.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from acistore.errors import KeyRefused, MalformedSignature
from acistore.events import log_of
from acistore.trust.keys import Scheme
from acistore.trust.openpgp.framing import (
    KEY_LABEL,
    MESSAGE_TAGS,
    SIGNATURE_LABEL,
    Malformed,
    all_packets,
    areas,
    armored,
    exactly,
    numbers_of,
    packet_header,
    packets_of,
    subpackets,
)

_log = log_of("acistore.trust")

DIGESTS = {
    1: "MD5",
    2: "SHA1",
    3: "RIPEMD160",
    8: "SHA256",
    9: "SHA384",
    10: "SHA512",
    11: "SHA224",
    12: "SHA3-256",
    14: "SHA3-512",
}

_SIGNATURE, _SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY = 2, 5, 6, 7
_MARKER, _TRUST, _USER_ID, _PUBLIC_SUBKEY, _USER_ATTRIBUTE = 10, 12, 13, 14, 17
# A keyring file of GnuPG has its own notes between the packets; they say nothing to anybody else.
_NOTES = {_MARKER, _TRUST}
_PARTS_OF_A_KEY = {_PUBLIC_SUBKEY, _USER_ID, _USER_ATTRIBUTE, _SIGNATURE}

# Wherever it stands, also where it begins no armor: somebody has copied what nobody should see.
_SECRET_LABEL = re.compile(rb"BEGIN PGP (PRIVATE|SECRET) KEY")

# Of one file. More are nobody's need, and each costs gpg a check.
_MOST_SIGNATURES = 100
_MOST_KEYS = 1000
# Of one key, its own. Of 1,220 keys of Debian's developers none has more than 119. A check costs gpg up to 12 ms.
_MOST_PARTS = 200

# Bits. What a check of a signature costs goes by the exponent as well (RSA), or by the subgroup (DSA). Of those
# developers' keys no modulus has more than 10240 bits, and no exponent more than 32; most are 65537.
_LONGEST_MODULUS, _LONGEST_USUAL_MODULUS = 16384, 10240
_LONGEST_EXPONENT, _LONGEST_USUAL_EXPONENT = 32, 17
_LONGEST_DSA, _LONGEST_ORDER = 4096, 256
# Octets of the subpackets that a signature has in one place; gpg takes no more.
_LARGEST_AREA = 10_000

_BINARY_DOCUMENT, _TEXT_DOCUMENT = 0x00, 0x01
_CREATED, _EXPIRES_AFTER, _ISSUER_KEY_ID, _ISSUER_FINGERPRINT = 2, 3, 16, 33

# How many numbers a signature of each algorithm consists of, and a key. Keys on curves are more than numbers.
_RSA, _ELGAMAL, _DSA, _ECDH = {1, 2, 3}, 16, 17, 18
_NUMBERS_OF_SIGNATURES = {1: 1, 3: 1, _DSA: 2, 19: 2, 22: 2}
_NUMBERS_OF_KEYS = {**dict.fromkeys(_RSA, 2), _ELGAMAL: 3, _DSA: 4}
_CURVES = {_ECDH, 19, 22}
# Whose points are plain octets, and may begin with zeros: Ed448 and X448.
_POINTS_OF_OCTETS = {bytes.fromhex("2b6571"), bytes.fromhex("2b656f")}


@dataclass(frozen=True, slots=True)
class Signature:
    """One detached signature and what it says of itself: claims, until gpg has checked them.

    `fingerprint` is of the very key that signs, often a subkey; lower-case hex like `key_id`, which is its
    last 16 digits. Both are None when the signature names nobody. `packet` is what gpg is given.
    """

    packet: bytes
    fingerprint: str | None
    key_id: str | None
    digest: str
    created_at: datetime | None
    expires_at: datetime | None

    @property
    def scheme(self) -> Scheme:
        return "openpgp"

    def claims(self, fingerprint: str) -> bool:
        """Whether this may be by the key (or subkey) with that fingerprint."""
        if self.fingerprint is not None:
            return self.fingerprint == fingerprint
        return self.key_id is not None and fingerprint.endswith(self.key_id)


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """One public key with all that belongs to it, as it was found; lower-case hex fingerprints."""

    fingerprint: str
    subkeys: tuple[str, ...]
    packets: bytes

    @property
    def parts(self) -> tuple[str, ...]:
        """The fingerprints of the primary key and of all that claim to be its subkeys."""
        return (self.fingerprint, *self.subkeys)

    @property
    def created_at(self) -> datetime:
        """When the primary key says it was made."""
        _, start, _ = packet_header(self.packets, 0)
        return datetime.fromtimestamp(int.from_bytes(self.packets[start + 1 : start + 5], "big"), UTC)

    @property
    def scheme(self) -> Scheme:
        return "openpgp"

    @property
    def as_file(self) -> bytes:
        """The one key as an armored block."""
        return armored(self.packets)


def read_signatures(material: bytes) -> tuple[Signature, ...]:
    """The signatures of a detached signature file, armored or binary: at least one, at most 100.

    Several may follow one another, in one armored block or in several; white space around them is all else
    that there may be. A signature over text is refused, since it would hold for other bytes too (line ends,
    trailing blanks). Raises MalformedSignature.
    """
    try:
        packets = islice(_signature_packets(material), _MOST_SIGNATURES + 1)
        found = tuple(_signature(body, packet) for _, body, packet in packets)
        if len(found) > _MOST_SIGNATURES:
            raise Malformed(f"it holds more than {_MOST_SIGNATURES} signatures")
        if not found:
            raise Malformed("it is empty")
    except Malformed as error:
        raise MalformedSignature(f"not a detached OpenPGP signature: {error}") from None
    return found


def read_key_blocks(material: bytes) -> tuple[KeyBlock, ...]:
    """The public keys of a file, armored (one block or several, with text between) or binary: at least one, at
    most 1000.

    The same key twice in the same words counts once. Keys of versions other than 4, those whose numbers are not
    written as they should be or too large, and those with more than 200 user IDs, subkeys and signatures of their
    own are left out with a warning. Raises KeyRefused: not keys, none that can be used, or secret ones among them.
    """
    left_out: list[str] = []
    try:
        blocks = tuple(dict.fromkeys(_key_blocks(_key_packets(material), left_out)))
        if not blocks:
            raise Malformed(": ".join(["there is no key in it that can be used", *left_out[:1]]))
    except Malformed as error:
        raise KeyRefused(f"not an OpenPGP public key: {error}") from None
    return blocks


def claimed(blocks: Iterable[KeyBlock], signatures: Sequence[Signature]) -> list[KeyBlock]:
    """The keys that signatures claim to be by; what others there are is no matter, and gpg need not see them."""
    return [block for block in blocks if any(each.claims(part) for part in block.parts for each in signatures)]


def dsa_orders(block: KeyBlock) -> dict[str, int]:
    """The length, in bits, of the subgroup that each DSA key of a block works in, by fingerprint."""
    keys = [body for tag, body, _ in packets_of(block.packets) if tag in (_PUBLIC_KEY, _PUBLIC_SUBKEY)]
    return {
        _fingerprint(body): int.from_bytes(numbers_of(body, 6, 2)[0][1][:2], "big")
        for body in keys
        if body[:1] == b"\x04" and body[5:6] == bytes([_DSA])
    }


def _signature_packets(material: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    for packet in all_packets(material, SIGNATURE_LABEL, text_between=False):
        if packet[0] in MESSAGE_TAGS:
            raise Malformed("it is a message with its content, signed or encrypted")
        if packet[0] != _SIGNATURE:
            raise Malformed(f"it holds a packet of type {packet[0]}")
        yield packet


def _key_packets(material: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    if _SECRET_LABEL.search(material):
        raise _secret_key()
    for packet in all_packets(material, KEY_LABEL, text_between=True):
        if packet[0] in (_SECRET_KEY, _SECRET_SUBKEY):
            raise _secret_key()
        if packet[0] not in _NOTES:
            yield packet


def _secret_key() -> KeyRefused:
    return KeyRefused(
        "this is a SECRET key, which must never leave its owner; nothing was added",
        facts={"wanted": "the public key that belongs to it"},
        next_step="gpg --armor --export FINGERPRINT",
    )


def _signature(body: bytes, packet: bytes) -> Signature:
    version = exactly(body, 0, 1)[0]
    if version == 4:
        return _signature_v4(body, packet)
    if version == 3:
        _check_kind(exactly(body, 2, 1)[0])
        created_at = datetime.fromtimestamp(int.from_bytes(exactly(body, 3, 4), "big"), UTC)
        _check_numbers_of_signature(body, 19, exactly(body, 15, 1)[0])
        digest = _digest(exactly(body, 16, 1)[0])
        return Signature(packet, None, exactly(body, 7, 8).hex(), digest, created_at, None)
    raise Malformed(f"signatures of version {version} are not supported")


def _signature_v4(body: bytes, packet: bytes) -> Signature:
    _check_kind(exactly(body, 1, 1)[0])
    *places, end = areas(body)
    if max(map(len, places)) > _LARGEST_AREA:
        raise Malformed(f"it has subpackets of more than {_LARGEST_AREA} bytes")
    hashed, unhashed = (list(subpackets(area)) for area in places)
    _check_numbers_of_signature(body, end + 2, body[2])
    # The first of several counts, and what is signed over comes first; the issuer often stands outside of it.
    claims = dict(reversed([*hashed, *unhashed]))
    signed = dict(reversed(hashed))
    issuer = claims.get(_ISSUER_FINGERPRINT, b"")
    fingerprint = issuer[1:].hex() if len(issuer) == 21 and issuer[0] == 4 else None
    named = claims.get(_ISSUER_KEY_ID, b"")
    key_id = fingerprint[-16:] if fingerprint else named.hex() if len(named) == 8 else None
    created_at = expires_at = None
    if created := _seconds(signed.get(_CREATED, b"")):
        created_at = datetime.fromtimestamp(created, UTC)
        if lifetime := _seconds(signed.get(_EXPIRES_AFTER, b"")):
            expires_at = created_at + timedelta(seconds=lifetime)
    return Signature(packet, fingerprint, key_id, _digest(body[3]), created_at, expires_at)


def _seconds(content: bytes) -> int:
    """What a subpacket with a time says; like gpg, nothing when that is too short."""
    return int.from_bytes(content[:4], "big") if len(content) >= 4 else 0


def _check_numbers_of_signature(body: bytes, start: int, algorithm: int) -> None:
    """Whether a signature ends with the numbers that make it one."""
    if (count := _NUMBERS_OF_SIGNATURES.get(algorithm)) is not None:
        _, end = numbers_of(body, start, count)
        if end != len(body):
            raise Malformed("there is something behind its numbers")


def _check_kind(kind: int) -> None:
    if kind == _TEXT_DOCUMENT:
        raise Malformed("it is made over text, and would hold for an image with other line ends too")
    if kind != _BINARY_DOCUMENT:
        raise Malformed(f"it is a signature of type 0x{kind:02x}, not one over a file")


def _digest(number: int) -> str:
    return DIGESTS.get(number, f"digest {number}")


def _key_blocks(packets: Iterator[tuple[int, bytes, bytes]], left_out: list[str]) -> Iterator[KeyBlock]:
    """The keys among these packets; why others are left out is told, and noted."""
    for number, (primary, parts) in enumerate(_grouped(packets)):
        if number == _MOST_KEYS:
            raise Malformed(f"there are more than {_MOST_KEYS} keys in it")
        version = primary[0] if primary else 0
        if version != 4:
            left_out.append(f"only version 4 is supported, and not {version}")
            _log.warning("an OpenPGP key of version %d is left out: only version 4 is supported", version)
            continue
        subkeys = [body for tag, body, _ in parts if tag == _PUBLIC_SUBKEY and body[:1] == b"\x04"]
        try:
            for body in (primary, *subkeys):
                _check_numbers_of_key(body)
            _check_burden(primary, parts)
        except Malformed as error:
            left_out.append(str(error))
            _log.warning("OpenPGP key %s is left out: %s", _fingerprint(primary), error)
            continue
        everything = b"".join(packet for _, _, packet in parts)
        yield KeyBlock(_fingerprint(primary), tuple(map(_fingerprint, subkeys)), everything)


def _check_numbers_of_key(body: bytes) -> None:
    """Whether a key is written in the one way that it should be.

    gpg reads more than that, writes the numbers anew, and so may come to another fingerprint than stands here: to
    that of somebody else's key. What is of an algorithm that isn't known is none that gpg checks signatures with.
    """
    algorithm, start = exactly(body, 5, 1)[0], 6
    plain_octets = False
    if algorithm in _CURVES:
        size = exactly(body, start, 1)[0]
        plain_octets = exactly(body, start + 1, size) in _POINTS_OF_OCTETS
        start += 1 + size
    elif algorithm not in _NUMBERS_OF_KEYS:
        return
    numbers, end = numbers_of(body, start, _NUMBERS_OF_KEYS.get(algorithm, 1))
    if algorithm == _ECDH:
        end += 1 + exactly(body, end, 1)[0]
    lengths = [(int.from_bytes(each[:2], "big"), int.from_bytes(each[2:], "big").bit_length()) for each in numbers]
    if end != len(body) or not (plain_octets or all(told == found for told, found in lengths)):
        raise Malformed("its numbers are not written as they should be")
    _check_size_of_numbers(algorithm, [int.from_bytes(each[2:], "big") for each in numbers])


def _check_size_of_numbers(algorithm: int, numbers: Sequence[int]) -> None:
    """Whether what a check with a key costs is bounded, and its numbers may be what they are said to be.

    Not whether they are prime: nothing is proven here. At some that can't be right gpg breaks off (DSA by 0).
    """
    if algorithm in _RSA:
        modulus, exponent = numbers
        _check_length("its RSA modulus", modulus, _LONGEST_MODULUS)
        is_usual = modulus.bit_length() <= _LONGEST_USUAL_MODULUS
        _check_length("its RSA exponent", exponent, _LONGEST_EXPONENT if is_usual else _LONGEST_USUAL_EXPONENT)
        fits = modulus % 2 == 1 and exponent % 2 == 1 and 3 <= exponent < modulus
    elif algorithm == _DSA:
        prime, order, *others = numbers
        _check_length("its DSA prime", prime, _LONGEST_DSA)
        _check_length("its DSA subgroup", order, _LONGEST_ORDER)
        fits = prime % 2 == 1 and order % 2 == 1 and order < prime and all(1 < each < prime for each in others)
    elif algorithm == _ELGAMAL:
        prime, *others = numbers
        _check_length("its ElGamal prime", prime, _LONGEST_MODULUS)
        fits = prime % 2 == 1 and all(1 <= each < prime for each in others)
    else:
        return
    if not fits:
        raise Malformed("its numbers can't be right")


def _check_length(what: str, number: int, longest: int) -> None:
    if number.bit_length() > longest:
        raise Malformed(f"{what} is too large, with {number.bit_length()} bits of at most {longest}")


def _check_burden(primary: bytes, parts: list[tuple[int, bytes, bytes]]) -> None:
    """Whether what gpg has to check in a key is bounded: whatever may be its own, not what others say of it."""
    key_id = bytes.fromhex(_fingerprint(primary))[-8:]
    own = sum(tag != _SIGNATURE or _may_be_by(key_id, body) for tag, body, _ in parts)
    if own > _MOST_PARTS:
        raise Malformed(f"it has more than {_MOST_PARTS} user IDs, subkeys and signatures of its own")


def _may_be_by(key_id: bytes, body: bytes) -> bool:
    """Whether a signature in a key names that issuer, anywhere, or can't be read."""
    if body[:1] != b"\x04":
        return True
    try:
        hashed, unhashed, _ = areas(body)
        found = [*subpackets(hashed), *subpackets(unhashed)]
    except Malformed:
        return True
    issuers = [content[-8:] for kind, content in found if kind in (_ISSUER_KEY_ID, _ISSUER_FINGERPRINT)]
    return key_id in issuers or not issuers


def _grouped(
    packets: Iterator[tuple[int, bytes, bytes]],
) -> Iterator[tuple[bytes, list[tuple[int, bytes, bytes]]]]:
    """The body of each primary key, and all packets of that key, its own first."""
    parts: list[tuple[int, bytes, bytes]] = []
    for packet in packets:
        if packet[0] == _PUBLIC_KEY:
            if parts:
                yield parts[0][1], parts
            parts = [packet]
        elif parts and packet[0] in _PARTS_OF_A_KEY:
            parts.append(packet)
        elif packet[0] == _SIGNATURE:
            raise Malformed("it is a signature")
        else:
            raise Malformed(f"it holds a packet of type {packet[0]}")
    if parts:
        yield parts[0][1], parts


def _fingerprint(body: bytes) -> str:
    if len(body) > 0xFFFF:
        raise Malformed("a key is too large")
    prefix = b"\x99" + len(body).to_bytes(2, "big")
    return hashlib.sha1(prefix + body, usedforsecurity=False).hexdigest()
