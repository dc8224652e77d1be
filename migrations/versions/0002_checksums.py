"""Checksums of what packs don't say again; indexes that keep a large store fast; no packs without content."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IMAGE_STATE = ("digest", "imported_at", "last_used_at", "pinned", "latest")
ADMISSION = (
    *("image_id", "verdict", "scheme", "fingerprint", "signing_fingerprint", "signer", "rule"),
    *("signature_digest", "signed_at", "signature_expires_at", "admitted_at", "url", "insecure"),
)
REMOTE = ("url", "image_id", "asked", "signature_url", "etag", "last_modified", "max_age", "fetched_at")
AUTOINCREMENT = {"sqlite_autoincrement": True}


def upgrade() -> None:
    op.execute(
        "DELETE FROM pack WHERE NOT EXISTS (SELECT 1 FROM blob WHERE blob.pack_id = pack.id)"
        " AND NOT EXISTS (SELECT 1 FROM image WHERE image.pack_id = pack.id)"
    )
    op.create_index(
        "ix_pack_mostly_dead", "pack", ["id"], unique=False, sqlite_where=sa.text("dead_size * 2 - size > 0")
    )
    sequence = sa.text("SELECT name, seq FROM sqlite_sequence")
    numbers = {row.name: row.seq for row in op.get_bind().execute(sequence)}
    with op.batch_alter_table("image", recreate="always", table_kwargs=AUTOINCREMENT) as batch:
        batch.add_column(sa.Column("version", sa.String()), insert_after="name")
        _add_checksum(batch)
        batch.drop_index("ix_image_name")
    op.execute(
        "UPDATE image SET version ="
        " (SELECT value FROM label WHERE label.image_id = image.id AND label.name = 'version')"
    )
    _fill_checksums("image", "id", IMAGE_STATE, booleans=("pinned", "latest"))
    op.create_index("ix_image_name_version_imported_at", "image", ["name", "version", "imported_at"], unique=False)
    op.create_index("ix_image_name_imported_at", "image", ["name", "imported_at"], unique=False)
    op.create_index("ix_image_last_used_at", "image", ["last_used_at"], unique=False)
    op.create_index(
        "ix_image_latest", "image", ["name", "imported_at"], unique=False, sqlite_where=sa.text("latest = 1")
    )
    with op.batch_alter_table("admission", table_kwargs=AUTOINCREMENT) as batch:
        _add_checksum(batch)
    _fill_checksums("admission", "id", ADMISSION)
    with op.batch_alter_table("remote") as batch:
        _add_checksum(batch)
    _fill_checksums("remote", "url", REMOTE)
    op.execute("DELETE FROM sqlite_sequence")  # the copied tables don't know what was deleted before
    for name, number in numbers.items():
        op.execute(
            sa.text("INSERT INTO sqlite_sequence VALUES (:name, :number)").bindparams(name=name, number=number)
        )


def _add_checksum(batch: Any) -> None:
    """The default is for the rows that are there, until they are filled in."""
    batch.add_column(sa.Column("checksum", sa.LargeBinary(length=8), nullable=False, server_default=sa.text("''")))


def _fill_checksums(table: str, key: str, columns: tuple[str, ...], *, booleans: tuple[str, ...] = ()) -> None:
    connection = op.get_bind()
    listed = ", ".join(f'"{column}"' for column in dict.fromkeys((key, *columns)))
    for row in connection.execute(sa.text(f'SELECT {listed} FROM "{table}"')).mappings().all():
        values = [bool(row[column]) if column in booleans else row[column] for column in columns]
        text = json.dumps([value.hex() if isinstance(value, bytes) else value for value in values])
        connection.execute(
            sa.text(f'UPDATE "{table}" SET checksum = :checksum WHERE "{key}" = :key').bindparams(
                key=row[key], checksum=hashlib.sha512(text.encode()).digest()[:8]
            )
        )
    with op.batch_alter_table(table, table_kwargs=AUTOINCREMENT if key == "id" else {}) as batch:
        batch.alter_column("checksum", server_default=None)
