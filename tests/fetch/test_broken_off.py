"""Servers that break off, change, or come back later: the image is right in the end, or nothing is stored."""

from dataclasses import replace

import pytest

from acistore.errors import BadSignature, NoTrustedKey, ResourceNotFound, TransferFailed, UntrustedSigner
from tests.fetch.conftest import Operator, Unsteady, app, served
from tests.fileserver import File
from tests.gpg import SigningKey
from tests.images import image

LARGE = image("example.com/app", {f"f{n}": bytes([n]) * 40_000 for n in range(10)}, labels={"version": "1.0"})


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


def test_a_body_that_only_the_connection_ends_may_have_broken_off(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.instead = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + file.body[:100]]
    trusting.fetch(unsteady.url())
    assert len(file.heads) == 2


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found"])
def test_what_has_come_stays_while_its_server_does_not_give_it(
    unsteady: Unsteady, trusting: Operator, status: str
) -> None:
    """A token that has run out, a deployment that is under way."""
    file, _ = unsteady.publish(LARGE)
    half = len(file.body) // 2
    file.cuts = [half]
    with pytest.raises(TransferFailed):
        once(trusting).fetch(unsteady.url())
    file.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()]
    with pytest.raises(ResourceNotFound) as refused:
        trusting.fetch(unsteady.url())
    assert refused.value.facts["kept"].startswith(f"{half} bytes")
    trusting.fetch(unsteady.url())
    assert file.sent == len(file.body)
