"""What is not downloaded again, and what is all the same."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from acistore.errors import ImageNotFound, RevokedKey, UntrustedSigner
from acistore.fetch import Fetched
from acistore.trust.today import Today
from tests.conftest import LONG_AGO
from tests.fetch.conftest import HOST, LABELS, NAME, Operator, Publisher, app, served
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.web import RawServer, answering


@pytest.fixture
def trusting(trusting: Operator, publisher: Publisher) -> Operator:
    publisher.publish(app())
    return trusting


def asked(publisher: Publisher, what: str) -> list[str]:
    return [line for line in publisher.web.log() if f"{what} " in line]


def test_an_unchanged_image_costs_one_304(publisher: Publisher, trusting: Operator) -> None:
    first = trusting.fetch()
    again = trusting.fetch()
    assert (again.reused, again.bytes_downloaded, again.id) == (True, 0, first.id)
    assert [line.split()[-1] for line in asked(publisher, ".aci")] == ["200", "304"]
    assert trusting.fetch(no_cache=True).bytes_downloaded > 0


def test_a_changed_image_is_fetched(publisher: Publisher, trusting: Operator) -> None:
    first = trusting.fetch()
    publisher.publish(app(channel="new"))
    second = trusting.fetch()
    assert not second.reused
    assert second.id != first.id


def test_a_signature_that_changed_while_the_image_did_not_is_noticed(
    publisher: Publisher, trusting: Operator, stranger: SigningKey
) -> None:
    trusting.fetch()
    body = served(app())
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", stranger.sign(body))
    with pytest.raises(UntrustedSigner):
        trusting.fetch()
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", publisher.key.sign(body, at="20210101T000000"))
    assert not trusting.fetch().reused
    assert trusting.fetch().reused


def test_what_a_key_admitted_is_not_reused_when_the_key_is_gone(
    publisher: Publisher, trusting: Operator, stranger: SigningKey
) -> None:
    trusting.fetch()
    trusting.trust.remove(publisher.key.fingerprint)
    trusting.trusts(stranger)
    for policy in ("update", "new", "never"):
        with pytest.raises(UntrustedSigner):
            trusting.fetch(pull_policy=policy)


def test_pull_policy_new_asks_nothing_for_what_is_there(publisher: Publisher, trusting: Operator) -> None:
    trusting.fetch(pull_policy="new")
    before = publisher.web.log()
    assert trusting.fetch(pull_policy="new").reused
    assert publisher.web.log() == before


def test_pull_policy_never_stays_off_the_network(publisher: Publisher, trusting: Operator) -> None:
    with pytest.raises(ImageNotFound):
        trusting.fetch(pull_policy="never")
    assert publisher.web.log() == []
    fetched = trusting.fetch()
    before = publisher.web.log()
    assert trusting.fetch(pull_policy="never").id == fetched.id
    assert trusting.fetch(fetched.source, pull_policy="never").id == fetched.id
    assert publisher.web.log() == before


def test_what_the_server_calls_fresh_is_not_asked_for(
    publisher: Publisher, trusting: Operator, authority: trustme.CA
) -> None:
    body = served(app())
    publisher.page(f"https://cache.{HOST}/{{version}}.{{ext}}")
    signature = publisher.key.sign(body)
    requests: list[bytes] = []
    header = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    def serve(connection: object, head: bytes) -> None:
        requests.append(head)
        answer = signature if b".asc" in head.split(b"\r\n")[0] else body
        answering(header % len(answer), answer)(connection, head)  # type: ignore[arg-type]

    with RawServer(serve, authority.issue_cert(f"cache.{HOST}")) as server:
        publisher.web.take_over(f"cache.{HOST}", server)
        assert not trusting.fetch().reused
        before = (len(requests), publisher.web.log())
        assert trusting.fetch().reused
        assert (len(requests), publisher.web.log()) == before
        assert not trusting.fetch(no_cache=True).reused


def test_asking_without_a_version_makes_the_answer_the_latest(publisher: Publisher, trusting: Operator) -> None:
    publisher.publish(app(version="2.0"), version="latest")
    trusting.fetch()
    latest = trusting.fetch(NAME)
    assert (latest.labels["version"], latest.image.latest) == ("2.0", True)
    assert trusting.store.get(NAME).id == latest.id
    assert trusting.fetch(NAME, pull_policy="new").id == latest.id


def test_two_fetches_of_one_image_download_it_once(publisher: Publisher, trusting: Operator) -> None:
    results: list[Fetched] = []
    threads = [threading.Thread(target=lambda: results.append(trusting.fetch())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({fetched.id for fetched in results}) == 1
    assert len([line for line in asked(publisher, ".aci") if line.endswith("200")]) == 1
    assert sorted(fetched.reused for fetched in results) == [False, True, True]
    assert any("waiting for another fetch" in text for text in trusting.said)


@pytest.mark.parametrize("policy", ["update", "new", "never"])
def test_what_a_revoked_subkey_signed_is_not_reused(
    publisher: Publisher, operator: Operator, maker: KeyMaker, policy: str
) -> None:
    key = maker.key(f"Subkey {policy} <subkey@example.com>", usage="cert", at=LONG_AGO)
    key.add_subkey(at=LONG_AGO)
    publisher.publish(app(), key=key)
    operator.trusts(key)
    operator.fetch()
    assert operator.fetch(pull_policy=policy).reused
    key.revoke_subkey()
    operator.trusts(key)
    with pytest.raises((RevokedKey, UntrustedSigner)):
        operator.fetch(pull_policy=policy)


def test_an_expired_signature_does_not_admit_what_it_admitted_once(trusting: Operator) -> None:
    fetched = trusting.fetch()
    [admission] = trusting.store.admissions(fetched.image)
    assert admission.fingerprint is not None
    now = datetime.now(UTC)
    for expires_at, sound in ((None, True), (now + timedelta(1), True), (now - timedelta(1), False)):
        past = replace(admission, signature_expires_at=expires_at)
        assert (Today(trusting.trust, now).refusal("app", NAME, [past]) is None) is sound


def test_the_expiry_of_a_signature_is_recorded(publisher: Publisher, trusting: Operator) -> None:
    body = served(app())
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", publisher.key.sign(body, expires="2d"))
    [admission] = trusting.store.admissions(trusting.fetch().image)
    assert admission.signature_expires_at is not None
    assert timedelta(1) < admission.signature_expires_at - datetime.now(UTC) < timedelta(3)


def test_an_unverified_image_does_not_hide_a_verified_one(publisher: Publisher, trusting: Operator) -> None:
    verified = trusting.fetch()
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci", served(image(NAME, {"other": b"x"}, labels=LABELS)))
    assert trusting.fetch(insecure={"image"}).id != verified.id
    for policy in ("new", "never"):
        assert trusting.fetch(pull_policy=policy).id == verified.id
