"""What is SQLite's own: how a database file is opened, locked, copied and checked. The rest speaks SQLAlchemy.

A read is one snapshot (WAL); a write transaction takes the write lock when it begins, so that what it reads
still holds when it commits.

Whoever may write leaves the log (`-wal`, empty) and its index (`-shm`) where they are when it closes: SQLite
can't read a database in WAL mode without them, and somebody who may only read can't make them.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

from acistore.errors import AcistoreError, DiskFull, StoreDamaged, StoreUnavailable

# How long a writer waits for another one's transaction, in seconds. Most take milliseconds; that of an image with
# as many files as are allowed takes half a minute.
BUSY_TIMEOUT = 120.0
# The longest time, in seconds, that SQLite itself waits for a writer: no signal is noticed meanwhile.
_TURN = 0.1
# Bytes without which no database page can be written.
PAGE_SIZE = 4096
# Bytes of memory for pages: a transaction that changes more has them written twice.
CACHE_SIZE = 16 << 20
# Bytes of unused pages that are worth the work of giving them back.
SHRINK_FROM = 4 << 20
REPAIR = "acistore verify --repair"
LOG, LOG_INDEX = "-wal", "-shm"
# Bytes of a log's header. Where there is no more, SQLite waits ten seconds in somebody who may only read, in vain.
LOG_HEADER = 32

# What comes of rows that hold something else than was written, before anybody can say that this is damage.
NONSENSE = (SQLAlchemyError, ValueError, TypeError, AttributeError, OverflowError)

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# What SQLite says when a table or column is not there, or text is no text, which only damage can bring about.
_ODD_SCHEMA = (
    *("no such table", "no such column", "has no column", "already exists", "malformed"),
    *("unsupported file format", "Could not decode to UTF-8"),
)


class Database:
    """One SQLite file. `read` and `write` give a connection inside a transaction.

    `writable=False` changes nothing, not even beside the file: for a medium or a user that may only be read by.
    Migrations rebuild tables, for which references must not be followed while they run: `foreign_keys=False`.
    `busy_timeout` is in seconds.
    """

    def __init__(
        self, path: Path, *, writable: bool = True, foreign_keys: bool = True, busy_timeout: float = BUSY_TIMEOUT
    ) -> None:
        self.path = path
        self.writable = writable
        self._resources = ExitStack()
        with store_errors(path):
            place = _uri(path, "rw") if writable else self._resources.enter_context(_readable(path))
        self._engine = _engine(path, place, writable, foreign_keys, busy_timeout)

    def require_writable(self) -> None:
        """Raises StoreUnavailable where nothing can be changed."""
        if not self.writable:
            raise StoreUnavailable(
                f"the store {self.path.parent} can only be read from here",
                next_step="run this as the user that the store belongs to, or choose another one with --dir DIR",
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.require_writable()
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @property
    def has_log(self) -> bool:
        """Whether there are commits that are not in the file itself yet."""
        return _size(self.path.with_name(self.path.name + LOG)) > 0

    def settle(self) -> None:
        """Makes sure that what a failed commit has left in the log can't come to life.

        SQLite may report that a commit has failed whose pages are all in the log: nobody sees them until all have
        gone, and whoever comes then takes them for a commit. A commit that succeeds stands in their place.
        """
        if not self.has_log:
            return
        with self.write() as connection:
            number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {(number + 1) % (1 << 30)}")

    def shrink(self) -> int:
        """Gives pages back to the disk when most of them are unused and nobody else is at work; returns how many
        bytes the file lost."""
        before = _size(self.path)
        with (
            store_errors(self.path),
            closing(sqlite3.connect(_uri(self.path, "rw"), uri=True, timeout=0)) as alone,
        ):
            (unused,) = alone.execute("PRAGMA freelist_count").fetchone()
            if unused * PAGE_SIZE < max(SHRINK_FROM, before // 2):
                return 0
            with suppress(sqlite3.OperationalError):  # somebody is at work, or there is no room: another time
                alone.execute("VACUUM")
                alone.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return before - _size(self.path)

    def close(self) -> None:
        if self.writable:
            with _log_kept(self.path):
                self._engine.dispose()
        else:
            self._engine.dispose()
        self._resources.close()


def _engine(path: Path, uri: str, writable: bool, foreign_keys: bool, busy_timeout: float) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=busy_timeout, check_same_thread=False)

    engine = create_engine(URL.create("sqlite", database=str(path)), creator=connect, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        with store_errors(path):
            if writable:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_SIZE // 1024}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            _begin_writing(connection, busy_timeout)
        else:
            connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> None:
        original = context.original_exception
        if isinstance(original, sqlite3.IntegrityError):
            return
        if isinstance(original, sqlite3.Error | UnicodeDecodeError):
            raise store_error(original, path) from original

    return engine


def _begin_writing(connection: Connection, patience: float) -> None:
    """Waits for the writers before us, so many seconds, in turns: Ctrl-C can end it between two."""
    raw = connection.connection
    end = time.monotonic() + patience
    try:
        while True:
            left = end - time.monotonic()
            raw.execute(f"PRAGMA busy_timeout = {int(max(0.0, min(_TURN, left)) * 1000)}")
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except StoreUnavailable as error:
                if left <= 0 or getattr(error.__cause__, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
                    raise
            else:
                return
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")


# --- who may only read


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    """The URI by which a database can be read without a change to its directory.

    With log and log index beside it SQLite does that by itself, whoever else is writing. Without them it reads a
    file that nobody can change; from a disk that others may write to, it reads a private copy.
    """
    log = path.with_name(path.name + LOG)
    if path.with_name(path.name + LOG_INDEX).exists() and log.exists() and not _is_cut_off(log):
        yield _uri(path, "ro")
    elif os.statvfs(path.parent).f_flag & os.ST_RDONLY and _size(log) <= LOG_HEADER:
        yield _uri(path, "ro", "&immutable=1")
    else:
        with TemporaryDirectory(prefix="acistore-") as directory:
            private = Path(directory) / path.name
            before = None
            while before != (before := (_changed(path), _changed(log))):
                _copy_if_there(log, private.with_name(private.name + LOG))
                shutil.copyfile(path, private)
            yield _uri(private, "rw")


def _is_cut_off(log: Path) -> bool:
    """Whether a log ends with its header, or within: a writer has died there, or the disk was full."""
    return 0 < _size(log) <= LOG_HEADER


def _copy_if_there(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.copyfile(source, target)


def _changed(path: Path) -> tuple[int, int] | None:
    """What tells that a file was written to: size and time; None where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _size(path: Path) -> int:
    return (_changed(path) or (0, 0))[0]


