"""Where key material comes from: the page of a name, a URL, a file. What to think of it is the trust room's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from acistore.config import Config
from acistore.discovery import Resolver
from acistore.errors import EndpointNotFound, InsecureTransport
from acistore.events import log_of
from acistore.files import read_bounded
from acistore.fingerprints import shown_fingerprint
from acistore.naming import ImageName
from acistore.net.client import Client
from acistore.net.passwords import has_user, require_no_password
from acistore.net.urls import is_url, shown
from acistore.trust.keys import PublicKey
from acistore.trust.keystore.store import TrustStore
from acistore.trust.lifetime import problem
from acistore.trust.offers import Offer, choose
from acistore.trust.places import default_layer

__all__ = [
    "Confirm",
    "KeyMaterial",
    "Offer",
    "default_layer",
    "discover_keys",
    "read_key",
    "trust_discovered_keys",
]

log = log_of(__name__)


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The bytes of a key file, and the URL or path that they came from."""

    source: str
    material: bytes


class Confirm(Protocol):
    """Asks the person who decides what is trusted. A fetch has the thread ask that waits for its outcomes."""

    def trust(self, offers: Sequence[Offer], prefix: str, layer: str) -> bool:
        """Whether all these keys are to be trusted for a name and what is below it, and kept in that layer."""
        ...


def discover_keys(
    name: ImageName, config: Config, *, client_for: Callable[[Config], Client] = Client
) -> list[KeyMaterial]:
    """The key files that the pages of a name point to (appc spec, discovery.md), asked for by one client.

    Pages and keys come over connections that are secure, whatever holds for images, unless `pubkey` is among
    the insecure options. Raises EndpointNotFound when there is none that can be fetched, and NetworkError.
    """
    with _allowed_by_pubkey(), client_for(_for_keys(config)) as client:
        urls = Resolver(client).resolve_keys(name)
        fetchable: list[str] = []
        for url in urls:
            if reason := _why_not_fetched(url):
                log.warning(
                    "the key %s, which the page of %s names, is not fetched: %s", shown(url), name.name, reason
                )
            else:
                fetchable.append(url)
        if not fetchable:
            found = {"found": shown(urls[0])}
            raise EndpointNotFound(f"no key that can be fetched was found for {name.name}", facts=found)
        return [_fetch_key(url, client) for url in fetchable]


def read_key(source: str, config: Config) -> KeyMaterial:
    """A key file that a person names, by `https://` URL or path, of at most `limits.key_size` bytes.

    URLs as for `discover_keys`. Raises UsageError (a URL with a user name or password in it), FileUnusable,
    ResourceNotFound, LimitExceeded, NetworkError.
    """
    if not is_url(source):
        return _read_key_file(Path(source), config)
    require_no_password(source)
    with _allowed_by_pubkey(), Client(_for_keys(config)) as client:
        return _fetch_key(source, client)


def _why_not_fetched(url: str) -> str | None:
    """Why a key that a page names is left where it is."""
    if not is_url(url):
        return "it is no https URL"
    # It would be recorded as where the key came from, for everybody to read.
    return "it has a user name or password in it" if has_user(url) else None


def _fetch_key(url: str, client: Client) -> KeyMaterial:
    answer = client.get(url, limit=client.limits.key_size, option="limits.key_size")
    return KeyMaterial(url, answer.found().body)


def _read_key_file(path: Path, config: Config) -> KeyMaterial:
    limit = config.limits.key_size
    material = read_bounded(path, f"the key file {path}", limit=limit, option="limits.key_size")
    return KeyMaterial(str(path.absolute()), material)


def _for_keys(config: Config) -> Config:
    insecure = {"tls", "http"} if "pubkey" in config.insecure_options else set()
    return replace(config, insecure_options=frozenset(insecure))


@contextmanager
def _allowed_by_pubkey() -> Iterator[None]:
    """What the client says of plain HTTP is true of images; of keys another option decides."""
    try:
        yield
    except InsecureTransport as error:
        if error.next_step:
            error.next_step = error.next_step.replace("--insecure-options=http", "--insecure-options=pubkey")
        raise


def trust_discovered_keys(
    name: ImageName, trust: TrustStore, config: Config, *, client_for: Callable[[Config], Client] = Client
) -> None:
    """Trusts all keys that discovery finds for a name, for that name and below, because the caller has said so.

    Except those that somebody has masked, and those of no use: expired, revoked, or nothing in them can sign. Each
    is told as a warning. Raises EndpointNotFound, NetworkError, KeyRefused.
    """
    masked = trust.masked_for(name.name)
    offers, _ = choose(trust.offers(discover_keys(name, config, client_for=client_for)), ())
    for fingerprint in sorted({key.fingerprint for offer in offers for key in offer.keys} & masked):
        log.warning("key %s is masked for %s, and stays so", shown_fingerprint(fingerprint), name.name)
    wanted = [
        Offer(offer.source, tuple(key for key in offer.keys if key.fingerprint not in masked and _is_of_use(key)))
        for offer in offers
    ]
    trust.trust(wanted, prefix=name.name, layer=default_layer())
    for offer in wanted:
        for key in offer.keys:
            log.warning(
                "key %s %s is trusted for %s from now on, because %s says so",
                shown_fingerprint(key.fingerprint),
                key.user_id or "",
                name.name,
                offer.source,
            )


def _is_of_use(key: PublicKey) -> bool:
    """Whether a key can admit anything; why it can't is told."""
    if trouble := problem(key, datetime.now(UTC)):
        log.warning("key %s is not trusted: %s", shown_fingerprint(key.fingerprint), trouble.words)
    return trouble is None
