"""The last questions before an image is recorded: is it the one asked for, may its signer sign for it?"""

import os
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
from acistore.store import Admission, Remote, Store, StoredImage


class Admitter:
    """Stores what was downloaded and proven, if it is admitted."""

    def __init__(self, store: Store, config: Config, progress: Progress, recall: Recall) -> None:
        self._store = store
        self._config = config
        self._progress = progress
        self._recall = recall

    def admit(
        self, spool: BinaryIO, claim: Claim, asked: Asked, source: str, remote: Remote | None
    ) -> StoredImage:
        """Stores the image. Raises ImageMismatch, NotTrusted, ArchiveRefused, and CalledOff."""
        spool.seek(0, os.SEEK_END)
        meter = self._progress.start(f"storing {asked.shown}", spool.tell())
        try:
            return self._store.add(
                cast(BinaryIO, _Watched(spool, meter, self._recall)),
                admit=partial(self._admission, claim, asked, source),
                remote=remote,
                latest=asked.as_latest,
                limit=self._config.limits.unpacked_size,
            )
        finally:
            meter.done()

    def _admission(
        self, claim: Claim, asked: Asked, source: str, image_id: ImageID, manifest: ImageManifest
    ) -> Admission:
        asked.check(image_id, manifest)
        now = datetime.now(UTC)
        insecure = tuple(sorted(self._config.insecure_options))
        verdict = claim.verdict(manifest.name)
        if verdict is None:
            return Admission("unverified", now, url=source, insecure=insecure)
        verdict.raise_if_refused()
        return Admission(
            "verified",
            now,
            scheme="openpgp",
            fingerprint=verdict.fingerprint,
            signing_fingerprint=verdict.signing_fingerprint,
            signer=verdict.signer,
            rule=verdict.rule,
            signature_digest=claim.digest,
            signed_at=verdict.signed_at,
            signature_expires_at=verdict.expires_at,
            url=source,
            insecure=insecure,
        )


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
