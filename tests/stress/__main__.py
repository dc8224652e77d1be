"""The stress test by itself, for as long as one likes: see the package."""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trustme

import tests.stress
from tests.gpg import KeyMaker
from tests.stress.processes import publish, report, run, trust
from tests.web import WebSite


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tests.stress", description=tests.stress.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--kill", action="store_true", help="kill processes at random")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory, KeyMaker() as maker:
        top = Path(directory)
        (top / "web").mkdir()
        key = maker.key()
        with WebSite(top / "web", trustme.CA()) as web:
            scene = publish(web, key, top)
            trust(scene, key)
            outcome = run(
                scene, processes=options.processes, seconds=options.seconds, kill=options.kill, seed=options.seed
            )
    sys.stdout.write(f"{report(outcome)}\n(seed {options.seed})\n")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
