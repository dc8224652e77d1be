"""What can go wrong on the network, told as one of our errors: what failed, on which URL, and what to do.

Knows the exceptions of httpcore, ssl and socket, so that nobody else has to; opens nothing.
"""

import socket
import ssl

import httpcore

from acistore.errors import ConnectionFailed, NetworkError, ServerFailed, TLSFailed, TransferFailed

# OpenSSL's X509_V_ERR_…: self-signed, or signed by an authority that is not among those known here.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})


def before_answer(error: Exception, url: str) -> NetworkError:
    """The error for an exception that was raised before the headers of the answer were complete."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_failure(cause, url)
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.ProxyError):
        return ConnectionFailed(f"{url}: {_no_connection(error, cause)}")
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


def _cause(error: Exception) -> BaseException:
    """The system's own exception, where our connections have put it into httpcore's."""
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, BaseException) else error


def _no_connection(error: Exception, cause: BaseException) -> str:
    if isinstance(error, httpcore.ProxyError):
        return f"the proxy refused to connect: {error}"
    if isinstance(error, httpcore.ConnectTimeout):
        return "no connection in time"
    if isinstance(cause, socket.gaierror | UnicodeError):
        return f"the host name doesn't resolve: {_reason(cause)}"
    return f"no connection: {_reason(cause)}"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _tls_failure(error: ssl.SSLError, url: str) -> TLSFailed:
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return TLSFailed(f"{url}: TLS failed: {reason}")
    known = error.verify_code not in _UNKNOWN_AUTHORITY
    return TLSFailed(
        f"{url}: the server's certificate is not acceptable: {error.verify_message}",
        next_step="ask whoever runs the server to renew its certificate, or --insecure-options=tls to go without"
        if known
        else "SSL_CERT_FILE=FILE acistore …, with the certificate of the server's authority in FILE",
    )
