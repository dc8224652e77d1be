"""TrustStore: how keys get in and out, and what is noted of where they came from."""

import json
import os
import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.config import Limits
from acistore.errors import FileUnusable, InvalidName, KeyNotFound, KeyRefused, UsageError
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keystore import changes, durable
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.mounts import forked
from tests.ssh import SshKeyMaker
from tests.trust.directories import Directories
from tests.users import User

# Adding


def test_added_key_is_trusted_and_lies_where_rkt_looks(
    directories: Directories, maker: KeyMaker, release: SigningKey
) -> None:
    (added,) = directories.store.add(
        release.public(armored=False), prefix="example.com/app", source="https://example.com/k", layer="local"
    )
    assert added.fingerprint == release.fingerprint
    assert directories.trusted("example.com/app") == {release.fingerprint: ("example.com/app", "local")}
    path = directories.place("local", "example.com/app", release.fingerprint)
    assert path.read_bytes().count(b"-----BEGIN PGP PUBLIC KEY BLOCK-----") == 1
    assert release.fingerprint.upper().encode() in maker.gpg("--show-keys", "--with-colons", str(path))


def test_root_key_is_added_to_its_layer(directories: Directories, release: SigningKey) -> None:
    directories.store.add(release.public(), prefix=None, source="key", layer="user")
    assert directories.trusted("anything") == {release.fingerprint: ("root", "user")}
    assert directories.place("user", None, release.fingerprint).is_file()


