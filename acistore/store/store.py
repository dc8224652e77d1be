"""Store: the face that everyone else sees. Each job has a file of its own beside this one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from sqlalchemy import Connection

from acistore.archive.tar import Entry
from acistore.config import Limits
from acistore.errors import DiskFull, ImageNotFound, StoreDamaged
from acistore.events import log_of
from acistore.naming import ImageID, ImageName
from acistore.progress import Progress, Silent
from acistore.store import changes, difference, index, inside, lookup
from acistore.store.choose import Rules
from acistore.store.collect import collect, plan
from acistore.store.difference import Change
from acistore.store.disk import Disk
from acistore.store.export import export
from acistore.store.heal import heal
from acistore.store.ingest import Admit, ingest
from acistore.store.inside import Occurrence
from acistore.store.latest import LatestRule, admit_as_latest, as_newest
from acistore.store.opening import open_disk
from acistore.store.rebuild import rebuild
from acistore.store.records import Admission, Collected, Newest, Rebuilt, Remote, StoredImage, Usage, VerifyReport
from acistore.store.remove import remove
from acistore.store.rewrite import rewrite
from acistore.store.spool import Spool
from acistore.store.usage import usage
from acistore.store.verify import verify

Result = TypeVar("Result")

# What helps when there is not even room for a collection.
MAKE_ROOM = "delete something else on this disk, a few MiB, then: acistore gc"

log = log_of(__name__)


class Store:
    """A store of images in a directory. Any number of threads and processes may use one at a time.

    Opened with `Store.open`, closed by leaving its `with` block.
    """

    def __init__(self, disk: Disk, resources: ExitStack) -> None:
        self._disk = disk
        self._database = disk.database
        self._resources = resources
        self.spool = Spool(disk.workspace)

    @classmethod
    def open(cls, directory: Path | str) -> Self:
        """Opens the store in a directory; makes it when there is none, upgrades it when it is older.

        Where the directory can only be read, so can the store: what would change it raises StoreUnavailable.
        Raises StoreUnavailable, DiskFull, StoreTooNew, StoreDamaged.
        """
        with ExitStack() as resources:
            disk = open_disk(Path(directory), resources)
            return cls(disk, resources.pop_all())

    @property
    def writable(self) -> bool:
        """Whether this process may change the store."""
        return self._database.writable

    def require_writable(self) -> None:
        """Raises StoreUnavailable where the store can only be read: before work begins that would be in vain."""
        self._database.require_writable()

    def close(self) -> None:
        """Closes what is open of it; another close does nothing."""
        self._resources.close()

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
        latest: LatestRule | None = None,
        asked: ImageName | None = None,
        limit: int = Limits().unpacked_size,
    ) -> StoredImage:
        """Stores an image archive, plain or compressed, and returns the image under its computed ID.

        `archive` is read from its beginning and must be seekable. `admit(image_id, manifest)` returns who has let
        the image in, or raises to refuse it; without it the image is recorded as not verified. `latest` is the
        rule for an image that is fetched as latest: `latest(last, now)` is given what was last admitted so of
        this name and what would be now, inside the transaction, and raises to refuse that, or returns what is to
        be noted instead; images recorded as not verified it isn't asked about. `asked` is the name that the image
        was asked for by, for which the rule is asked, too. `limit` bounds the plain tar in bytes. Raises
        ArchiveRefused, InvalidManifest and what `admit` and `latest` raise; nothing of a refused image stays. An
        image that is there already, and damaged, is mended.
        """
        with self._disk.workspace.writing():
            stored, new = ingest(
                archive,
                self._disk,
                limit=limit,
                admit=admit or (lambda _id, _manifest: [Admission("unverified", _now())]),
                remote=remote,
                latest=latest,
                asked=asked,
            )
            if not new and not self.verify([stored]).content_ok:
                heal(stored, archive, self._disk, limit=limit)
                log.warning(
                    "%s was damaged in the store, and is mended with what was added now", stored.image_name
                )
            self._disk.workspace.lay_in_reserve()
        return stored

    # --- look

    def get(self, wanted: str | ImageID | ImageName) -> StoredImage:
        """The image that is meant: by ID, by a unique prefix of one (`sha512-` and 2 or more hex digits), or
        by name and labels. Raises ImageNotFound, AmbiguousImage, InvalidName."""
        with self._database.read() as connection:
            return lookup.get(connection, wanted)

    def matches(self, name: ImageName) -> Sequence[StoredImage]:
        """The images of that name with at least those labels, the best first: exact labels, then the one
        fetched as latest, then the newest import."""
        with self._database.read() as connection:
            return index.images_by_name(connection, name)

    def find(self, name: ImageName) -> StoredImage:
        """The best of the `matches`. Raises ImageNotFound."""
        with self._database.read() as connection:
            return lookup.find(connection, name)

    def list(self) -> Sequence[StoredImage]:
        """Every image, newest import first."""
        with self._database.read() as connection:
            return index.images(connection)

    def admissions(self, image: StoredImage) -> Sequence[Admission]:
        """Every time the image was let in, newest first; of one time, one for each signer that was needed."""
        with self._database.read() as connection:
            return index.admissions_of(connection, _stored(image))

    def all_admissions(self) -> Mapping[int, Sequence[Admission]]:
        """The `admissions` of every image at once, by the image's `key`."""
        with self._database.read() as connection:
            return index.all_admissions(connection)

    def images_admitted_by(self, fingerprint: str, rule: str | None = None) -> Sequence[StoredImage]:
        """The images that a key has let in; `fingerprint` is its primary one in lower-case hex. `rule` is a prefix
        or `root`, for those alone that it has let in through that."""
        with self._database.read() as connection:
            return index.images_admitted_by(connection, fingerprint, rule)

    def newest(self, name: ImageName) -> Newest | None:
        """What was last admitted as latest of an image's own name and labels, whatever their version. It is
        known when the image is gone, too. None where nothing was, but for what was not verified."""
        with self._database.read() as connection:
            return index.newest_of(connection, name)

    def remotes(self, image: StoredImage) -> Sequence[Remote]:
        """Where the image was fetched from, newest first."""
        with self._database.read() as connection:
            return index.remotes_of(connection, _stored(image))

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
            return index.file_count(connection, _stored(image))

    def unique_size(self, image: StoredImage) -> int:
        """The bytes of file bodies that only this image needs."""
        with self._database.read() as connection:
            return index.unique_size(connection, _stored(image))

    def verify(
        self, images: Sequence[StoredImage] | None = None, *, progress: Progress | None = None
    ) -> VerifyReport:
        """Hashes images again, or with None everything: database, packs, images. Damage is in the report."""
        wanted = None if images is None else [_stored(image) for image in images]
        return verify(wanted, self._disk, progress or Silent())

    def heal(self, image: StoredImage, archive: BinaryIO, *, limit: int = Limits().unpacked_size) -> None:
        """Replaces what is damaged of an image by what a copy of its archive has, plain or compressed, whoever
        that came from: its SHA-512 has to be the image ID. Raises ImageMismatch, ArchiveRefused, DiskFull."""
        with self._disk.workspace.writing():
            heal(_stored(image), archive, self._disk, limit=limit)

    def rewrite(self, packs: Iterable[str]) -> Sequence[str]:
        """Writes what is needed of packs to new ones, which mends what is damaged beside it; returns those in
        which something is damaged that is needed, and which stay as they are."""
        with self._disk.workspace.writing():
            return [name for name in packs if not self._rewritten(name)]

    def _rewritten(self, pack: str) -> bool:
        try:
            rewrite(pack, self._disk)
        except StoreDamaged:
            return False
        return True

    @staticmethod
    def rebuild(directory: Path | str) -> Rebuilt:
        """Makes the index of a store again from its packs; nobody may have the store open, or is waited for.

        Raises StoreUnavailable, DiskFull.
        """
        return rebuild(Path(directory))

    # --- inside

    def files(self, image: ImageID | StoredImage) -> Sequence[Entry]:
        """Every file of the image, its rootfs being `/`, a directory before what is in it.

        This and what follows is no use of an image that a collection would respect. Raises ImageNotFound,
        StoreDamaged.
        """
        return inside.files(self._given(image), self._disk)

    @contextmanager
    def read_file(self, image: ImageID | StoredImage, path: str) -> Iterator[Iterator[bytes]]:
        """The content of a file of the image, in pieces, while its `with` block lasts.

        Symbolic links are followed as in a system that has the image's rootfs as its root, hard links as well; a
        sparse file has its holes. The path is absolute, with or without its first slash. Raises PathNotFound,
        FileUnusable for what is not a file, StoreDamaged, at the latest before the last piece, when the content
        is not what was stored, and ImageNotFound.
        """
        with inside.open_file(self._given(image), path, self._disk) as pieces:
            yield pieces

    def diff(self, old: ImageID | StoredImage, new: ImageID | StoredImage) -> Sequence[Change]:
        """How the files of two images differ, a directory before what is in it."""
        return difference.diff(self._given(old), self._given(new), self._disk)

    def which(self, wanted: str) -> Sequence[Occurrence]:
        """The images that hold a path (with or without its first slash; no link is followed) or a body
        (`sha512-` and 128 hex digits), the newest import first. Raises InvalidName for a digest that is none."""
        return inside.which(wanted, self._disk)

    def _given(self, image: ImageID | StoredImage) -> StoredImage:
        return self.get(image) if isinstance(image, ImageID) else _stored(image)

    # --- out

    def export(self, image: ImageID | StoredImage, out: BinaryIO) -> StoredImage:
        """Writes the identical uncompressed tar. Raises ImageNotFound, and StoreDamaged when what was written
        is not the image."""
        stored = self._given(image)
        export(stored, out, self._disk)
        self.touch(stored)
        return stored

    # --- keep

    def record_fetch(
        self,
        image: StoredImage,
        *,
        remote: Remote | None = None,
        latest: LatestRule | None = None,
        asked: ImageName | None = None,
        checked: bool = True,
    ) -> None:
        """Notes that an image that is here already was asked for again, and what its server said.

        `latest` and `asked` are as for `add`: what is refused is not noted. `checked=False`: who admits the image
        was not looked at this time; then `latest` isn't asked, and what was last admitted as latest stays the
        same. Raises ImageNotFound when the image was removed meanwhile, and what `latest` raises.
        """
        with self._database.write() as connection:
            here, now = _still_here(connection, image), _now()
            if latest and checked:
                admissions = index.admissions_of(connection, here)
                newest = as_newest(here.id, here.manifest, now)
                admit_as_latest(connection, here.image_name, newest, admissions, latest, asked=asked)
            changes.record_use(connection, here, now)
            if remote:
                changes.record_remote(connection, here, remote)
            if latest:
                changes.record_latest(connection, here)

    def touch(self, image: StoredImage) -> None:
        """Notes that the image was used now, which a garbage collection respects. Where nothing can be noted, on
        a full disk or one that can only be read, nothing is."""
        if self.writable:
            try:
                with self._database.write() as connection:
                    changes.record_use(connection, _stored(image), _now())
            except DiskFull as error:
                log.info("the use of %s was not noted: %s", image.id, error.message)

    def pin(self, image: StoredImage) -> None:
        """Keeps the image until it is unpinned: `collect` and `remove` leave it alone. Raises ImageNotFound."""
        self._set_pinned(image, True)

    def unpin(self, image: StoredImage) -> None:
        """Ends what `pin` began. Raises ImageNotFound."""
        self._set_pinned(image, False)

    def _set_pinned(self, image: StoredImage, pinned: bool) -> None:
        def job() -> None:
            with self._database.write() as connection:
                changes.record_pin(connection, _still_here(connection, image), pinned)

        self._with_reserve(job)

    def remove(self, images: Iterable[StoredImage], *, force: bool = False) -> int:
        """Takes images out, all or none; returns the bytes that the next collection can free.

        Raises ImageInUse for one that is pinned, or needed by another that stays, unless `force`.
        """
        keys = {_stored(image).key for image in images}
        return self._with_reserve(partial(remove, keys, self._disk, force=force))

    def _with_reserve(self, job: Callable[[], Result]) -> Result:
        """Does what little has to be done even on a full disk: then the room that was kept for it is used."""
        with suppress(DiskFull):
            return job()
        self._disk.workspace.give_up_reserve()
        try:
            return job()
        except DiskFull as error:
            error.next_step = MAKE_ROOM
            raise

    def usage(self) -> Usage:
        """What the store holds, and what it occupies on disk."""
        return usage(self._disk, _now())

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
        rules = Rules(grace_period, keep, max_size)
        if dry_run:
            return plan(rules, _now(), self._disk)
        self.require_writable()
        with self._disk.workspace.writing():
            try:
                collected = collect(rules, _now(), self._disk)
            except DiskFull as error:
                error.next_step = MAKE_ROOM
                raise
            self._disk.workspace.lay_in_reserve()
        return collected

    gc = collect


def _now() -> datetime:
    return datetime.now(UTC)


def _stored(image: object) -> StoredImage:
    """The image itself. Raises TypeError for anything else, such as a name or what a fetch returns."""
    if not isinstance(image, StoredImage):
        raise TypeError(f"an image of the store (StoredImage) is needed, not {type(image).__name__}")
    return image


def _still_here(connection: Connection, image: StoredImage) -> StoredImage:
    """The image as it is in the store now, maybe under another key: it can have been removed and stored again."""
    here = index.image_by_id(connection, _stored(image).id)
    if here is None:
        raise ImageNotFound(f"{image.id} was removed from the store")
    return here
