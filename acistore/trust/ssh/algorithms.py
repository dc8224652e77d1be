"""RSA, ECDSA and Ed25519: whether a key is one, and whether it has signed. The one place to use `cryptography`.

Importing this costs some 30 ms, so it is left until there is something to calculate.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from acistore.trust.ssh.sshsig import Proof
from acistore.trust.ssh.wire import KeyBlob

_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_RSA_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "rsa-sha2-256": hashes.SHA256(),
    "rsa-sha2-512": hashes.SHA512(),
}

# Edwards25519 (RFC 8032, section 5.1): -x² + y² = 1 + d x² y² modulo p.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class Unsupported(Exception):
    """The OpenSSL behind `cryptography` doesn't do this, as one that is set to FIPS doesn't."""


def is_usable(key: KeyBlob) -> bool:
    """Whether its point is on the curve, and only who has the private key can sign with it."""
    if key.type.family == "ed25519":
        return _is_ed25519(key.point)
    if key.type.family == "ecdsa":
        try:
            _ecdsa_key(key)
        except (UnsupportedAlgorithm, ValueError):
            return False
    return True


def has_signed(key: KeyBlob, proof: Proof, message: bytes) -> bool:
    """Whether the proof is the key's over the message. Raises Unsupported."""
    if key.type.security_key:
        message = _told_to_security_key(key, proof, message)
    try:
        match key.type.family:
            case "rsa":
                _verify_rsa(key, proof, message)
            case "ecdsa":
                _verify_ecdsa(key, proof, message)
            case "ed25519":
                ed25519.Ed25519PublicKey.from_public_bytes(key.point).verify(proof.value, message)
    except InvalidSignature:
        return False
    except (UnsupportedAlgorithm, ValueError) as error:
        raise Unsupported from error
    return True


def _verify_rsa(key: KeyBlob, proof: Proof, message: bytes) -> None:
    size = (key.modulus.bit_length() + 7) // 8
    # Some signers leave zeros in front away (RFC 8332, section 3); OpenSSH puts them back just so.
    value = proof.value.rjust(size, b"\0")
    public = rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key()
    public.verify(value, message, padding.PKCS1v15(), _RSA_DIGESTS[proof.algorithm])


def _verify_ecdsa(key: KeyBlob, proof: Proof, message: bytes) -> None:
    _, digest = _CURVES[key.type.curve]
    _ecdsa_key(key).verify(utils.encode_dss_signature(*proof.factors), message, ec.ECDSA(digest))


def _ecdsa_key(key: KeyBlob) -> ec.EllipticCurvePublicKey:
    curve, _ = _CURVES[key.type.curve]
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, key.point)


def _told_to_security_key(key: KeyBlob, proof: Proof, message: bytes) -> bytes:
    """What the token has signed when it was shown this message (PROTOCOL.u2f, SSH U2F Signatures)."""
    application, shown = (hashlib.sha256(part).digest() for part in (key.application, message))
    return application + bytes([proof.flags]) + proof.counter.to_bytes(4, "big") + shown


def _is_ed25519(point: bytes) -> bool:
    """Whether this encodes a point of the curve, in the one way there is, and not one of the eight of small order.

    OpenSSL takes in any 32 bytes; with a point of small order nearly anything passes for signed. Those are the
    ones with x = 0 or y = 0, and those whose double has y = 0, which is to say x² + y² = 0.
    """
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    is_on_curve = y < _P and pow(x_squared, (_P - 1) // 2, _P) == 1
    return is_on_curve and y * (x_squared + y * y) % _P != 0
