"""What holds at one moment, for whoever has several questions."""

from collections.abc import Iterator, Sequence

from acistore.config import Policy, policy_for
from acistore.naming import check_identifier
from acistore.trust.keys import KeyBlock, Place, TrustedKey
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.rules import Rules


class Snapshot:
    """What the directories and the configuration say at one moment."""

    def __init__(self, reading: Reading, policies: Sequence[Policy]) -> None:
        self._reading = reading
        self._policies = policies

    def rules_for(self, name: str | None) -> Rules:
        """As `TrustStore.rules_for`."""
        if name is None:
            return Rules(None, tuple(self._everything()), Policy())
        keys = self._reading.accepted(check_identifier(name))
        return Rules(name, tuple(keys.values()), policy_for(name, self._policies))

    def deciding(self, name: str, fingerprint: str) -> Place | None:
        """The file that has the last word on a key for an AC name: the key's, or a mask."""
        file = self._reading.deciding(name, fingerprint)
        return file.place if file else None

    def blocks(self) -> Iterator[KeyBlock]:
        """Every key that is in force in some place."""
        return (key.block for key in self._everything())

    def _everything(self) -> Iterator[TrustedKey]:
        reading = self._reading
        return (
            key
            for prefix in (None, *reading.prefixes())
            for key in reading.accepted(prefix).values()
            if key.place.prefix == prefix
        )
