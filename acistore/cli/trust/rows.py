"""Trusted keys as rows of a table and of JSON."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from acistore.cli.output import Output, cut, escape, on_terminal, table, terminal_width, width
from acistore.trust.keys import scheme_of
from acistore.trust.lifetime import SOON, remaining

if TYPE_CHECKING:
    from acistore.trust.keys import Place
    from acistore.trust.keystore.store import ListedKey, ListedMask

_TAIL = 16  # digits of a fingerprint that commands take for the whole
_GAP = 2
_COLUMNS = ("PREFIX", "FINGERPRINT", "USER ID", "LAYER", "STATE", "ADDED", "FROM")
# What is cut, one after another, until a table fits: a column, and the columns that are left of it.
_CUTS = (
    *(("FROM", 24), ("FINGERPRINT", _TAIL), ("PREFIX", 24), ("USER ID", 28), ("WHAT", 28)),
    *(("FROM", 12), ("USER ID", 16), ("WHAT", 16), ("PREFIX", 15)),
)
# What is left out, when that was not enough.
_DISPENSABLE = ("FROM", "ADDED", "WHAT")

LISTED = (
    *("prefix", "fingerprint", "scheme", "user_ids", "layer", "state"),
    *("created_at", "expires_at", "source", "added_at"),
)
"""What a key has in JSON."""


def print_keys(output: Output, listed: Sequence["ListedKey | ListedMask"]) -> None:
    """Prints key files and masks as a table, or as JSON."""
    if output.json:
        output.document([document(each) for each in listed])
    else:
        print_table(output, [_COLUMNS, *map(_row, listed)])


def print_table(output: Output, rows: Sequence[Sequence[str]]) -> None:
    """Prints a table whose first row has the headings; at a terminal it is made to fit, elsewhere it is whole.

    Under FINGERPRINT are hex digits.
    """
    output.lines(fitted(rows, terminal_width() if on_terminal(sys.stdout) else None))


def fitted(rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Lines of a table that take so many columns at most, without a bound when that is None."""
    headings = rows[0]
    cells = [list(map(escape, row)) for row in rows]
    digits = headings.index("FINGERPRINT")
    if room is None:
        return table(cells)
    for heading, least in _CUTS:
        excess = _excess(cells, room)
        if excess > 0 and heading in headings:
            column = headings.index(heading)
            left = max(least, max(width(row[column]) for row in cells) - excess)
            for row, original in zip(cells[1:], rows[1:], strict=True):
                row[column] = original[column][-_TAIL:] if column == digits else cut(row[column], left)
    while _excess(cells, room) > 0 and cells[0][-1] in _DISPENSABLE:
        cells = [row[:-1] for row in cells]
    return table(cells, cut_to=room)


def _excess(cells: Sequence[Sequence[str]], room: int) -> int:
    """By how many columns a table is too wide."""
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1) - room


def _row(each: "ListedKey | ListedMask") -> tuple[str, ...]:
    return (
        prefix_cell(each.place),
        each.place.fingerprint,
        (each.key and each.key.user_id) or "",
        each.place.layer,
        state_words(each),
        f"{each.origin.added_at:%Y-%m-%d}" if each.origin else "-",
        each.origin.source if each.origin else "-",
    )


def prefix_cell(place: "Place") -> str:
    """What a key is trusted for, in a table."""
    return place.prefix or "(root)"


def state_words(each: "ListedKey | ListedMask") -> str:
    """The state for people, who also want to know that a key is about to expire."""
    ending = remaining(each.ends_at, datetime.now(UTC), SOON) if each.state == "valid" else None
    return ending or each.state


def document(each: "ListedKey | ListedMask") -> dict[str, object]:
    """A key file or mask as scripts get it."""
    values = (
        *(each.place.prefix, each.place.fingerprint, scheme_of(each.place.fingerprint)),
        *(each.key.user_ids if each.key else (), each.place.layer, each.state),
        *(each.key and each.key.created_at, each.ends_at),
        *(each.origin and each.origin.source, each.origin and each.origin.added_at),
    )
    return dict(zip(LISTED, values, strict=True))
