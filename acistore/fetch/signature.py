"""Where the bytes of a signature come from: a URL or a file, bounded."""

from acistore.config import Config
from acistore.errors import FileUnusable, LimitExceeded, SignatureMissing
from acistore.fetch.asked import is_url, path_of
from acistore.net.client import Client


def read_signature(place: str, shown: str, config: Config, client: Client) -> bytes | None:
    """The signature at a URL or path; None when images are not verified, and then nothing is asked.

    `shown` is what the image is called. Raises SignatureMissing, FileUnusable, LimitExceeded, NetworkError.
    """
    if "image" in config.insecure_options:
        return None
    limit = config.limits.signature_size
    if is_url(place):
        response = client.get(place, limit=limit)
        if response.status == 200:
            return response.body
        raise _missing(shown, f"{place} answered {response.status}")
    try:
        with path_of(place).open("rb") as file:
            signature = file.read(limit + 1)
    except FileNotFoundError:
        raise _missing(shown, f"there is no {place}") from None
    except OSError as error:
        raise FileUnusable(f"the signature {place} can't be read: {error.strerror}") from error
    if len(signature) > limit:
        raise LimitExceeded(f"the signature {place} is larger than {limit} bytes")
    return signature


def _missing(shown: str, why: str) -> SignatureMissing:
    return SignatureMissing(
        f"{shown} has no signature",
        facts={"looked for": why},
        next_step="ask its publisher to sign it, or say where the signature is with --signature",
    )
