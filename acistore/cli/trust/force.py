"""What is in force of a key after something was changed, as text and as JSON."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from acistore.cli.trust.review import place as in_words
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.places import default_layer

if TYPE_CHECKING:
    from acistore import TrustStore
    from acistore.trust.keys import Place


def places_facts(label: str, places: Iterable["Place"]) -> Iterator[tuple[str, str]]:
    """A fact for each place of a key."""
    return ((label, f"{in_words(place.prefix)} ({place.layer})") for place in places)


def in_force_facts(trust: "TrustStore", fingerprint: str, changed: Sequence["Place"]) -> Iterator[tuple[str, str]]:
    """Where a key counts now, also for what was changed when another place covers that; for others who use this
    machine, too, where a mask of one user does not reach them."""
    mine = list(_counting(trust, fingerprint, changed, for_others=False))
    others = [each for each in _counting(trust, fingerprint, changed, for_others=True) if each not in mine]
    nothing = "nothing, by this user" if others else "nothing"
    yield from (("trusted for", each) for each in mine or [nothing])
    yield from (("by others for", each) for each in others)


def _counting(
    trust: "TrustStore", fingerprint: str, changed: Sequence["Place"], *, for_others: bool
) -> Iterator[str]:
    places = trust.in_force(fingerprint, for_others=for_others)
    yield from (value for _, value in places_facts("", places))
    known = {place.prefix for place in places}
    for prefix in dict.fromkeys(place.prefix for place in changed if place.prefix not in known):
        if through := trust.trusted_through(fingerprint, prefix, for_others=for_others):
            yield f"{in_words(prefix)}, through {in_words(through.prefix)} ({through.layer})"


def only_for_this_user(trust: "TrustStore", masks: Iterable["Place"]) -> Iterator[str]:
    """That others still trust a key that is masked in the user layer, and what ends that, in words."""
    from acistore.trust.keystore.selecting import rule_of  # noqa: PLC0415 - help needs no gpg

    as_root = "" if default_layer() == "local" else "as root: "
    snapshot = trust.snapshot()
    for mask in masks:
        through = snapshot.trusted_through(mask.fingerprint, mask.prefix, for_others=True)
        if mask.layer == "user" and through is not None:
            # Below the mask for all lies the key's own file, where that is: then no mask has room there.
            own = (through.prefix, through.layer) == (mask.prefix, "local")
            command = ["remove"] if own else ["mask", "--layer", "local"]
            words = ["acistore", "trust", *command, *rule_of(mask), option_fingerprint(mask.fingerprint)]
            yield (
                f"masked only for this user: others on this machine still trust the key for "
                f"{in_words(mask.prefix)}; for the whole machine, {as_root}{shlex.join(words)}"
            )


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
    snapshot = trust.snapshot()  # one for all of them: there may be thousands of masks
    for place in places.values():
        if place.path.stat().st_size == 0:
            through = snapshot.trusted_through(place.fingerprint, place.prefix)
            if through and through.prefix == place.prefix:
                shown = shown_fingerprint(place.fingerprint)
                yield f"key {shown} still counts for {in_words(place.prefix)}: through {through.path}"
