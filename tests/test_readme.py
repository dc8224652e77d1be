"""The programs in README and docs, run as they stand there."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.fetch import Fetcher
from acistore.naming import ImageName
from acistore.store import Store
from acistore.trust.keystore.store import TrustStore
from tests.cli.running import environment
from tests.fetch.conftest import Publisher
from tests.gpg import SigningKey
from tests.images import image
from tests.waiting import PATIENCE
from tests.web import WebSite

TOP = Path(__file__).parent.parent
HERE = ",".join(f"{label}={value}" for label, value in sorted(ImageName("x").for_this_machine().labels.items()))


def example(page: str = "README.md", heading: str = "As a library") -> str:
    """The first program of a section."""
    section = (TOP / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    programs: list[str] = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return programs[0]


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


def ran(program: str, place: Path) -> str:
    """What a program prints; it has to end well and to have nothing to complain of."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


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
    out = ran(example(), place)
    lines = out.splitlines()
    assert lines[0].startswith(f"sha512-{hashlib.sha512(archive).hexdigest()} example.com/app ")
    assert sorted(lines[1:3]) == sorted(
        f"{name} sha512-{hashlib.sha512(other).hexdigest()}" for name, other in others.items()
    )
    assert [line for line in lines if line.startswith("/etc/os-release file ")]
    assert out.endswith(f"\n{system.decode()}\n")
    assert [path.name for path in place.iterdir()] == ["app.aci"]
    assert (place / "app.aci").read_bytes() == archive


def test_the_program_of_trust_says_what_is_so(tmp_path: Path, web: WebSite, release: SigningKey) -> None:
    publisher = Publisher(web, release)
    publisher.page()
    publish(publisher, "example.com/app", "1.0", {"data": b"app"})
    url = web.put("example.com", "keys.asc", release.public())
    config = Config.load()
    trust = TrustStore.open(config)
    trust.add(release.public(), prefix="example.com", source=url, layer="local")
    with Store.open(config.dir) as store:
        fetched = Fetcher(store, trust, config).fetch("example.com/app:1.0")
    key = tmp_path / "local/trustedkeys/prefix.d/example.com" / release.fingerprint
    assert ran(example("docs/trust.md", "From a program"), tmp_path).splitlines() == [
        f"{key} None",
        f"{release.fingerprint} ()",
        f"{release.fingerprint} True trusted for example.com",
        f"{fetched.id} example.com/app:1.0,{HERE} was signed by 1 of the 2 distinct keys that are demanded",
    ]


def test_the_program_of_fetching_follows_a_fetch(tmp_path: Path, web: WebSite, release: SigningKey) -> None:
    publisher = Publisher(web, release)
    publisher.page()
    archive = publish(publisher, "example.com/app", "1.0", {"data": b"app"})
    trust = TrustStore.open(Config.load())
    trust.add(release.public(), prefix="example.com", source="test", layer="local")
    lines = ran(example("docs/fetching.md", "From a program"), tmp_path).splitlines()
    image_id = f"sha512-{hashlib.sha512(archive).hexdigest()}"
    assert f"… discovering example.com/app:1.0,{HERE}" in lines
    assert [line for line in lines if line.startswith(f"admit: example.com/app:1.0,{HERE}: ")]
    assert lines.index("… done") < lines.index(f"{image_id} False")
    assert lines[-1] == "ResourceNotFound 3 check name, version and labels"
