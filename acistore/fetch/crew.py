"""Threads that work off jobs side by side, and that can be called off at once. Knows nothing of the jobs."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Answer = TypeVar("Answer")

# Seconds that threads have for clearing up once they were called off. What takes longer (a commit of half a
# million rows) is left to itself: the store is whole whenever it ends.
PATIENCE = 3.0
# Seconds between two looks.
_POLL = 0.05


class CalledOff(BaseException):
    """The work is to end now. Like KeyboardInterrupt, so that nothing takes it for an error of the job."""


class Recall:
    """Whether work was called off: asked for by those who work, wherever they may stop.

    Without a lock: a signal handler that calls it off may have interrupted whoever holds it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._is_off = False
        self._wake: list[Callable[[], object]] = []

    def wakes(self, wake: Callable[[], object]) -> None:
        """What is to be called then, once or twice, to wake those up who wait for something else than `pause`."""
        self._wake.append(wake)
        if self._event.is_set():
            wake()

    def call_off(self) -> None:
        """From now on everybody is to stop."""
        if self._is_off:
            return  # somebody is at it: maybe the one whom a signal handler has interrupted, and who goes on then
        self._is_off = True
        try:
            self._event.set()
            for wake in tuple(self._wake):
                wake()
        except BaseException:  # Ctrl-C, say: whoever calls it off again has to do it
            self._is_off = False
            raise

    @contextmanager
    def holding(self, lock: threading.Lock) -> Iterator[None]:
        """Waits for a lock, and holds it. Raises CalledOff."""
        while not lock.acquire(timeout=_POLL):
            self.check()
        try:
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Raises CalledOff when it is over."""
        if self._event.is_set():
            raise CalledOff

    def pause(self, seconds: float) -> None:
        """Waits. Raises CalledOff as soon as it is over."""
        if self._event.wait(seconds):
            raise CalledOff


class _Call:
    """A call that another thread is to make, and where its result goes."""

    def __init__(self, call: Callable[[], Answer], made: "Future[Answer]") -> None:
        self._call = call
        self._made: Future[Any] = made

    def make(self) -> None:
        """Makes it. What ends the program ends it here, not where the result was wanted."""
        try:
            self._made.set_result(self._call())
        except Exception as error:  # noqa: BLE001 - raised where the result is wanted
            self._made.set_exception(error)


class Crew(Generic[Job, Result]):
    """At most `size` threads, made as they are needed. Leaving its `with` block calls them off."""

    def __init__(self, size: int, work: Callable[[Job], Result], recall: Recall) -> None:
        self._size = size
        self._work = work
        self._recall = recall
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[Job, Result | BaseException] | _Call] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        # Whoever waits in `next` is told at once, whatever those who work are doing.
        recall.wakes(lambda: self._finished.put(_Call(lambda: None, Future())))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recall.call_off()
        for _ in self._threads:
            self._todo.put(None)
        end = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def start(self, job: Job) -> None:
        """Has the job done by whoever is free first."""
        self._open += 1
        self._todo.put(job)
        if len(self._threads) < min(self._size, self._open):
            # Daemons, so that one that hangs doesn't keep the process alive.
            thread = threading.Thread(target=self._run, name=f"acistore-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self) -> tuple[Job, Result | Exception]:
        """The next job that is finished, with its result or what it raised. Waits for one, and makes what calls
        are asked for meanwhile. Raises CalledOff."""
        while isinstance(finished := self._finished.get(), _Call):
            self._recall.check()
            finished.make()
        job, result = finished
        self._open -= 1
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        return job, result

    def in_front(self, call: Callable[[], Answer]) -> Answer:
        """Has something called by the thread that waits in `next`, for one of the crew: a person can only be asked
        by the one that a Ctrl-C of theirs reaches. Raises what the call raises, and CalledOff."""
        made: Future[Answer] = Future()
        self._finished.put(_Call(call, made))
        while not wait([made], _POLL).done:
            self._recall.check()
        return made.result()

    @property
    def has_room(self) -> bool:
        """Whether somebody is free for another job."""
        return self._open < self._size

    @property
    def is_busy(self) -> bool:
        """Whether a job is left of which `next` will tell."""
        return self._open > 0

    def _run(self) -> None:
        while (job := self._todo.get()) is not None:
            try:
                self._recall.check()
                self._finished.put((job, self._work(job)))
            except BaseException as error:  # noqa: BLE001 - handed over to whoever has given the job
                self._finished.put((job, error))
