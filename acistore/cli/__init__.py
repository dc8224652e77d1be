"""The command line: arguments in, text or JSON out. The work is done by the library."""

import atexit
import gc
import signal
import sys
from collections.abc import Sequence

# New objects after which Python looks for cycles among them. Its own 700 make it look, while hundreds of modules
# are imported, again and again at what stays to the end: a sixth of the time of a short command.
_NEW_OBJECTS = 200_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. Without `arguments` it is those of the process, and the process
    is the command's own."""
    try:
        if arguments is None:
            _start_quickly()
        from acistore.cli.app import run  # noqa: PLC0415 - Ctrl-C while it is imported is answered here

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = 130
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would answer with a traceback now
    return code


def _start_quickly() -> None:
    """What a process that lives for a second, and is the command's own, need not spend its time on."""
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)  # the process ends: nobody needs its objects freed one by one
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # httpx's own command, and rich for it
