"""Sites that let nobody in who doesn't say who asks: what is sent to whom, and that nothing of it is kept."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.cli.running import Run
from tests.fetch.conftest import NAME, app, served
from tests.fileserver import File, Site
from tests.gpg import SigningKey
from tests.net.auth import SECRET, basic, header, oauth
from tests.net.auth import made as made_places
from tests.web import RawServer, WebSite

WANTED = f"{NAME}:1.0,os=linux,arch=amd64"
SECRETS = {"example.com": "of-the-page", "images.test": "of-the-images", "mirror.test": "of-the-mirror"}
SENT = {
    "example.com": f"Bearer {SECRETS['example.com']}",
    "images.test": basic("builder", SECRETS["images.test"]),
    "mirror.test": basic("carrier", SECRETS["mirror.test"]),
}
PAGE = b"""
<meta name="ac-discovery" content="example.com https://images.test/{name}.{ext}">
<meta name="ac-discovery-pubkeys" content="example.com https://example.com/key.asc">
"""
TOML = f"""
[[hosts]]
name = "mirror.test"
username = "carrier"
password = "{SECRETS["mirror.test"]}"

[[mirrors]]
prefix = "example.com"
url = "https://mirror.test/{{name}}.{{ext}}"
"""
CLOSED = "Content-Length: 0\r\nConnection: close\r\n\r\n"


class Guarded:
    """A host of which nothing is seen without its credentials."""

    def __init__(self, authorization: str) -> None:
        self.site = Site()
        self._authorization = authorization
        self.asked: set[str] = set()
        self.turned_away: set[str] = set()

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        self.asked.add(path)
        if header(head, "Authorization") == self._authorization:
            self.site(connection, head)
        else:
            self.turned_away.add(path)
            connection.sendall(f"HTTP/1.1 401 Unauthorized\r\n{CLOSED}".encode())


@pytest.fixture
def hosts(web: WebSite, authority: trustme.CA, release: SigningKey) -> Iterator[dict[str, Guarded]]:
    """The page and the key on one host, the image and its signature on another, and an empty mirror."""
    hosts = {host: Guarded(authorization) for host, authorization in SENT.items()}
    hosts["example.com"].site.put("app/index.html", PAGE)
    hosts["example.com"].site.put("key.asc", release.public())
    put_image(hosts["images.test"].site, release)
    with ExitStack() as stack:
        for host, guarded in hosts.items():
            web.take_over(host, stack.enter_context(RawServer(guarded, authority.issue_cert(host))))
        yield hosts


def put_image(site: Site, key: SigningKey) -> File:
    site.put(f"{NAME}.aci.asc", key.sign(served(app())))
    return site.put(f"{NAME}.aci", served(app()))


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What proves who asks, for each host in another place, of which this is one."""
    places = made_places(tmp_path, monkeypatch)
    for layer in ("system", "local", "user"):
        monkeypatch.setenv(f"ACISTORE_{layer.upper()}_CONFIG", str(places.top / layer))
    places.write("local", "example.json", oauth("example.com", token=SECRETS["example.com"]))
    places.write_netrc(f"machine images.test login builder password {SECRETS['images.test']}\n")
    file = places.top / "user/acistore.toml"
    file.parent.mkdir()
    file.write_text(TOML)
    file.chmod(0o600)
    return file


def test_everything_is_asked_for_with_credentials_and_nothing_tells_them(
    hosts: dict[str, Guarded], toml: Path, release: SigningKey, tmp_path: Path, run: Run
) -> None:
    toml.chmod(0o644)
    ran = [run("--debug", "trust", "add", "--prefix", NAME, "--yes"), run("--debug", "--json", "fetch", WANTED)]
    put_image(hosts["mirror.test"].site, release)
    ran += [run("--debug", "fetch", WANTED), run("--json", "show", NAME), run("config"), run("--json", "config")]
    assert [each.code for each in ran] == [0] * 6
    assert ran[1].document[0]["source"] == f"https://images.test/{NAME}.aci"
    assert ran[3].document["source"]["url"] == f"https://mirror.test/{NAME}.aci"

    image = {f"/{NAME}.aci", f"/{NAME}.aci.asc"}
    assert {host: guarded.asked for host, guarded in hosts.items()} == {
        "example.com": {"/app", "/key.asc"},
        "images.test": image,
        "mirror.test": image,
    }
    assert not any(guarded.turned_away for guarded in hosts.values())
    assert f"chmod 600 {toml}" in "".join(each.err for each in ran)
    for host, sent in SENT.items():
        for secret in (SECRETS[host], sent.split(" ")[1]):
            assert not any(secret in each.out + each.err for each in ran)
            assert not holding(secret, tmp_path / "store", toml.parent.parent / "local/trustedkeys")


