"""Keep the store: what is configured, and where each value was set."""

from collections.abc import Iterator, Mapping

import click

from acistore.cli.output import table
from acistore.cli.parameters import Command
from acistore.cli.session import Session
from acistore.config import OPTIONS, TABLES, Config, Table, shown_values, write_table
from acistore.config.config import DEFAULT
from acistore.config.paths import unreadable
from acistore.config.values import written_value
from acistore.errors import ConfigError

# No option: what of [[hosts]], auth.d and netrc counts for which host.
_CREDENTIALS = "credentials"


@click.command(cls=Command, short_help="Show the configuration in force, and where it was set.")
@click.pass_obj
def config(session: Session) -> None:
    """Show the configuration in force, and where each value was set: by a flag, a variable, a file, or not at all.

    A value is written as in acistore.toml; mirrors, hosts and policies have a line each, the strongest first, and
    so has each host for which there are credentials, wherever they stand (also in auth.d or netrc). Passwords are
    hidden. Told on stderr are the files that were looked for, and which authorities, client certificates, keys
    and credentials are named that can't be read.

    \b
      acistore config
      acistore config | grep -v default
      acistore --json config | jq '."limits.image_size"'
    """
    configuration = session.config()
    problems = [*unreadable(configuration), *_unused(configuration)]
    credentials: dict[str, str] = {}
    try:
        credentials = _credentials(configuration)
    except ConfigError as error:
        problems.append(error)
    if session.output.json:
        session.output.document(_document(configuration, credentials))
    else:
        session.output.lines(table([("OPTION", "VALUE", "FROM"), *_rows(configuration)]))
        session.output.lines(table(_rows_of_tables(configuration, credentials)))
    if session.verbose or not session.output.json:
        for path in configuration.files:
            session.output.note(f"{path}: {'read' if path.exists() else 'not there'}")
    for problem in problems:
        by = problem.facts.get("set by")
        session.output.warning(problem.message + (f" (set by {by})" if by else ""))


def _unused(configuration: Config) -> Iterator[ConfigError]:
    """Why each of these mirrors is not asked."""
    for mirror in configuration.mirrors:
        if not mirror.url.startswith("https://") and "http" not in configuration.insecure_options:
            reason = "plain HTTP, which is not used without --insecure-options=http"
            yield ConfigError(f"mirrors: {mirror.url}: {reason}", facts={"set by": mirror.origin})


def _credentials(configuration: Config) -> dict[str, str]:
    from acistore.net.credentials.known import Credentials  # noqa: PLC0415 - takes a while, and only here

    return Credentials(configuration).sources()


def _rows(configuration: Config) -> list[tuple[str, str, str]]:
    return [
        (option.name, option.kind.write(configuration.value(option.name)), configuration.origins[option.name])
        for option in OPTIONS
    ]


def _rows_of_tables(configuration: Config, credentials: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """In a table of their own: they are long, and would push the last column out of sight for all."""
    room = max(len(option.name) for option in OPTIONS)
    rows = []
    for name in TABLES:
        tables: tuple[Table, ...] = configuration.value(name)
        rows += [(name.ljust(room), write_table(each), each.origin) for each in tables]
        if not tables:
            rows.append((name.ljust(room), "[]", configuration.origins[name]))
    rows += [(_CREDENTIALS.ljust(room), written_value(host), origin) for host, origin in credentials.items()]
    return rows


def _document(configuration: Config, credentials: Mapping[str, str]) -> dict[str, object]:
    values = {option.name: option.kind.plain(configuration.value(option.name)) for option in OPTIONS}
    for name in TABLES:
        values[name] = [{**shown_values(each), "from": each.origin} for each in configuration.value(name)]
    shown = {name: {"value": value, "from": configuration.origins[name]} for name, value in values.items()}
    hosts = [{"host": host, "from": origin} for host, origin in credentials.items()]
    return {**shown, _CREDENTIALS: {"value": hosts, "from": hosts[0]["from"] if hosts else DEFAULT}}
