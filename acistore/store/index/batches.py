"""Many values in statements that every engine takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

# Values in one IN (…), below every engine's limit of variables in a statement.
BATCH = 500

Value = TypeVar("Value")


def batches(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """The values in parts small enough for one statement."""
    return (values[start : start + BATCH] for start in range(0, len(values), BATCH))
