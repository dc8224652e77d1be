"""The files of TLS that a configuration names: which option named one, and whether it can be read.

What stands in them is for net/tls.py.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from acistore.config.config import Config
from acistore.config.tables import Host
from acistore.config.values import CALLER
from acistore.errors import ConfigError

_OF_HOSTS = ("ca_file", "ca_directory", "client_certificate", "client_key")


@dataclass(frozen=True, slots=True)
class Setting:
    """A path, and the option that it was set by, for messages.

    The options of `[[hosts]]` name the host, so two hosts with the same file have different settings.
    """

    path: Path
    option: str
    origin: str

    def failure(self, reason: str, next_step: str | None = None) -> ConfigError:
        """The error for a path that is no use."""
        return ConfigError(
            f"{self.option}: {self.path} {reason}", facts={"set by": self.origin}, next_step=next_step
        )

    def open(self) -> BinaryIO:
        """The file that stands there, for reading. Raises ConfigError; a pipe is no file, and isn't waited for."""
        try:
            file = open(self.path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise self._unreadable(error) from None
        if not self.path.is_file():
            file.close()
            raise self.failure("is not a file")
        return file

    def entries(self) -> list[str]:
        """The names in the directory that stands there. Raises ConfigError."""
        try:
            return [each.name for each in self.path.iterdir()]
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> ConfigError:
        return self.failure(f"can't be read: {error.strerror}")


def of_all_hosts(config: Config, option: str) -> Setting | None:
    """What `ca_file` or `ca_directory` outside of `[[hosts]]` is set to."""
    path: Path | None = config.value(option)
    return Setting(path, option, config.origins.get(option, CALLER)) if path else None


def of_host(host: Host, key: str) -> Setting | None:
    """What a key of a table is set to."""
    path: Path | None = getattr(host, key)
    return Setting(path, f"hosts.{key} of {host.name}", host.origin) if path else None


def unreadable(config: Config) -> Iterator[ConfigError]:
    """Why each of these paths is no use that is not there, can't be read, or is no file (or directory)."""
    named = [(option, of_all_hosts(config, option)) for option in ("ca_file", "ca_directory")]
    named += [(key, of_host(host, key)) for host in config.hosts for key in _OF_HOSTS]
    for option, setting in named:
        try:
            if setting and option == "ca_directory":
                setting.entries()
            elif setting:
                setting.open().close()
        except ConfigError as error:
            yield error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
