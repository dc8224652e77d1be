"""Trust: whose signatures count, and for which names."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import click

import acistore
from acistore.cli.output import Output, count, escape, facts, moment, on_terminal, table, terminal_width
from acistore.cli.parameters import Group, option
from acistore.cli.session import Session, somebody_can_answer
from acistore.config import Config
from acistore.errors import ConsentRefused, KeyRefused, NoTerminal, UsageError
from acistore.trust.keyfiles import check_prefix
from acistore.trust.keys import normal_fingerprint, shown_fingerprint

if TYPE_CHECKING:
    from acistore.trust.keys import PublicKey, Subkey
    from acistore.trust.keystore import ListedKey

_EVERYTHING = "every name"
_USES = {"s": "signs", "e": "encrypts", "a": "authenticates", "c": "certifies"}


@click.group(cls=Group)
def trust() -> None:
    """Manage the keys whose signatures admit images.

    A key is trusted for a prefix, which is a name and everything below it (example.com/app, also
    example.com/app/db, not example.com/apple), or as a root key for every name. Keys lie in plain directories,
    trustedkeys/ in the system, local and user configuration, as rkt has them.
    """


@dataclass(frozen=True, slots=True)
class _Offer:
    """Keys from one source, which can be trusted."""

    material: "acistore.keys.KeyMaterial"
    keys: tuple["PublicKey", ...]


@trust.command(short_help="Trust keys for a name and what is below it, after review.")
@click.argument("sources", metavar="[KEYFILE|URL…]", type=click.Path(), nargs=-1)
@option("--prefix", metavar="NAME", help="Trust the keys for this name and everything below it.")
@option("--root/--no-root", help="Trust the keys for every name.")
@option(
    "--layer",
    type=click.Choice(["local", "user"]),
    help="Where to keep them: local (this machine) or user. By default local for root, user otherwise.",
)
@option("--yes/--no-yes", help="Trust all keys that are found, without a question.")
@option(
    "--fingerprint",
    "fingerprints",
    metavar="FPR",
    multiple=True,
    help="Trust exactly the key with this fingerprint, without a question. May be repeated.",
)
@click.pass_obj
def add(
    session: Session,
    *,
    sources: Sequence[str],
    prefix: str | None,
    root: bool,
    layer: str | None,
    yes: bool,
    fingerprints: Sequence[str],
) -> None:
    """Trust keys for a name and everything below it, or for every name.

    Keys come from files or https:// URLs; without any, from where the web page of the prefix says (discovery).
    What would be trusted is shown: compare the fingerprint with one that the publisher has given you by another
    way. Then you are asked, unless --yes or --fingerprint answers. Prints the fingerprints of the keys added.

    \b
      acistore trust add --prefix example.com/app
      acistore trust add --prefix example.com/app release.asc --fingerprint 4F1A0C5E…
      acistore trust add --root --layer local https://example.com/keys.asc
    """
    place = _one_place(prefix, root, next_step="acistore trust add --help")
    if root and not sources:
        raise UsageError(
            "--root needs a key file or URL: there is no page to discover root keys from",
            next_step="acistore trust add --root KEYFILE",
        )
    if prefix is not None:
        check_prefix(prefix)
    config = session.config()
    store = acistore.TrustStore.open(config)
    offers = [_Offer(each, store.inspect(each.material)) for each in _material(session, config, sources, prefix)]
    chosen, left_out = _choice(offers, fingerprints)
    where = cast(Literal["local", "user"], layer) if layer else acistore.keys.default_layer()
    asking = not (yes or fingerprints)
    if asking and not somebody_can_answer():
        raise _nobody_to_ask(chosen, place, sources)
    if asking or not (session.output.quiet or session.output.json):
        session.output.say(_review(chosen, place, where))
    for key in left_out:
        session.output.note(f"left out: {shown_fingerprint(key.fingerprint)} {_owner(key)}")
    if asking and not session.ask(_question(chosen, place)):
        raise ConsentRefused(f"no key was added for {place}")
    for offer in chosen:
        store.add(
            offer.material.material,
            prefix=prefix,
            layer=where,
            only=[key.fingerprint for key in offer.keys],
            source=offer.material.source,
        )
    added = {key.fingerprint for offer in chosen for key in offer.keys}
    if session.output.json:
        here = [each for each in store.all_keys() if (each.place.prefix, each.place.layer) == (prefix, where)]
        session.output.document([_document(each) for each in here if each.place.fingerprint in added])
    else:
        session.output.lines(sorted(added))


def _one_place(prefix: str | None, root: bool, *, next_step: str) -> str:
    """What the keys are trusted for, in words. Raises UsageError unless it is said, once."""
    if root == (prefix is not None):
        raise UsageError("say what the key is trusted for: either --prefix NAME or --root", next_step=next_step)
    return _EVERYTHING if prefix is None else prefix


def _material(
    session: Session, config: Config, sources: Sequence[str], prefix: str | None
) -> list["acistore.keys.KeyMaterial"]:
    session.warn_of_insecure(config, "tls", "http", "pubkey")
    if prefix is not None and not sources:
        return acistore.keys.discover_keys(acistore.ImageName(prefix), config)
    return [acistore.keys.read_key(source, config) for source in sources]


def _choice(offers: Iterable[_Offer], fingerprints: Sequence[str]) -> tuple[list[_Offer], list["PublicKey"]]:
    """What is to be added, each key once, and what is left out. Raises KeyRefused for one that isn't there."""
    wanted = {normal_fingerprint(each) for each in fingerprints}
    chosen: list[_Offer] = []
    left_out: list[PublicKey] = []
    seen: set[str] = set()
    for offer in offers:
        fresh = [key for key in offer.keys if key.fingerprint not in seen]
        seen.update(key.fingerprint for key in fresh)
        keys = tuple(key for key in fresh if not wanted or key.fingerprint in wanted)
        left_out += [key for key in fresh if key not in keys]
        if keys:
            chosen.append(_Offer(offer.material, keys))
    for missing in sorted(wanted - seen):
        raise KeyRefused(
            f"key {shown_fingerprint(missing)} is not among those found",
            facts={shown_fingerprint(key.fingerprint): _owner(key) for key in left_out},
        )
    return chosen, left_out


