"""What is let in, what is refused, and what is not even downloaded."""

import os
from pathlib import Path

import pytest

from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    BadSignature,
    EndpointNotFound,
    ImageMismatch,
    InsecureTransport,
    LimitExceeded,
    MalformedSignature,
    NetworkError,
    NoTrustedKey,
    ResourceNotFound,
    SignatureMissing,
    UntrustedSigner,
    UsageError,
)
from tests.fetch.conftest import HOST, NAME, Operator, Publisher, app, served
from tests.gpg import SigningKey
from tests.images import image
from tests.store.conftest import exported, files_in


def nothing_is_stored(operator: Operator) -> bool:
    return operator.store.list() == [] and files_in(operator.config.dir) == []


def images_asked_for(publisher: Publisher) -> list[str]:
    return [line for line in publisher.web.log() if line.startswith("GET ") and ".aci " in line]


def test_a_signed_image_is_found_by_name_verified_and_stored(publisher: Publisher, operator: Operator) -> None:
    url = publisher.publish(app())
    operator.trusts(publisher.key)
    fetched = operator.fetch()
    assert (fetched.source, fetched.reused, fetched.size) == (url, False, len(app()))
    assert fetched.bytes_downloaded == len(served(app()))
    assert exported(operator.store, fetched.image) == app()
    [admission] = operator.store.admissions(fetched.image)
    assert (admission.fingerprint, admission.rule, admission.url) == (publisher.key.fingerprint, NAME, url)
    assert (admission.signer, admission.insecure) == ("Release <release@example.com>", ())
    assert publisher.web.log() == [
        "GET https://example.com/app?ac-discovery=1 404",
        "GET https://example.com/?ac-discovery=1 200",
        "GET https://example.com/acis/example.com/app-1.0.aci.asc 200",
        "GET https://example.com/acis/example.com/app-1.0.aci 200",
    ]
    assert len(files_in(operator.config.dir)) == 1


def test_nothing_but_the_signature_is_downloaded_when_no_key_is_trusted(
    publisher: Publisher, operator: Operator
) -> None:
    publisher.publish(app())
    with pytest.raises(NoTrustedKey):
        operator.fetch()
    assert images_asked_for(publisher) == []
    assert nothing_is_stored(operator)


def test_nothing_but_the_signature_is_downloaded_when_a_stranger_signed(
    publisher: Publisher, operator: Operator, stranger: SigningKey
) -> None:
    publisher.publish(app(), key=stranger)
    operator.trusts(publisher.key)
    with pytest.raises(UntrustedSigner) as refused:
        operator.fetch()
    assert stranger.fingerprint.upper()[:4] in refused.value.facts["signed by"]
    assert images_asked_for(publisher) == []


@pytest.mark.parametrize("prefix", ["example.com/other", "example.com/ap", "example.com/app/below"])
def test_a_key_for_another_prefix_does_not_count(publisher: Publisher, operator: Operator, prefix: str) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key, prefix)
    with pytest.raises(NoTrustedKey):
        operator.fetch()


@pytest.mark.parametrize("prefix", [None, "example.com", NAME])
def test_a_root_key_or_one_for_a_parent_counts(
    publisher: Publisher, operator: Operator, prefix: str | None
) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key, prefix)
    assert operator.store.admissions(operator.fetch().image)[0].rule == (prefix or "root")


def test_a_tampered_image_is_refused(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci", served(app(channel="evil")))
    operator.trusts(publisher.key)
    with pytest.raises(BadSignature) as raised:
        operator.fetch()
    assert raised.value.next_step == "fetch it again; if it stays so, tell its publisher"
    assert nothing_is_stored(operator)


def test_a_tampered_signature_is_refused(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key)
    signature = bytearray(publisher.key.sign(served(app()), armored=False))
    signature[-1] ^= 1
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", bytes(signature))
    with pytest.raises((BadSignature, MalformedSignature)):
        operator.fetch()
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", b"<html>not here</html>")
    with pytest.raises(MalformedSignature):
        operator.fetch()
    assert nothing_is_stored(operator)


def test_an_image_without_a_signature_is_not_trusted(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    publisher.web.remove(HOST, f"acis/{NAME}-1.0.aci.asc")
    operator.trusts(publisher.key)
    with pytest.raises(SignatureMissing) as refused:
        operator.fetch()
    assert refused.value.exit_code == 4
    assert images_asked_for(publisher) == []


def test_the_signature_of_another_version_does_not_do(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app(version="2.0"), version="2.0")
    other = publisher.key.sign(served(app()))
    publisher.web.put(HOST, f"acis/{NAME}-2.0.aci.asc", other)
    operator.trusts(publisher.key)
    with pytest.raises(BadSignature):
        operator.fetch(f"{NAME}:2.0")


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (image("example.com/app2", labels={"version": "1.0", "os": "linux", "arch": "amd64"}), "name"),
        (app(version="0.9"), "version"),
        (app(arch="aarch64"), "arch"),
        (app(os="freebsd"), "os"),
        (image(NAME, labels={"version": "1.0", "os": "linux"}), "arch"),
    ],
    ids=["wrong name", "wrong version", "wrong label", "another os", "label missing"],
)
def test_a_validly_signed_image_that_is_another_one_is_refused(
    publisher: Publisher, operator: Operator, archive: bytes, reason: str
) -> None:
    publisher.publish(archive)
    operator.trusts(publisher.key, "example.com")
    with pytest.raises(ImageMismatch, match=reason):
        operator.fetch(f"{NAME}:1.0,arch=amd64,os=linux")
    assert nothing_is_stored(operator)


