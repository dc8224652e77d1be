"""Keys found for a name that nobody has said anything of: shown for review, or refused, never trusted silently."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from acistore.errors import AcistoreError, ConsentRefused, InsecureTransport, NoTrustedKey, UntrustedSigner
from acistore.keys import Offer
from tests.conftest import LONG_AGO
from tests.fetch.conftest import HOST, LABELS, NAME, Operator, Publisher, app
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.ssh import SshSigningKey


@dataclass
class Person:
    """Somebody at a terminal, who says yes or no to everything."""

    answer: bool
    shown: list[tuple[str, str, str]] = field(default_factory=list)

    def trust(self, offers: Sequence[Offer], prefix: str, layer: str) -> bool:
        self.shown += [(key.fingerprint, offer.source, prefix) for offer in offers for key in offer.keys]
        return self.answer


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    publisher.page(keys=f"https://{HOST}/keys.asc")
    publisher.web.put(HOST, "keys.asc", publisher.key.public())
    publisher.publish(app())
    return publisher


def test_nothing_is_looked_for_unless_a_policy_says_so(published: Publisher, operator: Operator) -> None:
    person = Person(True)
    with pytest.raises(NoTrustedKey):
        operator.fetch(confirm=person)
    assert person.shown == []
    assert not any("keys.asc" in line for line in published.web.log())


def test_a_person_reviews_what_was_found(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    person = Person(True)
    operator.fetch(confirm=person)
    assert person.shown == [(published.key.fingerprint, f"https://{HOST}/keys.asc", NAME)]
    [listed] = operator.trust.all_keys()
    assert listed.place.prefix == NAME
    assert listed.origin
    assert listed.origin.source == f"https://{HOST}/keys.asc"
    operator.fetch(confirm=person)
    assert len(person.shown) == 1


def test_whoever_says_no_gets_nothing(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    with pytest.raises(ConsentRefused):
        operator.fetch(confirm=Person(False))
    assert operator.trust.all_keys() == ()
    assert operator.store.list() == []


def test_where_nobody_can_be_asked_the_command_is_told(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    with pytest.raises(NoTrustedKey) as refused:
        operator.fetch()
    fingerprint = published.key.fingerprint.upper()
    assert refused.value.next_step == f"acistore trust add --prefix {NAME} --fingerprint {fingerprint}"
    assert "Release <release@example.com>" in refused.value.facts.values()
    assert operator.trust.all_keys() == ()


def test_several_keys_bundles_and_schemes_are_reviewed_together(
    published: Publisher, operator: Operator, other: SigningKey, stranger: SigningKey, ssh_key: SshSigningKey
) -> None:
    operator.demands(HOST, discover_keys=True)
    bundle = published.key.public() + other.public() + published.key.public()
    published.web.put(HOST, "keys.asc", bundle)
    published.web.put(HOST, "more.asc", stranger.public(armored=False))
    published.web.put(HOST, "key.pub", ssh_key.public())
    page = "".join(
        f'<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/{path}">'
        for path in ("keys.asc", "more.asc", "key.pub", "keys.asc")
    )
    template = f'<meta name="ac-discovery" content="{HOST} https://{HOST}/acis/{{name}}-{{version}}.{{ext}}">'
    published.web.put(HOST, "index.html", (template + page).encode())
    person = Person(True)
    operator.fetch(confirm=person)
    found = [fingerprint for fingerprint, _, _ in person.shown]
    keys = (published.key, other, stranger, ssh_key)
    assert sorted(found) == sorted(key.fingerprint for key in keys)
    assert len(operator.trust.all_keys()) == 4


def test_of_what_is_found_only_what_the_policy_takes_is_offered(
    published: Publisher, operator: Operator, other: SigningKey
) -> None:
    published.web.put(HOST, "keys.asc", published.key.public() + other.public())
    operator.demands(HOST, discover_keys=True, keys=(published.key.fingerprint,))
    person = Person(True)
    operator.fetch(confirm=person)
    assert [fingerprint for fingerprint, _, _ in person.shown] == [published.key.fingerprint]


def test_a_masked_key_is_not_offered(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    mask = operator.config.local_config / "trustedkeys" / "root.d" / published.key.fingerprint
    mask.parent.mkdir(parents=True)
    mask.touch()
    person = Person(True)
    with pytest.raises(NoTrustedKey):
        operator.fetch(confirm=person)
    assert person.shown == []


def test_a_key_that_has_not_signed_the_image_is_of_no_use(
    published: Publisher, operator: Operator, stranger: SigningKey
) -> None:
    operator.demands(HOST, discover_keys=True)
    published.publish(app(), key=stranger)
    with pytest.raises(UntrustedSigner):
        operator.fetch(confirm=Person(True))
    assert operator.store.list() == []


def test_nobody_is_asked_about_a_dependency(published: Publisher, operator: Operator) -> None:
    operator.trusts(published.key, "example.com/top")
    operator.demands(HOST, discover_keys=True)
    labels = [{"name": "version", "value": "1.0"}]
    top = image("example.com/top", labels=LABELS, dependencies=[{"imageName": NAME, "labels": labels}])
    published.publish(top, name="example.com/top")
    person = Person(True)
    with pytest.raises(NoTrustedKey):
        operator.fetch("example.com/top:1.0", confirm=person)
    assert person.shown == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://example.com/keys.asc", InsecureTransport),
        ("file:///etc/passwd", NoTrustedKey),
        ("ftp://example.com/keys.asc", NoTrustedKey),
    ],
)
def test_keys_come_over_https_only(
    published: Publisher, operator: Operator, url: str, error: type[AcistoreError]
) -> None:
    operator.demands(HOST, discover_keys=True)
    published.page(keys=url)
    person = Person(True)
    with pytest.raises(error):
        operator.fetch(confirm=person)
    assert person.shown == []
    assert operator.trust.all_keys() == ()


def test_a_page_without_keys_leaves_the_name_untrusted(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    published.page()
    with pytest.raises(NoTrustedKey, match="and none was found") as refused:
        operator.fetch(confirm=Person(True))
    assert refused.value.next_step == f"acistore trust add --prefix {NAME} KEYFILE"


def test_a_key_that_can_sign_no_more_is_left_out_and_the_others_are_offered(
    published: Publisher, operator: Operator, maker: KeyMaker
) -> None:
    worn_out = maker.key("Worn out <old@example.com>", usage="cert", at=LONG_AGO)
    worn_out.add_subkey(at=LONG_AGO, expires="1y")
    published.web.put(HOST, "keys.asc", worn_out.public() + published.key.public())
    operator.demands(HOST, discover_keys=True)
    person = Person(True)
    operator.fetch(confirm=person)
    assert [fingerprint for fingerprint, _, _ in person.shown] == [published.key.fingerprint]


def test_of_the_keys_of_a_page_only_so_many_are_asked_for(published: Publisher, operator: Operator) -> None:
    operator.demands(HOST, discover_keys=True)
    paths = [f"k{number}.asc" for number in range(50)]
    tags = [f'<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/{path}">' for path in paths]
    published.web.put(HOST, "index.html", "".join(tags).encode())
    for path in paths:
        published.web.put(HOST, path, published.key.public())
    person = Person(False)
    with pytest.raises(ConsentRefused):
        operator.fetch(confirm=person)
    assert len(person.shown) == 1
    asked = [line for line in published.web.log() if "/k" in line]
    assert len(asked) == operator.config.limits.endpoints