def _review(offers: Iterable[_Offer], place: str, layer: str) -> Iterator[str]:
    """What a person needs to see of each key before trusting it."""
    for offer in offers:
        for key in offer.keys:
            yield f"key {shown_fingerprint(key.fingerprint)}"
            yield from facts(
                [
                    *(("user ID", user_id) for user_id in key.user_ids),
                    ("algorithm", _algorithm(key)),
                    ("created", moment(key.created_at)),
                    ("expires", _expiry(key)),
                    *(("subkey", _subkey(each)) for each in key.subkeys),
                    ("from", offer.material.source),
                    ("for", f"{place}, in the {layer} layer"),
                ]
            )


def _algorithm(key: "PublicKey | Subkey") -> str:
    return f"{key.algorithm}, {key.bits} bits"


def _expiry(key: "PublicKey | Subkey") -> str:
    state = "REVOKED by its owner, " if key.revoked else "EXPIRED, " if key.expired else ""
    return f"{state}{moment(key.expires_at) if key.expires_at else 'never'}"


def _subkey(key: "Subkey") -> str:
    uses = [word for letter, word in _USES.items() if letter in key.capabilities.lower()]
    return f"{shown_fingerprint(key.fingerprint)}, {_algorithm(key)}, {', '.join(uses)}; expires {_expiry(key)}"


def _owner(key: "PublicKey") -> str:
    return ", ".join(key.user_ids) or "no user ID"


def _question(offers: Iterable[_Offer], place: str) -> str:
    number = sum(len(offer.keys) for offer in offers)
    keys = "this key" if number == 1 else f"these {number} keys"
    return f"Has the publisher confirmed what is shown, in some other way? Trust {keys} for {escape(place)}?"


def _nobody_to_ask(offers: Iterable[_Offer], place: str, sources: Sequence[str]) -> NoTerminal:
    keys = [key for offer in offers for key in offer.keys]
    flags = ["--root"] if place is _EVERYTHING else ["--prefix", place]
    for key in keys:
        flags += ["--fingerprint", key.fingerprint]
    return NoTerminal(
        f"whether to trust {count(len(keys), 'key')} for {place} can't be asked: this is no terminal",
        facts={shown_fingerprint(key.fingerprint): _owner(key) for key in keys},
        next_step=shlex.join(["acistore", "trust", "add", *flags, *sources]),
    )


