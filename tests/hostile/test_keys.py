"""Keys from a server that means harm: none is added, and what is wrong is told."""

import json
import re
import zlib
from dataclasses import dataclass

import pytest

from acistore.cli import main
from acistore.errors import (
    AcistoreError,
    ConnectionFailed,
    InsecureTransport,
    KeyRefused,
    LimitExceeded,
    ResourceNotFound,
    ServerFailed,
    TransferFailed,
)
from tests.fetch.conftest import HOST
from tests.hostile.conftest import MIB, PASSWORD, Victim
from tests.hostile.servers import BUFFERS, CHUNKED, OK, Flood, dripping, lengths, moved, saying, silent, whole
from tests.trust.hardening.forging import packet
from tests.waiting import within
from tests.web import Handler, answering


@dataclass(frozen=True)
class Harm:
    handler: Handler
    kind: type[AcistoreError]
    told: str


KEYS = {
    "endless": Harm(Flood(OK + b"\r\n"), LimitExceeded, "--limits-key-size"),
    "endless headers": Harm(Flood(OK, b"Header: value\r\n"), ServerFailed, "100 KiB"),
    "endless extension": Harm(Flood(CHUNKED + b"5;x="), TransferFailed, "100 KiB"),
    "silent": Harm(silent, ConnectionFailed, "--limits-deadline"),
    "status drips": Harm(dripping(b"", b"H"), ConnectionFailed, "--limits-deadline"),
    "drips": Harm(dripping(OK + b"\r\n"), LimitExceeded, "--limits-deadline"),
    "cut off": Harm(answering(lengths(b"999") + b"\r\n-----BEGIN PGP"), TransferFailed, "hung up"),
    "encoded": Harm(whole(b"x", b"Content-Encoding: gzip"), ServerFailed, "encoded"),
    "bomb": Harm(whole(packet(8, b"\2" + zlib.compress(bytes(256 * MIB)))), KeyRefused, "a packet of type 8"),
    "web page": Harm(whole(b"<html>"), KeyRefused, "not an OpenPGP public key"),
    "nothing": Harm(saying(b"404 Not Found"), ResourceNotFound, "404"),
    "circle": Harm(moved(b""), LimitExceeded, "--limits-redirects"),
    "to a file": Harm(moved(b"file:///etc/passwd"), ServerFailed, "can't be fetched"),
    "to http": Harm(moved(b"http://elsewhere.org/"), InsecureTransport, "from HTTPS to plain HTTP"),
    "to this machine": Harm(moved(b"https://[::ffff:127.0.0.1]/"), InsecureTransport, "a private address"),
}


@pytest.mark.parametrize("name", KEYS)
def test_no_harmful_key_is_added(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    harm = KEYS[name]
    trusted = sorted(victim.top.rglob("trustedkeys/**"))

    def attempt(seconds: float) -> None:
        limits = {"deadline": f"{seconds:g}s"} if "--limits-deadline" in harm.told else {}
        for variable, value in victim.environment(limits).items():
            monkeypatch.setenv(variable, value)
        with victim.site(others={"/key.asc": harm.handler}) as site:
            code = main(["--json", "trust", "add", "--prefix", HOST, "--yes", f"https://{HOST}/key.asc"])
        out, err = capsys.readouterr()
        [error] = [json.loads(line)["error"] for line in err.splitlines()]
        assert (code, error["kind"], out) == (harm.kind.exit_code, harm.kind.__name__, "")
        assert re.search(harm.told, f"{error['message']} {error['facts']} {error['next']}"), error
        assert PASSWORD not in err
        assert len(site.asked()) <= 11

    within(1, attempt)
    assert victim.contacts() == {HOST}
    assert sorted(victim.top.rglob("trustedkeys/**")) == trusted
    assert getattr(harm.handler, "sent", 0) < BUFFERS
