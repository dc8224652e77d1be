"""netrc: the hosts that are named in it. Its `default` is not used: nobody who wrote it meant every server."""

import netrc
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from acistore.errors import ConfigError
from acistore.net.credentials import files
from acistore.net.credentials.kinds import Basic, Credential
from acistore.net.hosts import host_key


def read_netrc(environ: Mapping[str, str] = os.environ) -> dict[str, Credential]:
    """The credentials in the file that NETRC names, or in `~/.netrc`, by host; none where there is no file.

    A file that we may not read is a warning. Raises ConfigError, which quotes nothing of the file.
    """
    path = Path(environ.get("NETRC") or "~/.netrc")
    with suppress(RuntimeError):  # a user without a home
        path = path.expanduser()
    try:
        if not path.is_file():
            return {}
        files.read(path)
        hosts = netrc.netrc(path).hosts
    except OSError as error:
        files.warn_once(str(path), f"{path} can't be read: {error.strerror}; credentials in it are not used")
        return {}
    except netrc.NetrcParseError as error:
        line = error.lineno
    except (ValueError, RecursionError):
        line = None
    else:
        return _named(hosts, path)
    where = "" if line is None else f", line {line}"
    raise ConfigError(f"{path}: not a netrc file{where}", next_step="mend it, or set NETRC to another file")


def _named(hosts: Mapping[str, tuple[str, str, str]], path: Path) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    for name, (login, _, password) in hosts.items():
        # Names that are no hosts, and entries without a password, are meant for other programs.
        with suppress(ValueError):
            if name != "default":
                found[host_key(name)] = Credential(Basic(login, password), str(path))
    return found
