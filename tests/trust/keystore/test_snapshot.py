"""What any copy of a key knows holds for all of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.errors import NoTrustedKey, RevokedKey
from acistore.store import Admission
from acistore.trust.check import SignatureCheck
from acistore.trust.explain import explain_keys
from acistore.trust.keystore.store import TrustStore
from acistore.trust.today import Today
from tests.gpg import KeyMaker, SigningKey

DATA = b"an image"
NAME = "example.com/app"


@pytest.fixture
def gone(maker: KeyMaker, request: pytest.FixtureRequest) -> tuple[SigningKey, bytes, bytes]:
    """A key that its owner has revoked, what it was before, and a signature that it made then."""
    key = maker.key(f"{request.node.name} <gone@example.com>")
    before, signature = key.public(), key.sign(DATA)
    key.revoke()
    return key, before, signature


def write(directory: Path, prefix: str | None, fingerprint: str, content: bytes) -> None:
    place = directory / "trustedkeys" / ("root.d" if prefix is None else f"prefix.d/{prefix}") / fingerprint
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


@pytest.mark.parametrize(("layer", "prefix"), [("system", NAME), ("user", "example.org"), ("local", None)])
def test_a_revocation_in_a_copy_that_does_not_decide_counts(
    tmp_path: Path, gone: tuple[SigningKey, bytes, bytes], layer: str, prefix: str | None
) -> None:
    key, before, signature = gone
    trust = TrustStore({"system": tmp_path / "system", "local": tmp_path / "local", "user": tmp_path / "user"})
    write(tmp_path / "local", NAME, key.fingerprint, before)
    with SignatureCheck("app", NAME, [signature], trust) as check:
        check.feed(DATA)
        check.finish()
        assert check.verdict(NAME).admitted
    [explained] = explain_keys(NAME, trust)
    assert explained.accepted
    write(tmp_path / layer, prefix, key.fingerprint, key.public())
    with pytest.raises(RevokedKey), SignatureCheck("app", NAME, [signature], trust):
        pass
    now = datetime.now(UTC)
    past = Admission("verified", now, fingerprint=key.fingerprint, signing_fingerprint=key.fingerprint)
    assert isinstance(Today(trust, now).refusal("app", NAME, [past]), RevokedKey)
    assert not any(each.accepted for each in explain_keys(NAME, trust))


@pytest.mark.parametrize("how", ["revoked", "removed", "masked"])
def test_what_happens_to_a_key_during_a_fetch_counts(
    tmp_path: Path, gone: tuple[SigningKey, bytes, bytes], how: str
) -> None:
    key, before, signature = gone
    trust = TrustStore({"local": tmp_path / "local", "user": tmp_path / "user"})
    write(tmp_path / "local", NAME, key.fingerprint, before)
    with SignatureCheck("app", NAME, [signature], trust) as check:
        check.feed(DATA)
        check.finish()
        assert check.verdict(NAME).admitted
        if how == "revoked":
            write(tmp_path / "local", NAME, key.fingerprint, key.public())
        elif how == "removed":
            trust.remove(key.fingerprint)
        else:
            write(tmp_path / "user", NAME, key.fingerprint, b"")
        error = check.verdict(NAME).error
        assert isinstance(error, RevokedKey if how == "revoked" else NoTrustedKey)
