"""Somebody who fetches example.com/app by its name, with the command, from a real server, and trusts certain keys.

Each test brings its own keys and signatures, made by gpg, or by hand where gpg makes no such thing (`forging`).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from acistore.cli import main
from acistore.trust.openpgp.gpg import Keyring
from tests.cli.running import Ran, Run
from tests.fetch.conftest import HOST, NAME, app, served
from tests.gpg import SigningKey
from tests.store.conftest import files_in
from tests.trust.hardening.forging import CERTIFY, SIGN, Pair, ed25519, public_key
from tests.web import WebSite

# Makes a shell script the gpg that is found; `real` in it is the one that was found before.
Pretend = Callable[[str], None]

IMAGE = served(app())
SIGNATURE = f"{NAME}-1.0.aci.asc"
IMAGE_URL = f"https://{HOST}/{NAME}-1.0.aci"


@pytest.fixture(scope="session")
def one_web(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[WebSite]:
    """A site with the image, which all tests here fetch from; the signature is each one's own."""
    with WebSite(tmp_path_factory.mktemp("web"), authority) as web:
        template = f"https://{HOST}/{{name}}-{{version}}.{{ext}}"
        web.put(HOST, "index.html", f'<meta name="ac-discovery" content="{HOST} {template}">'.encode())
        web.put(HOST, f"{NAME}-1.0.aci", IMAGE)
        yield web


@pytest.fixture(scope="session")
def alice() -> Pair:
    """A key that its tests trust, made by hand."""
    return ed25519()


@pytest.fixture(scope="session")
def eve() -> Pair:
    """A key of somebody who wishes us ill."""
    return ed25519()


@dataclass
class Operator:
    """Whoever runs the command."""

    top: Path
    web: WebSite
    run: Run
    warning: str = ""

    @property
    def store(self) -> Path:
        return self.top / "store"

    def trusts(self, key: bytes, fingerprint: str, prefix: str | None = NAME, layer: str = "local") -> Path:
        """Puts a key file where trusted keys lie, by hand, as any program may have done."""
        directory = "root.d" if prefix is None else f"prefix.d/{prefix}"
        path = self.top / layer / "trustedkeys" / directory / fingerprint
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key)
        return path

    def trusts_key(self, key: SigningKey, prefix: str | None = NAME) -> None:
        """Trusts a key as it is now."""
        self.trusts(key.public(), key.fingerprint, prefix)

    def trusts_pair(
        self, pair: Pair, *parts: bytes, prefix: str | None = NAME, uses: int = CERTIFY | SIGN
    ) -> None:
        """Trusts a key made by hand, with these parts besides its user ID."""
        key = public_key(pair, "Alice <alice@example.com>", *parts, uses=uses)
        self.trusts(key, pair.fingerprint, prefix)

    def fetch(self, signature: bytes, wanted: str = f"{NAME}:1.0", *flags: str) -> Ran:
        """Serves that signature and fetches the image."""
        self.web.put(HOST, SIGNATURE, signature)
        return self.run("--json", *flags, "fetch", wanted)

    def admits(self, signature: bytes, by: str, wanted: str = f"{NAME}:1.0") -> None:
        """The image gets in on the word of the key with this fingerprint."""
        ran = self.fetch(signature, wanted)
        assert (ran.code, self._errors_in(ran)) == (0, [])
        (image,) = ran.document
        (admission,) = self.run("--json", "show", image["id"]).document["admissions"]
        assert (admission["verdict"], admission["fingerprint"]) == ("verified", by)
        shutil.rmtree(self.store)

    def refuses(
        self, signature: bytes, kind: str, wanted: str = f"{NAME}:1.0", *, code: int = 4
    ) -> dict[str, Any]:
        """The image doesn't get in, and this kind of error says why: that error. Nothing of the image is kept, but
        for the next try what could not be judged."""
        ran = self.fetch(signature, wanted)
        error = self._error_in(ran)
        assert (ran.code, ran.out, error["kind"], error["exit_code"]) == (code, "[]\n", kind, code), ran
        kept = [each for each in files_in(self.store) if code == 4 or not each.startswith("spool/")]
        assert kept == []
        assert self.run("--json", "list").document == []
        return error

    def adds(self, key: bytes, *flags: str) -> Ran:
        """`trust add` of a key file with this content."""
        path = self.top / "key.asc"
        path.write_bytes(key)
        return self.run(*flags, "trust", "add", "--prefix", NAME, "--layer", "user", "--yes", str(path))

    def refuses_key(self, key: bytes) -> dict[str, Any]:
        """Nothing is added of a key file with this content; the error that says why."""
        ran = self.adds(key, "--json")
        assert (ran.code, ran.out) == (4, ""), ran
        error = self._error_in(ran)
        assert error["kind"] == "KeyRefused"
        assert self.trusted() == []
        return error

    def _error_in(self, ran: Ran) -> dict[str, Any]:
        (error,) = self._errors_in(ran)
        return error

    def _errors_in(self, ran: Ran) -> list[dict[str, Any]]:
        """What warnings there are besides is kept."""
        lines = [json.loads(line) for line in ran.err.splitlines()]
        self.warning = " ".join(line["warning"] for line in lines if "warning" in line)
        return [line["error"] for line in lines if "error" in line]

    def trusted(self) -> list[dict[str, Any]]:
        """What `trust list` tells."""
        found: list[dict[str, Any]] = self.run("--json", "trust", "list").document
        return found


@pytest.fixture
def operator(
    tmp_path: Path, one_web: WebSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Operator:
    for variable in list(os.environ):
        if variable.startswith("ACISTORE_") or variable in ("NO_COLOR", "COLUMNS", "TERM"):
            monkeypatch.delenv(variable)
    for name, value in one_web.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACISTORE_DIR", str(tmp_path / "store"))
    for layer in ("system", "local", "user"):
        monkeypatch.setenv(f"ACISTORE_{layer.upper()}_CONFIG", str(tmp_path / layer))

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return Operator(tmp_path, one_web, run)


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    real = shutil.which("gpg")
    path = tmp_path / "bin" / "gpg"

    def pretend(script: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nreal() {{ exec {real} "$@"; }}\n{script}\n')
        path.chmod(0o755)
        if not os.environ["PATH"].startswith(str(path.parent)):
            monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return pretend


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Keyring.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "patience", 0.5)
