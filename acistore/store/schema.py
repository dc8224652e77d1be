"""The tables. The questions asked of them are in index.py; how an older schema becomes this one, in migrations/.

Numeric keys are never used twice (AUTOINCREMENT): a row that refers to a blob which a garbage collection took
away must fail, not find another blob under the same number.

What could not be read from the packs again is covered by a checksum in its row (`IMAGE_STATE`, `ADMISSION`,
`REMOTE`, `NEWEST`), since SQLite has none of its own; all else is compared with the packs by `verify`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
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

from acistore.errors import StoreDamaged

# The revision of migrations/versions that makes these tables.
REVISION = "0005"

_EPOCH = datetime.fromtimestamp(0, UTC)

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
        return None if value is None else _microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        try:
            return None if value is None else _EPOCH + timedelta(microseconds=value)
        except (ValueError, TypeError, OverflowError):
            raise StoreDamaged(f"a time in the store's database can't be right: {value!r}") from None


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


def is_mostly_dead(size: Any, dead_size: Any) -> Any:
    """Whether more than half of a pack is dead: of numbers, or as a condition of columns."""
    return dead_size * 2 - size > 0


# Those few packs are found without a look at all the others.
mostly_dead = is_mostly_dead(pack.c.size, pack.c.dead_size)
Index("ix_pack_mostly_dead", pack.c.id, sqlite_where=mostly_dead)

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
    Column("name", String, nullable=False),
    # The label of that name, once more: there may be thousands of versions of one image.
    Column("version", String),
    Column("size", BigInteger, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("imported_at", Moment, nullable=False),
    Column("last_used_at", Moment, nullable=False, index=True),
    Column("pinned", Boolean, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("pack_id", ForeignKey("pack.id"), nullable=False, index=True),
    Column("skeleton_offset", BigInteger, nullable=False),
    Column("skeleton_length", BigInteger, nullable=False),
    Column("skeleton_digest", LargeBinary(64), nullable=False),
    Column("checksum", LargeBinary(8), nullable=False),
    Index(None, "name", "version", "imported_at"),
    Index(None, "name", "imported_at"),
    sqlite_autoincrement=True,
)
Index("ix_image_latest", image.c.name, image.c.imported_at, sqlite_where=image.c.latest == 1)

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
    # Of the signature, as etag and last_modified are of the image.
    Column("signature_etag", String),
    Column("signature_last_modified", String),
    # Where redirects ended, whose those are; NULL where there were none.
    Column("place", String),
    Column("signature_place", String),
    Column("checksum", LargeBinary(8), nullable=False),
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
    Column("checksum", LargeBinary(8), nullable=False),
    sqlite_autoincrement=True,
)

# What was last admitted as latest of a name with these labels (as JSON; all but the version). It says what the
# next one is compared with, and so it outlives the image: a collection must not clear the way for an older one.
newest = Table(
    "newest",
    metadata,
    Column("name", String, primary_key=True),
    Column("labels", String, primary_key=True),
    Column("digest", LargeBinary(64), nullable=False),
    Column("version", String),
    Column("created", Moment),
    Column("admitted_at", Moment, nullable=False),
    Column("checksum", LargeBinary(8), nullable=False),
)

# The columns that the checksum of a row covers.
IMAGE_STATE = ("digest", "imported_at", "last_used_at", "pinned", "latest")
ADMISSION = tuple(each.name for each in admission.c if each.name not in ("id", "checksum"))
REMOTE = tuple(each.name for each in remote.c if each.name != "checksum")
NEWEST = tuple(each.name for each in newest.c if each.name != "checksum")


def checksum(row: Mapping[str, Any], columns: Iterable[str]) -> bytes:
    """The checksum (8 bytes) of these columns of a row: of their values as JSON, bytes in hex, times in
    microseconds since 1970."""
    values = json.dumps([_plain(row[column]) for column in columns], ensure_ascii=True)
    return hashlib.sha512(values.encode()).digest()[:8]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return _microseconds(value) if isinstance(value, datetime) else value


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


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
