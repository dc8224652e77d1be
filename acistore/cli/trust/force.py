"""What is in force of a key after something was changed, as text and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from acistore.cli.trust.review import place as in_words
from acistore.fingerprints import shown_fingerprint

if TYPE_CHECKING:
    from acistore import TrustStore
    from acistore.trust.keys import Place


def places_facts(label: str, places: Iterable["Place"]) -> Iterator[tuple[str, str]]:
    """A fact for each place of a key."""
    return ((label, f"{in_words(place.prefix)} ({place.layer})") for place in places)


def still_trusted(trust: "TrustStore", fingerprint: str, changed: Sequence["Place"]) -> Iterator[tuple[str, str]]:
    """Where a key counts now, also for what was changed when another place covers that."""
    places = trust.in_force(fingerprint)
    yield from places_facts("trusted for", places)
    known = {place.prefix for place in places}
    for prefix in dict.fromkeys(place.prefix for place in changed if place.prefix not in known):
        covering = (
            [key.place for key in trust.keys_for(prefix) if key.fingerprint == fingerprint] if prefix else []
        )
        for place in covering:
            yield "trusted for", f"{prefix}, through {in_words(place.prefix)} ({place.layer})"


def place_documents(places: Iterable["Place"]) -> list[dict[str, object]]:
    """Places of a key as scripts get them."""
    return [
        {"prefix": place.prefix, "fingerprint": place.fingerprint, "layer": place.layer, "file": place.path}
        for place in places
    ]


def not_as_wished(trust: "TrustStore", written: Iterable["Place"]) -> Iterator[str]:
    """What keeps keys and masks that were just put in place from having their effect, in words."""
    places = {place.path: place for place in written}
    for each in trust.listing():
        if each.place.path in places and each.deciding != each.place and each.state != "valid":
            why = "masks it" if each.state == "masked" else f"overrides it, and is {each.state}"
            shown = shown_fingerprint(each.place.fingerprint)
            yield f"key {shown} does not count for {in_words(each.place.prefix)}: {each.deciding.path} {why}"
    for place in places.values():
        if place.path.stat().st_size == 0:
            for other in trust.in_force(place.fingerprint):
                if other.prefix == place.prefix:
                    shown = shown_fingerprint(place.fingerprint)
                    yield f"key {shown} still counts for {in_words(place.prefix)}: through {other.path}"
