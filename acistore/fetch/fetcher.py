"""The job itself: images by name, URL or path come into the store, with all that they need, several at once.

How one of them comes is told in image.py, what needs what in tree.py.
"""

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acistore.config import PULL_POLICIES, Config
from acistore.errors import AcistoreError, Cancelled, ConnectionFailed, UsageError
from acistore.events import course, log_of
from acistore.fetch.asked import Asked, is_path
from acistore.fetch.crew import CalledOff, Crew, Recall
from acistore.fetch.fetched import Fetched, Outcome
from acistore.fetch.held import Held
from acistore.fetch.image import ImageFetcher
from acistore.fetch.newcomers import Newcomers
from acistore.fetch.tree import Tree
from acistore.keys import Confirm
from acistore.naming import ImageName
from acistore.net.client import Client
from acistore.net.passwords import require_no_password
from acistore.net.urls import is_url, parse
from acistore.progress import Progress, Silent
from acistore.store import Store
from acistore.trust.keystore.store import TrustStore

log = log_of(__name__)


class Fetcher:
    """Brings images into a store.

    `progress` is told what goes on, from several threads; `no_cache` asks every server again, past all caches;
    `confirm` is asked about keys that were found, where a policy has them looked for;
    `trust_keys_from_https` trusts the keys that discovery finds for a name for which none is trusted yet: for the
    names that are asked for, not for those of dependencies. `allow_downgrade` takes as latest an image that is
    older than the last. Safe to use from several threads.
    """

    def __init__(
        self,
        store: Store,
        trust: TrustStore,
        config: Config,
        *,
        progress: Progress | None = None,
        confirm: Confirm | None = None,
        trust_keys_from_https: bool = False,
        allow_downgrade: bool = False,
        no_cache: bool = False,
    ) -> None:
        self._store = store
        self._trust = trust
        self._config = config
        self._progress = progress or Silent()
        self._confirm = confirm
        self._trust_keys_from_https = trust_keys_from_https
        self._allow_downgrade = allow_downgrade
        self._no_cache = no_cache
        # Without a lock, as those are.
        self._under_way: set[Recall] = set()
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ends what this Fetcher does, from any thread or signal handler and for good: whoever waits in `fetch` or
        iterates over `fetch_all` gets Cancelled, and so does whoever comes later. That is at once, unless a thread
        is where it can't be called off (the system looks up a host, another process writes to the store, a
        callback takes its time): it is left to itself after three seconds. An answer of `confirm`, which is called
        by whoever waits, is waited for. What was being downloaded is kept, and the next Fetcher goes on with it.
        """
        self._is_cancelled = True
        for recall in tuple(self._under_way):
            recall.call_off()

    @contextmanager
    def _cancellable(self) -> Iterator[Recall]:
        """By what the work of one call is called off. Raises Cancelled when somebody else has done that."""
        recall = Recall()
        self._under_way.add(recall)
        if self._is_cancelled:
            recall.call_off()
        try:
            yield recall
        except CalledOff:
            raise Cancelled("the fetch was cancelled", next_step="fetch again: it goes on where it was") from None
        finally:
            self._under_way.discard(recall)

    def fetch(
        self, wanted: str | ImageName, *, signature: str | None = None, pull_policy: str | None = None
    ) -> Fetched:
        """Fetches an image with all its dependencies, and returns it.

        `wanted` is an image name (as text it gets this machine's os and arch where it has none), an `https://`
        URL, or a path (anything that begins with `/`, `.` or `file:`). `signature` is a path or URL, by default
        where discovery says, or `.asc` behind the image's. `pull_policy` is `new`, `update` or `never`; by
        default the configuration's, and `new` for dependencies.

        Raises NotTrusted and its kinds, NetworkError and its kinds, NotFound, ArchiveRefused, DependencyCycle,
        Cancelled.
        """
        [outcome] = self.fetch_all([wanted], signature=signature, pull_policy=pull_policy)
        if isinstance(outcome.result, Exception):
            raise outcome.result
        return outcome.result

    def fetch_all(
        self,
        wanted: Sequence[str | ImageName],
        *,
        signature: str | None = None,
        pull_policy: str | None = None,
    ) -> Generator[Outcome, None, None]:
        """Fetches images with all their dependencies, `jobs` at once and each only once.

        Yields what came of each as soon as it is known. An exception that ends the iteration (Ctrl-C, say) stops
        what is being downloaded; the next fetch goes on with that. A wrong call raises UsageError before anything
        is iterated over, the iteration Cancelled.
        """
        self._store.require_writable()
        policy = pull_policy or self._config.pull_policy
        if policy not in PULL_POLICIES:
            raise UsageError(f"{policy!r} is no pull policy: {', '.join(PULL_POLICIES)}")
        if signature is not None and len(wanted) > 1:
            raise UsageError(
                f"a signature is for one image, and {len(wanted)} are wanted",
                next_step="acistore fetch --signature FILE IMAGE",
            )
        if signature is not None and is_url(signature):
            _require_url(signature)
        below = pull_policy or ("never" if policy == "never" else "new")
        number = secrets.token_hex(4)
        with course(fetch=number):
            read = [_read(each) for each in wanted]
        return self._outcomes(wanted, read, number, signature=signature, policy=policy, below=below)

    def _outcomes(
        self,
        wanted: Sequence[str | ImageName],
        read: Sequence[Asked | AcistoreError],
        number: str,
        *,
        signature: str | None,
        policy: str,
        below: str,
    ) -> Generator[Outcome, None, None]:
        """What came of each; `policy` is the pull policy of those asked for, `below` that of what they need."""
        roots = [each for each in read if isinstance(each, Asked)]
        limits = self._config.limits
        tree = Tree(roots, depth=limits.dependency_depth, count=limits.dependencies)

        def client_for(config: Config) -> Client:
            client = Client(config, pause=recall.pause, no_cache=self._no_cache)
            recall.wakes(client.abort)
            return client

        with self._cancellable() as recall, client_for(self._config) as client:

            def fetch_one(asked: Asked) -> Fetched:
                is_root = asked in roots
                with course(fetch=number):
                    return fetcher.fetch(
                        asked,
                        policy if is_root else below,
                        signature=signature if is_root else None,
                    )

            with Crew(self._config.jobs, fetch_one, recall) as crew:
                fetcher = self._image_fetcher(client, recall, client_for, crew.in_front)
                todo = dict(enumerate(read))
                while todo:
                    for position, each in tuple(todo.items()):
                        result = each if isinstance(each, Exception) else tree.result(each)
                        if result is not None:
                            if isinstance(result, Exception):
                                recall.check()  # it may be a failure that is none of its own
                            yield Outcome(position, wanted[position], result)
                            del todo[position]
                    while crew.has_room and (needed := tree.next()) is not None:
                        crew.start(needed)
                    if crew.is_busy:  # else what was left is passed over, and all results are there
                        tree.settle(*crew.next())

    def _image_fetcher(
        self,
        client: Client,
        recall: Recall,
        client_for: Callable[[Config], Client],
        in_front: Callable[[Callable[[], bool]], bool],
    ) -> ImageFetcher:
        return ImageFetcher(
            self._store,
            self._trust,
            self._config,
            client,
            held=Held(self._store, self._trust, self._config, no_cache=self._no_cache),
            newcomers=Newcomers(
                self._trust,
                self._config,
                client_for=client_for,
                progress=self._progress,
                recall=recall,
                in_front=in_front,
                confirm=self._confirm,
                trust_keys_from_https=self._trust_keys_from_https,
            ),
            progress=self._progress,
            recall=recall,
            allow_downgrade=self._allow_downgrade,
        )


def _read(wanted: str | ImageName) -> Asked | AcistoreError:
    """What is wanted, as a person gives it: a name without os and arch gets this machine's."""
    try:
        if isinstance(wanted, ImageName):
            return Asked.by_name(wanted)
        if is_path(wanted):
            return Asked(wanted)
        if is_url(wanted):
            _require_url(wanted)
            return Asked(wanted)
        if wanted.startswith("sha512-"):
            raise UsageError(f"{wanted} is an image ID, and images are fetched by name, https:// URL or path")
        if _is_file(wanted):
            with course(image=wanted):
                log.warning("%s is taken as an image name; the file of that name is ./%s", wanted, wanted)
        name = ImageName.parse(wanted)
        if name.version == "":  # a variable of a script that is not set
            latest = f"for the latest: acistore fetch {name.name}"
            raise UsageError(f"{wanted} has no version behind its colon", next_step=latest)
        return Asked.by_name(name.for_this_machine())
    except AcistoreError as error:
        return error


def _require_url(text: str) -> None:
    """Raises UsageError for what a person gives as a URL when it is none, or has a password in it."""
    require_no_password(text)
    try:
        parse(text)
    except ConnectionFailed as error:
        raise UsageError(error.message) from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False
