"""One image, without what it needs: found, checked, downloaded, stored.

Signature first: is its issuer a key that is trusted for this name? Only then the download, which gpg hashes
while it runs; only what gpg has verified is decompressed; only what is what was asked for is recorded.
"""

import logging
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial

from acistore.config import Config
from acistore.discovery import Endpoint, Resolver
from acistore.errors import (
    AcistoreError,
    ArchiveRefused,
    BadSignature,
    DiskFull,
    DowngradeRefused,
    EndpointNotFound,
    ImageMismatch,
    ImageNotFound,
    InsecureTransport,
    LimitExceeded,
    NetworkError,
    NotFound,
    NotTrusted,
    ResourceNotFound,
    UsageError,
)
from acistore.events import course, log_of, tell
from acistore.fetch.admit import Admitter
from acistore.fetch.asked import Asked, is_path, path_of
from acistore.fetch.crew import Recall
from acistore.fetch.fetched import Fetched
from acistore.fetch.held import Held
from acistore.fetch.latest import Latest
from acistore.fetch.local import copy_in
from acistore.fetch.newcomers import Newcomers
from acistore.fetch.places import Failures, Mirrors, without_user
from acistore.fetch.remotes import known_signature, remote_of, why_not_asked
from acistore.fetch.signature import Claim, Place
from acistore.naming import ImageName
from acistore.net.client import Client
from acistore.net.freshness import Validators
from acistore.net.transfer import download
from acistore.net.urls import is_url
from acistore.progress import Progress
from acistore.store import Remote, Store, StoredImage
from acistore.store.spool import SpoolFile
from acistore.trust.keystore.store import TrustStore
from acistore.trust.policy import Verdict

log = log_of(__name__)

# After these another place may do better.
_FAULTS_OF_A_PLACE = (NotTrusted, NetworkError, NotFound, ArchiveRefused)
# Times that a server is asked again because others removed what it said had not changed.
REPEATS = 5
_NOTHING_KEPT = "nothing; its server gives no strong ETag or Last-Modified, by which it could be gone on with"
# How a decision reads, before its reason.
_IN_WORDS = {
    "reuse": "the store's own, since ",
    "next place": "not from here: ",
    "restart": "once more from the beginning: ",
    "admit": "admitted, ",
    "refuse": "given up: ",
}


