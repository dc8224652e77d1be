"""The known word that was probably meant by one that nobody knows."""

from collections.abc import Iterable
from difflib import SequenceMatcher

# Of 1, which is the same word. Much lower, and `verbose` would be taken for `mirrors`.
_ALIKE = 0.7


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to one that isn't known, None when none is near.

    What stands behind the last dot may be right in another section (`retries` for `limits.retries`), and a word
    that was cut short (`client_cert`) is nearer to what it begins than to anything that it looks like. Capitals
    and dashes (`Pull-Policy`) make no difference.
    """
    words = list(known)
    plain = {each: _plain(each) for each in words}
    word = _plain(word)
    end = _end(word)
    same = [each for each in words if _end(plain[each]) == end]
    begun = [
        each
        for each in words
        if len(end) > 1 and (plain[each].startswith(word) or _end(plain[each]).startswith(end))
    ]
    if same or begun:
        return (same or sorted(begun, key=len))[0]
    likeness = {each: max(_likeness(word, plain[each]), _likeness(end, _end(plain[each]))) for each in words}
    best = max(words, key=likeness.__getitem__, default=None)
    return best if best and likeness[best] >= _ALIKE else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _end(word: str) -> str:
    return word.rpartition(".")[2]


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
