"""How much memory large images take: `make bench-memory`, or `python -m benchmarks.memory [--quick]`.

An image of 4 GiB, 3 GiB of it in one file, plain and as gzip; and images with 100,000 and 500,000 entries, which
is the limit. Each is fetched from a file into an empty store (signatures off: no gpg in the figures), exported,
verified, removed and collected, in whole processes: peak resident memory (what the kernel calls VmHWM) and wall
seconds. Ends with 1 when an image of 4 GiB takes more than BOUND.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from isal import igzip

from benchmarks.processes import Acistore, Run
from benchmarks.synthetic import MIB, Large, Many

# Peak memory in MiB that a large image may take, however large it is.
BOUND = 150

GIB = 1 << 30


def main() -> None:
    options = _options()
    part = 100 if options.quick else 1
    large = Large(3 * GIB // part // MIB * MIB, others=max(1, 16 // part))
    images: Mapping[str, tuple[Large | Many, bool]] = {
        "large, plain": (large, False),
        "large, gzip": (large, True),
        "many, 100,000 entries": (Many(100_000 // part), False),
        "many, 500,000 entries": (Many(500_000 // part), False),
    }
    exceeded = False
    for label, (image, compressed) in images.items():
        if options.only and options.only not in label:
            continue
        with tempfile.TemporaryDirectory(dir=options.directory, prefix="acistore-memory-") as directory:
            archive = Path(directory) / "image.aci"
            _write(image, archive, compressed=compressed)
            print(f"{label}: {archive.stat().st_size / MIB:,.0f} MiB as served", flush=True)
            runs = _life(archive, Acistore(Path(directory)))
        _print(runs)
        peak = max(run.memory for run in runs.values())
        exceeded |= isinstance(image, Large) and peak > BOUND
    if exceeded:
        sys.exit(f"a large image took more than {BOUND} MiB")


def _life(archive: Path, acistore: Acistore) -> dict[str, Run]:
    """Everything that happens to an image, from its coming to its going."""
    fetch = acistore.run("--insecure-options=image", "-q", "fetch", str(archive))
    (image_id,) = acistore.output("list", "--format", "{{id}}").split()
    return {
        "fetch": fetch,
        "export": acistore.run("export", image_id, "-"),
        "verify": acistore.run("verify"),
        "rm": acistore.run("rm", image_id),
        "gc": acistore.run("gc"),
    }


def _write(image: Large | Many, archive: Path, *, compressed: bool) -> None:
    with archive.open("wb", buffering=MIB) as out:
        image.write(out)
    if compressed:
        plain = archive.rename(archive.with_suffix(".tar"))
        with plain.open("rb") as source, archive.open("wb") as out:
            gzip = igzip.IGzipFile(fileobj=out, mode="wb", compresslevel=1)  # type: ignore[no-untyped-call]
            with gzip:
                shutil.copyfileobj(source, gzip, MIB)
        plain.unlink()


def _print(runs: Mapping[str, Run]) -> None:
    for step, run in runs.items():
        print(f"  {step:8}{run.memory:8.0f} MiB peak{run.seconds:9.2f} s")
    print(flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Peak memory of acistore with large images.")
    parser.add_argument("--only", help="only images with this in their name: large, gzip, many, 500,000")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the sizes, to try it out")
    parser.add_argument("--directory", type=Path, help="where to work; about 14 GB")
    return parser.parse_args()


if __name__ == "__main__":
    main()
