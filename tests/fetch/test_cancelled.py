"""`Fetcher.cancel`: whoever waits gets Cancelled, whatever the threads are doing, and nothing that came of it.

That a fetch goes on where it was cancelled: tests/test_library.py.
"""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from acistore.errors import Cancelled
from acistore.fetch import Fetched, Fetcher, crew
from acistore.net.client import Client
from acistore.progress import Silent
from tests.fetch.conftest import Operator, Unsteady, app
from tests.fileserver import File
from tests.waiting import PATIENCE


class Stuck(Silent):
    """A display that is at its first step until it is over."""

    def __init__(self) -> None:
        self.is_there = threading.Event()
        self.is_over = threading.Event()

    def step(self, text: str) -> None:
        self.is_there.set()
        self.is_over.wait(PATIENCE)


def test_what_fails_because_it_was_cancelled_is_no_failure_of_its_own(
    unsteady: Unsteady, trusting: Operator
) -> None:
    """The signature is not there; whether the image is, was being asked. So much as that is not known."""
    asked = threading.Event()

    class Silenced(File):
        def serve(self, connection: socket.socket, head: bytes) -> None:
            asked.set()
            connection.recv(1)

    unsteady.site.put("app.aci", Silenced(b""))
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config)
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(fetcher.fetch, unsteady.url())
        assert asked.wait(PATIENCE)
        fetcher.cancel()
        assert isinstance(fetched.exception(PATIENCE), Cancelled)


def test_who_can_not_be_called_off_is_not_waited_for(
    unsteady: Unsteady, trusting: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "PATIENCE", 0.0)
    stuck = Stuck()
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config, progress=stuck)
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(fetcher.fetch, unsteady.url())
        assert stuck.is_there.wait(PATIENCE)
        fetcher.cancel()
        try:
            assert isinstance(fetched.exception(PATIENCE / 2), Cancelled)
        finally:
            stuck.is_over.set()


def test_results_that_were_there_already_are_not_handed_out_any_more(
    unsteady: Unsteady, trusting: Operator
) -> None:
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config)
    outcomes = fetcher.fetch_all(["no name", "no name either"])
    next(outcomes)
    fetcher.cancel()
    with pytest.raises(Cancelled):
        next(outcomes)


def test_an_image_that_has_come_is_told_all_the_same(unsteady: Unsteady, trusting: Operator) -> None:
    unsteady.publish(app())
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config)
    outcomes = fetcher.fetch_all([unsteady.url(), unsteady.url()])
    next(outcomes)
    fetcher.cancel()
    assert isinstance(next(outcomes).result, Fetched)
    with pytest.raises(StopIteration):
        next(outcomes)


def test_who_is_interrupted_in_cancelling_can_cancel_again() -> None:
    woken: list[int] = []

    def wake() -> None:
        woken.append(len(woken))
        if len(woken) == 1:
            raise KeyboardInterrupt

    recall = crew.Recall()
    recall.wakes(wake)
    with pytest.raises(KeyboardInterrupt):
        recall.call_off()
    recall.call_off()
    recall.call_off()
    assert woken == [0, 1]


@pytest.mark.parametrize("busy", ["while it is cancelled", "while it ends"])
def test_a_signal_handler_may_cancel_whatever_it_interrupts(
    unsteady: Unsteady, trusting: Operator, monkeypatch: pytest.MonkeyPatch, busy: str
) -> None:
    """It runs in the thread that it interrupts, here in the middle of calling off."""
    unsteady.publish(app())
    stuck = Stuck()
    fetcher = Fetcher(trusting.store, trusting.trust, trusting.config, progress=stuck)
    abort = Client.abort

    def interrupted(client: Client) -> None:
        fetcher.cancel()
        abort(client)

    monkeypatch.setattr(Client, "abort", interrupted)
    done = threading.Event()

    def job() -> None:
        if busy == "while it ends":
            stuck.is_over.set()
            fetcher.fetch(unsteady.url())
        else:
            with ThreadPoolExecutor(1) as pool:
                fetched = pool.submit(fetcher.fetch, unsteady.url())
                assert stuck.is_there.wait(PATIENCE)
                fetcher.cancel()
                stuck.is_over.set()
                assert isinstance(fetched.exception(PATIENCE), Cancelled)
        done.set()

    threading.Thread(target=job, daemon=True).start()
    assert done.wait(PATIENCE)
