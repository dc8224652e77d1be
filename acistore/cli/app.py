"""The command `acistore` as a whole: the options before a command, what commands there are, how it ends."""

import io
import os
import signal
import sys
from collections.abc import Sequence

import click

import acistore
from acistore.cli import config, images, inside, keep, look, out, trust, verify
from acistore.cli.completion import INSTRUCTION, SHELLS, answer, script
from acistore.cli.interrupts import Terminated, interruptible
from acistore.cli.output import Output, StdoutClosed
from acistore.cli.parameters import (
    Command,
    ConfigurationOption,
    Decorated,
    Group,
    checking,
    configuration_option,
    option,
    usage_error,
    variables,
)
from acistore.cli.session import Session, configuring, internal_error
from acistore.config import KEYS, OPTIONS, environment_variable, parse_insecure_options
from acistore.config.spelling import nearest
from acistore.config.values import means_yes
from acistore.errors import AcistoreError

_PREFIX = environment_variable("")


def run(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code; whatever happens has been printed by then."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a locale that lacks a letter is no failure
    output = _foreseen(arguments)
    failure: AcistoreError
    try:
        with interruptible():
            return _invoke(Session(output), arguments)
    except StdoutClosed:
        return 0
    except Terminated:
        output.abandon()
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        output.abandon()
        return 128 + signal.SIGINT
    except click.ClickException as error:
        failure = usage_error(error, arguments)
    except AcistoreError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one line for the person
        failure = internal_error(error)
    output.error(failure)
    return failure.exit_code


def _foreseen(arguments: Sequence[str]) -> Output:
    """How an error is to be printed that comes before the options are understood."""
    no_color = _given(arguments, "--no-color", "--color")
    return Output(
        json=bool(_given(arguments, "--json", "--no-json")),
        debug=bool(_given(arguments, "--debug", "--no-debug")),
        color=None if no_color is None else not no_color,
    )


def _given(arguments: Sequence[str], switch: str, opposite: str) -> bool | None:
    """What a switch seems to be set to, by the last flag or else by the environment."""
    for argument in reversed(arguments):
        if argument in (switch, opposite):
            return argument == switch
    value = os.environ.get(environment_variable(switch.removeprefix("--")))
    return means_yes(value) if value else None


def _invoke(session: Session, arguments: Sequence[str]) -> int:
    if INSTRUCTION in os.environ:
        return answer(cli, os.environ[INSTRUCTION])
    try:
        with cli.make_context("acistore", list(arguments), obj=session) as ctx:
            return cli.invoke(ctx) or 0
    except click.exceptions.Exit as end:
        return end.exit_code


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.obj.output.line(f"acistore {acistore.__version__}")
        ctx.exit()


def _keys_of_files(decorated: Decorated) -> Decorated:
    """An option for each key of the configuration file, as far as it is none of those above."""
    for key in reversed(OPTIONS):
        if key.in_files and key.name not in ("dir", "insecure_options"):
            decorated = configuration_option(key)(decorated)
    return decorated


@click.group(
    cls=Group,
    context_settings={"max_content_width": 100},
    epilog="""\
    Every option has an environment variable, ACISTORE_ and its name: ACISTORE_DIR, ACISTORE_GC_GRACE_PERIOD.
    A flag beats the environment, the environment beats acistore.toml in the configuration directories.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong call, 3 not found, 4 not trusted, 5 network, 6 store damaged,
    130 interrupted (Ctrl-C), 143 terminated.
    What is configured, and where: acistore config
    Tab completion: acistore completion --help
    """,
)
@option(
    "--dir",
    metavar="DIR",
    type=click.Path(readable=False),  # opening it says more than that it can't be read
    help="The store. By default /var/lib/acistore for root, ~/.local/share/acistore otherwise.",
)
@option(
    "--system-config",
    metavar="DIR",
    type=click.Path(),
    help="Configuration and keys of the distribution. By default /usr/lib/acistore.",
)
@option(
    "--local-config",
    metavar="DIR",
    type=click.Path(),
    help="Configuration and keys of this machine. By default /etc/acistore.",
)
@option(
    "--user-config",
    metavar="DIR",
    type=click.Path(),
    help="Configuration and keys of this user. By default ~/.config/acistore.",
)
@option(
    "--insecure-options",
    metavar="LIST",
    callback=checking(parse_insecure_options),
    help=(
        "Checks to switch off, comma-separated: image (signatures), tls (certificates), http (allow plain HTTP), "
        "pubkey (keys over insecure connections), all, none. By default none."
    ),
)
@_keys_of_files
@option(
    "--mirrors",
    cls=ConfigurationOption,
    metavar="TOML",
    help='Places to ask first: [{prefix = "example.com", url = "https://…"}]. Those of files are asked too.',
)
@option(
    "--hosts",
    cls=ConfigurationOption,
    metavar="TOML",
    help='What holds for one host: [{name = "example.com", ca_file = "…"}]. No passwords: those go into files.',
)
@option(
    "--policies",
    cls=ConfigurationOption,
    metavar="TOML",
    help='What is demanded of the images of a name: [{prefix = "example.com", threshold = 2}].',
)
@option("--json/--no-json", help="Print results and errors as JSON. May also stand after the command.")
@option("-q", "--quiet/--no-quiet", help="Print no progress, warnings or notes: errors alone.")
@option("-v", "--verbose/--no-verbose", help="Say what is done, and why.")
@option("--debug/--no-debug", help="Say everything, with the time (UTC), and print tracebacks.")
@option(
    "--no-color/--color",
    default=None,
    help="Whether stderr has colours. By default on a terminal, unless NO_COLOR is set.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.pass_context
def cli(
    ctx: click.Context,
    /,
    *,
    json: bool,
    quiet: bool,
    verbose: bool,
    debug: bool,
    no_color: bool | None,
    **_: object,
) -> None:
    """Signed container images by name, without a registry.

    acistore finds an App Container Image by its name (discovery), checks its signature against the keys that
    are trusted for this name, and keeps it in a content-addressed store.

    \b
      acistore trust add --prefix example.com/app     trust the publisher's keys, after review
      acistore fetch example.com/app:1.0              discover, verify, store
      acistore list                                   look at what there is
      acistore export example.com/app:1.0 app.aci     take it out, bit for bit
    """
    session: Session = ctx.obj
    session.output.json = json
    session.output.quiet = quiet
    session.output.debug = debug
    session.output.color = None if no_color is None else not no_color
    session.verbose = verbose or debug
    session.flags = configuring(ctx)
    _warn_of_unknown_variables(session)
    ctx.with_resource(session.listening())


def _warn_of_unknown_variables(session: Session) -> None:
    """A misspelled variable would be without effect and without a word. It is no error: a newer version may have
    an option for it."""
    known = {*variables(cli), *map(environment_variable, KEYS)}
    names = [variable.removeprefix(_PREFIX) for variable in known]
    for variable in sorted(os.environ):
        if variable.startswith(_PREFIX) and variable not in known:
            near = nearest(variable.removeprefix(_PREFIX), names)
            hint = f"; did you mean {_PREFIX}{near}?" if near else ""
            session.output.warning(f"{variable} in the environment sets nothing{hint}")


@click.command(cls=Command, short_help="Print the script that completes words with Tab.")
@click.argument("shell", metavar="SHELL", type=click.Choice(list(SHELLS)))
@click.pass_obj
def completion(session: Session, shell: str) -> None:
    """Print the script that makes bash, zsh or fish complete commands, options, image names and IDs.

    \b
      eval "$(acistore completion bash)"            in ~/.bashrc
      eval "$(acistore completion zsh)"             in ~/.zshrc
      acistore completion fish | source             in ~/.config/fish/config.fish
    """
    session.output.lines(script(cli, shell).splitlines())


cli.add_section("Get images", images.discover, images.fetch)
cli.add_section("Trust", trust.trust)
cli.add_section("Look", look.list_, look.show, inside.files, inside.cat, inside.diff, inside.which)
cli.add_section("Keep the store", keep.df, keep.pin, keep.unpin, keep.rm, keep.gc, verify.verify, config.config)
cli.add_section("Take out", out.export)
cli.add_command(completion)
