"""Certificates that are not good for the host that shows them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def self_signed(_: trustme.CA, host: str) -> trustme.LeafCert:
    """A certificate for the right host that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - DAY)
        .not_valid_after(datetime.now(UTC) + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(secret, certificate.public_bytes(serialization.Encoding.PEM), [])


# For a host, and not good for it; the authority is one that is believed.
CERTIFICATES: dict[str, Callable[[trustme.CA, str], trustme.LeafCert]] = {
    "another name": lambda authority, host: authority.issue_cert(f"not-{host}"),
    "a name above": lambda authority, host: authority.issue_cert(host.partition(".")[2]),
    "a name below": lambda authority, host: authority.issue_cert(f"www.{host}"),
    "any name below": lambda authority, host: authority.issue_cert(f"*.{host}"),
    "any name": lambda authority, host: authority.issue_cert(f"*.{host.partition('.')[2]}"),
    "a common name alone": lambda authority, host: authority.issue_cert("example.org", common_name=host),
    "an address": lambda authority, _: authority.issue_cert("127.0.0.1"),
    "expired": lambda authority, host: authority.issue_cert(
        host, not_before=datetime.now(UTC) - 9 * DAY, not_after=datetime.now(UTC) - DAY
    ),
    "not yet valid": lambda authority, host: authority.issue_cert(
        host, not_before=datetime.now(UTC) + DAY, not_after=datetime.now(UTC) + 9 * DAY
    ),
    "self-signed": self_signed,
    "unknown authority": lambda _, host: trustme.CA().issue_cert(host),
}
