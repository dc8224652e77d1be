"""Small image archives for tests: made by tarfile, valid unless a test says otherwise."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

Files = Mapping[str, bytes]


def manifest(name: str = "example.com/app", *, labels: Mapping[str, str] | None = None, **fields: Any) -> bytes:
    """A manifest with these labels and any other fields of the schema."""
    document = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name,
        "labels": [{"name": key, "value": value} for key, value in (labels or {}).items()],
        **fields,
    }
    return json.dumps(document).encode()


def image(
    name: str = "example.com/app",
    files: Files | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    **fields: Any,
) -> bytes:
    """The uncompressed tar of an image: its manifest, rootfs and these files in it."""
    described = manifest(name, labels=labels, **fields)
    members = [entry("manifest", described), entry("rootfs", kind=tarfile.DIRTYPE)]
    members += [entry(f"rootfs/{path}", body) for path, body in (files or {}).items()]
    return tar(members)


def entry(
    path: str, body: bytes = b"", *, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """One member of an archive."""
    info = tarfile.TarInfo(path)
    info.type, info.size, info.linkname = kind, len(body), target
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_400_000_000
    return info, body


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]], *, format: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of these members, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()
