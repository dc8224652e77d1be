"""The images in a store, judged by the keys and policies of today."""

from collections.abc import Iterable
from datetime import UTC, datetime

from acistore.errors import NotTrusted
from acistore.store import Store, StoredImage
from acistore.trust.keystore.store import TrustStore
from acistore.trust.today import Today


def no_longer_admitted(
    store: Store, trust: TrustStore, images: Iterable[StoredImage] | None = None
) -> list[tuple[StoredImage, NotTrusted]]:
    """The images that would not be admitted today on the strength of what admitted them, and why not.

    All images are judged unless some are given. No server is asked, and no signature checked again: what was
    proven stays proven, and it is keys, signatures and policies that change. Raises ProgramMissing.
    """
    today = Today(trust, datetime.now(UTC))
    today.know_all()
    admissions = store.all_admissions()
    judged = (
        (image, today.refusal(str(image.image_name), image.name, admissions.get(image.key, ())))
        for image in (store.list() if images is None else images)
    )
    return [(image, refusal) for image, refusal in judged if refusal is not None]
