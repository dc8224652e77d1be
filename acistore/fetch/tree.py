"""Which image needs which, and when one is complete with all that it needs. Decides without fetching anything."""

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from acistore.errors import AcistoreError, DependencyCycle
from acistore.fetch.asked import Asked
from acistore.fetch.fetched import Fetched
from acistore.naming import ImageID

# Failures that are told beside the first one.
_MOST_TOLD = 10


@dataclass
class _Node:
    """One image that was asked for or is needed. `depth`: how many others lead to it; `roots`: for which of the
    images asked for it is needed."""

    depth: int
    outcome: Fetched | Exception | None = None
    needs: tuple[Asked, ...] = ()
    roots: set[Asked] = field(default_factory=set)


class Tree:
    """The images of one fetch: those asked for (`roots`) and their dependencies, each once, as they become known.

    `depth` bounds the longest chain of dependencies, `count` the images that one root brings along. What it costs
    follows the number of dependencies in all manifests together, for each root.
    """

    def __init__(self, roots: Sequence[Asked], *, depth: int, count: int) -> None:
        self._depth = depth
        self._count = count
        self._nodes: dict[Asked, _Node] = {}
        self._todo: deque[Asked] = deque()
        self._open: dict[Asked, int] = {}
        self._failed: set[Asked] = set()
        for root in dict.fromkeys(roots):
            self._open[root] = 0
            self._add(root, 0)
            self._reach(root, root)

    def next(self) -> Asked | None:
        """An image that is to be fetched now; None when all are under way. What is needed only by images that have
        failed already is passed over."""
        while self._todo:
            asked = self._todo.popleft()
            if self._nodes[asked].roots - self._failed:
                return asked
            self._drop(asked)
        return None

    def settle(self, asked: Asked, outcome: Fetched | Exception) -> None:
        """Notes what came of an image, and what it needs."""
        node = self._nodes[asked]
        node.outcome = outcome
        if isinstance(outcome, Fetched):
            try:
                self._grow(node, outcome)
            except AcistoreError as error:
                node.outcome = error
        for root in node.roots:
            self._open[root] -= 1
            if isinstance(node.outcome, Exception):
                self._failed.add(root)

    def result(self, root: Asked) -> Fetched | Exception | None:
        """What came of an image with all that it needs: the image, or the first failure (in the order of the
        manifests); None as long as something of it is still to come."""
        if self._open[root]:
            return None
        reached = self._reached(root)
        outcomes = {asked: self._nodes[asked].outcome for asked in reached}
        failures = [(asked, outcome) for asked, outcome in outcomes.items() if isinstance(outcome, Exception)]
        return self._told(root, failures) if failures else self._shape_of(root, reached) or outcomes[root]

    # --- growing

    def _add(self, asked: Asked, depth: int) -> None:
        self._nodes[asked] = _Node(depth)
        self._todo.append(asked)

    def _grow(self, node: _Node, fetched: Fetched) -> None:
        """Adds what an image needs. Raises DependencyCycle where that goes too far: at the latest here every fetch
        ends."""
        if not node.roots - self._failed:
            return
        needs = tuple(dict.fromkeys(Asked.as_dependency(each) for each in fetched.manifest.dependencies))
        new = [each for each in needs if each not in self._nodes]
        if new and node.depth + 1 > self._depth:
            raise self._too_deep(str(fetched.image.image_name))
        if new and len(self._nodes) + len(new) > (self._count + 1) * len(self._open):
            raise self._too_many(str(fetched.image.image_name))
        for each in new:
            self._add(each, node.depth + 1)
        node.needs = needs
        for root in node.roots:
            for each in needs:
                self._reach(root, each)

    def _reach(self, root: Asked, start: Asked) -> None:
        """Notes that a root needs an image, with all that this one is known to need."""
        todo = [start]
        while todo:
            asked = todo.pop()
            node = self._nodes.get(asked)
            if node is None or root in node.roots:
                continue
            node.roots.add(root)
            self._open[root] += node.outcome is None
            if isinstance(node.outcome, Exception):
                self._failed.add(root)
            todo += node.needs

    def _drop(self, asked: Asked) -> None:
        for root in self._nodes.pop(asked).roots:
            self._open[root] -= 1

    # --- judging

    def _too_deep(self, at: str) -> DependencyCycle:
        return DependencyCycle(
            f"the dependencies nest deeper than {self._depth}",
            facts={"at": at},
            next_step="if that is meant: acistore --limits-dependency-depth NUMBER …",
        )

    def _too_many(self, name: str) -> DependencyCycle:
        return DependencyCycle(
            f"{name} brings more than {self._count} dependencies along",
            next_step="if that is meant: acistore --limits-dependencies NUMBER …",
        )

    def _shape_of(self, root: Asked, reached: Sequence[Asked]) -> DependencyCycle | None:
        """What is wrong with what needs what, now that all of it is there."""
        if len(reached) - 1 > self._count:
            return self._too_many(root.shown)
        ids = {asked: self._image(asked).id for asked in reached}
        needs: dict[ImageID, set[ImageID]] = {each: set() for each in ids.values()}
        for asked in reached:
            needs[ids[asked]] |= {ids[each] for each in self._nodes[asked].needs}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            names = {ids[asked]: str(self._image(asked).image.image_name) for asked in reached}
            ring = [names[each] for each in reversed(error.args[1])]
            return DependencyCycle(f"{ring[0]} depends on itself", facts={"by way of": " → ".join(ring)})
        longest: dict[ImageID, int] = {}
        for each in order:
            longest[each] = max((longest[below] + 1 for below in needs[each]), default=0)
        return self._too_deep(root.shown) if longest[ids[root]] > self._depth else None

    def _image(self, asked: Asked) -> Fetched:
        outcome = self._nodes[asked].outcome
        assert isinstance(outcome, Fetched)  # noqa: S101 - asked only when all is there
        return outcome

    def _told(self, root: Asked, failures: list[tuple[Asked, Exception]]) -> Exception:
        """The first failure, saying who needs what failed, and what else did."""
        (asked, error), *others = failures
        if isinstance(error, AcistoreError):
            error = copy(error)  # another root may have failed for the same reason, and is told of its own
            error.facts = dict(error.facts)
            if asked != root:
                nodes = (self._nodes[each] for each in self._reached(root))
                parents = (node.outcome for node in nodes if asked in node.needs)
                parent = next((each for each in parents if isinstance(each, Fetched)), None)
                if parent:
                    error.facts.setdefault("needed by", str(parent.image.image_name))
            if isinstance(self._nodes[root].outcome, Fetched):
                error.facts.setdefault("stored", f"{root.shown} itself is in the store, without all that it needs")
            for other, failure in others[:_MOST_TOLD]:
                error.facts.setdefault(other.shown, str(failure))
            if len(others) > _MOST_TOLD:
                error.facts.setdefault("and", f"{len(others) - _MOST_TOLD} more that have failed")
        return error

    def _reached(self, root: Asked) -> list[Asked]:
        """The image and all that it is known to need, in the order of the manifests, level by level."""
        found = {root: None}
        todo = deque([root])
        while todo:
            for each in self._nodes[todo.popleft()].needs:
                if each in self._nodes and each not in found:
                    found[each] = None
                    todo.append(each)
        return list(found)
