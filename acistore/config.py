"""Config: files, environment and flags become one frozen value; each field knows where it came from.

A flag beats the environment, the environment beats the files, and of the files (`acistore.toml` in the
system, local and user configuration directory) a later one beats an earlier one, key by key. Parsing happens
here and once; whoever holds a Config holds values that are right.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from acistore.errors import ConfigError

FILE_NAME = "acistore.toml"
SYSTEM_CONFIG = Path("/usr/lib/acistore")
LOCAL_CONFIG = Path("/etc/acistore")
INSECURE_OPTIONS = ("image", "tls", "http", "pubkey")
PULL_POLICIES = ("new", "update", "never")

# Sections of the file that the format has, but that this version can't carry out. To accept and ignore one
# would be to promise a safeguard that isn't there.
UNSUPPORTED_SECTIONS = ("mirrors", "hosts", "policies")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: object) -> int:
    """`500M` (10**6), `2GiB` (2**30) or a plain number, to bytes. Raises ValueError with an example."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise ValueError(f"{text!r} is not a size, such as 500M or 2GiB")
    number, letter, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgtp".index(letter.lower() or " "))


def parse_duration(text: object) -> timedelta:
    """`90s`, `24h`, `7d`, also `0s`. Raises ValueError with an example."""
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration, such as 90s, 24h or 7d")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def _seconds(text: object) -> float:
    seconds = parse_duration(text).total_seconds()
    if seconds <= 0:
        raise ValueError(f"{text!r} has to be more than nothing")
    return seconds


def _optional_size(text: object) -> int | None:
    return None if text == "" else parse_size(text)


def _path(text: object) -> Path:
    if not isinstance(text, str | Path) or not str(text):
        raise ValueError(f"{text!r} is not a path")
    return Path(text).expanduser()


def _number(least: int) -> Callable[[object], int]:
    def parse(text: object) -> int:
        if isinstance(text, bool) or not re.fullmatch(r"\d{1,9}", str(text)) or int(str(text)) < least:
            raise ValueError(f"{text!r} is not a whole number of at least {least}")
        return int(str(text))

    return parse


def _pull_policy(text: object) -> str:
    if text not in PULL_POLICIES:
        raise ValueError(f"{text!r} is not one of {', '.join(PULL_POLICIES)}")
    return str(text)


def parse_insecure_options(value: object) -> frozenset[str]:
    """`image,tls,http,pubkey`, `all` or `none` (a list in the file). Raises ValueError for another word."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | frozenset):
        raise ValueError(f"{value!r} is not a list of options")
    chosen: set[str] = set()
    for word in (str(word).strip() for word in words):
        if word == "all":
            chosen.update(INSECURE_OPTIONS)
        elif word in INSECURE_OPTIONS:
            chosen.add(word)
        elif word not in ("none", ""):
            raise ValueError(f"{word!r} is not one of {', '.join(INSECURE_OPTIONS)}, all, none")
    return frozenset(chosen)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what comes from outside. Sizes in bytes, times in seconds."""

    page_size: int = 2 << 20
    signature_size: int = 1 << 20
    key_size: int = 1 << 20
    image_size: int = 16 << 30
    unpacked_size: int = 64 << 30
    connect_timeout: float = 10.0
    deadline: float = 60.0
    minimum_rate: int = 1 << 10
    retries: int = 4
    redirects: int = 10
    dependency_depth: int = 32


@dataclass(frozen=True, slots=True)
class GcRules:
    """What a garbage collection keeps. `keep` is per name; `max_size` is in bytes of the store on disk."""

    grace_period: timedelta = timedelta(hours=24)
    keep: int = 0
    max_size: int | None = None


def _is_root() -> bool:
    return os.geteuid() == 0


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without HOME whom the system does not know, as in containers
        return Path("/")


def _default_dir(environ: Mapping[str, str]) -> Path:
    if _is_root():
        return Path("/var/lib/acistore")
    return Path(environ.get("XDG_DATA_HOME") or _home() / ".local/share") / "acistore"


