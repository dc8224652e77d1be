"""Keep the store: what is configured, and where each value was set."""

import click

from acistore.cli.output import table
from acistore.cli.parameters import Command
from acistore.cli.session import Session
from acistore.config import OPTIONS, TABLES, Config, Table, shown_values, write_table
from acistore.config.paths import unreadable


@click.command(cls=Command, short_help="Show the configuration in force, and where it was set.")
@click.pass_obj
def config(session: Session) -> None:
    """Show the configuration in force, and where each value was set: by a flag, a variable, a file, or not at all.

    A value is written as in acistore.toml; mirrors, hosts and policies have a line each, the strongest first.
    Passwords are hidden. Told on stderr are the files that were looked for, and which authorities, client
    certificates and keys are named that can't be read.

    \b
      acistore config
      acistore config | grep -v default
      acistore --json config | jq '."limits.image_size"'
    """
    configuration = session.config()
    if session.output.json:
        session.output.document(_document(configuration))
    else:
        session.output.lines(table([("OPTION", "VALUE", "FROM"), *_rows(configuration)]))
        session.output.lines(table(_rows_of_tables(configuration)))
    if session.verbose or not session.output.json:
        for path in configuration.files:
            session.output.note(f"{path}: {'read' if path.exists() else 'not there'}")
    for problem in unreadable(configuration):
        session.output.warning(f"{problem.message} (set by {problem.facts['set by']})")


def _rows(configuration: Config) -> list[tuple[str, str, str]]:
    return [
        (option.name, option.kind.write(configuration.value(option.name)), configuration.origins[option.name])
        for option in OPTIONS
    ]


def _rows_of_tables(configuration: Config) -> list[tuple[str, str, str]]:
    """In a table of their own: they are long, and would push the last column out of sight for all."""
    room = max(len(option.name) for option in OPTIONS)
    rows = []
    for name in TABLES:
        tables: tuple[Table, ...] = configuration.value(name)
        rows += [(name.ljust(room), write_table(each), each.origin) for each in tables]
        if not tables:
            rows.append((name.ljust(room), "[]", configuration.origins[name]))
    return rows


def _document(configuration: Config) -> dict[str, object]:
    values = {option.name: option.kind.plain(configuration.value(option.name)) for option in OPTIONS}
    for name in TABLES:
        values[name] = [{**shown_values(each), "from": each.origin} for each in configuration.value(name)]
    return {name: {"value": value, "from": configuration.origins[name]} for name, value in values.items()}
