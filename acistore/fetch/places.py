"""Where an image may be had: mirrors, then what discovery finds; and what is said when all of them fail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from acistore.config import Mirror
from acistore.discovery import Endpoint, render
from acistore.errors import AcistoreError, NetworkError, NotFound, NotTrusted
from acistore.fetch.asked import is_url
from acistore.naming import ImageName, covers


def mirrored(name: ImageName, mirrors: Sequence[Mirror]) -> Iterator[Endpoint]:
    """The places of a name at the mirrors that are for it, in their order.

    A template with a placeholder that the name doesn't fill is passed over, as in discovery.
    """
    for mirror in mirrors:
        if covers(mirror.prefix, name.name) and (endpoint := render(mirror.url, name)):
            yield endpoint


@dataclass
class Failures:
    """What has failed, place by place."""

    shown: str
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
        (_place, error), *others = sorted(self._errors.items(), key=lambda each: _weight(each[1]))
        error.facts.update({place: other.message.removeprefix(f"{place}: ") for place, other in others})
        return error


def _weight(error: AcistoreError) -> int:
    """Trust, then the network, then what else went wrong, and last that it isn't there."""
    kinds: Sequence[type[AcistoreError]] = (NotTrusted, NetworkError)
    rank = next((rank for rank, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))
    return rank + isinstance(error, NotFound)
