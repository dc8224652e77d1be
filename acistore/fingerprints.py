"""Fingerprints as people write and read them; everywhere else they are lower-case hex.

40 digits are those of an OpenPGP key (RFC 4880, section 12.2), 64 those of an SSH key: the SHA-256 of its blob,
which OpenSSH shows as `SHA256:` and Base64.
"""

import base64
import binascii
import re

from acistore.errors import UsageError
from acistore.naming import quoted

_SHOWN_BY_OPENSSH = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?", re.IGNORECASE)


def normal_fingerprint(text: str) -> str:
    """A whole fingerprint as people write it (blanks, capitals, `SHA256:…`) as hex. Raises UsageError."""
    fingerprint = _hex(text)
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", fingerprint) is None:
        raise UsageError(
            f"{quoted(text)} is not a whole fingerprint: 40 hexadecimal digits (OpenPGP), or 64 or SHA256:… (SSH)",
            next_step="gpg --show-keys --with-fingerprint KEYFILE, or ssh-keygen -lf KEYFILE",
        )
    return fingerprint


def fingerprint_tail(text: str) -> str:
    """A fingerprint or the last 16 or more digits of one, as lower-case hex. Raises UsageError."""
    tail = _hex(text)
    if re.fullmatch(r"[0-9a-f]{16,64}", tail) is None:
        raise UsageError(
            f"{quoted(text)} is not a fingerprint, nor the last 16 or more digits of one",
            next_step="acistore trust list",
        )
    return tail


def _hex(text: str) -> str:
    plain = re.sub(r"\s", "", text)
    if match := _SHOWN_BY_OPENSSH.fullmatch(plain):
        try:
            return base64.b64decode(match[1] + "=", validate=True).hex()
        except binascii.Error:
            return ""
    return plain.lower().removeprefix("0x")


def shown_fingerprint(fingerprint: str) -> str:
    """A fingerprint (or key ID) for people: `SHA256:…` of an SSH key, else capitals, in groups of four."""
    if len(fingerprint) == 64:
        return f"SHA256:{base64.b64encode(bytes.fromhex(fingerprint)).decode().rstrip('=')}"
    return " ".join(re.findall(r".{1,4}", fingerprint.upper()))


def option_fingerprint(fingerprint: str) -> str:
    """A fingerprint for a command line: one word, in the form in which people compare it."""
    return shown_fingerprint(fingerprint).replace(" ", "")
