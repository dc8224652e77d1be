"""What holds at one moment, for whoever has several questions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from acistore.config import Policy, policy_for
from acistore.naming import check_identifier
from acistore.trust.keys import KeyBlock, Place, TrustedKey
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.listing import revoked_parts
from acistore.trust.rules import Rules
from acistore.trust.schemes import describe


class Snapshot:
    """What the directories and the configuration say at one moment."""

    def __init__(self, reading: Reading, policies: Sequence[Policy]) -> None:
        self._reading = reading
        self._for_others = reading.up_to("local")
        self._policies = policies

    def rules_for(self, name: str | None) -> Rules:
        """As `TrustStore.rules_for`."""
        if name is None:
            return Rules(None, tuple(self._everything()), Policy())
        keys = self._reading.accepted(check_identifier(name))
        return Rules(name, tuple(keys.values()), policy_for(name, self._policies), frozenset(self._masked(name)))

    def deciding(self, name: str, fingerprint: str) -> Place | None:
        """The file that has the last word on a key for an AC name: the key's, or a mask."""
        file = self._reading.deciding(name, fingerprint)
        return file.place if file else None

    def trusted_through(self, fingerprint: str, prefix: str | None, *, for_others: bool = False) -> Place | None:
        """As `TrustStore.trusted_through`."""
        found = (self._for_others if for_others else self._reading).counting(prefix, fingerprint)
        return found.place if found else None

    def revoked(self, keys: Iterable[KeyBlock]) -> Mapping[str, frozenset[str]]:
        """Of each of these keys the parts that any copy of it here calls revoked, as `revoked_parts`.

        A key of which there is one version tells for itself, and is not looked into. Raises ProgramMissing.
        """
        versions = [
            {key, *(file.block for file in self._reading.copies(key.fingerprint) if file.block)} for key in keys
        ]
        known = describe(block for several in versions if len(several) > 1 for block in several)
        return revoked_parts(known.values())

    def blocks(self) -> Iterator[KeyBlock]:
        """Every key that is in force in some place."""
        return (key.block for key in self._everything())

    def _masked(self, name: str) -> Iterator[str]:
        """What is masked for a name, with the subkeys of these keys, as far as there is a copy of them."""
        for fingerprint in self._reading.masked(name):
            yield fingerprint
            for file in self._reading.copies(fingerprint):
                yield from file.block.subkeys if file.block else ()

    def _everything(self) -> Iterator[TrustedKey]:
        """The keys in force in each place, one of each in turn: what comes first has room first where there is not
        room for all (`openpgp.rings`), and one prefix is not to crowd out another."""
        places = map(self._reading.in_force_at, self._reading.places())
        return (key for turn in zip_longest(*places) for key in turn if key is not None)
