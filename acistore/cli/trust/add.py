"""`trust add`: keys are shown, and trusted when somebody says so."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.parameters import Command
from acistore.cli.session import Session, somebody_can_answer
from acistore.cli.trust.force import not_as_wished, places_facts
from acistore.cli.trust.places import only_fingerprints, to_layer, to_prefix, to_root, yes_option
from acistore.cli.trust.review import becomes, nobody_to_ask, owner, place, question, review
from acistore.cli.trust.rows import document
from acistore.config import Config
from acistore.errors import ConsentRefused, UsageError
from acistore.fingerprints import shown_fingerprint
from acistore.trust.offers import choose
from acistore.trust.places import check_prefix

if TYPE_CHECKING:
    from acistore.keys import KeyMaterial
    from acistore.trust.keys import PublicKey
    from acistore.trust.keystore.arriving import Arrival
    from acistore.trust.places import Own


@click.command(cls=Command, short_help="Trust keys for a name and what is below it, after review.")
@click.argument("sources", metavar="[KEYFILE|URL…]", type=click.Path(), nargs=-1)
@to_prefix
@to_root
@to_layer
@yes_option
@only_fingerprints
@click.pass_obj
def add(
    session: Session,
    *,
    sources: Sequence[str],
    prefix: str | None,
    root: bool,
    layer: "Own | None",
    yes: bool,
    fingerprints: Sequence[str],
) -> None:
    """Trust keys for a name and everything below it, or for every name.

    Keys are OpenPGP's (release.asc) or SSH's (id_ed25519.pub). They come from files or https:// URLs; without any,
    from where the web page of the prefix says (discovery). What would be trusted is shown: compare the fingerprint
    with one that the publisher has given you by another way. Then you are asked, unless --yes or --fingerprint
    answers. What is known of a key here stays known, a revocation most of all, as long as a copy of it is here. A
    key that is masked for these names has to be unmasked first. Prints the fingerprints of the keys added.

    \b
      acistore trust add --prefix example.com/app
      acistore trust add --prefix example.com/app release.asc --fingerprint 4F1A0C5E…
      acistore trust add --prefix example.com/app id_ed25519.pub
      acistore trust add --root --layer local https://example.com/keys.asc
    """
    if root == (prefix is not None):
        raise UsageError(
            "say what the key is trusted for: either --prefix NAME or --root",
            next_step="acistore trust add --help",
        )
    if root and not sources:
        raise UsageError(
            "--root needs a key file or URL: there is no page to discover root keys from",
            next_step="acistore trust add --root KEYFILE",
        )
    if prefix is not None:
        check_prefix(prefix)
    config = session.config()
    trust = acistore.TrustStore.open(config)
    found = trust.offers(_material(session, config, sources, prefix))
    chosen, left_out = choose(found, fingerprints, prefix)
    where: Own = layer or acistore.keys.default_layer()
    arriving = {each.fingerprint: each for each in trust.would_trust(chosen, prefix=prefix, layer=where)}
    asking = not (yes or fingerprints)
    if asking and not somebody_can_answer():
        raise nobody_to_ask(chosen, prefix, sources)
    if asking or not (session.output.quiet or session.output.json):
        here = partial(_here, trust, arriving)
        session.output.say(review(chosen, prefix, where, here=here))
    for key in left_out:
        session.output.note(f"left out: {shown_fingerprint(key.fingerprint)} {owner(key)}")
    if asking and not session.ask(question(chosen, prefix)):
        raise ConsentRefused(f"no key was added for {place(prefix)}")
    added = {key.fingerprint for key in trust.trust(chosen, prefix=prefix, layer=where)}
    written = [each for each in trust.listing() if (each.place.prefix, each.place.layer) == (prefix, where)]
    written = [each for each in written if each.place.fingerprint in added]
    for problem in not_as_wished(trust, [each.place for each in written]):
        session.output.warning(problem)
    if session.output.json:
        session.output.document([document(each) for each in written])
    else:
        session.output.lines(sorted(added))


def _here(
    trust: "acistore.TrustStore", arriving: Mapping[str, "Arrival"], key: "PublicKey"
) -> Iterator[tuple[str, str]]:
    """What is here of a key that is to be added, and what becomes of that."""
    arrival = arriving[key.fingerprint]
    yield from becomes(arrival)
    others = (each for each in trust.in_force(key.fingerprint) if each not in (*arrival.places, *arrival.here))
    yield from places_facts("trusted for", others)


def _material(session: Session, config: Config, sources: Sequence[str], prefix: str | None) -> list["KeyMaterial"]:
    session.warn_of_insecure(config, "tls", "http", "pubkey")
    if prefix is not None and not sources:
        return acistore.keys.discover_keys(acistore.ImageName(prefix), config)
    return [acistore.keys.read_key(source, config) for source in sources]
