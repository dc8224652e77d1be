"""`trust export` and `trust import`: keys with their places, carried in one file."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import StdoutBytes, count
from acistore.cli.parameters import Command
from acistore.cli.session import Session, somebody_can_answer
from acistore.cli.trust.admitted import images_of, names_of, remove_images_option, tell_of
from acistore.cli.trust.force import not_as_wished, only_for_this_user
from acistore.cli.trust.places import into_layer, only_fingerprints, yes_option
from acistore.cli.trust.review import owner, place, review_arrivals
from acistore.cli.trust.rows import document, print_keys
from acistore.errors import ConsentRefused, FileUnusable, NoTerminal
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.keystore.durable import move, new_file

if TYPE_CHECKING:
    from acistore.trust.keystore.arriving import Arrival
    from acistore.trust.places import Own

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
        session.output.note(f"wrote {file}: {_counted(len(bundle.keys), len(bundle.masks))}")


def _counted(keys: int, masks: int) -> str:
    parts = [count(keys, "trusted key")] if keys or not masks else []
    return " and ".join([*parts, *([count(masks, "mask")] if masks else [])])


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
@remove_images_option
@click.pass_obj
def import_(
    session: Session,
    *,
    file: str,
    layer: "Own | None",
    yes: bool,
    fingerprints: Sequence[str],
    remove_images: bool,
) -> None:
    """Trust the keys in a file that acistore trust export has made, each for what it was trusted for there, and
    set its masks.

    What would change is shown, and asked about, unless --yes or --fingerprint answers: whoever has made the file
    decides whose images are admitted here. All or nothing is done. What is known of a key here stays known, a
    revocation most of all, as long as a copy of it is here, and what is masked here stays masked. A mask that
    comes takes the place of the key's own file; no other key goes. Of keys that were revoked the images are named
    that they have admitted; they stay in the store unless --remove-images is given. With - the file comes from
    stdin. What was written is listed.

    \b
      acistore trust import keys.json
      acistore trust import --layer local --fingerprint 4F1A0C5E… keys.json
    """
    from acistore.trust.keystore.bundle import Bundle  # noqa: PLC0415 - gpg is not needed to print help

    called = "stdin" if file == _PIPE else file
    trust = acistore.TrustStore.open(session.config())
    bundle, left_out = Bundle.parse(_read(file), called).only(fingerprints)
    coming = trust.would_restore(bundle, layer=layer)
    changing = [each for each in coming if each.places]
    asking = bool(changing) and not (yes or fingerprints)
    if asking and not somebody_can_answer():
        raise _nobody_to_ask(changing, file, called)
    if asking or not (session.output.quiet or session.output.json):
        session.output.say(review_arrivals(coming))
    for fingerprint in left_out:
        session.output.note(f"left out: {shown_fingerprint(fingerprint)}")
    if asking and not session.ask(f"Do you know who made this file? Take over {_changing(changing)}?"):
        raise ConsentRefused(f"nothing of {called} was taken over")
    arrivals = trust.restore(bundle, layer=layer)
    written = [place for each in arrivals for place in each.places]
    if not written:
        session.output.note("nothing was changed: all of it is in force already, or masked here")
    for problem in (*_left_alone(arrivals), *not_as_wished(trust, written), *only_for_this_user(trust, written)):
        session.output.warning(problem)
    _tell(session, trust, arrivals, remove_images=remove_images)


def _tell(
    session: Session, trust: "acistore.TrustStore", arrivals: Sequence["Arrival"], *, remove_images: bool
) -> None:
    """Lists what was written, and says what became of the images that keys have admitted which were revoked."""
    by_path = {place.path: each for each in arrivals for place in each.places}
    listed = [each for each in trust.listing(every_mask=True) if each.place.path in by_path]
    revoked = dict.fromkeys(each.fingerprint for each in arrivals if each.key and each.key.revoked)
    images = {each: images_of(session, each, take_out=remove_images) for each in revoked}
    if session.output.json:
        session.output.document(
            [
                document(each)
                | {"file": each.place.path, "mask": each.is_mask}
                | {"outcome": by_path[each.place.path].outcome, "changes": by_path[each.place.path].changes}
                | names_of(images.get(each.place.fingerprint, []), taken_out=remove_images)
                for each in listed
            ]
        )
        return
    if listed:
        print_keys(session.output, listed)
    for fingerprint in revoked:
        session.output.warning(
            f"key {shown_fingerprint(fingerprint)} was revoked by its owner, and admits nothing"
        )
        tell_of(session, images[fingerprint], taken_out=remove_images)


def _left_alone(arrivals: Sequence["Arrival"]) -> Iterator[str]:
    for each in arrivals:
        if each.outcome == "masked":
            files = ", ".join(str(file.path) for file in each.here)
            shown = shown_fingerprint(each.fingerprint)
            yield f"key {shown} was left alone for {place(each.prefix)}: it is masked here by {files}"


def _read(file: str) -> bytes:
    from acistore.trust.keystore.bundle import LARGEST  # noqa: PLC0415

    if file == _PIPE:
        return sys.stdin.buffer.read(LARGEST + 1)
    try:
        with Path(file).open("rb") as source:
            return source.read(LARGEST + 1)
    except OSError as error:
        raise FileUnusable(f"{file} can't be read: {error.strerror}") from None


def _changing(arrivals: Sequence["Arrival"]) -> str:
    """How much would be written."""
    keys = sum(each.key is not None for each in arrivals)
    return _counted(keys, len(arrivals) - keys)


def _nobody_to_ask(arrivals: Sequence["Arrival"], file: str, called: str) -> NoTerminal:
    owners = {each.fingerprint: owner(each.key) if each.key else "a mask" for each in reversed(arrivals)}
    fingerprints = dict.fromkeys(each.fingerprint for each in arrivals)
    flags = [word for each in fingerprints for word in ("--fingerprint", option_fingerprint(each))]
    return NoTerminal(
        f"whether to trust what {called} holds, {_changing(arrivals)}, can't be asked: this is no terminal",
        facts={shown_fingerprint(each): owners[each] for each in fingerprints},
        next_step=shlex.join(["acistore", "trust", "import", *flags, file]),
    )
