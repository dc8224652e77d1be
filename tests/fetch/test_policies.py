"""Policies: which keys count, how many have to have signed, what may come without a signature."""

from dataclasses import replace

import pytest

from acistore.config import Policy
from acistore.errors import (
    BadSignature,
    ImageMismatch,
    NoTrustedKey,
    ResourceNotFound,
    SignatureMissing,
    TooFewSigners,
    UntrustedSigner,
)
from tests.fetch.conftest import HOST, NAME, Operator, Publisher, app, served
from tests.gpg import SigningKey
from tests.ssh import SshSigningKey

IMAGE = f"acis/{NAME}-1.0.aci"


def publish(publisher: Publisher, *signatures: bytes) -> None:
    """The image with these signatures in one file, or with none."""
    publisher.web.put(HOST, IMAGE, served(app()))
    if signatures:
        publisher.web.put(HOST, f"{IMAGE}.asc", b"".join(signatures))


@pytest.fixture
def trusting(operator: Operator, release: SigningKey, other: SigningKey) -> Operator:
    """Who trusts two keys, for prefixes of different length."""
    operator.trusts(release, NAME)
    operator.trusts(other, HOST)
    return operator


def test_of_the_trusted_keys_only_those_of_the_policy_count(
    publisher: Publisher, trusting: Operator, release: SigningKey, other: SigningKey
) -> None:
    trusting.demands(keys=(release.fingerprint,))
    publish(publisher, other.sign(served(app())))
    with pytest.raises(UntrustedSigner) as refused:
        trusting.fetch()
    assert "the policy for this name does not take" in refused.value.message
    assert trusting.store.list() == []
    publish(publisher, other.sign(served(app())), release.sign(served(app())))
    [admission] = trusting.store.admissions(trusting.fetch().image)
    assert admission.fingerprint == release.fingerprint


def test_a_bad_signature_by_a_key_that_does_not_count_does_not_matter(
    publisher: Publisher, trusting: Operator, release: SigningKey, other: SigningKey
) -> None:
    publish(publisher, other.sign(b"something else"), release.sign(served(app())))
    with pytest.raises(BadSignature):
        trusting.fetch()
    trusting.demands(keys=(release.fingerprint,))
    trusting.fetch()


def test_a_policy_trusts_nobody(publisher: Publisher, operator: Operator, stranger: SigningKey) -> None:
    operator.demands(keys=(stranger.fingerprint,))
    publish(publisher, stranger.sign(served(app())))
    with pytest.raises(NoTrustedKey) as refused:
        operator.fetch()
    assert refused.value.next_step == (
        f"acistore trust add --prefix {NAME} --fingerprint {stranger.fingerprint.upper()}"
    )


def test_as_many_distinct_keys_have_to_have_signed_as_are_demanded(
    publisher: Publisher, trusting: Operator, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    trusting.demands(threshold=2)
    body = served(app())
    for signatures in (
        [release.sign(body)],
        [release.sign(body), release.sign(body, digest="SHA256")],
        [release.sign(body), stranger.sign(body)],
        [release.sign(body), other.sign(body, at="20210101T000000", expires="1d")],
        [release.sign(body), other.sign(body, digest="SHA1")],
    ):
        publish(publisher, *signatures)
        with pytest.raises(TooFewSigners) as refused:
            trusting.fetch()
        assert "signed by 1 of the 2 distinct keys" in refused.value.message
        assert trusting.store.list() == []
    publish(publisher, other.sign(body), stranger.sign(b""), release.sign(body))
    admissions = trusting.store.admissions(trusting.fetch().image)
    assert {each.fingerprint for each in admissions} == {release.fingerprint, other.fingerprint}
    assert {each.rule for each in admissions} == {NAME, HOST}
    assert len({each.signature_digest for each in admissions}) == 1


def test_too_few_claims_are_refused_before_the_download(
    publisher: Publisher, trusting: Operator, release: SigningKey
) -> None:
    trusting.demands(threshold=2)
    publish(publisher, release.sign(served(app())))
    with pytest.raises(TooFewSigners):
        trusting.fetch()
    assert not any(line.endswith(f"{IMAGE}") for line in publisher.web.log())


def test_signers_of_both_schemes_are_counted_together(
    publisher: Publisher, trusting: Operator, release: SigningKey, ssh_key: SshSigningKey
) -> None:
    trusting.demands(threshold=2)
    trusting.trusts(ssh_key)
    publish(publisher, release.sign(served(app())))
    with pytest.raises(TooFewSigners):
        trusting.fetch()
    publisher.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(served(app())))
    image = trusting.fetch().image
    assert {each.scheme for each in trusting.store.admissions(image)} == {"openpgp", "ssh"}
    assert trusting.fetch().reused
    trusting.trust.remove(ssh_key.fingerprint)
    with pytest.raises(TooFewSigners):
        trusting.fetch()
    with pytest.raises(TooFewSigners):
        trusting.fetch(pull_policy="never")


