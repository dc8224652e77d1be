"""What a key can be trusted for, in which layers, and by what path below `trustedkeys/` that is said."""

import os
from typing import Literal

from acistore.errors import InvalidName
from acistore.naming import check_identifier, quoted
from acistore.trust.keys import Place, scheme_of

Own = Literal["local", "user"]
"""The layers that acistore changes; the system's belongs to the distribution."""

OWN: tuple[Own, ...] = ("local", "user")


def check_prefix(prefix: str) -> str:
    """Return `prefix` when keys can be trusted for it, else raise InvalidName."""
    if not has_directory(check_identifier(prefix, "a prefix")):
        raise InvalidName(f"{quoted(prefix)} is not a prefix: it has an empty component, or one of dots")
    return prefix


def has_directory(identifier: str) -> bool:
    """Whether an identifier has a directory of its own; such as `a//b` and `a/../b` have none."""
    return not {"", ".", ".."}.intersection(identifier.split("/"))


def default_layer() -> Own:
    """Where a key is kept unless something else is said: for the machine by root, for oneself by others."""
    return "local" if os.geteuid() == 0 else "user"


def changeable() -> tuple[Own, ...]:
    """The layers that whoever runs this may change: the one where keys are kept, and those above it."""
    return OWN[OWN.index(default_layer()) :]


def note_of(place: Place) -> str:
    """By what name the origin of a key is noted: the path of its file below `trustedkeys/`."""
    top = "ssh/" if scheme_of(place.fingerprint) == "ssh" else ""
    middle = "root.d" if place.prefix is None else f"prefix.d/{place.prefix}"
    return f"{top}{middle}/{place.fingerprint}"
