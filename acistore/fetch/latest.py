"""No rollback: what is asked for as latest is not to be older than what was last admitted as that.

A signature never says that there is nothing newer: whoever serves images, a mirror too, could serve an old one
with all its holes for ever. The order is that of the annotation `created`, and where that does not tell two images
apart, or one has none, that of their versions.
"""

import shlex
from functools import partial

from acistore.errors import DowngradeRefused
from acistore.fetch.asked import Asked
from acistore.store import LatestRule, Newest, always
from acistore.versions import is_older, is_same


def latest_rule(asked: Asked, *, allow_downgrade: bool) -> LatestRule | None:
    """The rule for what is admitted now; None where it is not asked for as latest."""
    if not asked.as_latest:
        return None
    return always if allow_downgrade else partial(refuse_downgrade, asked.shown)


def refuse_downgrade(shown: str, last: Newest | None, now: Newest) -> None:
    """Raises DowngradeRefused when an image is older than the last, or does not say enough to be placed."""
    if last is None or last.id == now.id:
        return
    if problem := _problem(last, now):
        raise DowngradeRefused(
            f"{shown} {problem}",
            facts={
                "admitted last": _described(last),
                "offered now": _described(now),
                "caution": "go back only when the publisher means it: any server could offer an old one",
            },
            next_step=shlex.join(["acistore", "fetch", "--allow-downgrade", shown]),
        )


def _problem(last: Newest, now: Newest) -> str | None:
    if last.created and now.created and last.created != now.created:
        return "would go back to an older image" if now.created < last.created else None
    if last.version and now.version and not is_same(now.version, last.version):
        return "would go back to an older version" if is_older(now.version, last.version) else None
    can_be_placed = (last.created and now.created) or (last.version and now.version)
    if can_be_placed or not (last.created or last.version):
        return None
    return "does not say whether it is newer than the image before it"


def _described(newest: Newest) -> str:
    created = f"created {newest.created:%Y-%m-%d %H:%M:%S} UTC" if newest.created else "without a date"
    return f"{newest.version or 'no version'}, {created}, {newest.id}"
