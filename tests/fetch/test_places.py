"""Mirrors and endpoints: in which order they are asked, and what is said when all of them fail."""

from dataclasses import replace
from itertools import permutations

import pytest

from acistore.config import Mirror
from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    BadSignature,
    EndpointNotFound,
    ImageMismatch,
    InsecureTransport,
    LimitExceeded,
    NetworkError,
    ResourceNotFound,
    ServerFailed,
    TransferFailed,
)
from acistore.fetch import Fetcher
from acistore.fetch.places import Failures
from acistore.naming import ImageName
from tests.fetch.conftest import NAME, Operator, Publisher, Unsteady, app, served
from tests.gpg import SigningKey
from tests.ssh import SshSigningKey

MIRROR = "https://mirror.test/{name}-{version}-{os}-{arch}.{ext}"
FILE = f"{NAME}-1.0-linux-amd64.aci"
WANTED = f"{NAME}:1.0,os=linux,arch=amd64"


def mirrored(operator: Operator, *urls: str, prefix: str = "example.com") -> None:
    operator.config = replace(operator.config, mirrors=tuple(Mirror(prefix, url) for url in urls))


def on_mirror(
    publisher: Publisher, body: bytes, signature: bytes | None = None, host: str = "mirror.test"
) -> None:
    publisher.web.put(host, f"{FILE}.asc", signature or publisher.key.sign(body))
    publisher.web.put(host, FILE, body)


def test_a_mirror_is_asked_instead_of_the_publisher(publisher: Publisher, trusting: Operator) -> None:
    publisher.publish(app())
    on_mirror(publisher, served(app()))
    mirrored(trusting, MIRROR)
    fetched = trusting.fetch(WANTED)
    assert fetched.source == f"https://mirror.test/{FILE}"
    assert not any("example.com/" in line.split("/", 3)[2] + "/" for line in publisher.web.log())


def test_a_mirror_that_lacks_the_image_hands_over(publisher: Publisher, trusting: Operator) -> None:
    publisher.publish(app())
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, MIRROR, "https://nowhere.test/{name}.{ext}")
    assert trusting.fetch(WANTED).source == f"https://example.com/acis/{NAME}-1.0.aci"


def test_the_first_mirror_that_has_it_is_the_one(publisher: Publisher, trusting: Operator) -> None:
    """In the order of the configuration, whichever prefix is the longer one; a dead one hands over to the next."""
    for host in ("one.test", "two.test"):
        on_mirror(publisher, served(app()), host=host)
    urls = [MIRROR.replace("mirror.test", host) for host in ("nowhere.test", "one.test", "two.test")]
    mirrors = zip(("example.com/app", "example.com", "example.com/app"), urls, strict=True)
    trusting.config = replace(trusting.config, mirrors=tuple(Mirror(prefix, url) for prefix, url in mirrors))
    assert trusting.fetch(WANTED).source == f"https://one.test/{FILE}"
    assert not any("two.test" in line for line in publisher.web.log())


def test_a_mirror_with_an_old_image_hands_over(publisher: Publisher, trusting: Operator) -> None:
    """Signed by whoever may, but older than what was admitted last, or another version than is asked for."""
    latest = f"{NAME},os=linux,arch=amd64"
    for version in ("latest", "2.0"):
        publisher.publish(app(version="2.0"), version=version)
        publisher.web.put("mirror.test", f"{NAME}-{version}.aci", served(app()))
        publisher.web.put("mirror.test", f"{NAME}-{version}.aci.asc", publisher.key.sign(served(app())))
    trusting.fetch(latest)
    mirrored(trusting, "https://mirror.test/{name}-{version}.{ext}")
    for wanted, version in ((latest, "latest"), (WANTED.replace("1.0", "2.0"), "2.0")):
        assert trusting.fetch(wanted).source == f"https://example.com/acis/{NAME}-{version}.aci"
        assert f"GET https://mirror.test/{NAME}-{version}.aci 200" in publisher.web.log()
    assert [each.labels["version"] for each in trusting.store.list()] == ["2.0"]


