"""Where values come from: files, environment and flags, read and flattened to dotted names, not yet understood."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acistore.config.options import BY_NAME, FILE_NAME, KEYS, SECTIONS, TABLES, environment_variable
from acistore.config.spelling import nearest
from acistore.config.tables import SECRETS, check_array
from acistore.config.values import CALLER, FLAG, shown
from acistore.errors import ConfigError
from acistore.files import open_regular

# Bytes; a file of a fleet's mirrors and policies is far below it.
_LONGEST = 1 << 20
_IN_FILES = [key for key in KEYS if key in TABLES or BY_NAME[key].in_files]
_EXAMPLES = {
    "mirrors": '[{prefix = "example.com", url = "https://mirror.example.com/{name}-{version}.{ext}"}]',
    "hosts": '[{name = "images.example.com", ca_file = "/etc/ssl/example.pem"}]',
    "policies": '[{prefix = "example.com", threshold = 2}]',
}


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave.

    `origin` is the file, the variable or "flag"; `directory` is where relative paths in it start, None for the
    working directory.
    """

    value: object
    origin: str
    directory: Path | None = None


def from_file(path: Path) -> dict[str, Given]:
    """What a file says, nothing when there is none. Raises ConfigError for a file that can't be read or is not
    TOML, and for a key that no option has."""
    content = _read(path)
    if content is None:
        return {}
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path} is not TOML: not UTF-8 (at line {line})") from None
    except (ValueError, RecursionError) as error:  # Python's limit on the digits of a number is a ValueError too
        raise ConfigError(f"{path} is not TOML: {error}") from None
    given = {}
    for name, value in _flattened(document, path):
        _check_known(name, str(path), _IN_FILES if "." in name else [*SECTIONS, *_IN_FILES])
        given[name] = Given(value, str(path), path.parent)
    return given


def _read(path: Path) -> bytes | None:
    """The content, None where nothing is. A link that leads nowhere is something: whoever has made it relies on
    what should be there."""
    try:
        with open_regular(path) as file:
            content = file.read(_LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return None
        raise ConfigError(
            f"{path} is a link to {path.readlink()}, where nothing is",
            next_step="put the file there, or remove the link",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise ConfigError(f"{path} can't be read: it is longer than {_LONGEST} bytes")
    return content


def _flattened(document: Mapping[str, object], path: Path) -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if "." in name:  # in TOML another key than retries in limits
            raise ConfigError(
                f"{path}: the key {shown(name)} is in quotes, dot and all", next_step="leave the quotes out"
            )
        if name not in SECTIONS:
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            raise ConfigError(f"{path}: {name} is not a table", next_step=f"write [{name}] above its keys")


def _check_known(name: str, origin: str, known: Sequence[str]) -> None:
    if name not in known:
        near = nearest(name, known)
        raise ConfigError(f"{origin}: unknown key {shown(name)}", facts={"did you mean": near} if near else None)


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """What variables say; those of arrays of tables hold text of TOML. Raises ConfigError for one that can't be
    acted upon."""
    given = {}
    for name in KEYS:
        variable = environment_variable(name)
        if variable in environ:
            value = environ[variable]
            given[name] = Given(array(name, value, variable) if name in TABLES else value, variable)
    return given


def from_flags(flags: Mapping[str, object]) -> dict[str, Given]:
    """What flags say, by dotted names. Raises ConfigError for a secret: everybody can read one there."""
    given = {name: Given(value, FLAG) for name, value in flags.items() if value is not None}
    for name in given:
        _check_known(name, CALLER, KEYS)  # the command's own are all known
    for name in TABLES:
        if name not in given:
            continue
        tables = array(name, given[name].value, FLAG)
        for table in tables if isinstance(tables, list) else []:
            found = sorted(set(SECRETS) & set(table)) if isinstance(table, dict) else []
            if found:
                raise ConfigError(
                    f"{name}.{found[0]} stands in a flag, which everybody on this machine can read",
                    next_step=f"write it into a [[{name}]] table of {FILE_NAME}, and chmod 600 that",
                )
        given[name] = Given(tables, FLAG)
    return given


def array(name: str, text: object, origin: str) -> object:
    """An array of tables from text. Raises ConfigError, which doesn't quote it: there may be a secret in it."""
    example = f"write one like {_EXAMPLES[name]}"
    reason = "more than one value"
    try:
        document = tomllib.loads(f"{name} = {text}") if str(text).strip() else {name: []}
    except (ValueError, RecursionError) as error:
        document = {}
        reason = re.sub(r" \(at .*\)$", "", str(error))  # that is a place in a line longer than what was given
    if list(document) == [name]:
        check_array(name, document[name], origin, next_step=example)
        return document[name]
    raise ConfigError(
        f"{name} is not an array of tables: {reason}",
        facts={"set by": origin},
        next_step=example,
    )
