"""OpenPGP bytes taken apart: who claims to have made a signature, which keys a file holds.

Pure and strict, and no cryptography: nothing read here is proven, gpg does that (`openpgp`). What gpg is
given are the very packets found here, so that the two can't read the same bytes differently. Rules: RFC 4880,
sections 4.2 (packets), 5.2 (signatures), 6.2 (armor), 11.1 (keys), 12.2 (fingerprints).
"""

import base64
import binascii
import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from acistore.errors import KeyRefused, MalformedSignature

_log = logging.getLogger("acistore.trust")

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

_WHITE = b" \t\r\n\f\v"

_SIGNATURE, _SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY = 2, 5, 6, 7
_MARKER, _TRUST, _USER_ID, _PUBLIC_SUBKEY, _USER_ATTRIBUTE = 10, 12, 13, 14, 17
_MESSAGE_TAGS = {3, 4, 8, 9, 11, 18}
# A keyring file of GnuPG has its own notes between the packets; they say nothing to anybody else.
_NOTES = {_MARKER, _TRUST}
_PARTS_OF_A_KEY = {_PUBLIC_SUBKEY, _USER_ID, _USER_ATTRIBUTE, _SIGNATURE}

_SIGNATURE_LABEL = b"PGP SIGNATURE"
_KEY_LABEL = b"PGP PUBLIC KEY BLOCK"
_WHAT_ELSE = {
    b"PGP SIGNATURE": "a signature",
    b"PGP PUBLIC KEY BLOCK": "a public key",
    b"PGP PRIVATE KEY BLOCK": "a secret key",
    b"PGP SIGNED MESSAGE": "a clear-signed text",
    b"PGP MESSAGE": "a message with its content",
}

_ARMOR_BEGIN = re.compile(rb"^-----BEGIN (PGP [A-Z0-9 ,/]+)-----[ \t\r]*$", re.MULTILINE)
_ARMOR_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ?.*")

_BINARY_DOCUMENT, _TEXT_DOCUMENT = 0x00, 0x01
_CREATED, _EXPIRES_AFTER, _ISSUER_KEY_ID, _ISSUER_FINGERPRINT = 2, 3, 16, 33


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
    def armored(self) -> bytes:
        """The one key as an armored block, the format of a file in the trust store."""
        return armored(self.packets)


class _Malformed(Exception):
    """What is wrong with the bytes, as the end of a sentence."""


def read_signatures(material: bytes) -> tuple[Signature, ...]:
    """The signatures of a detached signature file, armored or binary, at least one.

    Several may follow one another, in one armored block or in several; white space around them is all else
    that there may be. A signature over text is refused, since it would hold for other bytes too (line ends,
    trailing blanks). Raises MalformedSignature.
    """
    try:
        found = tuple(_signature(body, packet) for tag, body, packet in _signature_packets(material))
        if not found:
            raise _Malformed("it is empty")
    except _Malformed as error:
        raise MalformedSignature(f"not a detached OpenPGP signature: {error}") from None
    return found


def read_key_blocks(material: bytes) -> tuple[KeyBlock, ...]:
    """The public keys of a file, armored (one block or several, with text between) or binary, at least one.

    The same key twice in the same words counts once. Keys of versions other than 4 are left out with a
    warning. Raises KeyRefused: not keys, or secret ones among them.
    """
    try:
        blocks = tuple(dict.fromkeys(_key_blocks(_key_packets(material))))
        if not blocks:
            raise _Malformed("there is no key in it")
    except _Malformed as error:
        raise KeyRefused(f"not an OpenPGP public key: {error}") from None
    return blocks


def armored(packets: bytes) -> bytes:
    """An armored public key block (RFC 4880, section 6.2) around packets."""
    lines = re.findall(rb".{1,64}", base64.b64encode(packets))
    first, last = (b"-----" + word + b" " + _KEY_LABEL + b"-----" for word in (b"BEGIN", b"END"))
    return b"\n".join([first, b"", *lines, b"=" + base64.b64encode(_checksum(packets)), last, b""])


