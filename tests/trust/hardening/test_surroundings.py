"""Whatever the user has set for gpg, and wherever the command runs: the same verdict, and nothing is touched."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from acistore.trust.openpgp.gpg import Keyring
from tests.cli.running import COMMAND, Ran, environment
from tests.fetch.conftest import HOST, NAME
from tests.gpg import KeyMaker, SigningKey
from tests.mounts import Place, command, fill, make_read_only, on_a_disk
from tests.programs import command_lines
from tests.trust.hardening.conftest import IMAGE, SIGNATURE, Operator
from tests.trust.hardening.forging import (
    DAY,
    LONG_AGO,
    Pair,
    ed25519,
    notation,
    public_key,
    seconds,
    signed,
    subkey,
    subpacket,
)

BEFORE = LONG_AGO + DAY


class UserHome:
    """A person's own home of gpg, with keys of theirs, of which one is a stranger's to us."""

    def __init__(self, maker: KeyMaker) -> None:
        self._maker = maker
        self.key = maker.key("Myself <me@example.net>")
        self.path = maker.home
        subprocess.run(["gpgconf", "--kill", "all"], env=self.variables, check=True)

    @property
    def variables(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "GNUPGHOME": str(self.path), "HOME": str(self.path)}

    def configure(self, *lines: str) -> None:
        for name in ("gpg.conf", "dirmngr.conf", "gpg-agent.conf", "common.conf"):
            (self.path / name).write_text("\n".join([*lines, ""]) if name == "gpg.conf" else "")

    def own_verdict(self, signature: bytes, key: bytes) -> str:
        """What gpg says of a signature over the image here: the keyword of the verdict."""
        self._maker.gpg("--no-options", "--import", stdin=key)
        (self.path / "signature").write_bytes(signature)
        done = subprocess.run(
            ["gpg", "--batch", "--status-fd", "1", "--verify", self.path / "signature", "-"],
            env=self.variables,
            input=IMAGE,
            capture_output=True,
            check=False,
        )
        words = [line.split()[1] for line in done.stdout.decode().splitlines() if line.startswith("[GNUPG:] ")]
        return next((word for word in words if word.endswith("SIG") and word not in ("NEWSIG", "VALIDSIG")), "")

    def content(self) -> dict[str, tuple[bytes, int]]:
        """Every file in it, and when it was written to."""
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def home() -> Iterator[UserHome]:
    with KeyMaker() as maker:
        yield UserHome(maker)


@pytest.fixture
def at_home(home: UserHome, monkeypatch: pytest.MonkeyPatch) -> UserHome:
    """The user's home is what the environment says, in both ways that gpg knows."""
    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setenv("GNUPGHOME", str(home.path))
    return home


# The user's configuration, each line with a case in which gpg would come to another verdict by it

ALICE = ed25519()
PART = ed25519()
ENDED = public_key(ALICE, "Alice", hashed=subpacket(9, seconds(30 * DAY)))
PLAIN = public_key(ALICE, "Alice")
UNCROSSED = public_key(ALICE, "Alice", subkey(ALICE, PART, back=False))
LENIENT: dict[str, tuple[bytes, bytes, str]] = {
    "faked-system-time 20200110T000000!": (ENDED, signed(ALICE, IMAGE, at=BEFORE), "ExpiredKey"),
    "no-require-cross-certification": (UNCROSSED, signed(PART, IMAGE), "MalformedSignature"),
    "known-notation x@example.com": (
        PLAIN,
        signed(ALICE, IMAGE, hashed=notation("x@example.com", b"1", critical=True)),
        "BadSignature",
    ),
    "ignore-time-conflict": (PLAIN, signed(ALICE, IMAGE, at=LONG_AGO - DAY), "MalformedSignature"),
}
STRICT = {
    "weak-digest SHA512": "ERRSIG",
    "disable-pubkey-algo EDDSA": "ERRSIG",
    "faked-system-time 20190101T000000!": "ERRSIG",
    "skip-verify": "",
}


@pytest.mark.parametrize("line", LENIENT)
def test_lenient_configuration_lets_nothing_in(operator: Operator, line: str) -> None:
    key, signature, kind = LENIENT[line]
    with KeyMaker() as maker:
        home = UserHome(maker)
        home.configure(line)
        assert home.own_verdict(signature, key) == "GOODSIG"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(home.path))
            patch.setenv("GNUPGHOME", str(home.path))
            operator.trusts(key, ALICE.fingerprint)
            operator.refuses(signature, kind)


