"""Real OpenPGP keys and signatures for tests, made by gpg, without passphrase and without anybody's keyring.

    with KeyMaker() as maker:
        key = maker.key("Release <release@example.com>")
        signature = key.sign(image_bytes)

Times are given as `20200131T000000` (UTC), lifetimes as gpg writes them: `1d`, `1y`, `seconds=30`, `0` for ever.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


class KeyMaker:
    """A home of GnuPG that is thrown away, agent and all, when it is left."""

    def __init__(self) -> None:
        assert shutil.which("gpg"), "these tests need gpg: apt-get install gnupg"
        # The path of the agent's socket may have 108 characters at most.
        self.home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
        self._environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(self.home), "LC_ALL": "C.UTF-8"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the agent and remove the home."""
        for option in (["--kill", "all"], ["--remove-socketdir"]):
            subprocess.run(["gpgconf", *option], env=self._environment, capture_output=True, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def gpg(self, *arguments: str, at: str | None = None, stdin: bytes = b"") -> bytes:
        """What gpg writes to stdout, with its clock standing at `at`."""
        command = ["gpg", "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        if at is not None:
            command += ["--faked-system-time", f"{at}!"]
        done = subprocess.run(
            [*command, *arguments], env=self._environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def key(
        self,
        user_id: str = "Release <release@example.com>",
        *,
        algorithm: str = "ed25519",
        usage: str = "sign",
        expires: str = "0",
        at: str | None = None,
    ) -> "SigningKey":
        """A new key, which signs itself unless `usage` is `cert`. `algorithm`: ed25519, rsa1024, nistp256…"""
        made = self.gpg(
            *("--status-fd", "1", "--allow-weak-key-signatures"),
            *("--quick-generate-key", user_id, algorithm, usage, expires),
            at=at,
        )
        return SigningKey(self, _created(made), user_id)


@dataclass(frozen=True)
class SigningKey:
    """A key pair in the maker's home. `fingerprint` is lower-case hex, of the primary key."""

    maker: KeyMaker
    fingerprint: str
    user_id: str

    def public(self, *, armored: bool = True) -> bytes:
        """The public key as it is now."""
        return self.maker.gpg(*(["--armor"] if armored else []), "--export", self.fingerprint)

    def secret(self, *, armored: bool = True, subkeys_only: bool = False) -> bytes:
        """The secret key, or with `subkeys_only` what its subkeys need of it."""
        what = "--export-secret-subkeys" if subkeys_only else "--export-secret-keys"
        return self.maker.gpg(*(["--armor"] if armored else []), what, self.fingerprint)

    def sign(
        self,
        data: bytes,
        *,
        armored: bool = True,
        digest: str = "SHA512",
        expires: str = "0",
        at: str | None = None,
        subkey: str | None = None,
        how: str = "--detach-sign",
    ) -> bytes:
        """A signature over data: detached, or `how` is `--clearsign`, `--sign`, `--textmode --detach-sign`.

        gpg takes the newest subkey that can sign, else the primary key; `subkey` names one.
        """
        signer = f"{subkey}!" if subkey else self.fingerprint
        options = [f"--{'' if armored else 'no-'}armor", "--digest-algo", digest, "--local-user", signer]
        if expires != "0":
            options += ["--default-sig-expire", expires]
        return self.maker.gpg(*options, *how.split(), at=at, stdin=data)

    def add_subkey(
        self, *, algorithm: str = "ed25519", usage: str = "sign", expires: str = "0", at: str | None = None
    ) -> str:
        """The fingerprint of a new subkey."""
        made = self.maker.gpg(
            *("--status-fd", "1"), *("--quick-add-key", self.fingerprint, algorithm, usage, expires), at=at
        )
        return _created(made)

    def expire(self, expires: str, *, at: str | None = None) -> None:
        """Change when the key expires: `expires` after the time `at`, `0` for never."""
        self.maker.gpg("--quick-set-expire", self.fingerprint, expires, at=at)

    def revoke(self) -> None:
        """Revoke the key, with the certificate that gpg made along with it."""
        certificate = self.maker.home / "openpgp-revocs.d" / f"{self.fingerprint.upper()}.rev"
        # gpg puts a colon in front, lest it be used by accident.
        self.maker.gpg("--import", stdin=certificate.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))

    def revoke_subkey(self, number: int = 1) -> None:
        """Revoke a subkey, the first being number 1."""
        answers = [f"key {number}", "revkey", "y", "0", "", "y", "save"]
        self.maker.gpg(
            *("--command-fd", "0", "--no-batch", "--no-tty", "--status-fd", "2", "--edit-key", self.fingerprint),
            stdin="\n".join([*answers, ""]).encode(),
        )


def _created(status: bytes) -> str:
    lines = [line.split() for line in status.splitlines()]
    return next(line[3] for line in lines if line[1:2] == [b"KEY_CREATED"]).decode().lower()
