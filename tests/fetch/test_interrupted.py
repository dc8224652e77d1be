"""Ctrl-C, SIGTERM and a terminal that goes away: the command ends wherever it is, and the next one goes on.

At once, that is: whoever works for it is called off, and nobody has to be waited for. The commands here would wait
for their threads longer than a test does, and no bound in time of theirs is ever reached.
"""

import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from acistore.config import Config
from acistore.store import Store
from tests.cli.running import COMMAND, environment, spawn
from tests.fetch.conftest import Operator, Unsteady, app
from tests.hostile.servers import Deaf, silent
from tests.images import image
from tests.waiting import PATIENCE, until

UNHURRIED = (
    sys.executable,
    "-c",
    f"import sys; from acistore.fetch import crew; crew.PATIENCE = {2 * PATIENCE}; "
    "from acistore.cli import main; sys.exit(main())",
)
KEPT = "what was on its way is kept"
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 3000\r\n\r\n"
)


def variables(config: Config) -> dict[str, str]:
    return {
        "ACISTORE_DIR": str(config.dir),
        "ACISTORE_SYSTEM_CONFIG": str(config.system_config),
        "ACISTORE_LOCAL_CONFIG": str(config.local_config),
        "ACISTORE_USER_CONFIG": str(config.user_config),
        "ACISTORE_LIMITS_DEADLINE": "1h",
        "ACISTORE_LIMITS_CONNECT_TIMEOUT": "1h",
        "ACISTORE_LIMITS_RATE_WINDOW": "1h",
        "ACISTORE_LIMITS_RETRY_AFTER": "1h",
        "NO_PROXY": "localhost",
        "no_proxy": "localhost",
    }


def published(unsteady: Unsteady, count: int) -> list[str]:
    """The URLs of images whose servers say nothing more after half of each."""
    for number in range(count):
        archive = image(f"example.com/n{number}", {"data": os.urandom(3 << 20)})
        file, _ = unsteady.publish(archive, f"n{number}.aci")
        file.stuck_at = len(file.body) // 2
    return [unsteady.url(f"n{number}.aci") for number in range(count)]


