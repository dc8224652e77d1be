"""Each bound of the configuration, set to another value: it holds, and whoever runs into it is told which."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from acistore.config import Config, Limits
from acistore.config.options import BY_NAME
from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    ConnectionFailed,
    DependencyCycle,
    EndpointNotFound,
    LimitExceeded,
    ServerFailed,
    SignatureMissing,
    TransferFailed,
)
from tests.cli.running import spawn
from tests.fetch.conftest import HOST, LABELS, NAME, served
from tests.hostile.conftest import TAG, Victim
from tests.hostile.servers import OK, Deaf, dripping, moved, saying, silent, stopping, whole
from tests.images import image
from tests.waiting import within


@dataclass(frozen=True)
class Case:
    """A site that runs into a bound: `told` stands in the error, and it was `asked` so often. In a value `{}` is
    for the seconds of a bound that nothing but that site should run into."""

    value: str
    kind: type[AcistoreError]
    told: str
    asked: int
    handlers: dict[str, Any]
    others: dict[str, str] | None = None  # bounds that have to be other ones as well


BUSY = whole(b"", status=b"503 Busy")
NEEDY = served(image(NAME, labels=LABELS, dependencies=[{"imageName": f"{HOST}/below"}]))
CASES = {
    "page_size": Case(
        "100", EndpointNotFound, "only the first 100 bytes were read", 2, {"page": whole(b" " * 99 + TAG)}
    ),
    "signature_size": Case("100", LimitExceeded, "--limits-signature-size", 2, {}),
    "image_size": Case("100", LimitExceeded, "--limits-image-size", 3, {}),
    "unpacked_size": Case("100", ArchiveRefused, "--limits-unpacked-size", 3, {}),
    "deadline": Case("{}s", ConnectionFailed, "--limits-deadline", 1, {"page": silent}),
    "minimum_rate": Case(
        "1MiB",
        TransferFailed,
        "slower than 1048576 bytes a second",
        3,
        {"image": dripping(OK + b"\r\n")},
        {"rate_window": "{}s"},
    ),
    "rate_window": Case("{}s", TransferFailed, "--limits-rate-window", 3, {"image": stopping(OK + b"\r\n")}),
    "retries": Case("2", ServerFailed, "--limits-retries", 3, {"page": BUSY}, {"retry_delay": "0s"}),
    "retry_delay": Case(
        "1h", ServerFailed, "--limits-deadline", 1, {"page": BUSY}, {"retries": "3", "deadline": "10s"}
    ),
    "retry_after": Case(
        "1s",
        ServerFailed,
        "--limits-retry-after",
        1,
        {"page": whole(b"", b"Retry-After: 2", status=b"503 Busy")},
        {"retries": "3"},
    ),
    "redirects": Case("2", LimitExceeded, "--limits-redirects", 3, {"page": moved(b"")}),
    "endpoints": Case(
        "3",
        SignatureMissing,
        "app-1.0.aci",
        1 + 2 * 3,
        {
            "page": whole(b"".join(TAG.replace(b"/{name}", b"/%d/{name}" % number) for number in range(9))),
            "signature": saying(b"404 Not Found"),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_site_that_goes_beyond_a_bound_is_refused(victim: Victim, name: str) -> None:
    case = CASES[name]

    def attempt(seconds: float) -> None:
        limits = {
            bound: value.format(seconds) for bound, value in {name: case.value, **(case.others or {})}.items()
        }
        started = time.monotonic()
        refused = victim.refuses(case.kind, limits=limits, **case.handlers)
        error = refused.error
        assert case.told in f"{error.message} {error.facts} {error.next_step}"
        assert len(refused.asked) == case.asked, refused.asked
        assert time.monotonic() - started < seconds + 30  # the bounds of `victim` are a minute

    within(0.5, attempt)


def a_server_that_does_not_shake_hands_is_left(victim: Victim) -> None:
    started = time.monotonic()
    with Deaf(silent) as server:
        url = f"https://localhost:{server.port}/app.aci"
        error = victim.fails(ConnectionFailed, wanted=url, limits={"connect_timeout": "300ms"})
    assert "--limits-connect-timeout" in error.facts["bound"]
    assert time.monotonic() - started < 30


def a_promise_of_a_server_is_not_believed(victim: Victim) -> None:
    promise = b"Cache-Control: max-age=3600"
    image, signature = whole(victim.good.body, promise), whole(victim.good.signature, promise)
    with victim.site(image=image, signature=signature) as site:
        for _ in range(2):
            victim.fetch()
            assert len(site.asked()) == 3
        victim.fetch(limits={"freshness": "0s"})
        assert len(site.asked()) > 3


def a_file_of_keys_is_refused(victim: Victim) -> None:
    with victim.site(others={"/key.asc": whole(victim.key.public())}) as site:
        add = ("--json", "trust", "add", "--prefix", HOST, "--yes", f"https://{HOST}/key.asc")
        ran = spawn(*add, **victim.environment({"key_size": "100"}))
    assert (ran.code, ran.error["kind"], site.asked()) == (5, "LimitExceeded", ["GET /key.asc"])
    assert "--limits-key-size" in ran.error["next"]


def an_image_that_needs_others_is_not_fetched(victim: Victim, limit: str) -> None:
    with victim.site(**victim.signed(NEEDY)) as site, pytest.raises(DependencyCycle) as raised:
        victim.fetch(limits={limit: "0"})
    assert f"--limits-{limit.replace('_', '-')}" in (raised.value.next_step or "")
    assert not any("below" in each for each in site.asked())


OTHERS: dict[str, Callable[[Victim], None]] = {
    "connect_timeout": a_server_that_does_not_shake_hands_is_left,
    "freshness": a_promise_of_a_server_is_not_believed,
    "key_size": a_file_of_keys_is_refused,
    "dependency_depth": lambda victim: an_image_that_needs_others_is_not_fetched(victim, "dependency_depth"),
    "dependencies": lambda victim: an_image_that_needs_others_is_not_fetched(victim, "dependencies"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_bound_holds(victim: Victim, name: str) -> None:
    OTHERS[name](victim)


def test_no_bound_is_without_a_test_and_none_is_undocumented() -> None:
    """The table in docs/network.md: the name, the default, and what happens."""
    names = {field.name for field in fields(Limits)}
    assert CASES.keys() | OTHERS.keys() == names
    page = (Path(__file__).parents[2] / "docs/network.md").read_text()
    rows = dict(re.findall(r"^\| `limits\.(\w+)` \| `([^`]+)` \| \S", page, re.MULTILINE))
    default = Config()
    written = {name: BY_NAME[f"limits.{name}"].kind.write(default.value(f"limits.{name}")) for name in names}
    assert rows == {name: value.strip('"') for name, value in written.items()}