def test_a_mirror_by_plain_http_is_not_asked_unless_that_is_allowed(
    publisher: Publisher, trusting: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.web.put("plain.test", f"{FILE}.asc", publisher.key.sign(served(app())), tls=False)
    url = publisher.web.put("plain.test", FILE, served(app()), tls=False)
    mirrored(trusting, MIRROR.replace("https://mirror.test", "http://plain.test"))
    with pytest.raises(InsecureTransport) as raised:
        trusting.fetch(WANTED)
    assert raised.value.next_step is not None
    assert "--insecure-options=http" in raised.value.next_step
    assert not any("plain.test" in line for line in publisher.web.log())
    assert "the mirror plain.test is passed over" in caplog.text
    assert trusting.fetch(WANTED, insecure={"http"}).source == url


def test_a_mirror_may_have_a_signature_of_either_kind(
    publisher: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    publisher.web.put("mirror.test", f"{FILE}.sig", ssh_key.sign(served(app())))
    publisher.web.put("mirror.test", FILE, served(app()))
    operator.trusts(ssh_key)
    mirrored(operator, MIRROR)
    assert operator.fetch(WANTED).source == f"https://mirror.test/{FILE}"


def test_a_mirror_need_not_be_trusted(publisher: Publisher, trusting: Operator, stranger: SigningKey) -> None:
    publisher.publish(app())
    on_mirror(publisher, served(app(extra="evil")), stranger.sign(served(app(extra="evil"))))
    mirrored(trusting, MIRROR)
    assert trusting.fetch(WANTED).source == f"https://example.com/acis/{NAME}-1.0.aci"
    assert len(trusting.store.list()) == 1


def test_the_next_time_the_mirror_is_asked_for_news(publisher: Publisher, trusting: Operator) -> None:
    on_mirror(publisher, served(app()))
    mirrored(trusting, MIRROR)
    trusting.fetch(WANTED)
    before = len(publisher.web.log())
    assert trusting.fetch(WANTED).reused
    assert [line[-3:] for line in publisher.web.log()[before:]] == ["304", "304"]


def test_mirrors_are_for_their_prefix_alone(publisher: Publisher, trusting: Operator) -> None:
    publisher.publish(app())
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, MIRROR, prefix="example.com/ap")
    trusting.fetch(WANTED)
    assert not any("mirror.test" in line for line in publisher.web.log())


def test_a_template_that_the_name_does_not_fill_is_passed_over(publisher: Publisher, trusting: Operator) -> None:
    publisher.publish(app())
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, "https://mirror.test/{name}-{flavour}.{ext}")
    trusting.fetch(WANTED)
    assert not any("mirror.test" in line for line in publisher.web.log())


def test_all_reasons_are_told_together(publisher: Publisher, trusting: Operator) -> None:
    publisher.page(
        "https://one.test/{name}.{ext}", "https://two.test/{name}.{ext}", "ftp://three.test/{name}.{ext}"
    )
    publisher.web.put("two.test", "index.html", b"nothing")
    bad = served(app())
    on_mirror(publisher, bad, publisher.key.sign(b"something else"))
    mirrored(trusting, MIRROR)
    with pytest.raises(BadSignature) as raised:
        trusting.fetch(WANTED)
    told = " ".join(f"{label} {text}" for label, text in raised.value.facts.items())
    assert all(host in told for host in ("one.test", "two.test", "three.test"))
    assert "is not published" in told
    assert "neither https nor http" in told


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((ResourceNotFound, LimitExceeded, ImageMismatch, ArchiveRefused), 4),
        ((EndpointNotFound, ArchiveRefused, InsecureTransport), 5),
        ((ResourceNotFound, ArchiveRefused, EndpointNotFound), 1),
        ((ResourceNotFound, EndpointNotFound), 3),
    ],
)
def test_of_all_failures_the_weightiest_decides(kinds: tuple[type[AcistoreError], ...], code: int) -> None:
    for order in permutations(kinds):
        failures = Failures()
        for kind in order:
            failures.add(f"https://{kind.__name__}.test/", kind(f"https://{kind.__name__}.test/: no"))
        weightiest = failures.weightiest()
        assert weightiest.exit_code == code
        others = {f"https://{kind.__name__}.test/" for kind in kinds if not isinstance(weightiest, kind)}
        assert weightiest.facts == dict.fromkeys(others, "no")


def test_what_another_place_said_comes_without_its_url() -> None:
    failures, places = Failures(), [f"https://example.com/{number}.aci" for number in range(4)]
    for place, told in zip(places, ["", ": no", ".asc: no", "/…: no"], strict=True):
        failures.add(place, ResourceNotFound(f"{place}{told}" if told else "it is another image"))
    assert failures.weightiest().facts == {
        "from": places[0],
        places[1]: "no",
        places[2]: ".asc: no",
        places[3]: "/…: no",
    }


def test_what_failed_on_the_network_weighs_more_than_what_is_not_there(
    publisher: Publisher, trusting: Operator
) -> None:
    publisher.page("https://one.test/{name}.{ext}", "https://two.test/{name}.{ext}")
    publisher.web.put("one.test", "index.html", b"nothing")
    with pytest.raises(NetworkError) as raised:
        trusting.fetch(WANTED)
    assert f"https://one.test/{NAME}.aci" in raised.value.facts


def test_nothing_anywhere_is_not_found(publisher: Publisher, trusting: Operator) -> None:
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, MIRROR)
    with pytest.raises(ResourceNotFound) as raised:
        trusting.fetch(WANTED)
    assert any(label.startswith("https://example.com/acis/") for label in raised.value.facts)


def test_a_failed_discovery_is_one_reason_among_others(publisher: Publisher, trusting: Operator) -> None:
    publisher.web.put("example.com", "index.html", b"nothing")
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, MIRROR)
    with pytest.raises((ResourceNotFound, EndpointNotFound)) as raised:
        trusting.fetch(WANTED)
    assert "no image was found" in str(raised.value.facts) + raised.value.message


