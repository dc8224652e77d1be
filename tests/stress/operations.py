"""Everything that can be done to a store, by the command and by the library, for processes that do it at random.

Each operation looks at what it gets: raises `Failure` for whatever is wrong. That an image has gone is not, since
others remove them; nor is it that one which is pinned or needed can't be removed.
"""

import hashlib
import io
import json
import random
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from acistore.cli import main
from acistore.config import Config
from acistore.errors import AcistoreError, ImageInUse, ImageNotFound, PathNotFound
from acistore.fetch import Fetcher
from acistore.store import Store, StoredImage
from acistore.store.records import VerifyReport
from acistore.trust.keystore.store import TrustStore

# How often a command is a process of its own: it takes half a second to start.
WHOLE = 0.03
# How often the library's users close their store and open it again.
REOPENED = 0.1
NAME_FILE = "/etc/name"
GONE = (ImageNotFound,)


class Failure(Exception):
    """Something that no user should see."""


@dataclass(frozen=True)
class Published:
    """An image that can be fetched by its name, or from a file that has its signature beside it."""

    name: str
    id: str
    file: Path

    @property
    def short(self) -> str:
        """The name without its version, which the image has in its NAME_FILE."""
        return self.name.partition(":")[0]


class Operations(ABC):
    """One user of a store. Which image it is each time is left to `chance`."""

    def __init__(self, images: Sequence[Published], chance: random.Random) -> None:
        self.images = images
        self.chance = chance

    def any(self) -> Published:
        return self.chance.choice(self.images)

    def _check_known(self, found: Sequence[str]) -> None:
        """That these are images which were published, each once."""
        known = {each.id for each in self.images}
        _require(len(set(found)) == len(found) and known.issuperset(found), found)

    @abstractmethod
    def close(self) -> None:
        """Ends the use of the store."""

    @abstractmethod
    def fetch(self) -> None: ...
    @abstractmethod
    def add(self) -> None: ...
    @abstractmethod
    def remove(self) -> None: ...
    @abstractmethod
    def collect(self) -> None: ...
    @abstractmethod
    def collect_all(self) -> None: ...
    @abstractmethod
    def plan(self) -> None: ...
    @abstractmethod
    def list(self) -> None: ...
    @abstractmethod
    def show(self) -> None: ...
    @abstractmethod
    def export(self) -> None: ...
    @abstractmethod
    def verify(self) -> None: ...
    @abstractmethod
    def verify_all(self) -> None: ...
    @abstractmethod
    def pin(self) -> None: ...
    @abstractmethod
    def unpin(self) -> None: ...
    @abstractmethod
    def files(self) -> None: ...
    @abstractmethod
    def cat(self) -> None: ...
    @abstractmethod
    def which(self) -> None: ...
    @abstractmethod
    def diff(self) -> None: ...
    @abstractmethod
    def df(self) -> None: ...


def _require(right: bool, what: object) -> None:
    if not right:
        raise Failure(str(what)[:2000])


# --- the command


class ByCommand(Operations):
    """A script that runs the command. Its store is the environment's."""

    def close(self) -> None:
        pass

    def _run(self, *arguments: str, but: Sequence[type[AcistoreError]] = ()) -> bytes | None:
        """What the command writes to stdout; None where it fails with an error that is no failure here."""
        code, out, err = self._ran(["--json", *arguments])
        kinds = {_kind(line) for line in err.decode().splitlines()}
        if kinds <= {each.__name__ for each in but} and bool(code) == bool(kinds):
            return None if kinds else out
        raise Failure(f"{' '.join(arguments)}: exit code {code}: {err.decode()}")

    def _document(self, *arguments: str, but: Sequence[type[AcistoreError]] = ()) -> Any:
        out = self._run(*arguments, but=but)
        return None if out is None else json.loads(out)

    def _ran(self, arguments: Sequence[str]) -> tuple[int, bytes, bytes]:
        if self.chance.random() < WHOLE:
            done = subprocess.run([sys.executable, "-m", "acistore", *arguments], capture_output=True, check=False)
            return done.returncode, done.stdout, done.stderr
        with _captured() as (out, err):
            code = main(arguments)
        return code, out.getvalue(), err.getvalue()

    def fetch(self) -> None:
        wanted = self.any()
        self._check_fetched(wanted, wanted.name)

    def add(self) -> None:
        wanted = self.any()
        self._check_fetched(wanted, str(wanted.file))

    def _check_fetched(self, wanted: Published, what: str) -> None:
        found = self._document("fetch", what)
        _require([each["id"] for each in found] == [wanted.id], found)

    def remove(self) -> None:
        self._run("rm", self.any().id, but=(ImageNotFound, ImageInUse))

    def collect(self) -> None:
        self._document("gc", "--grace-period", "1h")

    def collect_all(self) -> None:
        self._document("gc", "--grace-period", "0s")

    def plan(self) -> None:
        _require(self._document("gc", "--dry-run", "--grace-period", "0s")["dry_run"], "not a dry run")

    def list(self) -> None:
        self._check_known([each["id"] for each in self._document("list")])

    def show(self) -> None:
        wanted = self.any()
        found = self._document("show", wanted.name, but=GONE)
        _require(found is None or found["id"] == wanted.id, found)

    def export(self) -> None:
        wanted = self.any()
        out = self._run("export", wanted.id, "-", but=GONE)
        _require(out is None or _id(out) == wanted.id, f"{wanted.name} came out wrong")

    def verify(self) -> None:
        found = self._document("verify", self.any().id, but=GONE)
        _require(found is None or found["ok"], found)

    def verify_all(self) -> None:
        found = self._document("verify")
        _require(found["ok"], found)

    def pin(self) -> None:
        self._run("pin", self.any().id, but=GONE)

    def unpin(self) -> None:
        self._run("unpin", self.any().id, but=GONE)

    def files(self) -> None:
        found = self._document("files", self.any().id, but=GONE)
        _require(found is None or NAME_FILE in {each["path"] for each in found}, found)

    def cat(self) -> None:
        wanted = self.any()
        out = self._run("cat", wanted.id, NAME_FILE, but=GONE)
        _require(out is None or out.decode() == wanted.short, out)

    def which(self) -> None:
        found = self._document("which", NAME_FILE, but=(PathNotFound,))
        self._check_known([each["id"] for each in found or ()])

    def diff(self) -> None:
        self._document("diff", self.any().id, self.any().id, but=GONE)

    def df(self) -> None:
        found = self._document("df")
        _require(found["images"] == len(found["per_image"]), found)


