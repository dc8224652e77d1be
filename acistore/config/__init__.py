"""The configuration: files, environment and flags become one frozen value; each field knows where it came from.

A flag beats the environment, the environment beats the files, and of the files (`acistore.toml` in the system,
local and user configuration directory) a later one beats an earlier one, key by key. Parsing happens here and
once; whoever holds a Config holds values that are right. What the values mean is told in docs/configuration.md,
and acted upon elsewhere.
"""

from acistore.config.config import Config
from acistore.config.options import (
    FILE_NAME,
    KEYS,
    OPTIONS,
    TABLES,
    GcRules,
    Limits,
    Option,
    environment_variable,
)
from acistore.config.policies import Policy, policy_for
from acistore.config.tables import Host, Mirror, Table, shown_values, write_table
from acistore.config.values import (
    INSECURE_OPTIONS,
    PULL_POLICIES,
    parse_duration,
    parse_insecure_options,
    parse_size,
)

__all__ = [
    "FILE_NAME",
    "INSECURE_OPTIONS",
    "KEYS",
    "OPTIONS",
    "PULL_POLICIES",
    "TABLES",
    "Config",
    "GcRules",
    "Host",
    "Limits",
    "Mirror",
    "Option",
    "Policy",
    "Table",
    "environment_variable",
    "parse_duration",
    "parse_insecure_options",
    "parse_size",
    "policy_for",
    "shown_values",
    "write_table",
]
