"""How long a key is of use, and what is the matter with it. Pure: what gpg says, and a time, to words.

A key is more than its primary: one whose primary never expires admits nothing any more when the subkeys that sign
for it have expired.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import PublicKey, Subkey

Standing = Literal["valid", "expired", "revoked"]
ProblemKind = Literal["expired", "revoked", "expiring", "weak", "cannot_sign"]

SOON = timedelta(days=30)
"""How long before its end a key is said to expire soon, unless something else is asked for."""

_NEVER = datetime.max.replace(tzinfo=UTC)


def standing(key: PublicKey) -> Standing:
    """Whether a key can still sign: it, or its last part that could, may have expired or been revoked.

    A key that never had such a part is `valid` nonetheless; see `problem`.
    """
    if key.revoked:
        return "revoked"
    if key.expired:
        return "expired"
    parts = _signing_parts(key)
    if not parts or any(not (part.expired or part.revoked) for part in parts):
        return "valid"
    return "expired" if any(part.expired for part in parts) else "revoked"


def ends_at(key: PublicKey) -> datetime | None:
    """When a key expires, or the last of its parts that can sign; None for never. May have passed.

    Parts that are revoked, or too short to be relied on, do not count as long as there are others.
    """
    parts = _signing_parts(key)
    for usable in (
        [part for part in parts if not part.revoked and not key.is_weak(part.fingerprint)],
        [part for part in parts if not part.revoked],
    ):
        if usable:
            end = max(part.expires_at or _NEVER for part in usable)
            break
    else:
        end = _NEVER
    end = min(end, key.expires_at or _NEVER)
    return None if end == _NEVER else end


@dataclass(frozen=True, slots=True)
class Problem:
    """What is the matter with a key: for a program, and in `words`."""

    kind: ProblemKind
    words: str


def problem(key: PublicKey, now: datetime, soon: timedelta = timedelta(0)) -> Problem | None:
    """What is the matter with a key, or will be before `soon` has gone by; None when all is well."""
    end = ends_at(key)
    state = standing(key)
    if state == "revoked":
        whose = "" if key.revoked else "what signs for it was "
        return Problem("revoked", f"{whose}revoked by its owner")
    if state == "expired":
        return Problem("expired", f"expired on {end:%Y-%m-%d}" if end else "expired")
    parts = [part for part in _signing_parts(key) if not (part.expired or part.revoked)]
    if not parts:
        return Problem("cannot_sign", "nothing in it can sign")
    if all(key.is_weak(part.fingerprint) for part in parts):
        return Problem("weak", "too short: what it signs is refused")
    ending = remaining(end, now, soon)
    return Problem("expiring", ending) if ending else None


def remaining(end: datetime | None, now: datetime, soon: timedelta) -> str | None:
    """`expires in 12 days`, when the end is that near, else None."""
    if end is None or end - now > soon:
        return None
    days = max((end - now).days, 0)
    return f"expires in {days} day{'' if days == 1 else 's'}" if days else "expires within a day"


def differences(old: PublicKey, new: PublicKey) -> Iterator[str]:
    """What a newer version of a key says that an older one didn't, in words."""
    if new.revoked and not old.revoked:
        yield "revoked by its owner"
    if new.expires_at != old.expires_at:
        yield f"expires {_day(new)}, was {_day(old)}"
    before = {subkey.fingerprint: subkey for subkey in old.subkeys}
    for subkey in new.subkeys:
        if (known := before.get(subkey.fingerprint)) is None:
            yield f"new subkey {shown_fingerprint(subkey.fingerprint)}, expires {_day(subkey)}"
            continue
        if subkey.revoked and not known.revoked and not new.revoked:
            yield f"subkey {shown_fingerprint(subkey.fingerprint)} revoked by its owner"
        if subkey.expires_at != known.expires_at:
            yield f"subkey {shown_fingerprint(subkey.fingerprint)} expires {_day(subkey)}, was {_day(known)}"
        if subkey.capabilities != known.capabilities:
            yield f"subkey {shown_fingerprint(subkey.fingerprint)} has other uses"
    yield from (f"new user ID {user_id}" for user_id in new.user_ids if user_id not in old.user_ids)
    yield from (f"withdrawn user ID {user_id}" for user_id in old.user_ids if user_id not in new.user_ids)


def _day(part: PublicKey | Subkey) -> str:
    return f"{part.expires_at:%Y-%m-%d}" if part.expires_at else "never"


def _signing_parts(key: PublicKey) -> list[PublicKey | Subkey]:
    return [part for part in key.parts if "s" in part.capabilities]
