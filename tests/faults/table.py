"""What came of the points of a write path, mode by mode."""

from collections import Counter
from dataclasses import dataclass

from tests.faults.paths import PATHS, UNSAFE
from tests.faults.points import MODES, Point, workbench

HEADING = f"{'write path':24} {'mode':16} {'points':>6} of {'steps':>5}  outcomes"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one write path in one mode."""

    path: str
    mode: str
    steps: int
    points: list[Point]

    @property
    def broken(self) -> list[Point]:
        return [point for point in self.points if point.problems]

    def __str__(self) -> str:
        outcomes = Counter(point.outcome for point in self.points)
        told = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items()))
        bad = f"; NOT WHOLE {len(self.broken)}" if self.broken else ""
        return f"{self.path:24} {self.mode:16} {len(self.points):6} of {self.steps:5}  {told}{bad}"


def rows_of(path: str, every: int) -> list[Row]:
    """Runs a write path in every mode; `every` as for Workbench.points."""
    with workbench((PATHS | UNSAFE)[path]) as bench:
        return [Row(path, mode, bench.steps[mode], list(bench.points(mode, every))) for mode in MODES]
