"""OpenPGP bytes as they are wrapped: armor, packets and their lengths, subpackets, numbers.

What a packet means is told in `packets`. Rules: RFC 4880, sections 3.2 (numbers), 4.2 (packets), 5.2.3
(subpackets), 6.2 (armor). Whatever doesn't follow them is Malformed.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import takewhile

WHITE = b" \t\r\n\f\v"

MESSAGE_TAGS = {3, 4, 8, 9, 11, 18}

SIGNATURE_LABEL = b"PGP SIGNATURE"
KEY_LABEL = b"PGP PUBLIC KEY BLOCK"
_WHAT_ELSE = {
    b"PGP SIGNATURE": "a signature",
    b"PGP PUBLIC KEY BLOCK": "a public key",
    b"PGP PRIVATE KEY BLOCK": "a secret key",
    b"PGP SIGNED MESSAGE": "a clear-signed text",
    b"PGP MESSAGE": "a message with its content",
}

_ARMOR_BEGIN = re.compile(rb"^-----BEGIN (PGP [A-Z0-9 ,/]+)-----[ \t\r]*$", re.MULTILINE)
_ARMOR_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ?.*")


class Malformed(Exception):
    """What is wrong with the bytes, as the end of a sentence."""


def armored(packets: bytes) -> bytes:
    """An armored public key block (RFC 4880, section 6.2) around packets."""
    lines = re.findall(rb".{1,64}", base64.b64encode(packets))
    first, last = (b"-----" + word + b" " + KEY_LABEL + b"-----" for word in (b"BEGIN", b"END"))
    return b"\n".join([first, b"", *lines, b"=" + base64.b64encode(_checksum(packets)), last, b""])


def all_packets(material: bytes, label: bytes, *, text_between: bool) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, body and the whole of each packet, in armor with that label or as they are.

    Around packets there may be white space, and with `text_between` any text around armor.
    """
    start = material.lstrip(WHITE)
    if not start:
        return
    if start[0] & 0x80:
        yield from packets_of(start)
        return
    for block in _armored_blocks(start, label, text_between=text_between):
        yield from packets_of(block)


def packets_of(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, body and the whole of each packet, up to the end or to trailing white space."""
    position = 0
    while position < len(data):
        if not data[position] & 0x80:
            if data[position:].strip(WHITE):
                raise Malformed("there is something else after it")
            return
        tag, start, length = packet_header(data, position)
        if start + length > len(data):
            raise Malformed("it is cut off")
        yield tag, data[start : start + length], data[position : start + length]
        position = start + length


def packet_header(data: bytes, position: int) -> tuple[int, int, int]:
    """Tag, where the body starts, its length. Lengths left open belong to messages, which are not wanted."""
    first = data[position]
    if first & 0x40:
        length, start = _length(data, position + 1)
        return first & 0x3F, start, length
    width = 1 << (first & 3)
    tag, start = (first >> 2) & 0xF, position + 1 + width
    if width == 8:
        if tag in MESSAGE_TAGS:
            raise Malformed("it is a message with its content, signed or encrypted")
        raise Malformed("a packet has no length")
    return tag, start, int.from_bytes(exactly(data, position + 1, width), "big")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A length of new packets and of subpackets, and where it ends."""
    first = exactly(data, position, 1)[0]
    if first < 192:
        return first, position + 1
    if first < 224:
        return ((first - 192) << 8) + exactly(data, position + 1, 1)[0] + 192, position + 2
    if first == 255:
        return int.from_bytes(exactly(data, position + 1, 4), "big"), position + 5
    raise Malformed("a packet comes in parts, as only messages do")


def exactly(data: bytes, position: int, count: int) -> bytes:
    """So many bytes and no fewer."""
    piece = data[position : position + count]
    if len(piece) < count:
        raise Malformed("it is cut off")
    return piece


def _armored_blocks(text: bytes, label: bytes, *, text_between: bool) -> Iterator[bytes]:
    position, found = 0, False
    while begin := _ARMOR_BEGIN.search(text, position):
        if begin[1] != label:
            raise Malformed(f"it is {_WHAT_ELSE.get(begin[1], 'something else')}")
        end = re.compile(rb"^-----END " + label + rb"-----[ \t\r]*$", re.MULTILINE).search(text, begin.end())
        if end is None:
            raise Malformed("it is cut off")
        if text[position : begin.start()].strip(WHITE) and not text_between:
            raise Malformed("there is something else before it")
        yield _unarmored(text[begin.end() : end.start()])
        position, found = end.end(), True
    if text[position:].strip(WHITE) and not (found and text_between):
        raise Malformed("there is something else after it" if found else "there is none in it")


def _unarmored(block: bytes) -> bytes:
    """The bytes of an armored block, from what stands between its first and its last line."""
    # The block begins with the end of the BEGIN line, so the first line here is always empty.
    lines = [line.strip(WHITE) for line in block.split(b"\n")][1:]
    headers = list(takewhile(bool, lines))
    if not all(map(_ARMOR_HEADER.fullmatch, headers)):
        raise Malformed("its armor has no empty line after the headers")
    body = [line for line in lines[len(headers) :] if line]
    checksum = body.pop()[1:] if body and body[-1].startswith(b"=") else None
    try:
        data = base64.b64decode(b"".join(body), validate=True)
        if checksum is not None and base64.b64decode(checksum, validate=True) != _checksum(data):
            raise Malformed("the checksum of its armor is wrong")
    except binascii.Error:
        raise Malformed("its armor is damaged") from None
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


def areas(body: bytes) -> tuple[bytes, bytes, int]:
    """The subpackets of a signature that are signed over, those that aren't, and where they end."""
    hashed = exactly(body, 6, int.from_bytes(exactly(body, 4, 2), "big"))
    start = 6 + len(hashed)
    unhashed = exactly(body, start + 2, int.from_bytes(exactly(body, start, 2), "big"))
    return hashed, unhashed, start + 2 + len(unhashed)


def numbers_of(body: bytes, start: int, count: int) -> tuple[list[bytes], int]:
    """So many numbers, each with the two octets that tell its length in bits, and where they end."""
    numbers = []
    for _ in range(count):
        size = 2 + (int.from_bytes(exactly(body, start, 2), "big") + 7) // 8
        numbers.append(exactly(body, start, size))
        start += size
    return numbers, start


def subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each subpacket."""
    position = 0
    while position < len(area):
        length, position = _subpacket_length(area, position)
        content = exactly(area, position, length)
        if not content:
            raise Malformed("a subpacket is empty")
        yield content[0] & 0x7F, content[1:]
        position += length


def _subpacket_length(area: bytes, position: int) -> tuple[int, int]:
    # Unlike those of packets, two-octet lengths of subpackets go up to a first octet of 254.
    first = area[position]
    if 224 <= first < 255:
        return ((first - 192) << 8) + exactly(area, position + 1, 1)[0] + 192, position + 2
    return _length(area, position)
