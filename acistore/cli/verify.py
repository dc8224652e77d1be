"""Keep the store: is it all well, and if not, can it be mended?"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import click

import acistore
from acistore.cli.output import Output, count, facts, size
from acistore.cli.parameters import Command, any_images, option
from acistore.cli.progress import Progress, put_away
from acistore.cli.session import Session, holds_store, somebody_can_answer
from acistore.errors import NoLongerAdmitted, NotTrusted, StoreDamaged, StoreNotFound, UsageError

if TYPE_CHECKING:
    from acistore.fetch.repair import Repaired
    from acistore.store.records import Rebuilt, VerifyReport

_REPAIR = "acistore verify --repair"
# So many images an error names; the report has them all.
_NAMED = 5
_Refused: TypeAlias = "tuple[acistore.StoredImage, NotTrusted]"


@click.command(cls=Command, short_help="Check that the store holds what was stored, and mend it.")
@any_images
@option("--repair/--no-repair", help="Mend what is damaged: the whole store is checked.")
@option("--yes/--no-yes", help="Do not ask before dropping images that can't be mended.")
@option(
    "--trust/--no-trust",
    "rejudge",
    help="Judge the images by the keys and policies of today, too, and name those that would not be admitted.",
)
@option("--content/--no-content", default=True, help="Read the images. Without it --trust alone is answered.")
@click.pass_obj
def verify(
    session: Session, *, images: Sequence[str], repair: bool, yes: bool, rejudge: bool, content: bool
) -> int:
    """Read images in full and compare them with the SHA-512 that is their ID.

    Without IMAGE everything is checked: the database, every pack, every image. On damage the report names what
    is damaged, and the exit code is 6.

    With --repair a lost or damaged database is made again from the packs, and damaged files are fetched again from
    where their images came from. An image that can't be mended, pinned or not, is dropped, after a question or
    with --yes. To fetch it from somewhere else mends it as well.

    With --trust the images are also judged by what is trusted today: whose key was removed, or has expired or been
    revoked since, is named, and the exit code is 4 if nothing is damaged. Nothing is removed. --no-content leaves
    out the reading.

    \b
      acistore verify
      acistore verify example.com/app:1.0
      acistore verify --trust --no-content
      acistore verify --repair
    """
    if repair and images:
        raise UsageError("--repair mends the whole store, and takes no IMAGE", next_step=_REPAIR)
    if yes and not repair:
        raise UsageError("--yes answers the question of --repair", next_step=f"{_REPAIR} --yes")
    directory = session.config().dir
    if not holds_store(directory):  # an empty mount point is no sound store
        raise StoreNotFound(
            f"there is no store in {directory}", next_step="check --dir; a first acistore fetch makes one"
        )
    if repair and rejudge:
        raise UsageError("--repair mends, and --trust judges: one at a time", next_step=f"{_REPAIR}, then --trust")
    if not (content or rejudge):
        raise UsageError("--no-content leaves nothing to verify", next_step="acistore verify --trust --no-content")
    return _repair(session, yes=yes) if repair else _verify(session, images, rejudge=rejudge, content=content)


def _verify(session: Session, images: Sequence[str], *, rejudge: bool, content: bool) -> int:
    code = 0
    with session.existing_store() as store, session.progress() as progress:
        chosen: list[acistore.StoredImage] | None = None
        if images:
            found, code = session.try_each(images, store.get)
            chosen = list({image.key: image for image in found}.values())
        report = store.verify(chosen if content else [], progress=progress)
        not_admitted = _rejudged(session, store, chosen) if rejudge else []
    if session.output.json:
        session.output.document(_document(report, not_admitted=not_admitted))
    elif not (images and not chosen):
        if content:
            _print_report(session.output, report)
        _print_not_admitted(session.output, not_admitted)
        if rejudge and not not_admitted:
            session.output.line("every image would be admitted today")
    if not report.ok:
        damage = _damage(report, next_step=_REPAIR)
        session.output.error(damage)
        code = code or damage.exit_code
    if not_admitted:
        refusal = _distrusted(not_admitted)
        session.output.error(refusal)
        code = code or refusal.exit_code
    return code


def _rejudged(
    session: Session, store: "acistore.Store", images: "list[acistore.StoredImage] | None"
) -> "list[_Refused]":
    from acistore.fetch.rejudge import no_longer_admitted  # noqa: PLC0415 - what fetches is not needed to look

    return no_longer_admitted(store, acistore.TrustStore.open(session.config()), images)


def _print_not_admitted(output: Output, refused: "Iterable[_Refused]") -> None:
    for image, refusal in refused:
        output.line(f"{image.image_name} would not be admitted today")
        why = refusal.message.removeprefix(f"{image.image_name} ")
        output.lines(facts([("id", str(image.id)), ("why", why), *refusal.facts.items()]))


def _distrusted(refused: "Sequence[_Refused]") -> NoLongerAdmitted:
    facts = {str(image.id): str(image.image_name) for image, _ in refused[:_NAMED]}
    if len(refused) > _NAMED:
        facts["and"] = f"{len(refused) - _NAMED} more"
    return NoLongerAdmitted(
        f"{count(len(refused), 'image')} in the store would not be admitted today",
        facts=facts,
        next_step=shlex.join(["acistore", "trust", "explain", refused[0][0].name]),
    )


def _document(
    report: "VerifyReport",
    repaired: Iterable["acistore.StoredImage"] = (),
    not_admitted: "Iterable[_Refused]" = (),
) -> dict[str, object]:
    return {
        "ok": report.ok,
        "images_checked": report.images_checked,
        "bytes_checked": report.bytes_checked,
        "damaged": [
            {
                "id": each.image and each.image.id,
                "name": each.image and each.image.name,
                "what": each.what,
                "path": each.path,
            }
            for each in report.damaged
        ],
        "repaired": [image.id for image in repaired],
        "dropped": [],
        "lost": [],
        "not_admitted": [
            {"id": image.id, "name": image.name, "why": refusal.message, "kind": type(refusal).__name__}
            for image, refusal in not_admitted
        ],
    }


def _print_report(output: Output, report: "VerifyReport") -> None:
    """What is damaged, image by image, and how much was looked at."""
    for image in dict.fromkeys(each.image and each.image.id for each in report.damaged):
        damages = [each for each in report.damaged if (each.image and each.image.id) == image]
        named = damages[0].image
        output.line(f"{named.image_name if named else 'the store'} is damaged")
        about = [("id", str(image))] if image else []
        output.lines(facts([*about, *((each.path or "damage", each.what) for each in damages)]))
    checked = f"{count(report.images_checked, 'image')}, {size(report.bytes_checked)}"
    output.line(f"checked {checked}: {'no damage' if report.ok else 'damage found'}")


def _damage(report: "VerifyReport", *, next_step: str) -> StoreDamaged:
    damaged = {each.image.key: each.image for each in report.damaged if each.image}
    if not damaged:
        return StoreDamaged("the store is damaged", facts={"damage": report.damaged[0].what}, next_step=next_step)
    return StoreDamaged(
        f"{len(damaged)} of {count(report.images_checked, 'image')} in the store "
        f"{'is' if len(damaged) == 1 else 'are'} damaged",
        facts={str(image.id): str(image.image_name) for image in damaged.values()},
        next_step=next_step,
    )


# --- repair


@dataclass
class _Consent:
    """Whether images may be dropped: the person at the terminal says so, or --yes did."""

    session: Session
    progress: Progress
    yes: bool
    asked_in_vain: bool = field(default=False, init=False)

    def __call__(self, images: Sequence["acistore.StoredImage"]) -> bool:
        if self.yes:
            return True
        if not somebody_can_answer():
            self.asked_in_vain = True
            return False
        with put_away(self.progress):
            lines = facts(
                (f"{image.image_name}{' (pinned)' if image.pinned else ''}", str(image.id)) for image in images
            )
            self.session.output.say(["these images can't be mended:", *lines])
            return self.session.ask("Drop them?")


def _repair(session: Session, *, yes: bool) -> int:
    from acistore.fetch.repair import Repairer  # noqa: PLC0415 - the network is not needed to look

    config = session.config()
    session.warn_of_insecure(config, "tls", "http")
    with session.progress() as progress:
        consent = _Consent(session, progress, yes)
        repaired = Repairer(config, progress=progress, consent=consent).repair()
    if session.output.json:
        extra = {"dropped": [image.id for image in repaired.dropped], "lost": [each.id for each in repaired.lost]}
        session.output.document(_document(repaired.report, repaired.repaired) | extra)
    else:
        _print_repaired(session.output, repaired)
    unreadable = repaired.rebuilt.unreadable if repaired.rebuilt else ()
    if not repaired.report.ok:
        failure = _damage(repaired.report, next_step=f"{_REPAIR} --yes" if consent.asked_in_vain else _REPAIR)
        if consent.asked_in_vain:
            failure.facts["dropped"] = "nothing: that takes --yes, or a terminal to ask at"
            failure.facts["instead"] = "fetch it from somewhere else, which mends it"
    elif repaired.lost:
        failure = StoreDamaged(
            f"the store is sound again, but {count(len(repaired.lost), 'image')} could not be brought back",
            facts={str(each.id): str(each.name) for each in repaired.lost},
            next_step=shlex.join(["acistore", "fetch", *(str(each.name) for each in repaired.lost)]),
        )
    elif unreadable:
        failure = StoreDamaged(
            f"the store is sound again, but {count(len(unreadable), 'pack')} can't be read: images may be missing",
            facts={"packs": ", ".join(unreadable), "until": "the next gc, which deletes them"},
            next_step="acistore list",
        )
    else:
        return 0
    session.output.error(failure)
    return failure.exit_code


def _print_repaired(output: Output, repaired: "Repaired") -> None:
    if repaired.rebuilt:
        output.lines(_about_index(repaired.rebuilt))
    output.lines(f"mended {image.image_name} {image.id}" for image in repaired.repaired)
    output.lines(f"dropped {image.image_name} {image.id}" for image in repaired.dropped)
    _print_report(output, repaired.report)


def _about_index(rebuilt: "Rebuilt") -> Iterable[str]:
    """What a person has to know of an index that was made again: also what it can't know."""
    yield f"made the database again from the packs: {count(rebuilt.images, 'image')}"
    known = [
        ("old database", rebuilt.aside or ""),
        (
            "lost",
            "" if rebuilt.state_known else "pins and last use (it is now), where the old database doesn't tell",
        ),
        ("back again", "" if rebuilt.removed_known else "images that were removed, if gc has not freed them yet"),
        ("can't be read", ", ".join(f"pack {name}" for name in rebuilt.unreadable)),
    ]
    yield from facts((label, value) for label, value in known if value)
