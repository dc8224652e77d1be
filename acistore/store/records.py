"""The values that the store takes and gives. They hold no connection and no open file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from acistore.errors import StoreDamaged
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image in the store. `size` is the bytes of its uncompressed tar; times are UTC."""

    key: int = field(repr=False)
    id: ImageID
    name: str
    labels: Mapping[str, str]
    size: int
    imported_at: datetime
    last_used_at: datetime
    pinned: bool
    latest: bool
    raw_manifest: bytes = field(repr=False)

    @property
    def image_name(self) -> ImageName:
        """The name with its labels."""
        return ImageName(self.name, self.labels)

    @property
    def manifest(self) -> ImageManifest:
        """The manifest, parsed anew each time."""
        return ImageManifest.parse(self.raw_manifest)


@dataclass(frozen=True, slots=True)
class Admission:
    """Why an image was let in: the key and rule that spoke for it, or which checks were switched off.

    `verdict` is `verified`: a key signed it that is trusted for its name; `unsigned`: it has no signature, and a
    policy allows that; or `unverified`: checks were switched off. Where several signers were needed there is one
    for each of them, all with the same `admitted_at`.

    `fingerprint` is the primary key's, `signing_fingerprint` that of the key that signed, which may be a subkey.
    `rule` is the prefix that the key is trusted for, or `root`; `signature_digest` the SHA-512 of the signature
    file as it was verified; `url` where the image came from, a path for a local file.
    """

    verdict: str
    admitted_at: datetime
    scheme: str | None = None
    fingerprint: str | None = None
    signing_fingerprint: str | None = None
    signer: str | None = None
    rule: str | None = None
    signature_digest: bytes | None = None
    signed_at: datetime | None = None
    signature_expires_at: datetime | None = None
    url: str | None = None
    insecure: tuple[str, ...] = ()

    @property
    def is_checked(self) -> bool:
        """Whether the rules of trust let the image in, rather than somebody who had switched them off."""
        return self.verdict in ("verified", "unsigned")


@dataclass(frozen=True, slots=True)
class Newest:
    """What of a name, with all its labels but `version`, was last admitted as latest, be it in the store or not.

    `created` is when the image was made by its own word (UTC), None where that is not known; `admitted_at` when
    it was last asked for as latest.
    """

    id: ImageID
    version: str | None
    created: datetime | None
    admitted_at: datetime


@dataclass(frozen=True, slots=True)
class Remote:
    """What is known of an image's URL, for the next time that it is asked: RFC 9111 validators and freshness.

    `asked` is the image name that discovery found the URL for, None for a URL that was asked for itself;
    `max_age` is seconds, None where the server didn't say. `place` is where redirects ended, whose the validators
    are: without its query, of which a `?` tells; None where there were none. `signature_etag`,
    `signature_last_modified` and `signature_place` are the same of the signature.
    """

    url: str
    asked: str | None
    signature_url: str | None
    etag: str | None
    last_modified: str | None
    max_age: int | None
    fetched_at: datetime
    signature_etag: str | None = None
    signature_last_modified: str | None = None
    place: str | None = None
    signature_place: str | None = None

    def fresh_until(self, longest: float) -> datetime:
        """Until when the server need not be asked, by its own word, of which `longest` seconds are believed."""
        return self.fetched_at + timedelta(seconds=min(self.max_age or 0, longest))

    def is_fresh(self, now: datetime, longest: float) -> bool:
        """Whether it need not be asked yet. What was fetched in the future was so by a clock that was wrong."""
        return self.fetched_at <= now < self.fresh_until(longest)


@dataclass(frozen=True, slots=True)
class Location:
    """Where bytes lie: a range of a pack. Offset and length in bytes. Raises StoreDamaged for what is none."""

    pack: str
    offset: int
    length: int

    def __post_init__(self) -> None:
        if not (isinstance(self.offset, int) and isinstance(self.length, int) and isinstance(self.pack, str)):
            raise StoreDamaged(
                f"the store's database says of content that it lies at {self.offset!r} in {self.pack!r}",
                next_step="acistore verify --repair",
            )


@dataclass(frozen=True, slots=True)
class LiveContents:
    """What of a pack is referred to: bodies by their digest; skeletons, with theirs, by the key of their image."""

    bodies: Mapping[bytes, Location]
    skeletons: Mapping[int, tuple[bytes, Location]]


@dataclass(frozen=True, slots=True)
class PackState:
    """How large a pack is, how much of it is dead (in bytes), and how many bodies and skeletons are alive."""

    name: str
    size: int
    dead_size: int
    contents: int


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it was stored.

    `image` and the `path` inside of it where these are known; `pack` is the name of a pack whose bytes are
    wrong. `in_index`: it is the database that is wrong, not what was stored.
    """

    image: StoredImage | None
    what: str
    path: str | None = None
    pack: str | None = None
    in_index: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    images_checked: int
    bytes_checked: int
    damaged: tuple[Damage, ...]

    @property
    def content_ok(self) -> bool:
        """Whether what was stored is right, whatever the index says of it besides."""
        return all(each.in_index for each in self.damaged)

    @property
    def ok(self) -> bool:
        return not self.damaged


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection did, or would do.

    `compacted` are the packs that were written anew, `downloads` those that were not complete, and with which the
    next fetch would have gone on; `freed_size` is bytes on disk.
    """

    dry_run: bool
    images: tuple[tuple[StoredImage, str], ...]
    blobs: int
    packs: int
    compacted: int
    downloads: int
    freed_size: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store holds. Sizes in bytes: `apparent_size` of all tars, `unique_size` of all distinct bodies,
    `disk_size` of the blocks that the store occupies, `reserve_size` of those kept for a full disk,
    `downloads_size` of those of downloads that are not complete, `reclaimable_size` of what a collection without a
    grace period would free; `per_image` each image with the bytes of bodies that only it needs."""

    images: int
    apparent_size: int
    unique_size: int
    disk_size: int
    reserve_size: int
    downloads_size: int
    reclaimable_size: int
    per_image: tuple[tuple[StoredImage, int], ...]

    @property
    def saved_size(self) -> int:
        """What is saved against a file for each tar; less than nothing in a small store."""
        return self.apparent_size - self.disk_size


@dataclass(frozen=True, slots=True)
class Incomplete:
    """An image that packs tell of, and of which bodies are nowhere: what is needed to fetch it again.

    `known`: the old database still had it; otherwise it may have been removed on purpose.
    """

    id: ImageID
    name: ImageName
    admissions: tuple[Admission, ...]
    remote: Remote | None
    latest: bool
    pinned: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of an index that was made again from the packs.

    `state_known`: pins and last use could be taken over from the old database. `removed_known`: so could which
    images had been removed; otherwise those are back whose packs were still there. `aside` is where the old
    database is now, if there was one; `unreadable` are packs that say nothing of themselves any more.
    """

    images: int
    incomplete: tuple[Incomplete, ...]
    unreadable: tuple[str, ...]
    state_known: bool
    removed_known: bool
    aside: str | None
