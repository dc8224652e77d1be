"""What the person is told when it doesn't go as wished: which place, what is kept, what there is, what to do."""

import logging
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.config import Mirror
from acistore.errors import (
    BadSignature,
    ConnectionFailed,
    EndpointNotFound,
    RequestRefused,
    ResourceNotFound,
    ServerFailed,
    SignatureMissing,
    TransferFailed,
    UsageError,
)
from acistore.fetch import Fetched
from tests.fetch.conftest import NAME, Operator, Publisher, Unsteady, app, served
from tests.fileserver import File
from tests.images import image
from tests.waiting import PATIENCE, within

WANTED = f"{NAME}:1.0,os=linux,arch=amd64"
BROKEN = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MIRROR = "https://mirror.test/{name}-{version}.{ext}"


@pytest.fixture
def trusting(trusting: Operator, unsteady: Unsteady) -> Operator:
    unsteady.page("https://example.com/acis/{name}.{ext}")
    return trusting


def mirrored(operator: Operator, *urls: str, prefix: str = "example.com", mirrors_only: bool = False) -> None:
    mirrors = tuple(Mirror(prefix, url) for url in urls)
    operator.config = replace(operator.config, mirrors=mirrors, mirrors_only=mirrors_only)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def about_mirrors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in warnings(caplog) if text.startswith("the mirror")]


def test_the_place_of_a_bad_image_is_named(unsteady: Unsteady, trusting: Operator) -> None:
    _, signature = unsteady.publish(app(), f"acis/{NAME}.aci")
    signature.replace(unsteady.key.sign(b"something else"))
    with pytest.raises(BadSignature) as raised:
        trusting.fetch(WANTED)
    assert raised.value.facts["from"] == f"https://example.com/acis/{NAME}.aci"


def test_a_mirror_that_is_of_no_use_is_told_once(
    unsteady: Unsteady, trusting: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("app", "base"):
        unsteady.publish(app(), f"acis/example.com/{name}.aci")
    mirrored(trusting, MIRROR)
    trusting.fetch_all(WANTED, "example.com/base:1.0", WANTED)
    [told] = about_mirrors(caplog)
    assert told.startswith("the mirror mirror.test is passed over: https://mirror.test/")


def test_a_mirror_that_does_not_have_it_is_nothing_to_be_told(
    publisher: Publisher, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.trusts(publisher.key)
    publisher.publish(app())
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(operator, MIRROR)
    operator.fetch(WANTED)
    assert about_mirrors(caplog) == []


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "429 Too Many Requests"])
def test_a_mirror_that_refuses_to_say_is_told(
    unsteady: Unsteady, trusting: Operator, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    _, signature = unsteady.publish(app(), "mirror/example.com/app.aci")
    unsteady.publish(app())
    unsteady.page(unsteady.url("app.{ext}"))
    signature.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()] * 9
    mirrored(trusting, unsteady.url("mirror/{name}.{ext}"))
    trusting.fetch(WANTED)
    [told] = about_mirrors(caplog)
    assert status in told


