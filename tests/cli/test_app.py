"""The command as a whole: help, options before the command, wrong calls, and how it ends."""

import ctypes
import gc
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import acistore
from acistore.cli.app import cli
from acistore.store import Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import COMMAND, Run, environment, spawn
from tests.images import image
from tests.waiting import PATIENCE

COMMANDS = [
    *(["discover"], ["fetch"], ["trust", "add"], ["trust", "list"], ["trust", "show"], ["trust", "remove"]),
    *(["trust", "mask"], ["trust", "unmask"], ["trust", "refresh"], ["trust", "check"], ["trust", "explain"]),
    *(["trust", "export"], ["trust", "import"]),
    *(["list"], ["show"], ["files"], ["cat"], ["diff"], ["which"]),
    *(["df"], ["pin"], ["unpin"], ["rm"], ["gc"], ["verify"], ["config"], ["export"], ["completion"]),
]
CONFIGURATION = "Configuration (also in acistore.toml)"
HEAVY = ["sqlalchemy", "alembic", "httpx", "lxml", "gnupg", "rich", "zstandard", "isal"]


# --- help


def test_help_shows_the_commands_under_the_headings_of_the_contract(run: Run) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    headings = re.findall(r"^(\S[^:\n]+):$", ran.out, re.MULTILINE)
    assert headings == ["Options", "Get images", "Trust", "Look", "Keep the store", "Take out", CONFIGURATION]
    for command in COMMANDS[:-1]:
        assert re.search(rf"^  {' '.join(command)} +\w", ran.out, re.MULTILINE), command


def test_help_tells_the_exit_codes_and_an_example_of_a_variable_of_the_key(run: Run) -> None:
    text = " ".join(run("--help").out.split())
    assert "6 store damaged, 130 interrupted (Ctrl-C), 143 terminated" in text
    assert "--gc-grace-period" in text
    assert "ACISTORE_GC_GRACE_PERIOD" in text