def _signature_packets(material: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    for packet in _all_packets(material, _SIGNATURE_LABEL, text_between=False):
        if packet[0] in _MESSAGE_TAGS:
            raise _Malformed("it is a message with its content, signed or encrypted")
        if packet[0] != _SIGNATURE:
            raise _Malformed(f"it holds a packet of type {packet[0]}")
        yield packet


def _key_packets(material: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    for packet in _all_packets(material, _KEY_LABEL, text_between=True):
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


def _all_packets(material: bytes, label: bytes, *, text_between: bool) -> Iterator[tuple[int, bytes, bytes]]:
    start = material.lstrip(_WHITE)
    if not start:
        return
    if start[0] & 0x80:
        yield from _packets(start)
        return
    for block in _armored_blocks(start, label, text_between=text_between):
        yield from _packets(block)


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, body and the whole of each packet, up to the end or to trailing white space."""
    position = 0
    while position < len(data):
        if not data[position] & 0x80:
            if data[position:].strip(_WHITE):
                raise _Malformed("there is something else after it")
            return
        tag, start, length = _packet_header(data, position)
        if start + length > len(data):
            raise _Malformed("it is cut off")
        yield tag, data[start : start + length], data[position : start + length]
        position = start + length


def _packet_header(data: bytes, position: int) -> tuple[int, int, int]:
    """Tag, where the body starts, its length. Lengths left open belong to messages, which are not wanted."""
    first = data[position]
    if first & 0x40:
        length, start = _length(data, position + 1)
        return first & 0x3F, start, length
    width = 1 << (first & 3)
    tag, start = (first >> 2) & 0xF, position + 1 + width
    if width == 8:
        if tag in _MESSAGE_TAGS:
            raise _Malformed("it is a message with its content, signed or encrypted")
        raise _Malformed("a packet has no length")
    return tag, start, int.from_bytes(_exactly(data, position + 1, width), "big")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A length of new packets and of subpackets, and where it ends."""
    first = _exactly(data, position, 1)[0]
    if first < 192:
        return first, position + 1
    if first < 224:
        return ((first - 192) << 8) + _exactly(data, position + 1, 1)[0] + 192, position + 2
    if first == 255:
        return int.from_bytes(_exactly(data, position + 1, 4), "big"), position + 5
    raise _Malformed("a packet comes in parts, as only messages do")


def _exactly(data: bytes, position: int, count: int) -> bytes:
    piece = data[position : position + count]
    if len(piece) < count:
        raise _Malformed("it is cut off")
    return piece


def _armored_blocks(text: bytes, label: bytes, *, text_between: bool) -> Iterator[bytes]:
    position, found = 0, False
    while begin := _ARMOR_BEGIN.search(text, position):
        if begin[1] == b"PGP PRIVATE KEY BLOCK" and label == _KEY_LABEL:
            raise _secret_key()
        if begin[1] != label:
            raise _Malformed(f"it is {_WHAT_ELSE.get(begin[1], 'something else')}")
        end = re.compile(rb"^-----END " + label + rb"-----[ \t\r]*$", re.MULTILINE).search(text, begin.end())
        if end is None:
            raise _Malformed("it is cut off")
        if text[position : begin.start()].strip(_WHITE) and not text_between:
            raise _Malformed("there is something else before it")
        yield _unarmored(text[begin.end() : end.start()])
        position, found = end.end(), True
    if text[position:].strip(_WHITE) and not (found and text_between):
        raise _Malformed("there is something else after it" if found else "there is none in it")


def _unarmored(block: bytes) -> bytes:
    """The bytes of an armored block, from what stands between its first and its last line."""
    # The block begins with the end of the BEGIN line, so the first line here is always empty.
    lines = [line.strip(_WHITE) for line in block.split(b"\n")][1:]
    while lines and lines[0]:
        if _ARMOR_HEADER.fullmatch(lines.pop(0)) is None:
            raise _Malformed("its armor has no empty line after the headers")
    body = [line for line in lines if line]
    checksum = body.pop()[1:] if body and body[-1].startswith(b"=") else None
    try:
        data = base64.b64decode(b"".join(body), validate=True)
        if checksum is not None and base64.b64decode(checksum, validate=True) != _checksum(data):
            raise _Malformed("the checksum of its armor is wrong")
    except binascii.Error:
        raise _Malformed("its armor is damaged") from None
    return data


def _crc24_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
        table.append(crc)
    return table


_CRC24_TABLE = _crc24_table()


def _checksum(data: bytes) -> bytes:
    """The CRC-24 of RFC 4880, section 6.1."""
    crc = 0xB704CE
    for byte in data:
        crc = ((crc << 8) & 0xFFFFFF) ^ _CRC24_TABLE[(crc >> 16) ^ byte]
    return crc.to_bytes(3, "big")


def _signature(body: bytes, packet: bytes) -> Signature:
    version = _exactly(body, 0, 1)[0]
    if version == 4:
        return _signature_v4(body, packet)
    if version == 3:
        _check_kind(_exactly(body, 2, 1)[0])
        created_at = datetime.fromtimestamp(int.from_bytes(_exactly(body, 3, 4), "big"), UTC)
        digest = _digest(_exactly(body, 16, 1)[0])
        return Signature(packet, None, _exactly(body, 7, 8).hex(), digest, created_at, None)
    raise _Malformed(f"signatures of version {version} are not supported")


def _signature_v4(body: bytes, packet: bytes) -> Signature:
    _check_kind(_exactly(body, 1, 1)[0])
    hashed_size = int.from_bytes(_exactly(body, 4, 2), "big")
    hashed = list(_subpackets(_exactly(body, 6, hashed_size)))
    unhashed_size = int.from_bytes(_exactly(body, 6 + hashed_size, 2), "big")
    unhashed = list(_subpackets(_exactly(body, 8 + hashed_size, unhashed_size)))
    # The first of several counts, and what is signed over comes first; the issuer often stands outside of it.
    claims = dict(reversed([*hashed, *unhashed]))
    signed = dict(reversed(hashed))
    issuer = claims.get(_ISSUER_FINGERPRINT, b"")
    fingerprint = issuer[1:].hex() if len(issuer) == 21 and issuer[0] == 4 else None
    key_id = fingerprint[-16:] if fingerprint else claims.get(_ISSUER_KEY_ID, b"").hex() or None
    created_at = expires_at = None
    if created := signed.get(_CREATED):
        created_at = datetime.fromtimestamp(int.from_bytes(created[:4], "big"), UTC)
        if lifetime := int.from_bytes(signed.get(_EXPIRES_AFTER, b"")[:4], "big"):
            expires_at = created_at + timedelta(seconds=lifetime)
    return Signature(packet, fingerprint, key_id, _digest(body[3]), created_at, expires_at)


def _check_kind(kind: int) -> None:
    if kind == _TEXT_DOCUMENT:
        raise _Malformed("it is made over text, and would hold for an image with other line ends too")
    if kind != _BINARY_DOCUMENT:
        raise _Malformed(f"it is a signature of type 0x{kind:02x}, not one over a file")


def _digest(number: int) -> str:
    return DIGESTS.get(number, f"digest {number}")


def _subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(area):
        length, position = _subpacket_length(area, position)
        content = _exactly(area, position, length)
        if not content:
            raise _Malformed("a subpacket is empty")
        yield content[0] & 0x7F, content[1:]
        position += length


def _subpacket_length(area: bytes, position: int) -> tuple[int, int]:
    # Unlike those of packets, two-octet lengths of subpackets go up to a first octet of 254.
    first = area[position]
    if 224 <= first < 255:
        return ((first - 192) << 8) + _exactly(area, position + 1, 1)[0] + 192, position + 2
    return _length(area, position)


def _key_blocks(packets: Iterator[tuple[int, bytes, bytes]]) -> Iterator[KeyBlock]:
    for primary, parts in _grouped(packets):
        version = primary[0] if primary else 0
        if version != 4:
            _log.warning("an OpenPGP key of version %d is left out: only version 4 is supported", version)
            continue
        subkeys = tuple(
            _fingerprint(body) for tag, body, _ in parts if tag == _PUBLIC_SUBKEY and body[:1] == b"\x04"
        )
        yield KeyBlock(_fingerprint(primary), subkeys, b"".join(packet for _, _, packet in parts))


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
            raise _Malformed("it is a signature")
        else:
            raise _Malformed(f"it holds a packet of type {packet[0]}")
    if parts:
        yield parts[0][1], parts


def _fingerprint(body: bytes) -> str:
    if len(body) > 0xFFFF:
        raise _Malformed("a key is too large")
    prefix = b"\x99" + len(body).to_bytes(2, "big")
    return hashlib.sha1(prefix + body, usedforsecurity=False).hexdigest()
