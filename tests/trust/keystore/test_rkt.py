"""rkt's key stores are read as they are, and what is written here is one that rkt loads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.trust.keystore.store import TrustStore
from tests.gpg import KeyMaker, SigningKey
from tests.ssh import SshKeyMaker
from tests.trust.directories import Directories
from tests.trust.keystore.rkt import RktRefuses, check_whole_store, loaded_by_rkt

RKT_DIRECTORY, RKT_FILE = 0o755, 0o644


class Rkt:
    """A host's rkt directories, with the files that rkt 1.30 makes in them, the way it makes them."""

    def __init__(self, top: Path) -> None:
        self.system, self.local = top / "usr/lib/rkt", top / "etc/rkt"
        self.trust = TrustStore.open(
            Config(
                dir=top / "store",
                system_config=self.system,
                local_config=self.local,
                user_config=top / "home/.rkt",
            )
        )

    def put(self, directory: Path, place: str, name: str, content: bytes) -> Path:
        """As `rkt trust` (a key) and MaskTrustedKeySystemPrefix (an empty file) do."""
        path = directory / "trustedkeys" / place / name
        path.parent.mkdir(RKT_DIRECTORY, parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(RKT_FILE)
        return path

    def looks(self) -> dict[Path, tuple[int, ...]]:
        """What would change with the files."""
        found = {path: path.stat() for path in (*self.system.rglob("*"), *self.local.rglob("*"))}
        return {path: (at.st_ino, at.st_mode, at.st_uid, at.st_mtime_ns) for path, at in found.items()}


@pytest.fixture
def rkt(tmp_path: Path) -> Rkt:
    return Rkt(tmp_path)


def test_a_key_store_of_rkts_is_read_as_it_is(
    rkt: Rkt, maker: KeyMaker, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    rkt.put(rkt.system, "root.d", other.fingerprint, other.public())
    rkt.put(rkt.local, "prefix.d/example.com/deep/app", release.fingerprint, release.public())
    rkt.put(rkt.local, "prefix.d/example.com", stranger.fingerprint, stranger.public())
    rkt.put(rkt.local, "prefix.d/example.com/deep", other.fingerprint, b"")
    rkt.put(rkt.local, "auth.d", "coreos.json", b"{}")
    before = rkt.looks()
    for name in ("example.com/deep/app", "example.com/deep", "example.com", "example.org/x"):
        ours = {key.fingerprint: key.place.path for key in rkt.trust.keys_for(name)}
        assert ours == loaded_by_rkt(maker, [rkt.system, rkt.local], name), name
    assert set(loaded_by_rkt(maker, [rkt.system, rkt.local], "example.com/deep/app")) == {
        release.fingerprint,
        stranger.fingerprint,
    }
    rkt.trust.listing()
    rkt.trust.check()
    assert rkt.looks() == before


def test_rkt_keeps_a_file_of_several_keys_under_the_first_ones_name(
    rkt: Rkt, maker: KeyMaker, release: SigningKey, other: SigningKey
) -> None:
    rkt.put(rkt.local, "prefix.d/example.com", other.fingerprint, other.public() + release.public())
    assert [key.fingerprint for key in rkt.trust.keys_for("example.com")] == [other.fingerprint]
    assert set(loaded_by_rkt(maker, [rkt.local], "example.com")) == {other.fingerprint}


def test_after_every_command_rkt_can_load_the_keys(
    rkt: Rkt, tmp_path: Path, maker: KeyMaker, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    trust, everywhere = rkt.trust, [rkt.system, rkt.local, tmp_path / "home/.rkt"]
    rkt.put(rkt.system, "root.d", other.fingerprint, other.public())
    ssh = SshKeyMaker(tmp_path).key()
    steps: list[Callable[[], object]] = [
        lambda: trust.add(
            b"x" + release.public() + stranger.public(), prefix="example.com/app", source="k", layer="local"
        ),
        lambda: trust.add(ssh.public(), prefix="example.com/app", source="k", layer="local"),
        lambda: trust.add(ssh.public(), prefix=None, source="k", layer="local"),
        lambda: trust.add(release.public(), prefix=None, source="k", layer="user"),
        lambda: trust.mask(other.fingerprint, layer="local"),
        lambda: trust.mask(stranger.fingerprint, prefix="example.com/app"),
        lambda: trust.mask(other.fingerprint, prefix="example.org"),
        lambda: trust.mask("ab" * 20, prefix="example.net"),
        lambda: trust.renew(release.fingerprint, release.public(), "k"),
        lambda: trust.restore(trust.export(), layer="local"),
        lambda: trust.unmask(stranger.fingerprint),
        lambda: trust.add(stranger.public(), prefix="example.com/app", source="k", layer="local"),
        lambda: trust.remove(stranger.fingerprint),
        lambda: trust.remove(ssh.fingerprint),
    ]
    for step in steps:
        step()
        check_whole_store(maker, everywhere)
        for name in ("example.com/app", "example.org"):
            assert set(loaded_by_rkt(maker, everywhere, name)) == {
                key.fingerprint for key in trust.keys_for(name) if key.block.scheme == "openpgp"
            }
    assert {key.fingerprint for key in trust.keys_for("example.com/app")} == {release.fingerprint}


def test_ssh_keys_lie_where_rkt_never_looks(rkt: Rkt, tmp_path: Path, maker: KeyMaker) -> None:
    key = SshKeyMaker(tmp_path).key()
    rkt.trust.add(key.public(), prefix="example.com", source="k", layer="local")
    rkt.trust.add(key.public(), prefix=None, source="k", layer="local")
    files = {str(path.relative_to(rkt.local)) for path in rkt.local.rglob("*") if path.is_file()}
    assert files == {
        "origins.json",
        f"trustedkeys/ssh/root.d/{key.fingerprint}",
        f"trustedkeys/ssh/prefix.d/example.com/{key.fingerprint}",
    }
    assert loaded_by_rkt(maker, [rkt.local], "example.com") == {}


def test_what_would_disturb_rkt_is_noticed_by_this_checker(
    directories: Directories, maker: KeyMaker, release: SigningKey, other: SigningKey
) -> None:
    local = directories.config.local_config
    directories.put("local", "example.com", release)
    check_whole_store(maker, [local])
    for name, content in (
        ("README", b"keys of example.com"),
        (other.fingerprint, release.public()),
        (other.fingerprint.upper(), other.public()),
        (other.fingerprint, other.public(armored=False)),
    ):
        stray = directories.write("local", "example.com", name, content)
        with pytest.raises(RktRefuses):
            loaded_by_rkt(maker, [local], "example.com/app")
        with pytest.raises(RktRefuses):
            check_whole_store(maker, [local])
        stray.unlink()
