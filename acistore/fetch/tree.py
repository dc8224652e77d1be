"""Which image needs which, and when one is complete with all that it needs. Decides without fetching anything."""

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum, auto
from graphlib import CycleError, TopologicalSorter

from acistore.errors import AcistoreError, DependencyCycle, raising
from acistore.fetch.asked import Asked
from acistore.fetch.fetched import Fetched
from acistore.naming import ImageID

# Failures that are told beside the first one.
_MOST_TOLD = 10


class _State(Enum):
    """Of one image: to be fetched, being fetched, fetched or failed, or passed over, since whatever needs it has
    failed already."""

    WAITING = auto()
    UNDER_WAY = auto()
    SETTLED = auto()
    PASSED_OVER = auto()


def _own_copy(error: AcistoreError) -> AcistoreError:
    """Another root may have failed for the same reason, and is told of its own."""
    own = copy(error)
    own.facts = dict(error.facts)
    own.__cause__ = error.__cause__
    return own.with_traceback(error.__traceback__)


@dataclass
class _Node:
    """One image that was asked for or is needed. `depths`: which of those asked for need it, and how many others
    lead from each of them to it."""

    state: _State = _State.PASSED_OVER
    outcome: Fetched | Exception | None = None
    needs: tuple[Asked, ...] = ()
    depths: dict[Asked, int] = field(default_factory=dict)


