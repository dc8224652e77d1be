"""SSH signatures: the same rules as for OpenPGP, and no gpg."""

from pathlib import Path

import pytest

from acistore.errors import (
    BadSignature,
    MalformedSignature,
    NoTrustedKey,
    SignatureMissing,
    UntrustedSigner,
    WeakSignature,
)
from tests.fetch.conftest import HOST, NAME, Operator, Publisher, app, served
from tests.gpg import SigningKey
from tests.ssh import SecurityKey, SshKeyMaker, SshSigningKey

IMAGE = f"acis/{NAME}-1.0.aci"
URL = f"https://{HOST}/{IMAGE}"


@pytest.fixture
def published(publisher: Publisher, ssh_key: SshSigningKey) -> Publisher:
    """An image with an SSH signature and no other."""
    publisher.web.put(HOST, IMAGE, served(app()))
    publisher.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(served(app())))
    return publisher


@pytest.fixture
def without_gpg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that gpg is not installed on."""
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


def test_an_image_is_fetched_by_name_and_url_without_gpg(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey, without_gpg: None
) -> None:
    operator.trusts(ssh_key)
    fetched = operator.fetch()
    [admission] = operator.store.admissions(fetched.image)
    assert (admission.verdict, admission.scheme, admission.rule) == ("verified", "ssh", NAME)
    assert admission.signer == "release@example.com"
    assert admission.signed_at is None
    assert operator.fetch().reused
    assert operator.fetch(URL).id == fetched.id
    assert operator.fetch(pull_policy="never").reused


def test_the_record_names_the_key_and_the_signature(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    operator.trusts(ssh_key)
    [admission] = operator.store.admissions(operator.fetch().image)
    assert admission.fingerprint == admission.signing_fingerprint == ssh_key.fingerprint
    assert admission.signature_digest is not None


def test_a_file_with_its_signature_beside_it(
    operator: Operator, ssh_key: SshSigningKey, release: SigningKey, tmp_path: Path
) -> None:
    path = tmp_path / "app.aci"
    path.write_bytes(app())
    operator.trusts(ssh_key)
    with pytest.raises(SignatureMissing):
        operator.fetch(str(path))
    (tmp_path / "app.aci.sig").write_bytes(ssh_key.sign(app()))
    operator.fetch(str(path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(ssh_key.sign(app(), hashalg="sha256"))
    operator.fetch(str(path), signature=str(elsewhere))
    operator.trusts(release)
    (tmp_path / "app.aci.asc").write_bytes(release.sign(b"something else"))
    with pytest.raises(BadSignature):  # two kinds of keys are trusted, and both signatures asked for
        operator.fetch(str(path))


def test_only_the_schemes_of_trusted_keys_are_asked_for(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey, release: SigningKey
) -> None:
    operator.trusts(ssh_key)
    operator.fetch()
    assert not [line for line in published.web.log() if line.endswith(".asc")]
    operator.trust.remove(ssh_key.fingerprint)
    operator.trusts(release)
    with pytest.raises(SignatureMissing) as refused:
        operator.fetch(pull_policy="new")
    assert refused.value.facts["looked for"].startswith(f"{URL}.asc answered 404")


def test_without_a_key_whoever_has_signed_is_told(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    with pytest.raises(NoTrustedKey) as refused:
        operator.fetch()
    assert refused.value.facts["signed by"].startswith("SHA256:")
    assert refused.value.next_step == (
        f"acistore trust add --prefix {NAME} --fingerprint {refused.value.facts['signed by']}"
    )
    assert operator.store.list() == []


def test_a_stranger_and_an_altered_image_are_refused(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey, ssh_maker: SshKeyMaker
) -> None:
    operator.trusts(ssh_maker.key())
    with pytest.raises(UntrustedSigner):
        operator.fetch()
    operator.trusts(ssh_key, HOST)
    published.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(b"something else"))
    with pytest.raises(BadSignature):
        operator.fetch()
    assert operator.store.list() == []


def test_a_signature_for_something_else_is_none(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    """Or a signed commit or mail could be passed off as an image."""
    operator.trusts(ssh_key)
    published.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(served(app()), namespace="git"))
    with pytest.raises(MalformedSignature, match="git"):
        operator.fetch()


def test_several_in_one_file(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey, ssh_maker: SshKeyMaker
) -> None:
    second = ssh_maker.key("ecdsa", 256, comment="second@example.com")
    for key in (ssh_key, second):
        operator.trusts(key)
    operator.demands(threshold=2)
    body = served(app())
    published.web.put(HOST, f"{IMAGE}.sig", ssh_key.sign(body) + second.sign(body))
    admissions = operator.store.admissions(operator.fetch().image)
    assert {each.signer for each in admissions} == {"release@example.com", "second@example.com"}


def test_a_security_key_has_to_have_been_touched(published: Publisher, operator: Operator) -> None:
    key = SecurityKey()
    operator.trust.add(key.public(), prefix=NAME, source="test", layer="local")
    published.web.put(HOST, f"{IMAGE}.sig", key.sign(served(app()), flags=0))
    with pytest.raises(WeakSignature, match="nobody has touched"):
        operator.fetch()
    published.web.put(HOST, f"{IMAGE}.sig", key.sign(served(app())))
    operator.fetch()


def test_a_short_rsa_key_is_refused(published: Publisher, operator: Operator, ssh_maker: SshKeyMaker) -> None:
    short = ssh_maker.key("rsa", 1024)
    operator.trusts(short)
    published.web.put(HOST, f"{IMAGE}.sig", short.sign(served(app())))
    with pytest.raises(WeakSignature):
        operator.fetch()


def test_an_unchanged_signature_costs_a_304(
    published: Publisher, operator: Operator, ssh_key: SshSigningKey
) -> None:
    operator.trusts(ssh_key)
    operator.fetch()
    before = published.web.bytes_sent()
    assert operator.fetch().reused
    assert published.web.bytes_sent() - before < len(served(app()))
