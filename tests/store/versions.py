"""Versions of an image, fetched as latest under a rule that refuses older ones; for tests."""

import io

from acistore.errors import AcistoreError
from acistore.naming import ImageName
from acistore.store import Admission, LatestRule, Newest, Store, StoredImage, always
from tests.images import image
from tests.store.conftest import admissions

NAME = ImageName("example.com/app")


class Older(AcistoreError):
    """What the rule of these tests refuses with."""


def refuse_older(last: Newest | None, now: Newest) -> None:
    if last and last.version and now.version and int(now.version) < int(last.version):
        raise Older(f"{now.version} is older than {last.version}")


def versions(*numbers: int, name: str = "example.com/app", **labels: str) -> list[bytes]:
    """Images of a name that differ in their version, and in when they were made: on that day of 2024."""
    return [
        image(
            name,
            {"n": b"%d" % number},
            labels={"version": str(number), **labels},
            annotations=[{"name": "created", "value": f"2024-01-{number:02}T00:00:00Z"}],
        )
        for number in numbers
    ]


def fetch(
    store: Store, archive: bytes, *, rule: LatestRule | None = always, by: list[Admission] | None = None
) -> StoredImage:
    """As a fetch without a version does it."""
    told = by or admissions("ab" * 20)
    return store.add(io.BytesIO(archive), admit=lambda _id, _manifest: told, latest=rule)
