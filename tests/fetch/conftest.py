"""A publisher with a web site and keys, and somebody who fetches from them."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from acistore.config import Config, Limits, Policy
from acistore.fetch import Fetched, Fetcher
from acistore.keys import Confirm
from acistore.progress import DECISIONS
from acistore.store import Store
from acistore.trust.keystore.store import TrustStore
from tests.fileserver import File, Site
from tests.gpg import SigningKey
from tests.images import image
from tests.ssh import SshKeyMaker, SshSigningKey
from tests.web import RawServer, WebSite

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


@pytest.fixture(scope="session")
def ssh_maker(tmp_path_factory: pytest.TempPathFactory) -> SshKeyMaker:
    return SshKeyMaker(tmp_path_factory.mktemp("ssh"))


@pytest.fixture(scope="session")
def ssh_key(ssh_maker: SshKeyMaker) -> SshSigningKey:
    return ssh_maker.key()


@pytest.fixture
def publisher(web: WebSite, release: SigningKey) -> Publisher:
    publisher = Publisher(web, release)
    publisher.page()
    return publisher


@dataclass
class Unsteady:
    """A host whose server does as it is told: what to publish where is up to the test."""

    host: str
    site: Site
    key: SigningKey

    def publish(
        self, archive: bytes, path: str = "app.aci", *, key: SigningKey | None = None
    ) -> tuple[File, File]:
        """Serves an image and its signature, and returns both."""
        body = served(archive)
        image = self.site.put(path, body)
        return image, self.site.put(f"{path}.asc", (key or self.key).sign(body))

    def url(self, path: str = "app.aci") -> str:
        return f"https://{self.host}/{path}"

    def page(self, *templates: str) -> None:
        """The discovery page of the host."""
        tags = [f'<meta name="ac-discovery" content="{self.host} {template}">' for template in templates]
        self.site.put("index.html", "\n".join(tags).encode())


@pytest.fixture
def unsteady(web: WebSite, authority: trustme.CA, release: SigningKey) -> Iterator[Unsteady]:
    """Takes the place of the publisher's host."""
    site = Site()
    with RawServer(site, authority.issue_cert(HOST)) as server:
        web.take_over(HOST, server)
        yield Unsteady(HOST, site, release)


@dataclass
class Operator:
    """Somebody who runs acistore."""

    config: Config
    store: Store
    trust: TrustStore
    said: list[str] = field(default_factory=list)
    decisions: list[tuple[str, str, str]] = field(default_factory=list)

    def trusts(self, key: SigningKey | SshSigningKey, prefix: str | None = NAME) -> None:
        self.trust.add(key.public(), prefix=prefix, source="test", layer="local")

    def demands(self, prefix: str = NAME, **policy: Any) -> None:
        """Sets the policy of a prefix, and no other."""
        self.config = replace(self.config, policies=(Policy(prefix, **policy),))
        self.trust = TrustStore.open(self.config)

    def fetch(
        self,
        wanted: str = f"{NAME}:1.0",
        *,
        insecure: set[str] | None = None,
        signature: str | None = None,
        pull_policy: str | None = None,
        no_cache: bool = False,
        trust_keys_from_https: bool = False,
        allow_downgrade: bool = False,
        confirm: Confirm | None = None,
    ) -> Fetched:
        config = replace(self.config, insecure_options=frozenset(insecure or ()))
        fetcher = Fetcher(
            self.store,
            self.trust,
            config,
            progress=self,
            no_cache=no_cache,
            confirm=confirm,
            trust_keys_from_https=trust_keys_from_https,
            allow_downgrade=allow_downgrade,
        )
        return fetcher.fetch(wanted, signature=signature, pull_policy=pull_policy)

    def fetch_all(self, *wanted: str, pull_policy: str | None = None) -> list[Fetched | Exception]:
        fetcher = Fetcher(self.store, self.trust, self.config, progress=self)
        outcomes = sorted(fetcher.fetch_all(wanted, pull_policy=pull_policy), key=lambda each: each.position)
        assert [each.wanted for each in outcomes] == [*wanted]
        return [each.result for each in outcomes]

    def partials(self) -> list[int]:
        """The sizes of what is kept of downloads that broke off."""
        files = [each for each in (self.config.dir / "spool").iterdir() if each.suffix != ".json"]
        return sorted(each.stat().st_size for each in files)

    def step(self, text: str) -> None:
        self.said.append(text)

    def start(self, what: str, total: int | None, done: int = 0) -> Self:
        self.said.append(f"{what} ({total})")
        return self

    def decided(self, about: str, what: str, why: str) -> None:
        assert what in DECISIONS
        self.decisions.append((about, what, why))

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
        limits=Limits(retry_delay=0.001),
    )
    with Store.open(config.dir) as store:
        yield Operator(config, store, TrustStore.open(config))


@pytest.fixture
def trusting(operator: Operator, release: SigningKey) -> Operator:
    """Who trusts the publisher's key for all of example.com."""
    operator.trusts(release, HOST)
    return operator


def app(**labels: str) -> bytes:
    """The image that is asked for, with a label or two changed."""
    return image(NAME, {"etc/app": b"app" * 1000}, labels=LABELS | labels)


LARGE = image(NAME, {f"f{n}": bytes([n]) * 40_000 for n in range(10)}, labels={"version": "1.0"})
"""An image that can break off in many places."""
