"""The job from top to bottom.

Signature first: is its issuer a key that is trusted for this name? Only then the download, which gpg hashes
while it runs; only what gpg has verified is decompressed; only what is what was asked for is recorded.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from acistore.config import Config
from acistore.discovery import Resolver
from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    DependencyCycle,
    FileUnusable,
    ImageNotFound,
    InsecureTransport,
    LimitExceeded,
    NetworkError,
    NotFound,
    NotTrusted,
    ResourceNotFound,
    UsageError,
)
from acistore.fetch.asked import Asked, is_path, is_url, path_of, signature_beside
from acistore.fetch.held import Held
from acistore.fetch.signature import read_signature
from acistore.keys import trust_discovered_keys
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.net.client import Client
from acistore.net.transfer import Progress, Transfer, download, require_room
from acistore.store import Admission, Remote, Store, StoredImage
from acistore.trust.check import SignatureCheck
from acistore.trust.keystore import TrustStore

log = logging.getLogger(__name__)

COPY_CHUNK = 1 << 20
# Images that one fetch brings along at most: each may cost a walk through pages.
DEPENDENCIES = 1000
# Times that a server is asked again because others removed what it said had not changed.
REPEATS = 5


class FetchProgress(Progress, Protocol):
    """What a caller may pass to follow a fetch: `Progress` for bytes, and steps in words."""

    def step(self, text: str) -> object:
        """Something begins that a person may want to know of."""
        ...


class _Silent:
    def step(self, text: str) -> None: ...
    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, count: int) -> None: ...
    def done(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image that was asked for, and where it came from. `reused`: the store's own was still good."""

    image: StoredImage
    source: str
    fetched_at: datetime
    reused: bool
    bytes_downloaded: int

    @property
    def id(self) -> ImageID:
        return self.image.id

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.image.labels)

    @property
    def size(self) -> int:
        """Bytes of the uncompressed tar."""
        return self.image.size

    @property
    def manifest(self) -> ImageManifest:
        return self.image.manifest


