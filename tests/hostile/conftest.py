"""Somebody who fetches example.com/app from a server that is hostile in one place, and what must hold whenever the
fetch is refused: an error of the right kind, soon, nothing stored, nobody else asked, no secret told.

The same is done with the library (`Victim.refuses`), and with the command in a process of its own whose memory and
files are measured (`Victim.command_refuses`).
"""

import base64
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from acistore.config import Config
from acistore.errors import AcistoreError, LimitExceeded, NetworkError
from acistore.fetch import Fetched, Fetcher
from acistore.store import Store
from acistore.trust.keystore.store import TrustStore
from tests.fetch.conftest import HOST, NAME, app, served
from tests.gpg import SigningKey
from tests.hostile.measured import Measured, measured
from tests.hostile.servers import Site, whole
from tests.store.conftest import exported, files_in
from tests.waiting import PATIENCE, within
from tests.web import WebSite

WANTED = f"{NAME}:1.0"
IMAGE_URL = f"https://{HOST}/{NAME}-1.0.aci"
TAG = f'<meta name="ac-discovery" content="{HOST} https://{HOST}/{{name}}-{{version}}.{{ext}}">'.encode()
# What is known for example.com alone, and must not be told to anybody else.
PASSWORD = "correct-horse-battery"
AUTHORIZATION = b"Basic " + base64.b64encode(f"operator:{PASSWORD}".encode())
MIB = 1 << 20
# Bounds of the configuration, as one writes them. Those in time are not reached by what ends for another reason.
LIMITS = {
    "image_size": "4MiB",
    "unpacked_size": "16MiB",
    "connect_timeout": "1m",
    "deadline": "1m",
    "rate_window": "1m",
    "retries": "0",
}
IMAGE_SIZE = 4 * MIB
# Seconds of the processor's time in which a fetch is over, the servers' own in this process included.
AT_WORK = 15.0


class WatchedWeb(WebSite):
    """A web that notes which hosts anybody has connected to."""

    def __init__(self, top: Path, authority: trustme.CA) -> None:
        super().__init__(top, authority)
        self.contacted: set[tuple[str, int]] = set()
        self._forgotten = 0

    def _port_of(self, host: str, port: int) -> int:
        self.contacted.add((host, port))
        return super()._port_of(host, port)

    def forget(self) -> None:
        """As new, but for the files that were put there."""
        self.contacted.clear()
        self._taken_over.clear()
        self._forgotten += len(self.log())

    def log(self) -> list[str]:
        return super().log()[self._forgotten :]


