"""The kinds of options, arguments and commands that the command line is made of, on top of click.

Here is how every option gets its environment variable, how `--json` comes to stand after any command, how help
is grouped, and what a wrong call is answered. Which options there are is up to the commands.
"""

import difflib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from acistore.cli.completion import complete_images
from acistore.cli.session import on_command_line
from acistore.config import FILE_NAME, PULL_POLICIES, Config, Option, environment_variable
from acistore.config.values import SWITCH_WORDS
from acistore.errors import UsageError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# What other tools call our commands.
_KNOWN_ELSEWHERE = {
    "cat-manifest": ["show"],
    "delete": ["rm", "remove"],
    "images": ["list"],
    "inspect": ["show"],
    "ls": ["list"],
    "prune": ["gc"],
    "pull": ["fetch"],
    "remove": ["rm"],
    "rm": ["remove"],
    "save": ["export"],
}


class _Option(click.Option):
    """An option whose variable is weaker than a flag before the command that sets the same: as `--pull-policy`
    does for `fetch --pull-policy`, and `--gc-keep` for `gc --keep`."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        root = ctx.find_root()
        general = (str(self.name), f"{ctx.command.name}_{self.name}")
        if ctx is not root and any(on_command_line(root, name) for name in general):
            return None
        return super().resolve_envvar_value(ctx)


class ConfigurationOption(_Option):
    """An option before the command that sets a key of the configuration file. Help shows it apart."""


def option(*declarations: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """A click option with the environment variable that the contract gives it."""
    long_form = next(each for each in declarations if each.startswith("--")).split("/")[0]
    variable = environment_variable(long_form.removeprefix("--"))
    return click.option(*declarations, envvar=variable, **{"cls": _Option, **attributes})


def configuration_option(key: Option) -> Callable[[Decorated], Decorated]:
    """The option before the command for a key of the configuration file."""
    default = key.kind.write(Config().value(key.name)).strip('"') or "none"
    return option(
        f"{key.flag}/--no-{key.flag.removeprefix('--')}" if key.kind.is_switch else key.flag,
        cls=ConfigurationOption,
        default=None,
        metavar=key.kind.metavar or None,
        type=_type_of(key),
        callback=_checking_flag(key.kind.parse),
        help=f"{key.help[:1].upper()}{key.help[1:]}. By default {default}.",
    )


def _type_of(key: Option) -> Any:
    """The click type that makes shells complete the value."""
    if key.kind.metavar == "PATH":
        return click.Path()
    return click.Choice(PULL_POLICIES) if key.name == "pull_policy" else None


def _checking_flag(parse: Callable[[object], object]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """As `checking`, for a flag alone: a variable is read by Config, whose error says which one is wrong."""
    check = checking(parse)

    def check_flag(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        return check(ctx, param, value) if on_command_line(ctx, str(param.name)) else value

    return check_flag


def checking(parse: Callable[[object], object]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """An option's callback that refuses what `parse` does, and hands on the text, which Config parses."""

    def check(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
        try:
            if text is not None:
                parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return text

    return check


one_image = click.argument("image", metavar="IMAGE", shell_complete=complete_images)
some_images = click.argument("images", metavar="IMAGE…", shell_complete=complete_images, nargs=-1, required=True)
any_images = click.argument("images", metavar="[IMAGE…]", shell_complete=complete_images, nargs=-1)


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.find_root().obj.output.json = value


def _print_help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.find_root().obj.output.lines(ctx.get_help().splitlines())
        ctx.exit()


def _help_option() -> click.Option:
    # click's own would print past our handling of a reader that has gone away.
    return click.Option(
        ["-h", "--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_help,
        help="Print this and exit.",
    )


class Command(click.Command):
    """A command, with `--json` among its options."""

    def __init__(self, name: str | None = None, **attributes: Any) -> None:
        super().__init__(name, add_help_option=False, **attributes)
        # Its environment variable is that of the option before the command, which this one overrides.
        self.params.append(
            click.Option(
                ["--json/--no-json"],
                default=None,
                expose_value=False,
                callback=_set_json,
                help="Print the result, and errors, as JSON.",
            )
        )
        self.params.append(_help_option())


class Group(click.Group):
    """Commands under headings, those of a group in it among the others."""

    command_class = Command

    def __init__(self, name: str | None = None, **attributes: Any) -> None:
        super().__init__(
            name,
            subcommand_metavar="COMMAND [ARGUMENT…]",
            no_args_is_help=False,
            add_help_option=False,
            **attributes,
        )
        self.params.append(_help_option())
        self._sections: dict[str, Sequence[click.Command]] = {}

    def add_section(self, heading: str, *commands: click.Command) -> None:
        """Adds commands that help shows under a heading."""
        self._sections[heading] = commands
        for command in commands:
            self.add_command(command)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options: list[tuple[str, str]] = []
        keys: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if row := param.get_help_record(ctx):
                (keys if isinstance(param, ConfigurationOption) else options).append(row)
        with formatter.section("Options"):
            formatter.write_dl(options)
        self.format_commands(ctx, formatter)
        if keys:
            with formatter.section(f"Configuration (also in {FILE_NAME})"):
                formatter.write_dl(keys)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = self._sections or {"Commands": list(self.commands.values())}
        rows = {heading: _rows(commands) for heading, commands in sections.items()}
        widest = max(len(row[0]) for section in rows.values() for row in section)
        for heading, section in rows.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), text) for name, text in section])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (args or ctx.resilient_parsing or ctx.find_root().obj.output.json):
            ctx.find_root().obj.output.say(ctx.get_help().splitlines())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise self._unknown(args[0], ctx)
        return super().resolve_command(ctx, args)

    def _unknown(self, name: str, ctx: click.Context) -> UsageError:
        known = [each for each in _KNOWN_ELSEWHERE.get(name, []) if each in self.commands]
        near = known or difflib.get_close_matches(name, self.commands, n=1)
        return UsageError(
            f"no such command: {name}",
            facts={"did you mean": f"{ctx.command_path} {near[0]}"} if near else None,
            next_step=f"{ctx.command_path} --help",
        )