def test_what_is_in_the_store_is_judged_by_the_policy_of_today(
    publisher: Publisher, trusting: Operator, release: SigningKey, other: SigningKey
) -> None:
    publish(publisher, release.sign(served(app())))
    trusting.fetch()
    trusting.demands(keys=(other.fingerprint,))
    with pytest.raises(UntrustedSigner):
        trusting.fetch(pull_policy="never")
    with pytest.raises(UntrustedSigner):
        trusting.fetch(pull_policy="new")
    trusting.demands(threshold=2)
    with pytest.raises(TooFewSigners):
        trusting.fetch(pull_policy="never")
    publish(publisher, release.sign(served(app())), other.sign(served(app())))
    assert not trusting.fetch(pull_policy="new").reused
    assert trusting.fetch(pull_policy="never").reused


def test_the_policy_for_a_url_is_that_of_the_name_in_the_image(
    publisher: Publisher, trusting: Operator, release: SigningKey
) -> None:
    trusting.demands(threshold=2)
    publish(publisher, release.sign(served(app())))
    with pytest.raises(TooFewSigners):
        trusting.fetch(f"https://{HOST}/{IMAGE}")
    assert trusting.store.list() == []


# --- unsigned images


def test_an_unsigned_image_is_admitted_where_a_policy_allows_that(
    publisher: Publisher, operator: Operator
) -> None:
    publish(publisher)
    with pytest.raises(SignatureMissing):
        operator.fetch()
    operator.demands("example.com/other", allow_unsigned=True)
    with pytest.raises(SignatureMissing):
        operator.fetch()
    operator.demands(HOST, allow_unsigned=True)
    fetched = operator.fetch()
    [admission] = operator.store.admissions(fetched.image)
    assert (admission.verdict, admission.fingerprint, admission.insecure) == ("unsigned", None, ())
    assert operator.fetch(pull_policy="never").reused
    operator.demands(HOST)
    with pytest.raises(SignatureMissing):
        operator.fetch(pull_policy="never")


def test_what_has_a_signature_is_not_unsigned(
    publisher: Publisher, operator: Operator, release: SigningKey, stranger: SigningKey
) -> None:
    operator.demands(allow_unsigned=True)
    publish(publisher, stranger.sign(served(app())))
    with pytest.raises(NoTrustedKey):
        operator.fetch()
    operator.trusts(release)
    with pytest.raises(UntrustedSigner):
        operator.fetch()
    publish(publisher, release.sign(b"something else"))
    with pytest.raises(BadSignature):
        operator.fetch()
    publish(publisher, release.sign(served(app())))
    [admission] = operator.store.admissions(operator.fetch().image)
    assert admission.verdict == "verified"


def test_an_ssh_signature_is_looked_for_too_before_an_image_counts_as_unsigned(
    publisher: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    operator.demands(allow_unsigned=True)
    publish(publisher)
    publisher.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(b"something else"))
    with pytest.raises(NoTrustedKey):
        operator.fetch()
    operator.trusts(ssh_key)
    with pytest.raises(BadSignature):
        operator.fetch()


def test_an_unsigned_image_of_another_name_is_refused(publisher: Publisher, operator: Operator) -> None:
    operator.demands("example.com/free", allow_unsigned=True)
    publisher.web.put(HOST, "acis/example.com/free-1.0.aci", served(app()))
    with pytest.raises(ImageMismatch):
        operator.fetch("example.com/free:1.0")
    assert operator.store.list() == []


def test_a_url_is_never_allowed_to_be_unsigned(publisher: Publisher, operator: Operator) -> None:
    operator.demands(HOST, allow_unsigned=True)
    publish(publisher)
    with pytest.raises(SignatureMissing):
        operator.fetch(f"https://{HOST}/{IMAGE}")


def test_an_image_that_is_not_there_is_not_found_whatever_is_allowed(
    publisher: Publisher, operator: Operator
) -> None:
    operator.demands(HOST, allow_unsigned=True)
    with pytest.raises(ResourceNotFound):
        operator.fetch()


def test_the_longest_prefix_decides(publisher: Publisher, operator: Operator) -> None:
    publish(publisher)
    operator.demands("", allow_unsigned=True)
    operator.fetch()
    operator.config = replace(operator.config, policies=(Policy("", allow_unsigned=True), Policy(NAME)))
    operator.trust = operator.trust.open(operator.config)
    with pytest.raises(SignatureMissing):
        operator.fetch()
