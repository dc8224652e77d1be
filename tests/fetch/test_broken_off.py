"""Servers that break off, change, or come back later: the image is right in the end, or nothing is stored."""

from dataclasses import replace

import pytest

from acistore.errors import BadSignature, NoTrustedKey, SignatureMissing, TransferFailed, UntrustedSigner
from acistore.fetch import Fetcher
from tests.fetch.conftest import Operator, Unsteady, app, served
from tests.fileserver import File
from tests.gpg import SigningKey
from tests.images import image

LARGE = image("example.com/app", {f"f{n}": bytes([n]) * 40_000 for n in range(10)}, labels={"version": "1.0"})
DEFERRED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def trusting(operator: Operator, unsteady: Unsteady) -> Operator:
    operator.trusts(unsteady.key)
    return operator


def once(operator: Operator) -> Operator:
    """Who tries once only."""
    operator.config = replace(operator.config, limits=replace(operator.config.limits, retries=0))
    return operator


@pytest.mark.parametrize("seed", range(4))
def test_a_fetch_survives_cuts_at_random_points(unsteady: Unsteady, trusting: Operator, seed: int) -> None:
    file, signature = unsteady.publish(LARGE)
    file.cut_at_random(6, seed)
    signature.cut_at_random(2, seed)
    trusting.config = replace(trusting.config, limits=replace(trusting.config.limits, retries=8))
    fetched = trusting.fetch(unsteady.url())
    assert trusting.store.get(fetched.id).size == len(LARGE)
    assert fetched.bytes_downloaded == len(file.body) == file.sent
    assert trusting.partials() == []


def test_the_next_fetch_goes_on_where_the_last_one_ended(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(LARGE)
    half = len(file.body) // 2
    file.cuts = [half]
    with pytest.raises(TransferFailed):
        once(trusting).fetch(unsteady.url())
    assert trusting.partials() == [half]
    assert trusting.store.list() == []
    fetched = trusting.fetch(unsteady.url())
    assert fetched.bytes_downloaded == len(file.body) - half
    assert file.ranges == [None, f"bytes={half}-"]
    assert trusting.partials() == []
    assert any(f"({len(file.body)})" in said for said in trusting.said)


@pytest.mark.parametrize("insecure", [set(), {"image"}], ids=["signed", "not verified"])
def test_what_was_damaged_meanwhile_is_downloaded_again(
    unsteady: Unsteady, trusting: Operator, insecure: set[str]
) -> None:
    file, _ = unsteady.publish(LARGE)
    file.cuts = [len(file.body) // 2]
    with pytest.raises(TransferFailed):
        once(trusting).fetch(unsteady.url(), insecure=insecure)
    [part] = [each for each in (trusting.config.dir / "spool").iterdir() if each.suffix != ".json"]
    part.write_bytes(bytes(len(file.body) // 2))
    trusting.fetch(unsteady.url(), insecure=insecure)
    assert file.ranges[-2:] == [f"bytes={len(file.body) // 2}-", None]
    assert trusting.store.verify().ok


def test_a_bad_image_is_downloaded_no_more_than_twice(unsteady: Unsteady, trusting: Operator) -> None:
    file, signature = unsteady.publish(LARGE)
    signature.replace(unsteady.key.sign(b"something else"))
    file.cuts = [1000, len(file.body), 1000]
    with pytest.raises(BadSignature):
        trusting.fetch(unsteady.url())
    assert file.ranges == [None, "bytes=1000-", None, "bytes=1000-"]
    assert (trusting.partials(), trusting.store.list()) == ([], [])


def test_an_image_that_changes_on_its_way_comes_with_its_new_signature(
    unsteady: Unsteady, trusting: Operator
) -> None:
    file, signature = unsteady.publish(LARGE)
    new = served(app())

    class Changing(File):
        def serve(self, connection, head):  # type: ignore[no-untyped-def]
            super().serve(connection, head)
            if head.startswith(b"GET") and self.body != new:
                self.replace(new)
                signature.replace(unsteady.key.sign(new))

    changing = unsteady.site.put("app.aci", Changing(file.body, cuts=[1000]))
    fetched = trusting.fetch(unsteady.url())
    assert fetched.size == len(app())
    assert changing.ranges == [None, "bytes=1000-", None]


def test_a_refused_image_leaves_no_partial_download(
    unsteady: Unsteady, trusting: Operator, stranger: SigningKey
) -> None:
    unsteady.publish(LARGE, key=stranger)
    with pytest.raises(UntrustedSigner):
        trusting.fetch(unsteady.url())
    assert trusting.partials() == []


def test_what_has_come_stays_while_its_signer_is_not_trusted(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(LARGE)
    file.cuts = [len(file.body) // 2]
    with pytest.raises(TransferFailed):
        once(trusting).fetch(unsteady.url())
    trusting.trust.remove(unsteady.key.fingerprint, prefix="example.com/app")
    with pytest.raises(NoTrustedKey):
        trusting.fetch(unsteady.url())
    assert trusting.partials() == [len(file.body) // 2]
    trusting.trusts(unsteady.key)
    trusting.fetch(unsteady.url())
    assert file.sent == len(file.body)


# --- signatures that are put off


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


# --- asked again


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
    trusting.trust.remove(unsteady.key.fingerprint, prefix="example.com/app")
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
    file, _ = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=3600"]
    trusting.fetch(unsteady.url())
    assert trusting.fetch(unsteady.url()).reused
    assert len(file.heads) == 1
    Fetcher(trusting.store, trusting.trust, trusting.config, no_cache=True).fetch(unsteady.url())
    assert b"Cache-Control: no-cache\r\n" in file.heads[1]
    assert b"If-None-Match" not in file.heads[1]


def test_must_revalidate_holds_only_once_it_is_stale(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.headers = ["Cache-Control: max-age=3600, must-revalidate"]
    trusting.fetch(unsteady.url())
    assert trusting.fetch(unsteady.url()).reused
    assert len(file.heads) == 1