def test_a_mirror_whose_template_has_a_slip_is_told(
    unsteady: Unsteady, trusting: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    unsteady.publish(app(), f"acis/{NAME}.aci")
    mirrored(trusting, "https://mirror.test/{nmae}.{ext}")
    trusting.fetch(WANTED)
    [told] = about_mirrors(caplog)
    assert "{nmae}" in told


def test_mirrors_alone_where_nobody_else_may_be_asked(publisher: Publisher, operator: Operator) -> None:
    operator.trusts(publisher.key)
    publisher.publish(app())
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(operator, MIRROR, mirrors_only=True)
    with pytest.raises(ResourceNotFound):
        operator.fetch(WANTED)
    body = served(app())
    publisher.web.put("mirror.test", f"{NAME}-1.0.aci", body)
    publisher.web.put("mirror.test", f"{NAME}-1.0.aci.asc", publisher.key.sign(body))
    operator.fetch(WANTED)
    assert not any("//example.com" in line for line in publisher.web.log())


def test_without_a_mirror_mirrors_alone_find_nothing(publisher: Publisher, operator: Operator) -> None:
    operator.trusts(publisher.key)
    mirrored(operator, mirrors_only=True)
    with pytest.raises(EndpointNotFound, match="no mirror"):
        operator.fetch(WANTED)
    assert publisher.web.log() == []


def test_a_mirror_without_a_prefix_is_for_every_name(publisher: Publisher, operator: Operator) -> None:
    operator.trusts(publisher.key)
    body = served(app())
    publisher.web.put("mirror.test", f"{NAME}-1.0.aci", body)
    publisher.web.put("mirror.test", f"{NAME}-1.0.aci.asc", publisher.key.sign(body))
    mirrored(operator, MIRROR, prefix="")
    assert operator.fetch(WANTED).source.startswith("https://mirror.test")


def test_what_is_kept_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.cuts = [100] + [0] * 10
    with pytest.raises(TransferFailed) as raised:
        trusting.fetch(unsteady.url())
    assert raised.value.facts["kept"] == "100 bytes, with which the next fetch goes on"
    assert raised.value.facts["tried"].startswith("5 times in a row")


def test_of_several_places_what_is_kept_is_what_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    for number, cut in enumerate((50, 150, 100)):
        file, _ = unsteady.publish(app(extra=str(number)), f"{number}.aci")
        file.cuts = [cut] + [0] * 10
    mirrored(trusting, *[unsteady.url(f"{number}.{{ext}}") for number in range(3)])
    with pytest.raises(TransferFailed) as raised:
        trusting.fetch(WANTED)
    assert trusting.partials() == [150]
    assert raised.value.facts["kept"].startswith("150 bytes")


def test_of_what_never_came_nothing_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    for broken, cuts in ((signature, []), (file, [0] * 10)):
        broken.cuts = cuts
        broken.instead = [] if cuts else [BROKEN] * 5
        with pytest.raises((ServerFailed, TransferFailed)) as raised:
            trusting.fetch(unsteady.url())
        assert "kept" not in raised.value.facts


def test_a_mirror_that_was_down_is_told_as_that_for_later_images(
    trusting: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    mirrored(trusting, "https://localhost:1/{name}.{ext}", mirrors_only=True)
    trusting.config = replace(trusting.config, jobs=1)
    outcomes = trusting.fetch_all("example.com/a", "example.com/b")
    assert [type(each) for each in outcomes] == [ConnectionFailed] * 2
    assert "could not be reached before" in str(outcomes[1])


def test_a_mirror_that_leads_nowhere_once_is_asked_for_the_next_image(
    unsteady: Unsteady, trusting: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    mirrored(trusting, "https://example.com/{name}.{ext}", mirrors_only=True)
    trusting.config = replace(trusting.config, jobs=1, private_redirects=True)
    moved = b"HTTP/1.1 302 Found\r\nLocation: https://localhost:1/\r\nConnection: close\r\n\r\n"
    unsteady.site.put("example.com/a.aci.asc", File(b"", instead=[moved]))
    unsteady.publish(image("example.com/b", labels={"os": "linux", "arch": "amd64"}), "example.com/b.aci")
    labels = "os=linux,arch=amd64"
    first, second = trusting.fetch_all(f"example.com/a,{labels}", f"example.com/b,{labels}")
    assert isinstance(first, ConnectionFailed)
    assert isinstance(second, Fetched)


def test_a_mirror_that_is_slow_once_is_asked_for_the_next_image(unsteady: Unsteady, trusting: Operator) -> None:
    labels = {"os": "linux", "arch": "amd64"}
    unsteady.publish(image("example.com/b", labels=labels), "example.com/b.aci")
    unsteady.publish(image("example.com/a", labels=labels), "example.com/a.aci")
    over = threading.Event()
    unsteady.site.files["/example.com/a.aci.asc"].gate = lambda: over.wait(PATIENCE)
    mirrored(trusting, "https://example.com/{name}.{ext}", mirrors_only=True)

    def attempt(seconds: float) -> None:
        limits = replace(trusting.config.limits, deadline=seconds, retries=0)
        trusting.config = replace(trusting.config, jobs=1, limits=limits)
        first, second = trusting.fetch_all(*[f"example.com/{name},os=linux,arch=amd64" for name in "ab"])
        assert isinstance(first, ConnectionFailed)
        assert isinstance(second, Fetched)

    within(0.5, attempt)
    over.set()


def test_an_image_of_the_future_is_asked_for_again(unsteady: Unsteady, trusting: Operator) -> None:
    """The clock was wrong when it was fetched."""
    file, _ = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=600"]
    fetched = trusting.fetch(unsteady.url())
    [remote] = trusting.store.remotes(fetched.image)
    later = replace(remote, fetched_at=remote.fetched_at + timedelta(days=365))
    trusting.store.record_fetch(fetched.image, remote=later)
    trusting.fetch(unsteady.url())
    assert len(file.heads) == 2


def test_a_mirror_that_redirects_to_a_dead_host_is_not_dead_itself(
    unsteady: Unsteady, trusting: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    trusting.config = replace(trusting.config, private_redirects=True)
    unsteady.publish(image("example.com/b", labels={"os": "linux", "arch": "amd64"}), "example.com/b.aci")
    away = b"HTTP/1.1 302 Found\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n"
    unsteady.site.put("example.com/a.aci.asc", File(b"", instead=[away + b"Connection: close\r\n\r\n"] * 9))
    mirrored(trusting, "https://example.com/{name}.{ext}", mirrors_only=True)
    trusting.config = replace(trusting.config, jobs=1)
    labels = ",os=linux,arch=amd64"
    first, second = trusting.fetch_all(f"example.com/a{labels}", f"example.com/b{labels}")
    assert isinstance(first, ConnectionFailed)
    assert isinstance(second, Fetched)


def test_each_image_that_failed_for_one_reason_is_told_of_its_own(unsteady: Unsteady, trusting: Operator) -> None:
    labels = {"os": "linux", "arch": "amd64"}
    for name in "ab":
        needs = [{"imageName": "example.com/none"}]
        unsteady.publish(
            image(f"example.com/{name}", labels=labels, dependencies=needs), f"acis/example.com/{name}.aci"
        )
    outcomes = trusting.fetch_all(*[f"example.com/{name},os=linux,arch=amd64" for name in "ab"])
    for name, outcome in zip("ab", outcomes, strict=True):
        assert isinstance(outcome, ResourceNotFound)
        assert outcome.facts["needed by"].startswith(f"example.com/{name}")
        assert outcome.facts["stored"].startswith(f"example.com/{name}")


def test_a_pull_policy_that_is_none_is_refused(trusting: Operator) -> None:
    with pytest.raises(UsageError, match="no pull policy"):
        trusting.fetch(WANTED, pull_policy="Never")


def test_never_asks_no_server_for_the_signature_of_a_file(
    unsteady: Unsteady, trusting: Operator, tmp_path: Path
) -> None:
    file, signature = unsteady.publish(app())
    path = tmp_path / "app.aci"
    path.write_bytes(file.body)
    with pytest.raises(UsageError, match="never"):
        trusting.fetch(str(path), signature=unsteady.url("app.aci.asc"), pull_policy="never")
    assert signature.heads == []
    assert trusting.fetch(str(path), signature=unsteady.url("app.aci.asc")).name == NAME


def test_that_nothing_can_be_kept_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    unsteady.site.put("app.aci", File(file.body, etag=None, cuts=[100] * 10))
    with pytest.raises(TransferFailed) as raised:
        trusting.fetch(unsteady.url())
    assert raised.value.facts["kept"].startswith("nothing; its server gives no strong ETag")


def test_when_there_is_no_news_the_store_is_pointed_to(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app(), f"acis/{NAME}.aci")
    fetched = trusting.fetch(WANTED)
    file.instead = [b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"] * 10
    with pytest.raises(ServerFailed) as raised:
        trusting.fetch(WANTED)
    assert raised.value.facts["in the store"].startswith(str(fetched.id))
    assert f"acistore fetch --pull-policy new {NAME}:1.0" in (raised.value.next_step or "")
    assert trusting.fetch(WANTED, pull_policy="new").id == fetched.id


def test_why_nobody_was_asked_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=600"]
    trusting.fetch(unsteady.url())
    trusting.fetch(unsteady.url())
    assert "nothing changes until" in trusting.decisions[-1][2]
    trusting.fetch(unsteady.url(), pull_policy="new")
    trusting.fetch(WANTED, pull_policy="new")
    assert trusting.decisions[-1][2] == "the pull policy wants no news"
    assert len(signature.heads) == 1


def test_the_shorter_freshness_of_image_and_signature_counts(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=600"]
    signature.headers = ["Cache-Control: no-cache"]
    trusting.fetch(unsteady.url())
    trusting.fetch(unsteady.url())
    assert len(signature.heads) == 2


def test_a_limit_on_freshness_holds_for_what_was_fetched_before(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=600"]
    trusting.fetch(unsteady.url())
    trusting.config = replace(trusting.config, limits=replace(trusting.config.limits, freshness=0))
    trusting.fetch(unsteady.url())
    assert len(file.heads) == 2


def test_what_a_deferred_signature_says_of_freshness_counts(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=600"]
    signature.headers = ["Cache-Control: no-store"]
    signature.instead = [b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
    trusting.fetch(unsteady.url())
    trusting.fetch(unsteady.url())
    assert len(signature.heads) == 3


@pytest.mark.parametrize("status", ["400 Bad Request", "418 I'm a teapot", "451 Unavailable For Legal Reasons"])
def test_an_odd_answer_for_a_signature_is_no_missing_signature(
    unsteady: Unsteady, trusting: Operator, status: str
) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()]
    with pytest.raises(RequestRefused, match=status[:3]):
        trusting.fetch(unsteady.url())


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content"])
def test_no_answer_for_a_signature_is_the_servers_failure(
    unsteady: Unsteady, trusting: Operator, status: str
) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()]
    with pytest.raises(ServerFailed, match=status[:3]):
        trusting.fetch(unsteady.url())


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_a_signature_that_is_not_there_is_missing(unsteady: Unsteady, trusting: Operator, status: str) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()]
    with pytest.raises(SignatureMissing):
        trusting.fetch(unsteady.url())


def test_a_template_that_needs_more_than_the_name_has_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    unsteady.page("https://example.com/{name}-{flavour}.{ext}")
    with pytest.raises(EndpointNotFound) as raised:
        trusting.fetch(WANTED)
    assert "a template that needs {flavour}" in str(raised.value.facts)


def test_a_page_that_was_not_read_to_its_end_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    trusting.config = replace(trusting.config, limits=replace(trusting.config.limits, page_size=10))
    with pytest.raises(EndpointNotFound) as raised:
        trusting.fetch(WANTED)
    assert "only the first 10 bytes were read" in str(raised.value.facts)
