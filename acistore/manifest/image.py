"""ImageManifest: what an image says about itself (appc spec, aci.md § Image Manifest Schema)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from acistore.manifest.app import App
from acistore.manifest.fields import Field, decode, shown
from acistore.manifest.values import check_date, check_semver, check_url
from acistore.naming import (
    ARCHS_OF_OS,
    ImageID,
    ImageName,
    Labels,
    check_identifier,
    check_label_name,
    quoted,
)

_KIND = "ImageManifest"
_LARGEST_UINT64 = 2**64 - 1
_ANNOTATION_CHECKS = {"created": check_date, "homepage": check_url, "documentation": check_url}


@dataclass(frozen=True, slots=True)
class Dependency:
    """An image whose files go below this one's; `size` is in bytes, of the image as it is served."""

    name: str
    labels: Mapping[str, str]
    image_id: ImageID | None
    size: int | None

    @classmethod
    def read(cls, source: Field) -> "Dependency":
        """From an element of `dependencies`. Raises InvalidManifest."""
        image_id = source.optional("imageID")
        size = source.optional("size")
        return cls(
            name=source.required("imageName").checked(check_identifier),
            labels=_read_labels(source),
            image_id=None if image_id is None else image_id.checked(ImageID.parse),
            # A size of 0 is the reference's way to write that there is none.
            size=None if size is None else size.integer(0, _LARGEST_UINT64) or None,
        )

    @property
    def image_name(self) -> ImageName:
        """Name and labels, as discovery is asked for them."""
        return ImageName(self.name, self.labels)

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        optional = {
            "imageID": None if self.image_id is None else str(self.image_id),
            "labels": _canonical_pairs(self.labels),
            "size": self.size,
        }
        return {"imageName": self.name} | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """A manifest that keeps to the schema, with the bytes and the document that it was read from.

    `document` is the parsed JSON, unknown fields included. Two manifests are equal when their bytes are.
    """

    raw: bytes = field(repr=False)
    document: Mapping[str, object] = field(repr=False, compare=False)
    ac_version: str = field(compare=False)
    name: str = field(compare=False)
    labels: Mapping[str, str] = field(compare=False)
    app: App | None = field(compare=False)
    annotations: Mapping[str, str] = field(compare=False)
    dependencies: tuple[Dependency, ...] = field(compare=False)
    path_whitelist: tuple[str, ...] = field(compare=False)

    @classmethod
    def parse(cls, raw: bytes) -> "ImageManifest":
        """Read a manifest, whose size the caller has bounded.

        Raises InvalidManifest, whose message begins with the path of the field (`app.ports[0].port`), or with
        `manifest` for what concerns the whole. Stricter than the reference where the spec is.
        """
        document = decode(raw)
        kind = document.required("acKind")
        if kind.text() != _KIND:
            raise kind.refusal(f"{shown(kind.value)} is not {quoted(_KIND)}")
        app = document.optional("app")
        return cls(
            raw=raw,
            document=document.members(),
            ac_version=document.required("acVersion").checked(check_semver),
            name=document.required("name").checked(check_identifier),
            labels=_read_labels(document),
            app=None if app is None else App.read(app),
            annotations=_read_annotations(document),
            dependencies=tuple(Dependency.read(element) for element in document.elements("dependencies")),
            path_whitelist=tuple(_read_path(element) for element in document.elements("pathWhitelist")),
        )

    @property
    def image_name(self) -> ImageName:
        """The name that the image gives itself, with all its labels."""
        return ImageName(self.name, self.labels)

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes: the known fields, without empty ones."""
        optional: dict[str, object] = {
            "labels": _canonical_pairs(self.labels),
            "app": None if self.app is None else self.app.canonical(),
            "annotations": _canonical_pairs(self.annotations),
            "dependencies": [dependency.canonical() for dependency in self.dependencies],
            "pathWhitelist": list(self.path_whitelist),
        }
        required: dict[str, object] = {"acKind": _KIND, "acVersion": self.ac_version, "name": self.name}
        return required | {name: value for name, value in optional.items() if value}


def _read_labels(owner: Field) -> Labels:
    fields = owner.named_values("labels", check_label_name)
    labels = Labels((name, value.text()) for name, value in fields.items())
    if "os" in labels:
        archs = ARCHS_OF_OS.get(labels["os"])
        if archs is None:
            raise fields["os"].refusal(f"{quoted(labels['os'])} is not a known os: {', '.join(ARCHS_OF_OS)}")
        if "arch" in labels and labels["arch"] not in archs:
            arch = quoted(labels["arch"])
            raise fields["arch"].refusal(f"{arch} is not an arch of {labels['os']}: {', '.join(archs)}")
    return labels


def _read_annotations(document: Field) -> Mapping[str, str]:
    fields = document.named_values("annotations", check_identifier)
    for name, check in _ANNOTATION_CHECKS.items():
        if name in fields:
            fields[name].checked(check)
    return MappingProxyType({name: value.text() for name, value in fields.items()})


def _read_path(element: Field) -> str:
    if not element.text().startswith("/"):
        raise element.refusal(f"{shown(element.value)} is not an absolute path")
    return element.text()


def _canonical_pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]
