"""TLS: which authorities are believed, which certificate is shown to whom, and what is told when it fails."""

import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from acistore.config import Config, Host
from acistore.errors import AcistoreError, ConfigError, TLSFailed
from acistore.net import Client
from acistore.net.tls import TlsSettings, tls_context
from tests.net.auth import OK
from tests.programs import program
from tests.web import RawServer, answering

LIMIT = 1000


@pytest.fixture
def theirs() -> trustme.CA:
    """An authority that no system knows."""
    return trustme.CA()


@pytest.fixture
def server(direct: None, theirs: trustme.CA) -> Iterator[RawServer]:
    """A server whose certificate is theirs."""
    with RawServer(answering(OK), theirs.issue_cert("localhost")) as running:
        yield running


def written(blob: trustme.Blob, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_to_path(str(path))
    path.chmod(0o600)
    return path


def hashed(authority: trustme.CA, directory: Path) -> Path:
    """A directory with the authority's certificate, as OpenSSL looks for it."""
    file = written(authority.cert_pem, directory / "theirs.pem")
    name = subprocess.run(
        [program("openssl"), "x509", "-noout", "-hash", "-in", file], check=True, capture_output=True, text=True
    )
    (directory / f"{name.stdout.strip()}.0").symlink_to(file.name)
    return directory


def body(config: Config, url: str) -> bytes:
    with Client(config) as client:
        return client.get(url, limit=LIMIT).body


# Authorities


def test_an_unknown_authority_is_refused_and_the_option_is_named(server: RawServer) -> None:
    with pytest.raises(TLSFailed, match=r"local issuer|self.signed") as raised:
        body(Config(), server.url)
    assert "--ca-file FILE" in (raised.value.next_step or "")
    assert "[[hosts]]" in (raised.value.next_step or "")
    assert server.requests == []


@pytest.mark.parametrize(("name", "host"), [("a.com", "localhost"), ("localhost", "127.0.0.1")])
def test_a_certificate_for_another_name_needs_no_renewal(
    direct: None, authority: trustme.CA, name: str, host: str
) -> None:
    with RawServer(answering(OK), authority.issue_cert(name)) as server, pytest.raises(TLSFailed) as raised:
        body(Config(), f"https://{host}:{server.port}/")
    assert raised.value.message.endswith(f"certificate is not valid for '{host}'")
    assert "the certificate is for another name" in (raised.value.next_step or "")
    assert "check the host in the URL" in (raised.value.next_step or "")
    assert "renew" not in (raised.value.next_step or "")


@pytest.mark.parametrize(
    ("first", "last", "step"), [(-2, -1, "renew its certificate"), (1, 2, "clock of this machine")]
)
def test_a_certificate_of_another_time(
    direct: None, authority: trustme.CA, first: int, last: int, step: str
) -> None:
    now = datetime.now(UTC)
    certificate = authority.issue_cert(
        "localhost", not_before=now + timedelta(days=first), not_after=now + timedelta(days=last)
    )
    with RawServer(answering(OK), certificate) as server, pytest.raises(TLSFailed) as raised:
        body(Config(), server.url)
    assert step in (raised.value.next_step or "")


@pytest.mark.parametrize("form", ["ca_file", "ca_directory"])
@pytest.mark.parametrize("scope", ["all hosts", "this host"])
def test_more_authorities_are_believed(
    server: RawServer, authority: trustme.CA, theirs: trustme.CA, tmp_path: Path, form: str, scope: str
) -> None:
    path = (
        written(theirs.cert_pem, tmp_path / "theirs.pem")
        if form == "ca_file"
        else hashed(theirs, tmp_path / "authorities")
    )
    more = {form: path}
    config = Config(**more) if scope == "all hosts" else Config(hosts=(Host("localhost", **more),))  # type: ignore[arg-type]
    with RawServer(answering(OK), authority.issue_cert("localhost")) as ours, Client(config) as client:
        assert client.get(server.url, limit=LIMIT).body == b"ok"
        assert client.get(ours.url, limit=LIMIT).body == b"ok"  # the others are still believed


def test_an_authority_of_one_host_is_not_believed_for_another(
    server: RawServer, theirs: trustme.CA, tmp_path: Path
) -> None:
    file = written(theirs.cert_pem, tmp_path / "theirs.pem")
    elsewhere = (Host("example.com", ca_file=file), Host("localhost:1", ca_file=file))
    with pytest.raises(TLSFailed):
        body(Config(hosts=elsewhere), server.url)
    assert body(Config(hosts=(Host(f"localhost:{server.port}", ca_file=file),)), server.url) == b"ok"


def test_authorities_come_from_the_environment_and_tls_is_of_today(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA
) -> None:
    written(authority.cert_pem, tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert tls_context(TlsSettings(), verify=True).cert_store_stats()["x509_ca"] == 1
    assert tls_context(TlsSettings(), verify=True).minimum_version == ssl.TLSVersion.TLSv1_2
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert tls_context(TlsSettings(), verify=True).cert_store_stats()["x509_ca"] == 0


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_either_variable_alone_replaces_what_the_system_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: RawServer, theirs: trustme.CA, variable: str
) -> None:
    file = written(theirs.cert_pem, tmp_path / "theirs.pem")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    places = {"SSL_CERT_FILE": file, "SSL_CERT_DIR": hashed(theirs, tmp_path / "authorities")}
    monkeypatch.setenv(variable, str(places[variable]))
    assert body(Config(), server.url) == b"ok"
    assert tls_context(TlsSettings(), verify=True).cert_store_stats()["x509_ca"] == (variable == "SSL_CERT_FILE")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_names_what_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: RawServer,
    caplog: pytest.LogCaptureFixture,
    variable: str,
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "mistyped"))
    for _ in range(2):
        with pytest.raises(TLSFailed, match="certificate is not acceptable"):
            body(Config(), server.url)
    [record] = caplog.records
    assert record.getMessage().startswith(f"{variable} names {tmp_path}/mistyped, which is not there")


