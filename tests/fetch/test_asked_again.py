"""What it costs to fetch again what is there: nothing while it holds, one 304 each, or all of it."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.errors import ImageNotFound, SignatureMissing, UntrustedSigner, UsageError
from tests.fetch.conftest import HOST, LABELS, LARGE, Operator, Unsteady, app, served
from tests.gpg import SigningKey
from tests.images import image


def test_a_fetch_again_costs_one_304_for_each(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    first = trusting.fetch(unsteady.url())
    sent = file.sent, signature.sent
    again = trusting.fetch(unsteady.url())
    assert (again.id, again.reused, again.bytes_downloaded) == (first.id, True, 0)
    assert (file.sent, signature.sent) == sent
    assert [b"If-None-Match" in head for head in (*file.heads, *signature.heads)] == [False, True, False, True]


def test_an_unchanged_signature_is_read_again_for_a_new_image(unsteady: Unsteady, trusting: Operator) -> None:
    """Its server may be wrong about it: it was replaced within the second, say."""
    file, signature = unsteady.publish(app())
    trusting.fetch(unsteady.url())
    file.replace(served(LARGE))
    tag = signature.etag
    signature.replace(unsteady.key.sign(file.body))
    signature.etag = tag
    fetched = trusting.fetch(unsteady.url())
    assert fetched.size == len(LARGE)
    assert [b"If-None-Match" in head for head in signature.heads] == [False, True, False]


def test_a_304_for_a_signature_whose_key_has_gone_is_not_enough(
    unsteady: Unsteady, trusting: Operator, stranger: SigningKey
) -> None:
    _, signature = unsteady.publish(app())
    trusting.fetch(unsteady.url())
    trusting.trust.remove(unsteady.key.fingerprint, prefix=HOST)
    trusting.trusts(stranger)
    with pytest.raises(UntrustedSigner):
        trusting.fetch(unsteady.url())
    assert b"If-None-Match" not in signature.heads[-1]


def test_no_store_means_that_everything_is_asked_for_anew(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: no-store"]
    for _ in range(2):
        assert not trusting.fetch(unsteady.url()).reused
    assert not any(b"If-None-Match" in head for head in (*file.heads, *signature.heads))


def test_no_cache_is_asked_for_past_all_caches(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=3600"]
    trusting.fetch(unsteady.url())
    assert trusting.fetch(unsteady.url()).reused
    assert len(file.heads) == len(signature.heads) == 1
    anew = trusting.fetch(unsteady.url(), no_cache=True)
    assert (anew.reused, anew.bytes_downloaded) == (False, len(file.body))
    for head in (file.heads[1], signature.heads[1]):
        assert b"Cache-Control: no-cache\r\n" in head
        assert b"If-None-Match" not in head


def test_must_revalidate_holds_only_once_it_is_stale(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=3600, must-revalidate"]
    trusting.fetch(unsteady.url())
    assert trusting.fetch(unsteady.url()).reused
    assert len(file.heads) == 1


@pytest.mark.parametrize(
    ("image_says", "signature_says", "is_asked"),
    [
        ("max-age=3600", "max-age=3600", False),
        ("max-age=3600", "max-age=0", True),
        ("max-age=3600", "no-cache", True),
        ("max-age=3600", "public", True),
        ("public", "max-age=3600", True),
        ("no-cache", "max-age=3600", True),
    ],
)
def test_nothing_is_asked_while_image_and_signature_hold(
    unsteady: Unsteady, trusting: Operator, image_says: str, signature_says: str, is_asked: bool
) -> None:
    """What one of them says is not said of the other."""
    file, signature = unsteady.publish(app())
    file.headers, signature.headers = [f"Cache-Control: {image_says}"], [f"Cache-Control: {signature_says}"]
    trusting.fetch(unsteady.url())
    assert trusting.fetch(unsteady.url()).reused
    assert [len(each.heads) for each in (file, signature)] == ([2, 2] if is_asked else [1, 1])


def make_older(operator: Operator, by: timedelta) -> None:
    """Makes what is known of the image's URL as much older than it is."""
    known = operator.store.remote("https://example.com/app.aci")
    assert known is not None
    remote, image = known
    operator.store.record_fetch(image, remote=replace(remote, fetched_at=remote.fetched_at - by))


