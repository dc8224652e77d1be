"""Store: the face that everyone else sees. Each job has a file of its own beside this one."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Self

from sqlalchemy import inspect, select

from acistore.config import Limits
from acistore.errors import (
    AmbiguousImage,
    ImageInUse,
    ImageNotFound,
    InvalidName,
    StoreDamaged,
    StoreTooNew,
)
from acistore.naming import ImageID, ImageName
from acistore.store import changes, index, schema
from acistore.store.collect import Rules, collect
from acistore.store.disk import Disk
from acistore.store.export import export
from acistore.store.ingest import Admit, Provenance, ingest
from acistore.store.packs import LocalPacks
from acistore.store.records import Admission, Collected, Remote, StoredImage, VerifyReport
from acistore.store.sqlite import Database
from acistore.store.verify import verify
from acistore.store.workspace import Workspace

ID_PREFIX = "sha512-"
# The revision of a database in which migrations were begun, and none has ended.
UNFINISHED = "none"


class Store:
    """A store of images in a directory. Any number of threads and processes may use one at a time.

    Opened with `Store.open`, closed by leaving its `with` block.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._database = disk.database

    @classmethod
    def open(cls, directory: Path | str) -> Self:
        """Opens the store in a directory; makes it when there is none, upgrades it when it is older.

        Raises StoreUnavailable, StoreTooNew, StoreDamaged.
        """
        workspace = Workspace(Path(directory))
        workspace.create()
        packs = LocalPacks(workspace.packs)
        if not workspace.database.exists() and packs.list():
            raise StoreDamaged(
                f"the store {directory} has packs, but its database {workspace.database.name} is missing",
                facts={"packs": str(len(packs.list()))},
                next_step=f"put {workspace.database.name} back from a backup; this version can't rebuild it",
            )
        database = Database(workspace.database)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
        return cls(Disk(database, packs, workspace))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- in

    def add(
        self,
        archive: BinaryIO,
        *,
        admit: Admit | None = None,
        remote: Remote | None = None,
        latest: bool = False,
        limit: int = Limits().unpacked_size,
    ) -> StoredImage:
        """Stores an image archive, plain or compressed, and returns the image under its computed ID.

        `archive` is read from its beginning and must be seekable. `admit(image_id, manifest)` returns why the
        image is let in, or raises to refuse it; without it the image is recorded as not verified. `limit`
        bounds the plain tar in bytes. Raises ArchiveRefused, InvalidManifest and what `admit` raises; nothing
        of a refused image stays.
        """
        with self._disk.workspace.writing():
            return ingest(
                archive,
                self._disk,
                limit=limit,
                admit=admit or (lambda _id, _manifest: Admission("unverified", _now())),
                provenance=Provenance(remote, latest),
            )

    @contextmanager
    def spool_file(self, source: str, *, waiting: Callable[[], object]) -> Iterator[BinaryIO]:
        """A private file for downloading `source`, locked against others that fetch it; gone at the end.

        `waiting` is called when another process has it, which is then waited for. Raises StoreUnavailable, also
        for what the disk refuses while the file is written.
        """
        with self._disk.workspace.writing(), self._disk.workspace.spool_file(source, waiting=waiting) as file:
            yield file

    # --- look

    def get(self, wanted: str | ImageID | ImageName) -> StoredImage:
        """The image that is meant: by ID, by a unique prefix of one (`sha512-` and 2 or more hex digits), or
        by name and labels. Raises ImageNotFound, AmbiguousImage, InvalidName."""
        if isinstance(wanted, ImageName):
            return self.find(wanted)
        text = str(wanted)
        if not text.startswith(ID_PREFIX):
            return self.find(ImageName.parse(text))
        digits = text.removeprefix(ID_PREFIX).lower()
        if not 2 <= len(digits) <= 128 or digits.strip("0123456789abcdef"):
            raise InvalidName(f"{text!r} is not an image ID: sha512- and 2 to 128 hex digits")
        with self._database.read() as connection:
            found = index.images_by_prefix(connection, digits)
        if not found:
            raise ImageNotFound(f"no image in the store has the ID {text}", next_step="acistore list")
        if len(found) > 1:
            raise AmbiguousImage(
                f"{text} is the beginning of {len(found)} image IDs",
                facts={str(image.id): str(image.image_name) for image in found},
                next_step="give more digits of the one that is meant",
            )
        return found[0]

    def matches(self, name: ImageName) -> Sequence[StoredImage]:
        """The images of that name with at least those labels, the best first: exact labels, then the one
        fetched as latest, then the newest import."""
        with self._database.read() as connection:
            return index.images_by_name(connection, name)

    def find(self, name: ImageName) -> StoredImage:
        """The best of the `matches`. Raises ImageNotFound."""
        found = self.matches(name)
        if not found:
            raise ImageNotFound(
                f"no image in the store is {name}", next_step=shlex.join(["acistore", "fetch", str(name)])
            )
        return found[0]

    def list(self) -> Sequence[StoredImage]:
        """Every image, newest import first."""
        with self._database.read() as connection:
            return index.images(connection)

    def admissions(self, image: StoredImage) -> Sequence[Admission]:
        """Every time the image was let in, newest first."""
        with self._database.read() as connection:
            return index.admissions_of(connection, image)

    def images_admitted_by(self, fingerprint: str) -> Sequence[StoredImage]:
        """The images that a key has let in; `fingerprint` is its primary one in lower-case hex."""
        with self._database.read() as connection:
            return index.images_admitted_by(connection, fingerprint)

    def remotes(self, image: StoredImage) -> Sequence[Remote]:
        """Where the image was fetched from, newest first."""
        with self._database.read() as connection:
            return index.remotes_of(connection, image)

    def remote(self, url: str) -> tuple[Remote, StoredImage] | None:
        """What is known of a URL that was fetched, and the image that was found there."""
        with self._database.read() as connection:
            return index.remote_by_url(connection, url)

    def remotes_for(self, name: ImageName) -> Sequence[tuple[Remote, StoredImage]]:
        """What was found when discovery was last asked for this name, newest first."""
        with self._database.read() as connection:
            return index.remotes_by_name(connection, str(name))

    def file_count(self, image: StoredImage) -> int:
        """The number of entries in the image's archive."""
        with self._database.read() as connection:
            return index.file_count(connection, image)

    def unique_size(self, image: StoredImage) -> int:
        """The bytes of file bodies that only this image needs."""
        with self._database.read() as connection:
            return index.unique_size(connection, image)

    def verify(self, images: Sequence[StoredImage] | None = None) -> VerifyReport:
        """Hashes images again, or with None everything: database, packs, images. Damage is in the report."""
        return verify(images, self._disk)

    # --- out

    def export(self, image: ImageID | StoredImage, out: BinaryIO) -> StoredImage:
        """Writes the identical uncompressed tar. Raises ImageNotFound, and StoreDamaged when what was written
        is not the image."""
        stored = image if isinstance(image, StoredImage) else self.get(image)
        export(stored, out, self._disk)
        self.touch(stored)
        return stored

    # --- keep

    def record_fetch(self, image: StoredImage, *, remote: Remote | None = None, latest: bool = False) -> None:
        """Notes that an image that is here already was asked for again, and what its server said.

        Raises ImageNotFound when it was removed meanwhile.
        """
        with self._database.write() as connection:
            if index.image_by_id(connection, image.id) is None:
                raise ImageNotFound(f"{image.id} was removed from the store")
            changes.record_use(connection, image, _now())
            if remote:
                changes.record_remote(connection, image, remote)
            if latest:
                changes.record_latest(connection, image)

    def touch(self, image: StoredImage) -> None:
        """Notes that the image was used now, which a garbage collection respects."""
        with self._database.write() as connection:
            changes.record_use(connection, image, _now())

    def remove(self, images: Iterable[StoredImage], *, force: bool = False) -> int:
        """Takes images out, all or none; returns the bytes that the next collection can free.

        Raises ImageInUse for one that is pinned, or needed by another that stays, unless `force`.
        """
        going = {image.key: image for image in images}
        with self._database.write() as connection:
            if not force:
                for image in going.values():
                    users = [each for each in index.dependents(connection, image) if each.key not in going]
                    _refuse_if_in_use(image, users)
            return sum(
                changes.remove_image(connection, image)[1]
                for image in index.images(connection, schema.image.c.id.in_(going))
            )

    def collect(
        self,
        *,
        grace_period: timedelta = timedelta(hours=24),
        keep: int = 0,
        max_size: int | None = None,
        dry_run: bool = False,
    ) -> Collected:
        """Collects garbage: images not used within the grace period and not among the newest `keep` of their
        name, the least recently used beyond `max_size` bytes, and every byte that nothing refers to."""
        with self._disk.workspace.writing():
            return collect(Rules(grace_period, keep, max_size, dry_run), _now(), self._disk)

    gc = collect


