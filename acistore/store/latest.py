"""Which image of a name is the latest: the caller's rule is asked, and what was admitted so is noted.

The rule stands against rollback: a server that offers an old image again as the latest. It is asked inside the
transaction that would record the image, so that of several at once each sees what the one before it has left.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName
from acistore.store import changes, index
from acistore.store.records import Admission, Newest

# Given what was last admitted as latest of this name (None: nothing was) and what would be now, it raises to
# refuse, or returns what is to be noted (None: what is now, as it is). It runs while the store is locked for all
# other writers, maybe several times for one image, and must not use the store itself.
LatestRule = Callable[[Newest | None, Newest], Newest | None]


def always(_last: Newest | None, _now: Newest) -> None:
    """The rule that refuses nothing."""


def admit_as_latest(
    connection: Connection,
    name: ImageName,
    newest: Newest,
    admissions: Sequence[Admission],
    rule: LatestRule,
    *,
    asked: ImageName | None,
) -> None:
    """Lets an image be the latest of its own name and of the one that it was asked for by, and notes that, or
    raises what the rule raises for one of them.

    An image with a label more than was asked for
    would not be compared with the last one otherwise.

    The rule is not asked about an image that was let in unchecked, nor is that noted: whoever switches checks off
    gets what is served, and a forged date must not shut out the real images that come later.
    """
    if any(each.is_checked for each in admissions):
        families = list(dict.fromkeys(map(index.family_of, filter(None, [name, asked]))))
        noted = [(family, rule(index.newest_of(connection, family), newest) or newest) for family in families]
        for family, each in noted:
            changes.record_newest(connection, family, each)


def as_newest(image_id: ImageID, manifest: ImageManifest, admitted_at: datetime) -> Newest:
    """What is noted of an image that is admitted as latest."""
    return Newest(image_id, manifest.labels.get("version"), created_at(manifest), admitted_at)


def created_at(manifest: ImageManifest) -> datetime | None:
    """When an image was made by its own word (appc spec, aci.md § Image Manifest Schema, `created`), in UTC, to
    the microsecond. None where it doesn't say, or names a time before the year 1 or after 9999, or a leap second.
    """
    try:
        return datetime.fromisoformat(manifest.annotations["created"]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None
