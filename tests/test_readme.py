"""The README's example of the library, run as it stands there."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.naming import ImageName
from acistore.trust.keystore.store import TrustStore
from tests.cli.running import environment
from tests.fetch.conftest import Publisher
from tests.gpg import SigningKey
from tests.images import image
from tests.web import WebSite

README = Path(__file__).parent.parent / "README.md"
_PATIENCE = 60.0


def example() -> str:
    section = README.read_text().partition("\n## As a library\n")[2].partition("\n## ")[0]
    [program] = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return str(program)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's, and everything in one directory."""
    for variable in [name for name in os.environ if name.startswith("ACISTORE_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACISTORE_DIR", str(tmp_path / "store"))
    for layer in ("system", "local", "user"):
        monkeypatch.setenv(f"ACISTORE_{layer.upper()}_CONFIG", str(tmp_path / layer))


def publish(publisher: Publisher, name: str, version: str, files: dict[str, bytes]) -> bytes:
    """An image as this machine asks for it."""
    labels = ImageName(name, {"version": version}).for_this_machine().labels
    archive = image(name, files, labels=labels)
    publisher.publish(archive, name=name, version=version)
    return archive


def test_the_example_does_what_it_says(tmp_path: Path, web: WebSite, release: SigningKey) -> None:
    publisher = Publisher(web, release)
    publisher.page()
    system = b'NAME="Example"\n'
    archive = publish(publisher, "example.com/app", "1.0", {"etc/os-release": system})
    others = {
        name: publish(publisher, name, "latest", {"data": name.encode()})
        for name in ("example.com/db", "example.com/cache")
    }
    trust = TrustStore.open(Config.load())
    trust.add(release.public(), prefix="example.com", source="test", layer="local")

    place = tmp_path / "work"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", example()],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"sha512-{hashlib.sha512(archive).hexdigest()} example.com/app ")
    assert sorted(lines[1:3]) == sorted(
        f"{name} sha512-{hashlib.sha512(other).hexdigest()}" for name, other in others.items()
    )
    assert [line for line in lines if line.startswith("/etc/os-release file ")]
    assert done.stdout.endswith(f"\n{system.decode()}\n")
    assert [path.name for path in place.iterdir()] == ["app.aci"]
    assert (place / "app.aci").read_bytes() == archive