@pytest.mark.parametrize("number", ["global", "fetch"])
def test_jobs_are_the_same_before_and_behind_the_command(run: Run, number: str) -> None:
    text = run(*([] if number == "global" else [number]), "--help").out
    assert "How many images are fetched at once. By default 4" in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    ran = run(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: acistore {' '.join(command)} [OPTIONS]" in ran.out
    assert "--json / --no-json" in ran.out


def test_without_a_command_help_is_no_result(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "Get images:" in ran.err
    assert run("--json").error["message"] == "missing command"


def test_version() -> None:
    ran = spawn("--version")
    assert ran.code == 0
    assert ran.out == f"acistore {acistore.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["fetch", "--help"], ["lst"], ["gc", "--keep=x"]]
)
def test_what_needs_no_library_loads_none(arguments: list[str]) -> None:
    program = (
        "import sys; from acistore.cli import main; main(sys.argv[2:]);"
        "sys.stderr.write('loaded: ' + ' '.join(set(sys.argv[1].split(',')) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ",".join(HEAVY), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.endswith("loaded: ")


def test_a_program_that_runs_a_command_stays_as_it_was(run: Run) -> None:
    """The command itself looks for cycles less often, and loads less of httpx."""
    before = gc.get_threshold()
    assert run("list").code == 0
    assert gc.get_threshold() == before
    assert sys.modules.get("httpx._main", "") is not None


# --- options before the command


def test_json_stands_before_or_behind_the_command_or_in_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--json", "list").document == []
    assert run("list", "--json").document == []
    monkeypatch.setenv("ACISTORE_JSON", "1")
    assert run("list").document == []
    assert run("list", "--no-json").out.startswith("ID ")
    assert run("--no-json", "list").out.startswith("ID ")


def test_a_flag_beats_the_environment_beats_the_file(
    run: Run, app: StoredImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/acistore.toml").write_text('dir = "/nowhere"\n[gc]\ngrace_period = "0s"\n')
    collected = ["--json", "gc", "--dry-run"]
    assert run(*collected).document["images"] != []  # ACISTORE_DIR beats dir, nothing beats gc.grace_period
    monkeypatch.setenv("ACISTORE_GC_GRACE_PERIOD", "1d")
    assert run(*collected).document["images"] == []
    monkeypatch.setenv("ACISTORE_GRACE_PERIOD", "0s")
    assert run(*collected).document["images"] != []
    assert run(*collected, "--grace-period", "1h").document["images"] == []
    assert run("--dir", str(tmp_path / "elsewhere"), *collected).document["images"] == []


def test_the_configuration_that_cannot_be_read_is_a_wrong_call(run: Run, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/acistore.toml").write_text("[limits]\npage_sice = 3\n")
    error = run("--json", "list").error
    assert (error["kind"], error["exit_code"]) == ("ConfigError", 2)
    assert str(tmp_path / "local/acistore.toml") in error["message"]
    assert error["facts"] == {"did you mean": "limits.page_size"}


def test_verbose_and_quiet(run: Run, app: StoredImage) -> None:
    assert run("rm", str(app.id)).err.startswith("removed example.com/app:1.0,")
    assert run("-v", "list").code == run("-q", "list").code == 0
    assert run("-q", "rm", "example.com/app").err.startswith("acistore: no image in the store is")


# --- wrong calls


@pytest.mark.parametrize(
    ("arguments", "message", "facts", "next_step"),
    [
        (["lst"], "no such command: lst", {"did you mean": "acistore list"}, "acistore --help"),
        (["images"], "no such command: images", {"did you mean": "acistore list"}, "acistore --help"),
        (["xyzzy"], "no such command: xyzzy", {}, "acistore --help"),
        (
            ["trust", "delete"],
            "no such command: delete",
            {"did you mean": "acistore trust remove"},
            "acistore trust --help",
        ),
        (["rm", "x", "--forse"], "no such option: --forse", {"did you mean": "--force"}, "acistore rm --help"),
        (["show"], "IMAGE is missing", {}, "acistore show --help"),
        (["show", "a", "b"], "got unexpected extra argument (b)", {}, "acistore show --help"),
        (["gc", "--keep", "-1"], "--keep: '-1' is not a whole number, such as 3", {}, "acistore gc --help"),
        (
            ["gc", "--grace-period", "1y"],
            "--grace-period: '1y' is not a duration, such as 90s, 24h or 7d",
            {},
            "acistore gc --help",
        ),
        (
            ["gc", "--max-size", "big"],
            "--max-size: 'big' is not a size, such as 500M or 2GiB",
            {},
            "acistore gc --help",
        ),
        (
            ["--insecure-options", "image,tsl", "list"],
            "--insecure-options: 'tsl' is not one of image, tls, http, pubkey, all, none",
            {},
            "acistore --help",
        ),
        (["list", "-v"], "-v stands before the command", {}, "acistore -v list"),
        (
            ["fetch", "a", "--insecure-options", "tls", "b"],
            "--insecure-options stands before the command",
            {},
            "acistore --insecure-options tls fetch a b",
        ),
        (["fetch", "--dir=/a b", "c"], "--dir stands before the command", {}, "acistore '--dir=/a b' fetch c"),
    ],
)
def test_a_wrong_call_says_what_is_right(
    run: Run, arguments: list[str], message: str, facts: dict[str, str], next_step: str
) -> None:
    ran = run("--json", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert (ran.error["kind"], ran.error["exit_code"]) == ("UsageError", 2)
    assert (ran.error["message"], ran.error["facts"]) == (message, facts)
    lines = run(*arguments).err.splitlines()
    assert lines[0] == f"acistore: {message}"
    assert lines[-1].split(maxsplit=1) == ["next", next_step]


def test_a_wrong_variable_is_called_by_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACISTORE_DRY_RUN", "perhaps")
    problem = "ACISTORE_DRY_RUN: 'perhaps' is not one of yes, no, true, false, 1, 0"
    assert run("gc").err.startswith(f"acistore: {problem}\n")


# --- how it ends


def test_an_error_has_no_traceback_unless_asked_for() -> None:
    plain = spawn("show", "example.com/app")
    assert plain.code == 3
    assert "Traceback" not in plain.err
    assert "Traceback" in spawn("--debug", "show", "example.com/app").err


def test_what_nobody_foresaw_is_one_line(store: Store) -> None:
    program = "import sys, acistore.store.store as s; s.Store.list = lambda self: 1 / 0\n"
    program += "from acistore.cli import main; sys.exit(main(['list']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "acistore: internal error: ZeroDivisionError: division by zero\n"


def test_a_reader_that_has_read_enough_is_no_error(store: Store) -> None:
    for number in range(3):
        add(store, image(f"example.com/app{number}", {"body": bytes(200_000)}))
    for arguments in (["list", "--format", "{{name}}" * 9000], ["export", "example.com/app0", "-"], ["--help"]):
        with subprocess.Popen(
            [*COMMAND, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout and process.stderr
            process.stdout.read(1)
            process.stdout.close()
            assert (process.wait(), process.stderr.read()) == (0, b""), arguments


def test_nobody_who_listens_on_stderr_is_no_error(app: StoredImage, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    target = tmp_path / "out.aci"
    done = subprocess.run(
        [*COMMAND, "export", str(app.id), str(target)], env=environment(), stderr=write_end, check=False
    )
    os.close(write_end)
    assert done.returncode == 0
    assert target.stat().st_size == app.size


def test_a_full_disk_under_stdout_is_an_error(app: StoredImage) -> None:
    for arguments in (["list"], ["export", str(app.id), "-"], ["--version"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*COMMAND, *arguments],
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "acistore: standard output can't be written: No space left on device\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_an_interrupted_command_ends_at_once_and_says_nothing(
    store: Store, number: signal.Signals, code: int
) -> None:
    big = add(store, image(files={"body": os.urandom(1 << 20)}))
    with subprocess.Popen(
        [*COMMAND, "export", str(big.id), "-"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.read(1)  # it is at work, and will wait for us to read on
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stderr.read() == b""


def test_whoever_has_the_command_survive_its_terminal_is_heeded(app: StoredImage) -> None:
    """As nohup does: what is ignored already stays so."""
    program = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    program += "from acistore.cli import main; main(['export', 'example.com/app', '-'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        begun = process.stdout.read(1)
        process.send_signal(signal.SIGHUP)
        assert len(begun + process.stdout.read()) == app.size
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_breaks_off_no_system_call_ends_the_command_too(store: Store, name: str) -> None:
    """One that arrives just before the main thread begins to wait is like this one, which another thread gets."""
    big = add(store, image(files={"body": os.urandom(1 << 20)}))
    number = getattr(signal, name)
    with subprocess.Popen(
        [*COMMAND, "export", str(big.id), "-"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.read(1)
        threads = {int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()}
        other = max(threads - {process.pid})
        assert ctypes.CDLL(None, use_errno=True).tgkill(process.pid, other, number) == 0
        assert process.wait(PATIENCE) == 128 + number
        assert process.stderr.read() == b""


def test_text_from_outside_is_escaped_wherever_it_comes_from(store: Store, run: Run) -> None:
    add(store, image(labels={"version": "1\x1b[2J\u202e"}, annotations=[{"name": "authors", "value": "\x9b\x07"}]))
    for arguments in (
        ["list"],
        ["list", "--format", "{{version}}\x1b[1m"],
        ["show", "example.com/app"],
        ["show", "bad\x1b[2J"],
        ["show", "a\udcff"],
        ["list", "--\x1b[2J"],
        ["\x1b[2J"],
        ["gc", "--grace-period", "0s", "--dry-run"],
    ):
        ran = run(*arguments)
        assert (ran.out + ran.err).replace("\n", "").isprintable(), arguments
        ran = run("--json", *arguments)
        assert (ran.out + ran.err).replace("\n", "").isascii(), arguments


def test_a_locale_that_lacks_a_letter_is_no_failure(store: Store) -> None:
    add(store, image(labels={"version": "größer"}))
    ran = spawn("list", "--format", "{{version}}", PYTHONIOENCODING="ascii:strict")
    assert (ran.code, ran.out) == (0, "gr\\xf6\\xdfer\n")


def test_every_option_has_a_variable() -> None:
    contexts = [click.Context(cli, info_name="acistore")]
    for context in contexts:
        assert isinstance(context.command, click.Command)
        if isinstance(context.command, click.Group):
            contexts += [click.Context(each, parent=context) for each in context.command.commands.values()]
        for param in context.command.params:
            if isinstance(param, click.Option) and not {"--help", "--version"} & set(param.opts):
                name = next(each for each in param.opts if each.startswith("--"))
                variable = "ACISTORE_" + name[2:].upper().replace("-", "_")
                # --json behind the command has the variable of the one before it.
                assert param.envvar == (None if name == "--json" and context.parent else variable)


def test_python_m_and_the_script_are_the_same_function() -> None:
    pyproject = Path(acistore.__file__).parent.parent / "pyproject.toml"
    assert 'acistore = "acistore.cli:main"' in pyproject.read_text()
    assert json.loads(spawn("--json", "list").out) == []
