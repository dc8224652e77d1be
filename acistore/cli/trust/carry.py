"""`trust export` and `trust import`: keys with their places, carried in one file."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import StdoutBytes, count, facts
from acistore.cli.parameters import Command
from acistore.cli.session import Session, somebody_can_answer
from acistore.cli.trust.force import not_as_wished
from acistore.cli.trust.places import into_layer, only_fingerprints, yes_option
from acistore.cli.trust.review import owner, place, review
from acistore.cli.trust.rows import document
from acistore.errors import ConsentRefused, FileUnusable, NoTerminal
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.keystore.durable import move, new_file

if TYPE_CHECKING:
    from acistore.trust.keystore.bundle import Bundle
    from acistore.trust.offers import Offer
    from acistore.trust.places import Own

    Offered = Mapping[str | None, tuple[Offer, ...]]

_PIPE = "-"


@click.command("export", cls=Command, short_help="Write the trusted keys with their places to a file.")
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@click.pass_obj
def export(session: Session, file: str) -> None:
    """Write the keys in force, what they are trusted for, where they came from, and masks to one file.

    It holds no secrets, and says the same whenever the same is trusted. acistore trust import reads it, on this
    machine or another. With - it goes to stdout.

    \b
      acistore trust export keys.json
      acistore trust export - | ssh host acistore trust import --yes -
    """
    bundle = acistore.TrustStore.open(session.config()).export()
    if file == _PIPE:
        StdoutBytes().write(bundle.to_json())
        return
    _write(Path(file), bundle.to_json())
    if session.output.json:
        written = {"file": Path(file).absolute(), "keys": len(bundle.keys), "masks": len(bundle.masks)}
        session.output.document(written)
    else:
        session.output.note(f"wrote {file}: {_contents(bundle)}")


def _contents(bundle: "Bundle") -> str:
    places = count(len(bundle.keys), "trusted key")
    return f"{places} and {count(len(bundle.masks), 'mask')}" if bundle.masks else places


def _write(path: Path, content: bytes) -> None:
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():  # a device, a named pipe
            target.write_bytes(content)
            return
        with new_file(content, target.parent) as file:
            move(file, target)
    except OSError as error:
        raise FileUnusable(f"{path} can't be written: {error.strerror}") from None


@click.command(
    "import", cls=Command, short_help="Trust the keys in a file that trust export has made, after review."
)
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@into_layer
@yes_option
@only_fingerprints
@click.pass_obj
def import_(session: Session, *, file: str, layer: "Own | None", yes: bool, fingerprints: Sequence[str]) -> None:
    """Trust the keys in a file that acistore trust export has made, each for what it was trusted for there, and
    set its masks.

    What would be trusted is shown, and asked about, unless --yes or --fingerprint answers: whoever has made the
    file decides whose images are admitted here. All or nothing is done. What is known here already of a key stays
    known, a revocation most of all. With - the file comes from stdin. Prints the fingerprints of the keys.

    \b
      acistore trust import keys.json
      acistore trust import --layer local --fingerprint 4F1A0C5E… keys.json
    """
    from acistore.trust.keystore.bundle import Bundle  # noqa: PLC0415 - gpg is not needed to print help

    trust = acistore.TrustStore.open(session.config())
    bundle, left_out = Bundle.parse(_read(file)).only(fingerprints)
    offered = trust.offered_by(bundle)
    asking = not (yes or fingerprints)
    if asking and not somebody_can_answer():
        raise _nobody_to_ask(bundle, offered, file)
    if asking or not (session.output.quiet or session.output.json):
        for prefix, offers in offered.items():
            session.output.say(review(offers, prefix, layer))
        session.output.say(_masks(bundle))
    for fingerprint in left_out:
        session.output.note(f"left out: {shown_fingerprint(fingerprint)}")
    if asking and not session.ask(f"Do you know who made this file? Take over {_contents(bundle)}?"):
        raise ConsentRefused(f"nothing of {file} was taken over")
    written = trust.restore(bundle, layer=layer)
    if not written:
        session.output.note("nothing was changed: all of it is in force already")
    for problem in not_as_wished(trust, written):
        session.output.warning(problem)
    if session.output.json:
        paths = {each.path for each in written}
        session.output.document([document(each) for each in trust.listing() if each.place.path in paths])
    else:
        session.output.lines(sorted({each.fingerprint for each in bundle.keys}))


def _read(file: str) -> bytes:
    from acistore.trust.keystore.bundle import LARGEST  # noqa: PLC0415

    if file == _PIPE:
        return sys.stdin.buffer.read(LARGEST + 1)
    try:
        with Path(file).open("rb") as source:
            return source.read(LARGEST + 1)
    except OSError as error:
        raise FileUnusable(f"{file} can't be read: {error.strerror}") from None


def _masks(bundle: "Bundle") -> Iterator[str]:
    for each in bundle.masks:
        yield f"mask of key {shown_fingerprint(each.fingerprint)}"
        yield from facts([("for", place(each.prefix))])


def _nobody_to_ask(bundle: "Bundle", offered: "Offered", file: str) -> NoTerminal:
    owners = {key.fingerprint: owner(key) for offers in offered.values() for each in offers for key in each.keys}
    fingerprints = dict.fromkeys(each.fingerprint for each in bundle.entries)
    flags = [word for each in fingerprints for word in ("--fingerprint", option_fingerprint(each))]
    return NoTerminal(
        f"whether to trust what {file} holds, {_contents(bundle)}, can't be asked: this is no terminal",
        facts={shown_fingerprint(each): owners.get(each, "a mask") for each in fingerprints},
        next_step=shlex.join(["acistore", "trust", "import", *flags, file]),
    )
