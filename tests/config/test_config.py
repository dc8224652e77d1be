"""What applies of flags, environment and files, and where it came from."""

import os
import pwd
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.config import KEYS, OPTIONS, TABLES, Config, Option, environment_variable
from acistore.errors import ConfigError
from tests.config.conftest import WORDS, Load

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


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_of_every_key_the_variable_beats_the_file_and_the_flag_beats_the_variable(
    write: Write, load: Load, option: Option
) -> None:
    in_file, in_variable, in_flag = WORDS[option.kind.metavar]
    assert option.variable == "ACISTORE_" + option.name.upper().replace(".", "_")
    if option.in_files:
        section, _, key = option.name.rpartition(".")
        file = write("user", f'[{section}]\n{key} = "{in_file}"\n' if section else f'{key} = "{in_file}"\n')
        config = load()
        assert (config.value(option.name), config.origins[option.name]) == (option.kind.parse(in_file), str(file))
    variable = {option.variable: in_variable}
    for config, word, origin in (
        (load(**variable), in_variable, option.variable),
        (load({option.name: in_flag}, **variable), in_flag, "flag"),
    ):
        assert (config.value(option.name), config.origins[option.name]) == (option.kind.parse(word), origin)
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
        ("Jobs = 3", "{path}: unknown key 'Jobs'", {"did you mean": "jobs"}),
        ("[limit]\nretries = 3", "{path}: unknown key 'limit'", {"did you mean": "limits"}),
        ("[limits.foo]\nx = 3", "{path}: unknown key 'limits.foo'", {}),
        ('"limits.retries" = 3', "{path}: the key 'limits.retries' is in quotes, dot and all", {}),
        ("jobs = nan", "jobs: nan is not a whole number of at least 1", None),
        ("jobs = -1", "jobs: -1 is not a whole number of at least 1", None),
        ("jobs = 10000000000", "jobs: 10000000000 has more than 9 digits", None),
        ("jobs = 0x" + "f" * 5000, "jobs: ", None),
        ("limits.deadline = 60", "limits.deadline: 60 is not a duration, such as 90s, 24h or 7d", None),
        ("limits.deadline = '1 fortnight'", "limits.deadline: '1 fortnight' is not a duration, such as", None),
        ("limits.image_size = -1", "limits.image_size: -1 is not a size, such as 500M or 2GiB", None),
        ("limits.image_size = '2 QiB'", "limits.image_size: '2 QiB' is not a size, such as", None),
        ("limits.image_size = nan", "limits.image_size: nan is not a size, such as", None),
        ("limits.image_size = ''", "limits.image_size: '' is not a size, such as", None),
        ("gc.grace_period = 1979-05-27", "gc.grace_period: datetime.date(1979, 5, 27) is not a duration", None),
        ("dir = ''", "dir: '' is not a path", None),
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


def test_a_file_may_begin_with_a_byte_order_mark_and_have_the_lines_of_windows(write: Write, load: Load) -> None:
    write("user", "").write_bytes("\ufeffjobs = 3\r\n[limits]\r\nretries = 7\r\n".encode())
    config = load()
    assert (config.jobs, config.limits.retries) == (3, 7)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.write_bytes(b"jobs = 3\n# \xff"), "is not TOML: not UTF-8 (at line 2)"),
        (
            lambda path: path.write_bytes(b"#" * (1 << 20) + b"\n"),
            "can't be read: it is longer than 1048576 bytes",
        ),
        (lambda path: path.mkdir(), "can't be read: it is not a regular file"),
        (os.mkfifo, "can't be read: it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "can't be read: it is not a regular file"),
        (lambda path: path.symlink_to(path.name), "can't be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("gone"), "is a link to gone, where nothing is"),
    ],
)
def test_a_file_that_is_no_text_or_can_not_be_read_is_refused(
    write: Write, load: Load, make: Callable[[Path], object], problem: str
) -> None:
    path = write("user", "")
    path.unlink()
    make(path)
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message == f"{path} {problem}"


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may read everything, and is somebody else meanwhile."""
    user = os.geteuid()
    os.seteuid(12_345 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_only_others_may_read_is_refused(write: Write, load: Load) -> None:
    """To go on without it would be to go on without its policies."""
    path = write("user", "jobs = 3\n")
    path.chmod(0)
    with _as_nobody(), pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message == f"{path} can't be read: Permission denied"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_empty_variable_is_nothing_where_nothing_can_be_set_and_else_an_error(
    load: Load, option: Option
) -> None:
    if option.kind.metavar == "LIST" or Config().value(option.name) is None:
        config = load(**{option.variable: ""})
        assert not config.value(option.name)
        assert config.origins[option.name] == option.variable
    else:
        with pytest.raises(ConfigError) as raised:
            load(**{option.variable: ""})
        assert raised.value.facts == {"set by": option.variable}


def test_home_directories_that_are_no_absolute_paths_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG Base Directory Specification says: else a configuration would depend on where one stands."""
    monkeypatch.setenv("HOME", "/home/me")
    config = Config.load(environ={"XDG_CONFIG_HOME": "here"})
    assert config.user_config == Path("/home/me/.config/acistore")
    assert Config.load(environ={"XDG_CONFIG_HOME": "/there"}).user_config == Path("/there/acistore")


def test_without_home_the_system_is_asked_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    home = pwd.getpwuid(os.getuid()).pw_dir
    config = Config.load({"ca_file": "~/ca.pem"}, environ={})
    assert (config.user_config, config.ca_file) == (Path(home, ".config/acistore"), Path(home, "ca.pem"))


def test_an_unknown_flag_of_the_library_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"the caller: unknown key 'limits\.retrys'") as raised:
        load({"limits.retrys": 3})
    assert raised.value.facts == {"did you mean": "limits.retries"}


def test_the_files_that_are_looked_for(load: Load, tmp_path: Path) -> None:
    assert load().files == tuple(tmp_path / layer / "acistore.toml" for layer in ("system", "local", "user"))


def test_variables_are_named_after_options() -> None:
    assert environment_variable("limits.image-size") == "ACISTORE_LIMITS_IMAGE_SIZE"
    assert len({option.variable for option in OPTIONS}) == len({option.flag for option in OPTIONS}) == len(OPTIONS)
