"""gpg as a program: its surroundings, what it leaves behind, and what happens when it misbehaves."""

import io
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.errors import ProgramMissing
from acistore.trust.openpgp.gpg import Keyring, read_keys
from acistore.trust.openpgp.packets import Signature, read_key_blocks, read_signatures
from acistore.trust.openpgp.results import read_results
from acistore.trust.signatures import Status
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.programs import command_lines

DATA = b"an image"


def put_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have a shell script answer to the name of gpg; `real` in it is the real one."""
    gpg = tmp_path / "bin" / "gpg"
    gpg.parent.mkdir()
    gpg.write_text(f'#!/bin/sh\nreal() {{ exec {shutil.which("gpg")} "$@"; }}\n{script}\n')
    gpg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gpg.parent}:{os.environ['PATH']}")


def test_environment_of_the_user_does_not_matter(
    release: SigningKey, stranger: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "hostile"
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text("no-such-option\n")
    (home / "pubring.gpg").write_bytes(stranger.public(armored=False))
    for variable in ("GNUPGHOME", "HOME"):
        monkeypatch.setenv(variable, str(home))
    for variable in ("LANG", "LC_ALL", "LANGUAGE", "LC_MESSAGES"):
        monkeypatch.setenv(variable, "de_DE.UTF-8")
    monkeypatch.setenv("GPG_AGENT_INFO", f"{home}/S.gpg-agent:1:1")
    monkeypatch.setenv("DEBUG_IPC", "1")
    signatures = read_signatures(release.sign(DATA) + stranger.sign(DATA))
    with Keyring(read_key_blocks(release.public())) as keyring:
        found = keyring.verify(signatures, io.BytesIO(DATA))
    assert [result.status for result in found] == [Status.GOOD, Status.NO_PUBLIC_KEY]
    assert sorted(path.name for path in home.iterdir()) == ["gpg.conf", "pubring.gpg"]


def test_nothing_is_left_behind(release: SigningKey, temporary: Path) -> None:
    with Keyring(read_key_blocks(release.public())) as keyring:
        (home,) = temporary.iterdir()
        assert home.stat().st_mode & 0o777 == 0o700
        keyring.verify(read_signatures(release.sign(DATA)), io.BytesIO(DATA))
    assert list(temporary.iterdir()) == []
    assert not [line for line in command_lines() if str(home).encode() in line]


def test_few_processes_are_started(release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "calls"
    signature = release.sign(DATA)
    blocks = read_key_blocks(release.public())
    put_in_path(tmp_path, monkeypatch, f'echo "$*" >> {log}; real "$@"')
    with Keyring(blocks) as keyring:
        keyring.verify(read_signatures(signature), io.BytesIO(DATA))
    calls = log.read_text().splitlines()
    assert len(calls) == 3
    for call, job in zip(calls, ("--list-config", "--import", "--verify"), strict=True):
        assert job in call


def test_missing_gpg_is_told_with_the_command_that_installs_it(
    release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = read_key_blocks(release.public())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing) as caught:
        Keyring(blocks)
    assert caught.value.next_step == "apt-get install gnupg"


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "echo gpg: error while loading shared libraries >&2; exit 127",
        "kill -9 $$",
        "exit 0",
        "echo nonsense; echo '[GNUPG:] NONSENSE' >&2",
        'case "$*" in *--import*) echo "pub:x"; echo "[GNUPG:] IMPORT_RES 1" >&2;; *) real "$@";; esac',
        'case "$*" in *--import*) kill -9 $$;; *) real "$@";; esac',
    ],
)
def test_broken_gpg_is_told(
    release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, script: str
) -> None:
    blocks = read_key_blocks(release.public())
    put_in_path(tmp_path, monkeypatch, script)
    with pytest.raises(ProgramMissing) as caught:
        Keyring(blocks)
    assert "apt-get install" in str(caught.value.next_step)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "script",
    [
        "exit 2",
        "kill -9 $$",
        "head -c 10 > /dev/null; exit 1",
        "cat > /dev/null; exit 0",
        "cat > /dev/null; echo '[GNUPG:] NEWSIG' >&2; echo '[GNUPG:] NEWSIG' >&2; exit 0",
    ],
)
def test_gpg_that_dies_while_it_checks_ends_in_an_error(
    release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    signatures = read_signatures(release.sign(DATA))
    blocks = read_key_blocks(release.public())
    put_in_path(tmp_path, monkeypatch, f'case "$*" in *--verify*) {script};; *) real "$@";; esac')
    with Keyring(blocks) as keyring, keyring.verification(signatures) as running:
        for _ in range(32):
            running.feed(bytes(1 << 20))
        with pytest.raises(ProgramMissing):
            running.finish()


@pytest.mark.parametrize(
    "lines",
    [
        "NEWSIG",
        "NEWSIG\nGOODSIG {key_id} Release",
        "NEWSIG\nGOODSIG {key_id} Release\nVALIDSIG {fingerprint}",
        "NEWSIG\nGOODSIG {key_id} Release\nVALIDSIG {other} 2026-01-01 1 0 4 0 22 10 00 {other}",
        "NEWSIG\nGOODSIG {key_id} R\nBADSIG {key_id} R\nVALIDSIG {fingerprint} - 1 0 4 0 22 10 00 {fingerprint}",
        "NEWSIG\nERRSIG {key_id} 22 10 00 1 4 {fingerprint}",
    ],
)
def test_status_lines_that_prove_nothing_are_an_error(
    release: SigningKey, other: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    signatures = read_signatures(release.sign(DATA))
    blocks = [*read_key_blocks(release.public()), *read_key_blocks(other.public())]
    told = lines.format(
        key_id=release.fingerprint[-16:].upper(),
        fingerprint=release.fingerprint.upper(),
        other=other.fingerprint.upper(),
    )
    answer = "".join(f'echo "[GNUPG:] {line}" >&2; ' for line in told.splitlines())
    script = f'case "$*" in *--verify*) cat > /dev/null; {answer};; *) real "$@";; esac'
    put_in_path(tmp_path, monkeypatch, script)
    with Keyring(blocks) as keyring:
        (result,) = keyring.verify(signatures, io.BytesIO(DATA))
    assert result.status is Status.ERROR


def test_key_past_its_time_makes_no_good_signature_whatever_gpg_says(maker: KeyMaker, expired: SigningKey) -> None:
    gone = maker.key("Gone <gone@example.com>", at=LONG_AGO)
    gone.revoke()
    for key, status in ((expired, Status.EXPIRED_KEY), (gone, Status.REVOKED_KEY)):
        fingerprint = key.fingerprint.upper()
        proof = f"{fingerprint} 2020-01-01 1577836800 0 4 0 22 10 00 {fingerprint}"
        lines = [("NEWSIG", ""), ("GOODSIG", f"{fingerprint[-16:]} x"), ("VALIDSIG", proof)]
        signature = Signature(b"", key.fingerprint, key.fingerprint[-16:], "SHA512", None, None)
        (found,) = read_keys(key.public())
        (result,) = read_results(lines, [signature], {key.fingerprint: found}, datetime.now(UTC))
        assert result.status is status


@pytest.mark.parametrize("job", ["--list-config", "--import"])
def test_gpg_that_hangs_ends_in_an_error(
    release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    blocks = read_key_blocks(release.public())
    nap = f"86400.{os.getpid()}1"
    put_in_path(tmp_path, monkeypatch, f'case "$*" in *{job}*) sleep {nap};; *) real "$@";; esac')
    with pytest.raises(ProgramMissing):
        Keyring(blocks, patience=0.1)
    assert not [line for line in command_lines() if nap.encode() in line]


@pytest.mark.parametrize("size", [10, 32 << 20])
def test_gpg_that_hangs_while_it_checks_ends_in_an_error(
    release: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    signatures = read_signatures(release.sign(DATA))
    blocks = read_key_blocks(release.public())
    nap = f"86400.{os.getpid()}2"
    put_in_path(tmp_path, monkeypatch, f'case "$*" in *--verify*) exec sleep {nap};; *) real "$@";; esac')
    with Keyring(blocks, patience=0.3) as keyring, pytest.raises(ProgramMissing):
        keyring.verify(signatures, io.BytesIO(bytes(size)))
    assert not [line for line in command_lines() if nap.encode() in line]
