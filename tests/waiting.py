"""How long a test waits for what has to come, and for what has to end by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 120.0
"""Seconds: far longer than the busiest machine needs, so that only what hangs for ever reaches it."""


def within(seconds: float, attempt: Callable[[float], Result]) -> Result:
    """What comes of a test of a bound in time: a short one, so that the test is quick. On a busy machine something
    else may run into a short bound; it gets another chance, with one that nothing else can reach."""
    try:
        return attempt(seconds)
    except AssertionError:
        return attempt(max(20.0, 20 * seconds))


def until(condition: Callable[[], object]) -> None:
    """Returns as soon as it holds, for what nobody tells of (as what another process writes)."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "that never came"
        time.sleep(0.005)