@pytest.fixture(scope="session")
def one_web(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[WatchedWeb]:
    with WatchedWeb(tmp_path_factory.mktemp("web"), authority) as web:
        yield web


@pytest.fixture
def web(one_web: WatchedWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchedWeb:
    """The web that this process and its children are in; what is on localhost is reached without the proxy."""
    one_web.forget()
    for name, value in one_web.environ.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return one_web


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """Of example.com."""
    return authority.issue_cert(HOST)


@dataclass(frozen=True)
class Signed:
    """Bytes, and a signature over them."""

    body: bytes
    signature: bytes


@pytest.fixture(scope="session")
def good(release: SigningKey) -> Signed:
    """The image as it should be."""
    body = served(app())
    return Signed(body, release.sign(body))


@dataclass(frozen=True)
class Refused:
    """How a fetch ended, and what the site was asked."""

    error: AcistoreError
    site: Site

    @property
    def asked(self) -> list[str]:
        return self.site.asked()


@dataclass
class Victim:
    """Whoever fetches: trusts one key for example.com, and has a password for it."""

    top: Path
    web: WatchedWeb
    certificate: trustme.LeafCert
    key: SigningKey
    good: Signed
    store: Store = field(init=False)

    def prepare(self) -> None:
        """Makes the empty store, the keys and the credentials."""
        credentials = self.top / "user/auth.d/example.json"
        credentials.parent.mkdir(parents=True)
        credentials.touch(mode=0o600)
        document = {
            "rktKind": "auth",
            "rktVersion": "v1",
            "domains": [HOST],
            "type": "basic",
            "credentials": {"user": "operator", "password": PASSWORD},
        }
        credentials.write_text(json.dumps(document))
        TrustStore.open(self.config()).add(self.key.public(), prefix=HOST, source="test", layer="local")
        Store.open(self.directory).close()

    @property
    def directory(self) -> Path:
        return self.top / "store"

    def environment(self, limits: Mapping[str, str]) -> dict[str, str]:
        """The variables of acistore, for this process or another one."""
        names = ("system", "local", "user")
        layers = {f"ACISTORE_{name.upper()}_CONFIG": str(self.top / name) for name in names}
        bounds = {f"ACISTORE_LIMITS_{name.upper()}": value for name, value in {**LIMITS, **limits}.items()}
        return {"ACISTORE_DIR": str(self.directory), **layers, **bounds}

    def config(self, **limits: str) -> Config:
        return Config.load(environ=self.environment(limits))

    @contextmanager
    def site(self, *, certificate: trustme.LeafCert | None = None, **handlers: Any) -> Iterator[Site]:
        """The host, which is honest but for these handlers."""
        honest = {"page": whole(TAG), "signature": whole(self.good.signature), "image": whole(self.good.body)}
        with Site(certificate or self.certificate, **{**honest, **handlers}) as site:
            self.web.take_over(HOST, site)
            yield site

    def signed(self, body: bytes) -> dict[str, Any]:
        """Handlers for an image that the publisher has signed himself."""
        return {"signature": whole(self.key.sign(body)), "image": whole(body)}

    def fetch(self, wanted: str = WANTED, limits: Mapping[str, str] | None = None) -> Fetched:
        config = self.config(**(limits or {}))
        return Fetcher(self.store, TrustStore.open(config), config).fetch(wanted)

    def refuses(self, *kinds: type[AcistoreError], **how: Any) -> Refused:
        """Fetches from a site with some handlers: fails, as one of these kinds. `how`: the handlers, and what
        `fails` takes."""
        handlers = {name: value for name, value in how.items() if name in ("page", "signature", "image", "others")}
        with self.site(**handlers) as site:
            error = self.fails(*kinds, **{name: how[name] for name in how.keys() - handlers.keys()})
        return Refused(error, site)

    def gives_up(self, *kinds: type[AcistoreError], **how: Any) -> Refused:
        """As `refuses`, of what nothing but a bound in time ends; what is honest has to be through before."""
        limits = how.pop("limits", {})

        def attempt(seconds: float) -> Refused:
            bounds = {"deadline": f"{seconds:g}s", "rate_window": f"{seconds * 500:g}ms"}
            return self.refuses(*kinds, limits={**bounds, **limits}, **how)

        return within(1, attempt)

    def fails(
        self,
        *kinds: type[AcistoreError],
        wanted: str = WANTED,
        limits: Mapping[str, str] | None = None,
        contacts: frozenset[str] = frozenset({HOST}),
    ) -> AcistoreError:
        """Fetches with the library: fails as one of these kinds, with all that must hold then.

        `contacts` are the hosts that may be connected to.
        """
        started = time.process_time()
        with pytest.raises(AcistoreError) as raised:
            self.fetch(wanted, limits)
        elapsed = time.process_time() - started
        error = raised.value
        assert type(error) in kinds, f"{type(error).__name__}: {error}"
        assert error.exit_code == kinds[0].exit_code
        assert PASSWORD not in f"{error} {error.facts} {error.next_step}"
        assert elapsed < AT_WORK
        assert self.contacts() <= contacts
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("acistore")] == []
        self.has_nothing(may_resume=isinstance(error, NetworkError) and not isinstance(error, LimitExceeded))
        return error

    def has_nothing(self, *, may_resume: bool) -> None:
        """Nothing is stored, and nothing left but, where it may be gone on with, the beginning of one image."""
        assert self.store.list() == []
        left = files_in(self.directory)
        if may_resume:
            partial = [name for name in left if name.startswith("spool/") and not name.endswith(".json")]
            assert len(partial) <= 1
            assert set(left) <= {*partial, *(f"{name}.json" for name in partial)}
            assert all((self.directory / name).stat().st_size <= IMAGE_SIZE for name in left)
        else:
            assert left == []

    def command(
        self, wanted: str = WANTED, *, limits: Mapping[str, str] | None = None, largest_file: int | None = None
    ) -> Measured:
        """Fetches with the command."""
        return measured(
            *("--json", "fetch", wanted),
            environment=self.environment(limits or {}),
            scratch=self.top,
            largest_file=largest_file,
            patience=PATIENCE,
        )

    def command_refuses(
        self,
        kind: type[AcistoreError],
        *,
        limits: Mapping[str, str] | None = None,
        largest_file: int | None = None,
        **handlers: Any,
    ) -> Measured:
        """Fetches with the command, from a site with these handlers: fails, as this kind, in bounds."""
        with self.site(**handlers):
            ran = self.command(limits=limits, largest_file=largest_file)
        assert (ran.error["kind"], ran.code, ran.out.strip()) == (kind.__name__, kind.exit_code, "[]"), ran
        assert PASSWORD not in ran.err
        assert "Traceback" not in ran.err
        assert ran.left == ()
        assert self.contacts() <= {HOST}
        self.has_nothing(may_resume=issubclass(kind, NetworkError) and not issubclass(kind, LimitExceeded))
        return ran

    def contacts(self) -> set[str]:
        """The hosts that were connected to."""
        return {host for host, _port in self.web.contacted}

    def has_the_image(self) -> bool:
        """Whether what is in the store is the one good image, whole."""
        [image] = self.store.list()
        return exported(self.store, image) == app()


@pytest.fixture(scope="session")
def unharmed(
    tmp_path_factory: pytest.TempPathFactory,
    one_web: WatchedWeb,
    certificate: trustme.LeafCert,
    release: SigningKey,
    good: Signed,
) -> Victim:
    """The victim before anything has happened, to be copied: that is quicker than to make one."""
    victim = Victim(tmp_path_factory.mktemp("unharmed"), one_web, certificate, release, good)
    victim.prepare()
    return victim


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory, unharmed: Victim) -> Measured:
    """What the command takes when nobody means harm."""
    victim = replace(unharmed, top=tmp_path_factory.mktemp("honest") / "top")
    shutil.copytree(unharmed.top, victim.top)
    environment = {**victim.environment({}), **victim.web.environ}
    with victim.site():
        ran = measured("fetch", WANTED, environment=environment, scratch=victim.top, patience=PATIENCE)
    assert ran.code == 0, ran.err
    return ran


@pytest.fixture
def victim(tmp_path: Path, web: WatchedWeb, unharmed: Victim) -> Iterator[Victim]:
    victim = replace(unharmed, top=tmp_path / "top")
    shutil.copytree(unharmed.top, victim.top)
    with Store.open(victim.directory) as victim.store:
        yield victim
