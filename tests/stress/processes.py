"""Processes that work on one store, what each of them notes, and what they leave."""

import faulthandler
import hashlib
import io
import json
import os
import random
import signal
import statistics
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from acistore.config import Config
from acistore.naming import ImageName
from acistore.store import Store, index
from acistore.store.opening import open_disk
from acistore.trust.keystore.store import TrustStore
from tests.fetch.conftest import HOST, Publisher, served
from tests.forking import CONTEXT
from tests.gpg import SigningKey
from tests.images import image
from tests.stress.operations import ByCommand, ByLibrary, Failure, Operations, Published
from tests.web import WebSite

IMAGES = 10
# Seconds that a process may take for what it had begun when the time was up.
PATIENCE = 120.0
# How often each operation is done, relative to the others.
WEIGHTS = {
    "fetch": 5,
    "add": 4,
    "remove": 3,
    "collect": 3,
    "collect_all": 1,
    "plan": 1,
    "list": 3,
    "show": 2,
    "export": 5,
    "verify": 2,
    "verify_all": 1,
    "pin": 1,
    "unpin": 2,
    "files": 2,
    "cat": 2,
    "which": 2,
    "diff": 1,
    "df": 1,
}


@dataclass(frozen=True)
class Scene:
    """What the processes have in common. `environ` is what makes up their configuration and their web."""

    top: Path
    environ: Mapping[str, str]
    images: Sequence[Published]

    @property
    def store(self) -> Path:
        return self.top / "store"


def publish(web: WebSite, key: SigningKey, top: Path) -> Scene:
    """Images that share bodies with most others; some of their packs are mostly one body of their own."""
    publisher = Publisher(web, key)
    publisher.page()
    bodies = {f"usr/lib/{n}.so": random.Random(n).randbytes(20_000 + 25_000 * n) for n in range(12)}
    images = []
    (top / "files").mkdir()
    for number in range(IMAGES):
        chance = random.Random(f"image {number}")
        short = f"{HOST}/app-{number}"
        name = ImageName.parse(f"{short}:1.0").for_this_machine()
        own = {"etc/name": short.encode(), "own": chance.randbytes(400_000 if number % 2 else 3_000)}
        small = {f"usr/share/{number}/{n}": b"%d of %d" % (n, number) for n in range(30)}
        shared = {path: bodies[path] for path in chance.sample(sorted(bodies), 6)}
        below = [{"imageName": f"{HOST}/app-0", "labels": [{"name": "version", "value": "1.0"}]}]
        needed = {"dependencies": below} if number == 1 else {}
        archive = image(short, own | small | shared, labels=name.labels, **needed)
        publisher.publish(archive, name=short)
        file = top / "files" / f"{number}.aci"
        file.write_bytes(served(archive))
        file.with_name(f"{file.name}.asc").write_bytes(key.sign(served(archive)))
        images.append(Published(f"{short}:1.0", f"sha512-{hashlib.sha512(archive).hexdigest()}", file))
    (top / "tmp").mkdir()
    environ = {
        **web.environ,
        "TMPDIR": str(top / "tmp"),
        "ACISTORE_DIR": str(top / "store"),
        **{f"ACISTORE_{layer.upper()}_CONFIG": str(top / layer) for layer in ("system", "local", "user")},
    }
    return Scene(top, environ, images)


# --- one process


def work(scene: Scene, number: int, seed: int, end: float) -> None:
    """Does one thing after the other until the time `end` (of `time.monotonic`), and notes what came of each."""
    os.setsid()  # to be killed together with the programs that it runs
    os.environ.update(scene.environ)
    tempfile.tempdir = None
    chance = random.Random(seed)
    with (
        (scene.top / f"stack-{number}").open("w") as stack,
        (scene.top / f"notes-{number}").open("ab", buffering=0) as notes,
    ):
        faulthandler.register(signal.SIGUSR1, stack)
        operations: Operations = (ByLibrary if number % 2 else ByCommand)(scene.images, chance)
        try:
            while time.monotonic() < end:
                [operation] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                began = time.monotonic()
                failure = _outcome(operations, operation)
                note = {"operation": operation, "seconds": time.monotonic() - began, "failure": failure}
                notes.write(json.dumps(note).encode() + b"\n")
        finally:
            operations.close()


def _outcome(operations: Operations, operation: str) -> str | None:
    """What has gone wrong that should not."""
    try:
        getattr(operations, operation)()
    except Failure as failure:
        return f"{operation}: {failure}"
    except Exception as error:  # noqa: BLE001 - whatever a user would see
        return f"{operation}: {''.join(traceback.format_exception(error))}"
    return None


