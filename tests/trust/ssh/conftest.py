"""Keys of every type, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh import SecurityKey, SshKeyMaker, SshSigningKey

KeyPair = SshSigningKey | SecurityKey

PAIRS: dict[str, Callable[[SshKeyMaker], KeyPair]] = {
    "ed25519": lambda maker: maker.key("ed25519"),
    "nistp256": lambda maker: maker.key("ecdsa", 256),
    "nistp384": lambda maker: maker.key("ecdsa", 384),
    "nistp521": lambda maker: maker.key("ecdsa", 521),
    "rsa": lambda maker: maker.key("rsa", 2048),
    "sk-ed25519": lambda _: SecurityKey("ed25519"),
    "sk-nistp256": lambda _: SecurityKey("ecdsa"),
}


@pytest.fixture(scope="session")
def ssh_maker(tmp_path_factory: pytest.TempPathFactory) -> SshKeyMaker:
    return SshKeyMaker(tmp_path_factory.mktemp("ssh"))


@pytest.fixture(scope="session")
def pairs(ssh_maker: SshKeyMaker) -> dict[str, KeyPair]:
    """A key pair of every algorithm, by the name that people see."""
    return {algorithm: make(ssh_maker) for algorithm, make in PAIRS.items()}


@pytest.fixture(scope="session", params=PAIRS)
def pair(request: pytest.FixtureRequest, pairs: dict[str, KeyPair]) -> KeyPair:
    return pairs[str(request.param)]


@pytest.fixture(scope="session")
def ed25519(pairs: dict[str, KeyPair]) -> KeyPair:
    return pairs["ed25519"]


@pytest.fixture(scope="session")
def rsa(pairs: dict[str, KeyPair]) -> KeyPair:
    return pairs["rsa"]


@pytest.fixture(scope="session")
def weak_rsa(ssh_maker: SshKeyMaker) -> KeyPair:
    return ssh_maker.key("rsa", 1024)


@pytest.fixture
def openssh(tmp_path: Path) -> Path:
    """A directory for what ssh-keygen is to read."""
    return tmp_path
