"""Where key material comes from: the page of a name, a URL, a file. What to think of it is the trust room's."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from acistore.config import Config
from acistore.discovery import Resolver
from acistore.errors import FileUnusable, LimitExceeded
from acistore.naming import ImageName
from acistore.net.client import Client
from acistore.trust.keys import shown_fingerprint
from acistore.trust.keystore import TrustStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The bytes of a key file, and the URL or path that they came from."""

    source: str
    material: bytes


def discover_keys(name: ImageName, config: Config) -> list[KeyMaterial]:
    """The key files that the pages of a name point to (appc spec, discovery.md), fetched over HTTPS.

    Raises EndpointNotFound when there is none, and NetworkError.
    """
    with Client(config) as client:
        urls = Resolver(client).resolve_keys(name)
    return [read_key(url, config) for url in urls]


def read_key(source: str, config: Config) -> KeyMaterial:
    """A key file by `https://` URL or path, of at most `limits.key_size` bytes.

    Connections for keys are always secure, whatever holds for images, unless `pubkey` is among the insecure
    options. Raises FileUnusable, ResourceNotFound, LimitExceeded, NetworkError.
    """
    limit = config.limits.key_size
    if source.startswith(("https://", "http://")):
        with Client(_for_keys(config)) as client:
            return KeyMaterial(source, client.get(source, limit=limit).found().body)
    path = Path(source)
    try:
        with path.open("rb") as file:
            material = file.read(limit + 1)
    except OSError as error:
        raise FileUnusable(f"the key file {path} can't be read: {error.strerror}") from error
    if len(material) > limit:
        raise LimitExceeded(f"the key file {path} is larger than {limit} bytes")
    return KeyMaterial(str(path.absolute()), material)


def _for_keys(config: Config) -> Config:
    insecure = {"tls", "http"} if "pubkey" in config.insecure_options else set()
    return replace(config, insecure_options=frozenset(insecure))


def trust_discovered_keys(name: ImageName, trust: TrustStore, config: Config) -> None:
    """Trusts all keys that discovery finds for a name, for that name and below, because the caller has said so.

    Each is told as a warning. Raises EndpointNotFound, NetworkError, KeyRefused.
    """
    for found in discover_keys(name, config):
        for key in trust.add(found.material, prefix=name.name, source=found.source, layer=default_layer()):
            log.warning(
                "key %s %s is trusted for %s from now on, because %s says so",
                shown_fingerprint(key.fingerprint),
                key.user_id or "",
                name.name,
                found.source,
            )


def default_layer() -> Literal["local", "user"]:
    """Where a key is kept unless something else is said: for the machine by root, for oneself by others."""
    return "local" if os.geteuid() == 0 else "user"
