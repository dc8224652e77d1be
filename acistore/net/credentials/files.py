"""Files that hold secrets: read within bounds, and told about when others can read them too."""

import os
import stat
from pathlib import Path
from threading import Lock

from acistore.errors import ConfigError
from acistore.events import log_of

log = log_of("acistore.net.credentials")

# Bytes; no file of credentials is longer.
LONGEST = 1 << 20

_told: set[tuple[str, str]] = set()
_lock = Lock()


def read(path: Path) -> bytes:
    """The content of a file of credentials, and a warning when others can read it.

    Raises ConfigError for what is no file or too long, PermissionError when we may not, and other OSErrors.
    """
    # A pipe without a writer would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ConfigError(f"{path}: not a file")
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ConfigError(f"{path}: longer than {LONGEST} bytes, which no file of credentials is")
    warn_if_open(path, state)
    return content


def warn_if_open(path: Path, state: os.stat_result | None = None) -> None:
    """Logs a warning, once per file and process, when somebody but its owner can read a file of secrets."""
    try:
        mode = (state or path.stat()).st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn_once(str(path), f"{path} holds secrets and can be read by other users: chmod 600 {path}")


def warn_once(subject: str, message: str) -> None:
    """Logs a warning about a subject, which this process has not got yet."""
    with _lock:
        if (subject, message) in _told:
            return
        _told.add((subject, message))
    log.warning("%s", message)