@pytest.mark.parametrize("line", STRICT)
def test_strict_configuration_keeps_nothing_out(operator: Operator, at_home: UserHome, line: str) -> None:
    at_home.configure(line)
    signature = signed(ALICE, IMAGE, at=BEFORE)
    assert at_home.own_verdict(signature, PLAIN) == STRICT[line]
    operator.trusts(PLAIN, ALICE.fingerprint)
    operator.admits(signature, ALICE.fingerprint)


def test_home_of_the_user_is_not_touched(
    operator: Operator, at_home: UserHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No configuration of it is read, however wrong, nothing is written to it, and no agent is started."""
    at_home.configure(
        "no-such-option",
        "trust-model always",
        "auto-key-retrieve",
        "keyserver hkps://keys.example.net",
        "auto-key-locate wkd,keyserver",
        f"status-file {tmp_path}/status",
        f"log-file {tmp_path}/log",
        "verify-options show-photos",
        f'photo-viewer "touch {tmp_path}/viewed"',
    )
    before = at_home.content()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    operator.trusts(PLAIN, ALICE.fingerprint)
    operator.admits(signed(ALICE, IMAGE), ALICE.fingerprint)
    operator.refuses(at_home.key.sign(IMAGE, how="--no-options --detach-sign"), "UntrustedSigner")
    subprocess.run(["gpgconf", "--kill", "all"], env=at_home.variables, check=True)
    assert {path: found for path, found in at_home.content().items() if path in before} == before
    assert list(scratch.iterdir()) == []
    assert not [line for line in command_lines() if str(scratch).encode() in line]
    assert not [name for name in ("status", "log", "viewed") if (tmp_path / name).exists()]
    assert not [line for line in operator.web.log() if "keys.example.net" in line or "openpgpkey" in line]


def test_keys_of_the_user_do_not_count(operator: Operator, at_home: UserHome) -> None:
    """Not even one that gpg trusts ultimately, since it is the user's own."""
    at_home.configure("trust-model pgp")
    signature = at_home.key.sign(IMAGE)
    assert at_home.own_verdict(signature, at_home.key.public()) == "GOODSIG"
    operator.refuses(signature, "NoTrustedKey")
    operator.trusts(PLAIN, ALICE.fingerprint)
    operator.refuses(signature, "UntrustedSigner")


# Environment

ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "agent": {"GPG_AGENT_INFO": "/nonexistent:1:1", "GPG_TTY": "/dev/null", "DEBUG_IPC": "1"},
    "home that is not there": {"HOME": "/nonexistent", "GNUPGHOME": "/nonexistent"},
    "home that can't be written": {"HOME": "/proc", "GNUPGHOME": "/proc/self"},
    "home that is a file": {"HOME": "/dev/null", "GNUPGHOME": "/dev/null"},
    "no home": {"HOME": None, "GNUPGHOME": "", "USER": None, "LOGNAME": None},
    "German": {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "de"},
    "Japanese": {"LC_ALL": "ja_JP.eucJP", "LANG": "ja_JP.eucJP", "LANGUAGE": "ja"},
    "Turkish": {"LC_ALL": "tr_TR.ISO-8859-9", "LANG": "tr_TR", "LANGUAGE": "tr"},
    "plain": {"LC_ALL": "C", "LANG": None, "LANGUAGE": None, "TZ": "Pacific/Kiritimati"},
    "path through here": {"PATH": f".:{os.environ['PATH']}"},
}


