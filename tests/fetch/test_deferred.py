"""Signatures that are put off (202 Accepted) until the image was fetched."""

import pytest

from acistore.errors import ServerFailed, SignatureMissing, UntrustedSigner
from tests.fetch.conftest import LARGE, Operator, Unsteady, app
from tests.fileserver import File
from tests.gpg import SigningKey
from tests.ssh import SshSigningKey

DEFERRED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_a_deferred_signature_is_asked_for_again_after_the_image(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(app())
    signature.instead = [DEFERRED]
    fetched = trusting.fetch(unsteady.url())
    [admission] = trusting.store.admissions(fetched.image)
    assert (admission.verdict, admission.fingerprint) == ("verified", unsteady.key.fingerprint)
    assert len(file.heads) == 1
    assert len(signature.heads) == 2


def test_a_deferred_signature_may_take_a_while(unsteady: Unsteady, trusting: Operator) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [DEFERRED] * 4
    trusting.fetch(unsteady.url())
    assert len(signature.heads) == 5


def test_a_signature_that_is_deferred_for_ever_is_missing(unsteady: Unsteady, trusting: Operator) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [DEFERRED] * 100
    with pytest.raises(SignatureMissing) as raised:
        trusting.fetch(unsteady.url())
    assert "again and again" in raised.value.facts["looked for"]
    assert "again later" in str(raised.value.next_step)
    assert len(signature.heads) == 1 + 1 + trusting.config.limits.retries
    assert (trusting.partials(), trusting.store.list()) == ([], [])


def test_a_deferred_signature_is_judged_as_any_other(
    unsteady: Unsteady, trusting: Operator, stranger: SigningKey
) -> None:
    _, signature = unsteady.publish(app(), key=stranger)
    signature.instead = [DEFERRED]
    with pytest.raises(UntrustedSigner):
        trusting.fetch(unsteady.url())
    assert (trusting.partials(), trusting.store.list()) == ([], [])


def test_a_deferred_signature_and_a_download_in_pieces(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(LARGE)
    signature.instead = [DEFERRED]
    file.cuts = [1000, 2000]
    trusting.fetch(unsteady.url())
    assert file.sent == len(file.body)


def test_a_server_that_says_how_long_it_takes_is_given_so_long(unsteady: Unsteady, trusting: Operator) -> None:
    """No longer than what a server may ask for, though."""
    _, signature = unsteady.publish(app())
    signature.instead = [DEFERRED, DEFERRED.replace(b"Length: 0", b"Length: 0\r\nRetry-After: 86400")]
    with pytest.raises(SignatureMissing):
        trusting.fetch(unsteady.url())
    assert len(signature.heads) == 2


def test_of_signatures_that_are_put_off_one_is_enough(
    unsteady: Unsteady, trusting: Operator, ssh_key: SshSigningKey
) -> None:
    _, signature = unsteady.publish(app())
    signature.instead = [DEFERRED] * 2
    unsteady.site.put("app.aci.sig", File(b"", instead=[DEFERRED] * 100))
    trusting.trusts(ssh_key)
    [admission] = trusting.store.admissions(trusting.fetch(unsteady.url()).image)
    assert admission.scheme == "openpgp"


def test_an_image_is_no_signature_that_is_put_off(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.instead = [DEFERRED]
    with pytest.raises(ServerFailed, match="202 Accepted, which was not asked for"):
        trusting.fetch(unsteady.url())
