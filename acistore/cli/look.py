"""Look: what is in the store."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.output import (
    ago,
    escape,
    facts,
    moment,
    on_terminal,
    size,
    table,
    terminal_width,
    to_json,
)
from acistore.cli.parameters import Command, any_images, one_image, option
from acistore.cli.session import Session
from acistore.errors import ImageNotFound
from acistore.fingerprints import shown_fingerprint

if TYPE_CHECKING:
    from acistore.manifest import App
    from acistore.store import Admission

_SHORTEST_ID = 12
_FIELD = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_FIELDS = (
    *("id", "name", "version", "os", "arch", "labels", "labels.NAME"),
    *("size", "imported_at", "last_used_at", "pinned", "latest"),
)

_ADMISSION_KEYS = (
    "verdict",
    "scheme",
    "fingerprint",
    "signer",
    "rule",
    "signed_at",
    "admitted_at",
    "url",
    "insecure",
)

Filter = Callable[["acistore.StoredImage"], bool]


def _read_filters(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> list[Filter]:
    return [_read_filter(text) for text in texts]


def _read_filter(text: str) -> Filter:
    match text.split("=", 2):
        case ["label", label]:
            return lambda image: label in image.labels
        case ["label", label, value]:
            return lambda image: image.labels.get(label) == value
        case ["name", pattern]:
            return lambda image: fnmatchcase(image.name, pattern)
        case _:
            examples = "label=os=linux, label=version or name=example.com/*"
            raise click.BadParameter(f"{text!r} is not a filter, such as {examples}")


def _check_format(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    for field in _FIELD.findall(text or ""):
        if field not in _FIELDS and not field.startswith("labels."):
            raise click.BadParameter(f"{field!r} is not a field: {', '.join(_FIELDS)}")
    return text


@click.command("list", cls=Command, short_help="List the images in the store.")
@any_images
@option(
    "--format",
    "form",
    callback=_check_format,
    metavar="FORMAT",
    help=(
        "A line of your own for each image, such as '{{name}} {{id}}'; exact values. "
        f"Fields: {', '.join(_FIELDS)}."
    ),
)
@option(
    "--filter",
    "filters",
    callback=_read_filters,
    metavar="FILTER",
    multiple=True,
    help=(
        "Only images with label=NAME, with label=NAME=VALUE, or with name=PATTERN (* and ? stand for anything). "
        "May be repeated; all must fit."
    ),
)
@option("--no-headers/--headers", help="Leave the line of headers out of the table.")
@click.pass_obj
def list_(
    session: Session, *, images: Sequence[str], form: str | None, filters: Sequence[Filter], no_headers: bool
) -> int:
    """List the images in the store, newest import first.

    With IMAGE only those that have this name and these labels, or this ID. On a terminal IDs are shortened, and
    lines are cut to its width; in a pipe everything is whole.

    \b
      acistore list
      acistore list example.com/app
      acistore list --filter label=os=linux --format '{{name}} {{version}} {{size}}'
      acistore --json list
    """
    whole = not on_terminal(sys.stdout)
    code = 0
    with session.existing_store() as store:
        if images:
            parts, code = session.try_each(images, lambda wanted: _fitting(store, wanted))
            found = {image.key: image for part in parts for image in part}
            chosen = sorted(found.values(), key=lambda image: (image.imported_at, image.key), reverse=True)
        else:
            chosen = list(store.list())
        everything = chosen if whole or not images else store.list()  # an ID is short but unique among them all
    shown = [image for image in chosen if all(fits(image) for fits in filters)]
    if session.output.json:
        session.output.document([document(image) for image in shown])
    elif form is not None:
        session.output.lines(escape(_formatted(form, image)) for image in shown)
    else:
        ids = _ids([str(image.id) for image in everything], whole=whole)
        rows = [_row(image, ids[str(image.id)]) for image in shown]
        headers = [] if no_headers else [("ID", "NAME", "VERSION", "OS", "ARCH", "SIZE", "IMPORTED", "USED")]
        session.output.lines(table([*headers, *rows], cut_to=None if whole else terminal_width()))
    return code


def _fitting(store: "acistore.Store", wanted: str) -> Sequence["acistore.StoredImage"]:
    """All images that a name and labels fit, or the one that an ID means. Raises ImageNotFound and others."""
    if wanted.startswith("sha512-"):
        return [store.get(wanted)]
    name = acistore.ImageName.parse(wanted)
    fitting = store.matches(name)
    if not fitting:
        raise ImageNotFound(
            f"no image in the store is {name}", next_step=shlex.join(["acistore", "fetch", str(name)])
        )
    return fitting


def document(image: "acistore.StoredImage") -> dict[str, object]:
    """An image as `list --json` has it."""
    return {
        "id": image.id,
        "name": image.name,
        "labels": image.labels,
        "size": image.size,
        "imported_at": image.imported_at,
        "last_used_at": image.last_used_at,
        "pinned": image.pinned,
        "latest": image.latest,
    }


def _formatted(form: str, image: "acistore.StoredImage") -> str:
    values = document(image) | {label: image.labels.get(label, "") for label in ("version", "os", "arch")}
    values["labels"] = ",".join(f"{label}={value}" for label, value in sorted(image.labels.items()))

    def text(match: re.Match[str]) -> str:
        if match[1].startswith("labels."):
            return image.labels.get(match[1].removeprefix("labels."), "")
        value = values[match[1]]
        # JSON's way to write what isn't text: true, 2024-01-05T12:00:00Z.
        return value if isinstance(value, str) else to_json(value).strip('"')

    return _FIELD.sub(text, form)


def _ids(ids: Sequence[str], *, whole: bool) -> dict[str, str]:
    """Each ID as the table shows it: whole, or as short as it stays unique in the store."""
    length = len("sha512-") + _SHORTEST_ID
    while len({image_id[:length] for image_id in ids}) < len(ids):
        length += 1
    return {image_id: image_id if whole else image_id[:length] for image_id in ids}


def _row(image: "acistore.StoredImage", image_id: str) -> tuple[str, ...]:
    labels = [image.labels.get(label, "") for label in ("version", "os", "arch")]
    return image_id, image.name, *labels, size(image.size), ago(image.imported_at), ago(image.last_used_at)


@click.command(cls=Command, short_help="Show all that is known of an image.")
@one_image
@click.pass_obj
def show(session: Session, image: str) -> None:
    """Show all that is known of an image: what it is, where it came from, who vouched for it, what it needs.

    IMAGE is a name with labels, an ID, or the unique beginning of one. Of several images that a name fits, the
    one with exactly these labels is taken, then the one fetched as latest, then the newest import.

    \b
      acistore show example.com/app:1.0
      acistore --json show sha512-6b4f | jq .manifest
    """
    with session.existing_store() as store:
        found = store.get(image)
        if session.output.json:
            session.output.document(_everything(found, store))
        else:
            session.output.lines(_blocks(found, store))


def _everything(image: "acistore.StoredImage", store: "acistore.Store") -> dict[str, object]:
    remotes = store.remotes(image)
    manifest = image.manifest
    return document(image) | {
        "annotations": manifest.annotations,
        "dependencies": [
            {"name": each.name, "labels": each.labels, "id": each.image_id, "size": each.size}
            for each in manifest.dependencies
        ],
        "files": store.file_count(image),
        "unique_size": store.unique_size(image),
        "source": next(
            ({"url": each.url, "etag": each.etag, "fetched_at": each.fetched_at} for each in remotes), None
        ),
        "admissions": [
            {name: getattr(each, name) for name in _ADMISSION_KEYS} for each in store.admissions(image)
        ],
        "manifest": manifest.document,
    }


def _blocks(image: "acistore.StoredImage", store: "acistore.Store") -> Iterator[str]:
    """An image for people: what it is, then a block for each matter that there is something to say of."""
    yield escape(image.image_name)
    yield from facts(_summary(image, store))
    manifest = image.manifest
    blocks: dict[str, list[tuple[str, str]]] = {
        "admitted": [pair for each in store.admissions(image) for pair in _admission(each)],
        "app": _app(manifest.app) if manifest.app else [],
        "annotations": list(manifest.annotations.items()),
        "needs": [(str(each.image_name), str(each.image_id or "")) for each in manifest.dependencies],
        "shows only": [(path, "") for path in manifest.path_whitelist],
    }
    for heading, pairs in blocks.items():
        if pairs:
            yield from ("", heading)
            yield from facts(pairs)


def _summary(image: "acistore.StoredImage", store: "acistore.Store") -> list[tuple[str, str]]:
    marks = [mark for mark, set_ in (("pinned", image.pinned), ("latest", image.latest)) if set_]
    return [
        ("id", str(image.id)),
        ("size", f"{size(image.size)}, {size(store.unique_size(image))} of it in no other image"),
        ("entries", f"{store.file_count(image):,}"),
        ("imported", moment(image.imported_at)),
        ("last used", moment(image.last_used_at)),
        *([("marked", ", ".join(marks))] if marks else []),
        *(("fetched", f"{moment(each.fetched_at)} from {each.url}") for each in store.remotes(image)[:1]),
    ]


_UNPROVEN = {"unsigned": "it had no signature, which the policy of its name allowed"}


def _admission(admission: "Admission") -> Iterator[tuple[str, str]]:
    """Who has vouched for an image, when, for which rule, and from where it came then."""
    origin = f" from {admission.url}" if admission.url else ""
    yield admission.verdict, f"{moment(admission.admitted_at)}{origin}"
    if admission.fingerprint is None:
        yield "", _UNPROVEN.get(admission.verdict, "its signature was not checked")
    else:
        at = f", {moment(admission.signed_at)}" if admission.signed_at else ""
        yield "", f"signed by {admission.signer or 'nobody by name'}{at}"
        place = "every name" if admission.rule == "root" else admission.rule
        yield "", f"with {shown_fingerprint(admission.fingerprint)}, trusted for {place}"
    if admission.insecure:
        yield "", f"while these checks were off: {', '.join(admission.insecure)}"


def _app(app: "App") -> list[tuple[str, str]]:
    lines = [
        ("runs", shlex.join(app.exec or [])),
        ("as", f"user {app.user}, group {app.group}"),
        ("in", app.working_directory),
        *(("environment", f"{name}={value}") for name, value in app.environment.items()),
        *(
            ("mount point", f"{each.name} at {each.path}{' (read-only)' if each.read_only else ''}")
            for each in app.mount_points
        ),
        *(("port", f"{each.name} {each.port}/{each.protocol}") for each in app.ports),
    ]
    return [(label, value) for label, value in lines if value]
