"""The command line: arguments in, text or JSON out. The work is done by the library."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. `arguments` are those of the process by default."""
    try:
        from acistore.cli.app import run  # noqa: PLC0415 - Ctrl-C while it is imported is answered here

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
