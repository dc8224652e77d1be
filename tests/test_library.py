"""What a program gets that embeds acistore: everything without the command line, and nothing done to the process.

The program itself: embedding.py. What the log and the callbacks tell of a fetch: fetch/test_following.py.
"""

import asyncio
import inspect
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

import acistore
from acistore import errors
from acistore.progress import Silent
from tests.cli.running import environment
from tests.fetch.conftest import NAME, Unsteady, served
from tests.fileserver import File, Site
from tests.gpg import SigningKey
from tests.images import image
from tests.test_readme import example, ran
from tests.waiting import PATIENCE
from tests.web import RawServer, WebSite

HERE = {**acistore.ImageName(NAME).for_this_machine().labels, "version": "latest"}


@pytest.fixture
def config(tmp_path: Path) -> acistore.Config:
    return acistore.Config(
        dir=tmp_path / "store",
        system_config=tmp_path / "system",
        local_config=tmp_path / "local",
        user_config=tmp_path / "user",
        limits=acistore.Limits(retry_delay=0.001),
    )


@pytest.fixture
def host(web: WebSite, authority: trustme.CA, release: SigningKey) -> Iterator[Unsteady]:
    site = Site()
    with RawServer(site, authority.issue_cert("example.com")) as server:
        web.take_over("example.com", server)
        yield Unsteady("example.com", site, release)


@pytest.fixture
def store(config: acistore.Config) -> Iterator[acistore.Store]:
    with acistore.Store.open(config.dir) as store:
        yield store


@pytest.fixture
def trust(config: acistore.Config, release: SigningKey) -> acistore.TrustStore:
    trust = acistore.TrustStore.open(config)
    trust.add(release.public(), prefix="example.com", source="test", layer="local")
    return trust


# --- a whole program


def test_a_program_fetches_shows_and_decides_by_itself_and_stays_as_it_was(
    tmp_path: Path, web: WebSite, release: SigningKey, stranger: SigningKey
) -> None:
    for name, key in (("example.com", release), ("example.net", stranger)):
        tags = f'<meta name="ac-discovery" content="{name} https://{name}/{{name}}.{{ext}}">'
        tags += f'<meta name="ac-discovery-pubkeys" content="{name} https://{name}/keys.asc">'
        web.put(name, "index.html", tags.encode())
        web.put(name, "keys.asc", key.public())
    names = ["example.com/app", "example.com/db", "example.net/app"]
    for name in names:
        body = served(image(name, {"data": name.encode() * 1000}, labels=HERE))
        host = name.partition("/")[0]
        web.put(host, f"{name}.aci", body)
        web.put(host, f"{name}.aci.asc", (release if host == "example.com" else stranger).sign(body))
    (tmp_path / "local").mkdir()
    (tmp_path / "local/acistore.toml").write_text('[[policies]]\nprefix = ""\ndiscover_keys = true\n')
    places = {"ACISTORE_DIR": "store", "ACISTORE_LOCAL_CONFIG": "local", "ACISTORE_USER_CONFIG": "user"}
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "embedding.py", release.fingerprint, *names],
        cwd=tmp_path,
        env=environment(**places, ACISTORE_SYSTEM_CONFIG="system", HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)  # nothing else was printed
    assert told["results"][:2] == names[:2]
    assert told["results"][2].startswith("ConsentRefused: ")
    assert sorted(told["asked"]) == sorted(
        [name, [(release if "com" in name else stranger).fingerprint]] for name in names
    )
    begun, ended = told["meters"]
    assert begun == ended
    assert {what for what in begun if "https" in what} == {what for what in told["bytes"] if "https" in what}
    decisions = [[about.partition(",")[0], what] for about, what in told["decisions"]]
    assert decisions == [[names[0], "admit"], [names[1], "admit"], [names[2], "refuse"]]
    assert told["changed"] == []


# --- called off by another thread


class Told(Silent):
    """Sets an event as soon as bytes come."""

    def __init__(self) -> None:
        self.coming = threading.Event()

    def advance(self, count: int) -> None:
        self.coming.set()


