"""Runs a job in a forked process and is asked about each system call by which it changes a file.

The process that forks must have no other threads. Protocol: seccomp_unotify(2).
"""

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.faults.syscalls import BY_NUMBER, NotSupported, Place, SystemCall, hand_over_changes

# What is decided about a call: it runs, the process is killed before it, or an errno is its answer.
RUN, KILL = 0, -1

# The path that a recorded report has.
REPORT = "<report>"

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_CONTINUE = 1
_AT_FDCWD = -100
_PAGE = 4096

Report = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Call:
    """A system call about to be made. Paths are relative to the watched directory, which is `.` itself."""

    name: str
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.paths)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended. `status` is os.waitstatus_to_exitcode's; `hung`: it took longer than allowed."""

    status: int
    reports: list[Any] = field(default_factory=list)
    hung: bool = False


def in_fork(job: Callable[[Report], None], *, seconds: float = 60) -> Ended:
    """Runs a job in a forked process and returns what it reported."""
    return _run(job, None, seconds)


def under_watch(
    job: Callable[[Report], None],
    watched: Path,
    decide: Callable[[Call], int],
    *,
    seconds: float = 60,
) -> Ended:
    """Runs a job in a forked process; `decide` answers for each call that changes something in `watched`, and is
    told of each report too (a write to REPORT, whose answer is ignored). Raises NotSupported."""
    return _run(job, _Watch(str(watched.resolve()), decide), seconds)


def _run(job: Callable[[Report], None], watch: "_Watch | None", seconds: float) -> Ended:
    with ExitStack() as stack:
        reading, writing = os.pipe()
        reports = stack.enter_context(open(reading, "rb"))
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        process = os.fork()
        if process == 0:
            ours.close()
            os.close(reading)
            _be_the_child(job, writing, theirs if watch else None)
        theirs.close()
        os.close(writing)
        pidfd = os.pidfd_open(process)
        stack.callback(os.close, pidfd)
        try:
            hung = _supervise(pidfd, watch, _listener(ours, stack), seconds) if watch else _wait(pidfd, seconds)
        except BaseException:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            raise
        finally:
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        lines = reports.read().splitlines(keepends=True)
        return Ended(status, [json.loads(line) for line in lines if line.endswith(b"\n")], hung)


def _be_the_child(job: Callable[[Report], None], writing: int, channel: socket.socket | None) -> NoReturn:
    def report(value: Any) -> None:
        os.write(writing, json.dumps(value).encode() + b"\n")

    status = 1
    try:
        if channel:
            try:
                listener = hand_over_changes()
            except NotSupported as error:
                channel.send(str(error).encode())
                os._exit(1)
            socket.send_fds(channel, [b"%d" % os.fstat(writing).st_ino], [listener])
            os.close(listener)
            channel.close()
        job(report)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may return into what was forked
        traceback.print_exc()
    finally:
        os._exit(status)


def _listener(channel: socket.socket, stack: ExitStack) -> tuple[int, int]:
    """The descriptor through which calls are answered, and the inode of the pipe for reports."""
    said, descriptors, _flags, _address = socket.recv_fds(channel, 1000, 1)
    if not descriptors:
        raise NotSupported(said.decode() or "the process under watch ended before it began")
    stack.callback(os.close, descriptors[0])
    return descriptors[0], int(said)


def _wait(pidfd: int, seconds: float) -> bool:
    """Waits for a process to end; true when it had to be killed after so many seconds."""
    if select.select([pidfd], [], [], seconds)[0]:
        return False
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    return True


def _supervise(pidfd: int, watch: "_Watch", listener: tuple[int, int], seconds: float) -> bool:
    """Answers calls until the process has ended; true when it had to be killed after so many seconds."""
    calls, watch.pipe = listener[0], f"pipe:[{listener[1]}]"
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(calls, select.POLLIN)
    end = time.monotonic() + seconds
    while True:
        ready = dict(poll.poll(max(0, end - time.monotonic()) * 1000))
        if not ready:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return True
        if ready.get(calls, 0) & select.POLLIN:
            _answer(calls, pidfd, watch)
        elif pidfd in ready:
            return False
        else:  # nobody is left who could call
            poll.unregister(calls)


def _answer(calls: int, pidfd: int, watch: "_Watch") -> None:
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(calls, _RECEIVE, buffer)
        number, thread, _flags, call, _architecture, _pointer, *arguments = _NOTIFICATION.unpack(buffer)
        decision = watch.decision(thread, BY_NUMBER[call], arguments)
        if decision == KILL:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        elif decision == RUN:
            fcntl.ioctl(calls, _SEND, _ANSWER.pack(number, 0, 0, _CONTINUE))
        else:
            fcntl.ioctl(calls, _SEND, _ANSWER.pack(number, 0, -decision, 0))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EIO):  # the process has ended meanwhile
            raise


class _Watch:
    """Which calls concern the watched directory, and what is decided about them."""

    def __init__(self, watched: str, decide: Callable[[Call], int]) -> None:
        self.pipe = ""
        self._watched = watched
        self._inside = f"{watched}/"
        self._decide = decide

    def decision(self, thread: int, call: SystemCall, arguments: list[int]) -> int:
        if call.mapped:
            paths = [_mapped(thread, arguments[0])]
        else:
            paths = [_path(thread, place, arguments) for place in call.places]
        if paths == [self.pipe]:
            self._decide(Call(call.name, (REPORT,)))
            return RUN
        if not any(path == self._watched or path.startswith(self._inside) for path in paths):
            return RUN
        return self._decide(Call(call.name, tuple(os.path.relpath(path, self._watched) for path in paths)))


def _path(thread: int, place: Place, arguments: list[int]) -> str:
    """The absolute path of what a call is about."""
    descriptor, path = place
    if path is None:
        assert descriptor is not None
        return _opened(thread, arguments[descriptor])
    text = _string(thread, arguments[path])
    if text.startswith("/"):
        return os.path.normpath(text)
    if descriptor is None or _signed(arguments[descriptor]) == _AT_FDCWD:
        start = str(Path(f"/proc/{thread}/cwd").readlink())
    else:
        start = _opened(thread, arguments[descriptor])
    return os.path.normpath(f"{start}/{text}") if text else start


def _opened(thread: int, descriptor: int) -> str:
    try:
        return str(Path(f"/proc/{thread}/fd/{_signed(descriptor)}").readlink()).removesuffix(" (deleted)")
    except FileNotFoundError:
        return ""  # not an open descriptor: the call fails by itself


def _signed(argument: int) -> int:
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def _string(thread: int, address: int) -> str:
    """A string in the memory of a process."""
    data = b""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        while b"\0" not in data:
            memory.seek(address)
            piece = memory.read(_PAGE - address % _PAGE)
            if not piece:
                break
            data += piece
            address += len(piece)
    return os.fsdecode(data.partition(b"\0")[0])


def _mapped(thread: int, address: int) -> str:
    """The file that is mapped at an address."""
    for line in Path(f"/proc/{thread}/maps").read_text().splitlines():
        area, *rest = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in area.split("-"))
        if start <= address < end:
            return rest[4] if len(rest) > 4 else ""
    return ""
