"""An older store becomes one of today: the database is copied aside, then Alembic runs. Imported only for that."""

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from acistore.errors import StoreDamaged
from acistore.store import sqlite
from acistore.store.sqlite import Database
from acistore.store.workspace import Workspace, sync_directory


def scripts() -> Path:
    """The directory of the migrations: inside the package when it was installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def known_revisions(location: Path | None = None) -> set[str]:
    """The schema revisions that this version can upgrade from."""
    directory = ScriptDirectory.from_config(_config(location))
    return {script.revision for script in directory.walk_revisions()}


def upgrade(workspace: Workspace, *, location: Path | None = None, revision: str = "head") -> Path | None:
    """Upgrades a store's database to a revision, and returns the copy that was made of it before; None when
    another process was first.

    All is one transaction: when it fails, the database is as it was. Raises StoreDamaged when rows refer to others
    that are not there afterwards, or when its tables are not those of its revision.
    """
    config = _config(location)
    database = Database(workspace.database, foreign_keys=False)
    try:
        with database.write() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            if found == ScriptDirectory.from_config(config).get_revision(revision).revision:
                return None
            aside = _copy_aside(workspace, found or "first")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if orphans := sqlite.reference_problems(connection):
                raise StoreDamaged(
                    f"the store's database {workspace.database} can't be upgraded: {orphans[0]}",
                    facts={"copy": str(aside)},
                )
    finally:
        database.close()
    return aside


def _copy_aside(workspace: Workspace, found: str) -> Path:
    """A copy of the database beside it, named after its revision; under its name only when it is whole."""
    aside = workspace.database.with_name(f"{workspace.database.name}.before-{found}")
    with workspace.writing(), workspace.scratch() as file:
        sqlite.copy(workspace.database, Path(file.name))
        os.fsync(file.fileno())
        Path(file.name).rename(aside)
        sync_directory(workspace.root)
    return aside


def _config(location: Path | None) -> Config:
    config = Config()
    # Alembic reads the value as a format string.
    config.set_main_option("script_location", str(location or scripts()).replace("%", "%%"))
    return config
