"""Servers that break off, change, or come back later: the image is right in the end, or nothing is stored."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from acistore.errors import (
    AcistoreError,
    BadSignature,
    ConfigError,
    InsecureTransport,
    LimitExceeded,
    NoTrustedKey,
    ProgramMissing,
    ResourceNotFound,
    TransferFailed,
    UntrustedSigner,
)
from acistore.trust.keystore.store import TrustStore
from tests.fetch.conftest import HOST, LARGE, NAME, Operator, Unsteady, app, served
from tests.fileserver import File
from tests.gpg import SigningKey


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
    trusting.trust.remove(unsteady.key.fingerprint, prefix=HOST)
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


def half_of(file: File, unsteady: Unsteady, operator: Operator) -> int:
    """Lets half of an image come, and returns how much that is."""
    half = len(file.body) // 2
    file.cuts = [half]
    with pytest.raises(TransferFailed):
        once(operator).fetch(unsteady.url())
    return half


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("403 Forbidden", ResourceNotFound),
        ("404 Not Found", ResourceNotFound),
        ("302 Found\r\nLocation: /app.aci", LimitExceeded),
        ("302 Found\r\nLocation: http://example.com/app.aci", InsecureTransport),
    ],
)
def test_what_has_come_stays_while_its_server_does_not_give_it(
    unsteady: Unsteady, trusting: Operator, status: str, error: type[AcistoreError]
) -> None:
    """A token that has run out, a deployment that is under way, a redirect that leads nowhere."""
    file, _ = unsteady.publish(LARGE)
    half = half_of(file, unsteady, trusting)
    times = trusting.config.limits.redirects + 1 if error is LimitExceeded else 1
    file.instead = [f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()] * times
    with pytest.raises(error) as refused:
        trusting.fetch(unsteady.url())
    assert refused.value.facts["kept"].startswith(f"{half} bytes")
    trusting.fetch(unsteady.url())
    assert file.sent == len(file.body)


def test_what_has_come_stays_when_something_here_is_broken(unsteady: Unsteady, trusting: Operator) -> None:
    """A file of credentials, which is read again for each request."""
    file, _ = unsteady.publish(LARGE)
    half = half_of(file, unsteady, trusting)
    signature = trusting.config.dir / "../app.aci.asc"
    signature.write_bytes(unsteady.key.sign(file.body))
    broken = trusting.config.user_config / "auth.d/broken.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    broken.chmod(0o600)
    with pytest.raises(ConfigError):
        trusting.fetch(unsteady.url(), signature=str(signature))
    assert trusting.partials() == [half]


def test_what_has_come_stays_when_gpg_dies(
    unsteady: Unsteady, trusting: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of what came from several places only the most."""
    file, _ = unsteady.publish(LARGE)
    other, _ = unsteady.publish(LARGE, "other.aci")
    other.cuts = [len(other.body) // 2] * 10
    unsteady.page(unsteady.url("other.{ext}"), unsteady.url("app.{ext}"))
    gpg = tmp_path / "bin/gpg"
    gpg.parent.mkdir()
    gpg.write_text(f'#!/bin/sh\ncase "$*" in *--verify*) kill -9 $$; esac\nexec {shutil.which("gpg")} "$@"\n')
    gpg.chmod(0o755)
    trust = trusting.trust
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(gpg.parent), prepend=os.pathsep)
        trusting.trust = TrustStore.open(trusting.config)
        with pytest.raises(ProgramMissing) as raised:
            trusting.fetch(NAME)
    assert trusting.partials() == [len(file.body)]
    assert raised.value.facts["kept"].startswith(f"{len(file.body)} bytes")
    trusting.trust = trust
    trusting.fetch(unsteady.url())
    assert file.sent == len(file.body)


def test_what_is_too_large_does_not_stay(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(LARGE)
    half = half_of(file, unsteady, trusting)
    trusting.config = replace(trusting.config, limits=replace(trusting.config.limits, image_size=half - 1))
    with pytest.raises(LimitExceeded):
        trusting.fetch(unsteady.url())
    assert trusting.partials() == []