def test_all_may_read_what_is_added_and_nothing_stray_remains(
    directories: Directories, release: SigningKey
) -> None:
    before = os.umask(0o077)
    try:
        directories.store.add(release.public(), prefix="example.com/app", source="key", layer="local")
    finally:
        os.umask(before)
    top = directories.config.local_config
    found = {str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*")}
    assert found == {
        "origins.json": 0o644,
        "trustedkeys": 0o755,
        "trustedkeys/prefix.d": 0o755,
        "trustedkeys/prefix.d/example.com": 0o755,
        "trustedkeys/prefix.d/example.com/app": 0o755,
        f"trustedkeys/prefix.d/example.com/app/{release.fingerprint}": 0o644,
    }
    assert stat.S_IMODE(top.stat().st_mode) == 0o755


def test_each_key_of_a_file_goes_under_its_own_fingerprint(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    material = b"our keys\n" + release.public() + other.public()
    assert [key.fingerprint for key in directories.store.inspect(material)] == [
        release.fingerprint,
        other.fingerprint,
    ]
    added = directories.store.add(material, prefix="example.com", source="KEYS", layer="local")
    assert len(added) == 2
    assert set(directories.trusted("example.com")) == {release.fingerprint, other.fingerprint}


def test_only_the_keys_that_were_named_are_added(
    directories: Directories, release: SigningKey, other: SigningKey, expired: SigningKey
) -> None:
    material = release.public() + other.public() + expired.public()
    added = directories.store.add(
        material,
        prefix="example.com",
        source="KEYS",
        layer="local",
        only=[shown_fingerprint(other.fingerprint)],
    )
    assert [key.fingerprint for key in added] == [other.fingerprint]
    assert set(directories.trusted("example.com")) == {other.fingerprint}


def test_named_key_that_is_not_in_the_file_is_refused(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    with pytest.raises(KeyRefused) as caught:
        directories.store.add(
            release.public(),
            prefix="example.com",
            source="key",
            layer="local",
            only=[release.fingerprint, other.fingerprint],
        )
    assert shown_fingerprint(other.fingerprint) in caught.value.message
    assert caught.value.facts == {"there is": shown_fingerprint(release.fingerprint)}
    assert not directories.config.local_config.exists()


@pytest.mark.parametrize("fingerprint", ["", "0123456789abcdef", "x" * 40, "0" * 41])
def test_half_a_fingerprint_names_no_key_to_add(
    directories: Directories, release: SigningKey, fingerprint: str
) -> None:
    with pytest.raises(UsageError):
        directories.store.add(
            release.public(), prefix="example.com", source="key", layer="local", only=[fingerprint]
        )


def test_keys_past_their_time_are_refused_and_nothing_is_added(
    directories: Directories, maker: KeyMaker, release: SigningKey, expired: SigningKey
) -> None:
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    for key, problem in ((expired, "has expired"), (gone, "was revoked")):
        with pytest.raises(KeyRefused) as caught:
            directories.store.add(
                release.public() + key.public(), prefix="example.com", source="key", layer="local"
            )
        assert problem in caught.value.message
    assert not directories.config.local_config.exists()


def test_two_versions_of_a_key_in_a_file_become_one(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO)
    material = key.public()
    key.expire("30y", at="20200601T000000")
    for order in (material + key.public(), key.public() + material):
        (added,) = directories.store.add(order, prefix="example.com", source="key", layer="local")
        assert added.expires_at == datetime(2050, 5, 25, tzinfo=UTC)
        (listed,) = directories.store.all_keys()
        assert listed.key == added


def test_secret_keys_and_large_files_are_refused(directories: Directories, release: SigningKey) -> None:
    for material in (release.secret(), release.public() + b" " * Limits().key_size, b"", b"junk"):
        with pytest.raises(KeyRefused):
            directories.store.add(material, prefix="example.com", source="key", layer="local")
    assert not directories.config.local_config.exists()


def test_short_key_is_added_with_a_warning(
    directories: Directories, maker: KeyMaker, warnings: pytest.LogCaptureFixture
) -> None:
    weak = maker.key("Weak <weak@example.com>", algorithm="rsa1024")
    directories.store.add(weak.public(), prefix="example.com", source="key", layer="local")
    assert "too short" in warnings.text


@pytest.mark.parametrize("prefix", ["", "/", "Example.com", "../x", "a/../b", "a//b", "a/./b", "example.com/"])
def test_what_is_no_prefix_is_refused(directories: Directories, release: SigningKey, prefix: str) -> None:
    with pytest.raises(InvalidName):
        directories.store.add(release.public(), prefix=prefix, source="key", layer="local")
    with pytest.raises(InvalidName):
        directories.store.remove(release.fingerprint, prefix=prefix)


def test_adding_again_replaces_an_old_version(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    directories.put("local", "example.com", key)
    key.expire("0", at="20200601T000000")
    directories.store.add(key.public(), prefix="example.com", source="new", layer="local")
    assert [k.state for k in directories.store.all_keys()] == ["valid"]


def test_a_file_in_a_message_is_named(
    directories: Directories, release: SigningKey, expired: SigningKey, tmp_path: Path
) -> None:
    secret, junk = release.secret(), b"junk"
    for material, problem in ((secret, "this is a SECRET key"), (junk, "not an OpenPGP public key")):
        with pytest.raises(KeyRefused) as caught:
            directories.store.add(material, prefix="example.com", source="/keys/a.asc", layer="local")
        assert caught.value.message.startswith(f"/keys/a.asc: {problem}")
    with pytest.raises(KeyRefused) as caught:
        directories.store.add(expired.public(), prefix="example.com", source="/keys/b.asc", layer="local")
    assert caught.value.facts == {"from": "/keys/b.asc", "expired": "2020-12-31"}
    with pytest.raises(KeyRefused) as caught:
        directories.store.inspect(SshKeyMaker(tmp_path).key().path.read_bytes(), source="/keys/my key")
    assert caught.value.message.startswith("/keys/my key: this is a PRIVATE key")
    assert caught.value.next_step == "ssh-keygen -y -f '/keys/my key'"


def test_directory_that_can_not_be_written_is_told(directories: Directories, release: SigningKey) -> None:
    directories.config.local_config.write_text("a file where the directory should be")
    with pytest.raises(FileUnusable) as caught:
        directories.store.add(release.public(), prefix="example.com", source="key", layer="local")
    assert str(directories.config.local_config) in caught.value.message


def test_file_where_a_directory_should_be_is_told(directories: Directories, release: SigningKey) -> None:
    directories.put("local", "example.com", release)
    inside = f"example.com/{release.fingerprint}"
    with pytest.raises(FileUnusable):
        directories.store.add(release.public(), prefix=inside, source="key", layer="local")
    assert set(directories.trusted(inside)) == {release.fingerprint}


def test_of_several_at_once_none_is_lost(
    directories: Directories, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    def add(key: SigningKey, prefix: str) -> object:
        return directories.store.add(key.public(), prefix=prefix, source=prefix, layer="local")

    jobs = [(key, prefix) for key in (release, other, stranger) for prefix in ("a", "b", "c")]
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(lambda job: add(*job), jobs))
    listed = directories.store.all_keys()
    assert len(listed) == len(jobs)
    assert all(each.origin and each.origin.source == each.place.prefix for each in listed)


def test_unfinished_files_are_never_among_the_keys(
    directories: Directories, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def watched(file: Path, path: Path) -> None:
        seen.extend(
            each for each in (directories.config.local_config / "trustedkeys").rglob("*") if each.is_file()
        )
        durable.move(file, path)

    monkeypatch.setattr(changes, "move", watched)
    directories.store.add(release.public(), prefix="a", source="k", layer="local")
    directories.store.mask(release.fingerprint, prefix="b", layer="local")
    assert seen == [directories.place("local", "a", release.fingerprint)]


def test_the_keys_may_lie_in_another_file_system(directories: Directories, release: SigningKey) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (Path(elsewhere) / "keys").mkdir()
        directories.config.local_config.mkdir()
        (directories.config.local_config / "trustedkeys").symlink_to(Path(elsewhere) / "keys")
        directories.store.add(release.public(), prefix="a", source="k", layer="local")
        assert set(directories.trusted("a")) == {release.fingerprint}
        assert [path.name for path in Path(elsewhere).iterdir()] == ["keys"]


# Origins


def test_origin_is_kept_beside_the_keys(directories: Directories, release: SigningKey) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    directories.store.add(release.public(), prefix="example.com", source="https://é/k", layer="local")
    (listed,) = directories.store.all_keys()
    assert listed.origin is not None
    assert listed.origin.source == "https://é/k"
    assert before <= listed.origin.added_at <= datetime.now(UTC)
    document = json.loads((directories.config.local_config / "origins.json").read_text())
    assert list(document) == [f"prefix.d/example.com/{release.fingerprint}"]


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"[]", b'{"a": 1}', b'{"a": {"source": "x"}}', b"[" * 100000, b"\xff"]
)
def test_damaged_origins_cost_no_key(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture, content: bytes
) -> None:
    directories.put("local", "example.com", release)
    (directories.config.local_config / "origins.json").write_bytes(content)
    assert [key.origin for key in directories.store.all_keys()] == [None]
    assert "origins.json can't be read" in warnings.text
    directories.store.add(release.public(), prefix="example.com", source="again", layer="local")
    assert [key.origin.source for key in directories.store.all_keys() if key.origin] == ["again"]


def test_origins_that_can_not_be_written_are_told(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    (directories.config.local_config / "origins.json").mkdir(parents=True)
    directories.store.add(release.public(), prefix="example.com", source="key", layer="local")
    assert "origins.json can't be written" in warnings.text
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    assert not [path for path in directories.config.local_config.iterdir() if path.name.startswith(".")]


# Removing


def test_removed_key_is_trusted_no_longer(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.store.add(release.public() + other.public(), prefix="example.com", source="k", layer="local")
    directories.store.add(release.public(), prefix=None, source="k", layer="user")
    removed = directories.store.remove(shown_fingerprint(release.fingerprint)[-19:])
    assert [(place.prefix, place.layer) for place in removed] == [(None, "user"), ("example.com", "local")]
    assert set(directories.trusted("example.com")) == {other.fingerprint}
    document = json.loads((directories.config.local_config / "origins.json").read_text())
    assert list(document) == [f"prefix.d/example.com/{other.fingerprint}"]


def test_key_is_removed_from_one_place_alone(directories: Directories, release: SigningKey) -> None:
    for prefix in (None, "example.com", "example.com/app"):
        directories.put("local", prefix, release)
    (removed,) = directories.store.remove(release.fingerprint, prefix="example.com")
    assert removed.path == directories.place("local", "example.com", release.fingerprint)
    (removed,) = directories.store.remove(release.fingerprint, root=True)
    assert removed.prefix is None
    assert [key.place.prefix for key in directories.store.all_keys()] == ["example.com/app"]


def test_damaged_key_file_can_be_removed_and_a_mask_stays(directories: Directories, release: SigningKey) -> None:
    directories.write("local", "example.com", release.fingerprint, b"junk")
    mask = directories.mask("user", "example.com", release)
    (removed,) = directories.store.remove(release.fingerprint)
    assert removed.layer == "local"
    assert mask.exists()


def test_key_that_is_not_there_is_not_found(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.put("local", "example.com", release)
    directories.mask("local", "example.com", other)
    with pytest.raises(KeyNotFound):
        directories.store.remove(other.fingerprint)
    with pytest.raises(KeyNotFound):
        directories.store.remove(release.fingerprint, prefix="example.com/app")
    with pytest.raises(KeyNotFound):
        directories.store.remove(release.fingerprint, root=True)


def test_a_revocation_that_is_forgotten_is_told(
    directories: Directories, maker: KeyMaker, warnings: pytest.LogCaptureFixture
) -> None:
    gone = maker.key("Gone <gone@example.com>")
    old = gone.public()
    gone.revoke()
    directories.put("local", "example.com", gone)
    directories.put("user", None, gone)
    directories.store.remove(gone.fingerprint, root=True)
    assert warnings.records == []  # another copy knows it
    directories.store.remove(gone.fingerprint)
    (told,) = warnings.messages
    command = f"acistore trust mask --prefix example.com {gone.fingerprint.upper()}"
    assert "was revoked by its owner, and that is forgotten here with its last copy" in told
    assert told.endswith(f": {command}")
    directories.store.mask(gone.fingerprint, prefix="example.com")
    with pytest.raises(KeyRefused, match="is masked"):
        directories.store.add(old, prefix="example.com", source="k", layer="local")


def test_nothing_is_told_of_a_key_that_was_not_revoked(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    directories.put("local", "example.com", release)
    directories.store.remove(release.fingerprint)
    assert warnings.records == []


def test_a_key_is_removed_without_gpg(
    directories: Directories, release: SigningKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directories.put("local", "example.com", release)
    monkeypatch.setenv("PATH", str(tmp_path))
    directories.store.remove(release.fingerprint)
    assert directories.store.places() == ()


def test_who_may_not_remove_a_key_can_mask_it(directories: Directories, release: SigningKey) -> None:
    path = directories.put("local", "example.com", release)
    top = directories.config.dir.parent
    for parent in (top, *top.parents[:3]):
        parent.chmod(0o755)
    path.parent.chmod(0o555)

    def job() -> int:
        try:
            directories.store.remove(release.fingerprint.upper(), prefix="example.com")
        except FileUnusable as error:
            sys.stdout.write(f"{error.message}\n{error.next_step}")
            return error.exit_code
        return 0

    ran = forked(job, become=User(4711, (4711,)).become if os.geteuid() == 0 else lambda: None)
    path.parent.chmod(0o755)
    assert ran.code == 1, ran.err
    message, next_step = ran.out.splitlines()
    assert message == f"{path.parent} can't be changed: Permission denied"
    command = f"acistore trust mask --prefix example.com {release.fingerprint.upper()}"
    assert next_step == f"as root, or for you alone: {command}"
    assert path.exists()


def test_what_is_named_like_a_key_and_is_none_is_not_shown(directories: Directories, release: SigningKey) -> None:
    path = directories.write("local", "example.com", release.fingerprint, b"junk")
    with pytest.raises(KeyNotFound) as caught:
        directories.store.find(release.fingerprint)
    assert caught.value.facts == {"file": str(path)}


def test_tail_that_fits_several_keys_removes_none(directories: Directories, release: SigningKey) -> None:
    tail = release.fingerprint[-16:]
    twin = "0" * 24 + tail
    directories.put("local", "example.com", release)
    directories.write("local", "example.com", twin, b"junk")
    with pytest.raises(UsageError) as caught:
        directories.store.remove(tail)
    assert shown_fingerprint(twin) in caught.value.facts["keys"]
    directories.store.remove(twin)
    assert set(directories.trusted("example.com")) == {release.fingerprint}


@pytest.mark.parametrize("tail", ["", "89abcdef", "0123456789abcde", "x" * 16, "0" * 65])
def test_short_tail_is_refused(directories: Directories, tail: str) -> None:
    with pytest.raises(UsageError):
        directories.store.remove(tail)


def test_key_of_the_system_layer_stays(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    path = directories.put("system", "example.com", release)
    with pytest.raises(FileUnusable) as caught:
        directories.store.remove(release.fingerprint)
    assert "system layer" in caught.value.message
    assert caught.value.facts == {"file": str(path)}
    directories.put("local", "example.com", release)
    (removed,) = directories.store.remove(release.fingerprint)
    assert removed.layer == "local"
    assert f"{path} still trusts the key" in warnings.text
    assert path.exists()
