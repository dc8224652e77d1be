"""What a person needs to see of keys before trusting them, and how it is asked."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from acistore.cli.output import count, escape, facts, moment
from acistore.errors import NoTerminal
from acistore.fingerprints import option_fingerprint, shown_fingerprint

if TYPE_CHECKING:
    from acistore.keys import Offer
    from acistore.trust.keys import PublicKey, Subkey
    from acistore.trust.keystore.arriving import Arrival

_REVOKED = "REVOKED by its owner"
_USES = {"s": "signs", "e": "encrypts", "a": "authenticates", "c": "certifies"}


def place(prefix: str | None) -> str:
    """What keys are trusted for, in words: the names under a prefix, or every name when that is None."""
    return "every name" if prefix is None else prefix


def review(
    offers: Iterable["Offer"],
    prefix: str | None,
    layer: str,
    *,
    here: Callable[["PublicKey"], Iterable[tuple[str, str]]] = lambda _key: (),
) -> Iterator[str]:
    """The lines that show what would be trusted, escaped. `here` has more facts of a key, about what is here."""
    for offer in offers:
        for key in offer.keys:
            yield f"key {shown_fingerprint(key.fingerprint)}"
            for_what = f"{place(prefix)}, in the {layer} layer"
            yield from facts([*about(key), ("from", offer.source), ("for", for_what), *here(key)])


def review_arrivals(arrivals: Iterable["Arrival"]) -> Iterator[str]:
    """The lines that show what becomes of keys and masks, escaped: in full where something changes."""
    for each in arrivals:
        yield f"{'key' if each.key else 'mask of key'} {shown_fingerprint(each.fingerprint)}"
        told = about(each.key) if each.key and each.places else ()
        source = [_said_source(each)] if each.key else []
        yield from facts([*told, *source, ("for", _for_what(each)), *becomes(each)])


def _said_source(arrival: "Arrival") -> tuple[str, str]:
    """Where a key came from, for which there is nothing but the word of whoever made the file."""
    return ("said to be from", arrival.origin.source) if arrival.origin else ("from", "not known")


def _for_what(arrival: "Arrival") -> str:
    files = arrival.places or (() if arrival.outcome == "masked" else arrival.here)
    layers = " and ".join(dict.fromkeys(file.layer for file in files))
    return f"{place(arrival.prefix)}, in the {layers} layer" if layers else place(arrival.prefix)


def becomes(arrival: "Arrival") -> Iterator[tuple[str, str]]:
    """What a key or mask that is to come is here, as labels and values."""
    files = ", ".join(str(file.path) for file in arrival.here)
    match arrival.outcome:
        case "masked":
            yield "here", f"left alone: masked here by {files}"
        case "known":
            yield "here", "in force already"
        case "new" if arrival.here:
            yield (
                "here",
                f"takes the place of the key's own file {files}" if arrival.key is None else f"as {files}",
            )
        case "new":
            yield "here", "new"
    yield from (("here", f"changed: {change}") for change in arrival.changes)


def question(offers: Iterable["Offer"], prefix: str | None) -> str:
    """What the person is asked, escaped."""
    number = sum(len(offer.keys) for offer in offers)
    keys = "this key" if number == 1 else f"these {number} keys"
    return (
        f"Has the publisher confirmed what is shown, in some other way? Trust {keys} for {escape(place(prefix))}?"
    )


def nobody_to_ask(offers: Iterable["Offer"], prefix: str | None, sources: Sequence[str] = ()) -> NoTerminal:
    """The error when there is no terminal: the keys, and the command that trusts exactly these.

    `sources` are the files and URLs that the command is to take them from; without any, discovery.
    """
    keys = [key for offer in offers for key in offer.keys]
    flags = ["--root"] if prefix is None else ["--prefix", prefix]
    for key in keys:
        flags += ["--fingerprint", option_fingerprint(key.fingerprint)]
    return NoTerminal(
        f"whether to trust {count(len(keys), 'key')} for {place(prefix)} can't be asked: this is no terminal",
        facts={shown_fingerprint(key.fingerprint): owner(key) for key in keys},
        next_step=shlex.join(["acistore", "trust", "add", *flags, *sources]),
    )


def owner(key: "PublicKey") -> str:
    """Whom a key claims to belong to, in one line."""
    return ", ".join(key.user_ids) or ("no comment" if key.block.scheme == "ssh" else "no user ID")


def about(key: "PublicKey") -> Iterator[tuple[str, str]]:
    """All that is known of a key, as labels and values."""
    label = "comment" if key.block.scheme == "ssh" else "user ID"
    yield from ((label, user_id) for user_id in key.user_ids)
    yield "algorithm", f"{_algorithm(key)}{_weakness(key, key.fingerprint)}"
    if key.created_at is not None:
        yield "created", moment(key.created_at)
    if key.revoked:
        yield "state", _REVOKED
    yield "expires", _expiry(key)
    for subkey in key.subkeys:
        yield "subkey", _subkey(key, subkey)


def _algorithm(key: "PublicKey | Subkey") -> str:
    return f"{key.algorithm}, {key.bits} bits"


def _weakness(key: "PublicKey", signing: str) -> str:
    return ", TOO SHORT: what it signs is refused" if key.is_weak(signing) else ""


def _expiry(key: "PublicKey | Subkey") -> str:
    when = moment(key.expires_at) if key.expires_at else "never"
    return f"EXPIRED, {when}" if key.expired else when


def _subkey(key: "PublicKey", subkey: "Subkey") -> str:
    uses = ", ".join(word for letter, word in _USES.items() if letter in subkey.capabilities.lower())
    weakness = _weakness(key, subkey.fingerprint) if "s" in subkey.capabilities.lower() else ""
    shown = shown_fingerprint(subkey.fingerprint)
    end = _REVOKED if subkey.revoked else f"expires {_expiry(subkey)}"
    return f"{shown}, {_algorithm(subkey)}{weakness}, {uses or 'no use'}; {end}"
