"""TCP and TLS connections that keep to a deadline: what httpcore reads from and writes to.

Only moving bytes in time. Which certificates are good, and what the bytes mean, is decided elsewhere.

httpcore's own connections limit each single read, so a server that sends a byte now and then can keep a request
alive for ever. These take the moment by which everything has to be over from the `deadline` block around them,
for connecting, the TLS handshake, headers and body alike. They also read many TLS records (16 KiB each) at
once, which saves a quarter of the time of a large download.
"""

import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, TypeVar, cast
from weakref import WeakSet

import httpcore

READ_SIZE = 256 << 10

_T = TypeVar("_T")
_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Everything that this thread does on connections within the block has to be over in `seconds`.

    Within another block the earlier end counts; None sets none. What isn't over in time ends in one of httpcore's
    timeouts. All errors of a connection are httpcore's too, with the system's own as their argument.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    token = _end.set(min(_end.get(), end))
    try:
        yield
    finally:
        _end.reset(token)


def _time_left() -> float:
    return max(0.0, _end.get() - time.monotonic())


class AddressRefused(OSError):
    """A host has only addresses that are not accepted here; the argument is one of them."""


class Backend(httpcore.NetworkBackend):
    """Makes the connections; holds nothing.

    With `accepts`, only to addresses for which it is true: the very ones that are connected to, so nobody can
    change what the name stands for in between. Name resolution is the system's, which has a time limit of its own
    and can't be cut short.
    """

    def __init__(self, accepts: Callable[[str], bool] | None = None) -> None:
        self._accepts = accepts
        self._aborted = False
        self._open: WeakSet[socket.socket] = WeakSet()
        self._lock = Lock()

    def abort(self) -> None:
        """Ends every connection, for whoever is waiting for it in another thread, and makes no more."""
        with self._lock:
            self._aborted = True
            connections = tuple(self._open)
        for connection in connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def watch(self, connection: socket.socket) -> None:
        """Takes a socket among those that `abort` ends. Raises ConnectionAbortedError when it has come."""
        with self._lock:
            self._open.add(connection)
            aborted = self._aborted
        if aborted:
            raise ConnectionAbortedError("given up")

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "Stream":
        """Tries the addresses of the host in turn; each gets its share of the time that is left."""
        with deadline(timeout):
            try:
                addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                raise httpcore.ConnectError(error) from error
            failure: Exception = OSError("the host has no address")
            if self._accepts and addresses:
                failure = AddressRefused(addresses[0][4][0])
                addresses = [each for each in addresses if self._accepts(str(each[4][0]))]
            for tried, (family, kind, protocol, _, address) in enumerate(addresses):
                try:
                    with deadline(_time_left() / (len(addresses) - tried)):
                        connection = _connect(socket.socket(family, kind, protocol), address, self.watch)
                        return Stream(connection, str(address[0]))
                except (OSError, OverflowError) as error:
                    failure = error
        raise _connect_failure(failure)


