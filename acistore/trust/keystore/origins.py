"""Where trusted keys came from and when: `origins.json` beside `trustedkeys/`.

A note for people, which no decision rests on: when it is lost or damaged, keys are trusted all the same.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from acistore.events import log_of
from acistore.trust.keystore.durable import move, new_file

_log = log_of("acistore.trust")

_FILE_NAME = "origins.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key came from (a path, a URL), and when it was added (UTC, whole seconds)."""

    source: str
    added_at: datetime


def read_origins(directory: Path) -> dict[str, Origin]:
    """The origins kept in a configuration directory, by path of the key file below `trustedkeys/`."""
    path = directory / _FILE_NAME
    try:
        document = json.loads(path.read_bytes())
        return {
            place: Origin(
                str(entry["source"]),
                datetime.fromisoformat(entry["added_at"]).astimezone(UTC).replace(microsecond=0),
            )
            for place, entry in document.items()
        }
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        _log.warning("%s can't be read, so where keys came from is not known: %s", path, error)
        return {}


def as_text(then: datetime) -> str:
    """A time in UTC and whole seconds, as files hold it (RFC 3339)."""
    return f"{then.replace(tzinfo=None).isoformat()}Z"


def change_origins(directory: Path, added: Mapping[str, Origin], removed: Iterable[str] = ()) -> None:
    """Note origins and drop others. What can't be written is told in a warning."""
    before = read_origins(directory)
    origins = {**before, **added}
    for place in removed:
        origins.pop(place, None)
    if origins == before:
        return
    document = {
        place: {"source": origin.source, "added_at": as_text(origin.added_at)}
        for place, origin in sorted(origins.items())
    }
    try:
        with new_file(json.dumps(document, indent=2).encode() + b"\n", directory) as file:
            move(file, directory / _FILE_NAME)
    except OSError as error:
        _log.warning("%s can't be written: %s", directory / _FILE_NAME, error.strerror)
