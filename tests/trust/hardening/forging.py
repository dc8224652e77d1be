"""OpenPGP keys and signatures made by hand, for what gpg refuses to make: odd uses, lengths, dates and bytes.

    eve = ed25519()
    key = public_key(eve, "Eve <eve@example.net>", subkey(eve, part))
    signature = signed(part, DATA, at=now() + 3 * DAY)

The mathematics is real, so gpg finds each of these signatures to be just what it says. Times are in seconds of the
epoch. Rules: RFC 4880, sections 4.2 (packets), 5.2 (signatures), 5.5 (keys), 9 (numbers); RFC 6637 for curves.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa as dsa_numbers
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519 as edwards
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_numbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

LONG_AGO = 1577836800
DAY = 86400

MD5, SHA1, SHA256, SHA512 = 1, 2, 8, 10
BINARY, TEXT, STANDALONE, CERTIFICATION, BINDING, BACK_SIGNATURE = 0, 1, 2, 0x13, 0x18, 0x19
SUBKEY_REVOCATION, TIMESTAMP = 0x28, 0x40
CERTIFY, SIGN, ENCRYPT = 0x01, 0x02, 0x0C

_RSA, _DSA, _ECDSA, _EDDSA = 1, 17, 19, 22
_DIGESTS = {MD5: "md5", SHA1: "sha1", SHA256: "sha256", SHA512: "sha512"}
# What stands before the digest in an RSA signature.
_DIGEST_INFO = {
    MD5: "3020300c06082a864886f70d020505000410",
    SHA1: "3021300906052b0e03021a05000414",
    SHA256: "3031300d060960864801650304020105000420",
    SHA512: "3051300d060960864801650304020305000440",
}
_PREHASHED = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256(), SHA512: hashes.SHA512()}
_CURVES: dict[str, tuple[type[ec.EllipticCurve], str]] = {
    "nistp192": (ec.SECP192R1, "2a8648ce3d030101"),
    "nistp224": (ec.SECP224R1, "2b81040021"),
    "nistp256": (ec.SECP256R1, "2a8648ce3d030107"),
    "secp256k1": (ec.SECP256K1, "2b8104000a"),
    "brainpoolP256r1": (ec.BrainpoolP256R1, "2b2403030208010107"),
}


def now() -> int:
    return int(time.time())


# Bytes


def packet(tag: int, body: bytes) -> bytes:
    """A packet whose length takes five octets, which is always allowed."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def subpacket(kind: int, content: bytes, *, critical: bool = False) -> bytes:
    """A signature subpacket, its length in as few octets as gpg writes it."""
    size = len(content) + 1
    length = bytes([size]) if size < 192 else b"\xff" + size.to_bytes(4, "big")
    return length + bytes([kind | (0x80 if critical else 0)]) + content


def notation(name: str, value: bytes, *, critical: bool = False) -> bytes:
    """A subpacket with a text that means something to somebody."""
    sizes = len(name).to_bytes(2, "big") + len(value).to_bytes(2, "big")
    return subpacket(20, b"\x80\x00\x00\x00" + sizes + name.encode() + value, critical=critical)


def seconds(value: int) -> bytes:
    """A time or a span of it, in four octets."""
    return value.to_bytes(4, "big")


def mpi(value: int) -> bytes:
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


# Pairs


@dataclass(frozen=True)
class Pair:
    """A key pair. `body` is that of its packet; `sign` makes the numbers of a signature over a digest."""

    body: bytes
    sign: Callable[[int, bytes], bytes]

    @property
    def algorithm(self) -> int:
        return self.body[5]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(self.hashed).hexdigest()

    @property
    def hashed(self) -> bytes:
        """The key as it goes into signatures over it."""
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body


def _body(at: int, algorithm: int, material: bytes) -> bytes:
    return b"\x04" + at.to_bytes(4, "big") + bytes([algorithm]) + material


def ed25519(at: int = LONG_AGO) -> Pair:
    private = edwards.Ed25519PrivateKey.generate()
    point = b"\x40" + private.public_key().public_bytes_raw()

    def sign(_number: int, digest: bytes) -> bytes:
        made = private.sign(digest)
        return mpi(int.from_bytes(made[:32], "big")) + mpi(int.from_bytes(made[32:], "big"))

    oid = bytes.fromhex("092b06010401da470f01")
    return Pair(_body(at, _EDDSA, oid + mpi(int.from_bytes(point, "big"))), sign)


