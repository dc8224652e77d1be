"""What can go wrong on the network, told as one of our errors: what failed, on which URL, and what to do.

Knows the exceptions of httpcore, ssl and socket, so that nobody else has to; opens nothing.
"""

import re
import socket
import ssl

import httpcore
import httpx

from acistore.errors import (
    ConnectionFailed,
    InsecureTransport,
    NetworkError,
    ServerFailed,
    TLSFailed,
    TransferFailed,
)
from acistore.net.proxies import Proxy, Unreachable
from acistore.net.sockets import AddressRefused

# What httpcore raises, and ValueError (UnicodeError among them) from URLs and headers that can't be sent.
RAISED = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    ValueError,
)

# OpenSSL's X509_V_ERR_…: self-signed, or signed by an authority that is not among those known here.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
# The certificate is for another host name, or another address.
_ANOTHER_NAME = frozenset({62, 64})
_NOT_YET_VALID = 9
# How servers refuse whoever has no client certificate, or another one. An old one says no more than "failure".
_WANTS_CERTIFICATE = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
CERTIFICATE_STEP = "if the server asks for a client certificate: client_certificate in [[hosts]] of acistore.toml"
# How httpcore, and h11 below it, say that the other side has ended the connection too early.
_HUNG_UP = re.compile(r"disconnected without sending a response|closed connection without sending complete")
# How h11 quotes what it can't read; our own secret may stand in it, where the other side has sent it back.
_QUOTED = re.compile(r":? (?:bytearray\()?b['\"].*", re.DOTALL)
# How h11 says that it keeps no more of what has no end yet.
_OVERFULL = "Receive buffer too long"
_OTHER_PROTOCOL = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_VERSION_NUMBER"})


def before_answer(error: Exception, url: str, proxy: Proxy | None = None) -> NetworkError:
    """The error for an exception that was raised before the headers of the answer were complete.

    `proxy` is the one on the way, if there is one.
    """
    failure = _without_answer(error, url, proxy)
    if proxy:
        failure.facts["way"] = f"through {proxy.name}, the proxy that {proxy.variable} names"
    return failure


def _without_answer(error: Exception, url: str, proxy: Proxy | None) -> NetworkError:
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_failure(cause, url)
    if isinstance(error, httpcore.ProxyError):
        return _refused_by_proxy(error, url, proxy)
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        return _no_connection(error, cause, url)
    if isinstance(error, httpcore.ProtocolError):
        return _no_http(error, url)
    if isinstance(error, httpcore.NetworkError):
        return TransferFailed(f"{url}: the connection broke off before an answer: {_reason(cause)}")
    in_time = not isinstance(error, httpcore.TimeoutException)
    reason = f"can't be asked for: {_reason(cause)}" if in_time else "no answer in time"
    return ConnectionFailed(f"{url}: {reason}", facts=None if in_time else {"bound": "--limits-deadline"})


def _no_http(error: httpcore.ProtocolError, url: str) -> NetworkError:
    if _HUNG_UP.search(str(error)):
        return TransferFailed(f"{url}: the server hung up before an answer")
    return ServerFailed(f"{url}: the answer is not valid HTTP: {_reason(error)}")


def harmless(error: Exception) -> Exception | None:
    """The exception, where it may be shown in a traceback; None where it quotes what the other side has sent."""
    return None if isinstance(error, httpcore.ProtocolError | httpcore.ProxyError) else error


def within_body(error: Exception, url: str, received: int) -> NetworkError:
    """The error for an exception that was raised after `received` bytes of the body."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_failure(cause, url)
    reason = "the server hung up" if _HUNG_UP.search(str(error)) else _reason(cause)
    return TransferFailed(f"{url}: the transfer broke off after {received} bytes: {reason}")


def private_redirect(url: str, address: str) -> InsecureTransport:
    """The error for a redirect from a public server to a private address, or a name that stands for one."""
    return InsecureTransport(
        f"{url}: a private address ({address}), to which no redirect from a public server is followed",
        next_step="if both servers are yours, allow it with --private-redirects",
    )


def proxy_authentication(url: str, proxy: Proxy) -> ConnectionFailed:
    """The error for a proxy that wants to know who asks, or refuses the user and password that it was told."""
    return ConnectionFailed(
        f"{url}: the proxy answered 407 Proxy Authentication Required",
        next_step=f"set {proxy.variable} to http://USER:PASSWORD@HOST:PORT",
    )


def _cause(error: Exception) -> BaseException:
    """The system's own exception, where our connections have put it into httpcore's."""
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, BaseException) else error


def _no_connection(error: Exception, cause: BaseException, url: str) -> NetworkError:
    if isinstance(cause, AddressRefused):
        return private_redirect(url, str(cause))
    timed_out = error.timed_out if isinstance(error, Unreachable) else isinstance(error, httpcore.ConnectTimeout)
    if timed_out:
        reason = "no connection in time"
    elif isinstance(cause, socket.gaierror | UnicodeError):
        reason = f"the host name doesn't resolve: {_reason(cause)}"
    else:
        reason = f"no connection: {_reason(cause)}"
    failure = ConnectionFailed(f"{url}: {reason}")
    if isinstance(error, Unreachable):
        failure = ConnectionFailed(
            f"{url}: the proxy {error.proxy.name}: {reason}",
            next_step=f"see whether {error.proxy.variable} in the environment is right, or unset it",
        )
    if timed_out:
        failure.facts["bound"] = "--limits-connect-timeout, --limits-deadline"
    failure.unreachable = True
    return failure


def _refused_by_proxy(error: httpcore.ProxyError, url: str, proxy: Proxy | None) -> NetworkError:
    status = str(error)[:3]  # what follows are the proxy's own words
    if status == "407" and proxy:
        return proxy_authentication(url, proxy)
    answer = f"{status} {httpx.codes.get_reason_phrase(int(status))}".strip()
    return ConnectionFailed(f"{url}: the proxy refused to connect: {answer}")


def _reason(error: BaseException) -> str:
    if str(error) == _OVERFULL:
        return "more than 100 KiB of headers, or around a chunk"
    return getattr(error, "strerror", None) or _QUOTED.sub("", str(error)) or type(error).__name__


def _tls_failure(error: ssl.SSLError, url: str) -> TLSFailed:
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return TLSFailed(f"{url}: TLS failed: {reason}", next_step=_tls_step(error.reason))
    return TLSFailed(
        f"{url}: the server's certificate is not acceptable: {error.verify_message.rstrip('.')}",
        next_step=_certificate_step(error.verify_code),
    )


def _certificate_step(code: int) -> str:
    """What to do about a certificate with this X509_V_ERR_…."""
    if code in _UNKNOWN_AUTHORITY:
        return (
            "acistore --ca-file FILE …, with the certificate of the server's authority in FILE "
            "(for one host: ca_file in [[hosts]] of acistore.toml)"
        )
    if code in _ANOTHER_NAME:
        return (
            "check the host in the URL, and that no other server answers in its place: "
            "the certificate is for another name"
        )
    if code == _NOT_YET_VALID:
        return "check the clock of this machine: the certificate is valid only later"
    return "ask whoever runs the server to renew its certificate, or --insecure-options=tls to go without"


def _tls_step(reason: str | None) -> str | None:
    if reason == "SSLV3_ALERT_CERTIFICATE_EXPIRED":
        return "renew the client certificate that [[hosts]] of acistore.toml names for this host"
    if reason in _WANTS_CERTIFICATE:
        return CERTIFICATE_STEP
    if reason in _OTHER_PROTOCOL:
        return "ask whoever runs the server for TLS 1.2 or newer on this port"
    return None
