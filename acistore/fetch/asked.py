"""What was asked for: how the text that a person gives is read, and what an image must be to be the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from acistore.errors import FileUnusable, ImageMismatch, InvalidName
from acistore.manifest import Dependency, ImageManifest
from acistore.naming import ImageID, ImageName, quoted
from acistore.net.urls import is_url
from acistore.trust.keys import Scheme

_SUFFIXES: Mapping[Scheme, str] = {"openpgp": ".asc", "ssh": ".sig"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an image has to be. `shown` is what it is called in messages.

    `name` is None when any name is right, as for a URL; `size` bounds the download in bytes. `is_named`: a person
    has named it; else another image needs it.
    """

    shown: str
    name: ImageName | None = None
    image_id: ImageID | None = None
    size: int | None = None
    is_named: bool = field(default=True, compare=False)

    @classmethod
    def by_name(cls, name: ImageName) -> "Asked":
        return cls(str(name), name)

    @classmethod
    def as_dependency(cls, dependency: Dependency) -> "Asked":
        """By name and labels, and by ID and size where the manifest pins them (appc spec, aci.md § Dependency
        Matching)."""
        name = dependency.image_name
        return cls(str(name), name, dependency.image_id, dependency.size, is_named=False)

    @property
    def as_latest(self) -> bool:
        """Whether it is the newest version that is wanted, whatever that is."""
        return self.name is not None and not self.name.version and self.image_id is None

    def fits(self, image_id: ImageID, manifest: ImageManifest) -> bool:
        """Whether an image is the one asked for: by its ID where that is demanded (appc spec, aci.md § Dependency
        Matching), otherwise by its labels (discovery.md § Validation)."""
        return not self._problems(image_id, manifest)

    def check(self, image_id: ImageID, manifest: ImageManifest) -> None:
        """Raises ImageMismatch when the image is another one."""
        if problems := self._problems(image_id, manifest):
            next_step = "ask its publisher: the image at this place is another one"
            if self.is_named and self.name and self.name.version == "latest":
                next_step = f"if the newest is wanted, without a version: acistore fetch {self.name.name}"
            raise ImageMismatch(
                f"{self.shown} is not what was asked for: {problems[0]}",
                facts={"asked for": str(self.name or self.image_id), "found": str(manifest.image_name)},
                next_step=next_step,
            )

    def _problems(self, image_id: ImageID, manifest: ImageManifest) -> list[str]:
        problems = []
        if self.name is not None:
            if manifest.name != self.name.name:
                problems.append(f'name "{self.name.name}" was asked for, and the image has "{manifest.name}"')
            problems += self.name.mismatches(manifest.labels) if self.image_id is None else ()
        if self.image_id not in (None, image_id):
            problems.append(f"ID {self.image_id} is demanded, and the image has {image_id}")
        return problems


def is_path(text: str) -> bool:
    return text.startswith(("/", ".", "file:"))


def path_of(text: str) -> Path:
    """The path that `/…`, `./…` or `file:…` means. Raises FileUnusable for a `file:` URL of another host."""
    if not text.startswith("file:"):
        return Path(text)
    parts = _split(text)
    if parts.netloc not in ("", "localhost"):
        raise FileUnusable(f"{text} is on another host: {parts.netloc}")
    return Path(unquote(parts.path))


def signatures_beside(place: str) -> Mapping[Scheme, str]:
    """Where the signatures of an image are unless something else is said: `.asc` (OpenPGP) or `.sig` (SSH) behind
    its URL's path, or path."""
    if not is_url(place):
        return {scheme: place + suffix for scheme, suffix in _SUFFIXES.items()}
    parts = _split(place)
    return {scheme: urlunsplit(parts._replace(path=parts.path + suffix)) for scheme, suffix in _SUFFIXES.items()}


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InvalidName(f"{quoted(url)} is not a URL: {error}") from None
