"""Configuration directories with key files in them, put there by hand."""

from pathlib import Path

from acistore.config import Config
from acistore.trust.keys import Layer
from acistore.trust.keystore.store import TrustStore
from tests.gpg import SigningKey


class Directories:
    """Three configuration directories, and the trust store over them."""

    def __init__(self, top: Path) -> None:
        self.config = Config(
            dir=top / "store", system_config=top / "usr", local_config=top / "etc", user_config=top / "home"
        )
        self.store = TrustStore.open(self.config)

    def place(self, layer: Layer, prefix: str | None, name: str) -> Path:
        layers = {
            "system": self.config.system_config,
            "local": self.config.local_config,
            "user": self.config.user_config,
        }
        directory = "root.d" if prefix is None else f"prefix.d/{prefix}"
        return layers[layer] / "trustedkeys" / directory / name

    def put(self, layer: Layer, prefix: str | None, key: SigningKey) -> Path:
        return self.write(layer, prefix, key.fingerprint, key.public())

    def mask(self, layer: Layer, prefix: str | None, key: SigningKey) -> Path:
        return self.write(layer, prefix, key.fingerprint, b"")

    def write(self, layer: Layer, prefix: str | None, name: str, content: bytes) -> Path:
        path = self.place(layer, prefix, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def trusted(self, name: str) -> dict[str, tuple[str, str]]:
        return {key.fingerprint: (key.place.rule, key.place.layer) for key in self.store.keys_for(name)}
