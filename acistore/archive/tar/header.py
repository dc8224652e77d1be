"""The 512-byte header of a tar entry: its fields as bytes, and how those are read.

POSIX ustar, GNU and v7 headers. Nothing here looks beyond one block; what it finds wrong is a ValueError
whose text is the reason.
"""

import struct
from typing import NamedTuple

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

# With its padding a size has to fit a signed 64-bit offset, which is what tar programs count in.
SIZE_LIMIT = 2**63 - 1 - BLOCK
# (uid_t) -1 means "leave it as it is" to chown, so nothing can be owned by it.
OWNER_LIMIT = 2**32 - 2
# The years 1 to 9999, in seconds since 1970: what RFC 3339 can write.
TIME_RANGE = range(-62_135_596_800, 253_402_300_800)

USTAR_MAGIC = b"ustar\0"
GNU_MAGIC = b"ustar  \0"
_V7_MAGIC = bytes(8)

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_OCTAL = b"01234567"
_SPACES_SUM = 8 * ord(" ")


class Header(NamedTuple):
    """The fields, undecoded. `magic` is magic and version together; `tail` follows the prefix."""

    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    type: bytes
    link: bytes
    magic: bytes
    major: bytes
    minor: bytes
    prefix: bytes
    tail: bytes


def parse_header(block: bytes) -> Header:
    """The fields of a block (512 bytes, not all zeros) whose checksum and magic are right."""
    header = Header._make(_FIELDS.unpack(block))
    expected = number(header.checksum)
    found = sum(block) - sum(header.checksum) + _SPACES_SUM
    if found != expected:
        # Old programs added the bytes as signed numbers.
        signed = found - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if signed != expected:
            raise ValueError(f"the header's checksum is {expected} where its bytes add up to {found}")
    magic = header.magic
    if not magic.startswith(USTAR_MAGIC) and magic not in (GNU_MAGIC, _V7_MAGIC):
        raise ValueError(f"a header of an unknown format (magic {magic.hex()})")
    return header


def text(field: bytes) -> bytes:
    """A field up to its first NUL, or all of it."""
    return field.partition(b"\0")[0]


def number(field: bytes) -> int:
    """A numeric field: octal between blanks (0 when blank), or in base 256, which may be negative."""
    digits = field.rstrip(b"\0 ")
    if not digits.strip(_OCTAL):
        return int(digits or b"0", 8)
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    digits = text(field).strip(b" ")
    if not digits or digits.strip(_OCTAL):
        raise ValueError(f"a numeric field that holds {field.hex(' ')}")
    return int(digits, 8)


def size(value: int) -> int:
    """The value, if it can be a size in bytes."""
    if not 0 <= value <= SIZE_LIMIT:
        raise ValueError(f"a size of {value} bytes")
    return value


def owner(value: int) -> int:
    """The value, if it can be a user's or a group's number."""
    if not 0 <= value <= OWNER_LIMIT:
        raise ValueError(f"an owner {value}, which is not in 0..{OWNER_LIMIT}")
    return value


def full_name(header: Header) -> bytes:
    """The path, whose first part POSIX keeps in the prefix; GNU and v7 have other things there."""
    name = text(header.name)
    if header.prefix[0] and header.magic.startswith(USTAR_MAGIC):
        # star has times after 131 bytes of prefix.
        prefix = header.prefix[:131] if header.tail.endswith(b"tar\0") else header.prefix
        return text(prefix) + b"/" + name
    return name
