"""A publisher with a web site and keys, and somebody who fetches from them."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.fetch import Fetched, Fetcher
from acistore.store import Store
from acistore.trust.keystore import TrustStore
from tests.gpg import SigningKey
from tests.images import image
from tests.web import WebSite

HOST = "example.com"
NAME = "example.com/app"
LABELS = {"version": "1.0", "os": "linux", "arch": "amd64"}


def served(archive: bytes) -> bytes:
    """An image as it is served: the same bytes whenever it is made."""
    return gzip.compress(archive, mtime=0)


@dataclass
class Publisher:
    """Whoever owns example.com."""

    web: WebSite
    key: SigningKey

    def page(self, *templates: str, keys: str = "") -> None:
        """The discovery page of the host, with these templates."""
        chosen = templates or (f"https://{HOST}/acis/{{name}}-{{version}}.{{ext}}",)
        tags = [f'<meta name="ac-discovery" content="{HOST} {template}">' for template in chosen]
        if keys:
            tags.append(f'<meta name="ac-discovery-pubkeys" content="{HOST} {keys}">')
        self.web.put(HOST, "index.html", "\n".join(tags).encode())

    def publish(
        self, archive: bytes, *, name: str = NAME, version: str = "1.0", key: SigningKey | None = None
    ) -> str:
        """Serves an image and its signature where `page` says, and returns the image's URL."""
        body = served(archive)
        self.web.put(HOST, f"acis/{name}-{version}.aci.asc", (key or self.key).sign(body))
        return self.web.put(HOST, f"acis/{name}-{version}.aci", body)


@pytest.fixture
def publisher(web: WebSite, release: SigningKey) -> Publisher:
    publisher = Publisher(web, release)
    publisher.page()
    return publisher


@dataclass
class Operator:
    """Somebody who runs acistore."""

    config: Config
    store: Store
    trust: TrustStore
    said: list[str] = field(default_factory=list)

    def trusts(self, key: SigningKey, prefix: str | None = NAME) -> None:
        self.trust.add(key.public(), prefix=prefix, source="test", layer="local")

    def fetch(
        self,
        wanted: str = f"{NAME}:1.0",
        *,
        insecure: set[str] | None = None,
        signature: str | None = None,
        pull_policy: str | None = None,
        no_cache: bool = False,
        trust_keys_from_https: bool = False,
    ) -> Fetched:
        config = replace(self.config, insecure_options=frozenset(insecure or ()))
        fetcher = Fetcher(
            self.store,
            self.trust,
            config,
            progress=self,
            no_cache=no_cache,
            trust_keys_from_https=trust_keys_from_https,
        )
        return fetcher.fetch(wanted, signature=signature, pull_policy=pull_policy)

    def step(self, text: str) -> None:
        self.said.append(text)

    def start(self, what: str, total: int | None) -> None:
        self.said.append(f"{what} ({total})")

    def advance(self, count: int) -> None:
        pass

    def done(self) -> None:
        pass


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    config = Config(
        dir=tmp_path / "store",
        system_config=tmp_path / "system",
        local_config=tmp_path / "local",
        user_config=tmp_path / "user",
    )
    with Store.open(config.dir) as store:
        yield Operator(config, store, TrustStore.open(config))


def app(**labels: str) -> bytes:
    """The image that is asked for, with a label or two changed."""
    return image(NAME, {"etc/app": b"app" * 1000}, labels=LABELS | labels)
