"""What was last admitted as latest of each name: what the next one is compared with."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from acistore.errors import AcistoreError
from acistore.manifest import ImageManifest

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

IMAGE_STATE = ("digest", "imported_at", "last_used_at", "pinned", "latest")
ADMISSION = (
    *("image_id", "verdict", "scheme", "fingerprint", "signing_fingerprint", "signer", "rule"),
    *("signature_digest", "signed_at", "signature_expires_at", "admitted_at", "url", "insecure"),
)
EPOCH = datetime.fromtimestamp(0, UTC)


def upgrade() -> None:
    op.create_table(
        "newest",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=64), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=True),
        sa.Column("admitted_at", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.LargeBinary(length=8), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_newest")),
    )
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for key in _select("SELECT id FROM image WHERE latest = 1"):
        [image] = _select("SELECT * FROM image WHERE id = :id", id=key["id"])
        manifest, admitted_at = _manifest(image), _admitted_at(image)
        if manifest is None or admitted_at is None:
            continue
        family = manifest.name, _labels(manifest)
        if family not in newest or newest[family]["admitted_at"] < admitted_at:
            newest[family] = {
                "name": manifest.name,
                "labels": _labels(manifest),
                "digest": image["digest"],
                "version": manifest.labels.get("version"),
                "created": _created(manifest),
                "admitted_at": admitted_at,
            }
    for row in newest.values():
        columns = ", ".join(row)
        values = ", ".join(f":{column}" for column in row)
        insert = sa.text(f"INSERT INTO newest ({columns}, checksum) VALUES ({values}, :checksum)")
        op.execute(insert.bindparams(**row, checksum=_checksum(list(row.values()))))


def _select(query: str, **values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in op.get_bind().execute(sa.text(query), values).mappings().all()]


def _admitted_at(image: dict[str, Any]) -> int | None:
    """When a key has let the image in last; None where none has, or what says so is damaged."""
    state = [bool(image[column]) if column in ("pinned", "latest") else image[column] for column in IMAGE_STATE]
    if image["checksum"] != _checksum(state):
        return None
    rows = _select("SELECT * FROM admission WHERE image_id = :id AND verdict = 'verified'", id=image["id"])
    sound = [row for row in rows if row["checksum"] == _checksum([row[column] for column in ADMISSION])]
    return max((row["admitted_at"] for row in sound), default=None)


def _manifest(image: dict[str, Any]) -> ImageManifest | None:
    """The manifest, if it is what the image's archive had: a damaged name or date must not become right."""
    body = _select(
        "SELECT blob.digest FROM file JOIN path ON path.id = file.path_id JOIN blob ON blob.id = file.blob_id"
        " WHERE file.image_id = :id AND path.text = :path",
        id=image["id"],
        path=b"manifest",
    )
    raw = image["manifest"]
    if not isinstance(raw, bytes) or body != [{"digest": hashlib.sha512(raw).digest()}]:
        return None
    try:
        return ImageManifest.parse(raw)
    except AcistoreError:
        return None


def _labels(manifest: ImageManifest) -> str:
    labels = {name: value for name, value in manifest.labels.items() if name != "version"}
    return json.dumps(labels, sort_keys=True, separators=(",", ":"))


def _created(manifest: ImageManifest) -> int | None:
    """The annotation `created` in microseconds since 1970; None where it is not there, or can't be told so."""
    try:
        created = datetime.fromisoformat(manifest.annotations["created"])
        return (created.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
    except (KeyError, ValueError, OverflowError):
        return None


def _checksum(values: list[Any]) -> bytes:
    text = json.dumps([value.hex() if isinstance(value, bytes) else value for value in values])
    return hashlib.sha512(text.encode()).digest()[:8]