class Stream(httpcore.NetworkStream):
    """One connection. The socket is non-blocking; waiting is done in one place.

    `address` is the one at the other end: that of a proxy, where there is one.
    """

    def __init__(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        self._socket = connection
        self.address = address
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._broken: OSError | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes as soon as there are any, and as many as there are, up to READ_SIZE; none at the end.

        `max_bytes` is httpcore's habit of 64 KiB and isn't kept to: its parser takes any amount.
        """
        return bytes(self.receive(timeout))

    def receive(self, timeout: float | None = None) -> memoryview:
        """As `read`, but good only until the next call."""
        with deadline(timeout):
            try:
                if self._broken:
                    raise self._broken
                filled = count = self._waiting(partial(self._socket.recv_into, self._buffer), select.POLLIN)
            except TimeoutError as error:
                raise httpcore.ReadTimeout(error) from error
            except OSError as error:
                raise httpcore.ReadError(error) from error
        while count and filled < READ_SIZE:
            try:
                count = self._socket.recv_into(self._buffer[filled:])
            except BlockingIOError:
                break
            except OSError as error:
                self._broken = error  # what came before may say why
                break
            filled += count
        return self._buffer[:filled]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of it."""
        with deadline(timeout):
            try:
                while buffer:
                    buffer = buffer[self._waiting(partial(self._socket.send, buffer), select.POLLOUT) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(error) from error
            except OSError as error:
                raise httpcore.WriteError(error) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "TLSStream":
        """The same connection from here on with TLS; this object is of no use any more."""
        return TLSStream(self, ssl_context, server_hostname, timeout)

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def get_extra_info(self, info: str) -> bool | str | None:
        """Of what may be asked for: whether the server has closed an idle connection, and the `address`."""
        if info == "is_readable":
            return _is_ready(self._socket, select.POLLIN, 0)
        return self.address if info == "address" else None

    def _waiting(self, operation: Callable[[], _T], event: int) -> _T:
        """Repeats a non-blocking operation until it succeeds. Raises TimeoutError at the deadline.

        Looks at the clock first: a server that always has something ready would never be waited for.
        """
        while _time_left():
            try:
                return operation()
            except BlockingIOError:
                _wait(self._socket, event)
        raise TimeoutError


class TLSStream(httpcore.NetworkStream):
    """TLS on a connection, be it one with TLS already (that of a proxy).

    OpenSSL never sees the socket, but is fed with READ_SIZE at most between two looks at the clock: on a socket it
    would read on for ever where a server sends what it passes over, such as session tickets.
    """

    def __init__(
        self,
        outer: "Stream | TLSStream",
        context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._outer = outer
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._buffer = memoryview(bytearray(READ_SIZE))
        try:
            self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=server_hostname)
            with deadline(timeout):
                self._exchanging(self._tls.do_handshake)
        except httpcore.TimeoutException as error:
            self.close()
            raise httpcore.ConnectTimeout(*error.args) from error
        except httpcore.NetworkError as error:
            self.close()
            raise httpcore.ConnectError(*error.args) from error
        except (OSError, ValueError) as error:
            self.close()
            raise httpcore.ConnectError(error) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As Stream.read."""
        return bytes(self.receive(timeout))

    def receive(self, timeout: float | None = None) -> memoryview:
        """As Stream.receive."""
        filled = 0
        with deadline(timeout):
            try:
                filled = count = self._exchanging(partial(self._decrypt, self._buffer))
                while count and filled < READ_SIZE:
                    count = self._decrypt(self._buffer[filled:])
                    filled += count
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
                pass
            except OSError as error:
                raise httpcore.ReadError(error) from error
        return self._buffer[:filled]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of it."""
        with deadline(timeout):
            try:
                while buffer:
                    buffer = buffer[self._exchanging(partial(self._tls.write, buffer)) :]
            except OSError as error:
                raise httpcore.WriteError(error) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "TLSStream":
        """As Stream.start_tls."""
        return TLSStream(self, ssl_context, server_hostname, timeout)

    def close(self) -> None:
        """Closes the connection."""
        self._outer.close()

    def get_extra_info(self, info: str) -> bool | str | None:
        """As Stream.get_extra_info."""
        if info == "is_readable" and (self._received.pending or self._tls.pending()):
            return True
        return self._outer.get_extra_info(info)

    def _decrypt(self, into: memoryview) -> int:
        return cast(int, self._tls.read(len(into), into))  # how many, where there is a buffer

    def _exchanging(self, operation: Callable[[], _T]) -> _T:
        """Repeats an operation until it has what it needs from the other side."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                with suppress(httpcore.WriteError):  # what the other side said before it hung up tells more
                    self._send()
                data = self._outer.receive()
                if data:
                    self._received.write(data)
                else:
                    self._received.write_eof()
            except ssl.SSLError:
                with suppress(httpcore.NetworkError, httpcore.TimeoutException):
                    self._send()  # the alert that tells the other side why
                raise
            else:
                self._send()
                return result

    def _send(self) -> None:
        data = self._to_send.read()
        if data:
            self._outer.write(data)


def _connect(connection: socket.socket, address: Any, watch: Callable[[socket.socket], object]) -> socket.socket:
    try:
        watch(connection)
        seconds = _time_left()
        if not seconds:
            raise TimeoutError
        connection.settimeout(None if seconds == math.inf else seconds)
        connection.connect(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_failure(error: Exception) -> Exception:
    return (httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError)(error)


def _wait(connection: socket.socket, event: int) -> None:
    if not _is_ready(connection, event, _time_left()):
        raise TimeoutError


def _is_ready(connection: socket.socket, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(None if seconds == math.inf else seconds * 1000))
