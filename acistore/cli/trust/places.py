"""The options and arguments that say which key is meant, what it is trusted for, and in which layer it lies."""

import shlex
from collections.abc import Iterable
from contextlib import suppress

import click

import acistore
from acistore.cli.parameters import option
from acistore.cli.session import configuring
from acistore.config import Config
from acistore.errors import UsageError


def _complete_fingerprints(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    with suppress(Exception):  # a shell that completes is no place for errors
        return _beginning((place.fingerprint for place in _store(ctx).places()), incomplete.lower())
    return []


def _complete_prefixes(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    with suppress(Exception):
        return _beginning((place.prefix or "" for place in _store(ctx).places()), incomplete)
    return []


def _store(ctx: click.Context) -> "acistore.TrustStore":
    return acistore.TrustStore.open(Config.load(configuring(ctx.find_root())))


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted({word for word in words if word and word.startswith(incomplete) and shlex.quote(word) == word})


one_fingerprint = click.argument("fingerprint", metavar="FPR", shell_complete=_complete_fingerprints)
any_fingerprint = click.argument(
    "fingerprint", metavar="[FPR]", shell_complete=_complete_fingerprints, required=False
)
only_prefix = option(
    "--prefix",
    metavar="NAME",
    shell_complete=_complete_prefixes,
    help="Only for this name. By default, and without --root, wherever the key is trusted.",
)
only_root = option("--root/--no-root", help="Only as a root key, which is trusted for every name.")
to_prefix = option(
    "--prefix",
    metavar="NAME",
    shell_complete=_complete_prefixes,
    help="Trust the keys for this name and everything below it.",
)
to_root = option("--root/--no-root", help="Trust the keys for every name.")
to_layer = option(
    "--layer",
    type=click.Choice(["local", "user"]),
    help="Where to keep them: local (this machine) or user. By default local for root, user otherwise.",
)
into_layer = option(
    "--layer",
    type=click.Choice(["local", "user"]),
    help=(
        "Where to put everything: local (this machine) or user. By default where a key is already, else local for "
        "root, user otherwise. What is there already is left alone."
    ),
)
yes_option = option("--yes/--no-yes", help="Trust all keys that are found, without a question.")
only_fingerprints = option(
    "--fingerprint",
    "fingerprints",
    metavar="FPR",
    multiple=True,
    help="Trust exactly the key with this fingerprint, without a question. May be repeated.",
)


def check_place(prefix: str | None, root: bool, *, command: str) -> None:
    """Raises UsageError when both are given: each means a place of its own."""
    if root and prefix is not None:
        raise UsageError("--prefix and --root exclude each other", next_step=f"acistore trust {command} --help")
