"""`acistore config`, the options before the command that it shows, and variables that nobody has."""

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import click
import pytest
from click.core import ParameterSource

from acistore.cli.app import cli
from acistore.cli.output import Output
from acistore.cli.session import Session
from acistore.config import KEYS, OPTIONS, TABLES
from acistore.config.values import SWITCH_WORDS
from acistore.store import StoredImage
from tests.cli.running import Run, spawn
from tests.cli.test_completion import completed
from tests.config.conftest import WORDS

SECRET = "sEcReT"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str) -> Path:
        path = tmp_path / "user/acistore.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    return write


# --- the command


def test_each_value_is_shown_as_in_the_file_with_where_it_came_from(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write('insecure_options = ["tls"]\n[limits]\nimage_size = 3145728\n')
    monkeypatch.setenv("ACISTORE_LIMITS_RETRIES", "0")
    ran = run("--limits-deadline", "120s", "config")
    header, *lines = (line.split(maxsplit=2) for line in ran.out.splitlines())
    shown = {name: (value, origin) for name, value, origin in lines}
    assert header == ["OPTION", "VALUE", "FROM"]
    assert list(shown) == list(KEYS)
    assert shown["dir"] == (f'"{tmp_path}/store"', "ACISTORE_DIR")
    assert shown["insecure_options"] == ('["tls"]', str(path))
    assert shown["limits.image_size"] == ('"3MiB"', str(path))
    assert shown["limits.deadline"] == ('"2m"', "flag")
    assert shown["limits.retries"] == ("0", "ACISTORE_LIMITS_RETRIES")
    assert shown["gc.grace_period"] == ('"24h"', "default")
    assert shown["gc.max_size"] == ('""', "default")
    assert shown["private_redirects"] == ("false", "default")
    assert shown["mirrors"] == shown["hosts"] == shown["policies"] == ("[]", "default")


def test_the_files_that_were_looked_for_are_told_beside_the_result(run: Run, write: Write, tmp_path: Path) -> None:
    path = write("")
    expected = [f"{tmp_path / each}/acistore.toml: not there" for each in ("system", "local")]
    assert run("config").err.splitlines() == [*expected, f"{path}: read"]
    assert run("-q", "config").err == run("--json", "config").err == ""
    notes = [json.loads(line)["note"] for line in run("-v", "--json", "config").err.splitlines()]
    assert notes == [*expected, f"{path}: read"]


def test_a_file_that_is_named_and_not_there_gets_a_warning(run: Run, write: Write, tmp_path: Path) -> None:
    path = write(
        'ca_file = "../ca.pem"\n[[hosts]]\nname = "a"\nclient_certificate = "me.pem"\nclient_key = "me.key"\n'
    )
    (path.parent / "me.key").write_text("")
    ran = run("config")
    assert ran.code == 0
    assert [line for line in ran.err.splitlines() if "warning" in line] == [
        f"acistore: warning: {problem} can't be read: No such file or directory (set by {path})"
        for problem in (
            f"ca_file: {tmp_path}/ca.pem",
            f"hosts.client_certificate of a: {path.parent}/me.pem",
        )
    ]
    assert run("-q", "config").err == ""


def test_a_mirror_that_is_not_asked_gets_a_warning(run: Run) -> None:
    mirrors = '[{prefix = "", url = "http://m/{name}.{ext}"}, {prefix = "", url = "https://m/{name}.{ext}"}]'
    [told] = [line for line in run("--mirrors", mirrors, "config").err.splitlines() if "warning" in line]
    assert told == (
        "acistore: warning: mirrors: http://m/{name}.{ext}: plain HTTP, which is not used without "
        "--insecure-options=http (set by flag)"
    )
    assert "warning" not in run("--insecure-options=http", "--mirrors", mirrors, "config").err


def test_mirrors_only_is_a_switch(run: Run) -> None:
    assert run("--json", "config").document["mirrors_only"] == {"value": False, "from": "default"}
    assert run("--json", "--mirrors-only", "config").document["mirrors_only"] == {"value": True, "from": "flag"}


def test_json_has_bytes_seconds_and_null(run: Run, write: Write) -> None:
    path = write('[limits]\nretry_delay = "250ms"\n')
    shown = run("--json", "--jobs", "7", "config").document
    assert list(shown) == [*KEYS, "credentials"]
    assert shown["limits.page_size"] == {"value": 2 << 20, "from": "default"}
    assert shown["limits.retry_delay"] == {"value": 0.25, "from": str(path)}
    assert shown["gc.grace_period"] == {"value": 86400, "from": "default"}
    assert shown["gc.max_size"]["value"] is shown["ca_file"]["value"] is None
    assert shown["insecure_options"]["value"] == shown["mirrors"]["value"] == []
    assert shown["private_redirects"]["value"] is False
    assert shown["jobs"] == {"value": 7, "from": "flag"}


def test_mirrors_and_hosts_are_shown_in_order_and_secrets_are_not(run: Run, write: Write) -> None:
    basic = f'[[hosts]]\nname = "a"\nusername = "me"\npassword = "{SECRET}"\n'
    path = write(f'{basic}[[hosts]]\nname = "b"\ntoken = "{SECRET}"\n')
    mirrors = '[{prefix = "example.com", url = "https://mirror/{name}.{ext}"}]'
    ran = run("--mirrors", mirrors, "config")
    assert [" ".join(line.split()) for line in ran.out.splitlines()[-6:]] == [
        'mirrors {prefix = "example.com", url = "https://mirror/{name}.{ext}"} flag',
        f'hosts {{name = "a", username = "me", password = "(hidden)"}} {path}',
        f'hosts {{name = "b", token = "(hidden)"}} {path}',
        "policies [] default",
        f'credentials "a" {path}',
        f'credentials "b" {path}',
    ]
    shown = json.loads(run("--mirrors", mirrors, "--json", "config").out)
    assert shown["hosts"] == {
        "value": [
            {"name": "a", "username": "me", "password": "(hidden)", "from": str(path)},
            {"name": "b", "token": "(hidden)", "from": str(path)},
        ],
        "from": str(path),
    }
    assert shown["mirrors"]["value"][0]["from"] == shown["mirrors"]["from"] == "flag"
    for arguments in (["config"], ["--json", "config"], ["--debug", "-v", "config"], ["--debug", "list"]):
        ran = run(*arguments)
        assert SECRET not in ran.out + ran.err


def test_where_credentials_are_is_shown_and_not_what_they_are(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several places for one host the one that counts."""
    write(f'[[hosts]]\nname = "a.com"\ntoken = "{SECRET}"\n').chmod(0o600)
    for layer, domains in (("local", ["a.com", "b.com"]), ("user", ["b.com:8443"])):
        basic = {"user": "me", "password": SECRET}
        rkt = {"rktKind": "auth", "rktVersion": "v1", "domains": domains, "type": "basic", "credentials": basic}
        (tmp_path / layer / "auth.d").mkdir(parents=True)
        (tmp_path / layer / "auth.d/x.json").write_text(json.dumps(rkt))
        (tmp_path / layer / "auth.d/x.json").chmod(0o600)
    (tmp_path / "netrc").write_text(
        f"machine b.com login me password {SECRET}\nmachine c.com login me password x\n"
    )
    (tmp_path / "netrc").chmod(0o644)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    expected = {
        "a.com": "user/acistore.toml",
        "b.com": "local/auth.d/x.json",
        "b.com:8443": "user/auth.d/x.json",
        "c.com": "netrc",
    }
    ran = run("config")
    assert [line.split() for line in ran.out.splitlines() if line.startswith("credentials")] == [
        ["credentials", f'"{host}"', f"{tmp_path}/{path}"] for host, path in expected.items()
    ]
    assert f"netrc holds secrets and can be read by other users: chmod 600 {tmp_path}/netrc" in ran.err
    document = run("--json", "config")
    assert document.document["credentials"] == {
        "value": [{"host": host, "from": f"{tmp_path}/{path}"} for host, path in expected.items()],
        "from": f"{tmp_path}/user/acistore.toml",
    }
    assert SECRET not in ran.out + ran.err + document.out
    (tmp_path / "user/auth.d/x.json").write_text(f"{SECRET} is no JSON")
    ran = run("config")
    assert ran.code == 0
    assert f"acistore: warning: {tmp_path}/user/auth.d/x.json: not JSON, line 1 column 1" in ran.err.splitlines()


def test_it_needs_no_store_and_minds_no_broken_one(run: Run, tmp_path: Path) -> None:
    assert run("config").code == 0
    assert not (tmp_path / "store").exists()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/acistore.db").write_text("no database")
    assert run("config").code == 0


def test_a_broken_file_is_named_with_the_line(run: Run, write: Write) -> None:
    path = write("jobs = 3\npull_policy = new\n")
    ran = run("config")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"acistore: {path} is not TOML: Invalid value (at line 2, column ")


# --- every option, by flag, variable and file


def _commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, (*path, name))


EVERY_OPTION = [
    pytest.param(command, param, id=" ".join((*path, max(param.opts, key=len))))
    for path, command in _commands(cli)
    for param in command.params
    # One that only prints needs no variable, and --json behind a command is the one before it.
    if isinstance(param, click.Option) and not param.is_eager and (command is cli or param.name != "json")
]
# Of these an option takes the first that it understands.
UNDERSTOOD = ("new", "tls", "7", "5d", "7M", "local", "name=a")


@pytest.mark.parametrize(("command", "param"), EVERY_OPTION)
def test_every_option_has_a_variable_named_after_it_that_a_flag_beats(
    command: click.Command, param: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(*arguments: str) -> tuple[object, ParameterSource | None]:
        """What the option is set to, and by what; None where it doesn't understand what it is given."""
        session = Session(Output())
        root = cli.make_context("acistore", [], obj=session, resilient_parsing=True)
        ctx = command.make_context("x", [*arguments], parent=root, obj=session, resilient_parsing=True)
        return ctx.params[str(param.name)], ctx.get_parameter_source(str(param.name))

    flag = max(param.opts, key=len)
    variable = "ACISTORE_" + flag.removeprefix("--").upper().replace("-", "_")
    if param.is_flag:
        [opposite] = param.secondary_opts
        assert f"--no-{min(flag, opposite, key=len).removeprefix('--')}" in (flag, opposite)
        for word, on in zip(SWITCH_WORDS.split(", "), [True, False] * 3, strict=True):
            monkeypatch.setenv(variable, word)
            assert given() == (on, ParameterSource.ENVIRONMENT)
            assert given(flag) == (True, ParameterSource.COMMANDLINE)
            assert given(opposite) == (False, ParameterSource.COMMANDLINE)
    else:
        word = next(word for word in UNDERSTOOD if given(flag, word)[0])
        monkeypatch.setenv(variable, word)
        value, source = given()
        assert value
        assert source is ParameterSource.ENVIRONMENT
        assert given(flag, word)[1] is ParameterSource.COMMANDLINE


def test_of_every_key_a_flag_beats_the_variable_and_that_the_file(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once: what is written comes back, and where it was set."""
    keys = [option for option in OPTIONS if option.in_files]
    file = write("".join(f'{option.name} = "{WORDS[option.kind.metavar][0]}"\n' for option in keys))

    def shown(source: int, *arguments: str) -> None:
        document = run(*arguments, "--json", "config").document
        origins = [str(file), "", "flag"]
        for option in keys:
            kind = option.kind
            assert document[option.name] == {
                "value": kind.plain(kind.parse(WORDS[kind.metavar][source])),
                "from": origins[source] or option.variable,
            }

    monkeypatch.delenv("ACISTORE_DIR")
    shown(0)
    for option in keys:
        monkeypatch.setenv(option.variable, WORDS[option.kind.metavar][1])
    shown(1)
    flags = [
        [option.flag, WORDS[option.kind.metavar][2]] if option.kind.metavar else [option.flag] for option in keys
    ]
    shown(2, *chain.from_iterable(flags))


def test_tables_of_flag_variable_and_file_are_added_up(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = {
        "mirrors": '[{{prefix = "{0}", url = "https://{0}/{{ext}}"}}]',
        "hosts": '[{{name = "{0}"}}]',
        "policies": '[{{prefix = "{0}"}}]',
    }
    assert list(examples) == list(TABLES)
    file = write("".join(f"{name} = {text.format('a')}\n" for name, text in examples.items()))
    for name, text in examples.items():
        monkeypatch.setenv(f"ACISTORE_{name.upper()}", text.format("b"))
    flags = chain.from_iterable((f"--{name}", text.format("c")) for name, text in examples.items())
    document = run(*flags, "--json", "config").document
    for name in TABLES:
        assert [each.get("prefix", each.get("name")) for each in document[name]["value"]] == ["c", "b", "a"]
        assert [each["from"] for each in document[name]["value"]] == [
            "flag",
            f"ACISTORE_{name.upper()}",
            str(file),
        ]
        assert document[name]["from"] == "flag"


# --- options before the command


def test_every_key_has_an_option_and_help_shows_it_with_its_default(run: Run) -> None:
    text = run("--help").out
    keys = text.partition("Configuration (also in acistore.toml):\n")[2].partition("\n\n")[0]
    for option in OPTIONS:
        assert f"  {option.flag} " in (keys if option.in_files and f"{option.flag} " in keys else text), (
            option.name
        )
    assert "  --mirrors TOML " in keys
    assert "By default 16GiB." in " ".join(keys.split())
    assert "  --dir" not in keys


def test_an_option_of_the_command_beats_the_one_before_it_and_no_variable_beats_a_flag(
    run: Run, app: StoredImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes(*arguments: str) -> bool:
        return bool(run("--json", *arguments, "--dry-run").document["images"])

    assert goes("--gc-grace-period", "0s", "gc")
    assert not goes("--gc-grace-period", "0s", "gc", "--grace-period", "1h")
    monkeypatch.setenv("ACISTORE_GRACE_PERIOD", "1h")
    assert not goes("gc")
    assert goes("--gc-grace-period", "0s", "gc")
    assert goes("gc", "--grace-period", "0s")


def test_the_pull_policy_before_fetch_beats_the_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy of `never` asks nobody, which is how it shows."""
    monkeypatch.setenv("ACISTORE_PULL_POLICY", "update")
    assert run("--json", "--pull-policy", "never", "fetch", "example.com/app").error["kind"] == "ImageNotFound"
    assert run("--json", "fetch", "--pull-policy", "never", "example.com/app").error["kind"] == "ImageNotFound"
    monkeypatch.setenv("ACISTORE_PULL_POLICY", "never")
    assert run("--json", "fetch", "example.com/app").error["kind"] == "ImageNotFound"


@pytest.mark.parametrize(
    ("arguments", "message", "next_step"),
    [
        (["list", "--jobs", "3"], "--jobs stands before the command", "acistore --jobs 3 list"),
        (
            ["list", "--limits-image-size=1M", "x"],
            "--limits-image-size stands before the command",
            "acistore --limits-image-size=1M list x",
        ),
        (
            ["gc", "--no-private-redirects"],
            "--no-private-redirects stands before the command",
            "acistore --no-private-redirects gc",
        ),
        (["--jobs", "0", "list"], "--jobs: '0' is not a whole number of at least 1", "acistore --help"),
        (
            ["--limits-image-size", "big", "list"],
            "--limits-image-size: 'big' is not a size, such as 500M or 2GiB",
            "acistore --help",
        ),
        (["--limits-image-sice", "1M", "list"], "no such option: --limits-image-sice", "acistore --help"),
        (
            ["gc", "--max-size", "9" * 400],
            f"--max-size: '{'9' * 99}… is not a size, such as 500M or 2GiB",
            "acistore gc --help",
        ),
    ],
)
def test_a_wrong_call_with_one_says_what_is_right(
    run: Run, arguments: list[str], message: str, next_step: str
) -> None:
    error = run("--json", *arguments).error
    assert (error["kind"], error["message"]) == ("UsageError", message)
    assert run(*arguments).err.splitlines()[-1].split(maxsplit=1) == ["next", next_step]


def test_a_wrong_variable_is_told_by_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACISTORE_LIMITS_IMAGE_SIZE", "big")
    error = run("--json", "list").error
    assert error["message"] == "limits.image_size: 'big' is not a size, such as 500M or 2GiB"
    assert error["facts"] == {"set by": "ACISTORE_LIMITS_IMAGE_SIZE"}
    assert run("--json", "--limits-image-size", "1M", "list").code == 0


@pytest.mark.parametrize(
    "arguments", [["--hosts", "{}", "config"], ["list", "--hosts", "{}"], ["list", "--hosts={}"]]
)
def test_a_secret_in_a_flag_is_refused_and_not_repeated(run: Run, arguments: list[str]) -> None:
    hosts = f'[{{name = "a", username = "me", password = "{SECRET}"}}]'
    for debug in ([], ["--debug"]):
        ran = run(*debug, *(each.replace("{}", hosts) for each in arguments))
        assert ran.code == 2
        assert SECRET not in ran.out + ran.err


def test_options_of_the_configuration_are_completed(app: StoredImage) -> None:
    assert completed("acistore --limits-im") == ["--limits-image-size"]
    assert completed("acistore --pull-policy n") == ["new", "never"]
    assert completed("acistore --jobs 3 --private-redirects show example") == [
        "example.com/app",
        "example.com/app:1.0",
    ]
    assert completed("acistore --jobs x --hosts y show exa") == []


# --- variables that nobody has


def test_a_variable_that_no_option_has_gets_a_warning_with_the_nearest_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACISTORE_LIMIT_RETRIES", SECRET)
    monkeypatch.setenv("ACISTORE_QZXW\x1b[1m", "1")
    ran = run("config")
    assert ran.code == 0
    assert ran.err.splitlines()[:2] == [
        "acistore: warning: ACISTORE_LIMIT_RETRIES in the environment sets nothing; "
        "did you mean ACISTORE_LIMITS_RETRIES?",
        "acistore: warning: ACISTORE_QZXW\\x1b[1m in the environment sets nothing",
    ]
    assert run("-q", "config").err == ""
    assert run("--version").err == ""


def test_variables_of_commands_and_of_completion_get_no_warning(app: StoredImage) -> None:
    known = {
        "ACISTORE_GRACE_PERIOD": "1h",
        "ACISTORE_DRY_RUN": "1",
        "ACISTORE_HOSTS": "[]",
        "ACISTORE_FORMAT": "x",
    }
    assert spawn("df", **known).err == ""
    assert spawn(_ACISTORE_COMPLETE="bash_complete", COMP_LINE="acistore ls", ACISTORE_XYZ="1").err == ""
    assert "_ACISTORE_COMPLETE" not in os.environ
