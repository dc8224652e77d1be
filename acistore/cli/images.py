"""Get images: where they are, and how they come into the store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

import acistore
from acistore.cli.completion import complete_images
from acistore.cli.output import StdoutClosed, facts
from acistore.cli.parameters import Command, checking, option, some_images
from acistore.cli.progress import Progress, put_away
from acistore.cli.session import Session, somebody_can_answer
from acistore.cli.trust.review import question, review
from acistore.config import PULL_POLICIES
from acistore.config.values import POSITIVE_NUMBER

if TYPE_CHECKING:
    from acistore.discovery import Discovery


@click.command(cls=Command, short_help="Find out where an image and its signer's keys are.")
@click.argument("name", metavar="NAME", shell_complete=complete_images)
@click.pass_obj
def discover(session: Session, name: str) -> None:
    """Find out where an image, its signature and its signer's keys are, without fetching any of them.

    Asks the web page of the name, and then of each of its parents, for the tags that App Container Image
    Discovery defines. What NAME leaves open is added: version=latest, and this machine's os and arch. With -v
    (before the command) each page that was tried is shown, and why it didn't serve.

    \b
      acistore discover example.com/app:1.0
      acistore -v discover example.com/app,os=linux,arch=aarch64
      acistore --json discover example.com/app | jq -r '.images[].url'
    """
    config = session.config()
    session.warn_of_insecure(config, "tls", "http")
    wanted = acistore.ImageName.parse(name).for_this_machine().add_missing(version="latest")
    with acistore.Client(config) as client:
        found = acistore.Resolver(client).resolve(wanted).require_any()
    if session.output.json:
        session.output.document(_document(found))
    else:
        session.output.line(found.name)
        session.output.lines(facts(_lines(found, pages=session.verbose)))
    if found.failure:
        session.output.warning(f"there may be more: {found.failure.message}")


def _document(found: "Discovery") -> dict[str, object]:
    return {
        "name": found.name.name,
        "labels": found.name.labels,
        "images": [
            {
                "url": each.image_url,
                "signature_url": each.signature_url,
                "ssh_signature_url": each.ssh_signature_url,
                "page": each.page,
            }
            for each in found.endpoints
        ],
        "keys": found.keys,
        "pages": [{"url": each.url, "status": each.status, "outcome": each.outcome} for each in found.visits],
    }


def _lines(found: "Discovery", *, pages: bool) -> Iterator[tuple[str, str]]:
    for endpoint in found.endpoints:
        yield "image", endpoint.image_url
        yield "signature", endpoint.signature_url
        yield "or by SSH", endpoint.ssh_signature_url
    for key in found.keys:
        yield "key", key
    if pages:
        for visit in found.visits:
            yield "page", f"{visit.url}: {visit.outcome}"


@click.command(cls=Command, short_help="Fetch images, verified, with their dependencies.")
@some_images
@option(
    "--signature",
    metavar="FILE|URL",
    type=click.Path(),
    help=(
        "The signature of the one image that is fetched, of OpenPGP or SSH. By default where discovery says, or "
        ".asc (OpenPGP) or .sig (SSH) behind the image's URL or path."
    ),
)
@option(
    "--pull-policy",
    type=click.Choice(PULL_POLICIES),
    help=(
        "new: use what the store holds, ask only for what it lacks. update: ask the server for news. never: stay "
        "off the network. By default update for the images named and new for their dependencies, or pull_policy "
        "of the configuration."
    ),
)
@option("--no-cache/--cache", help="Ask servers again even for what they said need not be asked again yet.")
@option(
    "--jobs",
    metavar="NUMBER",
    callback=checking(POSITIVE_NUMBER.parse),
    help="How many images are fetched at once. By default 4, or jobs of the configuration.",
)
@option(
    "--trust-keys-from-https/--no-trust-keys-from-https",
    help=(
        "Trust the keys that discovery finds for an image named here, when no key is trusted for it yet, without "
        "review."
    ),
)
@option(
    "--allow-downgrade/--no-allow-downgrade",
    help="Take an image without a version though it is older than the one that was last admitted so.",
)
@click.pass_obj
def fetch(
    session: Session,
    *,
    images: Sequence[str],
    signature: str | None,
    pull_policy: str | None,
    no_cache: bool,
    jobs: str | None,
    trust_keys_from_https: bool,
    allow_downgrade: bool,
) -> int:
    """Fetch images with their dependencies into the store, and print one image ID a line.

    IMAGE is an image name (example.com/app:1.0,os=linux), an https:// URL, or a path that begins with / or .
    (also file:…). The signature comes first: unless a key that is trusted for the name made it, nothing else is
    downloaded. Nothing is unpacked before the signature is verified, and the image must have the name and labels
    that were asked for.

    \b
      acistore fetch example.com/app:1.0
      acistore fetch https://example.com/app-1.0-linux-amd64.aci
      acistore fetch ./app.aci --signature ./app.aci.asc
    """
    config = session.config({"pull_policy": pull_policy, "jobs": jobs})
    session.warn_of_insecure(config, "image", "tls", "http", "pubkey")
    trust = acistore.TrustStore.open(config)
    with session.store() as store, session.progress() as progress:
        fetcher = acistore.Fetcher(
            store,
            trust,
            config,
            progress=progress,
            confirm=_Confirm(session, progress) if somebody_can_answer() else None,
            trust_keys_from_https=trust_keys_from_https,
            allow_downgrade=allow_downgrade,
            no_cache=no_cache,
        )
        results = _Results(session, images)
        with closing(fetcher.fetch_all(images, signature=signature, pull_policy=pull_policy)) as outcomes:
            try:
                for outcome in outcomes:
                    with put_away(progress):
                        results.take(outcome)
                    if len(images) > 1 and not isinstance(outcome.result, Exception):
                        progress.step(f"{outcome.wanted} is in the store ({results.done} of {len(images)})")
            except BaseException as end:
                if not isinstance(end, Exception):
                    outcomes.close()
                    with put_away(progress):
                        results.interrupted(kept=store.spool.is_kept)
                raise
    return results.finish()


@dataclass(frozen=True, slots=True)
class _Confirm:
    """Shows keys that were found to the person at the terminal, and asks."""

    session: Session
    progress: Progress

    def trust(self, offers: Sequence["acistore.keys.Offer"], prefix: str, layer: str) -> bool:
        with put_away(self.progress):
            self.session.output.say(review(offers, prefix, layer))
            return self.session.ask(question(offers, prefix))


class _Results:
    """What came of the images, told as the contract wants it: errors at once, IDs in the order asked."""

    def __init__(self, session: Session, images: Sequence[str]) -> None:
        self._session = session
        self._images = images
        self._fetched: dict[int, acistore.Fetched] = {}
        self._codes: dict[int, int] = {}
        self._printed = 0
        self._closed = False

    @property
    def done(self) -> int:
        """How many have come or failed."""
        return len(self._fetched) + len(self._codes)

    def take(self, outcome: "acistore.Outcome") -> None:
        """Prints what can be printed now."""
        if isinstance(outcome.result, Exception):
            wanted = self._images[outcome.position]
            self._codes[outcome.position] = self._session.report(outcome.result, wanted)
        else:
            self._fetched[outcome.position] = outcome.result
        while self._printed in self._fetched or self._printed in self._codes:
            if self._printed in self._fetched and not self._session.output.json:
                self._print(lambda: self._session.output.line(self._fetched[self._printed].id))
            self._printed += 1

    def _print(self, job: Callable[[], object]) -> None:
        """Prints a part of the result, as long as anybody reads it: the images are wanted all the same."""
        if not self._closed:
            try:
                job()
            except StdoutClosed:
                self._closed = True

    def interrupted(self, *, kept: bool) -> None:
        """Prints what becomes of the others."""
        if kept:
            self._session.output.note("what was on its way is kept, and the next fetch goes on with it")

    def finish(self) -> int:
        """Prints what is left to be said, and returns the exit code, which is that of the first failure."""
        if self._session.output.json:
            fetched = [_fetched(each) for _, each in sorted(self._fetched.items())]
            self._print(lambda: self._session.output.document(fetched))
        elif self._codes and len(self._images) > 1:
            failed = ", ".join(self._images[position] for position in sorted(self._codes))
            self._session.output.note(f"{len(self._codes)} of {len(self._images)} failed: {failed}")
        return self._codes[min(self._codes)] if self._codes else 0


def _fetched(each: "acistore.Fetched") -> dict[str, object]:
    return {
        "id": each.id,
        "name": each.name,
        "labels": each.labels,
        "size": each.size,
        "source": each.source,
        "fetched_at": each.fetched_at,
        "reused": each.reused,
        "bytes_downloaded": each.bytes_downloaded,
    }
