"""SIGINT, SIGTERM and SIGHUP end a command: at once, and once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Seconds that the main thread has for noticing a signal before it is nudged.
_PATIENCE = 0.05


class Terminated(BaseException):
    """The process was asked to end (SIGTERM), or its terminal has gone (SIGHUP). Like KeyboardInterrupt, so that
    nothing takes it for an error."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Ends the work on SIGTERM and SIGHUP as on Ctrl-C: all that is open is closed, what is half done is undone.

    Python answers a signal when its main thread next runs; one that arrives just before a system call that
    blocks would wait for the call to return. So another thread sees to it that such a call is broken off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noticed = threading.Event()

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        noticed.set()
        raise KeyboardInterrupt

    def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # once is enough; clearing up is not to be cut short
        noticed.set()
        raise Terminated

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # and not ignored, as by nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as in the background
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    # SIGURG does nothing but break off the system call that a thread is in.
    before[signal.SIGURG] = signal.signal(signal.SIGURG, lambda _signal, _frame: None)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    nudger = threading.Thread(target=_nudge, args=(reading, noticed), name="acistore-signals", daemon=True)
    nudger.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        noticed.set()
        os.close(writing)  # the nudger reads the end
        nudger.join()
        os.close(reading)
        for number, handler in before.items():
            signal.signal(number, handler)


def _nudge(arrivals: int, noticed: threading.Event) -> None:
    """Breaks off what the main thread waits in, as long as it has not noticed a signal that arrived."""
    main = threading.main_thread().ident
    while number := os.read(arrivals, 1):
        while main and number[0] != signal.SIGURG and not noticed.wait(_PATIENCE):
            signal.pthread_kill(main, signal.SIGURG)
