"""Which credentials are known for a host, from all places where they may stand.

In order of strength: `[[hosts]]` of acistore.toml; `auth.d` in the user, local and system configuration directory;
netrc. A stronger one replaces a weaker one host by host. What may be sent over which connection is the client's
business.
"""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import httpx

from acistore.config import Config, Host
from acistore.errors import ConfigError
from acistore.net.credentials import files
from acistore.net.credentials.kinds import AwsKey, Basic, Bearer, Credential, Secret
from acistore.net.credentials.netrc_file import read_netrc
from acistore.net.credentials.rkt import DIRECTORY, read_directory
from acistore.net.hosts import for_host


class Credentials:
    """All that are known. Safe to use from several threads. The files are read once, when they are needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: Mapping[str, Credential] | None = None
        self._lock = Lock()

    def for_url(self, url: httpx.URL) -> Credential | None:
        """Those for the host of a URL. Raises ConfigError for a file that can't be understood."""
        return for_host(self._all(), url)

    def sources(self) -> dict[str, str]:
        """Where those for each host come from, by its name. Raises ConfigError as `for_url`."""
        return {name: each.source for name, each in sorted(self._all().items())}

    def _all(self) -> Mapping[str, Credential]:
        with self._lock:
            if self._known is None:
                self._known = _read(self._config)
            return self._known


def _read(config: Config) -> dict[str, Credential]:
    found = read_netrc()
    for directory in (config.system_config, config.local_config, config.user_config):
        found |= read_directory(directory / DIRECTORY, ours=directory == config.user_config)
    for host in reversed(config.hosts):
        try:
            secret = _from_table(host)
        except ValueError as error:
            raise ConfigError(f"{host.origin}: hosts: {host.name}: {error}") from None
        if secret is not None:
            files.warn_if_open(Path(host.origin))
            found[host.name] = Credential(secret, host.origin)
    return found


def _from_table(host: Host) -> Secret | None:
    if host.token is not None:
        return Bearer(host.token)
    if host.username is not None:
        return Basic(host.username, host.password or "")
    if host.aws_access_key_id is not None:
        return AwsKey(
            host.aws_access_key_id,
            host.aws_secret_access_key or "",
            host.aws_region,
            host.aws_service,
            host.aws_session_token,
        )
    return None
