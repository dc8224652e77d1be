"""Trusted keys looked at again where they came from: what their owners have signed since is taken, nothing else.

Where material comes from is `keys`'s business, what is taken of it the trust room's.
"""

import shlex
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from acistore.config import Config
from acistore.errors import AcistoreError, FileUnusable, KeyNotFound, UsageError
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.keys import KeyMaterial, read_key
from acistore.net.urls import is_url
from acistore.trust.keys import scheme_of
from acistore.trust.keystore.renewal import Renewable, Renewal
from acistore.trust.keystore.selecting import rule_of
from acistore.trust.keystore.store import TrustStore

_SSH = "an SSH key has no end, and no owner who could revoke it"
_SHIPPED = "it belongs to the system layer"
_UNKNOWN = "where it came from is not known"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of one key.

    `renewal` is None when nothing could be had: for the `failures`, one for each source that failed, or because
    the key was `left_alone`, for a reason in words.
    """

    key: Renewable
    renewal: Renewal | None
    failures: tuple[AcistoreError, ...] = ()
    left_alone: str | None = None


def refresh(
    trust: TrustStore,
    config: Config,
    fingerprint: str | None = None,
    *,
    prefix: str | None = None,
    root: bool = False,
) -> Iterator[Refreshed]:
    """Renews one key, or all of them; with `prefix` or `root` only where they are trusted for that.

    Sources are asked as `acistore.keys.read_key` does, each once. What can't be had of one key does not stop the
    others. Raises InvalidName, UsageError (also: an SSH key has nothing to refresh), KeyNotFound (also: nobody
    knows where the key came from), FileUnusable, ProgramMissing.
    """
    keys = trust.renewables(fingerprint, prefix=prefix, root=root)
    if fingerprint is not None and (reason := _why_left_alone(keys[0])):
        raise _nothing_to_refresh(keys[0], reason)
    seen: dict[str, KeyMaterial | AcistoreError] = {}
    for key in keys:
        if reason := _why_left_alone(key):
            yield Refreshed(key, None, left_alone=reason)
            continue
        renewals: list[Renewal] = []
        failures: list[AcistoreError] = []
        for source in key.sources:
            try:
                material = _material(source, config, seen)
                renewals.append(trust.renew(key.fingerprint, material, source, prefix=prefix, root=root))
            except AcistoreError as error:
                failures.append(_told_of(key, source, error))
        yield Refreshed(key, _together(renewals), tuple(failures))


def _why_left_alone(key: Renewable) -> str | None:
    if scheme_of(key.fingerprint) == "ssh":
        return _SSH
    if not key.places:
        return _SHIPPED
    return None if key.sources else _UNKNOWN


def _nothing_to_refresh(key: Renewable, reason: str) -> AcistoreError:
    message = f"key {shown_fingerprint(key.fingerprint)} can't be refreshed: {reason}"
    if scheme_of(key.fingerprint) == "ssh":
        remove = f"acistore trust remove {option_fingerprint(key.fingerprint)}"
        return UsageError(message, next_step=f"{remove}  # when it is out of use")
    add = shlex.join(["acistore", "trust", "add", *rule_of(key.places[0]), "KEYFILE"])
    return KeyNotFound(message, next_step=f"{add}  # adds what is new in it")


def _told_of(key: Renewable, source: str, error: AcistoreError) -> AcistoreError:
    """The error with the key that it is about, since several may have one source."""
    told = copy(error)
    told.facts = {"key": f"{shown_fingerprint(key.fingerprint)} {key.user_id or ''}", "from": source} | error.facts
    return told


def _material(source: str, config: Config, seen: dict[str, KeyMaterial | AcistoreError]) -> bytes:
    """What a source has. Raises what came of it, now or when it was asked before."""
    if source not in seen:
        try:
            seen[source] = _fetched(source, config)
        except AcistoreError as error:
            seen[source] = error
    found = seen[source]
    if isinstance(found, AcistoreError):
        raise found
    return found.material


def _fetched(source: str, config: Config) -> KeyMaterial:
    # What was read from a pipe once can't be read from there again, and would keep us waiting.
    if not is_url(source) and not _is_file(source):
        raise FileUnusable(f"the key file {source} is not there any more")
    return read_key(source, config)


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except OSError:  # no path, or none that can be looked at
        return False


def _together(renewals: list[Renewal]) -> Renewal | None:
    """What has come of a key from several sources, one after another."""
    if not renewals:
        return None
    changes = dict.fromkeys(change for each in renewals for change in each.changes)
    places = dict.fromkeys(place for each in renewals for place in each.places)
    return Renewal(renewals[-1].key, tuple(changes), tuple(places))