class ImageFetcher:
    """Brings single images into a store. Safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        trust: TrustStore,
        config: Config,
        client: Client,
        *,
        held: Held,
        newcomers: Newcomers,
        progress: Progress,
        recall: Recall,
        allow_downgrade: bool,
    ) -> None:
        self._store = store
        self._trust = trust
        self._config = config
        self._client = client
        self._held = held
        self._newcomers = newcomers
        self._progress = progress
        self._recall = recall
        self._admitter = Admitter(store, config, progress, recall)
        self._latest = Latest(trust, allow_downgrade=allow_downgrade)
        self._resolver = Resolver(client)
        self._mirrors = Mirrors(config)

    def fetch(self, asked: Asked, policy: str, *, signature: str | None) -> Fetched:
        """Fetches the image that is asked for; `signature` is where its signature is, if not the usual place."""
        with course(image=asked.shown), _about(asked):
            try:
                if asked.name is not None:
                    return self._by_name(asked, asked.name, policy, signature)
                if is_path(asked.shown):
                    return self._from_file(asked, signature, policy)
                return self._from_url(asked, policy, signature)
            except AcistoreError as error:
                if policy == "update" and isinstance(error, NetworkError | NotFound):
                    self._tell_of_held(asked, error)
                self._decide(asked, "refuse", error.message, level=logging.DEBUG)
                raise

    def _tell_of_held(self, asked: Asked, error: AcistoreError) -> None:
        """Whoever asks for news and gets none may want to know of what there is."""
        if held := self._held.answer(asked, "new", _now()):
            error.facts.setdefault("in the store", f"{held[0].id}; --pull-policy new takes it without asking")
            if error.next_step is None and asked.is_named:
                command = f"acistore fetch --pull-policy new {shlex.quote(asked.shown)}"
                error.next_step = f"if what the store has will do: {command}"

    def _by_name(self, asked: Asked, name: ImageName, policy: str, signature: str | None) -> Fetched:
        """From the first mirror or endpoint that serves an image whose signature and labels are right."""
        if answer := self._answer(asked, policy):
            return answer
        self._newcomers.meet(asked, name)
        failures = Failures()
        for endpoint in self._endpoints(asked, name, failures):
            if endpoint.image_url in failures.urls:
                continue
            try:
                self._mirrors.require_up(endpoint)
                if not is_url(endpoint.image_url):
                    raise InsecureTransport(f"{endpoint.image_url} is neither https nor http, and is not fetched")
                fetched = self._from_remote(_place(endpoint, signature), asked)
            except AcistoreError as error:
                failures.add(endpoint.image_url, error)
                self._keep_one(failures)
                if not isinstance(error, _FAULTS_OF_A_PLACE):
                    self._tell_of_kept(error, *failures.urls)
                    raise
                why = error.message if endpoint.image_url in error.message else f"{endpoint.image_url}: {error}"
                self._decide(asked, "next place", why, url=endpoint.image_url)
                if not endpoint.page:
                    self._mirrors.failed(endpoint, error)
            else:
                for url in failures.urls:
                    self._store.spool.forget(url)
                return fetched
        weightiest = failures.weightiest()
        self._tell_of_kept(weightiest, *failures.urls)
        raise weightiest

    def _tell_of_kept(self, error: AcistoreError, *urls: str) -> None:
        """Says what is left of downloads that broke off."""
        if kept := max(map(self._store.spool.kept_of, urls), default=0):
            error.facts["kept"] = f"{kept} bytes, with which the next fetch goes on"

    def _keep_one(self, failures: Failures) -> None:
        """Of what came from several places the most stays, for the next fetch, and nothing of the others: many
        places must not fill the disk."""
        for url in sorted(failures.urls, key=self._store.spool.kept_of)[:-1]:
            self._store.spool.forget(url)

    def _endpoints(self, asked: Asked, name: ImageName, failures: Failures) -> Iterator[Endpoint]:
        """The mirrors, and only when none of them serves what discovery finds. What discovery fails with is one
        failure among the others."""
        yield from self._mirrors.places(name)
        if self._config.mirrors_only:
            if not failures:
                raise EndpointNotFound(
                    f"no mirror is for {asked.shown}, and nobody else is asked (mirrors_only)",
                    next_step="acistore config shows the mirrors",
                )
            return
        self._progress.step(f"discovering {asked.shown}")
        try:
            yield from map(without_user, self._resolver.resolve_images(name))
        except (NetworkError, NotFound) as error:
            if not failures:
                raise
            failures.add("discovery", error)

    def _from_url(self, asked: Asked, policy: str, signature: str | None) -> Fetched:
        if answer := self._answer(asked, policy):
            return answer
        try:
            return self._from_remote(Place.beside(asked.shown, signature), asked)
        except AcistoreError as error:
            self._tell_of_kept(error, asked.shown)
            raise

    def _from_file(self, asked: Asked, signature: str | None, policy: str) -> Fetched:
        """Through a private copy, so that the bytes stored are the bytes verified."""
        path = path_of(asked.shown).absolute()
        source = os.fsencode(path).decode(errors="backslashreplace")
        if not path.is_file():
            raise ResourceNotFound(f"there is no file {asked.shown}")
        place = Place.beside(str(path), signature)
        if policy == "never" and signature and is_url(signature):
            raise UsageError(f"the pull policy is never, and the signature {signature} would be asked for")
        with (
            self._spool(str(path), resume=False) as spool,
            self._claim(place, asked) as claim,
        ):
            self._progress.step(f"reading {asked.shown}")
            copy_in(path, spool, claim, self._config.limits.image_size)
            claim.finish(spool)
            image = self._admitter.admit(spool, claim, asked, source)
        self._decide(asked, "admit", _reason(claim.decided), id=str(image.id), url=source)
        return Fetched(image, source, image.last_used_at, False, 0)

    def _from_remote(self, place: Place, asked: Asked) -> Fetched:
        """One image from one URL, conditionally when the store has it already."""
        again, removed = True, 0
        while True:
            try:
                return self._download(place, asked, may_repeat=again)
            except ImageNotFound:  # removed while its server was saying that it had not changed
                removed += 1
                if removed == REPEATS:
                    raise
            except _Disturbed as error:
                self._decide(asked, "restart", str(error), url=place.image)
                again = False

    def _download(self, place: Place, asked: Asked, *, may_repeat: bool) -> Fetched:
        url, started = place.image, _now()
        most = self._config.limits.image_size
        with self._spool(url, resume=may_repeat) as spool:
            spool.keep = True  # what was there already, until it turns out to be of no use
            try:
                known = self._held.at(url)
                if known and started < known[0].fetched_at <= _now() and self._held.is_admitted(known[1]):
                    spool.keep = False
                    return self._reuse(known[1], known[0], asked, "somebody else has fetched it meanwhile")
                with self._claim(place, asked, known_signature(known, self._held)) as claim:
                    spool.keep = False
                    transfer = download(
                        self._client,
                        url,
                        spool,
                        limit=min(most, asked.size or most),
                        option="limits.image_size" if (asked.size or most) >= most else None,
                        known=self._conditions(known, claim),
                        progress=self._progress,
                        reader=claim,
                    )
                    remember = partial(remote_of, url, asked, transfer, at=_now())
                    if known and transfer.status == 304:
                        remote = remember(claim, known=known[0])
                        return self._reuse(known[1], remote, asked, "its server says that it has not changed")
                    may_repeat = may_repeat and transfer.disturbed
                    remote, image = self._prove(spool, claim, asked, url, remember, may_repeat=may_repeat)
            except BaseException as error:
                spool.keep = spool.keep or _can_be_gone_on_with(error)
                if isinstance(error, LimitExceeded) and error.next_step is None and asked.size:
                    error.facts.setdefault("limit", "the size in the manifest of the image that needs it")
                if isinstance(error, NetworkError) and spool.note is None and spool.size:
                    error.facts.setdefault("kept", _NOTHING_KEPT)
                raise
        self._decide(asked, "admit", _reason(claim.decided), id=str(image.id), url=url)
        return Fetched(image, url, remote.fetched_at, False, transfer.received)

    def _prove(
        self,
        spool: SpoolFile,
        claim: Claim,
        asked: Asked,
        url: str,
        remember: Callable[[Claim], Remote],
        *,
        may_repeat: bool,
    ) -> tuple[Remote, StoredImage]:
        """Stores what was downloaded, if it is admitted; _Disturbed when it may be the way that has spoiled it."""
        try:
            claim.finish(spool)
            remote = remember(claim)
            image = self._admitter.admit(
                spool,
                claim,
                asked,
                url,
                remote=remote,
                latest=self._latest.rule(asked),
                unchecked=self._latest.unchecked(asked),
            )
        except (BadSignature, ArchiveRefused, ImageMismatch) as error:
            if may_repeat:
                raise _Disturbed(error.message) from error
            raise
        return remote, image

    # --- what each way in has in common

    def _decide(self, asked: Asked, what: str, why: str, *, level: int = logging.INFO, **facts: str) -> None:
        tell(log, what, f"%s: {_IN_WORDS[what]}%s", asked.shown, why, level=level, reason=why, **facts)
        self._progress.decided(asked.shown, what, why)

    def _spool(self, source: str, *, resume: bool) -> AbstractContextManager[SpoolFile]:
        return self._store.spool.file(
            source,
            waiting=lambda: self._progress.step(f"waiting for another fetch of {source}"),
            pause=self._recall.pause,
            resume=resume,
        )

    def _claim(self, place: Place, asked: Asked, known: Mapping[str, Validators] | None = None) -> Claim:
        return Claim(
            place,
            asked,
            config=self._config,
            trust=self._trust,
            client=self._client,
            progress=self._progress,
            recall=self._recall,
            known=known,
        )

    def _conditions(self, known: tuple[Remote, StoredImage] | None, claim: Claim) -> Validators | None:
        """What makes the download a question for news: only where the signature that is there now admits what the
        store has of it."""
        if known is None or claim.is_deferred:
            return None
        remote, image = known
        if claim.is_known or self._held.is_admitted(image, claim.digests):
            return Validators(remote.etag, remote.last_modified, remote.place)
        return None

    def _answer(self, asked: Asked, policy: str) -> Fetched | None:
        """What the store has, if that will do without asking a server, and is not removed at this moment."""
        held = self._held.answer(asked, policy, _now())
        if held is None:
            return None
        try:
            return self._reuse(*held, asked, why_not_asked(asked, held[1], self._config.limits.freshness))
        except (ImageNotFound, DowngradeRefused):
            if policy == "never":
                raise
            return None

    def _reuse(self, image: StoredImage, remote: Remote | None, asked: Asked, why: str) -> Fetched:
        """The image that is in the store is the answer."""
        asked.check(image.id, image.manifest)
        self._progress.step(f"{asked.shown} is in the store")
        checked = "image" not in self._config.insecure_options
        self._store.record_fetch(
            image, remote=remote, latest=self._latest.rule(asked), asked=asked.name, checked=checked
        )
        here = self._store.get(image.id)
        admission = next(iter(self._store.admissions(here)), None)
        if admission is None:
            raise ImageNotFound(f"{image.id} was removed from the store")
        source = remote.url if remote else admission.url or ""
        fetched_at = remote.fetched_at if remote else admission.admitted_at
        self._decide(asked, "reuse", why, id=str(here.id), url=source)
        return Fetched(here, source, fetched_at, True, 0)


class _Disturbed(Exception):
    """What came in pieces, or changed on its way, is not what it should be: it may be, in one piece."""


def _can_be_gone_on_with(error: BaseException) -> bool:
    """Whether what came so far is worth keeping: nothing is said against it, and there is room for it."""
    return not isinstance(error, NotTrusted | ArchiveRefused | DiskFull)


@contextmanager
def _about(asked: Asked) -> Iterator[None]:
    """Lets every error say which image it is about."""
    try:
        yield
    except AcistoreError as error:
        if asked.shown not in error.message:
            error.facts.setdefault("image", asked.shown)
        raise


def _place(endpoint: Endpoint, signature: str | None) -> Place:
    if signature:
        return Place.beside(endpoint.image_url, signature)
    return Place(endpoint.image_url, {"openpgp": endpoint.signature_url, "ssh": endpoint.ssh_signature_url})


def _reason(verdict: Verdict | None) -> str:
    """Why an image was let in."""
    if verdict is None:
        return "signatures are not checked (--insecure-options=image)"
    if not verdict.signers:
        return "without a signature, which the policy of its name allows"
    signers = (f"{each.fingerprint}, which is trusted for {each.rule}" for each in verdict.signers)
    return f"signed by {' and '.join(signers)}"


def _now() -> datetime:
    return datetime.now(UTC)
