"""The tables of a configuration: `[[mirrors]]` and `[[hosts]]`, what one holds, and how arrays of them are read.

A table of hosts may hold secrets: no message quotes a value of one, whatever is wrong with it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from acistore.config.spelling import nearest
from acistore.config.values import CALLER, FLAG, located, parse_optional_path, require_plain, shown, written_value
from acistore.errors import ConfigError, InvalidName, flag_of
from acistore.naming import check_identifier

HIDDEN = "(hidden)"
SECRETS = ("password", "token", "aws_secret_access_key", "aws_session_token")

_HOST_NAME = re.compile(r"([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_HOST_EXAMPLE = "a host such as images.example.com, images.example.com:8443 or [2001:db8::1]"
_URL_EXAMPLE = "https://mirror.example.com/{name}-{version}-{os}-{arch}.{ext}"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Another place for the images whose name `prefix` is, or is a parent of (by whole path components); for all
    images where it is empty.

    `url` is a template as discovery has them: `{name}`, `{ext}` and a placeholder for each label. `origin` is the
    file or the variable that it came from, or "flag".
    """

    prefix: str
    url: str
    origin: str = "default"

    def __post_init__(self) -> None:
        check_fields("mirrors", self, _MIRROR)


@dataclass(frozen=True, slots=True)
class Host:
    """What holds for one host alone.

    `name` is in lower case and ASCII: `host` for any port, `host:port` for that one; an IPv6 address stands in
    brackets, in its shortest form.

    At most one kind of credentials is there: `username` and `password`, `token`, or the `aws_` five, of which all
    but the two keys may be missing. `origin` is the file or the variable that it came from, or "flag".
    """

    name: str
    ca_file: Path | None = None
    ca_directory: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    aws_region: str | None = None
    aws_service: str | None = None
    origin: str = "default"

    def __post_init__(self) -> None:
        check_fields("hosts", self, _HOST)
        if problem := _contradiction(self):
            raise ConfigError(f"hosts: {self.name}: {problem}", facts={"set by": setter(self)})


class Table(Protocol):
    """A table of the configuration as a value: a dataclass, which knows where it came from."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def origin(self) -> str: ...


def shown_values(table: Table) -> dict[str, Any]:
    """The values of a table that are set, by their keys in the file and as TOML has them; secrets are hidden."""
    values = {each.name: getattr(table, each.name) for each in fields(table) if each.name != "origin"}
    return {key: HIDDEN if key in SECRETS else _plain(value) for key, value in values.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def write_table(table: Table) -> str:
    """A table as it stands in an array of the file, in one line; secrets are hidden."""
    return "{" + ", ".join(f"{key} = {written_value(value)}" for key, value in shown_values(table).items()) + "}"


def read_mirrors(value: object, origin: str) -> tuple[Mirror, ...]:
    """The `[[mirrors]]` of one source, in its order. Raises ConfigError."""
    tables = read_tables("mirrors", value, _MIRROR, ("prefix", "url"), origin)
    return tuple(Mirror(**values, origin=origin) for values in tables)


def read_hosts(value: object, origin: str, directory: Path | None = None) -> tuple[Host, ...]:
    """The `[[hosts]]` of one source, in its order; relative paths start in `directory`. Raises ConfigError."""
    hosts: dict[str, Host] = {}
    for values in read_tables("hosts", value, _HOST, ("name",), origin):
        paths = {key: located(each, directory) for key, each in values.items() if isinstance(each, Path)}
        host = Host(**{**values, **paths}, origin=origin)
        if host.name in hosts:
            raise ConfigError(
                f"{of('hosts', origin)}: hosts: two tables for {host.name}", next_step="make one of them"
            )
        hosts[host.name] = host
    return tuple(hosts.values())


def check_array(name: str, value: object, origin: str, *, next_step: str) -> list[dict[str, Any]]:
    """Returns the value when it is an array of tables, else raises ConfigError."""
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return value
    what = "one table" if isinstance(value, dict) else "not an array of tables"
    raise ConfigError(f"{name} is {what}", facts={"set by": origin}, next_step=next_step)


def read_tables(
    name: str,
    value: object,
    parsers: Mapping[str, Callable[[object], Any]],
    required: Sequence[str],
    origin: str,
) -> Iterator[dict[str, Any]]:
    """The values of each table in an array of them, parsed. Raises ConfigError."""
    tables = check_array(name, value, origin, next_step=f"write [[{name}]] above each table")
    for number, table in enumerate(tables, start=1):
        where = {"table": str(number)} if len(tables) > 1 else {}
        for key in table:
            if key not in parsers:
                near = nearest(key, parsers)
                hint = {"did you mean": f"{name}.{near}"} if near else {}
                raise ConfigError(
                    f"{of(name, origin)}: unknown key {shown(f'{name}.{key}')}", facts={**where, **hint}
                )
        for key in required:
            if key not in table:
                raise ConfigError(f"{name}.{key} is missing", facts={"set by": origin, **where})
        yield {key: _parsed(f"{name}.{key}", parsers[key], each, origin, where) for key, each in table.items()}


def _parsed(
    name: str, parse: Callable[[object], Any], value: object, origin: str, where: Mapping[str, str]
) -> Any:
    try:
        return parse(value)
    except (ValueError, InvalidName) as error:
        raise ConfigError(f"{name}: {error}", facts={"set by": origin, **where}) from None


def check_fields(name: str, table: Table, parsers: Mapping[str, Callable[[object], Any]]) -> None:
    """Raises ConfigError for a table that a program has made, and that no file could hold."""
    for each in fields(table):
        value = getattr(table, each.name)
        if each.name not in parsers or value is each.default:
            continue
        try:
            require_plain(value, parsers[each.name](list(value) if isinstance(value, tuple) else value))
        except (ValueError, InvalidName) as error:
            raise ConfigError(f"{name}.{each.name}: {error}", facts={"set by": setter(table)}) from None


def of(name: str, origin: str) -> str:
    """Where an array of tables stands, for messages: a file, a variable, or the flag that has them all."""
    return flag_of(name) if origin == FLAG else origin


def setter(table: Table) -> str:
    """Who has set a table, for messages."""
    return CALLER if table.origin == "default" else table.origin


def _contradiction(host: Host) -> str | None:
    """What can't hold together in a table of its own."""
    kinds = {
        "username and password": (host.username, host.password),
        "token": (host.token,),
        "the aws_ keys": (
            *(host.aws_access_key_id, host.aws_secret_access_key),
            *(host.aws_session_token, host.aws_region, host.aws_service),
        ),
    }
    given = [kind for kind, values in kinds.items() if any(value is not None for value in values)]
    if len(given) > 1:
        return f"{' as well as '.join(given)}: a host takes one kind of credentials"
    for one, other in (
        ("client_key", "client_certificate"),
        ("username", "password"),
        ("password", "username"),
        ("aws_access_key_id", "aws_secret_access_key"),
        ("aws_secret_access_key", "aws_access_key_id"),
        ("aws_session_token", "aws_access_key_id"),
        ("aws_region", "aws_access_key_id"),
        ("aws_service", "aws_access_key_id"),
    ):
        if getattr(host, one) is not None and getattr(host, other) is None:
            return f"{one} is there without {other}"
    return None


