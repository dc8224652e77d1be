"""`[[policies]]`: what has to be so for the images of a prefix before they are let in, besides a trusted key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acistore.config.tables import check_fields, of, parse_prefix, read_tables, setter
from acistore.config.values import shown
from acistore.errors import ConfigError, UsageError
from acistore.fingerprints import normal_fingerprint
from acistore.naming import covers

# No image needs more; a larger number is a slip.
_MOST_SIGNERS = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """What is demanded of the images whose name `prefix` is, or is a parent of (by whole path components); of all
    images where it is empty. The defaults are what holds where no policy is for a name.

    `keys` are fingerprints in lower-case hex: of the keys trusted for a name only these count, all where there are
    none. `threshold` is how many distinct keys have to have signed. `discover_keys`: keys are looked for where
    none is trusted, and shown for review. `allow_unsigned` is for images asked for by name. `allow_downgrade`: as
    latest, an image may be older than the last. `origin` is the file or the variable that it came from, or
    "flag".
    """

    prefix: str = ""
    keys: tuple[str, ...] = ()
    threshold: int = 1
    discover_keys: bool = False
    allow_unsigned: bool = False
    allow_downgrade: bool = False
    origin: str = "default"

    def __post_init__(self) -> None:
        check_fields("policies", self, _PARSERS)
        if problem := _contradiction(self):
            raise ConfigError(
                f"policies: {self.prefix or 'of all names'}: {problem}", facts={"set by": setter(self)}
            )

    def counts(self, fingerprint: str) -> bool:
        """Whether a key that is trusted for the name counts."""
        return not self.keys or fingerprint in self.keys


def policy_for(name: str, policies: Sequence[Policy]) -> Policy:
    """The one policy that decides for a name: the longest prefix, and of equal ones the first."""
    fitting = [each for each in policies if not each.prefix or covers(each.prefix, name)]
    return max(fitting, key=lambda each: len(each.prefix), default=Policy())


def read_policies(value: object, origin: str) -> tuple[Policy, ...]:
    """The `[[policies]]` of one source, in its order. Raises ConfigError."""
    policies: dict[str, Policy] = {}
    for values in read_tables("policies", value, _PARSERS, ("prefix",), origin):
        policy = Policy(**values, origin=origin)
        if policy.prefix in policies:
            raise ConfigError(
                f"{of('policies', origin)}: policies: two tables for {policy.prefix or 'all names'}",
                next_step="make one of them",
            )
        policies[policy.prefix] = policy
    return tuple(policies.values())


def _contradiction(policy: Policy) -> str | None:
    """What can't hold together."""
    if policy.keys and policy.threshold > len(policy.keys):
        return f"threshold is {policy.threshold}, and there are only {len(policy.keys)} keys"
    if policy.allow_unsigned and (policy.keys or policy.threshold > 1):
        given = "keys" if policy.keys else "threshold"
        return f"allow_unsigned and {given}: whoever may leave the signature out need not have any key's"
    return None


def _keys(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{shown(value)} is not an array of fingerprints, each in quotes")
    try:
        return tuple(dict.fromkeys(map(normal_fingerprint, value)))
    except UsageError as error:
        raise ValueError(error.message) from None


def _threshold(value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_SIGNERS:
        raise ValueError(f"{shown(value)} is not a number of signers from 1 to {_MOST_SIGNERS}")
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


_PARSERS: Mapping[str, Callable[[object], Any]] = {
    "prefix": parse_prefix,
    "keys": _keys,
    "threshold": _threshold,
    "discover_keys": _switch,
    "allow_unsigned": _switch,
    "allow_downgrade": _switch,
}
