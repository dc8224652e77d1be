"""What is the matter with the trusted keys, and what a listing says of it."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acistore.errors import FileUnusable, KeysNeedAttention
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keystore.attention import CheckedKey, complaint
from acistore.trust.keystore.keyfiles import Whereabouts
from acistore.trust.openpgp.framing import armored
from acistore.trust.openpgp.packets import read_key_blocks
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.mounts import forked
from tests.ssh import SshKeyMaker
from tests.trust.directories import Directories
from tests.users import User


def problems(
    directories: Directories, soon: timedelta = timedelta(days=30)
) -> list[tuple[str | None, str | None]]:
    """What is the matter, with what each key is trusted for."""
    return [
        (each.listed.place.prefix if each.listed else str(each.path), each.problem)
        for each in directories.store.check(soon=soon)
    ]


def test_keys_that_are_well(directories: Directories, release: SigningKey, tmp_path: Path) -> None:
    assert directories.store.check() == ()
    ssh = SshKeyMaker(tmp_path).key()
    directories.put("local", None, release)
    directories.store.add(ssh.public(), prefix="a", source="k", layer="local")
    assert problems(directories) == [(None, None), ("a", None)]


def test_each_problem_is_told(
    directories: Directories, maker: KeyMaker, release: SigningKey, expired: SigningKey, tmp_path: Path
) -> None:
    soon = maker.key("Soon <soon@example.com>", expires="10d")
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    weak = maker.key("Weak <weak@example.com>", algorithm="rsa1024")
    part = maker.key("Part <part@example.com>", usage="cert", at=LONG_AGO)
    part.add_subkey(expires="1y", at=LONG_AGO)
    mute = maker.key("Mute <mute@example.com>", usage="cert", at=LONG_AGO)
    ssh = SshKeyMaker(tmp_path).key("rsa", 1024)
    for prefix, key in (("a", soon), ("b", gone), ("c", weak), ("d", part), ("e", mute), ("f", expired)):
        directories.put("local", prefix, key)
    directories.store.add(ssh.public(), prefix="g", source="k", layer="local")
    directories.put("local", None, release)
    assert problems(directories) == [
        (None, None),
        ("a", "expires in 9 days"),
        ("b", "revoked by its owner"),
        ("c", "too short: what it signs is refused"),
        ("d", "expired on 2020-12-31"),
        ("e", "nothing in it can sign"),
        ("f", "expired on 2020-12-31"),
        ("g", "too short: what it signs is refused"),
    ]
    assert problems(directories, timedelta(days=5))[1] == ("a", None)
    states = {each.place.prefix: each.state for each in directories.store.all_keys()}
    assert (states["a"], states["b"], states["d"], states["e"]) == ("valid", "revoked", "expired", "valid")


def test_what_is_not_in_force_is_no_matter(
    directories: Directories, maker: KeyMaker, expired: SigningKey, release: SigningKey
) -> None:
    directories.put("local", "a", expired)
    directories.mask("user", "a", expired)
    renewed = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    directories.put("system", "b", renewed)
    renewed.expire("0", at="20200601T000000")
    directories.put("local", "b", renewed)
    assert problems(directories) == [("b", None)]


def test_files_that_are_not_in_order_are_a_matter(
    directories: Directories, release: SigningKey, other: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    damaged = directories.write("local", "a", release.fingerprint, b"junk")
    named = directories.write("local", "a", other.fingerprint, release.public())
    stray = directories.write("local", "a", "README", b"keys")
    found = {each.path: each.problem for each in directories.store.check() if each.listed is None}
    assert found == {
        damaged: "not an OpenPGP public key: there is none in it",
        named: f"it holds another key than its name says, {release.fingerprint}",
        stray: "it is not named by a fingerprint of 40 lower-case hexadecimal digits",
    }
    assert warnings.records == []  # they are told once


def test_a_key_that_gpg_does_not_accept_is_a_matter(directories: Directories, release: SigningKey) -> None:
    (block,) = read_key_blocks(release.public())
    path = directories.write("local", "a", release.fingerprint, armored(block.packets[: 2 + block.packets[1]]))
    where = Whereabouts(path, "local", "a", release.fingerprint)
    assert directories.store.check() == (CheckedKey(where, None, "gpg does not accept the key", "file"),)


def test_where_a_file_lies_that_is_not_in_order_is_told(directories: Directories, release: SigningKey) -> None:
    fingerprint = release.fingerprint
    local = directories.config.local_config / "trustedkeys"
    ssh = "ab" * 32
    wanted: dict[Path, tuple[str | None, str | None]] = {
        directories.write("local", None, fingerprint, b"junk"): (None, fingerprint),
        directories.write("local", "a/b", fingerprint, b"junk"): ("a/b", fingerprint),
        directories.write("local", "a/b", "README", b"keys"): ("a/b", None),
        directories.write("local", "x", "y", b"").parents[1] / "stray": ("", None),
        directories.write("local", "Not-A-Name", "y", b"").parent: ("Not-A-Name", None),
        local / "ssh/prefix.d/a" / ssh: ("a", ssh),
        local / "ssh/root.d" / ssh: (None, ssh),
    }
    odd = directories.place("local", "a", "cd" * 20)
    odd.symlink_to("..")
    wanted[odd] = ("a", "cd" * 20)
    link = directories.place("local", "x", "y").parents[1] / "link"
    link.symlink_to("a")
    wanted[link] = ("link", None)
    for path in wanted:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"junk")
    found = {each.path: each.where for each in directories.store.check()}
    assert {path: (where.prefix, where.fingerprint) for path, where in found.items()} == wanted
    assert {where.layer for where in found.values()} == {"local"}
    assert {each.kind for each in directories.store.check()} == {"file"}


# What is said of it


def complained(directories: Directories) -> KeysNeedAttention:
    error = complaint(directories.store.check())
    assert error is not None
    return error


def test_when_all_is_well_nothing_is_said(directories: Directories, release: SigningKey) -> None:
    directories.put("local", "a", release)
    assert complaint(directories.store.check()) is None
    assert complaint(()) is None


def test_keys_and_files_are_counted_apart(
    directories: Directories, release: SigningKey, other: SigningKey, expired: SigningKey
) -> None:
    directories.put("local", "a", release)
    files = [directories.write("local", "a", "README", b"keys")]
    assert complained(directories).message == "1 file needs attention"
    directories.put("local", "a", expired)
    assert complained(directories).message == "1 of 2 keys and 1 file need attention"
    files.append(directories.write("local", "b", "README", b"keys"))
    directories.put("local", "b", expired)
    error = complained(directories)
    assert error.message == "2 of 3 keys and 2 files need attention"
    stray = "it is not named by a fingerprint of 40 lower-case hexadecimal digits"
    assert error.facts == {
        shown_fingerprint(expired.fingerprint): (
            f"expired on 2020-12-31: {expired.user_id}, for a (local); "
            f"expired on 2020-12-31: {expired.user_id}, for b (local)"
        ),
        **{str(file): stray for file in files},
    }
    for file in files:
        file.unlink()
    directories.place("local", "b", expired.fingerprint).unlink()
    assert complained(directories).message == "1 of 2 keys needs attention"


def test_so_many_are_named_and_no_more(directories: Directories) -> None:
    for number in range(50):
        directories.write("local", "a", f"README{number}", b"keys")
    facts = complained(directories).facts
    assert len(facts) == 21
    assert facts["and"] == "30 more"


def test_what_to_do_depends_on_what_is_the_matter(
    directories: Directories, maker: KeyMaker, expired: SigningKey, release: SigningKey, tmp_path: Path
) -> None:
    gone, weak = maker.key("Gone <gone@example.com>"), SshKeyMaker(tmp_path).key("rsa", 1024)
    soon = maker.key("Soon <soon@example.com>", expires="10d")
    gone.revoke()

    def advice(*puts: Callable[[], object]) -> str | None:
        for put in puts:
            put()
        error = complained(directories)
        for path in [path for path in directories.config.local_config.parent.rglob("*") if path.is_file()]:
            if path.parent.name == "a" or path.name == "origins.json":
                path.unlink()
        return error.next_step

    def add_soon() -> object:
        return directories.store.add(soon.public(), prefix="a", source="k", layer="local")

    stray = directories.place("local", "a", "READ ME")
    assert advice(lambda: directories.put("local", "a", expired)) == "acistore trust add --prefix a KEYFILE"
    assert advice(add_soon) == f"acistore trust refresh {soon.fingerprint.upper()}"
    assert advice(lambda: directories.put("system", "a", soon)) == "acistore trust add --prefix a KEYFILE"
    assert advice(lambda: directories.put("local", "a", gone)) == f"acistore trust mask {gone.fingerprint.upper()}"
    assert advice(lambda: directories.put("user", "a", gone)) == (
        f"acistore trust remove --prefix a {gone.fingerprint.upper()}"
    )
    shown = shown_fingerprint(weak.fingerprint)
    assert (
        advice(lambda: directories.store.add(weak.public(), prefix="a", source="k", layer="local"))
        == f"acistore trust show {shown}"
    )
    assert advice(lambda: directories.write("local", "a", stray.name, b"keys")) == f"rm '{stray}'"
    first = min(soon, gone, key=lambda key: key.fingerprint)
    assert advice(add_soon, lambda: directories.put("local", "a", gone)) == (
        f"acistore trust show {first.fingerprint.upper()}"
    )


def test_a_copy_that_is_overridden_by_one_of_no_use_is_of_no_use(
    directories: Directories, maker: KeyMaker
) -> None:
    key = maker.key("Gone <gone@example.com>")
    directories.put("system", "a", key)
    key.revoke()
    directories.put("user", "a", key)
    listed = directories.store.all_keys()
    assert [each.state for each in listed] == ["revoked", "revoked"]
    assert {each.deciding.layer for each in listed} == {"user"}
    assert not listed[0].key.revoked


def test_a_directory_that_can_not_be_read_may_hold_masks(
    directories: Directories, release: SigningKey, tmp_path: Path
) -> None:
    directories.put("system", "example.com", release)
    directories.mask("local", "example.com", release)
    closed = directories.config.local_config / "trustedkeys/prefix.d/example.com"
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    closed.chmod(0)

    def job() -> int:
        try:
            directories.store.keys_for("example.com/app")
        except FileUnusable as error:
            sys.stdout.write(error.message)
            return error.exit_code
        return 0

    ran = forked(job, become=User(4711, (4711,)).become if os.geteuid() == 0 else lambda: None)
    closed.chmod(0o755)
    assert ran.code == 1, ran.err
    assert ran.out.startswith(f"{closed} can't be read, so which keys are trusted is not known: ")


def test_when_a_key_was_added_is_listed(directories: Directories, release: SigningKey) -> None:
    directories.store.add(release.public(), prefix="a", source="k", layer="local")
    (listed,) = directories.store.all_keys()
    assert listed.origin is not None
    assert datetime.now(UTC) - listed.origin.added_at < timedelta(minutes=5)
    assert listed.ends_at is None


def test_a_key_that_any_copy_calls_revoked_is_revoked(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Gone <gone@example.com>")
    directories.put("user", "example.com", key)
    key.revoke()
    directories.put("local", "example.org", key)
    assert problems(directories) == [
        ("example.com", "revoked by its owner"),
        ("example.org", "revoked by its owner"),
    ]
    older, newer = directories.store.all_keys()
    assert (older.state, newer.state) == ("revoked", "revoked")
    assert (older.key.revoked, newer.key.revoked) == (False, True)  # what each file says
