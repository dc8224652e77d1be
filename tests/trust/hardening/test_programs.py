"""A gpg that is missing, old, broken, hanging or lying: nothing gets in, and nothing is left behind."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acistore.errors import ProgramMissing
from acistore.trust.openpgp.gpg import Keyring
from acistore.trust.openpgp.packets import read_key_blocks, read_signatures
from tests.gpg import KeyMaker, SigningKey
from tests.hostile.measured import measured
from tests.programs import command_lines
from tests.trust.hardening.conftest import IMAGE, Operator, Pretend
from tests.trust.hardening.forging import CERTIFY, ENCRYPT, Pair, ed25519, public_key, rsa, signed, subkey

MIB = 1 << 20
STAGES = ("--list-config", "--import", "--verify")


def at(stage: str, script: str) -> str:
    """A gpg that does something else at one of its three calls."""
    return f'case "$*" in *{stage}*) {script};; *) real "$@";; esac'


def refuses_to_judge(operator: Operator, pair: Pair) -> dict[str, str | None]:
    error = operator.refuses(signed(pair, IMAGE), "ProgramMissing", code=1)
    assert "gnupg" in error["next"]
    return error


def test_gpg_sees_no_key_and_no_signature_but_those_that_count(
    operator: Operator, alice: Pair, eve: Pair, pretend: Pretend, tmp_path: Path, maker: KeyMaker
) -> None:
    """What is trusted for other names, or has signed nothing here, is not even shown to it."""
    bystander, part = ed25519(), ed25519()
    operator.trusts_pair(alice, subkey(alice, part))
    operator.trusts_pair(bystander)
    operator.trusts_pair(eve, prefix="example.net")
    pretend(
        "for word; do case $last in --keyring) keys=$word;; esac; before=$last; last=$word; done\n"
        f'case "$*" in *--verify*) cp "$keys" {tmp_path}/keys; cp "$before" {tmp_path}/signatures;; esac\n'
        'real "$@"'
    )
    operator.admits(signed(part, IMAGE) + signed(eve, IMAGE), alice.fingerprint)
    options = ("--no-auto-check-trustdb", "--no-default-keyring", "--keyring", f"{tmp_path}/keys")
    shown = maker.gpg(*options, "--with-colons", "--list-keys")
    assert [line.split(b":")[9].decode().lower() for line in shown.splitlines() if line.startswith(b"fpr")] == [
        alice.fingerprint,
        part.fingerprint,
    ]
    given = read_signatures((tmp_path / "signatures").read_bytes())
    assert [signature.fingerprint for signature in given] == [part.fingerprint]


# Not there


@pytest.mark.parametrize(
    "lay",
    [
        lambda path: None,
        lambda path: path.write_text("#!/bin/sh\n"),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/nonexistent"),
    ],
    ids=["nothing", "not executable", "directory", "dangling link"],
)
def test_no_gpg(
    operator: Operator, alice: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lay: Callable[[Path], object]
) -> None:
    operator.trusts_pair(alice)
    (tmp_path / "bin").mkdir()
    lay(tmp_path / "bin" / "gpg")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert refuses_to_judge(operator, alice)["message"] == "gpg is not installed"
    for arguments in (["trust", "list"], ["trust", "add", "--root", "--yes", str(operator.top / "key.asc")]):
        (operator.top / "key.asc").write_bytes(public_key(alice, "Alice"))
        assert operator.run("--json", *arguments).error["kind"] == "ProgramMissing"


def test_gpg_that_is_no_program(operator: Operator, alice: Pair, tmp_path: Path, pretend: Pretend) -> None:
    operator.trusts_pair(alice)
    pretend("")
    (tmp_path / "bin" / "gpg").write_bytes(b"\x7fELF" + bytes(100))
    refuses_to_judge(operator, alice)


def test_gpg_of_long_ago(operator: Operator, alice: Pair, pretend: Pretend) -> None:
    """It doesn't know the options without which it would ask for keys elsewhere."""
    operator.trusts_pair(alice)
    pretend("echo 'gpg: invalid option \"--no-autostart\"' >&2; exit 2")
    error = refuses_to_judge(operator, alice)
    assert "--no-autostart" in str(error)


