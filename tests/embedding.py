"""A program that embeds acistore, as a user of the library may write it; mypy checks it as strictly as our own.

It fetches the images that it is called with at once, from asyncio, shows how far they are in its own way, decides
itself which new keys it trusts, and prints what it saw as JSON. It also looks whether the library has changed
anything that belongs to the whole process. test_library.py runs it.
"""

import asyncio
import json
import locale
import logging
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import acistore


@dataclass
class Bytes:
    """A meter: counts one download for the whole."""

    what: str
    seen: "Seen"

    def advance(self, count: int) -> None:
        with self.seen.lock:
            self.seen.bytes[self.what] += count

    def done(self) -> None:
        with self.seen.lock:
            self.seen.ended.append(self.what)


@dataclass
class Seen:
    """What a fetch tells: an `acistore.Progress`, and an `acistore.Confirm` that knows whom it trusts."""

    friends: Sequence[str]
    bytes: Counter[str] = field(default_factory=Counter)
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    decisions: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, text: str) -> None:
        pass

    def start(self, what: str, total: int | None, done: int = 0) -> Bytes:
        with self.lock:
            self.begun.append(what)
        return Bytes(what, self)

    def decided(self, about: str, what: str, why: str) -> None:
        with self.lock:
            self.decisions.append((about, what))

    def trust(self, offers: Sequence[acistore.Offer], prefix: str, layer: str) -> bool:
        found = [key.fingerprint for offer in offers for key in offer.keys]
        self.asked.append((prefix, found))
        return set(found) <= set(self.friends)


def surroundings() -> dict[str, object]:
    """What belongs to the whole process, and is none of a library's business."""
    loggers = [logging.getLogger(name) for name in (None, "acistore")]
    os.umask(mask := os.umask(0o022))
    return {
        "signals": [repr(signal.getsignal(each)) for each in signal.valid_signals()],
        "logging": [(each.level, each.propagate, repr(each.handlers)) for each in loggers],
        "warnings": repr(warnings.filters),
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": mask,
        "hooks": [repr(each) for each in (sys.excepthook, sys.unraisablehook, threading.excepthook)],
        "threads": sorted(each.name for each in threading.enumerate() if each.name.startswith("acistore")),
        "descriptors": sorted(each.name for each in Path("/proc/self/fd").iterdir()),
    }


async def fetch(names: Sequence[str], seen: Seen) -> list[acistore.Fetched | BaseException]:
    """Fetches each image in a thread of its own."""
    config = acistore.Config.load()
    with acistore.Store.open(config.dir) as store:
        trust = acistore.TrustStore.open(config)
        fetcher = acistore.Fetcher(store, trust, config, progress=seen, confirm=seen)
        return await asyncio.gather(
            *(asyncio.to_thread(fetcher.fetch, name) for name in names), return_exceptions=True
        )


def main(friend: str, *names: str) -> None:
    seen = Seen([friend])
    before = surroundings()
    results = asyncio.run(fetch(names, seen))
    after = surroundings()
    answer = {
        "results": [
            each.name if isinstance(each, acistore.Fetched) else f"{type(each).__name__}: {each}"
            for each in results
        ],
        "changed": [what for what in before if before[what] != after[what]],
        "asked": seen.asked,
        "bytes": seen.bytes,
        "meters": [sorted(seen.begun), sorted(seen.ended)],
        "decisions": sorted(seen.decisions),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
