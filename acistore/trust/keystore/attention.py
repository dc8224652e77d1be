"""What is the matter with the trusted keys, before an image is refused for it, and what to do about it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from acistore.errors import KeysNeedAttention
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.trust.keys import Layer, scheme_of
from acistore.trust.keystore.keyfiles import Reading, Whereabouts
from acistore.trust.keystore.listing import ListedKey, all_in_force, listing
from acistore.trust.keystore.origins import Origin
from acistore.trust.keystore.selecting import rule_of
from acistore.trust.lifetime import ProblemKind, problem

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """A file, where that is, and what is the matter with it, in words; None when all is well.

    `kind` says the same for a program. `listed` is None for a file that holds no key that could be trusted, of
    which `kind` is `file`.
    """

    where: Whereabouts
    listed: ListedKey | None
    problem: str | None
    kind: ProblemKind | Literal["file"] | None

    @property
    def path(self) -> Path:
        return self.where.path


def check(
    reading: Reading,
    origins: Mapping[Layer, Mapping[str, Origin]],
    told: Sequence[tuple[Path, str]],
    *,
    now: datetime,
    soon: timedelta,
) -> Iterator[CheckedKey]:
    """Every key that is in force, then every file that is not in order. Raises ProgramMissing.

    `told` is filled by the reading with what is not in order.
    """
    listed = [each for each in listing(reading, origins) if isinstance(each, ListedKey)]
    counting = {place.path for place in all_in_force(reading)}
    for each in listed:
        if each.place.path in counting:
            found = problem(each.as_known, now, soon)
            where = Whereabouts.of_place(each.place)
            yield CheckedKey(where, each, found.words if found else None, found.kind if found else None)
    for path, what in told:
        yield CheckedKey(reading.whereabouts(path), None, what, "file")


def complaint(checked: Sequence[CheckedKey]) -> KeysNeedAttention | None:
    """The error when something is the matter, which names each key and file, and what to do first; else None."""
    wrong = [each for each in checked if each.problem]
    if not wrong:
        return None
    facts: dict[str, str] = {}
    for each in wrong[:_MOST_NAMED]:
        label, value = _told(each)
        facts[label] = f"{facts[label]}; {value}" if label in facts else value
    if len(wrong) > _MOST_NAMED:
        facts["and"] = f"{len(wrong) - _MOST_NAMED} more"
    return KeysNeedAttention(_summary(checked), facts=facts, next_step=_next_step(wrong))


def _summary(checked: Sequence[CheckedKey]) -> str:
    """`1 of 5 keys and 3 files need attention`."""
    keys = [each for each in checked if each.listed]
    wrong = sum(1 for each in keys if each.problem)
    files = len(checked) - len(keys)
    of_keys = [f"{wrong} of {_counted(len(keys), 'key')}"] if wrong else []
    parts = [*of_keys, *([_counted(files, "file")] if files else [])]
    return f"{' and '.join(parts)} {'needs' if wrong + files == 1 else 'need'} attention"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _told(each: CheckedKey) -> tuple[str, str]:
    if each.listed is None:
        return str(each.path), f"{each.problem}"
    place = each.listed.place
    whose = f" {each.listed.key.user_id}," if each.listed.key.user_id else ""
    for_what = f"for {place.prefix or 'every name'} ({place.layer})"
    return shown_fingerprint(place.fingerprint), f"{each.problem}:{whose} {for_what}"


def _next_step(wrong: Sequence[CheckedKey]) -> str:
    """What to do, when the same will do for all, or else what shows more of the first."""
    first = wrong[0]
    kinds = {each.kind for each in wrong}
    if first.listed is None:
        return _look_or_remove(first.path)
    fingerprint = option_fingerprint(first.listed.place.fingerprint)
    rule = shlex.join(rule_of(first.listed.place))
    if kinds <= {"expired", "expiring"}:
        if not _can_be_refreshed(first.listed):
            return f"acistore trust add {rule} KEYFILE"
        several = len({each.listed.place.fingerprint for each in wrong if each.listed}) > 1
        return "acistore trust refresh" if several else f"acistore trust refresh {fingerprint}"
    if kinds == {"revoked"}:
        # A mask can't lie where the key itself does, and there is no layer above the user's.
        command = f"remove {rule}" if first.listed.place.layer == "user" else "mask"
        return f"acistore trust {command} {fingerprint}"
    return f"acistore trust show {fingerprint}"


def _can_be_refreshed(listed: ListedKey) -> bool:
    place = listed.place
    return listed.origin is not None and place.layer != "system" and scheme_of(place.fingerprint) == "openpgp"


def _look_or_remove(path: Path) -> str:
    return shlex.join(["ls", "-l", str(path)] if path.is_dir() else ["rm", str(path)])