def rsa(bits: int, at: int = LONG_AGO) -> Pair:
    numbers = rsa_numbers.generate_private_key(65537, bits).private_numbers()
    modulus = numbers.public_numbers.n

    def sign(number: int, digest: bytes) -> bytes:
        size = (modulus.bit_length() + 7) // 8
        tail = b"\x00" + bytes.fromhex(_DIGEST_INFO[number]) + digest
        padded = b"\x00\x01".ljust(size - len(tail), b"\xff") + tail
        return mpi(pow(int.from_bytes(padded, "big"), numbers.d, modulus))

    return Pair(_body(at, _RSA, mpi(modulus) + mpi(numbers.public_numbers.e)), sign)


def dsa(p: int, q: int, at: int = LONG_AGO) -> Pair:
    """A DSA pair of these parameters: of such lengths as no program makes any more, too."""
    g = pow(2, (p - 1) // q, p)

    def unit() -> int:
        """A number that one can divide by, even where the order of the subgroup is not prime."""
        return next(number for number in iter(lambda: 1 + secrets.randbelow(q - 1), 0) if math.gcd(number, q) == 1)

    private = unit()

    def sign(_number: int, digest: bytes) -> bytes:
        value = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - q.bit_length())
        while True:
            once = unit()
            r = pow(g, once, p) % q
            s = pow(once, -1, q) * (value + private * r) % q
            if math.gcd(s, q) == 1:
                return mpi(r) + mpi(s)

    return Pair(_body(at, _DSA, mpi(p) + mpi(q) + mpi(g) + mpi(pow(g, private, p))), sign)


def dsa_parameters(bits: int) -> tuple[int, int]:
    found = dsa_numbers.generate_parameters(bits).parameter_numbers()
    return found.p, found.q


def at_which_gpg_breaks_off(pair: Pair) -> Pair:
    """A DSA pair of a COMPOSITE_SUBGROUP, every signature of which ends gpg."""
    return Pair(pair.body, lambda _number, _digest: mpi(5) + mpi(3))


