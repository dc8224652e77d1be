"""A failure at the nth statement that a process sends to its database.

Statements are stopped where SQLAlchemy hands them to the driver, so that an error takes the way of a real one. The
end of a transaction can be a place to die, but not to fail: what can fail in it are system calls.
"""

import os
import signal
import sqlite3
from typing import Any

from sqlalchemy import Engine, event


class StatementFault:
    """Lets the nth statement of this process fail, or kills the process before it; n = 0: only counts."""

    def __init__(self, number: int, *, kill: bool) -> None:
        self.count = 0
        self._number = number
        self._kill = kill
        for name in ("do_execute", "do_executemany", "do_execute_no_params"):
            event.listen(Engine, name, self._executes)
        if kill:
            event.listen(Engine, "commit", self._commits)

    def _executes(self, _cursor: Any, _statement: str, *_rest: Any) -> None:
        self.count += 1
        if self.count == self._number:
            if self._kill:
                os.kill(os.getpid(), signal.SIGKILL)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            error.sqlite_errorname = "SQLITE_IOERR"
            raise error

    def _commits(self, _connection: Any) -> None:
        self._executes(None, "COMMIT")