def test_a_304_that_says_nothing_new_leaves_it_at_what_was_said(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=3600"]
    trusting.fetch(unsteady.url())
    make_older(trusting, timedelta(hours=1))
    file.headers = signature.headers = []
    trusting.fetch(unsteady.url())
    trusting.fetch(unsteady.url())
    assert len(file.heads) == len(signature.heads) == 2


def test_a_304_of_a_signature_says_until_when_the_image_holds_too(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=3600"]
    trusting.fetch(unsteady.url())
    make_older(trusting, timedelta(hours=1))
    file.headers, signature.headers = [], ["Cache-Control: no-cache"]
    trusting.fetch(unsteady.url())
    trusting.fetch(unsteady.url())
    assert len(file.heads) == len(signature.heads) == 3


def test_what_was_fetched_in_the_future_is_asked_for(unsteady: Unsteady, trusting: Operator) -> None:
    """A clock was wrong, then or now."""
    file, signature = unsteady.publish(app())
    file.headers = signature.headers = ["Cache-Control: max-age=3600"]
    trusting.fetch(unsteady.url())
    make_older(trusting, timedelta(minutes=-10))
    trusting.fetch(unsteady.url())
    assert len(file.heads) == len(signature.heads) == 2


def test_a_signature_does_not_hold_longer_because_its_image_is_large(
    unsteady: Unsteady, trusting: Operator
) -> None:
    """Its time began when it came, not when the image was complete."""
    file, signature = unsteady.publish(app())
    file.headers, signature.headers = ["Cache-Control: max-age=3600"], ["Cache-Control: max-age=60"]
    file.gate = lambda: threading.Event().wait(1.1)
    trusting.fetch(unsteady.url())
    known = trusting.store.remote(unsteady.url())
    assert known is not None
    assert known[0].max_age is not None
    assert known[0].max_age < 59


def test_a_304_about_another_signature_is_none(
    unsteady: Unsteady, trusting: Operator, stranger: SigningKey
) -> None:
    file, signature = unsteady.publish(app())
    trusting.fetch(unsteady.url())
    signature.replace(stranger.sign(file.body))
    signature.instead = [f"HTTP/1.1 304 Not Modified\r\nETag: {signature.etag}\r\n\r\n".encode()]
    with pytest.raises(UntrustedSigner):
        trusting.fetch(unsteady.url())
    assert b"If-None-Match" not in signature.heads[-1]


def test_a_signature_is_missing_though_its_server_fails_to_say_whether_the_image_is_there(
    unsteady: Unsteady, trusting: Operator
) -> None:
    file, _ = unsteady.publish(app())
    del unsteady.site.files["/app.aci.asc"]
    file.instead = [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"]
    with pytest.raises(SignatureMissing):
        trusting.fetch(unsteady.url())


class Network:
    """Notices whoever in this process turns to the network, be it to look up a name."""

    def __init__(self) -> None:
        self.noticed: list[str] = []
        self.is_awake = True
        sys.addaudithook(self._notice)

    def _notice(self, event: str, _: object) -> None:
        if self.is_awake and event in (
            "socket.connect",
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.sendto",
            "socket.sendmsg",
        ):
            self.noticed.append(event)


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.is_awake = False  # what was added once stays


def test_the_pull_policy_never_opens_no_connection(
    unsteady: Unsteady, trusting: Operator, network: Network, tmp_path: Path
) -> None:
    unsteady.publish(app())
    fetched = trusting.fetch(unsteady.url())
    assert network.noticed
    network.noticed.clear()
    for wanted in (unsteady.url(), fetched.name):
        assert trusting.fetch(wanted, pull_policy="never").id == fetched.id
    for wanted in (unsteady.url("other.aci"), "example.com/app:2.0", "example.org/other"):
        with pytest.raises(ImageNotFound):
            trusting.fetch(wanted, pull_policy="never")
    file = tmp_path / "app.aci"
    file.write_bytes(served(app()))
    with pytest.raises(UsageError):
        trusting.fetch(str(file), signature=unsteady.url("app.aci.asc"), pull_policy="never")
    assert network.noticed == []


def test_the_pull_policy_new_asks_only_for_what_is_not_there(unsteady: Unsteady, operator: Operator) -> None:
    operator.trusts(unsteady.key, "example.com")
    unsteady.page("https://example.com/{name}.{ext}")
    for name, needs in (("there", []), ("lacking", []), ("app", ["there", "lacking"])):
        dependencies = [{"imageName": f"example.com/{each}"} for each in needs]
        archive = image(f"example.com/{name}", labels=LABELS, dependencies=dependencies)
        unsteady.publish(archive, f"example.com/{name}.aci")
    wanted = "example.com/app:1.0,os=linux,arch=amd64"
    operator.fetch("example.com/there:1.0,os=linux,arch=amd64", pull_policy="new")
    before = {path: len(file.heads) for path, file in unsteady.site.files.items()}
    operator.fetch(wanted, pull_policy="new")
    asked = {path for path, file in unsteady.site.files.items() if len(file.heads) > before[path]}
    images = {f"/example.com/{name}.aci{ending}" for name in ("app", "lacking") for ending in ("", ".asc")}
    assert asked - {"/index.html"} == images
    heads = [len(file.heads) for file in unsteady.site.files.values()]
    assert operator.fetch(wanted, pull_policy="new").reused
    assert [len(file.heads) for file in unsteady.site.files.values()] == heads
