"""The job from top to bottom.

Signature first: is its issuer a key that is trusted for this name? Only then the download, which gpg hashes
while it runs; only what gpg has verified is decompressed; only what is what was asked for is recorded.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, Protocol

from acistore.config import Config
from acistore.discovery import Endpoint, Resolver
from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    DependencyCycle,
    FileUnusable,
    ImageNotFound,
    LimitExceeded,
    NetworkError,
    NotFound,
    NotTrusted,
    SignatureMissing,
    UntrustedSigner,
)
from acistore.fetch.asked import Asked, is_path, is_url, path_of, signature_beside
from acistore.keys import trust_discovered_keys
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.net.client import Client
from acistore.net.transfer import Progress, Transfer, download
from acistore.store import Admission, Remote, Store, StoredImage
from acistore.trust.check import SignatureCheck, is_still_trusted
from acistore.trust.keystore import TrustStore

log = logging.getLogger(__name__)

COPY_CHUNK = 1 << 20


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
        self._no_cache = no_cache

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
        policy = pull_policy or self._config.pull_policy
        with Client(self._config) as client:
            if isinstance(wanted, str) and is_path(wanted):
                fetched = self._fetch_file(wanted, signature)
            elif isinstance(wanted, str) and is_url(wanted):
                fetched = self._fetch_url(wanted, signature, policy, client)
            else:
                name = ImageName.parse(wanted).for_this_machine() if isinstance(wanted, str) else wanted
                fetched = self._fetch_by_name(Asked.by_name(name), signature, policy, client)
            policy_below = pull_policy or ("never" if policy == "never" else "new")
            self._fetch_dependencies(fetched.image, policy_below, client, (fetched.id,), set())
        return fetched

    # --- by name, by URL, from a file

    def _fetch_by_name(self, asked: Asked, signature: str | None, policy: str, client: Client) -> Fetched:
        """By discovery: the first endpoint that serves the image and whose signature holds."""
        assert asked.name is not None
        if held := self._held(asked, policy):
            return held
        if self._trust_keys_from_https and not self._trust.keys_for(asked.name.name):
            trust_discovered_keys(asked.name, self._trust, self._config)
        self._progress.step(f"discovering {asked.shown}")
        found = Resolver(client).resolve_images(asked.name)
        failures: list[AcistoreError] = []
        for endpoint in found:
            try:
                return self._fetch_endpoint(endpoint, signature, asked, client)
            except (NotTrusted, NetworkError, NotFound, ArchiveRefused) as error:
                log.info("%s: %s", endpoint.image_url, error)
                failures.append(error)
        raise _weightiest(failures, [endpoint.image_url for endpoint in found])

    def _fetch_endpoint(
        self, endpoint: Endpoint, signature: str | None, asked: Asked, client: Client
    ) -> Fetched:
        return self._fetch_remote(endpoint.image_url, signature or endpoint.signature_url, asked, client)

    def _fetch_url(self, url: str, signature: str | None, policy: str, client: Client) -> Fetched:
        known = None if self._no_cache else self._store.remote(url)
        if policy != "update" and known and self._is_admitted(known[1]):
            return self._reuse(known[1], known[0], Asked(url))
        if policy == "never":
            raise ImageNotFound(
                f"nothing in the store came from {url}", next_step=f"acistore fetch --pull-policy new {url}"
            )
        return self._fetch_remote(url, signature or signature_beside(url), Asked(url), client)

    def _fetch_file(self, text: str, signature: str | None) -> Fetched:
        """Through a private copy, so that the bytes stored are the bytes verified."""
        path = path_of(text)
        asked = Asked(text)
        with (
            self._spool_file(str(path.absolute())) as spool,
            self._check(self._signature(signature or signature_beside(str(path)), asked, None), asked) as check,
        ):
            self._progress.step(f"reading {text}")
            _copy(path, spool, check, self._config.limits.image_size)
            image = self._admit(spool, check, asked, str(path.absolute()), remote=None)
        return Fetched(image, str(path.absolute()), image.last_used_at, False, 0)

    # --- one image at one URL

    def _fetch_remote(self, url: str, signature_url: str, asked: Asked, client: Client) -> Fetched:
        started = _now()
        with self._spool_file(url) as spool:
            known = None if self._no_cache else self._store.remote(url)
            if known and self._may_reuse(*known, started, asked):
                return self._reuse(known[1], known[0], asked)
            self._progress.step(f"checking who has signed {asked.shown}")
            with self._check(self._signature(signature_url, asked, client), asked) as check:
                reusable = known and self._is_admitted(known[1], check.digest if check else None)
                etag = known[0].etag if known and reusable else None
                transfer = self._download(url, spool, check, asked, etag, client)
                remote = _remote(url, signature_url, asked, transfer)
                if known and transfer.status == 304:
                    return self._reuse(known[1], replace(remote, etag=known[0].etag), asked)
                image = self._admit(spool, check, asked, url, remote)
        return Fetched(image, url, remote.fetched_at, False, transfer.size)

    def _download(
        self, url: str, spool: BinaryIO, check: SignatureCheck | None, asked: Asked, etag: str | None, client: Client
    ) -> Transfer:
        limit = min(self._config.limits.image_size, asked.size or self._config.limits.image_size)
        return download(
            client,
            url,
            spool,
            limit=limit,
            etag=etag,
            progress=self._progress,
            tee=check.feed if check else None,
        )

    def _admit(
        self, spool: BinaryIO, check: SignatureCheck | None, asked: Asked, source: str, remote: Remote | None
    ) -> StoredImage:
        """The last questions: is the signature right, is it the image asked for, may its signer sign for it?"""
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
        self,
        check: SignatureCheck | None,
        asked: Asked,
        source: str,
        image_id: ImageID,
        manifest: ImageManifest,
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
            signer=verdict.signer,
            rule=verdict.rule,
            signature_digest=check.digest,
            signed_at=verdict.signed_at,
            url=source,
            insecure=insecure,
        )

    # --- signatures

    def _signature(self, place: str, asked: Asked, client: Client | None) -> bytes | None:
        """The signature's bytes; None when images are not verified. Raises SignatureMissing."""
        if "image" in self._config.insecure_options:
            return None
        limit = self._config.limits.signature_size
        if client is not None and is_url(place):
            response = client.get(place, limit=limit)
            if response.status == 200:
                return response.body
            why = f"{place} answered {response.status}"
        else:
            try:
                with path_of(place).open("rb") as file:
                    signature = file.read(limit + 1)
            except FileNotFoundError:
                why = f"there is no {place}"
            except OSError as error:
                raise FileUnusable(f"{place} can't be read: {error.strerror}") from error
            else:
                if len(signature) <= limit:
                    return signature
                raise LimitExceeded(f"the signature {place} is larger than {limit} bytes")
        raise SignatureMissing(
            f"{asked.shown} has no signature",
            facts={"looked for": why},
            next_step="ask its publisher to sign it, or name the signature with --signature",
        )

    def _check(
        self, signature: bytes | None, asked: Asked
    ) -> SignatureCheck | nullcontext[None]:
        if signature is None:
            return nullcontext()
        return SignatureCheck(asked.shown, asked.name.name if asked.name else None, signature, self._trust)

    # --- what the store holds already

    def _held(self, asked: Asked, policy: str) -> Fetched | None:
        """The store's own image, where the policy and the server's last word allow it without asking."""
        assert asked.name is not None
        if policy == "update":
            for remote, image in () if self._no_cache else self._store.remotes_for(asked.name):
                if remote.is_fresh(_now()) and self._is_admitted(image):
                    return self._reuse(image, remote, asked)
            return None
        try:
            image = self._store.get(asked.image_id or asked.name)
            asked.check(image.id, image.manifest)
        except ImageNotFound:
            if policy == "never":
                raise
            return None
        if self._is_admitted(image):
            return self._reuse(image, None, asked)
        if policy == "never":
            raise UntrustedSigner(
                f"{asked.shown} is in the store, but was not admitted by a key that is trusted for it now",
                next_step=f"acistore fetch {asked.shown}",
            )
        return None

    def _may_reuse(self, remote: Remote, image: StoredImage, started: datetime, asked: Asked) -> bool:
        """Whether the server need not be asked: it said so, or another process has just fetched it."""
        if not (remote.is_fresh(started) or remote.fetched_at > started):
            return False
        return self._is_admitted(image) and not _mismatch(image, asked)

    def _is_admitted(self, image: StoredImage, signature_digest: bytes | None = None) -> bool:
        """Whether the image would be admitted today: by a key that let it in and is still trusted for its name.

        With the digest of a signature, only an admission by that very signature counts.
        """
        if "image" in self._config.insecure_options:
            return True
        return any(
            is_still_trusted(admission.fingerprint, image.name, self._trust)
            for admission in self._store.admissions(image)
            if admission.fingerprint and signature_digest in (None, admission.signature_digest)
        )

    def _reuse(self, image: StoredImage, remote: Remote | None, asked: Asked) -> Fetched:
        asked.check(image.id, image.manifest)
        self._progress.step(f"{asked.shown} is in the store")
        self._store.record_fetch(image, remote=remote, latest=asked.as_latest)
        remotes = [remote] if remote else self._store.remotes(image)
        source = remotes[0].url if remotes else self._store.admissions(image)[0].url
        fetched_at = remotes[0].fetched_at if remotes else image.imported_at
        return Fetched(self._store.get(image.id), source or "", fetched_at, True, 0)

    # --- dependencies

    def _fetch_dependencies(
        self, image: StoredImage, policy: str, client: Client, chain: tuple[ImageID, ...], done: set[ImageID]
    ) -> None:
        """Fetches what the image needs, depth first, each image once. `chain` leads from the asked one to it."""
        for dependency in image.manifest.dependencies:
            asked = Asked.as_dependency(dependency)
            if len(chain) > self._config.limits.dependency_depth:
                raise DependencyCycle(
                    f"the dependencies of {chain[0]} nest deeper than {self._config.limits.dependency_depth}",
                    facts={"at": asked.shown},
                )
            needed = self._fetch_by_name(asked, None, policy, client).image
            if needed.id in chain:
                raise DependencyCycle(
                    f"{needed.image_name} depends on itself", facts={"by way of": str(image.image_name)}
                )
            if needed.id not in done:
                self._fetch_dependencies(needed, policy, client, (*chain, needed.id), done)
                done.add(needed.id)

    def _spool_file(self, source: str):
        return self._store.spool_file(
            source, waiting=lambda: self._progress.step(f"waiting for another process that fetches {source}")
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _remote(url: str, signature_url: str, asked: Asked, transfer: Transfer) -> Remote:
    return Remote(
        url=url,
        asked=str(asked.name) if asked.name else None,
        signature_url=signature_url,
        etag=transfer.etag,
        last_modified=transfer.last_modified,
        max_age=transfer.max_age or 0,
        fetched_at=_now(),
    )


def _mismatch(image: StoredImage, asked: Asked) -> bool:
    try:
        asked.check(image.id, image.manifest)
    except AcistoreError:
        return True
    return False


def _copy(path, spool: BinaryIO, check: SignatureCheck | None, limit: int) -> None:
    """Copies a local image into the spool file, each piece hashed on its way."""
    try:
        with path.open("rb") as file:
            size = 0
            while chunk := file.read(COPY_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise LimitExceeded(f"{path} is larger than {limit} bytes")
                spool.write(chunk)
                if check:
                    check.feed(chunk)
    except OSError as error:
        raise FileUnusable(f"{path} can't be read: {error.strerror}") from error


def _weightiest(failures: Sequence[AcistoreError], urls: Sequence[str]) -> AcistoreError:
    """Of the failures at all endpoints, the one to report: trust before network before the rest; with the
    others' messages among its facts."""
    ranks = (NotTrusted, NetworkError, AcistoreError)
    first = min(failures, key=lambda error: next(rank for rank, kind in enumerate(ranks) if isinstance(error, kind)))
    others = {url: error.message for url, error in zip(urls, failures, strict=True) if error is not first}
    first.facts.update(others)
    return first