# --- the values in a table


def parse_prefix(value: object) -> str:
    """The beginning of names, empty for all of them. Raises ValueError, InvalidName."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not the beginning of a name, such as example.com")
    return value and check_identifier(value, "the beginning of a name, such as example.com")


def _template(value: object) -> str:
    """Never quoted in a message, since a password may stand in it."""
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise ValueError(f"not an https:// URL such as {_URL_EXAMPLE}")
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError(f"not a URL such as {_URL_EXAMPLE}")
    if "@" in parts.netloc:
        raise ValueError("a user or a password stands in it; write them into a [[hosts]] table")
    if "{" in parts.netloc:
        raise ValueError("its host has a placeholder, and which host is asked is not up to an image's name")
    if "{ext}" not in value:
        raise ValueError(
            f"without {{ext}} an image and its signature have one URL; write one such as {_URL_EXAMPLE}"
        )
    return value


def _host_name(value: object) -> str:
    """Not quoted in a message either: who writes a URL here may have a password in it."""
    match = _HOST_NAME.fullmatch(value.lower()) if isinstance(value, str) else None
    if isinstance(value, str) and not value.isascii():
        raise ValueError("other letters than those of ASCII stand as xn--… in the name of a host")
    if match is None:
        raise ValueError(f"not {_HOST_EXAMPLE}")
    host, port = match[1], match[2]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise ValueError(f"not {_HOST_EXAMPLE}") from None
    if port is None:
        return host
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"{port} is not a port")
    return f"{host}:{int(port)}"


def _secret_text(value: object) -> str | None:
    """Text of one line, None for `""`; never quoted in a message."""
    if not isinstance(value, str):
        raise ValueError("not text in quotes")
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("a control character stands in it")
    return value or None


def _user(value: object) -> str | None:
    user = _secret_text(value)
    if user is not None and ":" in user:
        raise ValueError("a colon stands in it, which no user has (RFC 7617)")
    return user


def _word(value: object) -> str | None:
    """What goes into a header as it is."""
    word = _secret_text(value)
    if word is not None and not (word.isascii() and " " not in word):
        raise ValueError("a letter stands in it that is not ASCII, or a blank")
    return word


_MIRROR: dict[str, Callable[[object], Any]] = {"prefix": parse_prefix, "url": _template}
_HOST: dict[str, Callable[[object], Any]] = {
    "name": _host_name,
    "ca_file": parse_optional_path,
    "ca_directory": parse_optional_path,
    "client_certificate": parse_optional_path,
    "client_key": parse_optional_path,
    "username": _user,
    "password": _secret_text,
    "token": _word,
    "aws_access_key_id": _word,
    "aws_secret_access_key": _word,
    "aws_session_token": _word,
    "aws_region": _word,
    "aws_service": _word,
}
