"""The signatures of one image: where their bytes come from, and their way from claim to proof while it comes."""

import shlex
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

from acistore.config import Config
from acistore.errors import (
    AcistoreError,
    FileUnusable,
    NetworkError,
    NotFound,
    ResourceNotFound,
    ServerFailed,
    SignatureMissing,
)
from acistore.fetch.asked import Asked, path_of, signatures_beside
from acistore.fetch.crew import Recall
from acistore.files import read_bounded
from acistore.naming import ImageName, arch_of_machine
from acistore.net.answers import NOTHING_THERE, Response, phrase
from acistore.net.client import Client
from acistore.net.freshness import MOST_SECONDS, Validators, retry_after
from acistore.net.retries import Retries
from acistore.net.urls import is_url
from acistore.progress import Progress
from acistore.trust.check import SignatureCheck
from acistore.trust.keys import Scheme
from acistore.trust.keystore.store import TrustStore
from acistore.trust.policy import Signer, Verdict
from acistore.trust.schemes import SCHEMES

_PIECE = 1 << 20
_LIMIT = "limits.signature_size"
_UNKNOWN = Validators()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image and its signatures are: URLs or paths, those of the signatures by scheme. Where a person has
    said where the signature is, that one place stands for every scheme."""

    image: str
    signatures: Mapping[Scheme, str]

    @classmethod
    def beside(cls, image: str, signature: str | None = None) -> Self:
        """The signature lies beside the image, unless it is said where."""
        return cls(image, dict.fromkeys(SCHEMES, signature) if signature else signatures_beside(image))

    def asked_for(self, schemes: frozenset[Scheme]) -> tuple[str, ...]:
        """The places of the signatures that could count: by the schemes of the keys that do, of every scheme
        where there are none."""
        wanted = [scheme for scheme in SCHEMES if scheme in schemes] or SCHEMES
        return tuple(dict.fromkeys(self.signatures[scheme] for scheme in wanted))


class Claim:
    """Whoever claims to have signed an image, asked before its download and proven by it. A context manager, and
    what reads along with the download.

    Entering it asks for the signatures of each scheme of which a key is trusted, and refuses whom nobody trusts. A
    server may put one off until the image was fetched (202), or say that it is the one known (304); then it is
    asked for when it is needed. Where images are not verified nothing is asked, and nothing proven.

    `known` are the validators of the one signature that has admitted what the store holds, by its URL.
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
        known: Mapping[str, Validators] | None = None,
    ) -> None:
        self._place = place
        self._asked = asked
        self._config = config
        self._trust = trust
        self._client = client
        self._progress = progress
        self._recall = recall
        self._known = known or {}
        self._is_off = "image" in config.insecure_options
        self._stack = ExitStack()
        self._places: tuple[str, ...] = ()
        self._files: dict[str, bytes] = {}
        self._put_off: list[str] = []
        self._check: SignatureCheck | None = None
        self._is_untouched = False
        self._is_unsigned = False
        self.decided: Verdict | None = None
        self.is_known = False
        self.validators = Validators()
        self._answers: dict[str, Response] = {}

    def __enter__(self) -> Self:
        if self._is_off:
            return self
        self._progress.step(f"checking who has signed {self._asked.shown}")
        self._rules = self._trust.rules_for(self._asked.name.name if self._asked.name else None)
        self._places = self._place.asked_for(self._rules.schemes)
        # Of several nothing is remembered: they would have to be the known ones all of them.
        self._ask_all(self._known if len(self._places) == 1 else {})
        if self._files and not self._put_off:
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def is_deferred(self) -> bool:
        """Whether a signature is only there once the image was fetched."""
        return bool(self._put_off)

    @property
    def digests(self) -> frozenset[bytes]:
        """The SHA-512 of each file of signatures."""
        return self._check.digests if self._check else frozenset()

    @property
    def signature_url(self) -> str | None:
        """Where the one signature was asked for; None where several were, or none."""
        return self._places[0] if len(self._places) == 1 else None

    @property
    def max_age(self) -> int | None:
        """For how many seconds from now the servers promise that no signature changes: of several the first to do
        so counts. None where one of them says nothing."""
        longest = self._config.limits.freshness
        ages = [answer.freshness(longest).seconds for answer in self._answers.values()]
        return None if None in ages else min((each for each in ages if each is not None), default=MOST_SECONDS)

    def digest_of(self, signer: Signer) -> bytes | None:
        """The SHA-512 of the file with the signature by which somebody has admitted the image."""
        return self._check.digest_of(signer.signature) if self._check else None

    def restart(self) -> None:
        """The image comes from its first byte. Raises as entering does, if the signature is asked for only now."""
        if self._is_off or self._is_unsigned or self._put_off or self._is_untouched:
            return
        if not self._files:
            self._ask_all({})
        if self._files and not self._put_off:
            self._begin()

    def feed(self, data: bytes) -> None:
        """The next bytes of the image as it is served. Raises CalledOff."""
        self._recall.check()
        self._is_untouched = False
        if self._check:
            self._check.feed(data)

    def finish(self, image: BinaryIO) -> None:
        """The image is complete. Raises NotTrusted when it is refused whatever its name."""
        if self._is_off or self._is_unsigned:
            return
        if self._check is None:
            self._wait_for_them()
            image.seek(0)
            while piece := image.read(_PIECE):
                self.feed(piece)
        if self._check:
            self._check.finish()

    def verdict(self, name: str) -> Verdict | None:
        """Whether the image is admitted under this name; None where images are not verified."""
        if self._is_unsigned:
            self.decided = Verdict(None)
        elif self._check:
            self.decided = self._check.verdict(name)
        elif not self._is_off:
            raise RuntimeError("an image is judged when its signature was checked")
        return self.decided

    def _begin(self) -> None:
        """Starts the check anew. Raises NotTrusted when the claim is enough to refuse."""
        self._stack.close()
        name = self._asked.name.name if self._asked.name else None
        check = SignatureCheck(self._asked.shown, name, self._files.values(), self._trust)
        self._check = self._stack.enter_context(check)
        self._is_untouched = True

    def _ask_all(self, known: Mapping[str, Validators]) -> None:
        """Asks for every signature that could count. One of them has to be there, unless the policy allows that an
        image has none. Raises what the first of them is missing for."""
        self.is_known = False
        missing: list[AcistoreError] = []
        for place in self._places:
            try:
                if is_url(place):
                    self._ask(place, known.get(place, _UNKNOWN))
                else:
                    self._files[place] = _read_file(self._place, place, self._asked.shown, self._limit)
            except (SignatureMissing, NotFound) as error:
                missing.append(error)
        if self._files or self._put_off or self.is_known:
            return
        if self._rules.allows_unsigned and all(isinstance(each, SignatureMissing) for each in missing):
            self._is_unsigned = True
            self._progress.step(f"{self._asked.shown} has no signature, which its policy allows")
            return
        self._refuse(missing[0])

    def _refuse(self, missing: AcistoreError) -> NoReturn:
        """Raises that the signature is missing; ResourceNotFound when the image is, too."""
        if isinstance(missing, SignatureMissing) and self._is_image_missing():
            raise ResourceNotFound(
                f"{self._asked.shown} is not published: neither the image nor its signature is there",
                facts={"image at": self._place.image, "signature at": ", ".join(self._places)},
                next_step=_other_name(self._asked.name),
            )
        if len(self._places) > 1:
            neither = ", and neither is there" if isinstance(missing, SignatureMissing) else ""
            missing.facts["looked for"] = f"{' and '.join(self._places)}{neither}"
        raise missing

    def _is_image_missing(self) -> bool:
        """Whether its server says so. When it fails to answer, the signature is missing all the same."""
        with suppress(NetworkError):
            return is_url(self._place.image) and self._client.is_missing(self._place.image)
        return False

    @property
    def _limit(self) -> int:
        return self._config.limits.signature_size

    def _ask(self, url: str, known: Validators) -> None:
        response = self._get(url, known)
        if response.status == 304 and not known.is_confirmed_by(response.headers):
            response = self._get(url, _UNKNOWN)
        if response.status == 202:
            self._put_off.append(url)
            self._progress.step(f"the signature of {self._asked.shown} is put off until the image was fetched")
            return
        self.is_known = response.status == 304
        if self.is_known:
            self._note(url, response, known)
        else:
            self._take(url, response)

    def _take(self, url: str, response: Response) -> None:
        """Raises SignatureMissing; RequestRefused; ServerFailed for an answer that is none."""
        if response.status in NOTHING_THERE:
            raise _missing(self._asked.shown, f"{url} answered {response.status}")
        if response.status != 200:
            response.found()
            raise ServerFailed(f"{response.url}: the server answered {phrase(response.status)} for a signature")
        self._files[url] = response.body
        self._note(url, response)

    def _note(self, url: str, response: Response, known: Validators = _UNKNOWN) -> None:
        """Keeps what makes the next question for it one for news, as far as its server allows that. Of several
        signatures none is asked for by its validators."""
        self._answers[url] = response
        if len(self._places) == 1:
            may_keep = response.freshness().storable
            validators = known.updated_by(response.headers, response.place)
            self.validators = validators if may_keep else Validators()

    def _get(self, url: str, known: Validators) -> Response:
        return self._client.get(url, limit=self._limit, conditions=known.conditions, option=_LIMIT)

    def _wait_for_them(self) -> None:
        """Asks for the signatures that were put off until they are there. One that never is, is missing."""
        missing: list[AcistoreError] = []
        for url in self._put_off:
            try:
                self._take(url, self._patiently(url))
            except (SignatureMissing, NotFound) as error:
                missing.append(error)
        self._put_off.clear()
        if not self._files:  # nor is the image an unsigned one: its server speaks of a signature
            raise missing[0]
        self._begin()

    def _patiently(self, url: str) -> Response:
        self._progress.step(f"asking for the signature of {self._asked.shown} again")
        retries = Retries(self._config.limits, pause=self._client.pause, url=url)
        while (response := self._get(url, Validators())).status == 202:
            not_yet = ServerFailed(f"{url}: not there yet (202 Accepted)")
            not_yet.transient = True
            not_yet.retry_after = retry_after(response.headers)
            try:
                retries.wait(not_yet)
            except NetworkError:
                missing = _missing(self._asked.shown, f"{url} puts it off again and again")
                missing.next_step = "fetch it again later; if it stays so, ask its publisher"
                raise missing from None
        return response


def _read_file(place: Place, signature: str, shown: str, limit: int) -> bytes:
    path = path_of(signature)
    # Whoever says where the signature is may mean a pipe.
    is_named = place.signatures != signatures_beside(place.image)
    try:
        return read_bounded(path, f"the signature {signature}", limit=limit, option=_LIMIT, regular=not is_named)
    except FileUnusable as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    if signature in signatures_beside(place.image).values():
        raise _missing(shown, f"there is no {signature}")
    raise ResourceNotFound(f"there is no signature {signature}")


def _missing(shown: str, why: str) -> SignatureMissing:
    return SignatureMissing(
        f"{shown} has no signature",
        facts={"looked for": why},
        next_step="ask its publisher to sign it, or say where the signature is with --signature",
    )


def _other_name(name: ImageName | None) -> str:
    """What to do when there is no image of that name."""
    arch = name.labels.get("arch", "") if name else ""
    in_appc = arch_of_machine(arch)
    if name is None or in_appc is None or in_appc == arch:
        return "check name, version and labels"
    meant = ImageName(name.name, {**name.labels, "arch": in_appc})
    return f"{shlex.join(['acistore', 'fetch', str(meant)])}  # appc's word for {arch}"