# --- all of them


@dataclass(frozen=True)
class Outcome:
    """Seconds of everything that was done, by operation; what has gone wrong; how many processes were killed."""

    seconds: Mapping[str, Sequence[float]]
    failures: Sequence[str]
    killed: int


def run(scene: Scene, *, processes: int, seconds: float, kill: bool = False, seed: int = 0) -> Outcome:
    """Lets so many processes work for so long, and looks at the store afterwards."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    killed = 0

    def start(number: int) -> BaseProcess:
        process = CONTEXT.Process(target=work, args=(scene, number, chance.randrange(1 << 30), end))
        process.start()
        return process

    running = [start(number) for number in range(processes)]
    while kill and time.monotonic() < end:
        number = chance.randrange(processes)
        running[number].join(chance.uniform(0.05, 1.0))
        if _kill(running[number]):
            killed += 1
            running[number] = start(number)
    failures = [*_ended(running, end + PATIENCE, scene)]
    took, failed = _read_notes(scene, processes)
    return Outcome(took, [*failures, *failed, *left_behind(scene)], killed)


def _kill(process: BaseProcess) -> bool:
    """Kills a process with all that it runs; whether it was there."""
    if process.pid is None or not process.is_alive():
        return False
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not have become a group yet
    process.join()
    return True


def _ended(running: Sequence[BaseProcess], latest: float, scene: Scene) -> Sequence[str]:
    """Waits for all; what is wrong with those that do not end, or not well."""
    failures = []
    for number, process in enumerate(running):
        process.join(max(0.1, latest - time.monotonic()))
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGUSR1)
            process.join(2)
            stack = (scene.top / f"stack-{number}").read_text()
            failures.append(f"process {number} does not end:\n{stack}")
            _kill(process)
        elif process.exitcode:
            failures.append(f"process {number} ended with {process.exitcode}")
    return failures


def _read_notes(scene: Scene, processes: int) -> tuple[Mapping[str, Sequence[float]], Sequence[str]]:
    took: dict[str, list[float]] = defaultdict(list)
    failures = []
    for number in range(processes):
        path = scene.top / f"notes-{number}"
        for line in path.read_text().splitlines() if path.exists() else ():
            note = json.loads(line)
            took[note["operation"]].append(note["seconds"])
            if note["failure"]:
                failures.append(note["failure"])
    return took, failures


def left_behind(scene: Scene) -> Sequence[str]:
    """What is wrong with the store afterwards."""
    failures = []
    known = {each.id for each in scene.images}
    with Store.open(scene.store) as store:
        failures += [f"damage: {damage}" for damage in store.verify().damaged]
        listed = store.list()
        for each in listed:
            store.pin(each)
        store.collect(grace_period=timedelta(0))
        if [each.id for each in store.list()] != [each.id for each in listed]:
            failures.append("a collection took pinned images")
        for each in listed:
            out = io.BytesIO()
            store.export(each, out)
            if str(each.id) not in known or hashlib.sha512(out.getvalue()).digest() != each.id.digest:
                failures.append(f"{each.id} is not what was published")
    return [*failures, *(f"{path} was left behind" for path in _unreferenced(scene.store))]


def _unreferenced(directory: Path) -> Sequence[str]:
    """Files of a store that nothing refers to."""
    with ExitStack() as resources:
        disk = open_disk(directory, resources)
        with disk.database.read() as connection:
            wanted = {f"packs/{name}" for name in index.pack_names(connection)}
    places = [directory / name for name in ("packs", "spool", "tmp")]
    found = {str(path.relative_to(directory)) for place in places for path in place.iterdir()}
    return [*sorted(found - wanted), *(f"no {name}" for name in sorted(wanted - found))]


def report(outcome: Outcome) -> str:
    """A table: of each operation the count, median and slowest, in seconds."""
    lines = [f"{'operation':12} {'count':>7} {'median':>8} {'slowest':>8}"]
    for operation, seconds in sorted(outcome.seconds.items()):
        lines.append(f"{operation:12} {len(seconds):7} {statistics.median(seconds):8.3f} {max(seconds):8.3f}")
    lines.append(f"{'all':12} {sum(map(len, outcome.seconds.values())):7}")
    lines.append(f"killed {outcome.killed} processes; {len(outcome.failures)} failures")
    return "\n".join([*lines, *outcome.failures])


def trust(scene: Scene, key: SigningKey) -> None:
    """Lets everybody trust the publisher's key."""
    top = scene.top
    config = Config(system_config=top / "system", local_config=top / "local", user_config=top / "user")
    TrustStore.open(config).add(key.public(), prefix=HOST, source="test", layer="local")