def test_a_variable_that_names_no_certificate_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("certificate: mine")
    with pytest.raises(ConfigError, match=rf"SSL_CERT_FILE: {tmp_path}/ca\.pem holds no certificate in PEM"):
        body(Config(), "https://localhost:1/")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "can't be read: No such file or directory"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (lambda path: path.write_text("certificate: mine"), "holds no certificate in PEM"),
        (lambda path: path.write_text(""), "holds no certificate in PEM"),
        (os.mkfifo, "is not a file"),
    ],
    ids=["missing", "a directory", "something else", "empty", "a pipe"],
)
def test_a_file_of_authorities_that_is_no_use(
    direct: None, tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "ca.pem"
    make(path)
    with pytest.raises(ConfigError, match=f"ca_file: {path} ({reason})") as raised:
        body(Config(ca_file=path, origins={"ca_file": "flag"}), "https://localhost:1/")
    assert raised.value.facts == {"set by": "flag"}
    with pytest.raises(ConfigError, match=f"hosts.ca_file of localhost: {path} ({reason})") as raised:
        body(Config(hosts=(Host("localhost", ca_file=path, origin="the file"),)), "https://localhost:1/")
    assert raised.value.facts == {"set by": "the file"}


def test_a_directory_of_authorities_that_is_no_use(direct: None, theirs: trustme.CA, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"ca_directory: {tmp_path}/none can't be read: No such file"):
        body(Config(ca_directory=tmp_path / "none"), "https://localhost:1/")
    written(theirs.cert_pem, tmp_path / "theirs.pem")
    with pytest.raises(ConfigError, match=r"ca_directory: .* hash") as raised:
        body(Config(ca_directory=tmp_path), "https://localhost:1/")
    assert raised.value.next_step == f"openssl rehash {tmp_path}"


# Client certificates


class Demanding(RawServer):
    """A server that asks for a certificate of `authority`, and keeps the names in those that it got."""

    def __init__(
        self,
        certificate: trustme.LeafCert,
        authority: trustme.CA,
        *,
        demanded: bool = True,
        newest: ssl.TLSVersion,
    ) -> None:
        super().__init__(self._answer, certificate)
        self.shown: list[object] = []
        assert self._context is not None
        self._context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_OPTIONAL
        self._context.maximum_version = newest
        authority.configure_trust(self._context)

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        certificate = connection.getpeercert()
        self.shown.append(certificate and certificate.get("subjectAltName"))
        connection.sendall(OK)


@pytest.fixture
def identity(theirs: trustme.CA, tmp_path: Path) -> trustme.LeafCert:
    """A client certificate of theirs, in files of its own and with its key in one file."""
    leaf = theirs.issue_cert("me@example.com")
    written(leaf.cert_chain_pems[0], tmp_path / "me.pem")
    written(leaf.private_key_pem, tmp_path / "me.key")
    written(leaf.private_key_and_cert_chain_pem, tmp_path / "both.pem")
    return leaf


ME = (("email", "me@example.com"),)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("files", [("me.pem", "me.key"), ("both.pem", None)])
def test_a_client_certificate_is_shown_to_its_host(
    direct: None,
    localhost: trustme.LeafCert,
    theirs: trustme.CA,
    identity: trustme.LeafCert,
    tmp_path: Path,
    newest: ssl.TLSVersion,
    files: tuple[str, str | None],
) -> None:
    certificate, key = (tmp_path / file if file else None for file in files)
    host = Host("localhost", client_certificate=certificate, client_key=key)
    with Demanding(localhost, theirs, newest=newest) as server:
        assert body(Config(hosts=(host,)), server.url) == b"ok"
    assert server.shown == [ME]


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_and_gets_none(
    direct: None, localhost: trustme.LeafCert, theirs: trustme.CA, newest: ssl.TLSVersion
) -> None:
    with Demanding(localhost, theirs, newest=newest) as server, pytest.raises(TLSFailed) as raised:
        body(Config(), server.url)
    assert "client_certificate in [[hosts]]" in (raised.value.next_step or "")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_has_expired_is_to_be_renewed(
    direct: None, localhost: trustme.LeafCert, theirs: trustme.CA, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    leaf = theirs.issue_cert("me@example.com", not_after=datetime.now(UTC) - timedelta(days=1))
    written(leaf.private_key_and_cert_chain_pem, tmp_path / "both.pem")
    host = Host("localhost", client_certificate=tmp_path / "both.pem")
    with (
        Demanding(localhost, theirs, newest=newest) as server,
        pytest.raises(TLSFailed, match="expired") as raised,
    ):
        body(Config(hosts=(host,)), server.url)
    assert "renew the client certificate" in (raised.value.next_step or "")


def test_a_client_certificate_is_shown_to_nobody_else(
    direct: None, localhost: trustme.LeafCert, theirs: trustme.CA, identity: trustme.LeafCert, tmp_path: Path
) -> None:
    asking = {"demanded": False, "newest": ssl.TLSVersion.TLSv1_3}
    with (
        Demanding(localhost, theirs, **asking) as first,  # type: ignore[arg-type]
        Demanding(localhost, theirs, **asking) as second,  # type: ignore[arg-type]
    ):
        host = Host(f"localhost:{first.port}", client_certificate=tmp_path / "both.pem")
        with Client(Config(hosts=(host,))) as client:
            for server in (first, second, first):
                client.get(server.url, limit=LIMIT)
        with Client(Config(hosts=(host,), insecure_options=frozenset({"tls"}))) as client:
            client.get(first.url, limit=LIMIT)  # nobody knows to whom
    assert (first.shown, second.shown) == ([ME, ME, None], [None])


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("missing", None, "client_certificate of localhost: .*missing can't be read: No such file"),
        ("me.pem", "missing", "client_key of localhost: .*missing can't be read: No such file"),
        ("me.pem", None, "client_certificate of localhost: .*me.pem does not hold a private key in PEM"),
        (
            "me.pem",
            "me.pem",
            "client_certificate of localhost: .*me.pem does not hold a certificate, or the key its",
        ),
        (
            "me.key",
            "me.key",
            "client_certificate of localhost: .*me.key does not hold a certificate, or the key its",
        ),
        ("me.pem", "other.key", "client_key of localhost: .*other.key holds a key that is not that of the cert"),
        ("me.pem", "encrypted.key", "client_key of localhost: .*encrypted.key holds a key that is encrypted"),
    ],
)
def test_a_client_certificate_that_is_no_use(
    direct: None,
    theirs: trustme.CA,
    identity: trustme.LeafCert,
    tmp_path: Path,
    certificate: str,
    key: str | None,
    reason: str,
) -> None:
    written(theirs.issue_cert("other@example.com").private_key_pem, tmp_path / "other.key")
    encrypt = [
        "pkey",
        "-aes128",
        "-passout",
        "pass:secret",
        "-in",
        tmp_path / "me.key",
        "-out",
        tmp_path / "encrypted.key",
    ]
    subprocess.run([program("openssl"), *map(str, encrypt)], check=True)
    host = Host(
        "localhost",
        client_certificate=tmp_path / certificate,
        client_key=tmp_path / key if key else None,
        origin="x",
    )
    with pytest.raises(ConfigError, match=f"hosts.{reason}") as raised:
        body(Config(hosts=(host,)), "https://localhost:1/")
    assert raised.value.facts == {"set by": "x"}
    assert ("client_key =" in (raised.value.next_step or "")) == (certificate == "me.pem" and key is None)


