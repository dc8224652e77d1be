"""Whether HTTP/2 would be worth it: `pip install httpcore[http2]`, then `python -m benchmarks.http2 [--runs N]`.

The two things that a fetch does, over TLS from nginx on loopback, by HTTP/1.1 and by HTTP/2 in turn, each time
with new connections as a new process has them: one image of 90 MB; and 20 pages of 4 KB with a signature of 800
bytes each, by 8 threads. Both also with 30 ms of latency: a relay holds every piece for 15 ms each way, and the
beginning of a connection for 30 ms. Figures are medians; the ratio, HTTP/2 by HTTP/1.1, is taken pair by pair.

The sockets are httpcore's own for both, which ours beat for large bodies; `ours` is what acistore does.
"""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpcore
import trustme

from acistore.net.sockets import Backend

IMAGE = 90_000_000
PAGES = 20
THREADS = 8
LATENCY = 0.03

_CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid {top}/nginx.pid;
error_log {top}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {top}/scratch; proxy_temp_path {top}/scratch; fastcgi_temp_path {top}/scratch;
    uwsgi_temp_path {top}/scratch; scgi_temp_path {top}/scratch;
    ssl_certificate {top}/localhost.pem;
    ssl_certificate_key {top}/localhost.pem;
    server {{ listen unix:{top}/http1 ssl; root {top}/files; }}
    server {{ listen unix:{top}/http2 ssl http2; root {top}/files; }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="acistore-bench-") as directory:
        top = Path(directory)
        context = _prepare(top)
        with _nginx(top):
            for latency in (0.0, LATENCY):
                with _relay(top / "http1", latency) as old, _relay(top / "http2", latency) as new:
                    for what, job in (("one image of 90 MB", _image), ("20 pages and signatures", _pages)):
                        _compare(f"{what}, {latency * 1000:.0f} ms", job, context, old, new, runs)


def _prepare(top: Path) -> ssl.SSLContext:
    (top / "scratch").mkdir()
    files = top / "files"
    files.mkdir()
    (files / "image").write_bytes(os.urandom(1 << 20) * (IMAGE >> 20))
    for number in range(PAGES):
        (files / f"page{number}").write_bytes(os.urandom(4000))
        (files / f"page{number}.asc").write_bytes(os.urandom(800))
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(top / "localhost.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def _nginx(top: Path) -> Iterator[None]:
    configuration = top / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(_CONFIGURATION.format(top=top, user=user))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    process = subprocess.Popen([program, "-e", top / "error.log", "-p", top, "-c", configuration])
    try:
        while not (top / "http2").exists():
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def _compare(
    what: str,
    job: Callable[[httpcore.ConnectionPool, int], None],
    context: ssl.SSLContext,
    old: int,
    new: int,
    runs: int,
) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "HTTP/1.1": [], "HTTP/2": []}
    for number in range(runs + 1):
        for name, each in seconds.items():
            pool = httpcore.ConnectionPool(
                context,
                max_connections=None,
                http2=name == "HTTP/2",
                network_backend=Backend() if name == "ours" else None,
            )
            with pool:
                began = time.perf_counter()
                job(pool, new if name == "HTTP/2" else old)
                if number:  # the first round warms the caches
                    each.append(time.perf_counter() - began)
                version = b"HTTP/2" if name == "HTTP/2" else b"HTTP/1.1"
                with pool.stream("GET", f"https://localhost:{new if name == 'HTTP/2' else old}/page0") as answer:
                    assert answer.extensions["http_version"] == version, answer.extensions
    ratio = statistics.median(b / a for a, b in zip(seconds["HTTP/1.1"], seconds["HTTP/2"], strict=True))
    figures = "   ".join(f"{name} {statistics.median(each):.3f} s" for name, each in seconds.items())
    print(f"{what:32} {figures}   HTTP/2 by HTTP/1.1: {ratio:.2f}", flush=True)


def _image(pool: httpcore.ConnectionPool, port: int) -> None:
    with pool.stream("GET", f"https://localhost:{port}/image") as answer:
        received = sum(map(len, answer.iter_stream()))
    assert received == (IMAGE >> 20) << 20, received


def _pages(pool: httpcore.ConnectionPool, port: int) -> None:
    def fetch(number: int) -> None:
        for name in (f"page{number}", f"page{number}.asc"):
            assert pool.request("GET", f"https://localhost:{port}/{name}").status == 200

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(fetch, range(PAGES)))


@contextmanager
def _relay(to: Path, latency: float) -> Iterator[int]:
    """A port of this machine that leads to a socket of nginx, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=lambda: asyncio.run(_serve(to, latency, theirs)), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def _serve(to: Path, latency: float, port: "multiprocessing.connection.Connection") -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(latency)
        there, back = await asyncio.open_unix_connection(to)
        await asyncio.gather(_pump(reader, back, latency / 2), _pump(there, writer, latency / 2))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter, delay: float) -> None:
    """Passes on what comes, each piece after the delay, as many as there are at once."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def read() -> None:
        data = b"x"
        while data:
            try:
                data = await source.read(1 << 18)
            except OSError:
                data = b""
            await pieces.put((time.monotonic() + delay, data))

    reading = asyncio.create_task(read())
    data = b"x"
    while data:
        due, data = await pieces.get()
        if delay:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        try:
            to.write(data)
            await to.drain()
        except OSError:
            break
    reading.cancel()
    to.close()


if __name__ == "__main__":
    main()
