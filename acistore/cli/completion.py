"""Completion with Tab in bash, zsh and fish: the scripts, and the words that fit."""

import os
import shlex
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete, split_arg_string

import acistore
from acistore.cli.session import configuring, holds_store
from acistore.config import Config

# By this variable a shell's script asks for the words that fit: what to do, and in which shell's way.
INSTRUCTION = "_ACISTORE_COMPLETE"


def complete_images(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names and IDs of the images in the store that begin so, as far as they are plain words to every shell.

    Label values are the publisher's, and a shell puts what it is offered into the line unquoted.
    """
    words: list[str] = []
    with suppress(Exception):  # a shell that completes is no place for errors
        words = _words_for_images(Config.load(configuring(ctx.find_root())).dir)
    return [word for word in words if word.startswith(incomplete) and shlex.quote(word) == word]


def _words_for_images(directory: Path) -> list[str]:
    if not holds_store(directory):
        return []
    with acistore.Store.open(directory) as store:
        images = store.list()
    names = {image.name for image in images}
    versions = {f"{image.name}:{image.labels['version']}" for image in images if "version" in image.labels}
    return sorted(names | versions) + [str(image.id) for image in images]


class _Bash(BashComplete):
    """Bash breaks words at : and = too, and image names don't: so the line is read, and not bash's words."""

    source_template = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} completion
    local word=${line##*[[:space:]]}
    local typed=${word%%"${word##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r completion; do
        case $completion in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            *) completion=${completion#*,}; COMPREPLY+=("${completion#"$typed"}") ;;
        esac
    done < <(COMP_LINE=$line %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        return (words, "") if not words or line[-1].isspace() else (words[:-1], words[-1])


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


def script(cli: click.Command, shell: str) -> str:
    """What a shell has to run once, so that it completes the words of `acistore`."""
    return _completer(cli, shell).source()


def answer(cli: click.Command, instruction: str) -> int:
    """Prints the words that a shell's script asks for; returns the exit code."""
    shell, _, _what = instruction.partition("_")
    if shell not in SHELLS:
        return 1
    click.echo(_completer(cli, shell).complete())
    return 0


def _completer(cli: click.Command, shell: str) -> ShellComplete:
    return SHELLS[shell](cli, {}, "acistore", INSTRUCTION)