class Fetcher:
    """Brings images into a store.

    `progress` is told what goes on; `no_cache` asks every server again; `trust_keys_from_https` trusts the keys
    that discovery finds for a name for which none is trusted yet.
    """

    def __init__(
        self,
        store: Store,
        trust: TrustStore,
        config: Config,
        *,
        progress: FetchProgress | None = None,
        trust_keys_from_https: bool = False,
        no_cache: bool = False,
    ) -> None:
        self._store = store
        self._trust = trust
        self._config = config
        self._progress = progress or _Silent()
        self._trust_keys_from_https = trust_keys_from_https
        self._held = Held(store, trust, config, no_cache=no_cache)

    def fetch(
        self, wanted: str | ImageName, *, signature: str | None = None, pull_policy: str | None = None
    ) -> Fetched:
        """Fetches an image with all its dependencies, and returns it.

        `wanted` is an image name (as text it gets this machine's os and arch where it has none), an `https://`
        URL, or a path (anything that begins with `/`, `.` or `file:`). `signature` is a path or URL, by default
        where discovery says, or `.asc` behind the image's. `pull_policy` is `new`, `update` or `never`; by
        default the configuration's, and `new` for dependencies.

        Raises NotTrusted and its kinds, NetworkError and its kinds, NotFound, ArchiveRefused, DependencyCycle.
        """
        self._store.require_writable()
        policy = pull_policy or self._config.pull_policy
        below = pull_policy or ("never" if policy == "never" else "new")
        with Client(self._config) as client:
            if isinstance(wanted, str) and is_path(wanted):
                fetched = self._fetch_file(wanted, signature, client)
            elif isinstance(wanted, str) and is_url(wanted):
                fetched = self._fetch_url(wanted, signature, policy, client)
            else:
                name = _parse_name(wanted) if isinstance(wanted, str) else wanted
                fetched = self._fetch_name(name, Asked.by_name(name), signature, policy, client)
            self._fetch_dependencies(fetched.image, below, client, (fetched.id,), set())
        return fetched

    def _fetch_name(
        self, name: ImageName, asked: Asked, signature: str | None, policy: str, client: Client
    ) -> Fetched:
        """By discovery: from the first endpoint that serves an image whose signature and labels are right."""
        if answer := self._answer(asked, policy):
            return answer
        if self._trust_keys_from_https and not self._trust.keys_for(name.name):
            trust_discovered_keys(name, self._trust, self._config)
        self._progress.step(f"discovering {asked.shown}")
        failures: dict[str, AcistoreError] = {}
        for endpoint in Resolver(client).resolve_images(name):
            try:
                if not is_url(endpoint.image_url):
                    raise InsecureTransport(f"{endpoint.image_url} is neither https nor http, and is not fetched")
                place = signature or endpoint.signature_url
                return self._fetch_remote(endpoint.image_url, place, asked, client)
            except (NotTrusted, NetworkError, NotFound, ArchiveRefused) as error:
                log.info("endpoint %s: %s", endpoint.image_url, error)
                failures[endpoint.image_url] = error
        raise _weightiest(failures)

    def _fetch_url(self, url: str, signature: str | None, policy: str, client: Client) -> Fetched:
        asked = Asked(url)
        if answer := self._answer(asked, policy):
            return answer
        return self._fetch_remote(url, signature or signature_beside(url), asked, client)

    def _fetch_file(self, text: str, signature: str | None, client: Client) -> Fetched:
        """Through a private copy, so that the bytes stored are the bytes verified."""
        path = path_of(text).absolute()
        source = os.fsencode(path).decode(errors="backslashreplace")
        if not path.is_file():
            raise ResourceNotFound(f"there is no file {text}")
        asked = Asked(text)
        with (
            _about(asked),
            self._spool_file(str(path)) as spool,
            self._check(signature or signature_beside(str(path)), str(path), asked, client) as check,
        ):
            self._progress.step(f"reading {text}")
            _copy(path, spool, check, self._config.limits.image_size)
            image = self._admit(spool, check, asked, source, remote=None)
        return Fetched(image, source, image.last_used_at, False, 0)

    def _fetch_remote(self, url: str, signature_url: str, asked: Asked, client: Client) -> Fetched:
        """One image from one URL, conditionally when the store has it already."""
        for _attempt in range(REPEATS):
            with suppress(ImageNotFound):  # removed while its server was saying that it had not changed
                return self._fetch_once(url, signature_url, asked, client)
        return self._fetch_once(url, signature_url, asked, client)

    def _fetch_once(self, url: str, signature_url: str, asked: Asked, client: Client) -> Fetched:
        started = _now()
        with _about(asked), self._spool_file(url) as spool:
            known = self._held.at(url)
            if known and known[0].fetched_at > started and self._held.is_admitted(known[1]):
                return self._reuse(known[1], known[0], asked)  # another process was here meanwhile
            with self._check(signature_url, url, asked, client) as check:
                unchanged = known and self._held.is_admitted(known[1], check.digest if check else None)
                transfer = download(
                    client,
                    url,
                    spool,
                    limit=min(self._config.limits.image_size, asked.size or self._config.limits.image_size),
                    etag=known[0].etag if known and unchanged else None,
                    last_modified=known[0].last_modified if known and unchanged else None,
                    progress=self._progress,
                    tee=check.feed if check else None,
                )
                remote = _remote(url, signature_url, asked, transfer)
                if known and transfer.status == 304:
                    return self._reuse(known[1], _refreshed(known[0], remote), asked)
                image = self._admit(spool, check, asked, url, remote)
        return Fetched(image, url, remote.fetched_at, False, transfer.size)

    # --- what each way in has in common

    def _spool_file(self, source: str) -> AbstractContextManager[BinaryIO]:
        return self._store.spool_file(
            source, waiting=lambda: self._progress.step(f"waiting for another process that fetches {source}")
        )

    def _check(
        self, signature_place: str, image_place: str, asked: Asked, client: Client
    ) -> SignatureCheck | AbstractContextManager[None]:
        """Refuses before the download whom nobody trusts; None inside when images are not verified."""
        if "image" not in self._config.insecure_options:
            self._progress.step(f"checking who has signed {asked.shown}")
        signature = read_signature(signature_place, image_place, asked.shown, self._config, client)
        if signature is None:
            return nullcontext()
        return SignatureCheck(asked.shown, asked.name.name if asked.name else None, signature, self._trust)

    def _admit(
        self, spool: BinaryIO, check: SignatureCheck | None, asked: Asked, source: str, remote: Remote | None
    ) -> StoredImage:
        """The last questions: does the signature hold, is it the image asked for, may its signer sign for it?"""
        if check:
            check.finish()
        self._progress.step(f"storing {asked.shown}")
        return self._store.add(
            spool,
            admit=partial(self._admission, check, asked, source),
            remote=remote,
            latest=asked.as_latest,
            limit=self._config.limits.unpacked_size,
        )

    def _admission(
        self, check: SignatureCheck | None, asked: Asked, source: str, image_id: ImageID, manifest: ImageManifest
    ) -> Admission:
        asked.check(image_id, manifest)
        insecure = tuple(sorted(self._config.insecure_options))
        if check is None:
            return Admission("unverified", _now(), url=source, insecure=insecure)
        verdict = check.verdict(manifest.name).raise_if_refused()
        return Admission(
            "verified",
            _now(),
            scheme="openpgp",
            fingerprint=verdict.fingerprint,
            signing_fingerprint=verdict.signing_fingerprint,
            signer=verdict.signer,
            rule=verdict.rule,
            signature_digest=check.digest,
            signed_at=verdict.signed_at,
            signature_expires_at=verdict.expires_at,
            url=source,
            insecure=insecure,
        )

    def _answer(self, asked: Asked, policy: str) -> Fetched | None:
        """What the store has, if that will do without asking a server, and is not removed at this moment."""
        held = self._held.answer(asked, policy, _now())
        try:
            return self._reuse(*held, asked) if held else None
        except ImageNotFound:
            if policy == "never":
                raise
            return None

    def _reuse(self, image: StoredImage, remote: Remote | None, asked: Asked) -> Fetched:
        """The image that is in the store is the answer."""
        asked.check(image.id, image.manifest)
        self._progress.step(f"{asked.shown} is in the store")
        self._store.record_fetch(image, remote=remote, latest=asked.as_latest)
        here = self._store.get(image.id)
        admission = next(iter(self._store.admissions(here)), None)
        if admission is None:
            raise ImageNotFound(f"{image.id} was removed from the store")
        source = remote.url if remote else admission.url or ""
        fetched_at = remote.fetched_at if remote else admission.admitted_at
        return Fetched(here, source, fetched_at, True, 0)

    def _fetch_dependencies(
        self, image: StoredImage, policy: str, client: Client, chain: tuple[ImageID, ...], done: set[Asked]
    ) -> None:
        """What the image needs, depth first, each once. `chain` leads from the asked one to it."""
        for dependency in image.manifest.dependencies:
            asked = Asked.as_dependency(dependency)
            if asked in done:
                continue
            if len(done) >= DEPENDENCIES:
                raise DependencyCycle(f"{chain[0]} has more than {DEPENDENCIES} dependencies")
            if len(chain) > self._config.limits.dependency_depth:
                raise DependencyCycle(
                    f"the dependencies of {chain[0]} nest deeper than {self._config.limits.dependency_depth}",
                    facts={"at": str(image.image_name)},
                )
            try:
                needed = self._fetch_name(dependency.image_name, asked, None, policy, client).image
            except AcistoreError as error:
                error.facts.setdefault("needed by", str(image.image_name))
                raise
            if needed.id in chain:
                raise DependencyCycle(
                    f"{needed.image_name} depends on itself", facts={"by way of": str(image.image_name)}
                )
            self._fetch_dependencies(needed, policy, client, (*chain, needed.id), done)
            done.add(asked)


