"""`trust list` and `trust show`: the keys there are, what they are trusted for, and whether they count."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import facts, moment
from acistore.cli.parameters import Command
from acistore.cli.session import Session
from acistore.cli.trust.admitted import facts_of, images_of, names_of
from acistore.cli.trust.places import check_place, one_fingerprint, only_prefix, only_root
from acistore.cli.trust.review import about, place
from acistore.cli.trust.rows import document, print_keys, state_words
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import scheme_of

if TYPE_CHECKING:
    from acistore.trust.keys import PublicKey
    from acistore.trust.keystore.store import ListedKey, ListedMask


@click.command("list", cls=Command, short_help="List the trusted keys.")
@click.pass_obj
def list_(session: Session) -> None:
    """List the keys in all layers, what they are trusted for, whether they count, and where they came from.

    Of the state: valid, or when the key expires if that is soon; expired and revoked keys admit nothing; a
    masked key has an empty file of the same name in a higher layer. A mask of a key that has no file for the same
    names is listed as well. At a terminal what is too long is cut; of a fingerprint the end is left, by which
    commands know the key too.

    \b
      acistore trust list
      acistore --json trust list | jq -r '.[] | select(.state != "valid") | .fingerprint'
    """
    print_keys(session.output, acistore.TrustStore.open(session.config()).listing())


@click.command(cls=Command, short_help="Show all that is known of a key.")
@one_fingerprint
@only_prefix
@only_root
@click.pass_obj
def show(session: Session, *, fingerprint: str, prefix: str | None, root: bool) -> None:
    """Show all that is known of a key: what it is, what it is trusted for and by which files, what it admitted.

    FPR is the fingerprint or its last 16 or more digits. The copies of a key in several files may differ, as when
    one of them is older.

    \b
      acistore trust show 4F1A0C5E…
      acistore trust show --prefix example.com/app 4F1A0C5E…
    """
    check_place(prefix, root, command="show")
    listed = acistore.TrustStore.open(session.config()).find(fingerprint, prefix=prefix, root=root)
    whole = listed[0].place.fingerprint
    images = images_of(session, whole, prefix=prefix, root=root)
    if session.output.json:
        places = [document(each) | _more(each) for each in listed]
        key = {"fingerprint": whole, "scheme": scheme_of(whole)}
        session.output.document(key | {"places": places, "images": names_of(images)["images"]})
        return
    session.output.line(whole)
    fingerprint_fact = [("fingerprint", shown_fingerprint(whole))]
    shown: PublicKey | None = None
    if all(each.is_mask for each in listed):
        session.output.lines(facts(fingerprint_fact))
    for each in listed:
        if not each.is_mask and each.key is not None and each.key != shown:
            if shown is not None:
                session.output.line("another copy of it")
            session.output.lines(facts([*(fingerprint_fact if shown is None else ()), *about(each.key)]))
            shown = each.key
        state = "a mask" if each.is_mask else state_words(each)
        session.output.line(f"for {place(each.place.prefix)}, in the {each.place.layer} layer: {state}")
        session.output.lines(facts(_of_file(each)))
    if images:
        session.output.line("images")
        session.output.lines(facts(facts_of(images, "has admitted")))


def _of_file(each: "ListedKey | ListedMask") -> Iterator[tuple[str, str]]:
    yield "file", str(each.place.path)
    if each.origin:
        yield "from", each.origin.source
        yield "added", moment(each.origin.added_at)
    if each.deciding != each.place:
        yield "masked by" if each.state == "masked" else "overridden by", str(each.deciding.path)


def _more(each: "ListedKey | ListedMask") -> dict[str, object]:
    """What `show` says of a file besides what `list` does."""
    key = None if each.is_mask else each.key
    return {
        "mask": each.is_mask,
        "file": each.place.path,
        "deciding_file": each.deciding.path,
        "algorithm": key and key.algorithm,
        "bits": key and key.bits,
        "weak": key and key.is_weak(key.fingerprint),
        "capabilities": key and key.capabilities,
        "key_expires_at": key and key.expires_at,
        "subkeys": _subkeys(key) if key else [],
    }


def _subkeys(key: "PublicKey") -> list[dict[str, object]]:
    return [
        {
            "fingerprint": subkey.fingerprint,
            "algorithm": subkey.algorithm,
            "bits": subkey.bits,
            "weak": key.is_weak(subkey.fingerprint),
            "capabilities": subkey.capabilities,
            "created_at": subkey.created_at,
            "expires_at": subkey.expires_at,
            "expired": subkey.expired,
            "revoked": subkey.revoked,
        }
        for subkey in key.subkeys
    ]