def _now() -> datetime:
    return datetime.now(UTC)


def _refuse_if_in_use(image: StoredImage, users: Sequence[StoredImage]) -> None:
    if image.pinned:
        raise ImageInUse(f"{image.image_name} is pinned", next_step=f"acistore rm --force {image.id}")
    if users:
        raise ImageInUse(
            f"{image.image_name} is needed by {users[0].image_name}",
            facts={"id": str(image.id)} | {"needed by": ", ".join(str(user.id) for user in users)},
            next_step=f"acistore rm --force {image.id}",
        )


def _prepare(database: Database) -> None:
    """Makes the tables in a new database, upgrades those of an older one, refuses a newer one."""
    revision = _revision(database)
    if revision == schema.REVISION:
        return
    if revision is None:
        with database.write() as connection:
            if not inspect(connection).has_table(schema.version.name):
                schema.create(connection)
        return
    from acistore.store import migrate  # noqa: PLC0415 - Alembic takes longer to import than most commands run

    if revision not in {UNFINISHED, *migrate.known_revisions()}:
        raise StoreTooNew(
            f"the store {database.path.parent} was written by a newer acistore",
            facts={"schema": revision, "known here": schema.REVISION},
            next_step="upgrade acistore",
        )
    migrate.upgrade(database.path)


def _revision(database: Database) -> str | None:
    """The schema's revision; None where no schema was made yet."""
    with database.read() as connection:
        if not inspect(connection).has_table(schema.version.name):
            return None
        return connection.execute(select(schema.version.c.version_num)).scalar_one_or_none() or UNFINISHED
