"""What every command does alike: one failure of several, and a store that isn't there."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from acistore.cli.output import Output, StdoutClosed
from acistore.cli.session import Session
from acistore.errors import ImageNotFound
from tests.cli.running import Ran, Run

# --- several images


def tried(names: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[list[str], Ran]:
    """What came of jobs, of which some fail: `missing` as foreseen, `broken` as nobody foresaw."""

    def job(name: str) -> str:
        if name == "missing":
            raise ImageNotFound("missing is not there")
        return str(int(name, 16))

    results, code = Session(Output(json=True)).try_each(names, job)
    return results, Ran(code, *capsys.readouterr())


def test_a_failure_that_nobody_foresaw_keeps_no_other_from_being_tried(capsys: pytest.CaptureFixture[str]) -> None:
    results, ran = tried(["a", "broken", "missing", "b"], capsys)
    assert results == ["10", "11"]
    assert ran.code == 1
    broken, missing = ran.errors
    assert broken["message"].startswith("internal error: ValueError: ")
    assert (broken["facts"], broken["exit_code"]) == ({"image": "broken"}, 1)
    assert missing["kind"] == "ImageNotFound"


def test_the_first_failure_makes_the_exit_code_even_then(capsys: pytest.CaptureFixture[str]) -> None:
    assert tried(["missing", "broken"], capsys)[1].code == 3


@pytest.mark.parametrize("end", [StdoutClosed, BrokenPipeError, KeyboardInterrupt, SystemExit])
def test_what_ends_the_command_ends_it(end: type[BaseException]) -> None:
    begun = []

    def job(name: str) -> None:
        begun.append(name)
        raise end

    with pytest.raises(end):
        Session(Output()).try_each(["a", "b"], job)
    assert begun == ["a"]


# --- a store that isn't there


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["list", "example.com/app"], 3),
        (["show", "example.com/app"], 3),
        (["show", "sha512-00"], 3),
        (["export", "example.com/app", "-"], 3),
        (["rm", "example.com/app"], 3),
        (["gc"], 0),
        (["verify"], 3),
        (["show", "Not A Name"], 2),
    ],
)
def test_only_what_stores_something_makes_a_store(
    run: Run, tmp_path: Path, arguments: list[str], code: int
) -> None:
    directory = tmp_path / "mistyped" / "store"
    assert run("--dir", str(directory), *arguments).code == code
    assert not directory.parent.exists()
    (tmp_path / "home").mkdir()
    assert run("--dir", str(tmp_path / "home"), *arguments).code == code
    assert list((tmp_path / "home").iterdir()) == []


def test_it_is_said_that_there_is_no_store(run: Run, tmp_path: Path) -> None:
    assert run("list").err == f"there is no store in {tmp_path / 'store'} yet\n"
    assert run("-q", "list").err == ""
    assert run("--json", "list").err == ""


def test_a_store_that_is_not_there_is_not_a_sound_one(run: Run) -> None:
    """A wrong --dir, or a mount that has gone, must not pass for a health that was checked."""
    ran = run("--json", "-q", "verify")
    assert (ran.code, ran.out, ran.error["kind"]) == (3, "", "StoreNotFound")


def test_packs_without_a_database_are_a_damaged_store_and_not_a_missing_one(run: Run, tmp_path: Path) -> None:
    packs = tmp_path / "store/packs"
    packs.mkdir(parents=True)
    (packs / f"{'0' * 32}.pack").write_bytes(b"")
    error = run("--json", "list").error
    assert (error["kind"], error["exit_code"]) == ("StoreDamaged", 6)


def test_a_place_that_can_be_no_store_is_not_taken_for_a_missing_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    assert run("--json", "list").error["kind"] == "StoreUnavailable"


# --- what is logged


def test_debug_lines_have_the_time_and_who_says_it(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "user/auth.d"
    directory.mkdir(parents=True)
    (directory / "docker.json").write_text('{"rktKind": "dockerAuth", "rktVersion": "v1"}')
    (directory / "docker.json").chmod(0o600)
    said = f"acistore.net.credentials: {directory}/docker.json is about Docker registries, and passed over"
    lines = run("--debug", "config").err.splitlines()
    [line] = [line for line in lines if line.endswith(said)]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d ", line.removesuffix(said))
    assert "Docker" not in run("-v", "config").err
