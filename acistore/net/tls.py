"""What is believed and shown in TLS: authorities and client certificates, for all hosts or for one.

TLS 1.2 or newer. The authorities are the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name, and in
addition those of `ca_file` and `ca_directory`; where a system has none at all, certifi's.
"""

import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi
import httpx

from acistore.config import Config, Host
from acistore.config.paths import Setting, of_all_hosts, of_host
from acistore.errors import ConfigError
from acistore.net.credentials.files import LONGEST, warn_if_open, warn_once
from acistore.net.hosts import for_host

# How OpenSSL finds an authority in a directory: by the hash of its name.
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
# How PEM announces one, be it encrypted or of a certain algorithm.
_PRIVATE_KEY = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate and its key, which may stand in the certificate's file."""

    certificate: Setting
    key: Setting | None


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What holds for a host, beyond the system's authorities.

    Connections with different settings are never shared, not even by two hosts with the same certificate.
    """

    ca_files: tuple[Setting, ...] = ()
    ca_directories: tuple[Setting, ...] = ()
    identity: Identity | None = None


class TlsRules:
    """The settings of each host, as the configuration has them. Of several tables for one the first that has a key
    counts for that key. Raises ConfigError for a wrong name of a host."""

    def __init__(self, config: Config) -> None:
        self._ca_file = of_all_hosts(config, "ca_file")
        self._ca_directory = of_all_hosts(config, "ca_directory")
        self._ca_files: dict[str, Setting] = {}
        self._ca_directories: dict[str, Setting] = {}
        self._identities: dict[str, Identity] = {}
        for host in reversed(config.hosts):
            self._add(host)

    def settings_for(self, url: httpx.URL) -> TlsSettings:
        """Those for the host of a URL."""
        return TlsSettings(
            ca_files=_present(self._ca_file, for_host(self._ca_files, url)),
            ca_directories=_present(self._ca_directory, for_host(self._ca_directories, url)),
            identity=for_host(self._identities, url),
        )

    def _add(self, host: Host) -> None:
        if file := of_host(host, "ca_file"):
            self._ca_files[host.name] = file
        if directory := of_host(host, "ca_directory"):
            self._ca_directories[host.name] = directory
        if certificate := of_host(host, "client_certificate"):
            self._identities[host.name] = Identity(certificate, of_host(host, "client_key"))


def tls_context(settings: TlsSettings | None = None, *, verify: bool) -> ssl.SSLContext:
    """A context for connections to servers. Raises ConfigError, which names the option and the file.

    Without `verify` any certificate will do, and none of ours is shown: nobody knows to whom.
    """
    settings = settings or TlsSettings()
    context = _named_by_environment() or ssl.create_default_context(
        cafile=None if _has_authorities() else certifi.where()
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in settings.ca_files:
        _believe_file(context, file)
    for directory in settings.ca_directories:
        _believe_directory(context, directory)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.identity:
        _show(context, settings.identity)
    return context


def _named_by_environment() -> ssl.SSLContext | None:
    """One that believes what SSL_CERT_FILE and SSL_CERT_DIR name and nobody else; None where neither is set.

    OpenSSL itself would take the system's directory beside a file that is named, and the other way round.
    """
    paths = ssl.get_default_verify_paths()
    file = os.environ.get(paths.openssl_cafile_env)
    directories = os.environ.get(paths.openssl_capath_env)
    if file is None and directories is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file and not Path(file).is_file():
        _tell_missing(paths.openssl_cafile_env, file)
    elif file:
        try:
            context.load_verify_locations(cafile=file)
        except (ssl.SSLError, OSError):
            raise ConfigError(f"{paths.openssl_cafile_env}: {file} holds no certificate in PEM") from None
    for directory in (directories or "").split(os.pathsep):
        if directory and not Path(directory).is_dir():
            _tell_missing(paths.openssl_capath_env, directory)
        elif directory:
            context.load_verify_locations(capath=directory)
    return context


def _tell_missing(variable: str, path: str) -> None:
    """No error, as it is none for other programs; but whoever has mistyped it would look elsewhere."""
    warn_once(path, f"{variable} names {path}, which is not there: no certificate authority is taken from it")


def _has_authorities() -> bool:
    """Whether the system has any."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return True
    return paths.capath is not None and any(Path(paths.capath).iterdir())


def _present(*settings: Setting | None) -> tuple[Setting, ...]:
    return tuple(setting for setting in settings if setting is not None)


def _believe_file(context: ssl.SSLContext, setting: Setting) -> None:
    setting.open().close()
    try:
        context.load_verify_locations(cafile=setting.path)
    except ssl.SSLError:
        raise setting.failure("holds no certificate in PEM") from None
    except OSError as error:
        raise setting.failure(f"can't be read: {error.strerror}") from None


def _believe_directory(context: ssl.SSLContext, setting: Setting) -> None:
    if not any(map(_HASHED.fullmatch, setting.entries())):
        raise setting.failure(
            "has no certificate under the hash of its name, as OpenSSL looks for it",
            next_step=f"openssl rehash {setting.path}",
        )
    context.load_verify_locations(capath=setting.path)


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    certificate, key = identity.certificate, identity.key
    secret = key or certificate
    secrets = [setting for setting in _present(certificate, key) if _holds_key(setting)]
    for setting in secrets:
        warn_if_open(setting.path)
    if key is None and not secrets:
        raise certificate.failure(
            "does not hold a private key in PEM",
            next_step='client_key = "FILE" beside client_certificate, with the key of the certificate in FILE',
        )
    try:
        context.load_cert_chain(certificate.path, key.path if key else None, password=_refuse_to_ask)
    except _EncryptedKey:
        raise secret.failure(
            "holds a key that is encrypted, and nobody is asked for its passphrase",
            next_step=f"openssl pkey -in {secret.path} -out DECRYPTED, and DECRYPTED for the key",
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise secret.failure(
                f"holds a key that is not that of the certificate in {certificate.path}"
            ) from None
        facts = "certificate and key" if key is None else "certificate, or the key its key,"
        raise certificate.failure(f"does not hold a {facts} in PEM") from None
    except OSError as error:
        raise certificate.failure(f"can't be read: {error.strerror}") from None


def _holds_key(setting: Setting) -> bool:
    """Whether a private key stands in the file. Raises ConfigError for one that can't be read."""
    with setting.open() as file:
        return _PRIVATE_KEY in file.read(LONGEST)


class _EncryptedKey(Exception):
    """OpenSSL wants a passphrase."""


def _refuse_to_ask() -> str:
    raise _EncryptedKey
