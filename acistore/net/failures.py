"""What can go wrong on the network, told as one of our errors: what failed, on which URL, and what to do.

Knows the exceptions of httpcore, ssl and socket, so that nobody else has to; opens nothing.
"""

import socket
import ssl

import httpcore

from acistore.errors import (
    ConnectionFailed,
    InsecureTransport,
    NetworkError,
    ServerFailed,
    TLSFailed,
    TransferFailed,
)
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
# How servers refuse whoever has no client certificate, or another one. An old one says no more than "failure".
_WANTS_CERTIFICATE = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
_OTHER_PROTOCOL = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_VERSION_NUMBER"})


def before_answer(error: Exception, url: str) -> NetworkError:
    """The error for an exception that was raised before the headers of the answer were complete."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_failure(cause, url)
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.ProxyError):
        return _no_connection(error, cause, url)
    if isinstance(error, httpcore.TimeoutException):
        return ConnectionFailed(f"{url}: no answer in time")
    if isinstance(error, httpcore.ProtocolError):
        return ServerFailed(f"{url}: the answer is not valid HTTP: {_reason(cause)}")
    if isinstance(error, httpcore.NetworkError):
        return TransferFailed(f"{url}: the connection broke off before an answer: {_reason(cause)}")
    return ConnectionFailed(f"{url}: can't be asked for: {_reason(cause)}")


def within_body(error: Exception, url: str, received: int) -> NetworkError:
    """The error for an exception that was raised after `received` bytes of the body."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_failure(cause, url)
    return TransferFailed(f"{url}: the transfer broke off after {received} bytes: {_reason(cause)}")


def private_redirect(url: str, address: str) -> InsecureTransport:
    """The error for a redirect from a public server to a private address, or a name that stands for one."""
    return InsecureTransport(
        f"{url}: a private address ({address}), to which no redirect from a public server is followed",
        next_step="if both servers are yours, allow it with --private-redirects",
    )


def proxy_authentication(url: str) -> ConnectionFailed:
    """The error for a proxy's 407."""
    return ConnectionFailed(
        f"{url}: the proxy wants to know who asks, or knows the user and password but refuses them",
        next_step="set HTTPS_PROXY (HTTP_PROXY for http://) to http://USER:PASSWORD@HOST:PORT",
    )


def _cause(error: Exception) -> BaseException:
    """The system's own exception, where our connections have put it into httpcore's."""
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, BaseException) else error


def _no_connection(error: Exception, cause: BaseException, url: str) -> NetworkError:
    if isinstance(cause, AddressRefused):
        return private_redirect(url, str(cause))
    if isinstance(error, httpcore.ProxyError):
        if str(error).startswith("407"):
            return proxy_authentication(url)
        reason = f"the proxy refused to connect: {error}"
    elif isinstance(error, httpcore.ConnectTimeout):
        reason = "no connection in time"
    elif isinstance(cause, socket.gaierror | UnicodeError):
        reason = f"the host name doesn't resolve: {_reason(cause)}"
    else:
        reason = f"no connection: {_reason(cause)}"
    return ConnectionFailed(f"{url}: {reason}")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _tls_failure(error: ssl.SSLError, url: str) -> TLSFailed:
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return TLSFailed(f"{url}: TLS failed: {reason}", next_step=_tls_step(error.reason))
    known = error.verify_code not in _UNKNOWN_AUTHORITY
    return TLSFailed(
        f"{url}: the server's certificate is not acceptable: {error.verify_message}",
        next_step="ask whoever runs the server to renew its certificate, or --insecure-options=tls to go without"
        if known
        else "acistore --ca-file FILE …, with the certificate of the server's authority in FILE "
        "(for one host: ca_file in [[hosts]] of acistore.toml)",
    )


def _tls_step(reason: str | None) -> str | None:
    if reason in _WANTS_CERTIFICATE:
        return "if the server asks for a client certificate: client_certificate in [[hosts]] of acistore.toml"
    if reason in _OTHER_PROTOCOL:
        return "ask whoever runs the server for TLS 1.2 or newer on this port"
    return None
