"""Config: one frozen value of all that can be set, made of flags, environment and files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from acistore.config.options import BY_NAME, FILE_NAME, OPTIONS, TABLES, GcRules, Limits
from acistore.config.policies import Policy, read_policies
from acistore.config.sources import Given, from_environment, from_file, from_flags
from acistore.config.tables import Host, Mirror, read_hosts, read_mirrors
from acistore.config.values import CALLER, located
from acistore.errors import ConfigError

SYSTEM_CONFIG = Path("/usr/lib/acistore")
LOCAL_CONFIG = Path("/etc/acistore")
DEFAULT = "default"


_SECTIONS: Mapping[str, type] = {"limits": Limits, "gc": GcRules}
# What the tables are, and how those of one source are read.
_TABLES: Mapping[str, tuple[type, Callable[[Given], tuple[Any, ...]]]] = {
    "mirrors": (Mirror, lambda given: read_mirrors(given.value, given.origin)),
    "hosts": (Host, lambda given: read_hosts(given.value, given.origin, given.directory)),
    "policies": (Policy, lambda given: read_policies(given.value, given.origin)),
}


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
    return _of_user(environ, "XDG_DATA_HOME", ".local/share")


def _default_user_config(environ: Mapping[str, str]) -> Path:
    return _of_user(environ, "XDG_CONFIG_HOME", ".config")


def _of_user(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """XDG Base Directory Specification: a relative path in a variable doesn't count."""
    given = Path(environ.get(variable, ""))
    return (given if given.is_absolute() else _home() / default) / "acistore"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set. `Config()` is the defaults, `Config.load()` what applies here and now.

    A value that no file could set (`jobs` of 0), or as only files have it (`"2GiB"`), raises ConfigError.

    `ca_file` and `ca_directory` are believed in addition to the system's authorities. `mirrors`, `hosts` and
    `policies` are those of all sources, the strongest first. `origins` says for each option where its value came
    from: "flag", a variable, a file or "default"; for these tables the strongest source that has any.
    """

    dir: Path = field(default_factory=lambda: _default_dir(os.environ))
    system_config: Path = SYSTEM_CONFIG
    local_config: Path = LOCAL_CONFIG
    user_config: Path = field(default_factory=lambda: _default_user_config(os.environ))
    pull_policy: str = "update"
    jobs: int = 4
    insecure_options: frozenset[str] = frozenset()
    ca_file: Path | None = None
    ca_directory: Path | None = None
    private_redirects: bool = False
    mirrors_only: bool = False
    limits: Limits = field(default_factory=Limits)
    gc: GcRules = field(default_factory=GcRules)
    mirrors: tuple[Mirror, ...] = ()
    hosts: tuple[Host, ...] = ()
    policies: tuple[Policy, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name, kind in _SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name}: not {kind.__name__}(…)", facts={"set by": CALLER})
        for name, (kind, _) in _TABLES.items():
            tables = getattr(self, name)
            if not isinstance(tables, tuple) or not all(isinstance(each, kind) for each in tables):
                raise ConfigError(f"{name}: not a tuple of {kind.__name__}(…)", facts={"set by": CALLER})
        for option in OPTIONS:
            try:
                option.kind.check(self.value(option.name))
            except ValueError as error:
                raise ConfigError(f"{option.name}: {error}", facts={"set by": CALLER}) from None

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> "Config":
        """The configuration that applies, from flags, environment and files, in this order of strength.

        `flags` has dotted option names (`dir`, `limits.image_size`), and TOML text for `mirrors`, `hosts` and
        `policies`; a value of None was not given. Raises ConfigError, which names the file or variable, the option
        and what is wrong with it.
        """
        environ = os.environ if environ is None else environ
        strong = [from_flags(flags or {}), from_environment(environ)]
        settings = {
            "dir": Given(_default_dir(environ), DEFAULT),
            "system_config": Given(SYSTEM_CONFIG, DEFAULT),
            "local_config": Given(LOCAL_CONFIG, DEFAULT),
            "user_config": Given(_default_user_config(environ), DEFAULT),
        }
        for source in reversed(strong):
            settings.update(source)
        directories = {name: _parsed(name, settings[name]) for name in settings if name.endswith("_config")}
        files = [from_file(directory / FILE_NAME) for directory in reversed(directories.values())]
        sources = [*strong, *files]  # the strongest first
        for source in reversed(sources):
            settings.update(source)
        values = {name: _parsed(name, given) for name, given in settings.items() if name not in TABLES}
        tables = {
            name: tuple(each for source in sources if (given := source.get(name)) for each in read(given))
            for name, (_, read) in _TABLES.items()
        }
        origins = {name: settings[name].origin if name in settings else DEFAULT for name in BY_NAME}
        origins |= {name: each[0].origin if each else DEFAULT for name, each in tables.items()}
        return cls(
            **{name: value for name, value in values.items() if "." not in name},
            limits=Limits(**_section("limits", values)),
            gc=GcRules(**_section("gc", values)),
            mirrors=tables["mirrors"],
            hosts=tables["hosts"],
            policies=tables["policies"],
            origins=origins,
        )

    def value(self, option: str) -> Any:
        """The value of an option by its dotted name, `limits.image_size`."""
        return attrgetter(option)(self)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are looked for, the weakest first; those that aren't there say nothing."""
        return tuple(each / FILE_NAME for each in (self.system_config, self.local_config, self.user_config))


def _parsed(name: str, given: Given) -> Any:
    try:
        value = BY_NAME[name].kind.parse(given.value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", facts={"set by": given.origin}) from None
    return located(value, given.directory) if isinstance(value, Path) else value


def _section(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.split(".")[1]: value for key, value in values.items() if key.startswith(name + ".")}