@trust.command("list", short_help="List the trusted keys.")
@click.pass_obj
def list_(session: Session) -> None:
    """List the keys in all layers, what they are trusted for, and whether they count.

    Of the state: valid; expired or revoked keys admit nothing; a masked key has an empty file of the same name
    in a higher layer, or is overridden there.
    """
    _print_keys(session.output, acistore.TrustStore.open(session.config()).all_keys())


def _print_keys(output: Output, keys: Sequence["ListedKey"]) -> None:
    if output.json:
        output.document([_document(key) for key in keys])
        return
    rows = [
        (
            each.place.prefix or "(root)",
            each.place.layer,
            each.state,
            each.place.fingerprint,
            each.key.user_id or "",
        )
        for each in keys
    ]
    cut_to = terminal_width() if on_terminal(sys.stdout) else None
    output.lines(table([("PREFIX", "LAYER", "STATE", "FINGERPRINT", "USER ID"), *rows], cut_to=cut_to))


def _document(each: "ListedKey") -> dict[str, object]:
    return {
        "prefix": each.place.prefix,
        "fingerprint": each.place.fingerprint,
        "scheme": "openpgp",
        "user_ids": each.key.user_ids,
        "layer": each.place.layer,
        "state": each.state,
        "created_at": each.key.created_at,
        "expires_at": each.key.expires_at,
        "source": each.origin and each.origin.source,
        "added_at": each.origin and each.origin.added_at,
    }


@trust.command(short_help="Trust a key no longer.")
@click.argument("fingerprint", metavar="FPR")
@option("--prefix", metavar="NAME", help="Only for this name. By default, and without --root, everywhere.")
@option("--root/--no-root", help="Only as a root key.")
@option(
    "--remove-images/--no-remove-images",
    help="Take the images that the key admitted out of the store, pinned ones and those that others need too.",
)
@click.pass_obj
def remove(session: Session, *, fingerprint: str, prefix: str | None, root: bool, remove_images: bool) -> None:
    """Trust a key no longer: for one prefix, as a root key, or by default wherever it is trusted.

    FPR is the fingerprint or its last 16 or more digits. The images that the key has admitted are named; they
    stay in the store unless --remove-images is given.

    \b
      acistore trust remove 4F1A0C5E…
      acistore trust remove --prefix example.com/app --remove-images 4F1A0C5E…
    """
    if root and prefix is not None:
        raise UsageError("--prefix and --root exclude each other", next_step="acistore trust remove --help")
    places = acistore.TrustStore.open(session.config()).remove(fingerprint, prefix=prefix, root=root)
    rule = "root" if root else prefix
    images = _images_of(session, places[0].fingerprint, rule, take_out=remove_images)
    if session.output.json:
        session.output.document(
            {
                "removed": [
                    {"prefix": place.prefix, "fingerprint": place.fingerprint, "layer": place.layer}
                    for place in places
                ],
                "images": [{"id": image.id, "name": image.name} for image in images],
                "images_removed": remove_images,
            }
        )
        return
    session.output.line(shown_fingerprint(places[0].fingerprint))
    gone = [("not trusted for", f"{place.prefix or _EVERYTHING} ({place.layer})") for place in places]
    word = "image removed" if remove_images else "has admitted"
    session.output.lines(facts([*gone, *((word, f"{image.image_name} {image.id}") for image in images)]))
    if images and not remove_images:
        session.output.note("these images are still in the store: --remove-images or acistore rm takes them out")


def _images_of(
    session: Session, fingerprint: str, rule: str | None, *, take_out: bool
) -> list["acistore.StoredImage"]:
    """The images in the store that a key has admitted (by one rule, if one is given), taken out if so wished."""
    with session.existing_store() as store:
        images = [
            image
            for image in store.images_admitted_by(fingerprint)
            if any(
                each.fingerprint == fingerprint and rule in (None, each.rule) for each in store.admissions(image)
            )
        ]
        if take_out:
            store.remove(images, force=True)
        return images
