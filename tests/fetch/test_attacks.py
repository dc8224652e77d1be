"""What a server, or whoever writes beside an image, may try in place of a signature that is good."""

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acistore.config import Mirror
from acistore.errors import (
    AcistoreError,
    BadSignature,
    MalformedSignature,
    NotTrusted,
    RequestRefused,
    RevokedKey,
    ServerFailed,
    SignatureMissing,
    TooFewSigners,
)
from acistore.trust.keystore.store import TrustStore
from tests.cli.running import COMMAND, Ran, environment
from tests.fetch.conftest import HOST, NAME, Operator, Publisher, Unsteady, app, served
from tests.gpg import KeyMaker, SigningKey
from tests.trust.hardening.forging import (
    COMPOSITE_SUBGROUP,
    SHA256,
    at_which_gpg_breaks_off,
    dsa,
    public_key,
    signed,
)
from tests.waiting import PATIENCE

# In place of a signature

ANSWERS: dict[str, type[AcistoreError]] = {
    "200 OK": MalformedSignature,
    "201 Created": ServerFailed,
    "202 Accepted": SignatureMissing,
    "203 Non-Authoritative Information": ServerFailed,
    "204 No Content": ServerFailed,
    "205 Reset Content": ServerFailed,
    "206 Partial Content": ServerFailed,
    "300 Multiple Choices": ServerFailed,
    "301 Moved Permanently": ServerFailed,
    "304 Not Modified": ServerFailed,
    "401 Unauthorized": RequestRefused,
    "403 Forbidden": RequestRefused,
    "404 Not Found": SignatureMissing,
    "410 Gone": SignatureMissing,
    "416 Range Not Satisfiable": RequestRefused,
    "451 Unavailable For Legal Reasons": RequestRefused,
    "500 Internal Server Error": ServerFailed,
    "503 Service Unavailable": ServerFailed,
}
# Of these alone it follows that there is no signature. Whatever else is answered, there may be one.
NOT_THERE = ("404 Not Found", "410 Gone")


@pytest.mark.parametrize("allow_unsigned", [False, True])
@pytest.mark.parametrize("status", ANSWERS)
def test_what_makes_an_image_unsigned(
    operator: Operator, unsteady: Unsteady, release: SigningKey, status: str, allow_unsigned: bool
) -> None:
    """Even where unsigned images may come: who can disturb the signature must not be able to leave it out."""
    operator.trusts(release)
    operator.demands(NAME, allow_unsigned=allow_unsigned)
    _, signature = unsteady.publish(app())
    unsteady.page(f"https://{HOST}/app.{{ext}}")
    signature.instead = [f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()] * 20
    if allow_unsigned and status in NOT_THERE:
        image = operator.fetch().image
        assert [each.verdict for each in operator.store.admissions(image)] == ["unsigned"]
        return
    with pytest.raises(ANSWERS[status]):
        operator.fetch()
    assert operator.store.list() == []


# One person who would like to be two


def test_one_person_is_one_signer(operator: Operator, publisher: Publisher, maker: KeyMaker) -> None:
    """However many subkeys, digests, forms and places of the key there are, for a name and from a URL."""
    key = maker.key("One <one@example.com>", at="20200101T000000")
    other = maker.key("Other <other@example.com>", at="20200101T000000")
    subkeys = [key.add_subkey(at="20200102T000000") for _ in range(2)]
    operator.demands(NAME, threshold=2)
    for prefix in (None, HOST, NAME):
        operator.trusts(key, prefix)
    operator.trusts(other)
    url = publisher.publish(app(), key=key)
    body = served(app())
    signatures = [
        *(key.sign(body, subkey=each) for each in (*subkeys, key.fingerprint)),
        key.sign(body, digest="SHA256"),
        key.sign(body, armored=True),
    ]

    def serve(*files: bytes) -> None:
        publisher.web.put(HOST, f"acis/{NAME}-1.0.aci.asc", b"".join(files))

    serve(*signatures, *signatures)
    for wanted in (f"{NAME}:1.0", url):
        with pytest.raises(TooFewSigners):
            operator.fetch(wanted)
    serve(*signatures, other.sign(b"another image"))
    with pytest.raises(BadSignature):
        operator.fetch()
    assert operator.store.list() == []
    serve(*signatures, other.sign(body))
    assert operator.fetch().image.name == NAME


# What changes while an image comes


def test_key_that_is_revoked_while_the_image_comes(
    operator: Operator, unsteady: Unsteady, maker: KeyMaker
) -> None:
    key = maker.key("Soon revoked <soon@example.com>", at="20200101T000000")
    image, _ = unsteady.publish(app(), key=key)
    operator.trusts(key)
    path = operator.config.local_config / "trustedkeys" / "prefix.d" / NAME / key.fingerprint

    def revoke() -> None:
        key.revoke()
        path.write_bytes(key.public())

    image.gate = revoke
    with pytest.raises(RevokedKey):
        operator.fetch(unsteady.url())
    assert operator.store.list() == []


