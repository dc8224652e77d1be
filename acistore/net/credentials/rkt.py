"""rkt's `auth.d`: a directory of JSON files that say which hosts get which credentials.

What rkt takes is taken here, as told in its documentation (configuration, kind `auth`, version `v1`).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from acistore.errors import ConfigError
from acistore.events import log_of
from acistore.net.credentials import files
from acistore.net.credentials.kinds import AwsKey, Basic, Bearer, Credential, Secret
from acistore.net.hosts import host_key

log = log_of("acistore.net.credentials")

DIRECTORY = "auth.d"

_EXAMPLE = (
    '{"rktKind": "auth", "rktVersion": "v1", "domains": ["HOST"], "type": "basic",'
    ' "credentials": {"user": "USER", "password": "PASSWORD"}}'
)


def read_directory(directory: Path, *, ours: bool) -> dict[str, Credential]:
    """The credentials in an `auth.d` by host (as `hosts.host_key` has it).

    Only files in it count that end in `.json`, no links. What may not be read is an error when the directory is
    `ours`; else a warning, since it is somebody else's secret. Raises ConfigError, which quotes nothing of a file,
    and as rkt does for an `auth.d` that is no directory.
    """
    found: dict[str, Credential] = {}
    try:
        paths = sorted(each for each in directory.iterdir() if each.suffix == ".json" or each.name == ".json")
    except FileNotFoundError:
        return found
    except OSError as error:
        if isinstance(error, NotADirectoryError) and not directory.exists():
            return found  # nor is what it would be in
        _unreadable(directory, error, ours=ours)
        return found
    for path in paths:
        if path.is_symlink() or not path.is_file():
            continue
        try:
            content = files.read(path)
        except OSError as error:
            _unreadable(path, error, ours=ours)
            continue
        for host, secret in _read(path, content):
            if host in found:
                raise ConfigError(
                    f"{path}: {host} has credentials already, in {found[host].source}",
                    next_step="leave one of the two",
                )
            found[host] = Credential(secret, str(path))
    return found


def _unreadable(path: Path, error: OSError, *, ours: bool) -> None:
    reason = f"{path} can't be read: {error.strerror}"
    if ours or not isinstance(error, PermissionError):
        raise ConfigError(reason, next_step=f"make it readable for the user who runs acistore: {path}") from None
    files.warn_once(str(path), f"{reason}; credentials in it are not used")


def _read(path: Path, content: bytes) -> Iterator[tuple[str, Secret]]:
    document = _object(_parsed(path, content), f"{path}")
    kind, version = (_text(document, key, f"{path}") for key in ("rktKind", "rktVersion"))
    if kind == "dockerAuth":
        log.debug("%s is about Docker registries, and passed over", path)
        return
    if (kind, version) != ("auth", "v1"):
        raise ConfigError(
            f'{path}: not of the kind "auth" and version "v1", as all files in {DIRECTORY}',
            next_step="correct rktKind and rktVersion, or move the file elsewhere",
        )
    secret = _secret(path, document)
    domains = _get(document, "domains")
    if not isinstance(domains, list) or not domains:
        raise _malformed(f"{path}: domains: not a list of hosts")
    for number, domain in enumerate(domains):
        try:
            yield host_key(domain if isinstance(domain, str) else ""), secret
        except ValueError as error:
            raise _malformed(f"{path}: domains[{number}]: {error}") from None


def _malformed(reason: str) -> ConfigError:
    return ConfigError(reason, next_step=f"write it as {_EXAMPLE}")


def _parsed(path: Path, content: bytes) -> object:
    """The reason is told by its place alone: the exceptions hold the text, and some quote it."""
    where = ""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f", line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        pass
    raise _malformed(f"{path}: not JSON{where}")


def _secret(path: Path, document: Mapping[str, object]) -> Secret:
    kind = _text(document, "type", f"{path}")
    where = f"{path}: credentials"
    given = _object(_get(document, "credentials"), where)
    try:
        match kind:
            case "basic":
                return Basic(_text(given, "user", where), _text(given, "password", where))
            case "oauth":
                return Bearer(_text(given, "token", where))
            case "aws":
                return AwsKey(
                    _text(given, "accessKeyID", where),
                    _text(given, "secretAccessKey", where),
                    _text(given, "awsRegion", where) or None,
                )
    except ValueError as error:
        raise _malformed(f"{where}: {error}") from None
    raise _malformed(f"{path}: type: not one of basic, oauth, aws")


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _malformed(f"{where}: not a JSON object")
    return value


def _text(document: Mapping[str, object], key: str, where: str) -> str:
    """The text under a key; "" where there is none."""
    value = _get(document, key)
    if not isinstance(value, str | None):
        raise _malformed(f"{where}: {key}: not a text")
    return value or ""


def _get(document: Mapping[str, object], key: str) -> object:
    """rkt does not look at the case of keys, but prefers the right one."""
    if key in document:
        return document[key]
    return next((value for name, value in document.items() if name.lower() == key.lower()), None)