def test_credentials_that_are_not_right_are_told_by_their_place(
    hosts: dict[str, Guarded], toml: Path, release: SigningKey, run: Run
) -> None:
    """The mirror's are wrong, and the images' are missing: both are told, and of the mirror a warning, too."""
    toml.write_text(TOML.replace("carrier", "somebody"))
    (toml.parent.parent / "netrc").write_text("")
    assert run("trust", "add", "--prefix", NAME, "--yes").code == 0
    refused = run("--debug", "fetch", WANTED)
    assert refused.code == 3
    assert "the mirror mirror.test is passed over" in refused.err
    assert f"sent, from {toml}" in refused.err
    assert "none are known for images.test" in refused.err
    assert SECRETS["mirror.test"] not in refused.err
    assert hosts["images.test"].turned_away == {f"/{NAME}.aci.asc"}


def test_a_signed_address_that_a_server_leads_to_is_told_and_kept_nowhere(
    web: WebSite, authority: trustme.CA, release: SigningKey, tmp_path: Path, run: Run
) -> None:
    """As S3 has them: who knows it may read what is there. The download breaks off, and is gone on with."""
    signed, example = Site(), Site()
    image = put_image(signed, release)
    for file in (f"{NAME}.aci", f"{NAME}.aci.asc"):
        place = f"https://signed.test/{file}?X-Amz-Signature={SECRET}"
        example.put(file, File(b"", instead=[f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n{CLOSED}".encode()] * 9))
    (tmp_path / "key.asc").write_bytes(release.public())
    assert run("trust", "add", "--prefix", NAME, "--yes", str(tmp_path / "key.asc")).code == 0
    with (
        RawServer(example, authority.issue_cert("example.com")) as first,
        RawServer(signed, authority.issue_cert("signed.test")) as second,
    ):
        web.take_over("example.com", first)
        web.take_over("signed.test", second)
        for cut, code in ((100, 5), (None, 0)):
            image.cuts = [cut] if cut else []
            ran = run("--debug", "--limits-retries=0", "fetch", f"https://example.com/{NAME}.aci")
            assert ran.code == code, ran.err
            assert f"https://signed.test/{NAME}.aci?…" in ran.err
            assert SECRET not in ran.out + ran.err
            assert any(each.stat().st_size == cut for each in (tmp_path / "store/spool").iterdir()) == bool(cut)
            assert not holding(SECRET, tmp_path / "store")
    assert image.ranges == [None, "bytes=100-"]
    assert all(SECRET.encode() in request for request in second.requests)


@pytest.mark.parametrize("user", [f"https://bob:{SECRET}@", f"HTTPS://{SECRET}@"])
def test_a_password_in_a_url_is_refused_whatever_the_url_is_of(tmp_path: Path, run: Run, user: str) -> None:
    """Image, signature and key: all of them are recorded, for everybody to read who may read the store."""
    (tmp_path / "app.aci").write_bytes(served(app()))
    for arguments in (
        ("fetch", f"{user}example.com/app.aci"),
        ("fetch", f"{user}[x/app.aci"),
        ("fetch", "https://example.com/app.aci", "--signature", f"{user}example.com/app.aci.asc"),
        ("fetch", str(tmp_path / "app.aci"), "--signature", f"{user}example.com:x/app.aci.asc"),
        ("trust", "add", "--root", f"{user}example.com/key.asc"),
    ):
        ran = run("--debug", *arguments)
        assert ran.code == 2, ran.err
        assert "has a user name or password in it" in ran.err
        assert SECRET not in ran.out + ran.err


def holding(secret: str, *tops: Path) -> list[Path]:
    """The files below that have a secret in them."""
    files = [file for top in tops for file in top.rglob("*") if file.is_file()]
    assert files
    return [file for file in files if secret.encode() in file.read_bytes()]