def test_a_certificate_without_a_key_in_it_is_no_secret(
    direct: None, identity: trustme.LeafCert, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
    certificate.chmod(0o644)
    for client_key, error in ((key, "refused"), (None, "private key")):
        host = Host("localhost", client_certificate=certificate, client_key=client_key)
        with pytest.raises(AcistoreError, match=error):
            body(Config(hosts=(host,)), "https://localhost:1/")
    assert caplog.records == []


def test_a_key_that_others_can_read_gets_a_warning(
    direct: None, identity: trustme.LeafCert, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "both.pem"
    key.chmod(0o644)
    with pytest.raises(Exception, match="refused"):
        body(Config(hosts=(Host("localhost", client_certificate=key),)), "https://localhost:1/")
    assert [record.getMessage() for record in caplog.records] == [
        f"{key} holds secrets and can be read by other users: chmod 600 {key}"
    ]


# Versions


class OldFashioned(RawServer):
    """Speaks TLS 1.1 and nothing newer."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        super().__init__(answering(OK), certificate)
        assert self._context is not None
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        self._context.minimum_version = self._context.maximum_version = ssl.TLSVersion.TLSv1_1


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("insecure", [frozenset[str](), frozenset({"tls"})])
def test_tls_older_than_1_2_is_refused(
    direct: None, localhost: trustme.LeafCert, insecure: frozenset[str]
) -> None:
    with OldFashioned(localhost) as server, pytest.raises(TLSFailed) as raised:
        body(Config(insecure_options=insecure), server.url)
    assert "TLS 1.2 or newer" in (raised.value.next_step or "")


def test_a_server_that_offers_http_2_is_asked_by_http_1(direct: None, localhost: trustme.LeafCert) -> None:
    agreed = []

    def handler(connection: socket.socket, head: bytes) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        agreed.append(connection.selected_alpn_protocol())
        connection.sendall(OK)

    server = RawServer(handler, localhost)
    assert server._context is not None
    server._context.set_alpn_protocols(["h2", "http/1.1"])
    with server:
        assert body(Config(), server.url) == b"ok"
    assert agreed == ["http/1.1"]
    assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")
