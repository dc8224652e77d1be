"""What applies of flags, environment and files, and where it came from."""

import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.config import KEYS, OPTIONS, TABLES, Config, environment_variable
from acistore.errors import ConfigError
from tests.config.conftest import Load

Write = Callable[[str, str], Path]


def test_a_flag_beats_the_environment_beats_the_files_of_user_local_and_system(write: Write, load: Load) -> None:
    paths = [write(layer, f"jobs = {jobs}\n") for layer, jobs in (("system", 1), ("local", 2), ("user", 3))]

    def applies(flags: dict[str, object] | None = None, **variables: str) -> tuple[int, str]:
        config = load(flags, **variables)
        return config.jobs, config.origins["jobs"]

    assert applies({"jobs": "5"}, ACISTORE_JOBS="4") == (5, "flag")
    assert applies({"jobs": None}, ACISTORE_JOBS="4") == (4, "ACISTORE_JOBS")
    for jobs in (3, 2, 1):
        assert applies() == (jobs, str(paths[jobs - 1]))
        paths[jobs - 1].unlink()
    assert applies() == (4, "default")


def test_files_are_joined_key_by_key(write: Write, load: Load) -> None:
    write("system", '[limits]\nkey_size = "3M"\nretries = 7\n')
    write("user", '[limits]\nretries = 8\n[gc]\ngrace_period = "0s"\n')
    config = load()
    assert (config.limits.key_size, config.limits.retries, config.limits.page_size) == (3_000_000, 8, 2 << 20)
    assert config.gc.grace_period == timedelta(0)


def test_every_key_has_a_variable_and_a_flag_of_the_library(load: Load, tmp_path: Path) -> None:
    words = {"SIZE": "1M", "DURATION": "9s", "N": "9", "PATH": str(tmp_path / "else"), "LIST": "tls", "": "yes"}
    for option in OPTIONS:
        word = words.get(option.kind.metavar, "never")
        for config, origin in (
            (load({option.name: word}), "flag"),
            (load(**{option.variable: word}), option.variable),
        ):
            assert config.value(option.name) == option.kind.parse(word), option.name
            assert config.origins[option.name] == origin
            assert set(config.origins) == set(KEYS)


def test_every_key_of_the_documentation_is_one_and_every_key_is_documented(write: Write, load: Load) -> None:
    """The example in docs/configuration.md, read as a file: it has the defaults, and all of them."""
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    write("user", example)
    config, default = load(), Config()
    for option in OPTIONS:
        if option.in_files and option.name != "dir":
            assert config.origins[option.name].endswith("acistore.toml"), option.name
            assert config.value(option.name) == default.value(option.name), option.name
        assert option.flag in page or option.name.split(".")[-1] in example, option.name
    assert set(TABLES) < set(tomllib.loads(example))


def test_paths_of_a_file_start_in_its_directory_and_others_where_the_command_runs(
    write: Write, load: Load
) -> None:
    path = write("local", 'dir = "store"\nca_file = "ca.pem"\nca_directory = "~/ca"\n')
    config = load()
    assert config.dir == path.parent / "store"
    assert config.ca_file == path.parent / "ca.pem"
    assert config.ca_directory == Path("~/ca").expanduser()
    assert load({"ca_file": "ca.pem"}).ca_file == Path("ca.pem")
    assert load(ACISTORE_CA_FILE="").ca_file is None


@pytest.mark.parametrize(
    ("text", "message", "facts"),
    [
        ("jobz = 3", "{path}: unknown key 'jobz'", {"did you mean": "jobs"}),
        (
            "[limits]\npage_sice = 3",
            "{path}: unknown key 'limits.page_sice'",
            {"did you mean": "limits.page_size"},
        ),
        ("[mirors]\n", "{path}: unknown key 'mirors'", {"did you mean": "mirrors"}),
        ("retries = 3", "{path}: unknown key 'retries'", {"did you mean": "limits.retries"}),
        ("verbose = true", "{path}: unknown key 'verbose'", {}),
        ("system_config = '/x'", "{path}: unknown key 'system_config'", None),
        ("limits = 3", "{path}: limits is not a table", {}),
        ("[[gc]]\nkeep = 1", "{path}: gc is not a table", {}),
        ("jobs = 'x'", "jobs: 'x' is not a whole number of at least 1", {"set by": "{path}"}),
        ("jobs = true", "jobs: True is not a whole number of at least 1", {"set by": "{path}"}),
        ("[jobs]\nx = 1", "jobs: a table is not a whole number of at least 1", {"set by": "{path}"}),
        (
            "private_redirects = 'perhaps'",
            "private_redirects: 'perhaps' is not one of yes, no, true, false, 1, 0",
            None,
        ),
        ("pull_policy = ['new']", "pull_policy: ['new'] is not one of new, update, never", None),
        ("[[policies]]\nprefix = 'a'\nthresh = 2", "{path}: unknown key 'policies.thresh'", None),
        ("jobs = 3\njobs = 4", "{path} is not TOML: Cannot overwrite a value (at line 2, column 9)", {}),
        ("jobs = 3\n[limits\n", "{path} is not TOML: ", {}),
        ("jobs = " + "9" * 5000, "{path} is not TOML: ", {}),
        ("jobs = " + "[" * 5000, "{path} is not TOML: ", {}),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_file(
    write: Write, load: Load, text: str, message: str, facts: dict[str, str] | None
) -> None:
    path = write("local", text + "\n")
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message.startswith(message.format(path=path))
    if facts is not None:
        assert raised.value.facts == {key: value.format(path=path) for key, value in facts.items()}
    assert len(raised.value.message) < 400


def test_a_file_that_is_no_text_or_can_not_be_read_is_refused(write: Write, load: Load) -> None:
    path = write("user", "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        load()
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load()


def test_an_unknown_flag_of_the_library_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'limits\.retrys'") as raised:
        load({"limits.retrys": 3})
    assert raised.value.facts == {"did you mean": "limits.retries"}


def test_the_files_that_are_looked_for(load: Load, tmp_path: Path) -> None:
    assert load().files == tuple(tmp_path / layer / "acistore.toml" for layer in ("system", "local", "user"))


def test_variables_are_named_after_options() -> None:
    assert environment_variable("limits.image-size") == "ACISTORE_LIMITS_IMAGE_SIZE"
    assert len({option.variable for option in OPTIONS}) == len({option.flag for option in OPTIONS}) == len(OPTIONS)
