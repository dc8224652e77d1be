"""What the store holds already, and whether it would be let in today as well."""

import shlex
from datetime import UTC, datetime

from acistore.config import Config
from acistore.errors import ImageNotFound, UntrustedSigner
from acistore.fetch.asked import Asked
from acistore.store import Remote, Store, StoredImage
from acistore.trust.check import PastSignature, would_still_admit
from acistore.trust.keystore import TrustStore


class Held:
    """The store's images as answers to what is asked. Nothing here asks a server."""

    def __init__(self, store: Store, trust: TrustStore, config: Config, *, no_cache: bool) -> None:
        self._store = store
        self._trust = trust
        self._config = config
        self._no_cache = no_cache

    def answer(self, asked: Asked, policy: str, now: datetime) -> tuple[StoredImage, Remote | None] | None:
        """The image that is taken without asking a server, by the pull policy or by the server's own word.

        Raises ImageNotFound and UntrustedSigner under the policy `never`.
        """
        # What is meant by its ID can't change.
        is_news_wanted = policy == "update" and (asked.image_id is None or self._no_cache)
        candidates = self._fresh(asked, now) if is_news_wanted else self._here(asked)
        for image, remote in candidates:
            if self.is_admitted(image):
                return image, remote
        if policy != "never":
            return None
        if candidates:
            raise UntrustedSigner(
                f"{asked.shown} is in the store, but no key that is trusted for it now has admitted it",
                next_step=shlex.join(["acistore", "fetch", asked.shown]),
            )
        raise ImageNotFound(
            f"{asked.shown} is not in the store",
            next_step=shlex.join(["acistore", "fetch", "--pull-policy", "new", asked.shown]),
        )

    def at(self, url: str) -> tuple[Remote, StoredImage] | None:
        """What is known of a URL, unless caches are not wanted."""
        return None if self._no_cache else self._store.remote(url)

    def is_admitted(self, image: StoredImage, signature_digest: bytes | None = None) -> bool:
        """Whether a key that let the image in once would do so today.

        With the digest of a signature, only an admission by that very signature counts.
        """
        if "image" in self._config.insecure_options:
            return True
        signatures = {
            PastSignature(
                admission.fingerprint,
                admission.signing_fingerprint or admission.fingerprint,
                admission.signature_expires_at,
            )
            for admission in self._store.admissions(image)
            if admission.fingerprint and signature_digest in (None, admission.signature_digest)
        }
        return would_still_admit(signatures, image.name, self._trust, datetime.now(UTC))

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
        return [(image, None) for image in self._store.matches(asked.name) if asked.fits(image.id, image.manifest)]
