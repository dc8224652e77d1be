"""What holds for a name: the keys trusted for it, and what the configuration demands besides. A value."""

from dataclasses import dataclass

from acistore.config import Policy
from acistore.trust.keys import Scheme, TrustedKey


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for an AC name; for None, an image that has not told its name yet, every key that is trusted for
    anything, and no demand besides.

    `keys` are those in force for the name, each once; `masked` the fingerprints of those that somebody has taken
    out of force for it, and of their subkeys.
    """

    name: str | None
    keys: tuple[TrustedKey, ...]
    policy: Policy
    masked: frozenset[str] = frozenset()

    @property
    def counting(self) -> tuple[TrustedKey, ...]:
        """The keys whose signatures count: those that the policy takes of the trusted ones."""
        return tuple(key for key in self.keys if self.policy.counts(key.fingerprint))

    @property
    def schemes(self) -> frozenset[Scheme]:
        """The schemes of the keys that count."""
        return frozenset(key.block.scheme for key in self.counting)

    @property
    def allows_unsigned(self) -> bool:
        """Whether an image of this name may come without a signature."""
        return self.policy.allow_unsigned and self.name is not None
