"""How an image came here, and the record of it that its pack carries: what a lost index is rebuilt with.

    {"id": "sha512-…", "size": 1024, "latest": false, "admission": {…}, "admissions": [{…}, …],
     "remote": {…} or null}

in JSON, times in ISO 8601, bytes in hex; the fields of admissions and remote are those of `records`. Versions up
to schema revision 0003 wrote no more than `admission`, and read no more: the newest one stands there for them.
Those up to 0004 wrote no places of `remote`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args

from acistore.errors import AcistoreError, StoreDamaged
from acistore.naming import ImageID
from acistore.store.records import Admission, Remote

Value = TypeVar("Value", Admission, Remote)

# Admissions in a record, the newest ones: an image may have been let in thousands of times.
MOST_ADMISSIONS = 16


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why an image was let in and where it was found. `latest`: it was asked for without a version.

    `admissions` is at least one, of one time or of several. Raises ValueError for none.
    """

    admissions: tuple[Admission, ...]
    remote: Remote | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        if not self.admissions:
            raise ValueError("an image that nothing has let in is not recorded")

    @property
    def admitted_at(self) -> datetime:
        """When the image was let in last."""
        return max(each.admitted_at for each in self.admissions)


@dataclass(frozen=True, slots=True)
class PackRecord:
    """What a pack says of the image in it. `size` is the bytes of the tar."""

    id: ImageID
    size: int
    provenance: Provenance


def write_record(image_id: ImageID, size: int, provenance: Provenance) -> bytes:
    newest_first = sorted(provenance.admissions, key=lambda each: each.admitted_at, reverse=True)
    admissions = [asdict(each) for each in newest_first[:MOST_ADMISSIONS]]
    record = {
        "id": str(image_id),
        "size": size,
        "latest": provenance.latest,
        "admission": admissions[0],
        "admissions": admissions,
        "remote": asdict(provenance.remote) if provenance.remote else None,
    }
    return json.dumps(record, default=_as_text).encode()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a record")


def read_record(data: bytes) -> PackRecord:
    """The record again, whoever wrote it. Fields of a later version are passed over. Raises StoreDamaged."""
    try:
        record = json.loads(data)
        remote = record["remote"]
        provenance = Provenance(
            tuple(_value(Admission, each) for each in _admissions(record)),
            None if remote is None else _value(Remote, remote),
            record["latest"] is True,
        )
        return PackRecord(ImageID.parse(_text(record["id"])), _number(record["size"]), provenance)
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError, AcistoreError) as error:
        raise StoreDamaged(f"the record of an image can't be understood: {error}") from None


def _admissions(record: Mapping[str, Any]) -> Any:
    return record["admissions"] if "admissions" in record else [record["admission"]]


def _value(kind: type[Value], record: Mapping[str, Any]) -> Value:
    return kind(
        **{field.name: _read(field.type, record[field.name]) for field in fields(kind) if field.name in record}
    )


def _read(kind: Any, value: Any) -> Any:
    """A value of the type that a field has: what the database takes, and nothing else."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return None if value is None and NoneType in kinds else _READERS[kinds[0]](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no text")
    value.encode()
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r:.80} is no number of bytes or seconds")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None or not 1970 <= moment.year < 9999:
        raise ValueError(f"{value:.80} is no time of a known zone")
    return moment.astimezone(UTC)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in [*value])


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _number,
    bytes: bytes.fromhex,
    datetime: _moment,
    tuple[str, ...]: _texts,
}