@contextmanager
def fetching(
    config: Config, *arguments: str, command: Sequence[str] = UNHURRIED, **more: str
) -> Iterator["subprocess.Popen[str]"]:
    """The command, in a process of its own."""
    with subprocess.Popen(
        [*command, "fetch", *arguments],
        env=environment(**variables(config), **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: "subprocess.Popen[str]", text: str) -> None:
    """Reads what the command says, until it says this."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return
    raise AssertionError(f"it ended by itself: {said}")


def end_of(process: "subprocess.Popen[str]", *numbers: int) -> tuple[int, str]:
    """Sends the signals; returns exit code and the rest of stderr."""
    for number in numbers:
        process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def interrupted(urls: list[str], config: Config, number: int) -> tuple[int, str]:
    """Fetches until all downloads hang, sends the signal, and returns exit code and stderr."""
    with fetching(config, *urls) as process:
        for _ in urls:
            says(process, "downloading ")
        wait_for_all(config.dir / "spool", len(urls))
        return end_of(process, number)


def wait_for_all(spool: Path, count: int) -> None:
    """Until so many downloads have begun, and something of each is on the disk."""

    def have_begun() -> bool:
        notes = list(spool.glob("*.json"))
        return len(notes) == count and all(note.with_suffix("").stat().st_size for note in notes)

    until(have_begun)


@pytest.mark.parametrize(
    ("number", "code", "count"),
    [
        (signal.SIGINT, 130, 1),
        (signal.SIGINT, 130, 3),
        (signal.SIGTERM, 143, 3),
        (signal.SIGHUP, 143, 1),
        (signal.SIGKILL, -9, 3),
    ],
)
def test_a_signal_ends_it_at_once_and_the_next_one_goes_on(
    unsteady: Unsteady, operator: Operator, number: int, code: int, count: int
) -> None:
    operator.trusts(unsteady.key, "example.com")
    urls = published(unsteady, count)
    returned, err = interrupted(urls, operator.config, number)
    assert returned == code
    assert "Traceback" not in err
    assert (KEPT in err) is (number != signal.SIGKILL)
    assert operator.store.list() == []
    sizes = operator.partials()
    assert len(sizes) == count
    assert all(sizes)
    for file in unsteady.site.files.values():
        file.stuck_at = None
    done = spawn("fetch", *urls, **variables(operator.config))
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == count
    images = [file for path, file in unsteady.site.files.items() if path.endswith(".aci")]
    assert sorted(int(str(file.ranges[-1])[len("bytes=") : -1]) for file in images) == sizes
    assert operator.partials() == []
    with Store.open(operator.config.dir) as store:
        assert store.verify().ok


# Where it may be when a signal comes: an address to fetch, and how to tell that it has got there.
Stage = tuple[str, Callable[["subprocess.Popen[str]"], object]]


@contextmanager
def connecting(_: Unsteady) -> Iterator[Stage]:
    """A port whose queue of connections is full: what comes next is never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            yield f"https://localhost:{port}/app.aci", lambda process: says(process, "checking who has signed")


@contextmanager
def in_the_handshake(_: Unsteady) -> Iterator[Stage]:
    came = threading.Event()

    def never(connection: socket.socket, head: bytes) -> None:
        came.set()
        silent(connection, head)

    with Deaf(never) as server:
        yield f"https://localhost:{server.port}/app.aci", lambda _: came.wait(PATIENCE)


@contextmanager
def before_the_headers(unsteady: Unsteady) -> Iterator[Stage]:
    came, over = threading.Event(), threading.Event()

    def never() -> None:
        came.set()
        over.wait()

    unsteady.publish(app())[0].gate = never
    try:
        yield unsteady.url(), lambda _: came.wait(PATIENCE)
    finally:
        over.set()


@contextmanager
def in_a_pause(unsteady: Unsteady) -> Iterator[Stage]:
    unsteady.publish(app())[0].instead = [UNAVAILABLE]
    yield unsteady.url(), lambda process: says(process, "trying again in")


@contextmanager
def in_a_pause_for_the_signature(unsteady: Unsteady) -> Iterator[Stage]:
    unsteady.publish(app())[1].instead = [UNAVAILABLE]
    yield unsteady.url(), lambda process: says(process, "trying again in")


@pytest.mark.parametrize(
    "stage",
    [connecting, in_the_handshake, before_the_headers, in_a_pause, in_a_pause_for_the_signature],
    ids=lambda stage: stage.__name__,
)
def test_it_can_be_interrupted_wherever_it_waits(
    unsteady: Unsteady, operator: Operator, tmp_path: Path, stage: Callable[[Unsteady], Any]
) -> None:
    operator.trusts(unsteady.key, "example.com")
    (tmp_path / "temporary").mkdir()
    with operator.store.spool.file("https://example.com/else", waiting=pytest.fail) as left:
        left.begin({"etag": '"1"'})
        left.write(b"half")
        left.keep = True
    with (
        stage(unsteady) as (url, reached),
        fetching(operator.config, url, TMPDIR=str(tmp_path / "temporary")) as process,
    ):
        reached(process)
        code, err = end_of(process, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    assert KEPT not in err
    assert operator.store.list() == []
    assert list((tmp_path / "temporary").iterdir()) == []  # gpg has gone, too


def test_what_has_come_is_not_downloaded_again_when_it_could_not_be_stored(
    unsteady: Unsteady, operator: Operator
) -> None:
    """Interrupted while another process writes to the store, which only SQLite waits for."""
    operator.trusts(unsteady.key, "example.com")
    file, _ = unsteady.publish(app())
    with closing(sqlite3.connect(operator.config.dir / "acistore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with fetching(operator.config, unsteady.url(), command=COMMAND) as process:
            says(process, "storing ")
            assert end_of(process, signal.SIGTERM)[0] == 143
    assert operator.store.list() == []
    assert spawn("fetch", unsteady.url(), **variables(operator.config)).code == 0
    assert file.ranges == [None, f"bytes={len(file.body)}-"]
    assert operator.store.verify().ok


def test_who_presses_twice_gets_no_traceback(unsteady: Unsteady, operator: Operator) -> None:
    operator.trusts(unsteady.key, "example.com")
    with fetching(operator.config, *published(unsteady, 1)) as process:
        says(process, "downloading ")
        code, err = end_of(process, signal.SIGINT, signal.SIGINT)
    assert code in (130, -signal.SIGINT)  # or not even that was waited for
    assert "Traceback" not in err
    assert operator.store.verify().ok


def test_a_terminal_that_goes_away_ends_it_like_a_signal(unsteady: Unsteady, operator: Operator) -> None:
    """What is drawn on it, and said last, goes nowhere."""
    operator.trusts(unsteady.key, "example.com")
    [url] = published(unsteady, 1)
    keyboard, terminal = pty.openpty()
    own = "import fcntl, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
    with subprocess.Popen(
        [*UNHURRIED[:2], own + UNHURRIED[2], "fetch", url],
        env=environment(**variables(operator.config), TERM="xterm"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            wait_for_all(operator.config.dir / "spool", 1)
            os.close(keyboard)
            assert process.wait(PATIENCE) == 143
        finally:
            process.kill()
    assert len(operator.partials()) == 1


def test_one_who_waits_for_another_fetch_can_be_interrupted(unsteady: Unsteady, operator: Operator) -> None:
    operator.trusts(unsteady.key, "example.com")
    [url] = published(unsteady, 1)
    with (
        operator.store.spool.file(url, waiting=pytest.fail),
        fetching(operator.config, url) as process,
    ):
        says(process, "waiting for another fetch")
        assert end_of(process, signal.SIGINT)[0] == 130


def test_one_who_looks_for_keys_can_be_interrupted(unsteady: Unsteady, operator: Operator) -> None:
    came = threading.Event()
    page = unsteady.site.put("index.html", b"x" * 100)
    page.stuck_at = 10
    page.gate = came.set
    with fetching(operator.config, "--trust-keys-from-https", "example.com/app") as process:
        assert came.wait(PATIENCE)
        assert end_of(process, signal.SIGINT)[0] == 130


def test_who_waits_for_a_fetch_that_is_killed_goes_on_with_what_it_has_left(
    unsteady: Unsteady, operator: Operator
) -> None:
    operator.trusts(unsteady.key, "example.com")
    [url] = published(unsteady, 1)
    [file] = [file for path, file in unsteady.site.files.items() if path.endswith(".aci")]
    with fetching(operator.config, url) as first:
        wait_for_all(operator.config.dir / "spool", 1)
        with fetching(operator.config, url) as second:
            says(second, "waiting for another fetch")
            file.stuck_at = None
            first.kill()
            out, err = second.communicate(timeout=PATIENCE)
    assert (second.returncode, len(out.splitlines())) == (0, 1), err
    start = int(str(file.ranges[-1]).removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= len(file.body) // 2
    assert operator.partials() == []
    assert operator.store.verify().ok
