"""Names of images, their labels and their IDs: parsed once, and right from then on.

Text of a name, identifiers and IDs only: finding an image by its name is discovery, and what a manifest may
hold is the manifest's business. Rules: appc spec, types.md; where its regular expressions and the reference
implementation disagree (`a//b`, `a/-b`), the reference is followed, since such names are in use.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from acistore.errors import InvalidName

_IDENTIFIER = re.compile(r"[a-z0-9](?:[a-z0-9._~/-]*[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_IMAGE_ID = re.compile(r"sha512-([0-9a-fA-F]{128})")

_NAME_EXAMPLE = "write a name like example.com/app:1.0,os=linux,arch=amd64"
_SHOWN_LENGTH = 100

# Kernel names of machines to appc's, where they differ (appc spec, schema/types/labels.go).
_ARCH_ALIASES = {
    "x86_64": "amd64",
    "arm64": "aarch64",
    "armv8l": "armv7l",  # a 32-bit system on a 64-bit processor
    "i486": "i386",
    "i586": "i386",
    "i686": "i386",
}

# What each `os` that a manifest may name runs on, in the same spelling.
ARCHS_OF_OS: Mapping[str, tuple[str, ...]] = {
    "darwin": ("i386", "x86_64"),
    "freebsd": ("amd64", "arm", "i386"),
    "linux": (
        *("aarch64", "aarch64_be", "amd64", "armv6l", "armv7b", "armv7l"),
        *("i386", "ppc64", "ppc64le", "s390x"),
    ),
}


def quoted(text: str) -> str:
    """Text from outside as it stands in a message: in quotes, and cut when it is very long."""
    return f'"{text}"' if len(text) <= _SHOWN_LENGTH else f'"{text[:_SHOWN_LENGTH]}…"'


def check_identifier(text: str, what: str = "an AC identifier such as example.com/app") -> str:
    """Return `text` when it is an AC identifier (appc spec, types.md § AC Identifier Type).

    `what` is what the text was meant to be, for the message of the InvalidName that is raised otherwise.
    """
    if _IDENTIFIER.fullmatch(text) is None:
        raise InvalidName(f"{quoted(text)} is not {what}: {_problem(text, '-._~/')}")
    return text


def check_name(text: str) -> str:
    """Return `text` when it is an AC name (appc spec, types.md § AC Name Type), else raise InvalidName."""
    if _NAME.fullmatch(text) is None:
        raise InvalidName(f"{quoted(text)} is not an AC name such as http: {_problem(text, '-')}")
    return text


def _problem(text: str, punctuation: str) -> str:
    """Why a text that is neither an identifier nor a name isn't one."""
    if not text:
        return "it is empty"
    allowed = f"abcdefghijklmnopqrstuvwxyz0123456789{punctuation}"
    for position, character in enumerate(text, start=1):
        if character not in allowed:
            return f'character {position}, "{character}", is not one of a-z 0-9 {" ".join(punctuation)}'
    edge = "begin" if text[0] in punctuation else "end"
    return f'it must not {edge} with "{text[0 if edge == "begin" else -1]}"'


def parents(name: str) -> tuple[str, ...]:
    """The name itself and everything above it, by whole path components, the longest first."""
    slashes = [position for position, character in enumerate(name) if character == "/"]
    return (name, *(name[:slash] for slash in reversed(slashes)))


def covers(prefix: str, name: str) -> bool:
    """Whether `prefix` is `name` or one of its parents: `example.com/deb` is none of `example.com/debian`."""
    return name == prefix or name.startswith(f"{prefix}/")


def arch_of_machine(machine: str) -> str | None:
    """appc's name for a Linux machine as the kernel names it (`x86_64`); None when appc has none."""
    arch = _ARCH_ALIASES.get(machine, machine)
    return arch if arch in ARCHS_OF_OS["linux"] else None


