"""Names for which no key is trusted yet: refused, or keys are found for them, as far as somebody has allowed that.

Never silently: a person has said so for this fetch (`--trust-keys-from-https`), or is shown what was found.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import Lock

from acistore.config import Config
from acistore.errors import ConsentRefused, EndpointNotFound, NoTrustedKey
from acistore.events import log_of
from acistore.fetch.asked import Asked
from acistore.fetch.crew import Recall
from acistore.fingerprints import option_fingerprint, shown_fingerprint
from acistore.keys import Confirm, Offer, default_layer, discover_keys, trust_discovered_keys
from acistore.naming import ImageName
from acistore.net.client import Client
from acistore.progress import Progress
from acistore.trust.keys import PublicKey
from acistore.trust.keystore.store import TrustStore
from acistore.trust.lifetime import problem
from acistore.trust.offers import choose
from acistore.trust.refusals import without_keys
from acistore.trust.rules import Rules

log = log_of(__name__)


class Newcomers:
    """What is to be done about a name of which nobody has said yet who may sign for it.

    `confirm` asks a person, by way of `in_front`; without one what was found is told, and refused.
    """

    def __init__(
        self,
        trust: TrustStore,
        config: Config,
        *,
        client_for: Callable[[Config], Client],
        progress: Progress,
        recall: Recall,
        in_front: Callable[[Callable[[], bool]], bool],
        confirm: Confirm | None,
        trust_keys_from_https: bool,
    ) -> None:
        self._trust = trust
        self._config = config
        self._client_for = client_for
        self._progress = progress
        self._recall = recall
        self._in_front = in_front
        self._confirm = confirm
        self._trust_keys_from_https = trust_keys_from_https
        self._one_at_a_time = Lock()

    def meet(self, asked: Asked, name: ImageName) -> None:
        """Sees to a key for a name, where that is allowed. Raises NoTrustedKey, ConsentRefused, and what looking
        for keys raises.

        For an image that another one needs nobody is asked before a key is trusted for its name: whoever signs one
        image must not have us ask the servers of others, or trust them.
        """
        if "image" in self._config.insecure_options or not self._is_new(name):
            return
        if not asked.is_named:
            if refusal := without_keys(asked.shown, self._trust.rules_for(name.name)):
                raise refusal
            return
        with self._recall.holding(self._one_at_a_time):
            rules = self._trust.rules_for(name.name)
            if rules.counting:  # somebody has seen to it meanwhile
                return
            if self._trust_keys_from_https:
                trust_discovered_keys(name, self._trust, self._config, client_for=self._client_for)
            elif rules.policy.discover_keys:
                self._introduce(asked, name, rules)

    def _is_new(self, name: ImageName) -> bool:
        rules = self._trust.rules_for(name.name)
        return not (rules.counting or rules.allows_unsigned)

    def _introduce(self, asked: Asked, name: ImageName, rules: Rules) -> None:
        """Keys are looked for, and shown to whoever can answer."""
        self._progress.step(f"looking for keys of {name.name}")
        untrusted = f"{asked.shown} can't be checked: no key is trusted for this name"
        by_hand = f"acistore trust add --prefix {shlex.quote(name.name)} KEYFILE"
        try:
            offers = tuple(self._offers(name, rules))
        except EndpointNotFound as error:
            facts = {"looked for": error.message, **error.facts}
            raise NoTrustedKey(f"{untrusted}, and none was found", facts=facts, next_step=by_hand) from error
        if not offers:
            raise NoTrustedKey(f"{untrusted}, and none of those that were found can be", next_step=by_hand)
        if self._confirm is None:
            raise _unconfirmed(asked, name, offers)
        if not self._in_front(partial(self._confirm.trust, offers, name.name, default_layer())):
            raise ConsentRefused(f"no key was added for {name.name}, and {asked.shown} can't be checked without")
        self._trust.trust(offers, prefix=name.name, layer=default_layer())

    def _offers(self, name: ImageName, rules: Rules) -> Iterator[Offer]:
        """What could be trusted of what is found, each key once."""
        masked = self._trust.masked_for(name.name)
        found, _ = choose(self._trust.offers(discover_keys(name, self._config, client_for=self._client_for)), ())
        for offer in found:
            obstacles = {key: _obstacle(key, rules, masked) for key in offer.keys}
            for key, obstacle in obstacles.items():
                if obstacle:
                    shown = shown_fingerprint(key.fingerprint)
                    log.warning("key %s, which %s offers, is left out: %s", shown, offer.source, obstacle)
            if keys := tuple(key for key, obstacle in obstacles.items() if not obstacle):
                yield Offer(offer.source, keys)


def _obstacle(key: PublicKey, rules: Rules, masked: set[str]) -> str | None:
    """Why a key is not offered."""
    if key.fingerprint in masked:
        return "it is masked"
    if not rules.policy.counts(key.fingerprint):
        return "the policy for this name does not take it"
    trouble = problem(key, datetime.now(UTC))
    return trouble.words if trouble else None


def _unconfirmed(asked: Asked, name: ImageName, offers: Sequence[Offer]) -> NoTrustedKey:
    keys = [key for offer in offers for key in offer.keys]
    options = [word for key in keys for word in ("--fingerprint", option_fingerprint(key.fingerprint))]
    return NoTrustedKey(
        f"{asked.shown} can't be checked: no key is trusted for this name, and nobody can be asked about new ones",
        facts={
            **{shown_fingerprint(key.fingerprint): key.user_id or "no user ID" for key in keys},
            "from": ", ".join(offer.source for offer in offers),
            "caution": "compare the fingerprint with one that the publisher has given you in some other way",
        },
        next_step=shlex.join(["acistore", "trust", "add", "--prefix", name.name, *options]),
    )
