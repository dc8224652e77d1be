"""The bytes of SSH taken apart: fields, and the public keys that they make up (key blobs).

Pure and strict, and no cryptography. Every key has one form only here, so that a fingerprint means one key: no
number with needless zeros, nothing after the last field. Rules: RFC 4251, section 5 (fields); RFC 4253, section
6.6, RFC 5656, section 3.1 and RFC 8709, section 4 (keys); OpenSSH, PROTOCOL.u2f (keys in security keys).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Literal

from acistore.naming import quoted

SHORTEST_RSA, LONGEST_RSA = 1024, 16384
"""Bits. OpenSSH takes no shorter keys, OpenSSL no longer ones, which would cost too much as well."""

_LONGEST_EXPONENT = 64
_LONGEST_APPLICATION = 1024
_CERTIFICATE = "-cert-v01@openssh.com"

Family = Literal["ed25519", "ecdsa", "rsa"]


@dataclass(frozen=True, slots=True)
class KeyType:
    """A type of keys by its name in SSH, such as `ssh-ed25519`.

    `algorithm` is what people see, `bits` 0 where each key has its own, `signs_as` the names that signatures by
    such keys go by. A key of a `security_key` never leaves a token, which signs along how it was asked.
    """

    name: str
    family: Family
    algorithm: str
    bits: int
    signs_as: tuple[str, ...]
    security_key: bool = False

    @property
    def curve(self) -> str:
        return self.algorithm.removeprefix("sk-")


_SK_ED25519, _SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"

SHA1_SIGNATURE = "ssh-rsa"
"""What an RSA signature with SHA-1 goes by."""

KEY_TYPES = {
    key_type.name: key_type
    for key_type in (
        KeyType("ssh-ed25519", "ed25519", "ed25519", 256, ("ssh-ed25519",)),
        KeyType("ecdsa-sha2-nistp256", "ecdsa", "nistp256", 256, ("ecdsa-sha2-nistp256",)),
        KeyType("ecdsa-sha2-nistp384", "ecdsa", "nistp384", 384, ("ecdsa-sha2-nistp384",)),
        KeyType("ecdsa-sha2-nistp521", "ecdsa", "nistp521", 521, ("ecdsa-sha2-nistp521",)),
        KeyType("ssh-rsa", "rsa", "rsa", 0, ("rsa-sha2-512", "rsa-sha2-256", SHA1_SIGNATURE)),
        KeyType(_SK_ED25519, "ed25519", "sk-ed25519", 256, (_SK_ED25519,), security_key=True),
        KeyType(_SK_ECDSA, "ecdsa", "sk-nistp256", 256, (_SK_ECDSA,), security_key=True),
    )
}


class Malformed(Exception):
    """What is wrong with the bytes, as the end of a sentence. `next_step` is what would put it right."""

    def __init__(self, problem: str, next_step: str | None = None) -> None:
        super().__init__(problem)
        self.next_step = next_step


@dataclass(frozen=True, slots=True)
class KeyBlob:
    """A public key. `fingerprint` is the SHA-256 of `raw`, as lower-case hex.

    `point` is the encoded one of the curve (empty for RSA), `exponent` and `modulus` are RSA's (else 0),
    `application` is what a security key was asked to make the key for.
    """

    raw: bytes
    fingerprint: str
    type: KeyType
    point: bytes = b""
    exponent: int = 0
    modulus: int = 0
    application: bytes = b""

    @property
    def bits(self) -> int:
        """The length of the key."""
        return self.type.bits or self.modulus.bit_length()


class Fields:
    """The fields of a piece of SSH, read one after another. Each raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def exactly(self, count: int) -> bytes:
        """The next bytes, of a number known beforehand."""
        end = self._position + count
        if end > len(self._data):
            raise Malformed("it is cut off")
        piece, self._position = self._data[self._position : end], end
        return piece

    def byte(self) -> int:
        return self.exactly(1)[0]

    def uint32(self) -> int:
        return int.from_bytes(self.exactly(4), "big")

    def string(self) -> bytes:
        return self.exactly(self.uint32())

    def number(self, longest: int) -> int:
        """A number above 0 of at most so many bits."""
        octets = self.string()
        if not octets or octets[0] & 0x80:
            raise Malformed("a number in it is not above zero")
        if octets[0] == 0 and not octets[1:2] >= b"\x80":
            raise Malformed("a number in it has needless zeros")
        number = int.from_bytes(octets, "big")
        if number.bit_length() > longest:
            raise Malformed("a number in it is too large")
        return number

    def end(self) -> None:
        """Raises when something is left."""
        if self._position < len(self._data):
            raise Malformed("it holds more than belongs there")


def as_string(content: bytes) -> bytes:
    """A string as a field."""
    return len(content).to_bytes(4, "big") + content


def from_base64(text: bytes) -> bytes:
    """The bytes behind Base64 without white space. Raises Malformed, also for spellings nobody would write."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        data = b""
    if base64.b64encode(data) != text:
        raise Malformed("its Base64 is damaged")
    return data


def read_key_blob(raw: bytes) -> KeyBlob:
    """The one key in a blob. Raises Malformed. Whether its point lies on the curve is not looked at."""
    fields = Fields(raw)
    key_type = known_type(fields.string().decode("ascii", "replace"))
    fingerprint = hashlib.sha256(raw).hexdigest()
    exponent = modulus = 0
    point = application = b""
    if key_type.family == "rsa":
        exponent, modulus = fields.number(_LONGEST_EXPONENT), fields.number(LONGEST_RSA)
        _check_rsa(exponent, modulus)
    else:
        point = _point(key_type, fields)
    if key_type.security_key:
        application = fields.string()
        if b"\0" in application or len(application) > _LONGEST_APPLICATION:
            raise Malformed("what its security key made it for is not a text")
    fields.end()
    return KeyBlob(raw, fingerprint, key_type, point, exponent, modulus, application)


def known_type(name: str) -> KeyType:
    """The type of that name. Raises Malformed, which says more of those that are left out on purpose."""
    if key_type := KEY_TYPES.get(name):
        return key_type
    if name.endswith(_CERTIFICATE):
        raise Malformed("it has a certificate in place of a key: certificates are not supported")
    if name == "ssh-dss":
        raise Malformed("it has a DSA key, which is too weak to be relied on")
    raise Malformed(f"it has a key of type {quoted(name)}, which is not supported")


def _check_rsa(exponent: int, modulus: int) -> None:
    if modulus.bit_length() < SHORTEST_RSA:
        raise Malformed(f"it has an RSA key of {modulus.bit_length()} bits, which is too short for anything")
    if exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0:
        raise Malformed("it has an RSA key with numbers that can't be right")


def _point(key_type: KeyType, fields: Fields) -> bytes:
    if key_type.family == "ed25519":
        point = fields.string()
        if len(point) != 32:
            raise Malformed("it has an Ed25519 key that is not 32 bytes long")
        return point
    curve = fields.string().decode("ascii", "replace")
    if curve != key_type.curve:
        raise Malformed(f"it has a key of type {key_type.name} on the curve {quoted(curve)}")
    point = fields.string()
    if point[:1] != b"\x04" or len(point) != 1 + 2 * ((key_type.bits + 7) // 8):
        raise Malformed("it has an ECDSA key that is not an uncompressed point of its curve")
    return point