# Broken


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "script",
    [
        "exit 2",
        "exit 0",
        "kill -9 $$",
        "kill -SEGV $$",
        "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2",
        "printf '[GNUPG:] '; printf '[GNUPG:] ' >&2",
    ],
)
def test_gpg_that_breaks_off(
    operator: Operator, alice: Pair, pretend: Pretend, scratch: Path, stage: str, script: str
) -> None:
    operator.trusts_pair(alice)
    pretend(at(stage, script))
    refuses_to_judge(operator, alice)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "script"),
    [
        ("--import", "head -c 20 > /dev/null; kill -9 $$"),
        ("--import", "cat > /dev/null; echo '[GNUPG:] IMPORT_RES 1' >&2"),
        ("--import", "cat > /dev/null; printf '[GNUPG:] IMPORT_OK 1 %040d\\n[GNUPG:] IMPORT_RES\\n' 0 >&2"),
        ("--import", "cat > /dev/null; echo pub:x; echo '[GNUPG:] IMPORT_RES' >&2"),
        ("--import", "cat > /dev/null; printf '[GNUPG:] IMPORT_OK\\n[GNUPG:] IMPORT_RES\\n' >&2"),
        ("--verify", "printf '[GNUPG:]\\n[GNUPG:] \\n[GNUPG:] NEWSIG extra\\n' >&2; exit 1"),
        ("--verify", "head -c 20 > /dev/null; kill -9 $$"),
        ("--verify", "cat > /dev/null; kill -9 $$"),
        ("--verify", "cat > /dev/null; echo '[GNUPG:] NODATA 4' >&2"),
        ("--verify", "cat > /dev/null; echo '[GNUPG:] NEWSIG' >&2; kill -9 $$"),
    ],
)
def test_gpg_that_stops_half_way(
    operator: Operator, alice: Pair, pretend: Pretend, scratch: Path, stage: str, script: str
) -> None:
    operator.trusts_pair(alice)
    pretend(at(stage, script))
    ran = operator.fetch(signed(alice, IMAGE))
    assert ran.code in (1, 4), ran
    assert operator.run("--json", "list").document == []
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("version", ["1.4.23", "2.0.30", "2.2.4"])
def test_old_gpg(operator: Operator, alice: Pair, pretend: Pretend, version: str) -> None:
    operator.trusts_pair(alice)
    pretend(at("--list-config", f"echo cfg:version:{version}"))
    assert version in str(refuses_to_judge(operator, alice)["message"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "script",
    [
        "cat /dev/zero",
        "cat /dev/zero >&2",
        "yes",
        "yes '[GNUPG:] NEWSIG' >&2",
        "yes '[GNUPG:] NOTATION_DATA x' >&2",
    ],
)
def test_gpg_that_writes_without_end(
    operator: Operator, alice: Pair, pretend: Pretend, scratch: Path, stage: str, script: str
) -> None:
    operator.trusts_pair(alice)
    pretend(at(stage, f"exec {script}"))
    error = refuses_to_judge(operator, alice)
    assert error["message"] == "gpg writes without end"
    assert list(scratch.iterdir()) == []


def test_gpg_that_writes_without_end_fills_no_memory(operator: Operator, alice: Pair, pretend: Pretend) -> None:
    operator.trusts_pair(alice)
    image = operator.top / "app.aci"
    image.write_bytes(IMAGE)
    (operator.top / "app.aci.asc").write_bytes(signed(alice, IMAGE + b"\n"))
    how = {"environment": {}, "scratch": operator.top, "patience": 60.0}
    usual = measured("--json", "fetch", str(image), **how)  # type: ignore[arg-type]
    assert usual.error["kind"] == "BadSignature"
    pretend(at("--verify", "cat /dev/zero & cat /dev/zero >&2"))
    endless = measured("--json", "fetch", str(image), **how)  # type: ignore[arg-type]
    assert endless.error["kind"] == "ProgramMissing"
    assert endless.peak < usual.peak + 24 * MIB


# Hanging


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("stage", "how"),
    [
        *((stage, "exec sleep {nap}") for stage in STAGES),
        ("--import", "sleep {nap}"),
        ("--verify", "sleep {nap} & wait"),
        ("--verify", "exec setsid sleep {nap}"),
    ],
)
def test_gpg_that_hangs(
    operator: Operator, alice: Pair, pretend: Pretend, scratch: Path, stage: str, how: str
) -> None:
    """It is killed, whatever else it has started too."""
    operator.trusts_pair(alice)
    nap = f"86400.{os.getpid()}3"
    pretend(at(stage, how.format(nap=nap)))
    error = refuses_to_judge(operator, alice)
    assert "hangs" in str(error["message"])
    assert not [line for line in command_lines() if nap.encode() in line]
    assert list(scratch.iterdir()) == []


