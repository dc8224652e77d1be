"""The options of a configuration: what there is, of which kind, and what it is by default.

One table, from which files, variables, the flags before a command, their help and `acistore config` are made.
Arrays of tables are told in tables.py (`[[mirrors]]`, `[[hosts]]`) and policies.py.
"""

from dataclasses import dataclass
from datetime import timedelta

from acistore.config import values
from acistore.config.values import Kind
from acistore.errors import flag_of

FILE_NAME = "acistore.toml"
SECTIONS = ("limits", "gc")
# Arrays of tables: those of all sources are taken, one after another.
TABLES = ("mirrors", "hosts", "policies")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what comes from outside. Sizes in bytes, times in seconds."""

    page_size: int = 2 << 20
    signature_size: int = 1 << 20
    key_size: int = 1 << 20
    image_size: int = 16 << 30
    unpacked_size: int = 64 << 30
    connect_timeout: float = 10.0
    deadline: float = 60.0
    minimum_rate: int = 1 << 10
    rate_window: float = 30.0
    retries: int = 4
    retry_delay: float = 0.5
    retry_after: float = 120.0
    redirects: int = 10
    endpoints: int = 20
    freshness: float = 86400.0
    dependency_depth: int = 32
    dependencies: int = 1000


@dataclass(frozen=True, slots=True)
class GcRules:
    """What a garbage collection keeps. `keep` is per name; `max_size` is in bytes of the store on disk."""

    grace_period: timedelta = timedelta(hours=24)
    keep: int = 0
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its dotted name, its kind, and what it is for, in a line without a full stop."""

    name: str
    kind: Kind
    help: str

    @property
    def in_files(self) -> bool:
        """Whether a file may set it: the directories say where the files are, so no file can."""
        return not self.name.endswith("_config")

    @property
    def flag(self) -> str:
        """The long option before a command."""
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return environment_variable(self.name)


OPTIONS = (
    Option("dir", values.PATH, "the store"),
    Option("system_config", values.PATH, "configuration and keys of the distribution"),
    Option("local_config", values.PATH, "configuration and keys of this machine"),
    Option("user_config", values.PATH, "configuration and keys of this user"),
    Option("insecure_options", values.INSECURE, "checks to switch off"),
    Option("pull_policy", values.PULL_POLICY, "when a server is asked about an image that the store holds"),
    Option("jobs", values.POSITIVE_NUMBER, "how many images are fetched at once"),
    Option("ca_file", values.OPTIONAL_PATH, "certificate authorities believed besides the system's"),
    Option("ca_directory", values.OPTIONAL_PATH, "a directory of such authorities"),
    Option("private_redirects", values.SWITCH, "follow a redirect from a public address to a private one"),
    Option("mirrors_only", values.SWITCH, "don't ask the page of a name where its images are: mirrors alone"),
    Option("limits.page_size", values.SIZE, "how much of a discovery page is read"),
    Option("limits.signature_size", values.SIZE, "the largest signature"),
    Option("limits.key_size", values.SIZE, "the largest file of keys"),
    Option("limits.image_size", values.SIZE, "the largest image, as served"),
    Option("limits.unpacked_size", values.SIZE, "the largest image, after decompression"),
    Option("limits.connect_timeout", values.WAIT, "how long connecting to a server may take"),
    Option("limits.deadline", values.WAIT, "how long a whole page, signature or key may take"),
    Option("limits.minimum_rate", values.SIZE, "bytes a second; a slower download of an image is given up"),
    Option("limits.rate_window", values.WAIT, "the time over which that rate is measured"),
    Option("limits.retries", values.NUMBER, "how often a download that failed is tried again"),
    Option("limits.retry_delay", values.PAUSE, "the pause before the first retry, doubled for each that follows"),
    Option("limits.retry_after", values.PAUSE, "the longest that a server may make one download wait"),
    Option("limits.redirects", values.NUMBER, "how many redirects of one request are followed"),
    Option("limits.endpoints", values.POSITIVE_NUMBER, "how many endpoints are tried for an image"),
    Option("limits.freshness", values.SECONDS, "the longest that Cache-Control of a server is believed"),
    Option("limits.dependency_depth", values.NUMBER, "how deep dependencies may nest"),
    Option("limits.dependencies", values.NUMBER, "how many images may come with one as its dependencies"),
    Option("gc.grace_period", values.DURATION, "images that were used within it stay at a gc"),
    Option("gc.keep", values.NUMBER, "how many images of each name a gc keeps, whatever their age"),
    Option("gc.max_size", values.OPTIONAL_SIZE, "the largest store that a gc leaves"),
)
BY_NAME = {option.name: option for option in OPTIONS}
# All that can be set, by its dotted name.
KEYS = (*BY_NAME, *TABLES)


def environment_variable(option: str) -> str:
    """`limits.image-size` to `ACISTORE_LIMITS_IMAGE_SIZE`."""
    return "ACISTORE_" + option.upper().replace(".", "_").replace("-", "_")
