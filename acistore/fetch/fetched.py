"""What a fetch returns."""

from dataclasses import dataclass
from datetime import datetime

from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.store import StoredImage


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image that was asked for, and where it came from. `reused`: the store's own was still good."""

    image: StoredImage
    source: str
    fetched_at: datetime
    reused: bool
    bytes_downloaded: int

    @property
    def id(self) -> ImageID:
        """The SHA-512 of the uncompressed tar."""
        return self.image.id

    @property
    def name(self) -> str:
        """Without labels, as the manifest has it."""
        return self.image.name

    @property
    def labels(self) -> dict[str, str]:
        """As the manifest has them."""
        return dict(self.image.labels)

    @property
    def size(self) -> int:
        """Bytes of the uncompressed tar."""
        return self.image.size

    @property
    def manifest(self) -> ImageManifest:
        """The manifest, parsed."""
        return self.image.manifest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one of several images: `result` is the image, or what `fetch` would have raised. `position` is
    where among all it was asked for, from 0."""

    position: int
    wanted: str | ImageName
    result: Fetched | Exception
