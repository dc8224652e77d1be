"""A damaged store is mended: from its own packs, from where its images came from, and else by leaving images out.

What is fetched here needs no signature: it is what the image ID stands for, or it is not taken.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from acistore.config import Config
from acistore.errors import AcistoreError, DiskFull, FileUnusable, ImageMismatch, StoreDamaged
from acistore.events import log_of
from acistore.fetch.asked import path_of
from acistore.fetch.places import mirrored
from acistore.manifest import ImageManifest
from acistore.naming import ImageID
from acistore.net.client import Client
from acistore.net.transfer import download
from acistore.net.urls import is_url
from acistore.progress import Progress
from acistore.store import Admission, Store, StoredImage, always
from acistore.store.records import Incomplete, Rebuilt, VerifyReport
from acistore.store.sqlite import NONSENSE

log = log_of(__name__)

Consent = Callable[[Sequence[StoredImage]], bool]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair came to. `report` is a check of the whole store afterwards."""

    report: VerifyReport
    repaired: tuple[StoredImage, ...]
    dropped: tuple[StoredImage, ...]
    lost: tuple[Incomplete, ...]
    rebuilt: Rebuilt | None


class Repairer:
    """Mends the store of a configuration. `consent` is asked before images are dropped that can't be mended."""

    def __init__(self, config: Config, *, progress: Progress, consent: Consent) -> None:
        self._config = config
        self._progress = progress
        self._consent = consent

    def repair(self) -> Repaired:
        """Mends what it can, and checks the store again. Raises StoreUnavailable, DiskFull, StoreTooNew."""
        first, rebuilt = self._mend_index()
        with Store.open(self._config.dir) as store, Client(self._config) as client:
            restored, lost = self._restore(store, client, rebuilt.incomplete if rebuilt else ())
            report = store.verify(progress=self._progress)
            healed, broken = self._heal(store, client, report)
            dropped = broken if broken and self._consent(broken) else []
            store.remove(dropped, force=True)
            store.rewrite(_damaged_packs(report))
            if not report.ok:
                report = store.verify(progress=self._progress)
        mended = {image.id: image for image in (*first, *restored, *healed)}
        return Repaired(report, tuple(mended.values()), tuple(dropped), lost, rebuilt)

    def _mend_index(self) -> tuple[Sequence[StoredImage], Rebuilt | None]:
        """Makes the index again if anything is wrong with it, else None. What could be mended with the damaged
        one comes first."""
        healed: Sequence[StoredImage] = ()
        try:
            with Store.open(self._config.dir) as store, Client(self._config) as client:
                store.require_writable()
                report = store.verify(progress=self._progress)
                if not any(each.in_index for each in report.damaged):
                    return healed, None
                # The old index still knows where things are in packs that have forgotten it themselves.
                healed, _broken = self._heal(store, client, report)
                store.rewrite(_damaged_packs(report))
        except (StoreDamaged, *NONSENSE) as error:
            log.info("the index can't be used as it is: %s", error)
        self._progress.step("making the database again from the packs")
        return healed, Store.rebuild(self._config.dir)

    def _heal(
        self, store: Store, client: Client, report: VerifyReport
    ) -> tuple[list[StoredImage], list[StoredImage]]:
        """Replaces what is damaged of images from where they came from; returns those that are well again, and
        those that aren't."""
        healed: list[StoredImage] = []
        broken: list[StoredImage] = []
        damaged = {each.image.key: each.image for each in report.damaged if each.image and not each.in_index}
        for image in damaged.values():
            self._progress.step(f"mending {image.image_name}")
            urls = [each.url for each in store.remotes(image)]
            places = [*urls, *(each.url for each in store.admissions(image) if each.url)]
            places += [each.image_url for each in mirrored(image.image_name, self._config.mirrors)]
            heal = partial(store.heal, image, limit=min(image.size, self._config.limits.unpacked_size))
            # What another image has in common with it may have been mended with that one.
            well = store.verify([image]).content_ok or self._from_any(places, heal, store, client)
            (healed if well else broken).append(image)
        return healed, broken

    def _restore(
        self, store: Store, client: Client, incomplete: Sequence[Incomplete]
    ) -> tuple[list[StoredImage], tuple[Incomplete, ...]]:
        """Fetches images again that the packs tell of, and of which they don't have everything: but none that may
        have been removed on purpose, since its key was revoked, say."""
        restored, lost = [], []
        for each in incomplete:
            self._progress.step(f"fetching {each.name} again")
            urls = [each.remote and each.remote.url, *(admission.url for admission in each.admissions)]
            places = [url for url in urls if url]
            places += [mirror.image_url for mirror in mirrored(each.name, self._config.mirrors)]
            if each.known and self._from_any(places, partial(self._add_again, store, each), store, client):
                image = store.get(each.id)
                if each.pinned:
                    store.pin(image)
                store.touch(image)  # it was last used nobody knows when: not so long ago that the next gc takes it
                restored.append(image)
            else:
                lost.append(each)
        return restored, tuple(lost)

    def _add_again(self, store: Store, wanted: Incomplete, archive: BinaryIO) -> None:
        def admit(image_id: ImageID, _manifest: ImageManifest) -> Sequence[Admission]:
            if image_id != wanted.id:
                raise ImageMismatch(f"what is there now is another image than {wanted.name} was: {image_id}")
            return wanted.admissions

        limit = self._config.limits.unpacked_size
        newest = store.newest(wanted.name)
        # A repair says nothing new: what was last admitted as latest may be another one, which has gone since.
        latest = always if wanted.latest and (newest is None or newest.id == wanted.id) else None
        store.add(archive, admit=admit, remote=wanted.remote, latest=latest, limit=limit)

    def _from_any(
        self, places: Sequence[str], use: Callable[[BinaryIO], object], store: Store, client: Client
    ) -> bool:
        """Whether one of these places has an archive that is of use."""
        for place in dict.fromkeys(places):
            try:
                with self._archive(place, store, client) as archive:
                    use(archive)
            except DiskFull:
                raise
            except AcistoreError as error:
                log.warning("%s is of no help: %s", place, error.message)
            else:
                return True
        return False

    @contextmanager
    def _archive(self, place: str, store: Store, client: Client) -> Iterator[BinaryIO]:
        """What is at a URL or path, to be read from its beginning."""
        if is_url(place):
            most = self._config.limits.image_size
            with store.spool.file(
                place, waiting=lambda: self._progress.step(f"waiting for another fetch of {place}"), resume=True
            ) as spool:
                spool.keep = bool(spool.size)  # a fetch has kept it
                download(client, place, spool, limit=most, option="limits.image_size", progress=self._progress)
                spool.keep = False
                yield spool
            return
        path = path_of(place)
        if not path.is_file():
            raise FileUnusable(f"{place} is no file any more")
        try:
            file = path.open("rb")
        except OSError as error:
            raise FileUnusable(f"{place} can't be read: {error.strerror}") from error
        with file:
            yield file


def _damaged_packs(report: VerifyReport) -> list[str]:
    return list(dict.fromkeys(each.pack for each in report.damaged if each.pack))
