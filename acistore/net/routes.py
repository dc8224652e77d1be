"""The way to a host: through which proxy, with which TLS, and to which addresses at all.

What is sent on the way is the client's business.
"""

from threading import Lock

import httpcore
import httpx

from acistore.config import Config
from acistore.net.addresses import is_public
from acistore.net.proxies import Proxies, Proxy, ProxyBackend
from acistore.net.sockets import Backend
from acistore.net.tls import TlsRules, TlsSettings, tls_context

# Seconds. Short, so that a server has hardly closed a connection that we still take for open.
KEEPALIVE = 5.0


class Routes:
    """Connections to servers, kept for the next request. Safe to use from several threads.

    The environment is read once, when this is made. Raises ConfigError for a configuration that can't be right.
    """

    def __init__(self, config: Config) -> None:
        self.verifies = "tls" not in config.insecure_options
        self._proxies = Proxies()
        self._rules = TlsRules(config)
        self._pools: dict[tuple[Proxy | None, TlsSettings, bool], httpcore.ConnectionPool] = {}
        self._backends: list[Backend] = []
        self._aborted = False
        self._lock = Lock()

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy that requests for this URL go through. Raises ConfigError for an unusable one."""
        return self._proxies.for_url(url)

    def pool_for(self, url: httpx.URL, *, public_only: bool = False) -> httpcore.ConnectionPool:
        """The connections that requests for this URL are sent on; with `public_only` none of them, new or kept,
        leads to a private address (which can't be seen where a proxy makes the connections).

        Raises ConfigError for an unusable proxy, authority or client certificate.
        """
        proxy = self.proxy_for(url)
        public_only = public_only and proxy is None
        key = (proxy, self._rules.settings_for(url), public_only)
        # Made when they are needed: to read a file of authorities takes 20 ms.
        with self._lock:
            if key not in self._pools:
                backend = Backend(accepts=is_public if public_only else None)
                self._backends.append(backend)
                if self._aborted:
                    backend.abort()
                self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=tls_context(key[1], verify=self.verifies),
                    proxy=self._way(proxy) if proxy else None,
                    max_connections=None,
                    keepalive_expiry=KEEPALIVE,
                    network_backend=ProxyBackend(backend, proxy) if proxy else backend,
                )
            return self._pools[key]

    def abort(self) -> None:
        """Ends every connection, whoever is waiting for it, and makes no more."""
        with self._lock:
            self._aborted = True
            for backend in self._backends:
                backend.abort()

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def _way(self, proxy: Proxy) -> httpcore.Proxy:
        context = None
        if proxy.scheme == "https":
            settings = self._rules.settings_for(httpx.URL(proxy.name))
            context = tls_context(settings, verify=self.verifies)
        return httpcore.Proxy(proxy.url, auth=proxy.auth, ssl_context=context)
