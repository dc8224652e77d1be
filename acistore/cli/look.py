"""Look: what is in the store."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import click

import acistore
from acistore.cli.output import ago, count, escape, facts, moment, on_terminal, size, table, terminal_width, to_json
from acistore.cli.parameters import Command, any_images, image, option
from acistore.cli.session import Session
from acistore.errors import ImageNotFound, UsageError

_SHORTEST_ID = 12
_FIELD = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_FIELDS = (
    *("id", "name", "version", "os", "arch", "labels", "labels.NAME"),
    *("size", "imported_at", "last_used_at", "pinned", "latest"),
)

Filter = Callable[["acistore.StoredImage"], bool]


class _Filter(click.ParamType):
    """`label=NAME`, `label=NAME=VALUE` or `name=PATTERN`."""

    name = "FILTER"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Filter:
        match value.split("=", 2):
            case ["label", label]:
                return lambda image: label in image.labels
            case ["label", label, wanted]:
                return lambda image: image.labels.get(label) == wanted
            case ["name", pattern]:
                return lambda image: fnmatchcase(image.name, pattern)
        self.fail(f"{value!r} is not a filter, such as label=os=linux, label=version or name=example.com/*")


class _Format(click.ParamType):
    """Text with `{{field}}` in it."""

    name = "FORMAT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        for field in _FIELD.findall(value):
            if field not in _FIELDS and not field.startswith("labels."):
                self.fail(f"{field!r} is not a field: {', '.join(_FIELDS)}")
        return value


@click.command("list", cls=Command, short_help="List the images in the store.")
@any_images
@option("--format", "form", type=_Format(), metavar="FORMAT", help=(
    "A line of your own for each image, such as '{{name}} {{id}}'; exact values. Fields: " + ", ".join(_FIELDS) + "."
))
@option("--filter", "filters", type=_Filter(), metavar="FILTER", multiple=True, help=(
    "Only images with label=NAME, with label=NAME=VALUE, or with name=PATTERN (* and ? stand for anything). "
    "May be repeated; all must fit."
))
@option("--headers/--no-headers", default=True, help="Whether the table has its line of headers. By default it has.")
@click.pass_obj
def list_(
    session: Session, images: Sequence[str], form: str | None, filters: Sequence[Filter], headers: bool
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
    with session.store() as store:
        everything = store.list()
        if images:
            found, code = session.try_each(images, lambda wanted: _fitting(store, everything, wanted))
            chosen = {image.key for part in found for image in part}
        else:
            chosen, code = {image.key for image in everything}, 0
    shown = [image for image in everything if image.key in chosen and all(fits(image) for fits in filters)]
    if session.output.json:
        session.output.document([document(image) for image in shown])
    elif form is not None:
        session.output.lines(escape(_formatted(form, image)) for image in shown)
    else:
        whole = not on_terminal(sys.stdout)
        ids = _ids([str(image.id) for image in everything], whole=whole)
        rows = [_row(image, ids[str(image.id)]) for image in shown]
        header = [("ID", "NAME", "VERSION", "OS", "ARCH", "SIZE", "IMPORTED", "USED")] if headers else []
        session.output.lines(table([*header, *rows], cut_to=None if whole else terminal_width()))
    return code


def _fitting(
    store: "acistore.Store", images: Sequence["acistore.StoredImage"], wanted: str
) -> list["acistore.StoredImage"]:
    """All images that a name and labels fit, or the one that an ID means. Raises ImageNotFound and others."""
    if wanted.startswith("sha512-"):
        return [store.get(wanted)]
    name = acistore.ImageName.parse(wanted)
    fitting = [image for image in images if image.name == name.name and not name.mismatches(image.labels)]
    if not fitting:
        raise ImageNotFound(f"no image in the store is {name}", next_step=f"acistore fetch {name}")
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
@image
@click.pass_obj
def show(session: Session, image: str) -> None:
    """Show all that is known of an image: what it is, where it came from, who vouched for it, what it needs.

    IMAGE is a name with labels, an ID, or the unique beginning of one. Of several images that a name fits, the
    one with exactly these labels is taken, then the one fetched as latest, then the newest import.

    \b
      acistore show example.com/app:1.0
      acistore --json show sha512-6b4f | jq .manifest
    """
    with session.store() as store:
        found = store.get(image)
        shown = _everything(store, found)
    if session.output.json:
        session.output.document(shown)
    else:
        session.output.lines(_blocks(found, shown))


def _everything(store: "acistore.Store", image: "acistore.StoredImage") -> dict[str, object]:
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
        "source": {"url": remotes[0].url, "etag": remotes[0].etag, "fetched_at": remotes[0].fetched_at}
        if remotes
        else None,
        "admissions": [
            {
                "verdict": each.verdict,
                "scheme": each.scheme,
                "fingerprint": each.fingerprint,
                "signer": each.signer,
                "rule": each.rule,
                "signed_at": each.signed_at,
                "admitted_at": each.admitted_at,
                "url": each.url,
                "insecure": each.insecure,
            }
            for each in store.admissions(image)
        ],
        "manifest": manifest.document,
    }
