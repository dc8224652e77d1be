"""`[[policies]]`: what a table may hold, and which one decides."""

from collections.abc import Callable
from pathlib import Path

import pytest

from acistore.config import Policy, policy_for
from acistore.errors import ConfigError
from tests.config.conftest import Load

Write = Callable[[str, str], Path]

KEY, SSH = "4f1a0c5e" * 5, "ab" * 32


def test_a_policy_is_read_with_its_defaults(write: Write, load: Load) -> None:
    path = write("local", '[[policies]]\nprefix = "example.com"\n')
    assert load().policies == (Policy("example.com", origin=str(path)),)
    assert Policy("example.com").threshold == 1
    assert not any((Policy().discover_keys, Policy().allow_unsigned, Policy().allow_downgrade))


def test_fingerprints_are_read_as_people_write_them(write: Write, load: Load) -> None:
    shown = " ".join(KEY[start : start + 4] for start in range(0, 40, 4)).upper()
    openssh = "SHA256:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"
    write(
        "local", f'[[policies]]\nprefix = "example.com"\nthreshold = 2\nkeys = ["{shown}", "{openssh}", "{KEY}"]\n'
    )
    [policy] = load().policies
    assert policy.keys == (KEY, SSH)
    assert policy.counts(KEY)
    assert not policy.counts("00" * 20)
    assert Policy().counts("00" * 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold = 2", "policies.prefix is missing"),
        ('prefix = "Example"', "Example"),
        ("prefix = 3", "3 is not the beginning of a name, such as example.com"),
        ('prefix = "a"\nthreshold = 0', "0 is not a number of signers from 1 to 100"),
        ('prefix = "a"\nthreshold = true', "True is not a number of signers from 1 to 100"),
        ('prefix = "a"\nthreshold = 101', "101 is not a number of signers from 1 to 100"),
        ('prefix = "a"\nkeys = "4f1a"', "'4f1a' is not an array of fingerprints, each in quotes"),
        ('prefix = "a"\nkeys = ["4f1a"]', '"4f1a" is not a whole fingerprint'),
        ('prefix = "a"\nkeys = [3]', "[3] is not an array of fingerprints, each in quotes"),
        ('prefix = "a"\nallow_unsigned = "yes"', "'yes' is neither true nor false"),
        ('prefix = "a"\nallow_downgrade = 1', "1 is neither true nor false"),
        ('prefix = "a"\nallow_unsinged = true', "unknown key 'policies.allow_unsinged'"),
        (f'prefix = "a"\nthreshold = 2\nkeys = ["{KEY}"]', "a: threshold is 2, and there are only 1 keys"),
        (f'prefix = "a"\nallow_unsigned = true\nkeys = ["{KEY}"]', "a: allow_unsigned and keys: "),
        ('prefix = ""\nallow_unsigned = true\nthreshold = 2', "of all names: allow_unsigned and threshold: "),
        ('prefix = "a"\n[[policies]]\nprefix = "a"', "policies: two tables for a"),
    ],
)
def test_what_is_wrong_is_told(write: Write, load: Load, text: str, message: str) -> None:
    path = write("local", f"[[policies]]\n{text}\n")
    with pytest.raises(ConfigError) as raised:
        load()
    assert message in raised.value.message
    assert str(path) in raised.value.message + str(raised.value.facts)


def test_a_misspelled_safeguard_is_told_what_was_meant(write: Write, load: Load) -> None:
    write("local", '[[policies]]\nprefix = "a"\ntreshold = 2\n')
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.facts["did you mean"] == "policies.threshold"


def test_the_longest_prefix_decides_by_whole_components() -> None:
    policies = [
        Policy("", threshold=2),
        Policy("example.com/app", threshold=3),
        Policy("example.com", threshold=4),
    ]
    for name, threshold in (
        ("example.com/app", 3),
        ("example.com/app/db", 3),
        ("example.com/apple", 4),
        ("example.com", 4),
        ("example.community", 2),
    ):
        assert policy_for(name, policies).threshold == threshold
    assert policy_for("example.org", policies[1:]) == Policy()


def test_of_two_directories_the_later_one_decides(write: Write, load: Load) -> None:
    write("system", '[[policies]]\nprefix = "a"\nthreshold = 2\n[[policies]]\nprefix = "a/b"\nthreshold = 3\n')
    user = write("user", '[[policies]]\nprefix = "a"\nthreshold = 4\n')
    config = load()
    assert policy_for("a", config.policies).threshold == 4
    assert policy_for("a/b", config.policies).threshold == 3
    assert config.origins["policies"] == str(user)


def test_flag_and_variable_hold_toml(load: Load) -> None:
    assert load({"policies": '[{prefix = "a", threshold = 2}]'}).policies == (
        Policy("a", threshold=2, origin="flag"),
    )
    [policy] = load(ACISTORE_POLICIES='[{prefix = "", allow_unsigned = true}]').policies
    assert (policy.prefix, policy.allow_unsigned, policy.origin) == ("", True, "ACISTORE_POLICIES")
    with pytest.raises(ConfigError):
        load(ACISTORE_POLICIES="threshold")
