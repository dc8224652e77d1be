"""What is the matter with the trusted keys, before an image is refused for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from acistore.trust.keys import Layer
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.listing import ListedKey, all_in_force, listing
from acistore.trust.keystore.origins import Origin
from acistore.trust.lifetime import problem


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """A file, and what is the matter with it, in words; None when all is well.

    `listed` is None for a file that holds no key that could be trusted.
    """

    path: Path
    listed: ListedKey | None
    problem: str | None


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
            yield CheckedKey(each.place.path, each, problem(each.key, now, soon))
    for path, what in told:
        yield CheckedKey(path, None, what)
