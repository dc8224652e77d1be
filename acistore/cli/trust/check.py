"""`trust check`: what is the matter with the trusted keys, for a person or for a timer."""

from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import count
from acistore.cli.parameters import Command, checking, option
from acistore.cli.session import Session
from acistore.cli.trust.rows import LISTED, document, prefix_cell, print_table
from acistore.config import parse_duration
from acistore.errors import KeysNeedAttention
from acistore.trust.lifetime import SOON

if TYPE_CHECKING:
    from acistore.trust.keystore.attention import CheckedKey


@click.command(cls=Command, short_help="Say whether keys are expired, revoked or about to expire.")
@option(
    "--expires-within",
    metavar="DURATION",
    callback=checking(parse_duration),
    help="A key that expires within this time needs attention: 90s, 24h, 7d. By default 30d.",
)
@click.pass_obj
def check(session: Session, *, expires_within: str | None) -> None:
    """Say which of the keys in force have expired, were revoked, are about to expire, or are of no use otherwise.

    Files that are not in order are named too. Exits with 4 when there is anything to be said, with 0 when all is
    well: fit for a timer.

    \b
      acistore trust check
      acistore trust check --expires-within 90d || mail -s 'keys of acistore' root </dev/null
    """
    soon = SOON if expires_within is None else parse_duration(expires_within)
    checked = acistore.TrustStore.open(session.config()).check(soon=soon)
    wrong = [each for each in checked if each.problem]
    if session.output.json:
        session.output.document([_document(each) for each in checked])
    elif wrong:
        print_table(session.output, [("PREFIX", "FINGERPRINT", "LAYER", "PROBLEM", "WHAT"), *map(_row, wrong)])
    if wrong:
        raise KeysNeedAttention(
            f"{len(wrong)} of {count(len(checked), 'trusted key')} need attention",
            next_step="acistore trust refresh",
        )
    if not session.output.json:
        session.output.line(f"{count(len(checked), 'key')}, all well" if checked else "no key is trusted")


def _row(each: "CheckedKey") -> tuple[str, ...]:
    if each.listed is None:
        return "-", "-", "-", each.problem or "", str(each.path)
    place = each.listed.place
    return prefix_cell(place), place.fingerprint, place.layer, each.problem or "", each.listed.key.user_id or ""


def _document(each: "CheckedKey") -> dict[str, object]:
    listed = document(each.listed) if each.listed else dict.fromkeys(LISTED)
    return listed | {"file": each.path, "problem": each.problem}
