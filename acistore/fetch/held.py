"""What the store holds already, and whether it would be let in today as well."""

import shlex
from collections.abc import Collection
from datetime import UTC, datetime

from acistore.config import Config
from acistore.errors import ImageNotFound, NotTrusted
from acistore.fetch.asked import Asked
from acistore.naming import ImageName
from acistore.store import Remote, Store, StoredImage
from acistore.trust.keystore.store import TrustStore
from acistore.trust.today import Today


class Held:
    """The store's images as answers to what is asked. Nothing here asks a server."""

    def __init__(self, store: Store, trust: TrustStore, config: Config, *, no_cache: bool) -> None:
        self._store = store
        self._trust = trust
        self._config = config
        self._no_cache = no_cache

    def answer(self, asked: Asked, policy: str, now: datetime) -> tuple[StoredImage, Remote | None] | None:
        """The image that is taken without asking a server, by the pull policy or by the server's own word.

        Raises ImageNotFound and NotTrusted under the policy `never`.
        """
        # What is meant by its ID can't change.
        is_news_wanted = policy == "update" and (asked.image_id is None or self._no_cache)
        candidates = self._fresh(asked, now) if is_news_wanted else self._here(asked)
        for image, remote in candidates:
            if self.is_admitted(image):
                return image, remote
        if policy != "never":
            return None
        if candidates and (refusal := self._refusal(candidates[0][0])):
            refusal.facts["in the store"] = str(candidates[0][0].id)
            refusal.next_step = shlex.join(["acistore", "fetch", asked.shown])
            raise refusal
        raise ImageNotFound(
            f"{asked.shown} is not in the store",
            next_step=shlex.join(["acistore", "fetch", "--pull-policy", "new", asked.shown]),
        )

    def at(self, url: str) -> tuple[Remote, StoredImage] | None:
        """What is known of a URL, unless caches are not wanted."""
        return None if self._no_cache else self._store.remote(url)

    def is_admitted(self, image: StoredImage, signature_digests: Collection[bytes] | None = None) -> bool:
        """Whether what let the image in once would do so today.

        With digests of files of signatures, only admissions by those very ones count, and all of them have to be
        known: a new one may be a bad one.
        """
        return self._refusal(image, signature_digests) is None

    def _refusal(self, image: StoredImage, digests: Collection[bytes] | None = None) -> NotTrusted | None:
        if "image" in self._config.insecure_options:
            return None
        past = self._store.admissions(image)
        if digests:
            past = [admission for admission in past if admission.signature_digest in digests]
            if new := set(digests) - {admission.signature_digest for admission in past}:
                return NotTrusted(f"{image.image_name} was not admitted by {len(new)} of these signatures")
        return Today(self._trust, datetime.now(UTC)).refusal(str(image.image_name), image.name, past)

    def _fresh(self, asked: Asked, now: datetime) -> list[tuple[StoredImage, Remote | None]]:
        """What was found for this name or URL when it was last asked, if the server called it fresh until now."""
        if self._no_cache:
            return []
        known = self._store.remotes_for(asked.name) if asked.name else [self._store.remote(asked.shown)]
        return [
            (image, remote)
            for remote, image in filter(None, known)
            if remote.is_fresh(now, self._config.limits.freshness) and asked.fits(image.id, image.manifest)
        ]

    def _here(self, asked: Asked) -> list[tuple[StoredImage, Remote | None]]:
        """What the store has of this name, or from this URL."""
        if asked.name is None:
            known = self._store.remote(asked.shown)
            return [(known[1], known[0])] if known else []
        name = ImageName(asked.name.name) if asked.image_id else asked.name
        return [(image, None) for image in self._store.matches(name) if asked.fits(image.id, image.manifest)]
