"""What users ask of a store, as commands and as calls of the library: what `benchmarks.growth` times."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from acistore.naming import ImageName
from acistore.store import Store, StoredImage
from benchmarks import synthetic

# Past the default grace period.
LONG_AGO = timedelta(days=3)


@dataclass(frozen=True)
class Case:
    """What one run of an operation is about: an image with a name of its own, one of many versions, both by their
    numbers; and the image that was added to be removed, where the operation asks for one."""

    single: int
    version: int
    passing: StoredImage | None
    # The beginning of the ID of the first one.
    prefix: str

    @property
    def name(self) -> str:
        return synthetic.name_of(self.single).name

    @property
    def service(self) -> str:
        return synthetic.name_of(self.version).name

    @property
    def service_version(self) -> str:
        return f"{self.service}:{synthetic.name_of(self.version).labels['version']}"

    @property
    def path(self) -> str:
        return synthetic.own_path(self.single)

    @property
    def going(self) -> StoredImage:
        if self.passing is None:
            raise RuntimeError("no image was added for this operation")
        return self.passing


@dataclass(frozen=True)
class Operation:
    """One thing that users do. `command` gives the arguments for one run, `library` does the same by calls.

    `added` is for operations that remove an image: how long ago the one was used that is added for each run.
    `needs` is the method of Store that a version may not have yet.
    """

    label: str
    command: Callable[[Case], Sequence[str]]
    library: Callable[[Case, Store], object]
    added: timedelta | None = None
    needs: str = ""


def _matches(name: str, store: Store) -> object:
    return store.matches(ImageName.parse(name))


def _show(wanted: str, store: Store) -> object:
    image = store.get(wanted)
    return (
        image.manifest,
        store.admissions(image),
        store.remotes(image),
        store.file_count(image),
        store.unique_size(image),
    )


def _cat(case: Case, store: Store) -> object:
    with _method(store, "read_file")(store.get(case.name), case.path) as pieces:
        return b"".join(pieces)


def _method(store: Store, name: str) -> Callable[..., Any]:
    """A method that this version may not have yet, for an operation that `needs` it."""
    return getattr(store, name)  # type: ignore[no-any-return]


OPERATIONS = (
    Operation("list", lambda _: ["list"], lambda _, store: store.list()),
    Operation(
        "list NAME, one image",
        lambda case: ["list", case.name],
        lambda case, store: _matches(case.name, store),
    ),
    Operation(
        "list NAME:VERSION, of many",
        lambda case: ["list", case.service_version],
        lambda case, store: _matches(case.service_version, store),
    ),
    Operation(
        "list NAME, a tenth of the store",
        lambda case: ["list", case.service],
        lambda case, store: _matches(case.service, store),
    ),
    Operation(
        "show NAME, one image",
        lambda case: ["show", case.name],
        lambda case, store: _show(case.name, store),
    ),
    Operation(
        "show NAME:VERSION, of many",
        lambda case: ["show", case.service_version],
        lambda case, store: _show(case.service_version, store),
    ),
    Operation(
        "show NAME, the newest of many",
        lambda case: ["show", case.service],
        lambda case, store: _show(case.service, store),
    ),
    Operation(
        "show sha512-PREFIX",
        lambda case: ["show", case.prefix],
        lambda case, store: _show(case.prefix, store),
    ),
    Operation(
        "files IMAGE",
        lambda case: ["files", case.name],
        lambda case, store: list(_method(store, "files")(store.get(case.name))),
        needs="files",
    ),
    Operation(
        "cat IMAGE PATH",
        lambda case: ["cat", case.name, case.path],
        _cat,
        needs="read_file",
    ),
    Operation(
        "which PATH, in one image",
        lambda case: ["which", case.path],
        lambda case, store: _method(store, "which")(case.path),
        needs="which",
    ),
    Operation(
        "export",
        lambda case: ["export", case.name, "-"],
        lambda case, store: store.export(store.get(case.name), io.BytesIO()),
    ),
    Operation(
        "verify IMAGE",
        lambda case: ["verify", case.name],
        lambda case, store: store.verify([store.get(case.name)]),
    ),
    Operation(
        "pin",
        lambda case: ["pin", case.name],
        lambda case, store: _method(store, "pin")(store.get(case.name)),
        needs="pin",
    ),
    Operation(
        "unpin",
        lambda case: ["unpin", case.name],
        lambda case, store: _method(store, "unpin")(store.get(case.name)),
        needs="unpin",
    ),
    Operation("df", lambda _: ["df"], lambda _, store: _method(store, "usage")(), needs="usage"),
    Operation(
        "rm, one image",
        lambda case: ["rm", str(case.going.id)],
        lambda case, store: store.remove([case.going]),
        added=timedelta(0),
    ),
    Operation("gc, one image goes", lambda _: ["gc"], lambda _, store: store.collect(), added=LONG_AGO),
    Operation("gc, nothing goes", lambda _: ["gc"], lambda _, store: store.collect()),
    Operation("gc --dry-run", lambda _: ["gc", "--dry-run"], lambda _, store: store.collect(dry_run=True)),
    Operation("gc --keep 3", lambda _: ["gc", "--keep", "3"], lambda _, store: store.collect(keep=3)),
    Operation(
        "gc --max-size 1TiB",
        lambda _: ["gc", "--max-size", "1TiB"],
        lambda _, store: store.collect(max_size=1 << 40),
    ),
)
