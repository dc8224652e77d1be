"""The last questions before an image is recorded: is it the one asked for, may its signer sign for it?"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, cast

from acistore.config import Config
from acistore.fetch.asked import Asked
from acistore.fetch.crew import Recall
from acistore.fetch.signature import Claim
from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.progress import Meter, Progress
from acistore.store import Admission, LatestRule, Remote, Store, StoredImage


class Admitter:
    """Stores what was downloaded and proven, if it is admitted."""

    def __init__(self, store: Store, config: Config, progress: Progress, recall: Recall) -> None:
        self._store = store
        self._config = config
        self._progress = progress
        self._recall = recall

    def admit(
        self,
        spool: BinaryIO,
        claim: Claim,
        asked: Asked,
        source: str,
        *,
        remote: Remote | None = None,
        latest: LatestRule | None = None,
        unchecked: frozenset[str] = frozenset(),
    ) -> StoredImage:
        """Stores the image; `unchecked` are names of checks that are off for it, besides the insecure options.

        Raises ImageMismatch, NotTrusted, ArchiveRefused, and CalledOff.
        """
        spool.seek(0, os.SEEK_END)
        meter = self._progress.start(f"storing {asked.shown}", spool.tell())
        try:
            return self._store.add(
                cast(BinaryIO, _Watched(spool, meter, self._recall)),
                admit=partial(self._admissions, claim, asked, source, unchecked=unchecked),
                remote=remote,
                latest=latest,
                asked=asked.name,
                limit=self._config.limits.unpacked_size,
            )
        finally:
            meter.done()

    def _admissions(
        self,
        claim: Claim,
        asked: Asked,
        source: str,
        image_id: ImageID,
        manifest: ImageManifest,
        *,
        unchecked: frozenset[str],
    ) -> Sequence[Admission]:
        """Why the image is let in, a record for each signer. Raises ImageMismatch, NotTrusted."""
        asked.check(image_id, manifest)
        now = datetime.now(UTC)
        insecure = tuple(sorted(self._config.insecure_options | unchecked))
        verdict = claim.verdict(manifest.name)
        if verdict is None:
            return [Admission("unverified", now, url=source, insecure=insecure)]
        verdict.raise_if_refused()
        if not verdict.signers:
            return [Admission("unsigned", now, url=source, insecure=insecure)]
        return [
            Admission(
                "verified",
                now,
                scheme=signer.scheme,
                fingerprint=signer.fingerprint,
                signing_fingerprint=signer.signing_fingerprint,
                signer=signer.user_id,
                rule=signer.rule,
                signature_digest=claim.digest_of(signer),
                signed_at=signer.signed_at,
                signature_expires_at=signer.expires_at,
                url=source,
                insecure=insecure,
            )
            for signer in verdict.signers
        ]


class _Watched:
    """The file that is stored, as its reader sees it. It tells how far it is, and ends when work is called off."""

    def __init__(self, file: BinaryIO, meter: Meter, recall: Recall) -> None:
        self._file = file
        self._meter = meter
        self._recall = recall

    def read(self, size: int) -> bytes:
        self._recall.check()
        data = self._file.read(size)
        self._meter.advance(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)
