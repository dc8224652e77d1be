"""Signatures as `ssh-keygen -Y sign` writes them, taken apart: who claims to have signed, and how.

Pure and strict, and no cryptography: nothing read here is proven, `verify` does that. Every signature has one
form only here, but for the white space around it and in its armor. Rules: OpenSSH, PROTOCOL.sshsig (the format)
and PROTOCOL.u2f (signatures by security keys); RFC 4253, section 6.6, RFC 5656, section 3.1.2, RFC 8332, section
3 and RFC 8709, section 6 (the signature in it).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from acistore.errors import MalformedSignature
from acistore.naming import quoted
from acistore.trust.keys import Scheme
from acistore.trust.ssh.wire import (
    SHA1_SIGNATURE,
    Fields,
    KeyBlob,
    KeyType,
    Malformed,
    as_string,
    from_base64,
    read_key_blob,
)

NAMESPACE = "acistore"
"""What signatures of images are made for: those for files, Git or mail don't count here."""

_MAGIC = b"SSHSIG"
_VERSION = 1
_DIGESTS = {b"sha256": "SHA256", b"sha512": "SHA512"}
_RESERVED = b""

_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_OPENPGP = b"-----BEGIN PGP "
_WHITE = b" \t\r\n\f\v"

_MOST_SIGNATURES = 100
_LARGEST_ARMOR = 1 << 16  # bytes; RSA signatures of the longest keys need 6 KiB
_LONGEST_FACTOR = 521  # bits

_SIGN = f"ssh-keygen -Y sign -n {NAMESPACE} -f KEYFILE IMAGE"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the key has made of the data. `algorithm` is one that its type signs with.

    `value` is RSA's or Ed25519's, `factors` are ECDSA's r and s. A security key adds `flags` and `counter`,
    which it signs along.
    """

    algorithm: str
    value: bytes = b""
    factors: tuple[int, int] = (0, 0)
    flags: int = 0
    counter: int = 0


@dataclass(frozen=True, slots=True)
class SshSignature:
    """One detached signature over an image (a `Signature`): claims, until `verify` has checked them.

    `data_digest` is what the data is hashed with: `SHA256` or `SHA512`.
    """

    key: KeyBlob
    data_digest: str
    proof: Proof

    @property
    def scheme(self) -> Scheme:
        return "ssh"

    @property
    def fingerprint(self) -> str:
        """Of the key that signs."""
        return self.key.fingerprint

    @property
    def key_id(self) -> None:
        """SSH always names the whole key."""

    @property
    def digest(self) -> str:
        """The weakest digest that the signature rests on."""
        return "SHA1" if self.proof.algorithm == SHA1_SIGNATURE else self.data_digest

    @property
    def created_at(self) -> None:
        """SSH signatures don't say."""

    @property
    def expires_at(self) -> None:
        """SSH signatures don't expire."""

    def claims(self, fingerprint: str) -> bool:
        """Whether this says that it is by the key with that fingerprint."""
        return self.fingerprint == fingerprint


def is_signature(material: bytes) -> bool:
    """Whether this begins as an SSH signature does."""
    return material.lstrip(_WHITE).startswith(_BEGIN)


def read_signatures(material: bytes) -> tuple[SshSignature, ...]:
    """The signatures of a detached signature file, at least one, made for the namespace `acistore`.

    Several blocks may follow one another; white space around them is all else that there may be. Raises
    MalformedSignature.
    """
    try:
        found = tuple(map(_signature, _armored(material)))
        if not found:
            raise Malformed("it is empty")
    except Malformed as error:
        raise MalformedSignature(
            f"not a detached SSH signature for images: {error}", next_step=error.next_step
        ) from None
    return found


def signed_message(data_digest: str, digest: bytes) -> bytes:
    """What is signed when the data has that digest (PROTOCOL.sshsig, section 3)."""
    fields = (NAMESPACE.encode(), _RESERVED, data_digest.lower().encode(), digest)
    return _MAGIC + b"".join(map(as_string, fields))


def _armored(material: bytes) -> Iterator[bytes]:
    """The blob of each armored block."""
    rest = material.strip(_WHITE)
    for number in range(_MOST_SIGNATURES + 1):
        if not rest:
            return
        if number == _MOST_SIGNATURES:
            raise Malformed(f"it holds more than {_MOST_SIGNATURES} signatures")
        if not rest.startswith(_BEGIN):
            raise _no_armor(rest, first=number == 0)
        body, end, rest = rest.removeprefix(_BEGIN).partition(b"\n" + _END)
        if not end:
            raise Malformed("it is cut off")
        if len(body) > _LARGEST_ARMOR:
            raise Malformed("it is too large")
        if body.partition(b"\n")[0].strip(_WHITE) or rest.partition(b"\n")[0].strip(_WHITE):
            raise Malformed("there is something else in the first or the last line of its armor")
        yield from_base64(b"".join(body.split()))
        rest = rest.lstrip(_WHITE)


def _no_armor(material: bytes, *, first: bool) -> Malformed:
    if not first:
        return Malformed("there is something else after it")
    if material.startswith(_OPENPGP) or material[0] & 0x80:
        return Malformed("it is OpenPGP, which has its place in a file of its own (.aci.asc)", _SIGN)
    if _BEGIN in material:
        return Malformed("there is something else before it")
    return Malformed("there is none in it", _SIGN)


def _signature(blob: bytes) -> SshSignature:
    fields = Fields(blob)
    if blob[: len(_MAGIC)] != _MAGIC:
        raise Malformed("its armor has something else in it")
    fields.exactly(len(_MAGIC))
    if (version := fields.uint32()) != _VERSION:
        raise Malformed(f"version {version} of the format is not supported")
    key = read_key_blob(fields.string())
    namespace, reserved, digest, proof = (fields.string() for _ in range(4))
    fields.end()
    if namespace != NAMESPACE.encode():
        made_for = quoted(namespace.decode("utf-8", "replace"))
        raise Malformed(f'it was made for the namespace {made_for}, not for "{NAMESPACE}"', _SIGN)
    if reserved != _RESERVED:
        raise Malformed("it has something in the field that is reserved")
    if digest not in _DIGESTS:
        raise Malformed(f"data hashed with {quoted(digest.decode('utf-8', 'replace'))} is not supported")
    return SshSignature(key, _DIGESTS[digest], _proof(key.type, proof))


def _proof(key_type: KeyType, blob: bytes) -> Proof:
    fields = Fields(blob)
    algorithm = fields.string().decode("utf-8", "replace")
    if algorithm not in key_type.signs_as:
        raise Malformed(f"{quoted(algorithm)} is not how a key of type {key_type.name} signs")
    content = fields.string()
    flags = counter = 0
    if key_type.security_key:
        flags, counter = fields.byte(), fields.uint32()
    fields.end()
    if key_type.family == "ecdsa":
        return Proof(algorithm, factors=_factors(content), flags=flags, counter=counter)
    if key_type.family == "ed25519" and len(content) != 64:
        raise Malformed("it has an Ed25519 signature that is not 64 bytes long")
    return Proof(algorithm, content, flags=flags, counter=counter)


def _factors(content: bytes) -> tuple[int, int]:
    fields = Fields(content)
    factors = fields.number(_LONGEST_FACTOR), fields.number(_LONGEST_FACTOR)
    fields.end()
    return factors
