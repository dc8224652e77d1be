"""Where the bytes of a signature come from: a URL or a file, bounded."""

from acistore.config import Config
from acistore.errors import FileUnusable, LimitExceeded, ResourceNotFound, SignatureMissing
from acistore.fetch.asked import is_url, path_of, signature_beside
from acistore.net.client import Client


def read_signature(place: str, image: str, shown: str, config: Config, client: Client) -> bytes | None:
    """The signature at a URL or path; None when images are not verified, and then nothing is asked.

    `image` is the URL or path of the image, `shown` what it is called. Raises SignatureMissing when the image is
    there and its signature is not, ResourceNotFound when neither is, FileUnusable, LimitExceeded, NetworkError.
    """
    if "image" in config.insecure_options:
        return None
    if not is_url(place):
        return _read_file(place, image, shown, config.limits.signature_size)
    response = client.get(place, limit=config.limits.signature_size)
    if response.status == 200:
        return response.body
    if is_url(image) and client.is_missing(image):
        raise ResourceNotFound(
            f"{shown} is not published: neither the image nor its signature is there",
            facts={"image": image, "signature": place},
            next_step="check name, version and labels",
        )
    raise _missing(shown, f"{place} answered {response.status}")


def _read_file(place: str, image: str, shown: str, limit: int) -> bytes:
    path = path_of(place)
    try:
        with path.open("rb") as file:
            signature = file.read(limit + 1)
    except FileNotFoundError:
        if place == signature_beside(image):
            raise _missing(shown, f"there is no {place}") from None
        raise ResourceNotFound(f"there is no signature {place}") from None
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
