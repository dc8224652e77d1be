"""Several images, and what they need, come at once: bounded, each only once, and in the order asked."""

import hashlib
import os
import socket
import threading
from dataclasses import replace

import pytest
import trustme

from acistore.errors import AcistoreError, ImageMismatch, InvalidName, NoTrustedKey, ResourceNotFound, UsageError
from acistore.fetch import Fetched, Fetcher
from acistore.naming import ImageName
from acistore.progress import Silent
from tests.fetch.conftest import Operator, Unsteady
from tests.fileserver import Site
from tests.images import image
from tests.waiting import PATIENCE, until
from tests.web import RawServer, WebSite


class Counted:
    """A site, and how many requests it has been answering at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        threading.Event().wait(0.05)  # for others to come
        with self._lock:
            self._inside -= 1  # before the other side has the answer, and asks for the next
        self._site(connection, head)


class Gate:
    """Keeps those who come until `size` of them have been in it at once, or until they lose patience (seconds).
    `most` is how many there were."""

    def __init__(self, size: int, patience: float = PATIENCE) -> None:
        self._size = size
        self._patience = patience
        self._changed = threading.Condition()
        self._inside = 0
        self.most = 0

    def __call__(self) -> None:
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._size, self._patience)
            self._inside -= 1


@pytest.fixture
def trusting(trusting: Operator, unsteady: Unsteady) -> Operator:
    unsteady.page("https://example.com/acis/{name}.{ext}")
    return trusting


def jobs(operator: Operator, number: int) -> None:
    operator.config = replace(operator.config, jobs=number)


def publish(unsteady: Unsteady, name: str, gate: Gate | None = None, **fields: object) -> bytes:
    labels = ImageName.parse("example.com/app").for_this_machine().labels
    archive = image(f"example.com/{name}", {"name": name.encode()}, labels=labels, **fields)
    file, _ = unsteady.publish(archive, f"acis/example.com/{name}.aci")
    if gate:
        file.gate = gate
    return archive


def test_several_images_are_downloaded_at_once(unsteady: Unsteady, trusting: Operator) -> None:
    gate = Gate(4)
    for name in "abcd":
        publish(unsteady, name, gate)
    fetched = trusting.fetch_all(*[unsteady.url(f"acis/example.com/{name}.aci") for name in "abcd"])
    assert [each.name for each in fetched if isinstance(each, Fetched)] == [
        f"example.com/{name}" for name in "abcd"
    ]
    assert gate.most == 4
    assert trusting.store.verify().ok


def test_no_more_than_the_jobs_allow(unsteady: Unsteady, trusting: Operator) -> None:
    """Whoever is there waits a little for one too many."""
    gate = Gate(3, patience=0.2)
    for name in "abcdef":
        publish(unsteady, name, gate)
    jobs(trusting, 2)
    trusting.fetch_all(*[unsteady.url(f"acis/example.com/{name}.aci") for name in "abcdef"])
    assert gate.most <= 2
    assert len(trusting.store.list()) == 6


def test_what_images_need_counts_as_well(
    unsteady: Unsteady, trusting: Operator, web: WebSite, authority: trustme.CA
) -> None:
    """Pages and signatures, too: the server never answers more than two at once."""
    gate = Gate(3, patience=0.2)
    for name in "abcdef":
        publish(unsteady, name, gate)
    publish(unsteady, "one", dependencies=[{"imageName": f"example.com/{name}"} for name in "abc"])
    publish(unsteady, "two", dependencies=[{"imageName": f"example.com/{name}"} for name in "def"])
    jobs(trusting, 2)
    counted = Counted(unsteady.site)
    with RawServer(counted, authority.issue_cert("example.com")) as server:
        web.take_over("example.com", server)
        outcomes = trusting.fetch_all("example.com/one", "example.com/two")
    assert [type(each) for each in outcomes] == [Fetched, Fetched]
    assert counted.most <= 2


def test_one_job_works(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "libc")
    publish(unsteady, "app", dependencies=[{"imageName": "example.com/libc"}])
    jobs(trusting, 1)
    trusting.fetch("example.com/app")
    assert len(trusting.store.list()) == 2


def test_dependencies_are_downloaded_at_once(unsteady: Unsteady, trusting: Operator) -> None:
    gate = Gate(3)
    for name in "abc":
        publish(unsteady, name, gate)
    publish(unsteady, "app", dependencies=[{"imageName": f"example.com/{name}"} for name in "abc"])
    trusting.fetch("example.com/app")
    assert gate.most == 3


def test_what_several_images_need_comes_once(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "libc")
    for name in "abcd":
        publish(unsteady, name, dependencies=[{"imageName": "example.com/libc"}])
    trusting.fetch_all(*[f"example.com/{name}" for name in "abcd"])
    assert len(unsteady.site.files["/acis/example.com/libc.aci"].heads) == 1
    assert len(trusting.store.list()) == 5


def test_what_is_asked_for_twice_comes_once(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "app")
    url = unsteady.url("acis/example.com/app.aci")
    first, second, by_name = trusting.fetch_all(url, url, "example.com/app")
    assert isinstance(first, Fetched)
    assert first == second
    assert isinstance(by_name, Fetched)
    assert by_name.id == first.id
    assert unsteady.site.files["/acis/example.com/app.aci"].sent == len(
        unsteady.site.files["/acis/example.com/app.aci"].body
    )


def test_what_is_needed_with_and_without_a_pin_comes_once(unsteady: Unsteady, trusting: Operator) -> None:
    archive = publish(unsteady, "libc")
    pinned = f"sha512-{hashlib.sha512(archive).hexdigest()}"
    publish(unsteady, "a", dependencies=[{"imageName": "example.com/libc"}])
    publish(unsteady, "b", dependencies=[{"imageName": "example.com/libc", "imageID": pinned}])
    outcomes = trusting.fetch_all("example.com/a", "example.com/b")
    assert [type(each) for each in outcomes] == [Fetched, Fetched]
    libc = unsteady.site.files["/acis/example.com/libc.aci"]
    assert libc.sent == len(libc.body)


def test_one_failure_is_no_other_images_failure(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "good")
    publish(unsteady, "needy", dependencies=[{"imageName": "example.com/gone"}])
    publish(unsteady, "other")
    outcomes = trusting.fetch_all(
        "example.com/good",
        "not a name",
        "sha512-abc",
        "example.com/gone",
        "example.com/needy",
        "example.com/other",
    )
    assert [type(each) for each in outcomes] == [
        Fetched,
        InvalidName,
        UsageError,
        ResourceNotFound,
        ResourceNotFound,
        Fetched,
    ]


@pytest.mark.parametrize("url", ["https://", "https:///app.aci", "https://example.com:x/", "https://xn--/a.aci"])
def test_what_is_called_a_url_and_is_none_is_a_wrong_call(trusting: Operator, url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        trusting.fetch(url)
    with pytest.raises(UsageError, match="URL"):
        trusting.fetch("example.com/app", signature=url)


def test_a_wrong_call_is_told_before_anything_is_iterated_over(trusting: Operator) -> None:
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config)
    with pytest.raises(UsageError, match="a signature is for one image, and 2 are wanted"):
        fetcher.fetch_all(["example.com/a", "example.com/b"], signature="./a.asc")
    with pytest.raises(UsageError, match="no pull policy"):
        fetcher.fetch_all(["example.com/a"], pull_policy="always")


def test_all_that_failed_below_an_image_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "app", dependencies=[{"imageName": f"example.com/{name}"} for name in ("gone", "lost")])
    with pytest.raises(ResourceNotFound) as raised:
        trusting.fetch("example.com/app")
    assert "gone" in raised.value.message
    assert raised.value.facts["needed by"].startswith("example.com/app")
    assert "lost" in str(raised.value.facts)


@pytest.mark.parametrize("number", [1, 4])
def test_what_is_passed_over_keeps_nobody_waiting(unsteady: Unsteady, trusting: Operator, number: int) -> None:
    needs = [{"imageName": f"example.com/{name}"} for name in ("gone", "c", "d", "e", "f", "g")]
    publish(unsteady, "app", dependencies=needs)
    jobs(trusting, number)
    [outcome] = trusting.fetch_all("example.com/app")
    assert isinstance(outcome, ResourceNotFound)


def test_what_was_passed_over_comes_for_the_next_that_needs_it(unsteady: Unsteady, trusting: Operator) -> None:
    """a fails before x has come; b needs x as well, and what x needs."""
    publish(unsteady, "z")
    refused = threading.Event()
    publish(unsteady, "x", dependencies=[{"imageName": "example.com/z"}])
    publish(unsteady, "b", dependencies=[{"imageName": "example.com/x"}])
    for name in "xb":
        unsteady.site.files[f"/acis/example.com/{name}.aci"].gate = lambda: refused.wait(PATIENCE)
    publish(unsteady, "a", dependencies=[{"imageName": f"example.com/{name}"} for name in ("gone", "x")])

    class Watching(Silent):
        def decided(self, about: str, what: str, why: str) -> None:
            if what == "refuse":
                refused.set()

    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config, progress=Watching())
    outcomes = list(fetcher.fetch_all(["example.com/a", "example.com/b"]))
    first, second = (each.result for each in sorted(outcomes, key=lambda each: each.position))
    assert isinstance(first, ResourceNotFound)
    assert isinstance(second, Fetched)
    assert {each.name for each in trusting.store.list()} == {f"example.com/{name}" for name in "abxz"}


def test_a_text_that_is_longer_than_a_path_may_be_is_a_name_like_any(trusting: Operator) -> None:
    [outcome] = trusting.fetch_all("example.com/" + "a" * 70_000)
    assert isinstance(outcome, AcistoreError)


def test_what_is_pinned_and_there_is_never_asked_for(unsteady: Unsteady, trusting: Operator) -> None:
    pinned = f"sha512-{hashlib.sha512(publish(unsteady, 'libc')).hexdigest()}"
    publish(unsteady, "app", dependencies=[{"imageName": "example.com/libc", "imageID": pinned}])
    trusting.fetch("example.com/app")
    trusting.fetch("example.com/app", pull_policy="update")
    assert len(unsteady.site.files["/acis/example.com/libc.aci"].heads) == 1


def test_two_pins_of_one_name_both_have_to_hold(unsteady: Unsteady, trusting: Operator) -> None:
    pinned = f"sha512-{hashlib.sha512(publish(unsteady, 'libc')).hexdigest()}"
    wrong = f"sha512-{'0' * 128}"
    publish(unsteady, "a", dependencies=[{"imageName": "example.com/libc", "imageID": pinned}])
    publish(unsteady, "b", dependencies=[{"imageName": "example.com/libc", "imageID": wrong}])
    first, second = trusting.fetch_all("example.com/a", "example.com/b")
    assert isinstance(first, Fetched)
    assert isinstance(second, ImageMismatch)


def test_nobody_waits_for_an_image_that_was_refused(unsteady: Unsteady, operator: Operator) -> None:
    publish(unsteady, "app")
    outcomes = operator.fetch_all(*[unsteady.url("acis/example.com/app.aci")] * 3)
    assert [type(each) for each in outcomes] == [NoTrustedKey] * 3


def test_fetches_can_be_taken_one_by_one_and_left(unsteady: Unsteady, trusting: Operator) -> None:
    publish(unsteady, "good")
    archive = image("example.com/stuck", {"data": os.urandom(3 << 20)})
    stuck, _ = unsteady.publish(archive, "stuck.aci")
    stuck.stuck_at = len(stuck.body) - 1000
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config, progress=trusting)
    outcomes = fetcher.fetch_all(["example.com/good", unsteady.url("stuck.aci")])
    assert isinstance(next(outcomes).result, Fetched)
    until(lambda: any(trusting.partials()))  # the second one is on its way
    outcomes.close()
    assert [each.name for each in trusting.store.list()] == ["example.com/good"]
    [kept] = trusting.partials()
    assert 0 < kept <= stuck.stuck_at