@contextmanager
def _captured() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """What this process writes meanwhile to stdout and stderr."""
    out, err = io.BytesIO(), io.BytesIO()
    texts = [io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in (out, err)]
    with redirect_stdout(texts[0]), redirect_stderr(texts[1]):
        yield out, err
    for text in texts:
        text.detach()


def _kind(line: str) -> str:
    """The kind of the error in a line of stderr; of anything else, what is said."""
    try:
        return str(json.loads(line)["error"]["kind"])
    except ValueError:
        return line


def _id(archive: bytes) -> str:
    return f"sha512-{hashlib.sha512(archive).hexdigest()}"


# --- the library


class ByLibrary(Operations):
    """A program that uses the library, and has its store open for a while."""

    def __init__(self, images: Sequence[Published], chance: random.Random) -> None:
        super().__init__(images, chance)
        self._config = Config.load()
        self._trust = TrustStore.open(self._config)
        self._open: Store | None = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    @property
    def _store(self) -> Store:
        if self.chance.random() < REOPENED:
            self.close()
        if self._open is None:
            self._open = Store.open(self._config.dir)
        return self._open

    def _with_one(self, job: Callable[[Store, StoredImage, Published], object]) -> None:
        """Does something with an image, if it is there; that it goes meanwhile is nothing."""
        wanted, store = self.any(), self._store
        with suppress(ImageNotFound):
            job(store, store.get(wanted.id), wanted)

    def fetch(self) -> None:
        wanted = self.any()
        fetched = Fetcher(self._store, self._trust, self._config).fetch(wanted.name)
        _require(str(fetched.id) == wanted.id, fetched)

    def add(self) -> None:
        wanted = self.any()
        with wanted.file.open("rb") as archive:
            _require(str(self._store.add(archive).id) == wanted.id, f"{wanted.name} is another image")

    def remove(self) -> None:
        with suppress(ImageInUse):
            self._with_one(lambda store, image, _wanted: store.remove([image]))

    def collect(self) -> None:
        self._store.collect(grace_period=timedelta(hours=1), max_size=self.chance.choice([None, 1_500_000]))

    def collect_all(self) -> None:
        self._store.collect(grace_period=timedelta(0))

    def plan(self) -> None:
        self._store.collect(grace_period=timedelta(0), max_size=1_000_000, dry_run=True)

    def list(self) -> None:
        self._check_known([str(each.id) for each in self._store.list()])

    def show(self) -> None:
        def show(store: Store, image: StoredImage, wanted: Published) -> None:
            store.admissions(image), store.remotes(image), store.file_count(image), store.unique_size(image)
            _require(store.get(wanted.name).id == image.id, f"{wanted.name} is not {image.id}")

        self._with_one(show)

    def export(self) -> None:
        def export(store: Store, image: StoredImage, wanted: Published) -> None:
            out = io.BytesIO()
            store.export(image, out)
            _require(_id(out.getvalue()) == wanted.id, f"{wanted.name} came out wrong")

        self._with_one(export)

    def verify(self) -> None:
        self._with_one(lambda store, image, _wanted: _check_report(store.verify([image])))

    def verify_all(self) -> None:
        _check_report(self._store.verify())

    def pin(self) -> None:
        self._with_one(lambda store, image, _wanted: store.pin(image))

    def unpin(self) -> None:
        self._with_one(lambda store, image, _wanted: store.unpin(image))

    def files(self) -> None:
        def files(store: Store, image: StoredImage, _wanted: Published) -> None:
            found = [entry.path for entry in store.files(image)]
            _require(NAME_FILE in found, found)

        self._with_one(files)

    def cat(self) -> None:
        def cat(store: Store, image: StoredImage, wanted: Published) -> None:
            with store.read_file(image, NAME_FILE) as pieces:
                found = b"".join(pieces)
            _require(found.decode() == wanted.short, found)

        self._with_one(cat)

    def which(self) -> None:
        self._check_known([str(each.image.id) for each in self._store.which(NAME_FILE)])

    def diff(self) -> None:
        other = self.any()
        self._with_one(lambda store, image, _wanted: store.diff(image, store.get(other.id)))

    def df(self) -> None:
        usage = self._store.usage()
        _require(usage.images == len(usage.per_image), usage)


def _check_report(report: VerifyReport) -> None:
    _require(report.ok, report)
