"""No rollback: what is asked for as latest is not to be older than what was last admitted as that.

A signature never says that there is nothing newer: whoever serves images, a mirror too, could serve an old one
with all its holes for ever. The order is that of the annotation `created`, and where that does not tell two images
apart, or one has none, that of their versions.
"""

import shlex
from dataclasses import replace
from datetime import timedelta
from functools import partial

from acistore.errors import DowngradeRefused
from acistore.events import log_of
from acistore.fetch.asked import Asked
from acistore.store import LatestRule, Newest
from acistore.trust.keystore.store import TrustStore
from acistore.versions import can_be_compared, is_older

log = log_of(__name__)

# By so much an image may have been made after now.
_CLOCKS_DIFFER = timedelta(days=1)


class Latest:
    """What an image has to be to become the latest of its name; with `allow_downgrade` anything, if a person has
    named it. What others need may be old only where a policy says so."""

    def __init__(self, trust: TrustStore, *, allow_downgrade: bool) -> None:
        self._trust = trust
        self._allow_downgrade = allow_downgrade

    def rule(self, asked: Asked) -> LatestRule | None:
        """The rule for what is admitted now; None where it is not asked for as latest."""
        if not asked.as_latest:
            return None
        return partial(tell_downgrade if self.unchecked(asked) else refuse_downgrade, asked.shown)

    def unchecked(self, asked: Asked) -> frozenset[str]:
        """The check that is off for what is asked for, as its record has it."""
        name = asked.name if asked.as_latest else None
        may_go_back = name and (
            (self._allow_downgrade and asked.is_named) or self._trust.policy_for(name.name).allow_downgrade
        )
        return frozenset({"downgrade"} if may_go_back else ())


def tell_downgrade(shown: str, last: Newest | None, now: Newest) -> Newest:
    """Warns of what `refuse_downgrade` would refuse. What is admitted now is what counts from now on."""
    now = _believed(now)
    if last and (problem := _problem(last, now)):
        log.warning("%s %s, which is allowed: %s, after %s", shown, problem, _described(now), _described(last))
    return now


def refuse_downgrade(shown: str, last: Newest | None, now: Newest) -> Newest:
    """Raises DowngradeRefused when an image is older than the last, or does not say enough to be placed; else
    returns what is to be compared with from now on. What an image doesn't say stays as the last one had it."""
    now = _believed(now)
    if last is None:
        return now
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
    return replace(now, created=now.created or last.created, version=now.version or last.version)


def _believed(now: Newest) -> Newest:
    """What is offered, without a date that is still to come: it would lock out all that is made until then."""
    if now.created and now.created > now.admitted_at + _CLOCKS_DIFFER:
        return replace(now, created=None)
    return now


def _problem(last: Newest, now: Newest) -> str | None:
    if last.id == now.id:
        return None
    if last.created and now.created and last.created != now.created:
        return "would go back to an older image" if now.created < last.created else None
    if last.version and now.version and can_be_compared(now.version, last.version):
        return "would go back to an older version" if is_older(now.version, last.version) else None
    is_same_time = last.created and now.created and not (last.version and now.version)
    if is_same_time or not (last.created or last.version):
        return None
    return "does not say whether it is newer than the image before it"


def _described(newest: Newest) -> str:
    created = f"created {newest.created:%Y-%m-%d %H:%M:%S} UTC" if newest.created else "without a date"
    return f"{newest.version or 'no version'}, {created}, {newest.id}"