# Lying. A gpg that lies well is believed: whoever can put one into the operator's PATH has won already. But one
# that contradicts itself, or tells of somebody else, is not.


@pytest.mark.parametrize(
    "lines",
    [
        ["NEWSIG", "GOODSIG {id} Alice"],
        ["NEWSIG", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "GOODSIG {other_id} Eve", "VALIDSIG {other} - 1700000000 0 4 0 22 10 00 {other}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {other} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {other}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 1700000000 0 4 0 22 2 00 {fpr}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 9999999999 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 99999999999999999999 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - now 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "GOODSIG {id} A", "BADSIG {id} A", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "EXPKEYSIG {id} A", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "REVKEYSIG {id} A", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "EXPSIG {id} A", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NEWSIG", "NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["GOODSIG {id} Alice", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
        ["NODATA 3", "NEWSIG", "GOODSIG {id} Alice", "VALIDSIG {fpr} - 1700000000 0 4 0 22 10 00 {fpr}"],
    ],
)
def test_gpg_that_contradicts_itself(
    operator: Operator, alice: Pair, eve: Pair, pretend: Pretend, lines: list[str]
) -> None:
    operator.trusts_pair(alice)
    operator.trusts_pair(eve)
    fingerprint, other = alice.fingerprint.upper(), eve.fingerprint.upper()
    told = [
        f"[GNUPG:] {line}".format(fpr=fingerprint, id=fingerprint[-16:], other=other, other_id=other[-16:])
        for line in lines
    ]
    pretend(at("--verify", "cat > /dev/null; printf '%s\\n' " + " ".join(f"'{line}'" for line in told) + " >&2"))
    ran = operator.fetch(signed(alice, b"another image"))
    assert ran.code in (1, 4), ran
    assert operator.run("--json", "list").document == []


def test_gpg_that_says_good_is_believed(operator: Operator, alice: Pair, pretend: Pretend) -> None:
    """Lest the test above proves nothing."""
    operator.trusts_pair(alice)
    fingerprint = alice.fingerprint.upper()
    lines = [
        "NEWSIG",
        f"GOODSIG {fingerprint[-16:]} A",
        f"VALIDSIG {fingerprint} - 17 0 4 0 22 10 00 {fingerprint}",
    ]
    told = " ".join(f"'[GNUPG:] {line}'" for line in lines)
    pretend(at("--verify", f"cat > /dev/null; printf '%s\\n' {told} >&2"))
    operator.admits(signed(alice, b"another image"), alice.fingerprint)


@pytest.mark.parametrize("uses", [CERTIFY, ENCRYPT])
def test_gpg_that_does_not_mind_what_a_key_is_for(
    operator: Operator, alice: Pair, pretend: Pretend, uses: int
) -> None:
    """As those before 2025 didn't."""
    part = rsa(2048)
    operator.trusts_pair(alice, subkey(alice, part, uses=ENCRYPT), uses=uses)
    for signer in (alice, part):
        fingerprint, primary = signer.fingerprint.upper(), alice.fingerprint.upper()
        lines = [
            "NEWSIG",
            f"GOODSIG {fingerprint[-16:]} A",
            f"VALIDSIG {fingerprint} - 17 0 4 0 1 10 00 {primary}",
        ]
        told = " ".join(f"'[GNUPG:] {line}'" for line in lines)
        pretend(at("--verify", f"cat > /dev/null; printf '%s\\n' {told} >&2"))
        operator.refuses(signed(signer, IMAGE), "UntrustedSigner")


def test_gpg_that_has_not_read_everything_is_not_believed(release: SigningKey, pretend: Pretend) -> None:
    """What it calls good would be the beginning of the image."""
    data = bytes(16 * MIB)
    blocks, signatures = read_key_blocks(release.public()), read_signatures(release.sign(data))
    fingerprint = release.fingerprint.upper()
    lines = [
        "NEWSIG",
        f"GOODSIG {fingerprint[-16:]} R",
        f"VALIDSIG {fingerprint} - 1 0 4 0 22 10 00 {fingerprint}",
    ]
    told = " ".join(f"'[GNUPG:] {line}'" for line in lines)
    for reading in ("head -c 1000000 > /dev/null", "exec <&-", ":"):
        pretend(at("--verify", f"{reading}; printf '%s\\n' {told} >&2"))
        with Keyring(blocks) as keyring, pytest.raises(ProgramMissing, match="had read all"):
            keyring.verify(signatures, io.BytesIO(data))
