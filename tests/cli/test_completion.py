"""Completion with Tab: commands, options, names and IDs."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from acistore.store import Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import Run, environment, spawn
from tests.images import image


@cache
def script() -> str:
    """What bash reads when a terminal is opened."""
    return spawn("completion", "bash").out


def completed(line: str) -> list[str]:
    """What bash is offered for the last word of a line; of that what readline has not got yet."""
    program = """
        acistore() { "$PYTHON" -m acistore "$@"; }
        eval "$2"
        COMP_LINE=$1 COMP_POINT=${#1}
        _acistore_completion acistore 2>&1
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", program, "bash", line, script()],
        env=environment(PYTHON=sys.executable),
        capture_output=True,
        text=True,
        check=True,
    )
    # compopt has its say only where somebody types.
    return [word for word in done.stdout.splitlines() if word and "compopt" not in word] + done.stderr.splitlines()


def test_commands_and_options_are_completed() -> None:
    assert completed("acistore tr") == ["trust"]
    assert completed("acistore trust rem") == ["remove"]
    assert completed("acistore gc --dr") == ["--dry-run"]


def test_names_and_ids_of_images_are_completed(app: StoredImage) -> None:
    assert completed("acistore show example") == ["example.com/app", "example.com/app:1.0"]
    assert completed("acistore rm sha512-") == [str(app.id)]
    assert completed("acistore show example.com/app:") == ["1.0"]
    assert completed("acistore show example.com/app:1") == ["1.0"]


def test_what_a_shell_would_run_or_split_is_not_offered(app: StoredImage, store: Store) -> None:
    for version in ("1;touch${IFS}pwned", "1`touch pwned`", "1 2", "1\n2", "1'", "~", "{a,b}", "*"):
        add(store, image(labels={"version": version}))
    plain = ["example.com/app", "example.com/app:1.0"]
    assert completed("acistore show example") == plain
    words = "acistore show example"
    zsh = spawn(_ACISTORE_COMPLETE="zsh_complete", COMP_WORDS=words, COMP_CWORD="2").out.splitlines()
    assert zsh[1::3] == plain
    fish = spawn(_ACISTORE_COMPLETE="fish_complete", COMP_WORDS=words, COMP_CWORD="example").out.splitlines()
    assert fish == [f"plain,{word}" for word in plain]


def test_completion_makes_no_store_and_no_noise(tmp_path: Path) -> None:
    assert completed("acistore show exa") == []
    (tmp_path / "user").mkdir()
    (tmp_path / "user/acistore.toml").write_text("not toml")
    assert completed("acistore show exa") == []
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_ACISTORE_COMPLETE={shell}_complete" in ran.out
    assert run("completion", "csh").code == 2
