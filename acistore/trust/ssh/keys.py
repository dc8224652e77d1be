"""Key files of SSH: a key a line, as in `id_ed25519.pub` (sshd(8), without options). Private ones stop here."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from acistore.errors import KeyRefused
from acistore.trust.keys import PublicKey, Scheme
from acistore.trust.ssh.wire import KEY_TYPES, KeyBlob, Malformed, from_base64, known_type, read_key_blob

_WHITE = b" \t\r\f\v"
_LONGEST_LINE = 1 << 14  # bytes, as in OpenSSH
_LONGEST_COMMENT = 256  # characters
_MOST_KEYS = 100

# At the beginning of a line, even of one behind `#`: a comment behind a key may be called anything.
_PRIVATE = re.compile(
    rb"(?:^|\r)[ \t\f\v#]*(?:"
    rb"-----BEGIN (?!PGP )[A-Z0-9 ]{0,40}PRIVATE KEY"
    rb"|---- BEGIN SSH2 [A-Z0-9 ]{0,40}PRIVATE KEY"
    rb"|SSH PRIVATE KEY FILE FORMAT|(?P<putty>PuTTY-User-Key-File-))",
    re.MULTILINE,
)

# What else such files begin with: what it is, and the command that makes what is wanted of it.
_OTHER_FORMS = {
    b"---- BEGIN SSH2 PUBLIC KEY": ("it is in the format of RFC 4716", "ssh-keygen -i -f KEYFILE"),
    b"-----BEGIN PUBLIC KEY": ("it is in PEM format", "ssh-keygen -i -m PKCS8 -f KEYFILE"),
    b"-----BEGIN RSA PUBLIC KEY": ("it is in PEM format", "ssh-keygen -i -m PEM -f KEYFILE"),
    b"-----BEGIN SSH SIGNATURE": ("it is a signature", None),
}

# The Base64 of every key begins so: three of the four bytes that tell how long the name of its type is are zero.
_TYPE_AND_BLOB = re.compile(rb"(?:^|[ \t])([A-Za-z0-9@._-]+)[ \t]+AAAA")


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key with its comment, one line of printable text that may be empty (a `KeyBlock`)."""

    blob: KeyBlob
    comment: str

    @property
    def scheme(self) -> Scheme:
        return "ssh"

    @property
    def fingerprint(self) -> str:
        return self.blob.fingerprint

    @property
    def subkeys(self) -> tuple[str, ...]:
        """There are none in SSH."""
        return ()

    @property
    def as_file(self) -> bytes:
        """The line that `read_keys` reads as this very key."""
        words = (self.blob.type.name, base64.b64encode(self.blob.raw).decode("ascii"), self.comment)
        return " ".join(filter(None, words)).encode() + b"\n"


def describe(key: SshKey) -> PublicKey:
    """What there is to say of a key: its comment stands for a user ID, and it knows no times."""
    return PublicKey(
        block=key,
        user_ids=(key.comment,) if key.comment else (),
        algorithm=key.blob.type.algorithm,
        bits=key.blob.bits,
        created_at=None,
        expires_at=None,
        expired=False,
        revoked=False,
        subkeys=(),
        capabilities="s",
    )


def looks_like_ssh(material: bytes) -> bool:
    """Whether a key file is SSH's rather than OpenPGP's, in whatever form, private ones too."""
    if _PRIVATE.search(material):
        return True
    _, line = next(_lines(material), (0, b""))
    if line.startswith((*_OTHER_FORMS, *(name.encode() for name in KEY_TYPES))):
        return True
    return _TYPE_AND_BLOB.search(line[:_LONGEST_LINE]) is not None


def read_keys(material: bytes) -> tuple[SshKey, ...]:
    """The public keys of a file, at least one. Blank lines and those that begin with `#` say nothing.

    The same key twice counts once, with its first comment. Raises KeyRefused: when any line is no key of a type
    that is supported, or there is a private key in the file.
    """
    if private := _PRIVATE.search(material):
        raise _private_key(is_putty=private["putty"] is not None)
    keys: dict[str, SshKey] = {}
    for number, line in _lines(material):
        try:
            key = _key(line)
            if key.fingerprint not in keys:
                _check_usable(key)
                keys[key.fingerprint] = key
            if len(keys) > _MOST_KEYS:
                raise Malformed(f"there are more than {_MOST_KEYS} keys in it")
        except Malformed as error:
            problem = f"not an SSH public key: {error} (line {number})"
            raise KeyRefused(problem, next_step=error.next_step) from None
    if not keys:
        raise KeyRefused("not an SSH public key: there is none in it")
    return tuple(keys.values())


def _private_key(*, is_putty: bool) -> KeyRefused:
    return KeyRefused(
        "this is a PRIVATE key, which must never leave its owner; nothing was added",
        facts={"wanted": "the public key that belongs to it, often the file of the same name with .pub behind it"},
        next_step="puttygen KEYFILE -O public-openssh" if is_putty else "ssh-keygen -y -f KEYFILE",
    )


def _lines(material: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, without the white space around them, each with its number."""
    for number, line in enumerate(material.split(b"\n"), 1):
        stripped = line.strip(_WHITE)
        if stripped and not stripped.startswith(b"#"):
            yield number, stripped


def _key(line: bytes) -> SshKey:
    for beginning, (problem, next_step) in _OTHER_FORMS.items():
        if line.startswith(beginning):
            raise Malformed(problem, next_step)
    if len(line) > _LONGEST_LINE:
        raise Malformed("it is too long")
    found = _TYPE_AND_BLOB.search(line)
    if found is None:
        raise Malformed("there is none in it")
    if found.start(1):
        raise Malformed("there is something in front of it: no more than type, key and comment may be in a line")
    name, encoded, *comment = line.split(maxsplit=2)
    key_type = known_type(name.decode("ascii"))
    blob = read_key_blob(from_base64(encoded))
    if blob.type != key_type:
        raise Malformed(f"it says {key_type.name} and is {blob.type.name}")
    return SshKey(blob, _printable(comment[0]) if comment else "")


def _check_usable(key: SshKey) -> None:
    from acistore.trust.ssh.algorithms import is_usable  # noqa: PLC0415 - its library costs 30 ms

    if not is_usable(key.blob):
        raise Malformed("it is not a point of its curve that can be a key")


def _printable(comment: bytes) -> str:
    text = comment[: 4 * _LONGEST_COMMENT].decode("utf-8", "replace")[:_LONGEST_COMMENT]
    shown = (character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return "".join(shown).rstrip(" ")
