"""`trust check`: what is the matter with the trusted keys, for a person or for a timer."""

from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import count
from acistore.cli.parameters import Command, checking, option
from acistore.cli.session import Session
from acistore.cli.trust.rows import LISTED, document, print_table
from acistore.config import parse_duration
from acistore.trust.keys import scheme_of
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

    Files that are not in order are named too. Exits with 4 when there is anything to be said, and then stderr
    names each key as well. When all is well it exits with 0, and there is nothing on stdout, nor with -q on
    stderr: fit for a timer.

    \b
      acistore trust check
      acistore trust check --expires-within 90d >/dev/null || logger 'a key of acistore needs attention'
      0 6 * * *  acistore -q trust check        # in a crontab: mail comes when a key needs attention
    """
    from acistore.trust.keystore.attention import complaint  # noqa: PLC0415 - help needs no gpg

    soon = SOON if expires_within is None else parse_duration(expires_within)
    checked = acistore.TrustStore.open(session.config()).check(soon=soon)
    wrong = [each for each in checked if each.problem]
    if session.output.json:
        session.output.document([_document(each) for each in checked])
    elif wrong:
        print_table(session.output, [("PREFIX", "FINGERPRINT", "LAYER", "PROBLEM", "WHAT"), *map(_row, wrong)])
    else:
        keys = count(len(checked), "key")
        session.output.note(f"{keys}, all well" if checked else "no key is trusted")
    if error := complaint(checked):
        raise error


def _row(each: "CheckedKey") -> tuple[str, ...]:
    where = each.where
    what = (each.listed.key.user_id or "") if each.listed else str(each.path)
    prefix = "(root)" if where.prefix is None else where.prefix or "-"
    return prefix, where.fingerprint or "-", where.layer or "-", each.problem or "", what


def _document(each: "CheckedKey") -> dict[str, object]:
    if each.listed:
        listed = document(each.listed)
    else:
        where = each.where
        listed = dict.fromkeys(LISTED) | {
            "prefix": where.prefix,
            "fingerprint": where.fingerprint,
            "scheme": where.fingerprint and scheme_of(where.fingerprint),
            "user_ids": [],
            "layer": where.layer,
        }
    return listed | {"file": each.path, "problem": each.problem, "problem_kind": each.kind}
