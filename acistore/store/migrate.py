"""An older store becomes one of today: the database is copied aside, then Alembic runs. Imported only for that."""

from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from acistore.errors import StoreDamaged
from acistore.store import sqlite
from acistore.store.sqlite import Database


def scripts() -> Path:
    """The directory of the migrations: inside the package when it was installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def known_revisions(location: Path | None = None) -> set[str]:
    """The schema revisions that this version can upgrade from."""
    directory = ScriptDirectory.from_config(_config(location))
    return {script.revision for script in directory.walk_revisions()}


def upgrade(database: Path, *, location: Path | None = None, revision: str = "head") -> Path:
    """Upgrades a database file to a revision, and returns the copy that was made of it before.

    The upgrade is one transaction: when it fails, the database is as it was. Raises StoreDamaged when rows refer
    to others that are not there afterwards.
    """
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = database.with_name(f"{database.name}.before-{moment}")
    sqlite.copy(database, aside)
    config = _config(location)
    opened = Database(database, foreign_keys=False)
    try:
        with opened.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if orphans := sqlite.reference_problems(connection):
                raise StoreDamaged(
                    f"the store's database {database} can't be upgraded: {orphans[0]}",
                    facts={"copy": str(aside)},
                )
    finally:
        opened.close()
    return aside


def _config(location: Path | None) -> Config:
    config = Config()
    # Alembic reads the value as a format string.
    config.set_main_option("script_location", str(location or scripts()).replace("%", "%%"))
    return config