def ecdsa(curve: str, at: int = LONG_AGO) -> Pair:
    kind, oid = _CURVES[curve]
    private = ec.generate_private_key(kind())
    public = private.public_key().public_numbers()
    size = (private.key_size + 7) // 8
    point = b"\x04" + public.x.to_bytes(size, "big") + public.y.to_bytes(size, "big")

    def sign(number: int, digest: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(_PREHASHED[number]))))
        return mpi(r) + mpi(s)

    material = bytes([len(oid) // 2]) + bytes.fromhex(oid) + mpi(int.from_bytes(point, "big"))
    return Pair(_body(at, _ECDSA, material), sign)


SHORT_SUBGROUP = (
    (1 << 2047) + 418611192334673894765357486466484877934718461009779,
    0xA371DB23CAC7E2A3DC74CBD704E264999D7D58A5,
)
"""DSA parameters of 2048 bits, with a subgroup of 160 as those of 1024 bits have."""

COMPOSITE_SUBGROUP = (
    (1 << 2047) + 100160157190278509041388902032515040293078536735779087893933980726559753089314491,
    (1 << 255) + 445,
)
"""DSA parameters of usual lengths. The subgroup's order is three times a prime, and by 3 nobody can divide then:
libgcrypt breaks off at a signature that would make it do so (seen in 1.10)."""


# Signatures


def signed(
    pair: Pair,
    data: bytes,
    *,
    kind: int = BINARY,
    at: int | None = None,
    digest: int = SHA512,
    hashed: bytes = b"",
    unhashed: bytes | None = None,
    whole_area: bytes | None = None,
) -> bytes:
    """A signature packet of version 4 over data (or over keys, for other kinds).

    `hashed` comes behind the time and the issuer's fingerprint in the signed area, unless `whole_area` is all of
    it; `unhashed` is by default the issuer's key ID.
    """
    made_at = now() - 60 if at is None else at
    area = whole_area
    if area is None:
        issuer = subpacket(33, b"\x04" + bytes.fromhex(pair.fingerprint))
        area = subpacket(2, made_at.to_bytes(4, "big")) + issuer + hashed
    free = subpacket(16, bytes.fromhex(pair.fingerprint)[-8:]) if unhashed is None else unhashed
    head = bytes([4, kind, pair.algorithm, digest]) + len(area).to_bytes(2, "big") + area
    value = hashlib.new(_DIGESTS[digest], data + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    return packet(2, head + len(free).to_bytes(2, "big") + free + value[:2] + pair.sign(digest, value))


def signed_as_version_3(pair: Pair, data: bytes, *, kind: int = BINARY, digest: int = SHA512) -> bytes:
    """A signature packet as PGP 2 and early GnuPG made them."""
    tail = bytes([kind]) + (now() - 60).to_bytes(4, "big")
    value = hashlib.new(_DIGESTS[digest], data + tail).digest()
    who = bytes.fromhex(pair.fingerprint)[-8:] + bytes([pair.algorithm, digest])
    return packet(2, b"\x03\x05" + tail + who + value[:2] + pair.sign(digest, value))


# Keys


def public_key(
    primary: Pair, user_id: str | bytes, *parts: bytes, uses: int = CERTIFY | SIGN, hashed: bytes = b""
) -> bytes:
    """A whole public key: the primary, a user ID that it has signed, then what else there is."""
    return packet(6, primary.body) + user(primary, user_id, uses=uses, hashed=hashed) + b"".join(parts)


def user(
    primary: Pair,
    user_id: str | bytes,
    *,
    at: int | None = None,
    uses: int = CERTIFY | SIGN,
    digest: int = SHA512,
    hashed: bytes = b"",
) -> bytes:
    """A user ID and the signature that says it is the key's. `uses` are what the primary key itself is for."""
    content = user_id.encode() if isinstance(user_id, str) else user_id
    return packet(13, content) + certified(
        primary, b"\xb4", content, at=at, uses=uses, digest=digest, hashed=hashed
    )


def photo(primary: Pair, image: bytes, *, at: int | None = None) -> bytes:
    """A user attribute in place of a user ID: a picture."""
    picture = b"\x10\x00\x01\x01" + bytes(12) + image
    content = subpacket(1, picture)
    return packet(17, content) + certified(primary, b"\xd1", content, at=at)


def certified(
    primary: Pair,
    prefix: bytes,
    content: bytes,
    *,
    at: int | None = None,
    uses: int = CERTIFY | SIGN,
    digest: int = SHA512,
    hashed: bytes = b"",
) -> bytes:
    about = primary.hashed + prefix + len(content).to_bytes(4, "big") + content
    made_at = int.from_bytes(primary.body[1:5], "big") if at is None else at
    flags = subpacket(27, bytes([uses]))
    return signed(primary, about, kind=CERTIFICATION, at=made_at, digest=digest, hashed=flags + hashed)


def subkey(
    primary: Pair,
    part: Pair,
    *,
    uses: int = SIGN,
    at: int | None = None,
    back: bool = True,
    digest: int = SHA512,
    hashed: bytes = b"",
) -> bytes:
    """A subkey and the signature by which the primary key adopts it; with `back` the subkey agrees to that."""
    return packet(14, part.body) + binding(
        primary, part, uses=uses, at=at, back=back, digest=digest, hashed=hashed
    )


def binding(
    primary: Pair,
    part: Pair,
    *,
    uses: int = SIGN,
    at: int | None = None,
    back: bool = True,
    digest: int = SHA512,
    hashed: bytes = b"",
) -> bytes:
    """The signature by which a primary key adopts a subkey. A later one overrides it."""
    about = primary.hashed + part.hashed
    made_at = int.from_bytes(part.body[1:5], "big") if at is None else at
    agreed = b""
    if back:
        # The body alone goes into the subpacket, without the six octets of tag and length.
        agreed = subpacket(32, signed(part, about, kind=BACK_SIGNATURE, at=made_at, digest=digest)[6:])
    extra = subpacket(27, bytes([uses])) + agreed + hashed
    return signed(primary, about, kind=BINDING, at=made_at, digest=digest, hashed=extra)


def subkey_revocation(primary: Pair, part: Pair) -> bytes:
    """The signature by which a primary key gives up a subkey."""
    return signed(primary, primary.hashed + part.hashed, kind=SUBKEY_REVOCATION)
