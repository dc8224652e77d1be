"""`trust explain`, and `verify --trust`: why something would be decided, and what would be so no more today."""

from datetime import timedelta
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.fingerprints import shown_fingerprint
from acistore.store import Store
from acistore.trust.keystore.store import TrustStore
from tests.cli.running import Run
from tests.conftest import LONG_AGO
from tests.fetch.conftest import NAME
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.ssh import SshKeyMaker, SshSigningKey

DATA = b"an image"


@pytest.fixture
def trust() -> TrustStore:
    return TrustStore.open(Config.load())


@pytest.fixture(scope="session")
def ssh_key(tmp_path_factory: pytest.TempPathFactory) -> SshSigningKey:
    return SshKeyMaker(tmp_path_factory.mktemp("ssh")).key()


def trusts(trust: TrustStore, key: SigningKey | SshSigningKey, prefix: str | None = NAME) -> None:
    trust.add(key.public(), prefix=prefix, source="test", layer="local")


def policies(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ACISTORE_POLICIES", f'[{{prefix = "{NAME}", {text}}}]')


def write(directory: Path, name: str, content: bytes) -> str:
    path = directory / name
    path.write_bytes(content)
    return str(path)


# --- which keys


def test_each_key_that_lies_where_keys_for_the_name_lie_is_explained(
    run: Run, trust: TrustStore, maker: KeyMaker, release: SigningKey, other: SigningKey, tmp_path: Path
) -> None:
    expired = maker.key("Old <old@example.com>", at=LONG_AGO)
    trusts(trust, expired)
    expired.expire("1y", at="20200201T000000")
    (tmp_path / "local/trustedkeys/prefix.d" / NAME / expired.fingerprint).write_bytes(expired.public())
    masked = maker.key("Masked <masked@example.com>", at=LONG_AGO)
    trusts(trust, masked, None)
    mask = tmp_path / "user/trustedkeys/prefix.d/example.com" / masked.fingerprint
    mask.parent.mkdir(parents=True)
    mask.touch()
    trusts(trust, release)
    trusts(trust, release, "example.com")
    trusts(trust, other, "example.org")
    explained = run("--json", "trust", "explain", f"{NAME}:1.0").document
    assert explained["name"] == NAME
    assert "verdict" not in explained
    assert [
        (each["fingerprint"], each["prefix"], each["layer"], each["accepted"]) for each in explained["keys"]
    ] == [
        (release.fingerprint, NAME, "local", True),
        (masked.fingerprint, None, "local", False),
        (release.fingerprint, "example.com", "local", False),
        (expired.fingerprint, NAME, "local", False),
    ]
    assert [each["why"] for each in explained["keys"]] == [
        f"trusted for {NAME}",
        "masked for example.com in the user layer",
        f"overridden by the same key for {NAME} in the local layer",
        "expired on 2021-01-31",
    ]


def test_a_key_that_the_policy_does_not_take_is_not_accepted(
    run: Run, trust: TrustStore, release: SigningKey, other: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusts(trust, release)
    trusts(trust, other, None)
    policies(monkeypatch, f'keys = ["{other.fingerprint}"], allow_downgrade = true')
    ran = run("trust", "explain", NAME)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        [NAME],
        ["accepted", *shown_fingerprint(other.fingerprint).split()],
        ["Other", "<other@example.com>"],
        ["because", "a", "root", "key;", "the", "key", "lies", "in", "the", "local", "layer"],
        ["not", "accepted", *shown_fingerprint(release.fingerprint).split()],
        ["Release", "<release@example.com>"],
        f"because not among the keys of the policy for {NAME}; the key lies in the local layer".split(),
        ["allowed", "as", "latest,", "an", "image", "that", "is", "older", "than", "the", "last"],
        f"policy for {NAME}, set by ACISTORE_POLICIES".split(),
    ]


def test_a_name_without_keys(run: Run) -> None:
    assert "no key: an image of this name is refused" in run("trust", "explain", NAME).out
    assert run("--json", "trust", "explain", NAME).document["keys"] == []
    assert run("trust", "explain", "Not a name").code == 2


# --- what would be decided


def test_a_signature_is_judged_over_the_image_beside_it(
    run: Run, trust: TrustStore, release: SigningKey, stranger: SigningKey, ssh_key: SshSigningKey, tmp_path: Path
) -> None:
    trusts(trust, release)
    trusts(trust, ssh_key)
    write(tmp_path, "app.aci", DATA)
    for path, signature, admitted, kind, fingerprint in (
        ("app.aci.asc", release.sign(DATA), True, None, release.fingerprint),
        ("app.aci.sig", ssh_key.sign(DATA), True, None, ssh_key.fingerprint),
        ("app.aci.asc", release.sign(b"something else"), False, "BadSignature", None),
        ("app.aci.sig", ssh_key.sign(b"something else"), False, "BadSignature", None),
        ("app.aci.asc", stranger.sign(DATA), False, "UntrustedSigner", None),
        ("app.aci.asc", release.sign(DATA, digest="SHA1"), False, "WeakSignature", None),
        ("app.aci.asc", b"junk", False, "MalformedSignature", None),
    ):
        ran = run("--json", "trust", "explain", NAME, "--signature", write(tmp_path, path, signature))
        assert ran.code == 0
        verdict = ran.document["verdict"]
        assert (verdict["admitted"], verdict["kind"], verdict["fingerprint"]) == (admitted, kind, fingerprint)
        assert verdict["why"]


def test_without_the_image_only_the_issuer_is_judged(
    run: Run, trust: TrustStore, release: SigningKey, stranger: SigningKey, tmp_path: Path
) -> None:
    trusts(trust, release)
    path = write(tmp_path, "app.aci.asc", release.sign(DATA))
    verdict = run("--json", "trust", "explain", NAME, "--signature", path).document["verdict"]
    assert (verdict["admitted"], verdict["kind"]) == (None, None)
    path = write(tmp_path, "app.aci.asc", stranger.sign(DATA))
    verdict = run("--json", "trust", "explain", NAME, "--signature", path).document["verdict"]
    assert (verdict["admitted"], verdict["kind"]) == (None, "UntrustedSigner")


def test_the_image_may_be_anywhere(
    run: Run,
    trust: TrustStore,
    release: SigningKey,
    other: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trusts(trust, release)
    trusts(trust, other)
    image_file, signature = write(tmp_path, "image", DATA), write(tmp_path, "s", release.sign(DATA))
    ran = run("trust", "explain", NAME, "--signature", signature, "--image", image_file)
    assert ran.code == 0
    assert f"admitted  signed by {shown_fingerprint(release.fingerprint)} ({NAME})" in ran.out
    policies(monkeypatch, "threshold = 2")
    ran = run("trust", "explain", NAME, "--signature", signature, "--image", image_file)
    assert "refused" in ran.out
    assert "1 of the 2 distinct keys" in ran.out
    assert "demanded  signatures by 2 distinct keys" in ran.out


def test_wrong_calls_are_told(run: Run, tmp_path: Path) -> None:
    assert run("trust", "explain", NAME, "--image", "app.aci").code == 2
    missing = str(tmp_path / "missing.asc")
    ran = run("trust", "explain", NAME, "--signature", missing)
    assert (ran.code, ran.out) == (1, "")
    assert "can't be read: No such file or directory" in ran.err
    signature = write(tmp_path, "s.asc", b"junk")
    assert run("trust", "explain", NAME, "--signature", signature, "--image", missing).code == 1


# --- verify --trust


@pytest.fixture
def admitted(
    run: Run, trust: TrustStore, store: Store, maker: KeyMaker, release: SigningKey, tmp_path: Path
) -> dict[str, str]:
    """Images admitted by a key that is sound, one that will be revoked, and one admitted without a check."""
    ids = {}
    gone = maker.key("Gone <gone@example.com>", at=LONG_AGO)
    trusts(trust, release, "example.com/sound")
    trusts(trust, gone, "example.com/gone")
    for name, key in (("sound", release), ("gone", gone)):
        archive = image(f"example.com/{name}", {"etc/name": name.encode()})
        path = write(tmp_path, f"{name}.aci", archive)
        write(tmp_path, f"{name}.aci.asc", key.sign(archive))
        ran = run("fetch", path)
        assert ran.code == 0, ran.err
        ids[name] = ran.out.strip()
    path = write(tmp_path, "any.aci", image("example.com/any", {"etc/name": b"any"}))
    ids["any"] = run("--insecure-options", "image", "fetch", path).out.strip()
    gone.revoke()
    (tmp_path / "local/trustedkeys/prefix.d/example.com/gone" / gone.fingerprint).write_bytes(gone.public())
    return ids


def test_images_that_would_not_be_admitted_today_are_named(run: Run, admitted: dict[str, str]) -> None:
    assert run("verify").code == 0
    ran = run("--json", "verify", "--trust")
    assert ran.code == 4
    document = ran.document
    assert document["ok"] is True
    refused = {each["name"]: each for each in document["not_admitted"]}
    assert set(refused) == {"example.com/gone", "example.com/any"}
    assert refused["example.com/gone"]["id"] == admitted["gone"]
    assert refused["example.com/gone"]["kind"] == "RevokedKey"
    assert "its owner has revoked since" in refused["example.com/gone"]["why"]
    assert refused["example.com/any"]["kind"] == "SignatureMissing"
    assert ran.error["kind"] == "NoLongerAdmitted"
    assert set(ran.error["facts"]) == {admitted["gone"], admitted["any"]}


def test_for_people(run: Run, admitted: dict[str, str]) -> None:
    ran = run("verify", "--trust")
    assert ran.code == 4
    assert "example.com/gone would not be admitted today\n" in ran.out
    assert "  why        was signed by a key that its owner has revoked since\n" in ran.out
    assert ran.err.splitlines()[1].startswith("acistore: 2 images in the store would not be admitted today")
    ran = run("verify", "--trust", "example.com/sound")
    assert ran.code == 0
    assert ran.out.endswith("every image would be admitted today\n")
    assert run("verify", "--trust", "example.com/gone").code == 4


def test_a_stricter_policy_is_one_of_today(
    run: Run, admitted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("verify", "--trust", admitted["sound"]).code == 0
    monkeypatch.setenv("ACISTORE_POLICIES", '[{prefix = "", threshold = 2}]')
    [refused] = run("--json", "verify", "--trust", admitted["sound"]).document["not_admitted"]
    assert refused["kind"] == "TooFewSigners"


def test_damage_outweighs_distrust(run: Run, store: Store, admitted: dict[str, str], tmp_path: Path) -> None:
    store.collect(grace_period=timedelta(days=1))
    for pack in (tmp_path / "store/packs").iterdir():
        content = bytearray(pack.read_bytes())
        content[0] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    ran = run("--json", "verify", "--trust")
    assert ran.code == 6
    assert ran.document["not_admitted"]
    assert [each["exit_code"] for each in ran.errors] == [6, 4]


def test_repair_judges_nobody(run: Run, store: Store) -> None:
    assert run("verify", "--repair", "--trust").code == 2