class Tree:
    """The images of one fetch: those asked for (`roots`) and their dependencies, each once, as they become known.

    `depth` bounds the longest chain of dependencies, `count` the images that one root brings along. What it costs
    follows the number of dependencies in all manifests together, for each root. Whoever drives it starts what
    `next` gives, tells what came of it with `settle`, and then asks for every `result` that he hasn't got yet.
    """

    def __init__(self, roots: Sequence[Asked], *, depth: int, count: int) -> None:
        self._depth = depth
        self._count = count
        self._nodes: dict[Asked, _Node] = {}
        self._todo: deque[Asked] = deque()
        self._failed: set[Asked] = set()
        self._refusals: dict[Asked, DependencyCycle] = {}
        # Of each root: the images that it needs, and how many of them are neither settled nor passed over.
        self._sizes: dict[Asked, int] = dict.fromkeys(roots, 0)
        self._open: dict[Asked, int] = dict.fromkeys(roots, 0)
        for root in self._open:
            self._reach(root, root, 0)

    def next(self) -> Asked | None:
        """An image that is to be fetched now; None when all are under way. What is needed only by images that have
        failed already is passed over."""
        while self._todo:
            asked = self._todo.popleft()
            node = self._nodes[asked]
            if node.depths.keys() - self._failed:
                node.state = _State.UNDER_WAY
                return asked
            node.state = _State.PASSED_OVER
            self._close(node)
        return None

    def settle(self, asked: Asked, outcome: Fetched | Exception) -> None:
        """Notes what came of an image, and what it needs."""
        node = self._nodes[asked]
        node.state, node.outcome = _State.SETTLED, outcome
        if isinstance(outcome, Fetched):
            try:
                needs = outcome.manifest.dependencies
                node.needs = tuple(dict.fromkeys(Asked.as_dependency(each) for each in needs))
            except AcistoreError as error:
                node.outcome = error
        self._close(node)
        for root in tuple(node.depths):
            if isinstance(node.outcome, Exception):
                self._failed.add(root)
            else:
                self._extend(root, asked)

    def result(self, root: Asked) -> Fetched | Exception | None:
        """What came of an image with all that it needs: the image, or the first failure (in the order of the
        manifests); None as long as something of it is still to come. One that has failed waits for what is under
        way, so that it doesn't depend on chance which failure is told."""
        if self._open[root] and root not in self._failed:
            return None
        reached = self._reached(root)
        if any(self._nodes[asked].state is _State.UNDER_WAY for asked in reached):
            return None
        if refusal := self._refusals.get(root):
            return refusal
        outcomes = {asked: self._nodes[asked].outcome for asked in reached}
        failures = [(asked, outcome) for asked, outcome in outcomes.items() if isinstance(outcome, Exception)]
        return self._told(root, failures) if failures else self._shape_of(root, reached) or outcomes[root]

    # --- growing

    def _close(self, node: _Node) -> None:
        for root in node.depths:
            self._open[root] -= 1

    def _extend(self, root: Asked, start: Asked) -> None:
        """Notes that a root needs what an image needs, and what that is known to need; until it has failed: at the
        latest here every fetch ends."""
        todo = [start]
        while todo:
            asked = todo.pop()
            node = self._nodes[asked]
            for each in node.needs:
                if root in self._failed:
                    return
                if each in self._nodes and root in self._nodes[each].depths:
                    continue
                if node.depths[root] + 1 > self._depth:
                    self._refuse(root, self._too_deep(self._shown(asked)))
                elif self._sizes[root] > self._count:
                    self._refuse(root, self._too_many(root.shown))
                else:
                    self._reach(root, each, node.depths[root] + 1)
                    todo.append(each)

    def _reach(self, root: Asked, asked: Asked, depth: int) -> None:
        """Notes that a root needs an image, which is to be fetched if it was not."""
        node = self._nodes.setdefault(asked, _Node())
        if node.state is _State.PASSED_OVER:
            for other in node.depths:
                self._open[other] += 1
            node.state = _State.WAITING
            self._todo.append(asked)
        node.depths[root] = depth
        self._sizes[root] += 1
        self._open[root] += node.state is not _State.SETTLED
        if isinstance(node.outcome, Exception):
            self._failed.add(root)

    def _refuse(self, root: Asked, refusal: DependencyCycle) -> None:
        self._refusals[root] = refusal
        self._failed.add(root)

    # --- judging

    def _too_deep(self, at: str) -> DependencyCycle:
        return DependencyCycle(
            f"the dependencies nest deeper than {self._depth}",
            facts={"at": at},
            next_step=raising("limits.dependency_depth"),
        )

    def _too_many(self, name: str) -> DependencyCycle:
        return DependencyCycle(
            f"{name} brings more than {self._count} dependencies along",
            next_step=raising("limits.dependencies"),
        )

    def _shape_of(self, root: Asked, reached: Sequence[Asked]) -> DependencyCycle | None:
        """What is wrong with what needs what, now that all of it is there."""
        ids = {asked: self._image(asked).id for asked in reached}
        needs: dict[ImageID, set[ImageID]] = {each: set() for each in ids.values()}
        for asked in reached:
            needs[ids[asked]] |= {ids[each] for each in self._nodes[asked].needs}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            names = {ids[asked]: str(self._image(asked).image.image_name) for asked in reached}
            ring = [names[each] for each in reversed(error.args[1])]
            return DependencyCycle(
                f"{ring[0]} depends on itself",
                facts={"by way of": " → ".join(ring)},
                next_step="tell the publishers of these: one of them has to do without the next",
            )
        longest: dict[ImageID, int] = {}
        for each in order:
            longest[each] = max((longest[below] + 1 for below in needs[each]), default=0)
        return self._too_deep(root.shown) if longest[ids[root]] > self._depth else None

    def _shown(self, asked: Asked) -> str:
        return str(self._image(asked).image.image_name)

    def _image(self, asked: Asked) -> Fetched:
        outcome = self._nodes[asked].outcome
        assert isinstance(outcome, Fetched)  # noqa: S101 - asked only when all is there
        return outcome

    def _told(self, root: Asked, failures: list[tuple[Asked, Exception]]) -> Exception:
        """The first failure, saying who needs what failed, and what else did."""
        (asked, error), *others = failures
        if isinstance(error, AcistoreError):
            error = _own_copy(error)
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
                node = self._nodes.get(each)
                if node and root in node.depths and each not in found:
                    found[each] = None
                    todo.append(each)
        return list(found)
