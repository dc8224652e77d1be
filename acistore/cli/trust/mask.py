"""`trust mask` and `trust unmask`: a key is taken out of force by an empty file above it, or let count again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import facts
from acistore.cli.parameters import Command, option
from acistore.cli.session import Session
from acistore.cli.trust.force import in_force_facts, only_for_this_user, place_documents, places_facts
from acistore.cli.trust.places import check_place, one_fingerprint, only_prefix, only_root

if TYPE_CHECKING:
    from acistore.trust.keys import Place
    from acistore.trust.places import Own


@click.command(cls=Command, short_help="Take a key out of force without removing it.")
@one_fingerprint
@only_prefix
@only_root
@option(
    "--layer",
    type=click.Choice(["local", "user"]),
    help=(
        "Where the mask is put: local (this machine) or user. By default local for root, user otherwise; when "
        "that is too low, the first layer above the key's."
    ),
)
@click.pass_obj
def mask(session: Session, *, fingerprint: str, prefix: str | None, root: bool, layer: "Own | None") -> None:
    """Take a key out of force: for one prefix, as a root key, or by default wherever it is trusted.

    A mask is an empty file named like the key's, in a layer above it. With --prefix a root key is masked as well,
    for this name and what is below it. By its whole fingerprint, and with --prefix or --root, a key can be masked
    before it is there. A masked key is added again, or imported, only when it has been unmasked. What is in force
    afterwards is printed.

    Above the local layer there is the user's alone: a mask of a local key is for one user. To take such a key out
    of force for the whole machine, remove it, and then mask it.

    \b
      acistore trust mask 4F1A0C5E…
      acistore trust mask --prefix example.com/app --layer local 4F1A0C5E…
    """
    check_place(prefix, root, command="mask")
    trust = acistore.TrustStore.open(session.config())
    whole, masks = trust.mask(fingerprint, prefix=prefix, root=root, layer=layer)
    before = [each for each in trust.masks(whole, prefix=prefix, root=root) if each not in masks]
    if not masks:
        session.output.note("there was nothing to do: the key is masked already")
    _tell(session, trust, whole, masks, "masked for", holding=before)
    for problem in only_for_this_user(trust, [*masks, *before]):
        session.output.warning(problem)


@click.command(cls=Command, short_help="Let a masked key count again.")
@one_fingerprint
@only_prefix
@only_root
@option("--layer", type=click.Choice(["local", "user"]), help="Only masks in this layer. By default in both.")
@click.pass_obj
def unmask(session: Session, *, fingerprint: str, prefix: str | None, root: bool, layer: "Own | None") -> None:
    """Remove masks of a key: for one prefix, as a root key, or by default all of them.

    Only empty files are removed, and none of the system layer. What is in force afterwards is printed.

    \b
      acistore trust unmask 4F1A0C5E…
      acistore trust unmask --prefix example.com/app 4F1A0C5E…
    """
    check_place(prefix, root, command="unmask")
    trust = acistore.TrustStore.open(session.config())
    whole, masks = trust.unmask(fingerprint, prefix=prefix, root=root, layer=layer)
    _tell(session, trust, whole, masks, "unmasked for")


def _tell(
    session: Session,
    trust: "acistore.TrustStore",
    fingerprint: str,
    masks: Sequence["Place"],
    label: str,
    *,
    holding: Sequence["Place"] | None = None,
) -> None:
    """Says what was done, and what is in force now. `holding` are the masks that were there already."""
    if session.output.json:
        session.output.document(
            {
                "fingerprint": fingerprint,
                "masks": place_documents(masks),
                **({} if holding is None else {"masked_by": place_documents(holding)}),
                "in_force": place_documents(trust.in_force(fingerprint)),
                "in_force_for_others": place_documents(trust.in_force(fingerprint, for_others=True)),
            }
        )
        return
    held = [("masked by", str(each.path)) for each in holding or ()]
    changed = [*masks, *(holding or ())]
    session.output.line(fingerprint)
    session.output.lines(facts([*places_facts(label, masks), *held, *in_force_facts(trust, fingerprint, changed)]))
