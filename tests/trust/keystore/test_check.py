"""What is the matter with the trusted keys, and what a listing says of it."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acistore.errors import FileUnusable
from acistore.trust.keystore.attention import CheckedKey
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
    assert directories.store.check() == (CheckedKey(path, None, "gpg does not accept the key"),)


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
