"""The way to a host: directly or through a proxy, and which certificates are believed on it.

Both come from the environment, as everywhere else: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY (either case), and
SSL_CERT_FILE, SSL_CERT_DIR. What is sent on the way is the client's business.
"""

import os
import ssl
from pathlib import Path
from threading import Lock
from urllib.request import getproxies_environment, proxy_bypass

import certifi
import httpcore
import httpx

from acistore.errors import ConfigError
from acistore.net.sockets import Backend

# Seconds. Short, so that a server has hardly closed a connection that we still take for open.
KEEPALIVE = 5.0


class Routes:
    """Connections to servers, kept for the next request. Safe to use from several threads.

    `verify`: whether certificates are checked. The environment is read once, when this is made.
    """

    def __init__(self, *, verify: bool) -> None:
        self._verify = verify
        self._proxies = getproxies_environment()
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}
        self._lock = Lock()

    def proxy_for(self, url: httpx.URL) -> str | None:
        """The proxy that requests for this URL go through, as the environment has it."""
        if proxy_bypass(f"{url.host}:{url.port}" if url.port else url.host, self._proxies):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all") or None

    def pool_for(self, url: httpx.URL) -> httpcore.ConnectionPool:
        """The connections that requests for this URL are sent on. Raises ConfigError for an unusable proxy."""
        proxy = self.proxy_for(url)
        # Made when they are needed: to read a file of authorities takes 20 ms.
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = httpcore.ConnectionPool(
                    ssl_context=tls_context(verify=self._verify),
                    proxy=None if proxy is None else _parsed(proxy),
                    max_connections=None,
                    keepalive_expiry=KEEPALIVE,
                    network_backend=Backend(),
                )
            return self._pools[proxy]

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


def tls_context(*, verify: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting the system's authorities or those that SSL_CERT_FILE and SSL_CERT_DIR name.

    Where a system has none at all, certifi's are taken.
    """
    context = ssl.create_default_context(cafile=None if _has_authorities() else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _has_authorities() -> bool:
    """Also true where the environment names some that aren't there: it must not add others on its own."""
    paths = ssl.get_default_verify_paths()
    if paths.openssl_cafile_env in os.environ or paths.openssl_capath_env in os.environ or paths.cafile:
        return True
    return paths.capath is not None and any(Path(paths.capath).iterdir())


def _parsed(proxy: str) -> httpcore.Proxy:
    """Raises ConfigError, which doesn't repeat the value: it may hold a password."""
    try:
        parsed = httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is None or parsed.url.scheme != "http" or not parsed.url.host:
        raise ConfigError(
            "the proxy in the environment is not an http:// URL",
            next_step="set HTTPS_PROXY to one like http://proxy.example.com:3128, or unset it",
        )
    return httpcore.Proxy(
        httpcore.URL(scheme=parsed.url.raw_scheme, host=parsed.url.raw_host, port=parsed.url.port, target=b"/"),
        auth=parsed.raw_auth,
    )
