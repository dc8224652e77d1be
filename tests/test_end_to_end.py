"""The whole story through the installed command: a Debian image, signed by gpg, served by nginx over TLS.

Every step is a process of its own, as in a script; then each refusal, with its exit code.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acistore.naming import ImageName
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.rootfs import NAME, VERSION, debian_tar
from tests.web import WebSite

HOST = "example.com"
PAGE = f"""
<meta name="ac-discovery" content="{HOST} https://{HOST}/acis/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}">
<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/pubkeys.asc">
"""
WANTED = f"{NAME}:{VERSION}"


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[SigningKey, SigningKey]]:
    with KeyMaker() as maker:
        yield maker.key("Release <release@example.com>"), maker.key("Stranger <stranger@example.org>")


@pytest.fixture(scope="module")
def served() -> bytes:
    """The Debian image as it is served."""
    return gzip.compress(debian_tar().read_bytes(), compresslevel=1)


class Story:
    """A publisher's site and an operator's machine."""

    def __init__(self, web: WebSite, top: Path, key: SigningKey) -> None:
        self.web = web
        self.key = key
        self.arch = ImageName.parse(WANTED).for_this_machine().labels["arch"]
        self.environment = {**os.environ, "ACISTORE_DIR": str(top / "store")} | {
            f"ACISTORE_{layer.upper()}_CONFIG": str(top / layer) for layer in ("system", "local", "user")
        }
        web.put(HOST, "index.html", PAGE.encode())
        web.put(HOST, "pubkeys.asc", key.public())

    def publish(self, archive: bytes, *, key: SigningKey | None = None, version: str = VERSION) -> None:
        place = f"acis/{NAME}-{version}-linux-{self.arch}"
        self.web.put(HOST, f"{place}.aci.asc", (key or self.key).sign(archive))
        self.web.put(HOST, f"{place}.aci", archive)

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "acistore", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        self.errors = done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run("--json", *arguments))

    def refused(self, wanted: str, kind: str, code: int, *options: str) -> None:
        """The fetch fails with this kind of error, and nothing is stored."""
        self.run("--json", *options, "fetch", wanted, code=code)
        assert json.loads(self.errors.splitlines()[-1])["error"]["kind"] == kind
        assert self.json("list") == []


@pytest.fixture
def story(web: WebSite, tmp_path: Path, keys: tuple[SigningKey, SigningKey]) -> Story:
    return Story(web, tmp_path, keys[0])


def test_discover_trust_fetch_list_show_export_rm_gc_verify(story: Story, served: bytes, tmp_path: Path) -> None:
    story.publish(served)
    found = story.json("discover", WANTED)
    assert found["keys"] == [f"https://{HOST}/pubkeys.asc"]
    assert found["images"][0]["url"].endswith(f"-{VERSION}-linux-{story.arch}.aci")

    story.run("trust", "add", "--prefix", NAME, "--fingerprint", story.key.fingerprint)
    [trusted] = story.json("trust", "list")
    assert (trusted["fingerprint"], trusted["prefix"], trusted["state"]) == (story.key.fingerprint, NAME, "valid")

    image_id = story.run("-q", "fetch", WANTED).strip()
    assert story.errors == ""
    assert image_id == f"sha512-{hashlib.sha512(debian_tar().read_bytes()).hexdigest()}"

    [listed] = story.json("list")
    assert (listed["id"], listed["name"], listed["labels"]["version"]) == (image_id, NAME, VERSION)
    shown = story.json("show", WANTED)
    assert shown["size"] == debian_tar().stat().st_size
    assert shown["admissions"][0]["fingerprint"] == story.key.fingerprint
    assert shown["files"] > 1000

    exported = tmp_path / "debian.tar"
    story.run("export", image_id[:15], str(exported))
    assert f"sha512-{hashlib.sha512(exported.read_bytes()).hexdigest()}" == image_id

    assert story.json("verify")["ok"]
    assert story.json("fetch", WANTED)[0]["reused"]
    story.run("rm", WANTED)
    assert story.json("list") == []
    assert story.json("gc")["freed_size"] > 50_000_000
    assert list((tmp_path / "store" / "packs").iterdir()) == []
    assert story.json("verify")["ok"]


def small(name: str = NAME, **labels: str) -> bytes:
    return gzip.compress(image(name, {"a": b"a"}, labels=labels))


def test_each_refusal_has_its_kind_and_exit_code(story: Story, keys: tuple[SigningKey, SigningKey]) -> None:
    good = small(version=VERSION, os="linux", arch=story.arch)
    story.publish(good)
    story.refused(WANTED, "NoTrustedKey", 4)
    story.run("trust", "add", "--prefix", NAME, "--yes")

    story.publish(good, key=keys[1])
    story.refused(WANTED, "UntrustedSigner", 4)

    story.publish(good)
    place = f"acis/{NAME}-{VERSION}-linux-{story.arch}"
    story.web.put(HOST, f"{place}.aci", small(version=VERSION, os="linux", arch=story.arch, channel="evil"))
    story.refused(WANTED, "BadSignature", 4)

    story.publish(good)
    story.web.put(HOST, f"{place}.aci.asc", story.key.sign(good).replace(b"=\n", b"=\nx", 1))
    story.refused(WANTED, "MalformedSignature", 4)

    story.web.remove(HOST, f"{place}.aci.asc")
    story.refused(WANTED, "SignatureMissing", 4)

    for other in (
        small("example.com/other", version=VERSION, os="linux", arch=story.arch),
        small(version=VERSION, os="linux", arch="ppc64"),
        small(version="11.0.0", os="linux", arch=story.arch),
    ):
        story.publish(other)
        story.refused(WANTED, "ImageMismatch", 4)

    story.web.remove(HOST, f"{place}.aci")
    story.refused(WANTED, "ResourceNotFound", 3)

    story.publish(good)
    story.web.put(HOST, "index.html", PAGE.replace("https:", "http:").encode())
    story.refused(WANTED, "InsecureTransport", 5)
    story.refused(f"http://{HOST}/{place}.aci", "InsecureTransport", 5)
    story.web.put(HOST, "index.html", b"<p>nothing</p>")
    story.refused(WANTED, "EndpointNotFound", 3)
    story.refused("Example.com/Debian", "InvalidName", 2)
