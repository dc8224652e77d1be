"""What is SQLite's own: how a database file is opened, locked, copied and checked. The rest speaks SQLAlchemy.

A read is one snapshot (WAL); a write transaction takes the write lock when it begins, so that what it reads
still holds when it commits.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from acistore.errors import AcistoreError, StoreDamaged, StoreUnavailable

# How long a writer waits for another one's transaction, in seconds. Most take milliseconds; that of an image with
# as many files as are allowed takes half a minute.
BUSY_TIMEOUT = 120.0
# Bytes without which no database page can be written.
PAGE_SIZE = 4096

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """One SQLite file. `read` and `write` give a connection inside a transaction.

    Migrations rebuild tables, for which references must not be followed while they run: `foreign_keys=False`.
    `busy_timeout` is in seconds.
    """

    def __init__(self, path: Path, *, foreign_keys: bool = True, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self._engine = _engine(path, foreign_keys, busy_timeout)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def _engine(path: Path, foreign_keys: bool, busy_timeout: float) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": busy_timeout})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        except sqlite3.Error as error:
            raise store_error(error, path) from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> None:
        original = context.original_exception
        if isinstance(original, sqlite3.OperationalError | sqlite3.DatabaseError) and not isinstance(
            original, sqlite3.IntegrityError
        ):
            raise store_error(original, path) from original

    return engine


def store_error(error: BaseException, path: Path) -> AcistoreError:
    """What a database error means to the owner of the store."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGE:
        return StoreDamaged(
            f"the store's database {path} is damaged: {error}",
            next_step=f"put {path.name} back from a backup of the store; this version can't rebuild it",
        )
    if code == sqlite3.SQLITE_FULL or _free_space(path) < PAGE_SIZE:
        return StoreUnavailable(
            f"the disk of the store {path.parent} is full", next_step="make room on that disk, then acistore gc"
        )
    return StoreUnavailable(f"the store's database {path} can't be used: {error}")


def _free_space(path: Path) -> int:
    """Bytes free where a database is, as far as that can be told. SQLite calls a full disk an I/O error too."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return PAGE_SIZE


def copy(source: Path, target: Path) -> None:
    """A copy of a database as of one moment, whoever else is writing to it; on disk when this returns."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as duplicate:
        original.backup(duplicate)


def integrity_problems(database: Database) -> list[str]:
    """What SQLite finds wrong with the file, its indexes and its references; nothing when all is well."""
    with database.read() as connection:
        rows = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [f"database: {row}" for row in rows if row != "ok"] + reference_problems(connection)


def reference_problems(connection: Connection) -> list[str]:
    """Rows that refer to others that are not there."""
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"database: a row of {orphan[0]} refers to a missing one of {orphan[2]}" for orphan in orphans]
