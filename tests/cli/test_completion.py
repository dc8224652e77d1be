"""Completion with Tab: commands, options, names and IDs."""

import subprocess
from pathlib import Path

import pytest

from acistore.store import StoredImage
from tests.cli.running import COMMAND, Run, environment


def completed(*words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    done = subprocess.run(
        COMMAND,
        env=environment(
            _ACISTORE_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert completed("acistore", "tr") == ["trust"]
    assert completed("acistore", "trust", "re") == ["remove"]
    assert completed("acistore", "gc", "--dr") == ["--dry-run"]


def test_names_and_ids_of_images_are_completed(app: StoredImage) -> None:
    assert completed("acistore", "show", "example") == ["example.com/app", "example.com/app:1.0"]
    assert completed("acistore", "rm", "sha512-") == [str(app.id)]


def test_completion_makes_no_store_and_no_noise(tmp_path: Path) -> None:
    assert completed("acistore", "show", "exa") == []
    (tmp_path / "user").mkdir()
    (tmp_path / "user/acistore.toml").write_text("not toml")
    assert completed("acistore", "show", "exa") == []
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_ACISTORE_COMPLETE={shell}_complete" in ran.out
    assert run("completion", "csh").code == 2
