"""Directories of keys with anything in them, or with odd names: nothing is trusted by accident or in the way."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acistore.trust.keystore.store import TrustStore
from tests.fetch.conftest import HOST, NAME
from tests.gpg import SigningKey
from tests.trust.hardening.conftest import IMAGE, Operator
from tests.trust.hardening.forging import Pair
from tests.web import WebSite

MIB = 1 << 20

ODD: dict[str, Callable[[Path, Pair], object]] = {
    "named pipe": lambda path, _pair: os.mkfifo(path),
    "large file": lambda path, _pair: path.write_bytes(bytes(3 * MIB)),
    "link to an endless device": lambda path, _pair: path.symlink_to("/dev/zero"),
    "link to a terminal": lambda path, _pair: path.symlink_to("/dev/tty"),
    "link to nothing": lambda path, _pair: path.symlink_to("nowhere"),
    "link to itself": lambda path, _pair: path.symlink_to(path.name),
    "link to a directory": lambda path, _pair: path.symlink_to("/"),
    "SSH key": lambda path, _pair: path.write_bytes(b"ssh-ed25519 AAAA"),
    "packet of a key": lambda path, pair: path.write_bytes(pair.body),
    "text": lambda path, _pair: path.write_bytes(b"fingerprint"),
    "directory": lambda path, _pair: path.mkdir(),
    "directory that nobody may read": lambda path, _pair: path.mkdir(mode=0),
}


@pytest.mark.parametrize("name", ["a" * 40, "README", "\udcff\x1b[2J"], ids=["fingerprint", "word", "escapes"])
@pytest.mark.parametrize("lay", ODD.values(), ids=ODD)
def test_odd_file_stops_nothing(
    operator: Operator, release: SigningKey, alice: Pair, lay: Callable[[Path, Pair], object], name: str
) -> None:
    path = operator.trusts(release.public(), release.fingerprint).parent / name
    lay(path, alice)
    operator.admits(release.sign(IMAGE), release.fingerprint)
    for command in (["trust", "list"], ["trust", "check"], ["trust", "explain", NAME], ["trust", "refresh"]):
        ran = operator.run(*command)
        assert ran.code in (0, 4), command
        assert (ran.out + ran.err).replace("\n", "").isprintable()
    assert [key["fingerprint"] for key in operator.trusted() if key["state"] == "valid"] == [release.fingerprint]


@pytest.mark.parametrize("content", [b"[" * 200_000, b"{}" * 5, b"\xff", b'{"x": {"source": 5}}', bytes(100)])
def test_odd_notes_of_origins_stop_nothing(operator: Operator, release: SigningKey, content: bytes) -> None:
    operator.trusts_key(release)
    (operator.top / "local" / "origins.json").write_bytes(content)
    operator.admits(release.sign(IMAGE), release.fingerprint)
    assert [key["source"] for key in operator.trusted()] == [None]


# Names of prefixes


@pytest.mark.parametrize(
    "prefix",
    [
        "..",
        "a/..",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "A",
        "a\n",
        "é",
        "a/./b",
        "~",
        "",
        " ",
        "a\0",
        "a" * 256,
        "b/" + "a" * 5000,
    ],
)
def test_prefix_that_no_directory_may_have(operator: Operator, release: SigningKey, prefix: str) -> None:
    path = operator.top / "key.asc"
    path.write_bytes(release.public())
    before = sorted(operator.top.rglob("*"))
    ran = operator.run("trust", "add", "--prefix", prefix, "--yes", str(path))
    assert ran.code in (1, 2)
    assert "internal error" not in ran.err
    assert [each for each in operator.top.rglob("*") if each not in before and each.is_file()] == []
    assert operator.trusted() == []


@pytest.mark.parametrize("prefix", ["prefix.d", "root.d", "ssh", "a/root.d/b", "a/.b", "a/..b", "a/-b", "ab" * 20])
def test_prefix_with_the_name_of_something_else(operator: Operator, release: SigningKey, prefix: str) -> None:
    """Such a name is as good as any: the key is trusted for it, and for nothing else."""
    path = operator.top / "key.asc"
    path.write_bytes(release.public())
    assert operator.run("trust", "add", "--prefix", prefix, "--yes", str(path)).code == 0
    assert [key["prefix"] for key in operator.trusted()] == [prefix]
    for name, accepted in ((f"{prefix}/app", [True]), ("other.example", [])):
        explained = operator.run("--json", "trust", "explain", name).document
        assert [key["accepted"] for key in explained["keys"]] == accepted


@pytest.mark.parametrize("name", ["root.d", "prefix.d", "app"])
def test_link_from_one_prefix_to_another(operator: Operator, alice: Pair, name: str) -> None:
    """Keys of one name must not serve another, whatever the directories behind the link are called."""
    path = operator.top / "local" / "trustedkeys" / "prefix.d" / HOST
    operator.trusts_pair(alice, prefix=f"example.org/{name}")
    path.symlink_to("example.org")
    trust = TrustStore({layer: operator.top / layer for layer in ("system", "local", "user")})
    assert trust.keys_for(f"{HOST}/{name}/x") == ()
    assert [key.fingerprint for key in trust.keys_for(f"example.org/{name}/x")] == [alice.fingerprint]


# Masks: what somebody has taken out of force stays so, whoever offers it again


def bundle(operator: Operator, **content: list[dict[str, Any]]) -> str:
    path = operator.top / "bundle.json"
    form = {"format": "acistore trusted keys", "version": 1, "keys": [], "masks": []}
    path.write_text(json.dumps(form | content))
    return str(path)


def add(operator: Operator, key: SigningKey) -> list[str]:
    path = operator.top / "key.asc"
    path.write_bytes(key.public())
    return ["trust", "add", "--prefix", NAME, "--yes", str(path)]


def carry(operator: Operator, key: SigningKey) -> list[str]:
    entry = {"prefix": NAME, "fingerprint": key.fingerprint, "key": key.public().decode()}
    return ["trust", "import", "--yes", bundle(operator, keys=[entry | {"source": None, "added_at": None}])]


@pytest.mark.parametrize("layer", ["local", "user"])
@pytest.mark.parametrize("offer", [add, carry])
def test_masked_key_that_is_offered_again_stays_masked(
    operator: Operator, release: SigningKey, offer: Callable[[Operator, SigningKey], list[str]], layer: str
) -> None:
    assert operator.run("trust", "mask", "--prefix", NAME, "--layer", layer, release.fingerprint).code == 0
    ran = operator.run(*offer(operator, release))
    assert "masked" in ran.err, ran
    assert [key["state"] for key in operator.trusted()] == ["masked"]
    operator.refuses(release.sign(IMAGE), "NoTrustedKey")


@pytest.fixture
def page(one_web: WebSite, release: SigningKey) -> Iterator[None]:
    """The name's own page, which says where its keys are."""
    one_web.put(HOST, "keys.gpg", release.public())
    tag = f'<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/keys.gpg">'
    one_web.put(HOST, "app/index.html", tag.encode())
    yield
    one_web.remove(HOST, "app/index.html")


@pytest.mark.usefixtures("page")
def test_masked_key_that_is_discovered_stays_masked(operator: Operator, release: SigningKey) -> None:
    operator.run("trust", "mask", "--prefix", NAME, release.fingerprint)
    ran = operator.run("trust", "add", "--prefix", NAME, "--yes")
    assert (ran.code, "is masked for" in ran.err) == (4, True), ran
    assert [key["state"] for key in operator.trusted()] == ["masked"]
    assert operator.run("trust", "unmask", "--prefix", NAME, release.fingerprint).code == 0
    assert operator.run("trust", "add", "--prefix", NAME, "--yes").code == 0


@pytest.mark.parametrize("prefix", ["a" * 256, "/".join(["a" * 200] * 25)])
def test_mask_for_a_prefix_too_long_for_any_directory(
    operator: Operator, release: SigningKey, prefix: str
) -> None:
    operator.trusts_key(release)
    ran = operator.run(
        "trust",
        "import",
        "--yes",
        bundle(operator, masks=[{"prefix": prefix, "fingerprint": release.fingerprint}]),
    )
    assert ran.code in (1, 2, 4)
    assert "internal error" not in ran.err
    operator.admits(release.sign(IMAGE), release.fingerprint)
