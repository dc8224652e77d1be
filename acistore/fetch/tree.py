"""Which image needs which, and when one is complete with all that it needs. Decides without fetching anything."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from acistore.errors import AcistoreError, DependencyCycle
from acistore.fetch.asked import Asked
from acistore.fetch.fetched import Fetched
from acistore.naming import ImageID


@dataclass
class _Node:
    """One image that was asked for or is needed. `depth`: how many others lead to it."""

    depth: int
    outcome: Fetched | Exception | None = None
    needs: list[Asked] = field(default_factory=list)


class Tree:
    """The images of one fetch: those asked for (`roots`) and their dependencies, each once, as they become known.

    `depth` bounds the longest chain of dependencies, `count` the images that one root brings along.
    """

    def __init__(self, roots: Sequence[Asked], *, depth: int, count: int) -> None:
        self._roots = tuple(dict.fromkeys(roots))
        self._depth = depth
        self._count = count
        self._nodes: dict[Asked, _Node] = {root: _Node(0) for root in self._roots}

    def settle(self, asked: Asked, outcome: Fetched | Exception) -> list[Asked]:
        """Notes what came of one image; returns those that are to be fetched now because it needs them."""
        node = self._nodes[asked]
        node.outcome = outcome
        if isinstance(outcome, Exception) or not self._is_wanted(asked):
            return []
        try:
            node.needs = [Asked.as_dependency(each) for each in outcome.manifest.dependencies]
        except AcistoreError as error:
            node.outcome = error
            return []
        new = [each for each in dict.fromkeys(node.needs) if each not in self._nodes]
        if new and (refusal := self._refusal(node, len(new))):
            node.outcome = refusal
            return []
        self._nodes.update({each: _Node(node.depth + 1) for each in new})
        return new

    def result(self, root: Asked) -> Fetched | Exception | None:
        """What came of an image with all that it needs: the image, or the first failure (in the order of the
        manifests); None as long as something of it is still to come."""
        reached = self._reached(root)
        outcomes = {asked: self._nodes[asked].outcome for asked in reached}
        failures = [(asked, outcome) for asked, outcome in outcomes.items() if isinstance(outcome, Exception)]
        if None in outcomes.values():
            return None
        if failures:
            return self._told(root, failures)
        return self._shape_of(root, reached) or outcomes[root]

    def _is_wanted(self, asked: Asked) -> bool:
        """Whether an image needs it of which nothing has failed yet."""
        for root in self._roots:
            reached = self._reached(root)
            if asked in reached and not any(isinstance(self._nodes[each].outcome, Exception) for each in reached):
                return True
        return False

    def _refusal(self, node: _Node, new: int) -> DependencyCycle | None:
        """What is wrong with going further: at the latest here every fetch ends."""
        name = node.outcome.image.image_name if isinstance(node.outcome, Fetched) else None
        if node.depth + 1 > self._depth:
            return self._too_deep(str(name))
        if len(self._nodes) + new > self._count * len(self._roots) + len(self._roots):
            return DependencyCycle(f"{name} brings more than {self._count} dependencies along")
        return None

    def _too_deep(self, at: str) -> DependencyCycle:
        return DependencyCycle(
            f"the dependencies nest deeper than {self._depth}",
            facts={"at": at},
            next_step="if that is meant: --limits-dependency-depth NUMBER",
        )

    def _shape_of(self, root: Asked, reached: Sequence[Asked]) -> DependencyCycle | None:
        """What is wrong with what needs what, now that all of it is there."""
        if len(reached) - 1 > self._count:
            return DependencyCycle(f"{root.shown} brings more than {self._count} dependencies along")
        names = {self._image(asked).id: str(self._image(asked).image.image_name) for asked in reached}
        needs: dict[ImageID, set[ImageID]] = {each: set() for each in names}
        for asked in reached:
            needs[self._image(asked).id] |= {self._image(each).id for each in self._nodes[asked].needs}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            ring = [names[each] for each in reversed(error.args[1])]
            return DependencyCycle(f"{ring[0]} depends on itself", facts={"by way of": " → ".join(ring)})
        longest: dict[ImageID, int] = {}
        for each in order:
            longest[each] = max((longest[below] + 1 for below in needs[each]), default=0)
        if longest[self._image(root).id] > self._depth:
            return self._too_deep(root.shown)
        return None

    def _image(self, asked: Asked) -> Fetched:
        outcome = self._nodes[asked].outcome
        assert isinstance(outcome, Fetched)  # noqa: S101 - asked only when all is there
        return outcome

    def _told(self, root: Asked, failures: list[tuple[Asked, Exception]]) -> Exception:
        """The first failure, saying who needs what failed, and what else did."""
        (asked, error), *others = failures
        if isinstance(error, AcistoreError):
            if asked != root and (parent := next(self._parents(asked), None)):
                error.facts.setdefault("needed by", str(self._image(parent).image.image_name))
            if isinstance(self._nodes[root].outcome, Fetched):
                error.facts.setdefault("stored", f"{root.shown} itself is in the store, without all that it needs")
            for other, failure in others:
                error.facts.setdefault(other.shown, str(failure))
        return error

    def _parents(self, asked: Asked) -> Iterator[Asked]:
        return (each for each, node in self._nodes.items() if asked in node.needs)

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
