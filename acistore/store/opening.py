"""How a store is opened: made where there is none, upgraded where it is older, refused where it is newer or lost.

Whoever may not write to its directory opens it all the same, for reading.
"""

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import inspect, select

from acistore.errors import DiskFull, StoreDamaged, StoreTooNew, StoreUnavailable
from acistore.store import schema
from acistore.store.disk import Disk
from acistore.store.packs import LocalPacks, PackStorage
from acistore.store.sqlite import LOG, REPAIR, Database
from acistore.store.workspace import Workspace

# The revision of a database in which migrations were begun, and none has ended.
UNFINISHED = "none"


def open_disk(directory: Path, resources: ExitStack) -> Disk:
    """The store's places, ready for use; `resources` holds what is to be released in the end.

    Raises StoreUnavailable, DiskFull, StoreTooNew, StoreDamaged.
    """
    workspace = Workspace(directory)
    packs = LocalPacks(workspace.packs)
    workspace.refuse_odd_files()
    if is_database_lost(workspace, packs):
        raise StoreDamaged(
            f"the store {directory} has packs, but its database {workspace.database.name} is missing",
            facts={"packs": str(len(packs.list()))},
            next_step=REPAIR,
        )
    writable = workspace.writable
    if writable:
        workspace.create()
    resources.enter_context(workspace.in_use())
    try:
        database = _open_database(workspace, writable)
    except DiskFull:  # even a look into the database needs a little room
        if not (writable and workspace.give_up_reserve()):
            raise
        database = _open_database(workspace, writable)
    resources.callback(database.close)
    return Disk(database, packs, workspace)


def is_database_lost(workspace: Workspace, packs: PackStorage) -> bool:
    """Whether there are packs, and no database that could know of them. Raises StoreUnavailable."""
    log = workspace.database.with_name(workspace.database.name + LOG)

    def is_empty() -> bool:
        return not any(_has_content(path) for path in (log, workspace.database))

    try:
        # Asked again at the end: somebody may just have made the store, and put something into it.
        return is_empty() and bool(packs.list()) and is_empty()
    except OSError as error:
        raise StoreUnavailable(f"the store {workspace.root} can't be read: {error.strerror}") from error


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _open_database(workspace: Workspace, writable: bool) -> Database:
    database = Database(workspace.database, writable=writable)
    try:
        _prepare(database, workspace)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database, workspace: Workspace) -> None:
    """Makes the tables in a new database, upgrades those of an older one, refuses a newer one."""
    revision = revision_of(database)
    if revision == schema.REVISION:
        return
    if revision is None and database.writable:
        with database.write() as connection:
            if not inspect(connection).has_table(schema.version.name):
                schema.create(connection)
        return
    from acistore.store import migrate  # noqa: PLC0415 - Alembic takes longer to import than most commands run

    if revision not in {None, UNFINISHED, *migrate.known_revisions()}:
        raise StoreTooNew(
            f"the store {database.path.parent} was written by a newer acistore",
            facts={"schema": str(revision), "known here": schema.REVISION},
            next_step="upgrade acistore",
        )
    if not database.writable:
        raise StoreUnavailable(
            f"the store {database.path.parent} was written by an older acistore, and can only be read from here",
            facts={"schema": revision or "none yet", "known here": schema.REVISION},
            next_step="have somebody open it who may write to it: acistore list",
        )
    migrate.upgrade(workspace)


def revision_of(database: Database) -> str | None:
    """The schema's revision; None where no schema was made yet."""
    with database.read() as connection:
        if not inspect(connection).has_table(schema.version.name):
            return None
        revisions = connection.execute(select(schema.version.c.version_num)).scalars().all()
    if len(revisions) > 1:
        raise StoreDamaged(
            f"the store's database {database.path} is damaged: it has {len(revisions)} schema revisions",
            next_step=REPAIR,
        )
    return revisions[0] if revisions else UNFINISHED
