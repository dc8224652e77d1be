"""The signature of one image: where its bytes come from, and its way from claim to proof while the image comes."""

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

from acistore.config import Config
from acistore.errors import (
    FileUnusable,
    LimitExceeded,
    NetworkError,
    ResourceNotFound,
    ServerFailed,
    SignatureMissing,
)
from acistore.fetch.asked import Asked, is_url, path_of, signature_beside
from acistore.fetch.crew import Recall
from acistore.net.answers import Response, phrase
from acistore.net.client import Client
from acistore.net.freshness import Validators, freshness, retry_after
from acistore.net.retries import Retries
from acistore.progress import Progress
from acistore.trust.check import SignatureCheck
from acistore.trust.keystore import TrustStore
from acistore.trust.policy import Verdict

_PIECE = 1 << 20
_LIMIT = "limits.signature_size"
_UNKNOWN = Validators()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image and its signature are: URLs or paths. `known`: the validators of a signature from there that
    has admitted what the store holds of it."""

    image: str
    signature: str
    known: Validators = _UNKNOWN


class Claim:
    """Whoever claims to have signed an image, asked before its download and proven by it. A context manager, and
    what reads along with the download.

    Entering it asks for the signature, and refuses whom nobody trusts. A server may put it off until the image was
    fetched (202), or say that it is the one known (304); then it is asked for when it is needed. Where images are
    not verified nothing is asked, and nothing proven.
    """

    def __init__(
        self,
        place: Place,
        asked: Asked,
        *,
        config: Config,
        trust: TrustStore,
        client: Client,
        progress: Progress,
        recall: Recall,
    ) -> None:
        self._place = place
        self._asked = asked
        self._config = config
        self._trust = trust
        self._client = client
        self._progress = progress
        self._recall = recall
        self._is_off = "image" in config.insecure_options
        self._stack = ExitStack()
        self._signature: bytes | None = None
        self._check: SignatureCheck | None = None
        self._is_untouched = False
        self.is_known = False
        self.is_deferred = False
        self.validators = Validators()
        self.max_age: int | None = None

    def __enter__(self) -> Self:
        if self._is_off:
            return self
        self._progress.step(f"checking who has signed {self._asked.shown}")
        self._ask(self._place.known)
        if self._signature is not None:
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def digest(self) -> bytes | None:
        """The SHA-512 of the signature; None without one."""
        return self._check.digest if self._check else None

    def restart(self) -> None:
        """The image comes from its first byte. Raises as entering does, if the signature is asked for only now."""
        if self._is_off or self.is_deferred or self._is_untouched:
            return
        if self._signature is None:
            self._ask(Validators())
        if not self.is_deferred:
            self._begin()

    def feed(self, data: bytes) -> None:
        """The next bytes of the image as it is served. Raises CalledOff."""
        self._recall.check()
        self._is_untouched = False
        if self._check:
            self._check.feed(data)

    def finish(self, image: BinaryIO) -> None:
        """The image is complete. Raises NotTrusted when it is refused whatever its name."""
        if self._is_off:
            return
        if self._check is None:
            self._wait_for_it()
            image.seek(0)
            while piece := image.read(_PIECE):
                self.feed(piece)
        if self._check:
            self._check.finish()

    def verdict(self, name: str) -> Verdict | None:
        """Whether the image is admitted under this name; None where images are not verified."""
        return self._check.verdict(name) if self._check else None

    def _begin(self) -> None:
        """Starts the check anew. Raises NotTrusted when the claim is enough to refuse."""
        self._stack.close()
        name = self._asked.name.name if self._asked.name else None
        check = SignatureCheck(self._asked.shown, name, self._signature or b"", self._trust)
        self._check = self._stack.enter_context(check)
        self._is_untouched = True

    def _ask(self, known: Validators) -> None:
        place = self._place.signature
        if not is_url(place):
            self._signature = _read_file(self._place, self._asked.shown, self._config.limits.signature_size)
            return
        response = self._get(known)
        self.is_deferred = response.status == 202
        self.is_known = response.status == 304
        if self.is_deferred:
            self._progress.step(f"the signature of {self._asked.shown} is put off until the image was fetched")
        elif self.is_known:
            self._note(response, known)
        else:
            self._take(response)

    def _take(self, response: Response) -> None:
        if response.status != 200:
            self._refuse(response)
        self._signature = response.body
        self._note(response)

    def _note(self, response: Response, known: Validators = _UNKNOWN) -> None:
        """Keeps what makes the next question for it one for news, as far as its server allows that."""
        allowed = freshness(response.headers, longest=self._config.limits.freshness)
        self.max_age = allowed.seconds
        self.validators = (Validators.of(response.headers) or known) if allowed.storable else Validators()

    def _get(self, known: Validators) -> Response:
        return self._client.get(
            self._place.signature,
            limit=self._config.limits.signature_size,
            headers=known.conditions(),
            option=_LIMIT,
        )

    def _refuse(self, response: Response) -> NoReturn:
        """Raises SignatureMissing when the image is there and its signature is not; ResourceNotFound when neither
        is, or it is a matter of who asks and how; ServerFailed for an answer that is none."""
        if response.status not in (404, 410):
            response.found()
            raise ServerFailed(f"{response.url}: the server answered {phrase(response.status)} for a signature")
        if is_url(self._place.image) and self._client.is_missing(self._place.image):
            raise ResourceNotFound(
                f"{self._asked.shown} is not published: neither the image nor its signature is there",
                facts={"image at": self._place.image, "signature at": self._place.signature},
                next_step="check name, version and labels",
            )
        raise _missing(self._asked.shown, f"{self._place.signature} answered {response.status}")

    def _wait_for_it(self) -> None:
        """Asks for a signature that was put off until it is there. One that never is, is missing."""
        self._progress.step(f"asking for the signature of {self._asked.shown} again")
        retries = Retries(self._config.limits, pause=self._client.pause, url=self._place.signature)
        while True:
            self.is_deferred = False
            response = self._get(Validators())
            if response.status != 202:
                break
            not_yet = ServerFailed(f"{self._place.signature}: not there yet (202 Accepted)")
            not_yet.transient = True
            not_yet.retry_after = retry_after(response.headers)
            try:
                retries.wait(not_yet)
            except NetworkError:
                raise _missing(self._asked.shown, f"{self._place.signature} puts it off again and again") from None
        self._take(response)
        self._begin()


def _read_file(place: Place, shown: str, limit: int) -> bytes:
    path = path_of(place.signature)
    try:
        with path.open("rb") as file:
            signature = file.read(limit + 1)
    except FileNotFoundError:
        if place.signature == signature_beside(place.image):
            raise _missing(shown, f"there is no {place.signature}") from None
        raise ResourceNotFound(f"there is no signature {place.signature}") from None
    except OSError as error:
        raise FileUnusable(f"the signature {place.signature} can't be read: {error.strerror}") from error
    if len(signature) > limit:
        message = f"the signature {place.signature} is larger than {limit} bytes"
        raise LimitExceeded(message, option=_LIMIT)
    return signature


def _missing(shown: str, why: str) -> SignatureMissing:
    return SignatureMissing(
        f"{shown} has no signature",
        facts={"looked for": why},
        next_step="ask its publisher to sign it, or say where the signature is with --signature",
    )
