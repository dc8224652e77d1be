"""Reading JSON field by field, so that every refusal names its field: `app.ports[0].port: …`.

Knows JSON and types, not the schema. JSON is taken as Go's encoding/json takes it, which the authors of
manifests test against: names of fields match whatever their case, null is absent, an integer is written as
one. What two parsers may understand differently (a field given twice, bytes that aren't UTF-8) is refused.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from acistore.errors import InvalidManifest, InvalidName
from acistore.naming import quoted

T = TypeVar("T")

_LONGEST_NUMBER = 400
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Field:
    """A value in a JSON document and the path that leads to it; the document itself has the path ""."""

    path: str
    value: object

    def refusal(self, problem: str) -> InvalidManifest:
        """The error that says what is wrong with this field, to be raised by the caller."""
        return InvalidManifest(f"{self.path or 'manifest'}: {problem}")

    def optional(self, name: str) -> "Field | None":
        """The field of that name in this object; None when it is absent or null."""
        members = self.members()
        wanted = name.lower()
        keys = [key for key in members if _folded(key) == wanted]
        field = self._member(name, members[keys[0]] if keys else None)
        if len(keys) > 1:
            raise field.refusal(f"is given twice, as {quoted(keys[0])} and as {quoted(keys[1])}")
        return None if field.value is None else field

    def required(self, name: str) -> "Field":
        """The field of that name in this object, which has to be there."""
        field = self.optional(name)
        if field is None:
            raise self._member(name, None).refusal("is missing")
        return field

    def _member(self, name: str, value: object) -> "Field":
        return Field(f"{self.path}.{name}" if self.path else name, value)

    def members(self) -> dict[str, object]:
        """The members of an object."""
        if not isinstance(self.value, dict):
            raise self.refusal(f"{shown(self.value)} is not an object")
        return self.value

    def elements(self, name: str) -> "list[Field]":
        """The elements of the list of that name in this object; none when it is absent."""
        field = self.optional(name)
        return [] if field is None else field.each()

    def each(self) -> "list[Field]":
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.refusal(f"{shown(self.value)} is not a list")
        return [Field(f"{self.path}[{index}]", value) for index, value in enumerate(self.value)]

    def named_values(self, name: str, check: Callable[[str], str]) -> "dict[str, Field]":
        """A list of objects with `name` and `value`, as labels are: the checked names, each once, in order.

        What they lead to are the fields of the values, known to be text.
        """
        values: dict[str, Field] = {}
        for element in self.elements(name):
            field = element.required("name")
            key = field.checked(check)
            if key in values:
                raise field.refusal(f"{quoted(key)} is given twice")
            values[key] = element.required("value")
            values[key].text()
        return values

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.refusal(f"{shown(self.value)} is not a string")
        return self.value

    def filled_text(self) -> str:
        """A string that is not empty."""
        if self.text() == "":
            raise self.refusal("is empty")
        return self.text()

    def texts(self) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(element.text() for element in self.each())

    def text_map(self) -> dict[str, str]:
        """An object whose keys are data, and whose values are strings."""
        return {key: Field(f"{self.path}[{quoted(key)}]", value).text() for key, value in self.members().items()}

    def checked(self, check: Callable[[str], T]) -> T:
        """What `check` makes of a string; its ValueError or InvalidName becomes this field's refusal."""
        try:
            return check(self.text())
        except (ValueError, InvalidName) as error:
            raise self.refusal(str(error)) from None

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.refusal(f"{shown(self.value)} is neither true nor false")
        return self.value

    def integer(self, least: int, most: int) -> int:
        """An integer in the range, both ends included; neither 1.0 nor "1" is one."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.refusal(f"{shown(self.value)} is not an integer")
        if not least <= self.value <= most:
            raise self.refusal(f"{shown(self.value)} is not in {least}..{most}")
        return self.value


def decode(raw: bytes) -> Field:
    """The whole of a document. Raises InvalidManifest when it isn't JSON in UTF-8, as RFC 8259 has it."""
    document = Field("", None)
    try:
        text = raw.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise document.refusal(f"is not UTF-8: byte 0x{raw[error.start]:02x} at {error.start}") from None
    except UnicodeEncodeError:
        raise document.refusal("a \\u escape stands for half a character") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise document.refusal(f"is not JSON: {error.msg.lower()} at {place}") from None
    except RecursionError:
        raise document.refusal("is nested too deeply") from None
    return Field("", value)


def shown(value: object) -> str:
    """A JSON value as it stands in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case dict():
            return "an object"
        case list():
            return "a list"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _folded(key: str) -> str:
    # As Go folds names of fields: the Kelvin sign is a k (to Python too), the long s is an s.
    return key.replace("ſ", "s").lower()


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:
            raise Field("", None).refusal(f"{quoted(key)} is given twice in one object")
        members[key] = value
    return members


def _integer(digits: str) -> int:
    # Python's own limit is a ValueError, and depends on how the interpreter was started.
    if len(digits) > _LONGEST_NUMBER:
        raise Field("", None).refusal(f"holds a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise Field("", None).refusal(f"holds a number that is too large: {shown(digits)}")
    return number


def _constant(name: str) -> NoReturn:
    raise Field("", None).refusal(f"is not JSON: {name} is no JSON number")
