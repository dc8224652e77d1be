"""How a job tells whoever started it what goes on: steps in words, and how far along what takes time is.

All of it may be called from several threads at once, since several images come at once.
"""

from typing import Protocol


class Meter(Protocol):
    """One thing that takes time: a download, a check. It counts bytes."""

    def advance(self, count: int) -> object:
        """So many bytes more."""
        ...

    def done(self) -> object:
        """There won't be any more. Comes in any case, after a failure too."""
        ...


class Progress(Protocol):
    """What a caller may pass to follow a job."""

    def step(self, text: str) -> object:
        """Something begins that a person may want to know of."""
        ...

    def start(self, what: str, total: int | None, done: int = 0) -> Meter:
        """`what` begins: `total` bytes, or nobody knows how many, of which `done` are there already."""
        ...

    def decided(self, about: str, what: str, why: str) -> object:
        """Something was decided: about an image or a URL, `reuse`, say, because it `has not changed`.

        `what` is one of DECISIONS.
        """
        ...


# What may be decided in a fetch: to take what the store has, to go on to the next place, to try again, to go on
# with a download that broke off or begin it anew, to let an image in or not.
DECISIONS = ("reuse", "next place", "retry", "resume", "restart", "admit", "refuse")


class Silent:
    """Tells nobody: the progress, and the meter, of a caller who doesn't want to know."""

    def step(self, text: str) -> None:
        """Nothing comes of it."""

    def start(self, what: str, total: int | None, done: int = 0) -> "Silent":
        """Returns itself."""
        return self

    def decided(self, about: str, what: str, why: str) -> None:
        """Nothing comes of it."""

    def advance(self, count: int) -> None:
        """Nothing comes of it."""

    def done(self) -> None:
        """Nothing comes of it."""