def test_what_was_left_of_a_mirror_goes_when_the_image_has_come(
    publisher: Publisher, unsteady: Unsteady, trusting: Operator
) -> None:
    file, _ = unsteady.publish(app())
    file.cuts = [100] + [0] * 10
    on_mirror(publisher, served(app()))
    mirrored(trusting, unsteady.url().replace("app.aci", "app.{ext}"), MIRROR)
    assert trusting.fetch(WANTED).source.startswith("https://mirror.test/")
    assert trusting.partials() == []


def test_what_was_left_of_a_mirror_stays_when_all_fail(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.cuts = [100] + [0] * 10
    mirrored(trusting, unsteady.url().replace("app.aci", "app.{ext}"))
    with pytest.raises((TransferFailed, ServerFailed)):
        trusting.fetch(WANTED)
    assert trusting.partials() == [100]


def test_a_scheme_in_capitals_is_the_same(publisher: Publisher, trusting: Operator) -> None:
    publisher.page("HTTPS://example.com/acis/{name}-{version}.{ext}")
    url = publisher.publish(app())
    assert trusting.fetch(WANTED).source.lower() == url
    assert trusting.fetch(url.replace("https", "HTTPS")).name == NAME


def test_a_host_that_is_none_is_one_reason_among_others(publisher: Publisher, trusting: Operator) -> None:
    publisher.page("https://xn--/{name}.{ext}", "https://example.com/acis/{name}-{version}.{ext}")
    publisher.publish(app())
    assert trusting.fetch(WANTED).source.startswith("https://example.com/")


def test_labels_do_not_choose_the_path_at_a_mirror(publisher: Publisher, trusting: Operator) -> None:
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, "https://mirror.test/acis/{name}-{version}.{ext}")
    wanted = ImageName("example.com/app", {"version": "../../../api?delete=all#"})
    with pytest.raises((ResourceNotFound, EndpointNotFound)):
        Fetcher(trusting.store, trusting.trust, trusting.config).fetch(wanted)
    asked = [line.split(" ")[1] for line in publisher.web.log() if "mirror.test" in line]
    assert asked
    assert all(
        url.startswith("https://mirror.test/acis/example.com/app-..%2F..%2F..%2Fapi%3Fdelete") for url in asked
    )


def test_a_label_is_no_step_in_the_path_at_a_mirror(publisher: Publisher, trusting: Operator) -> None:
    publisher.web.put("mirror.test", "index.html", b"nothing")
    mirrored(trusting, "https://mirror.test/acis/{name}/{version}/app.{ext}")
    with pytest.raises((ResourceNotFound, EndpointNotFound)):
        Fetcher(trusting.store, trusting.trust, trusting.config).fetch(ImageName(NAME, {"version": ".."}))
    assert not any("mirror.test" in line for line in publisher.web.log())


def test_a_user_in_a_template_is_neither_sent_nor_kept(publisher: Publisher, trusting: Operator) -> None:
    publisher.page("https://somebody:secret@example.com/acis/{name}-{version}.{ext}")
    publisher.publish(app())
    fetched = trusting.fetch(WANTED)
    assert fetched.source == f"https://example.com/acis/{NAME}-1.0.aci"
    assert not any("secret" in text for text in trusting.said)


def test_of_many_places_that_break_off_one_leaves_something(unsteady: Unsteady, trusting: Operator) -> None:
    places = [unsteady.publish(app(extra=str(number)), f"{number}.aci")[0] for number in range(5)]
    for number, file in enumerate(places):
        file.cuts = [50 + number % 3 * 50] + [0] * 10
    mirrored(trusting, *[unsteady.url(f"{number}.{{ext}}") for number in range(5)])
    with pytest.raises(TransferFailed):
        trusting.fetch(WANTED)
    assert trusting.partials() == [150]


def test_a_place_that_has_failed_is_not_asked_twice(publisher: Publisher, trusting: Operator) -> None:
    mirrored(trusting, "https://example.com/acis/{name}-{version}.{ext}")
    with pytest.raises(ResourceNotFound):
        trusting.fetch(WANTED)
    assert sum(".asc" in line for line in publisher.web.log()) == 1


@pytest.mark.parametrize(
    ("arch", "told"),
    [
        ("arm64", f"acistore fetch {NAME}:1.0,arch=aarch64,os=linux  # appc's word for arm64"),
        ("x86_64", f"acistore fetch {NAME}:1.0,arch=amd64,os=linux  # appc's word for x86_64"),
        ("aarch64", "check name, version and labels"),
    ],
)
def test_who_asks_with_the_kernels_word_for_a_machine_is_told_that_of_appc(
    publisher: Publisher, trusting: Operator, arch: str, told: str
) -> None:
    publisher.page()
    with pytest.raises(ResourceNotFound) as raised:
        trusting.fetch(f"{NAME}:1.0,os=linux,arch={arch}")
    assert raised.value.next_step == told
