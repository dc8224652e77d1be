"""Names that stand for what they should not: dead addresses, and private ones that a public server leads to."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from acistore.config import Config, Limits
from acistore.errors import ConnectionFailed
from acistore.net import Client
from tests.cli.running import spawn
from tests.hostile.servers import moved, whole
from tests.islands import PRIVATE, PUBLIC, Island, on_an_island

HOSTS = Path("/etc/hosts")  # the island's own


@contextmanager
def nobody_accepting(address: str, port: int = 0) -> Iterator[int]:
    """A port where connections are neither made nor refused, as behind a router that drops all."""
    with socket.create_server((address, port), backlog=0) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(3):  # which fill its queue
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield port


def stands_for(name: str, *addresses: str) -> None:
    others = [line for line in HOSTS.read_text().splitlines() if not line.endswith(f" {name}")]
    HOSTS.write_text("\n".join([*others, *(f"{address} {name}" for address in addresses), ""]))


@on_an_island
def test_a_hundred_dead_addresses_take_no_longer_than_one(island: Island) -> None:
    stands_for("dead.test", *(f"127.1.0.{number}" for number in range(1, 101)))
    started = time.monotonic()
    with (
        nobody_accepting("0.0.0.0") as port,
        Client(Config(limits=Limits(connect_timeout=1, retries=0))) as client,
        pytest.raises(ConnectionFailed, match="no connection in time") as raised,
    ):
        client.get(f"https://dead.test:{port}/", limit=1000)
    assert "--limits-connect-timeout" in raised.value.facts["bound"]
    assert time.monotonic() - started < 50


@on_an_island
def test_behind_a_dead_address_there_is_time_for_the_next(island: Island) -> None:
    stands_for("localhost", "127.1.0.1", PUBLIC)
    with (
        island.serve(whole(b"there"), PUBLIC) as server,
        nobody_accepting("127.1.0.1", server.port),
        Client(Config(limits=Limits(connect_timeout=8, retries=0))) as client,
    ):
        first = socket.getaddrinfo("localhost", server.port, type=socket.SOCK_STREAM)[0]
        assert first[4][0] == "127.1.0.1"
        assert client.get(f"https://localhost:{server.port}/", limit=1000).body == b"there"


@on_an_island
def test_the_command_is_not_led_from_a_public_server_to_a_private_one(island: Island) -> None:
    """By name or by address, and not where the name stood for a public one when it was asked first (rebinding)."""
    stands_for("public.test", PUBLIC)

    def leading(connection: socket.socket, head: bytes) -> None:
        place = head.decode().split("/")[1].partition(".aci")[0]
        if place == "rebound":
            stands_for("public.test", PRIVATE)
        host = {"rebound": "public.test", "named": "private.test"}.get(place, place)
        moved(f"https://{host}:{there.port}/".encode())(connection, head)

    places = ("named", PRIVATE, "169.254.169.254", f"[::ffff:{PRIVATE}]", "0x7f.1", "0.0.0.0", "rebound")
    with (
        island.serve(whole(b"secret"), "0.0.0.0") as there,
        island.serve(leading, PUBLIC) as here,
        tempfile.TemporaryDirectory() as top,
    ):
        urls = [f"https://public.test:{here.port}/{place}.aci" for place in places]
        layers = {f"ACISTORE_{name}_CONFIG": f"{top}/{name}" for name in ("SYSTEM", "LOCAL", "USER")}
        ran = spawn("--json", "--jobs", "1", "fetch", *urls, ACISTORE_DIR=f"{top}/store", HOME=top, **layers)
        assert ran.code == 5
        assert len(ran.errors) == len(places)
        for error in ran.errors:
            assert (error["kind"], "a private address" in error["message"]) == ("InsecureTransport", True), error
            assert "--private-redirects" in error["next"]
        assert there.requests == []
        assert [
            path for path in Path(top, "store").rglob("*") if path.parent.name in ("packs", "spool", "tmp")
        ] == []