def test_key_that_is_removed_while_the_image_comes(
    operator: Operator, unsteady: Unsteady, release: SigningKey
) -> None:
    image, _ = unsteady.publish(app())
    operator.trusts(release)
    image.gate = lambda: operator.trust.remove(release.fingerprint)
    with pytest.raises(NotTrusted):
        operator.fetch(unsteady.url())
    assert operator.store.list() == []


# A signature at which gpg breaks off


@pytest.mark.parametrize("accepted", [True, False])
def test_signature_at_which_gpg_breaks_off_sends_the_fetch_to_the_next_place(
    operator: Operator, publisher: Publisher, release: SigningKey, accepted: bool
) -> None:
    """At a mirror, by somebody whose key is trusted, and which gpg accepts or doesn't."""
    pair = dsa(*COMPOSITE_SUBGROUP)
    fatal = at_which_gpg_breaks_off(pair)
    directory = operator.config.local_config / "trustedkeys" / "prefix.d" / NAME
    operator.trusts(release)
    (directory / pair.fingerprint).write_bytes(public_key(pair if accepted else fatal, "Eve"))
    publisher.publish(app())
    body = served(app())
    publisher.web.put("mirror.example", "app.aci", body)
    fatal_signatures = signed(fatal, body) + signed(fatal, body, digest=SHA256)
    publisher.web.put("mirror.example", "app.aci.asc", fatal_signatures)
    operator.config = replace(operator.config, mirrors=(Mirror("", "https://mirror.example/app.{ext}"),))
    operator.trust = TrustStore.open(operator.config)
    fetched = operator.fetch()
    assert fetched.source.startswith(f"https://{HOST}/")
    (admission,) = operator.store.admissions(fetched.image)
    assert admission.fingerprint == release.fingerprint


# Beside an image that is a file


@pytest.fixture
def image_file(tmp_path: Path, operator: Operator, release: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image without a signature, and a key that is trusted for it; commands use the operator's directories."""
    operator.trusts(release)
    monkeypatch.setenv("ACISTORE_DIR", str(operator.config.dir))
    for layer in ("system", "local", "user"):
        monkeypatch.setenv(f"ACISTORE_{layer.upper()}_CONFIG", str(tmp_path / layer))
    path = tmp_path / "app.aci"
    path.write_bytes(served(app()))
    return path


def run(*arguments: object, stdin: bytes = b"") -> Ran:
    """The command, which is killed when it hangs."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("suffix", [".asc", ".sig"])
def test_named_pipe_in_the_place_of_a_signature(
    image_file: Path, suffix: str, request: pytest.FixtureRequest
) -> None:
    """Nobody writes to it, and the command would wait for ever."""
    if suffix == ".sig":
        request.getfixturevalue("operator").trusts(request.getfixturevalue("ssh_key"))
    pipe = image_file.with_name(f"app.aci{suffix}")
    os.mkfifo(pipe)
    ran = run("--json", "fetch", image_file)
    assert (ran.code, ran.out) == (1, "[]\n")
    (error,) = ran.errors
    assert error["kind"] == "FileUnusable"
    assert error["message"] == f"the signature {pipe} can't be read: it is not a regular file"


@pytest.mark.parametrize(
    "lay", [Path.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["directory", "device"]
)
def test_other_things_in_the_place_of_a_signature(image_file: Path, lay: Callable[[Path], object]) -> None:
    lay(image_file.with_name("app.aci.asc"))
    ran = run("--json", "fetch", image_file)
    assert (ran.code, [error["kind"] for error in ran.errors]) == (1, ["FileUnusable"])


def test_named_pipe_that_somebody_names_is_read(image_file: Path, release: SigningKey) -> None:
    """As `<(…)` makes them, and even under the usual name."""
    signature = release.sign(image_file.read_bytes())
    for name in ("elsewhere", "app.aci.asc"):
        pipe = image_file.with_name(name)
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(signature,), daemon=True)
        writer.start()
        ran = run("fetch", image_file, "--signature", pipe)
        assert ran.code == 0, ran
        writer.join(PATIENCE)
        assert not writer.is_alive()


def test_signature_through_standard_input(image_file: Path, release: SigningKey) -> None:
    signature = release.sign(image_file.read_bytes())
    assert run("fetch", image_file, "--signature", "/dev/stdin", stdin=signature).code == 0
    explain = ("--json", "trust", "explain", NAME, "--signature", "/dev/stdin")
    assert run(*explain, stdin=signature).document["verdict"]["admitted"] is None
    explained = run(*explain, "--image", image_file, stdin=signature).document
    assert explained["verdict"]["fingerprint"] == release.fingerprint


def test_named_pipe_in_the_place_of_an_image(image_file: Path, release: SigningKey) -> None:
    signature = image_file.with_name("app.aci.asc")
    signature.write_bytes(release.sign(image_file.read_bytes()))
    image_file.unlink()
    os.mkfifo(image_file)
    assert run("fetch", image_file).code == 3
    explained = run("--json", "trust", "explain", NAME, "--signature", signature).document
    assert explained["verdict"]["admitted"] is None