def test_a_broken_archive_is_refused_although_it_is_signed(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app()[:3000])
    operator.trusts(publisher.key)
    with pytest.raises(ArchiveRefused, match="truncated"):
        operator.fetch()
    assert nothing_is_stored(operator)


def test_a_redirect_to_plain_http_is_refused(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key)
    publisher.page(f"http://{HOST}/acis/{{name}}-{{version}}.{{ext}}")
    with pytest.raises(InsecureTransport):
        operator.fetch()
    with pytest.raises(InsecureTransport):
        operator.fetch(f"http://{HOST}/acis/{NAME}-1.0.aci")
    assert images_asked_for(publisher) == []


def test_endpoints_of_other_schemes_are_skipped(publisher: Publisher, operator: Operator) -> None:
    publisher.page(f"hdfs://{HOST}/{{name}}.{{ext}}", f"https://{HOST}/acis/{{name}}-{{version}}.{{ext}}")
    publisher.publish(app())
    operator.trusts(publisher.key)
    assert operator.fetch().source.startswith("https://")


def test_every_endpoint_is_tried_and_trust_is_reported_first(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key)
    good = f"https://{HOST}/acis/{{name}}-{{version}}.{{ext}}"
    unsigned = f"https://{HOST}/unsigned/{{name}}-{{version}}.{{ext}}"
    publisher.web.put(HOST, f"unsigned/{NAME}-1.0.aci", served(app()))
    publisher.page(unsigned, f"https://down.{HOST}/{{name}}.{{ext}}", good)
    assert operator.fetch().source.endswith(f"/acis/{NAME}-1.0.aci")
    publisher.page(f"https://down.{HOST}/{{name}}.{{ext}}", unsigned)
    with pytest.raises(SignatureMissing) as refused:
        operator.fetch(pull_policy="update", no_cache=True)
    assert any("down.example.com" in fact for fact in refused.value.facts)


def test_a_name_that_nobody_publishes_is_not_found(publisher: Publisher, operator: Operator) -> None:
    publisher.web.put("example.org", "index.html", b"<html>nothing here</html>")
    with pytest.raises(EndpointNotFound) as missing:
        operator.fetch("example.org/app")
    assert missing.value.exit_code == 3


def test_a_host_that_nobody_has_is_a_network_failure(publisher: Publisher, operator: Operator) -> None:
    with pytest.raises(NetworkError):
        operator.fetch("nobody.invalid/app")


def test_a_version_that_was_never_published_is_not_found(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key)
    for wanted in (f"{NAME}:9.9", f"https://{HOST}/acis/nothing.aci"):
        with pytest.raises(ResourceNotFound, match="neither the image nor its signature") as missing:
            operator.fetch(wanted)
        assert missing.value.exit_code == 3
    assert [line for line in publisher.web.log() if line.startswith("GET") and ".aci " in line] == []


def test_a_missing_file_is_not_found(operator: Operator, tmp_path: Path) -> None:
    with pytest.raises(ResourceNotFound, match="there is no file"):
        operator.fetch(str(tmp_path / "nothing.aci"))
    (tmp_path / "app.aci").write_bytes(app())
    with pytest.raises(ResourceNotFound, match="there is no signature"):
        operator.fetch(str(tmp_path / "app.aci"), signature=str(tmp_path / "nothing.asc"))


def test_an_image_id_can_not_be_fetched(operator: Operator) -> None:
    with pytest.raises(UsageError, match="by name"):
        operator.fetch(f"sha512-{'ab' * 64}")


