"""What differs between OpenPGP and SSH, behind one face: files of keys and of signatures, and their check.

gpg is run for OpenPGP alone, and the cryptography library loaded for SSH alone, and each only when it is needed.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from acistore.errors import MalformedSignature
from acistore.trust.keys import KeyBlock, PublicKey, Scheme
from acistore.trust.openpgp import gpg, packets
from acistore.trust.signatures import Signature, SignatureResult, Status
from acistore.trust.ssh import keys as ssh_keys
from acistore.trust.ssh import sshsig
from acistore.trust.ssh.verify import Verification as SshVerification

SCHEMES: tuple[Scheme, ...] = ("openpgp", "ssh")


def read_keys(material: bytes) -> tuple[PublicKey, ...]:
    """The public keys in a file of either scheme, at least one. Raises KeyRefused, ProgramMissing."""
    if ssh_keys.looks_like_ssh(material):
        return tuple(map(ssh_keys.describe, ssh_keys.read_keys(material)))
    return gpg.read_keys(material)


def read_key_blocks(material: bytes, scheme: Scheme) -> Sequence[KeyBlock]:
    """The keys in a file of the trust store, at least one. Raises KeyRefused."""
    return packets.read_key_blocks(material) if scheme == "openpgp" else ssh_keys.read_keys(material)


def describe(blocks: Iterable[KeyBlock]) -> dict[KeyBlock, PublicKey]:
    """What is known of each key; those that gpg doesn't accept are missing. Raises ProgramMissing."""
    given = list(dict.fromkeys(blocks))
    known: dict[KeyBlock, PublicKey] = {
        block: ssh_keys.describe(block) for block in given if isinstance(block, ssh_keys.SshKey)
    }
    if openpgp := [block for block in given if isinstance(block, packets.KeyBlock)]:
        known |= gpg.describe(openpgp)
    return known


def read_signatures(material: bytes) -> tuple[Signature, ...]:
    """The signatures in a file of either scheme, at least one. Raises MalformedSignature."""
    if sshsig.is_signature(material):
        return sshsig.read_signatures(material)
    start = material.lstrip()[:1]
    if start and not start >= b"\x80" and b"-----BEGIN" not in material:
        raise MalformedSignature("not a detached signature: there is neither one of OpenPGP nor one of SSH in it")
    return packets.read_signatures(material)


class Verification:
    """A check of signatures of any scheme over data that is still to come. Used as a context manager.

    Entering it raises ProgramMissing where gpg is needed and not there, and FileUnusable.
    """

    def __init__(self, signatures: Sequence[Signature], keys: Iterable[KeyBlock]) -> None:
        self._signatures = signatures
        self._keys = tuple(keys)
        self._stack = ExitStack()
        self.known: dict[str, PublicKey] = {}
        """By fingerprint, what is known of the keys of whose scheme there is a signature."""
        self._openpgp: gpg.Verification | None = None
        self._ssh: SshVerification | None = None

    def __enter__(self) -> Self:
        openpgp = [each for each in self._signatures if isinstance(each, packets.Signature)]
        ssh = [each for each in self._signatures if isinstance(each, sshsig.SshSignature)]
        blocks = packets.claimed((block for block in self._keys if isinstance(block, packets.KeyBlock)), openpgp)
        with self._stack:
            if openpgp and blocks:
                keyring = self._stack.enter_context(gpg.Keyring(blocks))
                self.known |= keyring.keys
                self._openpgp = self._stack.enter_context(keyring.verification(openpgp))
            if ssh:
                keys = {
                    block.fingerprint: ssh_keys.describe(block)
                    for block in self._keys
                    if isinstance(block, ssh_keys.SshKey)
                }
                self.known |= keys
                self._ssh = SshVerification(ssh, keys)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def feed(self, data: bytes) -> None:
        """The next piece of the data, of any length. Raises ProgramMissing."""
        for part in (self._openpgp, self._ssh):
            if part is not None:
                part.feed(data)

    def finish(self) -> tuple[SignatureResult, ...]:
        """The data is complete: one result per signature, in their order. Raises ProgramMissing."""
        found = {
            result.signature: result
            for part in (self._openpgp, self._ssh)
            if part is not None
            for result in part.finish()
        }
        return tuple(
            found.get(signature, SignatureResult(Status.NO_PUBLIC_KEY, signature, None))
            for signature in self._signatures
        )