def _default_user_config(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "acistore"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set. `Config()` is the defaults, `Config.load()` what applies here and now."""

    dir: Path = field(default_factory=lambda: _default_dir(os.environ))
    system_config: Path = SYSTEM_CONFIG
    local_config: Path = LOCAL_CONFIG
    user_config: Path = field(default_factory=lambda: _default_user_config(os.environ))
    pull_policy: str = "update"
    jobs: int = 4
    insecure_options: frozenset[str] = frozenset()
    limits: Limits = Limits()
    gc: GcRules = GcRules()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> "Config":
        """The configuration that applies, from flags, environment and files, in this order of strength.

        `flags` has dotted option names (`dir`, `limits.image_size`); a value of None was not given. Raises
        ConfigError, which names the file or variable, the option and what is wrong with it.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        settings: dict[str, tuple[object, str]] = {
            "dir": (_default_dir(environ), "default"),
            "user_config": (_default_user_config(environ), "default"),
        }
        strong = dict(_from_environment(environ)) | {name: (value, "flag") for name, value in given.items()}
        directories = {
            name: _parsed(name, *strong[name]) if name in strong else default
            for name, default in (
                ("system_config", SYSTEM_CONFIG),
                ("local_config", LOCAL_CONFIG),
                ("user_config", settings["user_config"][0]),
            )
        }
        for directory in directories.values():
            settings.update(_from_file(Path(str(directory)) / FILE_NAME))
        settings.update(strong)
        values = {name: _parsed(name, value, source) for name, (value, source) in settings.items()}
        origins = {name: settings[name][1] if name in settings else "default" for name in _PARSERS}
        return cls(
            **{name: value for name, value in values.items() if "." not in name},
            limits=Limits(**_section("limits", values)),
            gc=GcRules(**_section("gc", values)),
            origins=origins,
        )


_PARSERS: dict[str, Callable[[object], Any]] = {
    "dir": _path,
    "system_config": _path,
    "local_config": _path,
    "user_config": _path,
    "pull_policy": _pull_policy,
    "jobs": _number(1),
    "insecure_options": parse_insecure_options,
    "limits.page_size": parse_size,
    "limits.signature_size": parse_size,
    "limits.key_size": parse_size,
    "limits.image_size": parse_size,
    "limits.unpacked_size": parse_size,
    "limits.connect_timeout": _seconds,
    "limits.deadline": _seconds,
    "limits.minimum_rate": parse_size,
    "limits.retries": _number(0),
    "limits.redirects": _number(0),
    "limits.dependency_depth": _number(0),
    "gc.grace_period": parse_duration,
    "gc.keep": _number(0),
    "gc.max_size": _optional_size,
}
# The directories say where the files are, so no file can set them.
_IN_FILES = [name for name in _PARSERS if not name.endswith("_config")]


def environment_variable(option: str) -> str:
    """`limits.image-size` to `ACISTORE_LIMITS_IMAGE_SIZE`."""
    return "ACISTORE_" + option.upper().replace(".", "_").replace("-", "_")


def _section(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.split(".")[1]: value for key, value in values.items() if key.startswith(name + ".")}


def _parsed(name: str, value: object, source: str) -> Any:
    try:
        return _PARSERS[name](value)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{name}: {error}", facts={"set by": source}) from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[object, str]]]:
    for name in _PARSERS:
        variable = environment_variable(name)
        if variable in environ:
            yield name, (environ[variable], variable)


def _from_file(path: Path) -> Iterator[tuple[str, tuple[object, str]]]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    for name, value in _flattened(document):
        if name in UNSUPPORTED_SECTIONS:
            raise ConfigError(
                f"{path}: [[{name}]] is not supported by this version of acistore",
                next_step=f"take the [[{name}]] tables out of {path}",
            )
        if name not in _IN_FILES:
            near = difflib.get_close_matches(name, [*_IN_FILES, *UNSUPPORTED_SECTIONS], n=1, cutoff=0.4)
            raise ConfigError(f"{path}: unknown key {name!r}", facts={"did you mean": near[0]} if near else None)
        yield name, (value, str(path))


def _flattened(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    sections = {"limits", "gc"}
    for name, value in document.items():
        if name in sections and isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name, value
