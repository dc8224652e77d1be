"""How long several images take: `python -m benchmarks.several [--runs N]`.

Eight signed images of 10 MB that don't compress, from a server that gives each connection 8 MB a second, as one
far away does. `acistore fetch` with 1, 4 and 8 jobs, beside a shell that downloads four at once with curl and then
does the same checks, `gpg --verify` and `sha512sum`, one image after another. Whole processes, started cold, in
turn; medians, and the ratio to the shell pair by pair.
"""

import argparse
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trustme

from acistore.config import Config
from acistore.trust.keystore.store import TrustStore
from benchmarks.processes import Run, checking, measured
from tests.fileserver import File, Site
from tests.gpg import KeyMaker
from tests.images import image
from tests.web import RawServer

IMAGES = 8
SIZE = 10_000_000
RATE = 8_000_000
_PIECE = 80_000


class Far(Site):
    """A server that gives each connection `RATE` bytes a second."""

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode() if head else ""
        body = self.files[path].body
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        start = time.monotonic()
        for position in range(0, len(body), _PIECE):
            connection.sendall(body[position : position + _PIECE])
            time.sleep(max(0.0, start + position / RATE - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Times fetches of several images, side by side.")
    parser.add_argument("--runs", type=int, default=5, help="counted rounds, after one that warms up (default 5)")
    options = parser.parse_args()
    authority = trustme.CA()
    site = Far()
    with (
        tempfile.TemporaryDirectory(prefix="acistore-bench-") as directory,
        KeyMaker() as maker,
        RawServer(site, authority.issue_cert("localhost")) as server,
    ):
        top = Path(directory)
        key = maker.key("Benchmark <bench@example.com>")
        for number in range(IMAGES):
            archive = image(f"example.com/n{number}", {"data": os.urandom(SIZE)})
            site.put(f"n{number}.aci", File(archive))
            site.put(f"n{number}.aci.asc", File(key.sign(archive)))
        authority.cert_pem.write_to_path(str(top / "authority.pem"))
        (top / "key.asc").write_bytes(key.public())
        config = Config(dir=top / "store", system_config=top / "s", local_config=top / "l", user_config=top / "u")
        TrustStore.open(config).add(key.public(), prefix="example.com", source="benchmark", layer="local")
        environment = checking(top, top / "authority.pem")
        urls = [f"{server.url}n{number}.aci" for number in range(IMAGES)]
        print(
            f"{IMAGES} images of {SIZE / 1e6:.0f} MB, {RATE / 1e6:.0f} MB/s a connection; {os.cpu_count()} cores\n"
        )
        fetch = [sys.executable, "-m", "acistore", "-q", "fetch", *urls]
        contestants: Mapping[str, tuple[Callable[[], object], Sequence[str]]] = {
            "curl, 4 at once; gpg, sha512sum": (lambda: _clear(top / "work"), _shell(urls)),
            **{
                f"acistore fetch --jobs {jobs}": (lambda: _clear(config.dir), [*fetch, "--jobs", str(jobs)])
                for jobs in (1, 4, 8)
            },
        }
        runs: dict[str, list[Run]] = {name: [] for name in contestants}
        for round_number in range(options.runs + 1):
            for name, (prepare, command) in contestants.items():
                prepare()
                (top / "work").mkdir(exist_ok=True)
                run = measured(command, environment, top / "work")
                if round_number:
                    runs[name].append(run)
        _print(runs)


def _print(runs: Mapping[str, Sequence[Run]]) -> None:
    shell = next(iter(runs.values()))
    print(f"{'':36}{'seconds':>9}{'min':>8}{'max':>8}{'MiB':>7}{'of curl':>9}")
    for name, each in runs.items():
        seconds = [run.seconds for run in each]
        ratio = statistics.median(run.seconds / base.seconds for run, base in zip(each, shell, strict=True))
        print(
            f"{name:36}{statistics.median(seconds):9.2f}{min(seconds):8.2f}{max(seconds):8.2f}"
            f"{max(run.memory for run in each):7.0f}{ratio:9.2f}"
        )


def _shell(urls: Sequence[str]) -> list[str]:
    files = " ".join(f"-O {url} -O {url}.asc" for url in urls)
    check = "gpg --quiet --batch --no-autostart --trust-model always --verify $image.asc $image 2>/dev/null"
    script = f"""
        set -euo pipefail
        curl -sSf --parallel --parallel-max 4 {files}
        for image in *.aci; do {check}; sha512sum $image >/dev/null; done
    """
    return ["bash", "-c", script]


def _clear(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os.sync()


if __name__ == "__main__":
    main()