def _rows(commands: Sequence[click.Command], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for command in commands:
        name = f"{before}{command.name}"
        if isinstance(command, click.Group):
            rows += _rows(list(command.commands.values()), f"{name} ")
        else:
            rows.append((name, command.get_short_help_str(limit=100)))
    return rows


def variables(command: click.Command) -> Iterator[str]:
    """The environment variables of all options of a command, and of the commands in it."""
    for param in command.params:
        if isinstance(param.envvar, str):
            yield param.envvar
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from variables(each)


def usage_error(error: click.ClickException, arguments: Sequence[str]) -> UsageError:
    """What is wrong with a call, in our words."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "acistore"
    next_step = f"{path} --help"
    match error:
        case click.NoSuchOption() if ctx and (general := _general_option(ctx, error.option_name)):
            return UsageError(
                f"{error.option_name} stands before the command",
                next_step=_with_option_in_front(arguments, general, error.option_name),
            )
        case click.NoSuchOption():
            near = {"did you mean": error.possibilities[0]} if error.possibilities else None
            return UsageError(f"no such option: {error.option_name}", facts=near, next_step=next_step)
        case click.MissingParameter() if error.param:
            return UsageError(f"{_called(error.param)} is missing", next_step=next_step)
        case click.BadParameter() if error.param:
            hint = _called(error.param, ctx)
            problem = _phrase(error.message)
            if isinstance(error.param.type, click.types.BoolParamType):
                problem = problem.replace("is not a valid boolean", f"is not one of {SWITCH_WORDS}")
            return UsageError(f"{hint}: {problem}", next_step=next_step)
    return UsageError(_phrase(error.format_message()), next_step=next_step)


def _phrase(sentences: str) -> str:
    """The first of click's sentences, as it stands behind a colon."""
    first = sentences.partition(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _called(param: click.Parameter, ctx: click.Context | None = None) -> str:
    """What the person wrote who gave the parameter."""
    source = ctx.get_parameter_source(param.name) if ctx and param.name else None
    if source is click.core.ParameterSource.ENVIRONMENT and isinstance(param.envvar, str):
        return param.envvar
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name


def _general_option(ctx: click.Context, name: str) -> click.Option | None:
    for param in ctx.find_root().command.params if ctx.parent else []:
        if isinstance(param, click.Option) and name in (*param.opts, *param.secondary_opts):
            return param
    return None


def _with_option_in_front(arguments: Sequence[str], general: click.Option, name: str) -> str:
    """The call as it was meant."""
    words = list(arguments)
    place = next((i for i, word in enumerate(words) if word.split("=")[0] == name), None)
    if place is None:  # one of several short options in one word
        return "acistore --help"
    length = 1 if general.is_flag or "=" in words[place] else 2
    moved = words[place : place + length]
    if name == "--hosts":
        moved = [name, "…"]  # what was written may hold a password
    return shlex.join(["acistore", *moved, *words[:place], *words[place + length :]])