class Labels(Mapping[str, str]):
    """Labels of an image: an immutable, hashable mapping, whose order plays no part in equality.

    Names are AC identifiers other than `name`, each once; values are any text, the empty one too (appc spec,
    aci.md § Image Manifest Schema). Raises InvalidName.
    """

    __slots__ = ("_values",)

    def __init__(self, labels: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in labels.items() if isinstance(labels, Mapping) else labels:
            if name in self._values:
                raise InvalidName(f"label {quoted(name)} is given twice", next_step=_NAME_EXAMPLE)
            self._values[check_label_name(name)] = _check_text(name, value)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Labels({self._values!r})"


def check_label_name(name: str) -> str:
    """Return `name` when a label may have it, else raise InvalidName."""
    if name == "name":
        raise InvalidName(
            "a label can't have the name \"name\", which is the image's own", next_step=_NAME_EXAMPLE
        )
    return check_identifier(name, "a label name such as os")


def _check_text(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        # Bytes of a command line that were not UTF-8: no manifest can hold them, and no database.
        raise InvalidName(f"the value of label {quoted(name)} is not Unicode text") from None
    return value


_NO_LABELS = Labels()


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image by name: an AC identifier such as `example.com/app`, and labels such as `version`.

    Raises InvalidName when built from something else.
    """

    name: str
    labels: Mapping[str, str] = _NO_LABELS

    def __post_init__(self) -> None:
        check_identifier(self.name, "an image name such as example.com/app")
        if not isinstance(self.labels, Labels):
            object.__setattr__(self, "labels", Labels(self.labels))

    @classmethod
    def parse(cls, text: str) -> "ImageName":
        """Parse `name[:version][,label=value]…` (appc spec, discovery/parse.go); no escapes exist.

        Raises InvalidName. A version may be empty (`name:`), and so may the value of a label.
        """
        head, *parts = text.split(",")
        name, colon, version = head.partition(":")
        if text.count(":") > len(colon):
            where = "more than one colon" if colon else "a colon behind a comma"
            raise InvalidName(
                f"{quoted(text)} is not an image name: it has {where}, and a colon may only stand"
                " between name and version",
                next_step=_NAME_EXAMPLE,
            )
        labels = [("version", version)] if colon else []
        for part in parts:
            label, equals, value = part.partition("=")
            if not equals:
                raise InvalidName(
                    f'{quoted(text)} is not an image name: after a comma, {quoted(part)} has no "="',
                    next_step=_NAME_EXAMPLE,
                )
            labels.append((label, value))
        return cls(name, Labels(labels))

    def __str__(self) -> str:
        """The canonical text, labels sorted; `parse` gives the same name back.

        The exception: a name built from a manifest may have label values with a comma or colon, for which
        the text form has no notation. They are printed as they are, for people; nothing parses them again.
        """
        version = "" if self.version is None else f":{self.version}"
        others = sorted(label for label in self.labels if label != "version")
        return f"{self.name}{version}{''.join(f',{label}={self.labels[label]}' for label in others)}"

    @property
    def version(self) -> str | None:
        """The value of the label `version`, None when there is none."""
        return self.labels.get("version")

    def add_missing(self, /, **labels: str) -> "ImageName":
        """The same name with these labels where it has none of that name. Raises InvalidName."""
        return ImageName(self.name, Labels({**labels, **self.labels}))

    def for_this_machine(self) -> "ImageName":
        """The same name with this machine's `os` and `arch` where absent, in appc's spelling.

        A machine that appc has no word for adds no `arch`.
        """
        arch = arch_of_machine(os.uname().machine)
        return self.add_missing(os="linux", **({} if arch is None else {"arch": arch}))

    def mismatches(self, found: Mapping[str, str]) -> tuple[str, ...]:
        """What the labels of a manifest lack of the ones asked for: a sentence for each, none on a match.

        Every label of this name has to be there with the same value, even `version=latest` when it was asked
        for so; what this name doesn't mention may be anything (appc spec, discovery.md § Validation).
        """
        return tuple(
            f"{label} {quoted(value)} was asked for, and the image has "
            + (quoted(found[label]) if label in found else "no such label")
            for label, value in sorted(self.labels.items())
            if found.get(label) != value
        )


@dataclass(frozen=True, slots=True)
class ImageID:
    """The SHA-512 of an image's uncompressed tar (appc spec, types.md § Image ID Type): 64 bytes."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != 64:
            raise InvalidName(f"an image ID has 64 bytes, not {len(self.digest)}")

    @classmethod
    def parse(cls, text: str) -> "ImageID":
        """Parse `sha512-` and 128 hex digits of either case, or raise InvalidName."""
        match = _IMAGE_ID.fullmatch(text)
        if match is None:
            raise InvalidName(f"{quoted(text)} is not an image ID, which is sha512- and 128 hex digits")
        return cls(bytes.fromhex(match[1]))

    def __str__(self) -> str:
        """`sha512-` and 128 lower-case hex digits."""
        return f"sha512-{self.digest.hex()}"