def _parse_name(text: str) -> ImageName:
    """A name as a person gives it: with this machine's os and arch where it has none."""
    if text.startswith("sha512-"):
        raise UsageError(f"{text} is an image ID, and images are fetched by name, https:// URL or path")
    if Path(text).is_file():
        log.warning("%s is taken as an image name; the file of that name is ./%s", text, text)
    return ImageName.parse(text).for_this_machine()


@contextmanager
def _about(asked: Asked) -> Iterator[None]:
    """Lets every error say which image it is about."""
    try:
        yield
    except AcistoreError as error:
        if asked.shown not in error.message:
            error.facts.setdefault("image", asked.shown)
        raise


def _now() -> datetime:
    return datetime.now(UTC)


def _remote(url: str, signature_url: str, asked: Asked, transfer: Transfer) -> Remote:
    return Remote(
        url=url,
        asked=str(asked.name) if asked.name else None,
        signature_url=signature_url,
        etag=transfer.etag,
        last_modified=transfer.last_modified,
        max_age=transfer.max_age,
        fetched_at=_now(),
    )


def _refreshed(known: Remote, answer: Remote) -> Remote:
    """What is known of a URL after a 304, which need not repeat the validators (RFC 9111, section 4.3.4)."""
    return replace(
        answer,
        etag=answer.etag or known.etag,
        last_modified=answer.last_modified or known.last_modified,
        max_age=known.max_age if answer.max_age is None else answer.max_age,
    )


def _copy(path: Path, spool: BinaryIO, check: SignatureCheck | None, limit: int) -> None:
    """Copies a local image into the spool file, each piece hashed on its way."""
    size = 0
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileUnusable(f"the image {path} can't be read: {error.strerror}") from error
    with file:
        require_room(str(path), os.fstat(file.fileno()).st_size, spool)
        while chunk := file.read(COPY_CHUNK):
            size += len(chunk)
            if size > limit:
                raise LimitExceeded(f"the image {path} is larger than {limit} bytes")
            spool.write(chunk)
            if check:
                check.feed(chunk)


def _weightiest(failures: dict[str, AcistoreError]) -> AcistoreError:
    """Of the failures at all endpoints the one to report: trust before network before the rest, with what the
    other endpoints said among its facts."""
    kinds: Sequence[type[AcistoreError]] = (NotTrusted, NetworkError, AcistoreError)
    (_url, error), *others = sorted(
        failures.items(),
        key=lambda each: next(rank for rank, kind in enumerate(kinds) if isinstance(each[1], kind)),
    )
    error.facts.update({url: other.message for url, other in others})
    return error
