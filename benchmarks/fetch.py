"""How long a fetch takes: `make bench`, or `python -m benchmarks.fetch [--runs N] [--directory DIR]`.

A Debian image (debootstrap, as gzip), signed by gpg and served by nginx over TLS on loopback, is fetched into an
empty store; then again, unchanged. Side by side, in turn, with what a shell would do with the same checks: curl,
`gpg --verify`, `gzip -dc | sha512sum`, one after another (the floor), and the same with `tar -x`; and with an SSH
signature in place of gpg's, for which the shell has `ssh-keygen -Y verify`. Whole processes, started cold: wall
seconds, MB/s of the image as served, and the largest process's peak memory. Figures are medians; ratios are taken
pair by pair.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import trustme

from acistore.config import Config
from acistore.trust.keystore.store import TrustStore
from benchmarks.processes import Run, checking, measured
from tests.gpg import KeyMaker
from tests.rootfs import debian_tar
from tests.ssh import SshKeyMaker
from tests.web import WebSite

HOST = "localhost"


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(dir=options.directory, prefix="acistore-bench-") as directory,
        KeyMaker() as maker,
        WebSite(_made(Path(directory) / "web"), trustme.CA()) as web,
    ):
        top = Path(directory)
        served = subprocess.run(["gzip", "-6", "-c", debian_tar()], stdout=subprocess.PIPE, check=True).stdout
        key = maker.key("Benchmark <bench@example.com>")
        web.put(HOST, "debian.aci", served)
        web.put(HOST, "debian.aci.asc", key.sign(served))
        url = f"https://{HOST}:{web.tls_port}/debian.aci"
        config = Config(dir=top / "store", system_config=top / "s", local_config=top / "l", user_config=top / "u")
        (top / "key.asc").write_bytes(key.public())
        ssh_key = SshKeyMaker(top).key()
        web.put(HOST, "debian.aci.sig", ssh_key.sign(served))
        (top / "allowed").write_bytes(b"release " + ssh_key.public())
        trust = TrustStore.open(config)
        trust.add(key.public(), prefix="example.com", source="benchmark", layer="local")
        by_ssh = replace(config, local_config=top / "ssh")
        TrustStore.open(by_ssh).add(ssh_key.public(), prefix="example.com", source="benchmark", layer="local")
        environment = checking(top, Path(web.environ["SSL_CERT_FILE"]))
        print(
            f"image: {len(served) / 1e6:.1f} MB as served; {os.cpu_count()} cores; {options.runs} runs, in turn\n"
        )
        contestants: Mapping[str, tuple[Callable[[], object], Sequence[str]]] = {
            "floor: curl, gpg, gzip | sha512sum": (
                lambda: _clear(top / "work"),
                _shell(url, "sha512sum >/dev/null"),
            ),
            "the same with tar -x": (
                lambda: _clear(top / "work"),
                _shell(url, "tee >(sha512sum) | tar -x -C tree"),
            ),
            "acistore fetch": (lambda: _clear(config.dir), _acistore("-q", "fetch", url)),
            "acistore fetch, unchanged": (lambda: None, _acistore("-q", "fetch", url)),
            "curl, ssh-keygen, gzip | sha512sum": (lambda: _clear(top / "work"), _shell_by_ssh(url)),
            "acistore fetch, signed by SSH": (
                lambda: _clear(config.dir),
                _acistore("-q", "--local-config", str(by_ssh.local_config), "fetch", url),
            ),
        }
        runs: dict[str, list[Run]] = {name: [] for name in contestants}
        for number in range(options.runs + 1):
            for name, (prepare, command) in contestants.items():
                prepare()
                (top / "work" / "tree").mkdir(parents=True, exist_ok=True)
                run = measured(command, environment, top / "work")
                if number:  # the first round warms the caches
                    runs[name].append(run)
        _print(runs, len(served))


def _print(runs: Mapping[str, Sequence[Run]], size: int) -> None:
    floor = next(iter(runs.values()))
    print(f"{'':36}{'seconds':>9}{'min':>8}{'max':>8}{'MB/s':>8}{'MiB':>7}{'of floor':>10}")
    for name, each in runs.items():
        seconds = [run.seconds for run in each]
        ratio = statistics.median(run.seconds / base.seconds for run, base in zip(each, floor, strict=True))
        median = statistics.median(seconds)
        print(
            f"{name:36}{median:9.2f}{min(seconds):8.2f}{max(seconds):8.2f}{size / median / 1e6:8.0f}"
            f"{max(run.memory for run in each):7.0f}{ratio:10.2f}"
        )


def _shell(url: str, consumer: str) -> list[str]:
    script = f"""
        set -euo pipefail
        curl -sSf -o image.aci {url} -o image.aci.asc {url}.asc
        gpg --quiet --batch --no-autostart --trust-model always --verify image.aci.asc image.aci 2>/dev/null
        gzip -dc image.aci | {consumer}
    """
    return ["bash", "-c", script]


def _shell_by_ssh(url: str) -> list[str]:
    script = f"""
        set -euo pipefail
        curl -sSf -o image.aci {url} -o image.aci.sig {url}.sig
        ssh-keygen -q -Y verify -f ../allowed -I release -n acistore -s image.aci.sig <image.aci
        gzip -dc image.aci | sha512sum >/dev/null
    """
    return ["bash", "-c", script]


def _acistore(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "acistore", *arguments]


def _clear(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os.sync()


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times acistore fetch against a shell pipeline, side by side.")
    parser.add_argument("--runs", type=int, default=5, help="counted rounds, after one that warms up (default 5)")
    parser.add_argument(
        "--directory", type=Path, help="where to work; a file system of its own gives steadier figures"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