@pytest.mark.parametrize("variables", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_environment_makes_no_difference(
    operator: Operator,
    variables: dict[str, str | None],
    release: SigningKey,
    expired: SigningKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in (release, expired):
        operator.trusts_key(key)
    good, late = release.sign(IMAGE), expired.sign(IMAGE, at="20200601T000000")
    for name, value in variables.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    operator.admits(good, release.fingerprint)
    operator.refuses(late, "ExpiredKey")


SHELLS = {
    "no input": 'exec "$@" <&-',
    "no streams": 'exec "$@" <&- >&- 2>&-',
    "umask of all": 'umask 0777; exec "$@"',
    "odd TMPDIR": """d="$TMP/a b'c\\$(x)/$(printf %0150d 0)"; mkdir -p "$d"; TMPDIR="$d" exec "$@" """,
    "directory that is gone": 'mkdir "$TMP/gone"; cd "$TMP/gone"; rmdir "$TMP/gone"; exec "$@"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_process_makes_no_difference(operator: Operator, release: SigningKey, tmp_path: Path, shell: str) -> None:
    operator.trusts_key(release)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    operator.web.put(HOST, SIGNATURE, release.sign(IMAGE))
    ran = subprocess.run(
        ["sh", "-c", SHELLS[shell], "sh", *COMMAND, "fetch", f"{NAME}:1.0"],
        env=environment(TMP=str(scratch)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    # Nobody can be told the image's ID when there is no output; it is stored all the same.
    assert ran.returncode == (1 if shell == "no streams" else 0), ran
    assert len(operator.run("--json", "list").document) == 1
    assert not list(scratch.rglob("acistore-gpg-*"))


# Where gpg's throw-away home is made


def test_no_place_for_temporary_files(
    operator: Operator, alice: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    operator.trusts_pair(alice)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nonexistent"))
    error = operator.refuses(signed(alice, IMAGE), "FileUnusable", code=1)
    assert "temporary directory" in error["message"]


def lay_out(place: Place) -> Path:
    """An image with its signature and a key to check it with, elsewhere."""
    image = place.elsewhere / "app.aci"
    image.write_bytes(IMAGE)
    (place.elsewhere / "app.aci.asc").write_bytes(signed(ALICE, IMAGE))
    keys = place.elsewhere / "LOCAL" / "trustedkeys" / "root.d"
    keys.mkdir(parents=True)
    (keys / ALICE.fingerprint).write_bytes(PLAIN)
    os.environ["ACISTORE_DIR"] = str(place.elsewhere / "store")
    return image


def fetch_with_temporary_files_on(disk: Path, image: Path) -> Ran:
    return command("--json", "fetch", image, become=lambda: setattr(tempfile, "tempdir", str(disk)))


@on_a_disk(size=1 << 20)
def test_no_room_for_temporary_files(place: Place) -> None:
    """Never are the keys at fault, or the signature, when it is the disk."""
    image = lay_out(place)
    codes = []
    for left in (0, 4096, 8192, 12288, 512 << 10):
        fill(place.disk, but=left)
        ran = fetch_with_temporary_files_on(place.disk, image)
        codes.append(ran.code)
        for error in ran.errors:
            assert (ran.code, error["kind"]) == (1, "FileUnusable"), (left, ran)
            assert "No space left" in error["message"]
    assert (codes[0], codes[-1]) == (1, 0)


@on_a_disk(size=64 << 10, files=2)
def test_no_room_for_the_names_of_temporary_files(place: Place) -> None:
    image = lay_out(place)
    ran = fetch_with_temporary_files_on(place.disk, image)
    assert (ran.code, ran.error["kind"]) == (1, "FileUnusable"), ran


@on_a_disk(size=1 << 20)
def test_place_for_temporary_files_that_is_read_only(place: Place) -> None:
    image = lay_out(place)
    make_read_only(place.disk)
    ran = fetch_with_temporary_files_on(place.disk, image)
    assert (ran.code, ran.error["kind"]) == (1, "FileUnusable")
    assert "Read-only" in ran.error["message"]


@on_a_disk(size=1 << 20)
def test_no_proc(place: Place) -> None:
    """A chroot may be without it. A gpg that hangs is found there, and killed, all the same."""
    image = lay_out(place)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/proc"], check=True)
    assert command("fetch", image).code == 0
    image.write_bytes(IMAGE + b"\n")
    assert command("fetch", image).code == 4
    hanging = place.elsewhere / "bin" / "gpg"
    hanging.parent.mkdir()
    hanging.write_text(f"#!/bin/sh\necho $$ > {place.elsewhere}/pid\nexec sleep 86400\n")
    hanging.chmod(0o755)

    def become() -> None:
        os.environ["PATH"] = f"{hanging.parent}:{os.environ['PATH']}"
        defaults = Keyring.__init__.__kwdefaults__
        assert defaults is not None
        defaults["patience"] = 0.5

    ran = command("--json", "fetch", image, become=become)
    assert (ran.code, ran.error["kind"]) == (1, "ProgramMissing")
    with pytest.raises(ProcessLookupError):
        os.kill(int((place.elsewhere / "pid").read_text()), 0)
