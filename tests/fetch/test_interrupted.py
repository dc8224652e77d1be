"""Ctrl-C and SIGTERM in the middle of downloads: the command ends at once, and the next one goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from acistore.config import Config
from acistore.fetch.crew import PATIENCE
from acistore.store import Store
from tests.cli.running import COMMAND, environment, spawn
from tests.fetch.conftest import Operator, Unsteady
from tests.images import image

# Seconds: far less than any deadline, far more than a busy machine needs to end a process.
AT_ONCE = 8


def variables(config: Config) -> dict[str, str]:
    return {
        "ACISTORE_DIR": str(config.dir),
        "ACISTORE_SYSTEM_CONFIG": str(config.system_config),
        "ACISTORE_LOCAL_CONFIG": str(config.local_config),
        "ACISTORE_USER_CONFIG": str(config.user_config),
    }


def published(unsteady: Unsteady, count: int) -> list[str]:
    """The URLs of images whose servers say nothing more after half of each."""
    for number in range(count):
        archive = image(f"example.com/n{number}", {"data": os.urandom(3 << 20)})
        file, _ = unsteady.publish(archive, f"n{number}.aci")
        file.stuck_at = len(file.body) // 2
    return [unsteady.url(f"n{number}.aci") for number in range(count)]


def interrupted(urls: list[str], config: Config, number: int) -> tuple[int, str, float]:
    """Fetches until all downloads hang, sends the signal, and returns exit code, stderr and seconds to the end."""
    process = subprocess.Popen(
        [*COMMAND, "fetch", *urls],
        env=environment(**variables(config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        begun = 0
        while begun < len(urls):
            line = process.stderr.readline()
            assert line, "it ended by itself"
            begun += line.startswith("downloading ")
        wait_for_all(config.dir / "spool", len(urls))
        start = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err, time.monotonic() - start


def wait_for_all(spool: Path, count: int) -> None:
    """Until so many downloads have begun, and something of each is on the disk."""
    while True:
        notes = list(spool.glob("*.json"))
        if len(notes) == count and all(note.with_suffix("").stat().st_size for note in notes):
            return


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("count", [1, 3])
def test_a_signal_ends_it_at_once_and_the_next_one_goes_on(
    unsteady: Unsteady, operator: Operator, number: int, code: int, count: int
) -> None:
    operator.trusts(unsteady.key, "example.com")
    urls = published(unsteady, count)
    returned, err, seconds = interrupted(urls, operator.config, number)
    assert returned == code
    assert seconds < AT_ONCE
    assert "Traceback" not in err
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


def test_one_who_waits_for_another_fetch_can_be_interrupted(unsteady: Unsteady, operator: Operator) -> None:
    operator.trusts(unsteady.key, "example.com")
    [url] = published(unsteady, 1)
    with operator.store.spool.file(url, waiting=pytest.fail):
        process = subprocess.Popen(
            [*COMMAND, "fetch", url],
            env=environment(**variables(operator.config)),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr
            assert any("waiting for another fetch" in line for line in process.stderr)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - start < AT_ONCE


def test_one_who_looks_for_keys_can_be_interrupted(unsteady: Unsteady, operator: Operator) -> None:
    page = unsteady.site.put("index.html", b"x" * 100)
    page.stuck_at = 10
    process = subprocess.Popen(
        [*COMMAND, "fetch", "--trust-keys-from-https", "example.com/app"],
        env=environment(**variables(operator.config)),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        while not page.heads and process.poll() is None:
            pass
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - start < PATIENCE