def test_a_fetch_that_hangs_is_cancelled_from_another_thread_and_can_be_resumed(
    host: Unsteady, config: acistore.Config, store: acistore.Store, trust: acistore.TrustStore
) -> None:
    file, _ = host.publish(image(NAME, {"data": bytes(range(256)) * 400}))
    file.stuck_at = 200
    told = Told()
    fetcher = acistore.Fetcher(store, trust, config, progress=told)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(fetcher.fetch, host.url(), signature=signature) for signature in (None, None)]
        assert told.coming.wait(PATIENCE)
        fetcher.cancel()
        for each in waiting:
            with pytest.raises(errors.Cancelled):
                each.result(PATIENCE)
    with pytest.raises(errors.Cancelled):
        fetcher.fetch(host.url())
    file.stuck_at = None
    assert acistore.Fetcher(store, trust, config).fetch(host.url()).name == NAME
    assert file.ranges[-1] == "bytes=200-"


def test_a_cancelled_task_of_asyncio_cancels_its_fetch(
    host: Unsteady, config: acistore.Config, store: acistore.Store, trust: acistore.TrustStore
) -> None:
    file, _ = host.publish(image())
    file.stuck_at = 10
    ended = threading.Event()

    async def program() -> None:
        told = Told()
        fetcher = acistore.Fetcher(store, trust, config, progress=told)

        def fetch() -> None:
            try:
                fetcher.fetch(host.url())
            finally:
                ended.set()

        async def job() -> None:
            try:
                await asyncio.to_thread(fetch)
            except asyncio.CancelledError:
                fetcher.cancel()
                raise

        task = asyncio.create_task(job())
        await asyncio.to_thread(told.coming.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())
    assert ended.wait(PATIENCE)


def test_cancelling_what_is_over_does_nothing(
    host: Unsteady, config: acistore.Config, store: acistore.Store, trust: acistore.TrustStore
) -> None:
    host.publish(image())
    fetcher = acistore.Fetcher(store, trust, config)
    [outcome] = fetcher.fetch_all([host.url()])
    fetcher.cancel()
    assert isinstance(outcome.result, acistore.Fetched)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert isinstance(hash(config), int)


# --- callbacks that fail


class Broken(Silent):
    """A display with a bug in it."""

    def __init__(self, broken: str) -> None:
        self._broken = broken

    def advance(self, count: int) -> None:
        self._fail_in("advance")

    def decided(self, about: str, what: str, why: str) -> None:
        self._fail_in("decided")

    def done(self) -> None:
        self._fail_in("done")

    def _fail_in(self, here: str) -> None:
        if here == self._broken:
            raise ZeroDivisionError(here)


@pytest.mark.parametrize("broken", ["advance", "done", "decided"])
def test_what_a_callback_raises_comes_out_and_nothing_hangs(
    broken: str,
    host: Unsteady,
    config: acistore.Config,
    store: acistore.Store,
    trust: acistore.TrustStore,
) -> None:
    host.publish(image(NAME))
    with pytest.raises(ZeroDivisionError, match=broken):
        acistore.Fetcher(store, trust, config, progress=Broken(broken)).fetch(host.url())
    assert acistore.Fetcher(store, trust, config).fetch(host.url()).name == NAME
    assert store.verify().ok


# --- the log


