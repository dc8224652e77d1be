"""Which of two versions is older, by the text of their labels.

The order is that of SemVer 2.0 (section 11), for what people write besides as well: `1.2`, `v1.2.3`, `2026.11.26`,
`1.0rc1`, `1.0.2k`.
"""

import re
from itertools import zip_longest
from string import digits

# Letters that follow a number directly and mean: not there yet (PEP 440 has these).
_BEFORE = re.compile(
    r"(?<=\d)[._]?(?=(?:(?:alpha|beta|preview|pre|rc|dev)\.?\d*|[abc]\d+)$)", re.IGNORECASE | re.ASCII
)
_RUN = re.compile(r"\d+|\D+", re.ASCII)
# A number by how many digits it has, and by these: Python reads no number of any length. Letters sort behind every
# number, as in SemVer; a release that ends counts as one with a 0 there.
_Part = tuple[int, int, str]
_NOTHING: _Part = (0, 0, "")


def is_older(version: str, other: str) -> bool:
    """Whether a version comes before another one."""
    return _compared(version, other) < 0


def is_same(version: str, other: str) -> bool:
    """Whether two versions are one in other words: `1.0` and `v1.0.0`."""
    return _compared(version, other) == 0


def can_be_compared(version: str, other: str) -> bool:
    """Whether the two are in one order: a word (`nightly`) is neither older nor newer than a number."""
    return _begins_with_digit(version) == _begins_with_digit(other)


def _begins_with_digit(version: str) -> bool:
    return _split(version)[0][:1] in set(digits)


def _compared(version: str, other: str) -> int:
    (release, before), (other_release, other_before) = _split(version), _split(other)
    for mine, theirs in zip_longest(_parts(release), _parts(other_release), fillvalue=_NOTHING):
        if mine != theirs:
            return -1 if mine < theirs else 1
    if not (before and other_before):  # 1.0-rc.1 comes before 1.0
        return bool(other_before) - bool(before)
    mine_before, theirs_before = _parts(before), _parts(other_before)
    return (mine_before > theirs_before) - (mine_before < theirs_before)


def _split(version: str) -> tuple[str, str]:
    """The release, and what makes it one that comes before it."""
    text = re.sub(r"^[vV](?=[0-9])", "", version.strip()).partition("+")[0]
    release, _, before = text.partition("-")
    if not before and (match := _BEFORE.search(release)):
        return release[: match.start()], release[match.end() :]
    return release, before


def _parts(text: str) -> list[_Part]:
    """Numbers and letters in their order; zeros at the end are none."""
    parts: list[_Part] = [
        _number(run) if run[0] in digits else (1, 0, run)
        for piece in re.split(r"[._-]", text)
        for run in _RUN.findall(piece)
    ]
    while parts and parts[-1] == _NOTHING:
        parts.pop()
    return parts


def _number(run: str) -> _Part:
    significant = run.lstrip("0")
    return 0, len(significant), significant
