"""`trust refresh`: keys fetched again from where they came, for what their owners have signed since."""

from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import facts
from acistore.cli.parameters import Command
from acistore.cli.session import Session
from acistore.cli.trust.admitted import images_of, names_of, remove_images_option, tell_of
from acistore.cli.trust.force import place_documents, places_facts
from acistore.cli.trust.places import any_fingerprint, check_place, only_prefix, only_root
from acistore.cli.trust.review import place
from acistore.fingerprints import shown_fingerprint
from acistore.trust.lifetime import ends_at

if TYPE_CHECKING:
    from acistore.refresh import Refreshed


@click.command(cls=Command, short_help="Fetch keys again: new expiry dates, subkeys, revocations.")
@any_fingerprint
@only_prefix
@only_root
@remove_images_option
@click.pass_obj
def refresh(
    session: Session, *, fingerprint: str | None, prefix: str | None, root: bool, remove_images: bool
) -> int:
    """Fetch one key, or all, again from where they came, and take over what their owners have signed since.

    That is another end, new subkeys and user IDs, and revocations; never another key, and nothing that was known
    is lost when an older copy is served. Keys that were put in place by hand, and SSH keys, are left alone. When a
    key turns out to be revoked, the images that it has admitted are named; they stay in the store unless
    --remove-images is given.

    \b
      acistore trust refresh
      acistore trust refresh 4F1A0C5E…
      acistore trust refresh --prefix example.com/app --remove-images
    """
    from acistore.refresh import refresh  # noqa: PLC0415 - what fetches is not needed for the other commands

    check_place(prefix, root, command="refresh")
    config = session.config()
    session.warn_of_insecure(config, "tls", "http", "pubkey")
    trust = acistore.TrustStore.open(config)
    codes: list[int] = []
    documents: list[dict[str, object]] = []
    nothing = True
    for each in refresh(trust, config, fingerprint, prefix=prefix, root=root):
        nothing = False
        for failure in each.failures:
            session.output.error(failure, about=each.key.fingerprint)
            codes.append(failure.exit_code)
        images = _images(session, each, take_out=remove_images)
        if session.output.json:
            documents.append(_document(each, images, taken_out=remove_images))
        else:
            _tell(session, each, images, taken_out=remove_images)
    if nothing:
        where = "" if prefix is None and not root else f" for {place(prefix)}"
        session.output.note(f"there is no key{where} that could be refreshed")
    if session.output.json:
        session.output.document(documents)
    return codes[0] if codes else 0


def _images(session: Session, each: "Refreshed", *, take_out: bool) -> list["acistore.StoredImage"]:
    """What a key has admitted that is revoked now."""
    if each.renewal is None or not each.renewal.key.revoked:
        return []
    return images_of(session, each.key.fingerprint, take_out=take_out)


def _tell(session: Session, each: "Refreshed", images: list["acistore.StoredImage"], *, taken_out: bool) -> None:
    owner = each.key.user_id or ""
    if each.left_alone:
        session.output.note(f"left alone: {shown_fingerprint(each.key.fingerprint)} {owner}: {each.left_alone}")
    if each.renewal is None:
        return
    session.output.line(f"{each.key.fingerprint} {owner}".rstrip())
    changes = [("changed", change) for change in each.renewal.changes] or [("unchanged", "nothing new")]
    session.output.lines(facts([*changes, *places_facts("written for", each.renewal.places)]))
    if each.renewal.key.revoked:
        session.output.warning(
            f"key {shown_fingerprint(each.key.fingerprint)} was revoked by its owner, and admits nothing any more"
        )
        tell_of(session, images, taken_out=taken_out)


def _document(each: "Refreshed", images: list["acistore.StoredImage"], *, taken_out: bool) -> dict[str, object]:
    renewal = each.renewal
    return {
        "fingerprint": each.key.fingerprint,
        "user_id": each.key.user_id,
        "sources": each.key.sources,
        "refreshed": renewal is not None,
        "left_alone": each.left_alone,
        "changes": renewal.changes if renewal else (),
        "places": place_documents(renewal.places) if renewal else [],
        "revoked": renewal.key.revoked if renewal else None,
        "expires_at": ends_at(renewal.key) if renewal else None,
        **names_of(images, taken_out=taken_out),
    }
