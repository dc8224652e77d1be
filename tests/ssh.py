"""Real SSH keys and signatures for tests, made by ssh-keygen, without passphrase and without anybody's agent.

    maker = SshKeyMaker(tmp_path)
    key = maker.key("ed25519", comment="release@example.com")
    signature = key.sign(image_bytes)

Security keys are made in software, since ssh-keygen wants hardware: `SecurityKey` does what a token does.
"""

import base64
import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.programs import program

NAMESPACE = "acistore"

TOUCHED = 0x01


class SshKeyMaker:
    """A directory that key pairs are made in."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = 0

    def key(
        self, algorithm: str = "ed25519", bits: int | None = None, *, comment: str = "release@example.com"
    ) -> "SshSigningKey":
        """A new key. `algorithm` is `ed25519`, `ecdsa` or `rsa`."""
        self._made += 1
        path = self._directory / f"key-{self._made}"
        length = ["-b", str(bits)] if bits else []
        run("-q", "-t", algorithm, *length, "-N", "", "-C", comment, "-f", str(path))
        return SshSigningKey(path)


@dataclass(frozen=True)
class SshSigningKey:
    """A key pair in files: `path` and, with `.pub` behind it, the public one."""

    path: Path

    def public(self) -> bytes:
        """The line of the public key."""
        return self.path.with_name(self.path.name + ".pub").read_bytes()

    def private(self) -> bytes:
        """The private key, in OpenSSH's own format."""
        return self.path.read_bytes()

    def sign(self, data: bytes, *, hashalg: str = "sha512", namespace: str = NAMESPACE) -> bytes:
        """An armored signature over data."""
        options = ["-O", f"hashalg={hashalg}", "-n", namespace, "-f", str(self.path)]
        return run("-q", "-Y", "sign", *options, stdin=data)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the key as lower-case hex, from what ssh-keygen tells of it."""
        told = run("-l", "-E", "sha256", "-f", str(self.path)).split()[1].removeprefix(b"SHA256:")
        return base64.b64decode(told + b"=" * (-len(told) % 4)).hex()


@dataclass(frozen=True)
class SecurityKey:
    """A key as in a security key (OpenSSH, PROTOCOL.u2f), which here gives away all that it knows."""

    kind: Literal["ed25519", "ecdsa"] = "ed25519"
    application: bytes = b"ssh:"
    comment: str = "token@example.com"
    on_edwards: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    on_nist: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def type(self) -> bytes:
        names = {"ed25519": b"sk-ssh-ed25519@openssh.com", "ecdsa": b"sk-ecdsa-sha2-nistp256@openssh.com"}
        return names[self.kind]

    @property
    def blob(self) -> bytes:
        """The public key as SSH has it."""
        if self.kind == "ed25519":
            raw = self.on_edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return packed(self.type, raw, self.application)
        public = self.on_nist.public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return packed(self.type, b"nistp256", point, self.application)

    def public(self) -> bytes:
        """The line of the public key."""
        return b" ".join([self.type, base64.b64encode(self.blob), self.comment.encode()]) + b"\n"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.blob).hexdigest()

    def sign(
        self,
        data: bytes,
        *,
        hashalg: str = "sha512",
        namespace: str = NAMESPACE,
        flags: int = TOUCHED,
        counter: int = 7,
    ) -> bytes:
        """An armored signature over data. Without `TOUCHED` in its flags, nobody was asked."""
        message = b"SSHSIG" + packed(
            namespace.encode(), b"", hashalg.encode(), hashlib.new(hashalg, data).digest()
        )
        asked_how = bytes([flags]) + counter.to_bytes(4, "big")
        application, shown = (hashlib.sha256(part).digest() for part in (self.application, message))
        return armored_signature(
            self.blob,
            packed(self.type, self._signed(application + asked_how + shown)) + asked_how,
            hashalg=hashalg,
            namespace=namespace,
        )

    def _signed(self, message: bytes) -> bytes:
        if self.kind == "ed25519":
            return self.on_edwards.sign(message)
        factors = utils.decode_dss_signature(self.on_nist.sign(message, ec.ECDSA(hashes.SHA256())))
        return packed(*map(number, factors))


def armored_signature(
    key: bytes,
    proof: bytes,
    *,
    hashalg: str = "sha512",
    namespace: str = NAMESPACE,
    reserved: bytes = b"",
    version: int = 1,
) -> bytes:
    """A signature file (OpenSSH, PROTOCOL.sshsig) with just these fields in it."""
    fields = packed(key, namespace.encode(), reserved, hashalg.encode(), proof)
    return armored(b"SSHSIG" + version.to_bytes(4, "big") + fields)


def armored(blob: bytes) -> bytes:
    """The armor around a signature, as OpenSSH writes it."""
    text = base64.b64encode(blob)
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return b"\n".join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def unarmored(signature: bytes) -> bytes:
    """What is in the armor."""
    return base64.b64decode(b"".join(signature.split(b"\n")[1:-2]))


def packed(*strings: bytes) -> bytes:
    """Strings as fields (RFC 4251, section 5)."""
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def unpacked(fields: bytes) -> list[bytes]:
    """The strings that fields are."""
    strings = []
    while fields:
        end = 4 + int.from_bytes(fields[:4], "big")
        strings.append(fields[4:end])
        fields = fields[end:]
    return strings


def number(value: int) -> bytes:
    """A number above zero as the content of a field."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def accepts(public: bytes, data: bytes, signature: bytes, directory: Path, *, namespace: str = NAMESPACE) -> bool:
    """Whether `ssh-keygen -Y verify` takes this signature over data for one by the key."""
    signers, file = directory / "allowed_signers", directory / "signature"
    signers.write_bytes(b"somebody " + public)
    file.write_bytes(signature)
    options = ["-f", str(signers), "-I", "somebody", "-n", namespace, "-s", str(file)]
    return _ssh_keygen("-q", "-Y", "verify", *options, stdin=data).returncode == 0


def reads(public: bytes, directory: Path) -> bool:
    """Whether `ssh-keygen -l` knows this for a public key."""
    file = directory / "read.pub"
    file.write_bytes(public)
    return _ssh_keygen("-l", "-f", str(file)).returncode == 0


def run(*arguments: str, stdin: bytes = b"") -> bytes:
    """What ssh-keygen writes to stdout."""
    done = _ssh_keygen(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def _ssh_keygen(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [program("ssh-keygen"), *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        input=stdin,
        capture_output=True,
        check=False,
    )
