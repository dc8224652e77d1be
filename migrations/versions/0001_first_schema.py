"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pack",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("dead_size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pack")),
        sa.UniqueConstraint("name", name=op.f("uq_pack_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "path",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_path")),
        sa.UniqueConstraint("text", name=op.f("uq_path_text")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "blob",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("encoding", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["pack_id"], ["pack.id"], name=op.f("fk_blob_pack_id_pack")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blob")),
        sa.UniqueConstraint("digest", name=op.f("uq_blob_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_blob_pack_id"), "blob", ["pack_id"], unique=False)
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("skeleton_offset", sa.BigInteger(), nullable=False),
        sa.Column("skeleton_length", sa.BigInteger(), nullable=False),
        sa.Column("skeleton_digest", sa.LargeBinary(length=64), nullable=False),
        sa.ForeignKeyConstraint(["pack_id"], ["pack.id"], name=op.f("fk_image_pack_id_pack")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("digest", name=op.f("uq_image_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_image_name"), "image", ["name"], unique=False)
    op.create_index(op.f("ix_image_pack_id"), "image", ["pack_id"], unique=False)
    op.create_table(
        "admission",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("scheme", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("signing_fingerprint", sa.String(), nullable=True),
        sa.Column("signer", sa.String(), nullable=True),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("signature_digest", sa.LargeBinary(length=64), nullable=True),
        sa.Column("signed_at", sa.BigInteger(), nullable=True),
        sa.Column("signature_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("admitted_at", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("insecure", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_admission_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admission")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_admission_fingerprint"), "admission", ["fingerprint"], unique=False)
    op.create_index(op.f("ix_admission_image_id"), "admission", ["image_id"], unique=False)
    op.create_table(
        "dependency",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=64), nullable=True),
        sa.Column("labels", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_dependency_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "position", name=op.f("pk_dependency")),
    )
    op.create_index(op.f("ix_dependency_name"), "dependency", ["name"], unique=False)
    op.create_table(
        "file",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("path_id", sa.Integer(), nullable=False),
        sa.Column("blob_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["blob_id"], ["blob.id"], name=op.f("fk_file_blob_id_blob")),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_file_image_id_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["path_id"], ["path.id"], name=op.f("fk_file_path_id_path")),
        sa.PrimaryKeyConstraint("image_id", "path_id", name=op.f("pk_file")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_file_blob_id"), "file", ["blob_id"], unique=False)
    op.create_index(op.f("ix_file_path_id"), "file", ["path_id"], unique=False)
    op.create_table(
        "label",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_label_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "name", name=op.f("pk_label")),
    )
    op.create_table(
        "remote",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("asked", sa.String(), nullable=True),
        sa.Column("signature_url", sa.String(), nullable=True),
        sa.Column("etag", sa.String(), nullable=True),
        sa.Column("last_modified", sa.String(), nullable=True),
        sa.Column("max_age", sa.Integer(), nullable=True),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_remote_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_remote")),
    )
    op.create_index(op.f("ix_remote_asked"), "remote", ["asked"], unique=False)
    op.create_index(op.f("ix_remote_image_id"), "remote", ["image_id"], unique=False)
