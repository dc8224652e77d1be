"""How an image came here, and the record of it that its pack carries: what a lost index is rebuilt with.

    {"id": "sha512-…", "size": 1024, "latest": false, "admission": {…}, "remote": {…} or null}

in JSON, times in ISO 8601, bytes in hex; the fields of admission and remote are those of `records`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from acistore.errors import AcistoreError, StoreDamaged
from acistore.naming import ImageID
from acistore.store.records import Admission, Remote

Value = TypeVar("Value", Admission, Remote)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why an image was let in and where it was found. `latest`: it was asked for without a version."""

    admission: Admission
    remote: Remote | None = None
    latest: bool = False


@dataclass(frozen=True, slots=True)
class PackRecord:
    """What a pack says of the image in it. `size` is the bytes of the tar."""

    id: ImageID
    size: int
    provenance: Provenance


def write_record(image_id: ImageID, size: int, provenance: Provenance) -> bytes:
    record = {
        "id": str(image_id),
        "size": size,
        "latest": provenance.latest,
        "admission": asdict(provenance.admission),
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
    """The record again. Fields of a later version are passed over. Raises StoreDamaged."""
    try:
        record = json.loads(data)
        remote = record["remote"]
        provenance = Provenance(
            _value(Admission, record["admission"]),
            None if remote is None else _value(Remote, remote),
            bool(record["latest"]),
        )
        return PackRecord(ImageID.parse(record["id"]), int(record["size"]), provenance)
    except (ValueError, KeyError, TypeError, AttributeError, AcistoreError) as error:
        raise StoreDamaged(f"the record of an image can't be understood: {error}") from None


def _value(kind: type[Value], record: Mapping[str, Any]) -> Value:
    return kind(
        **{
            field.name: _read(str(field.type), record[field.name])
            for field in fields(kind)
            if field.name in record
        }
    )


def _read(kind: str, value: Any) -> Any:
    """A value of the kind that a field says it has."""
    if value is None:
        return None
    if "datetime" in kind:
        return datetime.fromisoformat(value)
    if "bytes" in kind:
        return bytes.fromhex(value)
    return tuple(value) if "tuple" in kind else value
