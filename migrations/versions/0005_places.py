"""Where redirects ended, to which the validators of an image and of its signature belong."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from acistore.errors import StoreDamaged
from acistore.store.sqlite import REPAIR

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = (
    *("url", "image_id", "asked", "signature_url", "etag", "last_modified", "max_age", "fetched_at"),
    *("signature_etag", "signature_last_modified"),
)
AFTER = (*BEFORE, "place", "signature_place")


def upgrade() -> None:
    connection = op.get_bind()
    if {column["name"] for column in sa.inspect(connection).get_columns("remote")} != {*BEFORE, "checksum"}:
        raise StoreDamaged(
            "the store's database has other tables than its schema revision, 0004, stands for", next_step=REPAIR
        )
    with op.batch_alter_table("remote") as batch:
        batch.add_column(sa.Column("place", sa.String()))
        batch.add_column(sa.Column("signature_place", sa.String()))
    for row in connection.execute(sa.text("SELECT * FROM remote")).mappings().all():
        # What is damaged must not become right by this.
        if row["checksum"] == _checksum([row[column] for column in BEFORE]):
            connection.execute(
                sa.text("UPDATE remote SET checksum = :checksum WHERE url = :url").bindparams(
                    url=row["url"], checksum=_checksum([row[column] for column in AFTER])
                )
            )


def _checksum(values: list[object]) -> bytes:
    text = json.dumps([value.hex() if isinstance(value, bytes) else value for value in values])
    return hashlib.sha512(text.encode()).digest()[:8]
