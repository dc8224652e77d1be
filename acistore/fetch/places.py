"""Where an image may be had: mirrors, then what discovery finds; and what is said when all of them fail."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from urllib.parse import urlsplit

from acistore.config import Config, Mirror
from acistore.discovery import Endpoint, render, unfilled_in
from acistore.errors import (
    AcistoreError,
    ConnectionFailed,
    NetworkError,
    NotFound,
    NotTrusted,
    RequestRefused,
    ResourceNotFound,
)
from acistore.events import log_of, tell
from acistore.naming import ImageName, covers
from acistore.net.urls import is_url, shown

log = log_of(__name__)


def mirrored(name: ImageName, mirrors: Sequence[Mirror]) -> Iterator[Endpoint]:
    """The places of a name at the mirrors that are for it, in their order.

    A template with a placeholder that the name doesn't fill is passed over, as in discovery. Labels are
    percent-encoded: they may be those of a dependency, and no stranger is to choose the path at a mirror.
    """
    return filter(None, (render(mirror.url, name, quoted=True) for mirror in mirrors if _is_for(mirror, name)))


def _is_for(mirror: Mirror, name: ImageName) -> bool:
    return not mirror.prefix or covers(mirror.prefix, name.name)


class Mirrors:
    """The mirrors of one fetch, and which of them can't be reached.

    Whoever has set up a mirror wants to know that it is of no use: that is told once.
    """

    def __init__(self, config: Config) -> None:
        self._mirrors = config.mirrors
        self._down: set[str] = set()
        self._told: set[str] = set()
        self._lock = Lock()

    def places(self, name: ImageName) -> Iterator[Endpoint]:
        """Where to ask for an image before anywhere else."""
        for mirror in self._mirrors:
            if _is_for(mirror, name) and (unfilled := unfilled_in(mirror.url, name)):
                self._tell(mirror.url, f"{name} has nothing for {', '.join(unfilled)}")
        yield from mirrored(name, self._mirrors)

    def require_up(self, endpoint: Endpoint) -> None:
        """Raises ConnectionFailed for a mirror that nobody has answered at in this fetch."""
        if not endpoint.page and _host(endpoint) in self._down:
            raise ConnectionFailed(f"{endpoint.image_url}: {_host(endpoint)} could not be reached before")

    def failed(self, endpoint: Endpoint, error: AcistoreError) -> None:
        """Takes note. That a mirror doesn't have an image is nothing to be told."""
        host = _host(endpoint)
        if isinstance(error, ConnectionFailed) and error.unreachable and "redirected from" not in error.facts:
            self._down.add(host)
        if not isinstance(error, ResourceNotFound) or isinstance(error, RequestRefused):
            self._tell(host, error.message)

    def _tell(self, mirror: str, why: str) -> None:
        with self._lock:
            is_new = mirror not in self._told
            self._told.add(mirror)
        if is_new:
            tell(log, "mirror", "the mirror %s is passed over: %s", mirror, why, level=logging.WARNING, reason=why)


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.image_url).netloc


def without_user(endpoint: Endpoint) -> Endpoint:
    """An endpoint without user and password, if somebody has put them into a page: they are not sent, and what is
    fetched is recorded."""
    return replace(
        endpoint,
        image_url=shown(endpoint.image_url),
        signature_url=shown(endpoint.signature_url),
        ssh_signature_url=shown(endpoint.ssh_signature_url),
    )


@dataclass
class Failures:
    """What has failed, place by place."""

    _errors: dict[str, AcistoreError] = field(default_factory=dict)

    def add(self, place: str, error: AcistoreError) -> None:
        self._errors.setdefault(place, error)

    def __bool__(self) -> bool:
        return bool(self._errors)

    @property
    def urls(self) -> list[str]:
        """The URLs that were tried."""
        return [place for place in self._errors if is_url(place)]

    def weightiest(self) -> AcistoreError:
        """The failure to report: one of trust before one of the network before an image that was not found, with
        what the other places said among its facts (CLI.md, `fetch`)."""
        (place, error), *others = sorted(self._errors.items(), key=lambda each: _weight(each[1]))
        if place not in error.message:
            error.facts.setdefault("from", place)
        # What is said of its signature keeps the ending that makes that of the place (`.asc: …`).
        told = {place: other.message.removeprefix(place).removeprefix(": ") for place, other in others}
        error.facts.update(told)
        return error


def _weight(error: AcistoreError) -> int:
    """Trust, then the network, then what else went wrong, and last that it isn't there."""
    kinds: Sequence[type[AcistoreError]] = (NotTrusted, NetworkError)
    rank = next((rank for rank, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))
    return rank + isinstance(error, NotFound)