def test_every_line_of_a_fetch_says_of_which(
    host: Unsteady,
    config: acistore.Config,
    store: acistore.Store,
    trust: acistore.TrustStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Warnings that any room gives meanwhile among them: here of a page, and of a file in the keystore."""
    config = replace(config, limits=replace(config.limits, endpoints=1), jobs=1)
    host.page("https://example.com/{name}.{ext}", "https://example.com/too/many.{ext}")
    for name in ("example.com/a", "example.com/b"):
        host.publish(image(name, labels=HERE), f"{name}.aci")
    (config.local_config / "trustedkeys/root.d").mkdir()
    (config.local_config / "trustedkeys/root.d" / ("0" * 40)).write_text("no key")
    fetchers = [acistore.Fetcher(store, trust, config) for _ in range(2)]
    with caplog.at_level(logging.DEBUG, "acistore"), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda fetcher, name: fetcher.fetch(name), fetchers, ["example.com/a", "example.com/b"]))
    about = {(record.__dict__.get("fetch"), record.__dict__.get("image")) for record in caplog.records}
    assert {str(image).partition(",")[0] for _, image in about} == {"example.com/a", "example.com/b"}
    assert len(about) == len({fetch for fetch, _ in about}) == 2
    warnings = {record.name for record in caplog.records if not hasattr(record, "event")}
    assert warnings == {"acistore.discovery", "acistore.trust"}


def test_what_a_fetch_does_is_told_once_each_and_in_order(
    host: Unsteady,
    config: acistore.Config,
    store: acistore.Store,
    trust: acistore.TrustStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The endpoint that has nothing, the redirect, what broke off and was gone on with, who signed, and then that
    nothing had changed."""
    host.page("https://example.com/none/{name}.{ext}", "https://example.com/old/{name}.{ext}")
    file, _ = host.publish(image(NAME, {"data": bytes(range(256)) * 100}, labels=HERE), f"new/{NAME}.aci")
    file.cuts = [100]
    for ending in (".aci", ".aci.asc"):
        moved = f"HTTP/1.1 302 Found\r\nLocation: /new/{NAME}{ending}\r\nConnection: close\r\n\r\n"
        host.site.put(f"old/{NAME}{ending}", File(b"", instead=[moved.encode()] * 9))
    fetcher = acistore.Fetcher(store, trust, config)
    with caplog.at_level(logging.DEBUG, "acistore"):
        fetched = fetcher.fetch(NAME)
        fetcher.fetch(NAME)
    told = [(each.levelname, each.__dict__["event"], each.__dict__) for each in caplog.records]
    places = [("INFO", "page"), ("INFO", "page"), ("INFO", "next place")]
    assert [(level, event) for level, event, _ in told if event != "request"] == [
        *(*places, ("WARNING", "retry"), ("INFO", "resume"), ("INFO", "admit")),
        *(*places, ("INFO", "reuse")),
    ]
    assert [
        (facts["url"].removeprefix("https://example.com/").replace(NAME, "app"), facts["outcome"])
        for level, event, facts in told
        if event == "request" and level == "DEBUG" and "app.aci" in facts["url"]
    ][:9] == [
        *(("none/app.aci.asc", 404), ("none/app.aci", 404)),
        *(("old/app.aci.asc", 302), ("new/app.aci.asc", 200)),
        *(("old/app.aci", 302), ("new/app.aci", 200), ("old/app.aci", 302), ("new/app.aci", 206)),
        ("none/app.aci.asc", 404),
    ]
    [admitted] = [facts for _, event, facts in told if event == "admit"]
    assert (admitted["id"], admitted["url"]) == (str(fetched.id), f"https://example.com/old/{NAME}.aci")
    assert admitted["reason"] == f"signed by {host.key.fingerprint}, which is trusted for example.com"


# --- errors


ERRORS = [
    each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.AcistoreError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_survives_the_way_from_another_process(kind: type[errors.AcistoreError]) -> None:
    error = kind("what failed")
    error.facts["label"] = "value"
    error.next_step = "acistore config"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == ("what failed", vars(error))


# --- values


def test_a_configuration_is_made_without_files_and_environment_and_does_not_change(
    config: acistore.Config,
) -> None:
    assert acistore.Config(hosts=(acistore.Host("example.com", token="x"),)).origins == {}
    assert pickle.loads(pickle.dumps(config)) == config == replace(config)
    with pytest.raises(FrozenInstanceError):
        config.jobs = 3  # type: ignore[misc]
    loaded = acistore.Config.load({"limits.retries": 7, "dir": config.dir}, environ={})
    assert (loaded.limits.retries, loaded.dir) == (7, config.dir)
    assert (loaded.origins["limits.retries"], loaded.origins["jobs"]) == ("flag", "default")


def test_the_program_of_the_documentation_makes_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ACISTORE_")]:
        monkeypatch.delenv(name)
    for layer in ("SYSTEM", "LOCAL", "USER"):
        monkeypatch.setenv(f"ACISTORE_{layer}_CONFIG", str(tmp_path))
    monkeypatch.setenv("ACISTORE_JOBS", "3")
    said = ran(example("docs/configuration.md", "From a program"), tmp_path)
    assert said.splitlines() == ["3 ACISTORE_JOBS", "2147483648 8 flag"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jobs": 0}, "jobs: 0 is not a whole number of at least 1"),
        ({"jobs": "4"}, "jobs: '4' is not what a program gives: that is 4"),
        ({"pull_policy": "Never"}, "pull_policy: 'Never' is not one of new, update, never"),
        ({"private_redirects": "no"}, "private_redirects: 'no' is not what a program gives: that is False"),
        ({"mirrors_only": 1}, "mirrors_only: 1 is not what a program gives: that is True"),
        ({"insecure_options": {"image"}}, "insecure_options: {'image'} is not a list of options"),
        ({"insecure_options": "tls"}, "insecure_options: 'tls' is not what a program gives: that is frozenset"),
        ({"insecure_options": frozenset({"all"})}, "insecure_options: frozenset({'all'}) is not what"),
        ({"insecure_options": frozenset({"gpg"})}, "insecure_options: 'gpg' is not one of image, tls"),
        ({"dir": "store"}, "dir: 'store' is not what a program gives: that is PosixPath('store')"),
        ({"dir": None}, "dir: None is not a path"),
        ({"limits": {"retries": 4}}, "limits: not Limits(…)"),
        ({"limits": acistore.Limits(image_size=-1)}, "limits.image_size: -1 is not a size"),
        ({"limits": acistore.Limits(image_size="2GiB")}, "limits.image_size: '2GiB' is not what a"),  # type: ignore[arg-type]
        ({"limits": acistore.Limits(deadline=-1)}, "limits.deadline: -1 is not a duration"),
        ({"limits": acistore.Limits(deadline=float("nan"))}, "limits.deadline: nan is not a duration"),
        ({"limits": acistore.Limits(rate_window=float("inf"))}, "limits.rate_window: inf is not a duration"),
        ({"limits": acistore.Limits(retry_delay="1s")}, "limits.retry_delay: '1s' is not a duration"),  # type: ignore[arg-type]
        ({"limits": acistore.Limits(deadline=0)}, "limits.deadline: '0s' has to be more than nothing"),
        ({"gc": acistore.GcRules(grace_period=60)}, "gc.grace_period: 60 is not what a program gives"),  # type: ignore[arg-type]
        ({"gc": acistore.GcRules(grace_period=timedelta(-1))}, "gc.grace_period: datetime.timedelta(days=-1) is"),
        ({"hosts": [acistore.Host("example.com")]}, "hosts: not a tuple of Host(…)"),
        ({"policies": ({"prefix": ""},)}, "policies: not a tuple of Policy(…)"),
    ],
)
def test_a_value_that_no_file_could_set_is_none_for_a_program_either(
    wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        acistore.Config(**wrong)  # type: ignore[arg-type]
    assert raised.value.message.startswith(message)
    assert raised.value.facts == {"set by": "the caller"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: acistore.Policy(threshold=0), "policies.threshold: 0 is not a number of signers"),
        (lambda: acistore.Policy(allow_unsigned="no"), "policies.allow_unsigned: 'no' is neither true nor false"),  # type: ignore[arg-type]
        (lambda: acistore.Policy(keys=("AB" * 20,)), f"policies.keys: ('{'AB' * 20}',) is not what a program"),
        (lambda: acistore.Policy(keys=("ab" * 20,), threshold=2), "policies: of all names: threshold is 2"),
        (lambda: acistore.Policy("Example.com"), "policies.prefix: "),
        (lambda: acistore.Mirror("x", "https://u:pw@h/{name}.{ext}"), "mirrors.url: a user or a password"),
        (lambda: acistore.Mirror("x", "https://h/{name}"), "mirrors.url: without {ext}"),
        (lambda: acistore.Host("https://x"), "hosts.name: not a host such as"),
        (
            lambda: acistore.Host("Example.com"),
            "hosts.name: 'Example.com' is not what a program gives: that is 'ex",
        ),
        (lambda: acistore.Host("bücher.de"), "hosts.name: other letters than those of ASCII stand as xn--…"),
        (lambda: acistore.Host("x", token="a\nb"), "hosts.token: a control character stands in it"),
        (lambda: acistore.Host("x", password="p"), "hosts: x: password is there without username"),
        (lambda: acistore.Host("x", ca_file="x.pem"), "hosts.ca_file: 'x.pem' is not what a program gives"),  # type: ignore[arg-type]
    ],
)
def test_a_table_that_no_file_could_hold_is_none_for_a_program_either(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        make()
    assert raised.value.message.startswith(message)
    assert raised.value.facts == {"set by": "the caller"}


# --- documented


@pytest.mark.parametrize("name", [name for name in acistore.__all__ if name != "__version__"])
def test_every_public_name_is_documented_with_all_that_it_offers(name: str) -> None:
    value = getattr(acistore, name)
    assert inspect.getdoc(value)
    offered = inspect.classify_class_attrs(value) if inspect.isclass(value) else []
    undocumented = [
        each.name
        for each in offered
        if not each.name.startswith("_")
        and each.defining_class.__module__.startswith("acistore")
        and each.kind in ("method", "class method", "static method", "property")
        and not inspect.getdoc(each.object)
    ]
    assert undocumented == []
