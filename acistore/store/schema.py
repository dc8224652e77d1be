"""The tables. The questions asked of them are in index.py; how an older schema becomes this one, in migrations/.

Numeric keys are never used twice (AUTOINCREMENT): a row that refers to a blob which a garbage collection took
away must fail, not find another blob under the same number.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    insert,
)
from sqlalchemy.engine import Dialect

# The revision of migrations/versions that makes these tables.
REVISION = "0001"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A point in time, kept as whole microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


def _key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _of_image() -> ForeignKey:
    return ForeignKey("image.id", ondelete="CASCADE")


pack = Table(
    "pack",
    metadata,
    _key(),
    Column("name", String, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    # Bytes of bodies and skeletons in it that nothing refers to any more.
    Column("dead_size", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

blob = Table(
    "blob",
    metadata,
    _key(),
    Column("digest", LargeBinary(64), nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("pack_id", ForeignKey("pack.id"), nullable=False, index=True),
    Column("offset", BigInteger, nullable=False),
    Column("encoding", String, nullable=False),
    sqlite_autoincrement=True,
)

image = Table(
    "image",
    metadata,
    _key(),
    Column("digest", LargeBinary(64), nullable=False, unique=True),
    Column("name", String, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("imported_at", Moment, nullable=False),
    Column("last_used_at", Moment, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("pack_id", ForeignKey("pack.id"), nullable=False, index=True),
    Column("skeleton_offset", BigInteger, nullable=False),
    Column("skeleton_length", BigInteger, nullable=False),
    Column("skeleton_digest", LargeBinary(64), nullable=False),
    sqlite_autoincrement=True,
)

label = Table(
    "label",
    metadata,
    Column("image_id", _of_image(), primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

# What an image needs below it. Labels are JSON, as the manifest has them.
dependency = Table(
    "dependency",
    metadata,
    Column("image_id", _of_image(), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("digest", LargeBinary(64), nullable=True),
    Column("labels", String, nullable=False),
)

# Each path once, as the bytes that the archive has: not every archive is in UTF-8.
path = Table(
    "path",
    metadata,
    _key(),
    Column("text", LargeBinary, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

# One row an archive entry; entries without a body of their own (directories, links) have no blob.
file = Table(
    "file",
    metadata,
    Column("image_id", _of_image(), primary_key=True),
    Column("path_id", ForeignKey("path.id"), primary_key=True),
    Column("blob_id", ForeignKey("blob.id"), nullable=True),
    Index(None, "path_id"),
    Index(None, "blob_id"),
    sqlite_with_rowid=False,
)

remote = Table(
    "remote",
    metadata,
    Column("url", String, primary_key=True),
    Column("image_id", _of_image(), nullable=False, index=True),
    # The image name, as discovery was asked for it; NULL where the URL itself was asked for.
    Column("asked", String, index=True),
    Column("signature_url", String),
    Column("etag", String),
    Column("last_modified", String),
    Column("max_age", Integer),
    Column("fetched_at", Moment, nullable=False),
)

admission = Table(
    "admission",
    metadata,
    _key(),
    Column("image_id", _of_image(), nullable=False, index=True),
    Column("verdict", String, nullable=False),
    Column("scheme", String),
    Column("fingerprint", String, index=True),
    Column("signing_fingerprint", String),
    Column("signer", String),
    Column("rule", String),
    Column("signature_digest", LargeBinary(64)),
    Column("signed_at", Moment),
    Column("signature_expires_at", Moment),
    Column("admitted_at", Moment, nullable=False),
    Column("url", String),
    # Comma-separated names of the checks that were off.
    Column("insecure", String, nullable=False),
    sqlite_autoincrement=True,
)

# Alembic's own table, as it makes it itself.
version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def create(connection: Connection) -> None:
    """Makes all tables as of REVISION, and says so where Alembic looks: no migration is run for a new store."""
    metadata.create_all(connection)
    version.create(connection)
    connection.execute(insert(version).values(version_num=REVISION))