def _uri(path: Path, mode: str, more: str = "") -> str:
    absolute = os.fsencode(path.absolute()).lstrip(b"/")
    return f"file:///{quote(absolute)}?mode={mode}{more}"


@contextmanager
def _log_kept(path: Path) -> Iterator[None]:
    """Brings what is in the log into the database, and keeps SQLite from deleting it with the last connection:
    the very last one, ours, may not write."""
    if _is_cut_off(path.with_name(path.name + LOG)):
        yield
        return
    with ExitStack() as stack:
        with suppress(sqlite3.Error):
            last = stack.enter_context(closing(sqlite3.connect(_uri(path, "ro"), uri=True, timeout=0)))
            last.execute("PRAGMA schema_version").fetchall()
        if _size(path.with_name(path.name + LOG)):
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(_uri(path, "rw"), uri=True, timeout=0)) as writer,
            ):
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        yield


# --- what goes wrong


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Tells errors of SQLite as what they mean for the store. Raises StoreDamaged, DiskFull, StoreUnavailable."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(error, path) from error
    except OSError as error:
        raise StoreUnavailable(f"the store's database {path} can't be read: {error.strerror}") from error


def store_error(error: BaseException, path: Path) -> AcistoreError:
    """What a database error means to the owner of the store."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    unreadable = isinstance(error, UnicodeDecodeError)  # the message itself cites what is damaged
    if (
        unreadable
        or code in _DAMAGE
        or (code in (0, sqlite3.SQLITE_ERROR) and any(words in str(error) for words in _ODD_SCHEMA))
    ):
        return StoreDamaged(f"the store's database {path} is damaged: {error}", next_step=REPAIR)
    if code == sqlite3.SQLITE_FULL or _free_space(path) < PAGE_SIZE:
        return DiskFull(
            f"the disk of the store {path.parent} is full",
            facts={"free": f"{_free_space(path)} bytes", "needed": "room for a database transaction"},
            next_step="acistore gc",
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreUnavailable(
            f"another process has been writing to the store {path.parent} for a long time",
            facts={"waited": f"{BUSY_TIMEOUT:.0f} seconds"},
            next_step="try again",
        )
    return StoreUnavailable(f"the store's database {path} can't be used: {error}")


def _free_space(path: Path) -> int:
    """Bytes free where a database is, as far as that can be told. SQLite calls a full disk an I/O error too."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return PAGE_SIZE


# --- copies and checks


def copy(source: Path, target: Path) -> None:
    """A copy of a database as of one moment, whoever else is writing to it. Raises StoreDamaged, DiskFull."""
    with (
        store_errors(source),
        closing(sqlite3.connect(source)) as original,
        closing(sqlite3.connect(target)) as duplicate,
    ):
        original.backup(duplicate)


def integrity_problems(connection: Connection) -> list[str]:
    """What SQLite finds wrong with the file, its indexes and its references; nothing when all is well."""
    rows = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return [str(row) for row in rows if row != "ok"] + reference_problems(connection)


def reference_problems(connection: Connection) -> list[str]:
    """Rows that refer to others that are not there."""
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"a row of {orphan[0]} refers to a missing one of {orphan[2]}" for orphan in orphans]


def schema_problems(connection: Connection, create: Callable[[Connection], None]) -> list[str]:
    """Tables and indexes that are not as `create` makes them."""
    engine = create_engine("sqlite://")
    with engine.begin() as fresh:
        create(fresh)
        right = _definitions(fresh)
    engine.dispose()
    found = _definitions(connection)
    return [
        f"the definition of {name} is not what it was"
        for name in {**right, **found}
        if right.get(name) != found.get(name)
    ]


def _definitions(connection: Connection) -> dict[str, list[str]]:
    """The words of what made each table and index, in an order and a spelling that migrations don't change."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {
        name: sorted(sql.replace('"', "").replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split())
        for name, sql in rows
        if not name.startswith("sqlite_")
    }


def sequence_problems(connection: Connection) -> list[str]:
    """Tables whose next numeric key would be one that is in use."""
    rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
    return [
        f"the next key of {name} is in use"
        for name, number in rows
        if (connection.exec_driver_sql(f'SELECT max(id) FROM "{name}"').scalar() or 0) > number  # noqa: S608
    ]
