"""`trust remove`: a key is trusted no longer, and what becomes of the images that it has admitted."""

import click

import acistore
from acistore.cli.output import facts
from acistore.cli.parameters import Command
from acistore.cli.session import Session
from acistore.cli.trust.admitted import images_of, names_of, remove_images_option, tell_of
from acistore.cli.trust.force import in_force_facts, place_documents, places_facts
from acistore.cli.trust.places import check_place, one_fingerprint, only_prefix, only_root


@click.command(cls=Command, short_help="Trust a key no longer.")
@one_fingerprint
@only_prefix
@only_root
@remove_images_option
@click.pass_obj
def remove(session: Session, *, fingerprint: str, prefix: str | None, root: bool, remove_images: bool) -> None:
    """Trust a key no longer: for one prefix, as a root key, or by default wherever it is trusted.

    FPR is the fingerprint or its last 16 or more digits. The images that the key has admitted are named; they
    stay in the store unless --remove-images is given. A key of the system layer can't be removed, but masked. With
    its last copy goes what was known of the key, also that it was revoked: a mask keeps older copies out. What is
    in force afterwards is printed.

    \b
      acistore trust remove 4F1A0C5E…
      acistore trust remove --prefix example.com/app --remove-images 4F1A0C5E…
    """
    check_place(prefix, root, command="remove")
    trust = acistore.TrustStore.open(session.config())
    removed = trust.remove(fingerprint, prefix=prefix, root=root)
    whole = removed[0].fingerprint
    if not session.output.json:
        session.output.line(whole)
        gone = places_facts("not trusted for", removed)
        session.output.lines(facts([*gone, *in_force_facts(trust, whole, removed)]))
    images = images_of(session, whole, prefix=prefix, root=root, take_out=remove_images)
    if not session.output.json:
        tell_of(session, images, taken_out=remove_images)
        return
    session.output.document(
        {
            "removed": place_documents(removed),
            "in_force": place_documents(trust.in_force(whole)),
            **names_of(images, taken_out=remove_images),
        }
    )
