"""Files of credentials for tests, and servers that tell what they were sent."""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from acistore.config import Config, Host, Limits
from acistore.net.credentials.known import Credentials

SECRET = "correct-horse-battery"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Places:
    """The directories that credentials are read from. `netrc` is where NETRC leads."""

    top: Path

    @property
    def netrc(self) -> Path:
        return self.top / "netrc"

    def config(self, *hosts: Host, **options: Any) -> Config:
        """A configuration with these directories, and nothing of the machine's."""
        return Config(
            system_config=self.top / "system",
            local_config=self.top / "local",
            user_config=self.top / "user",
            hosts=hosts,
            **{"limits": Limits(retry_delay=0.001), **options},
        )

    def write(self, layer: str, name: str, content: object) -> Path:
        """A file in the `auth.d` of a layer: text, or what is to be JSON."""
        path = self.top / layer / "auth.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o600)
        return path

    def write_netrc(self, text: str) -> None:
        self.netrc.write_text(text)
        self.netrc.chmod(0o600)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Places for one test."""
    places = Places(tmp_path / "places")
    places.top.mkdir()
    monkeypatch.setenv("NETRC", str(places.netrc))
    return places


def oauth(*domains: str, token: str = SECRET) -> dict[str, object]:
    """The content of a file of rkt's, with a token for these hosts."""
    return auth("oauth", {"token": token}, *domains)


def auth(kind: str, credentials: object, *domains: str) -> dict[str, object]:
    """The content of a file of rkt's."""
    return {
        "rktKind": "auth",
        "rktVersion": "v1",
        "domains": list(domains),
        "type": kind,
        "credentials": credentials,
    }


def basic(user: str, password: str) -> str:
    """What is sent for a user and a password."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def header(request: bytes, name: str) -> str | None:
    """The value of a header of a request."""
    for line in request.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


def sent(config: Config, host: str, scheme: str = "https") -> str | None:
    """The Authorization that is known for a host."""
    url = httpx.URL(f"{scheme}://{host}/app.aci")
    known = Credentials(config).for_url(url)
    return None if known is None else known.secret.authorize("GET", url).headers["Authorization"]
