"""What is known of an image's URL from one fetch to the next: validators, freshness, and the signature's."""

from datetime import UTC, datetime

from acistore.fetch.asked import Asked
from acistore.fetch.held import Held
from acistore.fetch.signature import Claim
from acistore.net.freshness import Validators
from acistore.net.transfer import Transfer
from acistore.store import Remote, StoredImage


def known_signature(known: tuple[Remote, StoredImage] | None, held: Held) -> dict[str, Validators]:
    """The validators of the signature that has admitted what the store has of a URL, by where it was."""
    if known and (url := known[0].signature_url):
        remote = known[0]
        validators = Validators(remote.signature_etag, remote.signature_last_modified, remote.signature_place)
        if validators and held.is_admitted(known[1]):  # gpg has to be asked for that
            return {url: validators}
    return {}


def remote_of(
    url: str, asked: Asked, transfer: Transfer, claim: Claim, *, at: datetime, known: Remote | None = None
) -> Remote:
    """What is known of a URL since the moment `at` that it was answered. The image counts as fresh for no longer
    than its signature does. `known` is what was known before, where the answer was a 304: it need not repeat what
    holds still (RFC 9111, section 4.3.4)."""
    before = known.max_age if known else None
    image = before if transfer.max_age is None else transfer.max_age
    signature = before if claim.max_age is None and claim.is_known else claim.max_age
    validators = transfer.validators or Validators()
    return Remote(
        url=url,
        asked=str(asked.name) if asked.name else None,
        signature_url=claim.signature_url,
        etag=validators.etag,
        last_modified=validators.last_modified,
        max_age=None if image is None or signature is None else min(image, signature),
        fetched_at=at,
        signature_etag=claim.validators.etag,
        signature_last_modified=claim.validators.last_modified,
        place=validators.place,
        signature_place=claim.validators.place,
    )


def why_not_asked(asked: Asked, remote: Remote | None, longest: float) -> str:
    """Why an image is taken without asking anybody."""
    if asked.image_id is not None:
        return "it is meant by its ID, and that can't change"
    if remote is None or not remote.is_fresh(datetime.now(UTC), longest):
        return "the pull policy wants no news"
    until = remote.fresh_until(longest)
    return f"its server said that nothing changes until {until:%Y-%m-%d %H:%M:%S} UTC (--no-cache asks)"