def test_errors_say_which_image_they_are_about(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(b"no archive")
    operator.trusts(publisher.key)
    with pytest.raises(ArchiveRefused) as refused:
        operator.fetch()
    assert refused.value.facts["image"].startswith(f"{NAME}:1.0")


def test_an_image_that_is_gone_is_not_found(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    publisher.web.remove(HOST, f"acis/{NAME}-1.0.aci")
    operator.trusts(publisher.key)
    with pytest.raises(ResourceNotFound):
        operator.fetch()


# --- URLs and files


def test_an_image_by_url_needs_a_signer_trusted_for_its_own_name(
    publisher: Publisher, operator: Operator, stranger: SigningKey
) -> None:
    url = publisher.publish(app(), key=stranger)
    with pytest.raises(NoTrustedKey):
        operator.fetch(url)
    operator.trusts(stranger, "example.org")
    with pytest.raises((UntrustedSigner, NoTrustedKey)):
        operator.fetch(url)
    assert nothing_is_stored(operator)
    operator.trusts(stranger)
    assert operator.fetch(url).name == NAME


def test_an_image_from_a_file_goes_the_same_way(publisher: Publisher, operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "app.aci"
    path.write_bytes(served(app()))
    with pytest.raises(SignatureMissing):
        operator.fetch(str(path))
    signature = tmp_path / "elsewhere.asc"
    signature.write_bytes(publisher.key.sign(path.read_bytes()))
    with pytest.raises(NoTrustedKey):
        operator.fetch(str(path), signature=str(signature))
    operator.trusts(publisher.key)
    fetched = operator.fetch(f"file://{path}", signature=str(signature))
    assert (fetched.source, fetched.bytes_downloaded) == (str(path), 0)
    assert path.exists()
    path.write_bytes(served(app(channel="evil")))
    with pytest.raises(BadSignature):
        operator.fetch(str(path), signature=str(signature))


def test_a_signature_may_be_given_for_a_name(publisher: Publisher, operator: Operator, tmp_path: Path) -> None:
    publisher.publish(app())
    publisher.web.remove(HOST, f"acis/{NAME}-1.0.aci.asc")
    operator.trusts(publisher.key)
    signature = tmp_path / "app.asc"
    signature.write_bytes(publisher.key.sign(served(app())))
    assert operator.fetch(signature=str(signature)).name == NAME


def test_a_signature_as_large_as_a_disk_is_refused(publisher: Publisher, operator: Operator) -> None:
    publisher.publish(app())
    operator.trusts(publisher.key)
    publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", bytes(2 << 20))
    with pytest.raises(LimitExceeded):
        operator.fetch()


# --- what is switched off


def test_without_image_verification_an_unsigned_image_is_let_in_and_recorded_so(
    publisher: Publisher, operator: Operator
) -> None:
    publisher.publish(app())
    publisher.web.remove(HOST, f"acis/{NAME}-1.0.aci.asc")
    fetched = operator.fetch(insecure={"image"})
    [admission] = operator.store.admissions(fetched.image)
    assert (admission.verdict, admission.fingerprint, admission.insecure) == ("unverified", None, ("image",))


def test_an_image_let_in_unverified_is_not_taken_for_a_verified_one(
    publisher: Publisher, operator: Operator
) -> None:
    publisher.publish(app())
    operator.fetch(insecure={"image"})
    with pytest.raises(SignatureMissing):
        operator.fetch(pull_policy="never")
    with pytest.raises(NoTrustedKey):
        operator.fetch(pull_policy="new")
    operator.trusts(publisher.key)
    assert not operator.fetch(pull_policy="new").reused
    assert operator.fetch(pull_policy="never").reused


def test_plain_http_is_used_when_it_is_allowed_and_the_signature_still_counts(
    publisher: Publisher, operator: Operator, stranger: SigningKey
) -> None:
    publisher.publish(app(), key=stranger)
    operator.trusts(publisher.key)
    publisher.page(f"http://{HOST}/acis/{{name}}-{{version}}.{{ext}}")
    with pytest.raises(UntrustedSigner):
        operator.fetch(insecure={"http"})
    publisher.publish(app())
    assert operator.fetch(insecure={"http"}).source.startswith("http://")


def test_keys_are_only_trusted_from_discovery_when_that_is_said(
    publisher: Publisher, operator: Operator, stranger: SigningKey
) -> None:
    publisher.page(keys=f"https://{HOST}/keys.asc")
    publisher.web.put(HOST, "keys.asc", publisher.key.public())
    publisher.publish(app())
    with pytest.raises(NoTrustedKey):
        operator.fetch()
    assert operator.fetch(trust_keys_from_https=True).name == NAME
    publisher.web.put(HOST, "keys.asc", stranger.public())
    publisher.publish(app(), key=stranger)
    with pytest.raises(UntrustedSigner):
        operator.fetch(trust_keys_from_https=True, no_cache=True)


def test_a_file_whose_name_is_not_text_can_be_fetched(
    publisher: Publisher, operator: Operator, tmp_path: Path
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/app-\xff.aci"))
    path.write_bytes(served(app()))
    path.with_name(path.name + ".asc").write_bytes(publisher.key.sign(path.read_bytes()))
    operator.trusts(publisher.key)
    assert operator.fetch(str(path)).source.endswith("app-\\xff.aci")


@pytest.mark.parametrize("url", ["https://[::1", "https://", "https://example.com:99999/a", "file://[::1"])
def test_what_is_no_url_is_told_so(operator: Operator, url: str) -> None:
    with pytest.raises(AcistoreError):
        operator.fetch(url)
