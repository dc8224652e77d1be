"""What a request says about who asks. The one place where a secret gets into a request, or doesn't.

Credentials go to the host that they are for, over HTTPS with a certificate that was checked, and nowhere else.
"""

from dataclasses import dataclass

import httpx

from acistore.config import Config
from acistore.net.credentials import files
from acistore.net.credentials.kinds import Authorized
from acistore.net.credentials.known import Credentials
from acistore.net.credentials.rkt import DIRECTORY
from acistore.net.hosts import host_of

_TO_HTTPS = "ask for an https:// address: by plain HTTP anybody could read them"
_TO_TLS = "leave out --insecure-options=tls: without a checked certificate anybody could be the server"


@dataclass(frozen=True, slots=True)
class Access:
    """What was sent along with a request, for the errors about its answer.

    `told`: whether the server was told who asks, and from which file. `next_step`: what to do when it refuses.
    `sent`: something was.
    """

    told: str
    next_step: str
    sent: bool = False


class Doorkeeper:
    """Adds to requests who asks. Safe to use from several threads; what is known is read once, with the first."""

    def __init__(self, config: Config) -> None:
        self._credentials = Credentials(config)
        self._config = config
        self._checks_certificates = "tls" not in config.insecure_options

    def authorize(self, method: str, url: httpx.URL) -> tuple[Authorized, Access]:
        """The request for this URL, and what it says. Raises ConfigError for a file that can't be understood."""
        host = host_of(url)
        bare = Authorized(url.raw_path, {})
        known = self._credentials.for_url(url)
        if known is None:
            place = self._config.user_config / DIRECTORY
            step = f"credentials for {host} go into a file in {place}, [[hosts]] of acistore.toml, or ~/.netrc"
            return bare, Access(f"none are known for {host}", step)
        if url.scheme != "https":
            return bare, Access(f"those in {known.source} were not sent", _TO_HTTPS)
        if not self._checks_certificates:
            files.warn_once(host, f"certificates are not checked, so no credentials are sent to {host}")
            return bare, Access(f"those in {known.source} were not sent", _TO_TLS)
        sent = known.secret.authorize(method, url)
        step = f"see whether those for {host} in {known.source} are right"
        return sent, Access(f"sent, from {known.source}", step, sent=True)
