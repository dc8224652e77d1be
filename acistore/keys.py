"""Where key material comes from: the page of a name, a URL, a file. What to think of it is the trust room's."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from acistore.config import Config
from acistore.discovery import Resolver
from acistore.errors import EndpointNotFound, FileUnusable, LimitExceeded
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


def discover_keys(
    name: ImageName, config: Config, *, client_for: Callable[[Config], Client] = Client
) -> list[KeyMaterial]:
    """The key files that the pages of a name point to (appc spec, discovery.md), asked for by one client.

    Pages and keys come over connections that are secure, whatever holds for images, unless `pubkey` is among
    the insecure options. Raises EndpointNotFound when there is none that can be fetched, and NetworkError.
    """
    with client_for(_for_keys(config)) as client:
        urls = Resolver(client).resolve_keys(name)
        for url in urls:
            if not _is_url(url):
                log.warning(
                    "the key %s, which the page of %s names, is not fetched: it is no https URL", url, name.name
                )
        fetchable = [url for url in urls if _is_url(url)]
        if not fetchable:
            found = {"found": urls[0]}
            raise EndpointNotFound(f"no key that can be fetched was found for {name.name}", facts=found)
        return [_fetch_key(url, client) for url in fetchable]


def read_key(source: str, config: Config) -> KeyMaterial:
    """A key file that a person names, by `https://` URL or path, of at most `limits.key_size` bytes.

    URLs as for `discover_keys`. Raises FileUnusable, ResourceNotFound, LimitExceeded, NetworkError.
    """
    if not _is_url(source):
        return _read_key_file(Path(source), config)
    with Client(_for_keys(config)) as client:
        return _fetch_key(source, client)


def _fetch_key(url: str, client: Client) -> KeyMaterial:
    answer = client.get(url, limit=client.limits.key_size, option="limits.key_size")
    return KeyMaterial(url, answer.found().body)


def _read_key_file(path: Path, config: Config) -> KeyMaterial:
    limit = config.limits.key_size
    try:
        with path.open("rb") as file:
            material = file.read(limit + 1)
    except OSError as error:
        raise FileUnusable(f"the key file {path} can't be read: {error.strerror}") from error
    if len(material) > limit:
        raise LimitExceeded(f"the key file {path} is larger than {limit} bytes", option="limits.key_size")
    return KeyMaterial(str(path.absolute()), material)


def _is_url(source: str) -> bool:
    return source.lower().startswith(("https://", "http://"))


def _for_keys(config: Config) -> Config:
    insecure = {"tls", "http"} if "pubkey" in config.insecure_options else set()
    return replace(config, insecure_options=frozenset(insecure))


def trust_discovered_keys(
    name: ImageName, trust: TrustStore, config: Config, *, client_for: Callable[[Config], Client] = Client
) -> None:
    """Trusts all keys that discovery finds for a name, for that name and below, because the caller has said so.

    Except those that somebody has masked. Each is told as a warning. Raises EndpointNotFound, NetworkError,
    KeyRefused.
    """
    masked = trust.masked_for(name.name)
    for found in discover_keys(name, config, client_for=client_for):
        keys = {key.fingerprint for key in trust.inspect(found.material)}
        for fingerprint in keys & masked:
            log.warning("key %s is masked for %s, and stays so", shown_fingerprint(fingerprint), name.name)
        if not keys - masked:
            continue
        for key in trust.add(
            found.material,
            prefix=name.name,
            source=found.source,
            layer=default_layer(),
            only=keys - masked,
        ):
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
