"""The system calls that change files: their numbers, where their arguments name files, and a filter for them.

Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux. What is
written through a shared mapping (SQLite's -shm file, which no recovery reads) is not seen.
"""

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

# (argument with the descriptor, None: the working directory; argument with the path, None: the descriptor's file)
Place = tuple[int | None, int | None]
_FILE: tuple[Place, ...] = ((0, None),)
_PATH: tuple[Place, ...] = ((None, 0),)
_AT: tuple[Place, ...] = ((0, 1),)


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One system call. `flags` is the argument with open's flags, for calls that only matter with some of them;
    `mapped` says that the first argument is an address in a mapping of the file."""

    name: str
    x86_64: int | None
    aarch64: int | None
    places: tuple[Place, ...]
    flags: int | None = None
    mapped: bool = False


_CALLS = (
    SystemCall("open", 2, None, _PATH, flags=1),
    SystemCall("creat", 85, None, _PATH),
    SystemCall("openat", 257, 56, _AT, flags=2),
    SystemCall("openat2", 437, 437, _AT),
    SystemCall("write", 1, 64, _FILE),
    SystemCall("writev", 20, 66, _FILE),
    SystemCall("pwrite64", 18, 68, _FILE),
    SystemCall("pwritev", 296, 70, _FILE),
    SystemCall("pwritev2", 328, 287, _FILE),
    SystemCall("sendfile", 40, 71, _FILE),
    SystemCall("copy_file_range", 326, 285, ((2, None),)),
    SystemCall("splice", 275, 76, ((2, None),)),
    SystemCall("fsync", 74, 82, _FILE),
    SystemCall("fdatasync", 75, 83, _FILE),
    SystemCall("sync_file_range", 277, 84, _FILE),
    SystemCall("syncfs", 306, 267, _FILE),
    SystemCall("msync", 26, 227, (), mapped=True),
    SystemCall("truncate", 76, 45, _PATH),
    SystemCall("ftruncate", 77, 46, _FILE),
    SystemCall("fallocate", 285, 47, _FILE),
    SystemCall("rename", 82, None, ((None, 0), (None, 1))),
    SystemCall("renameat", 264, 38, ((0, 1), (2, 3))),
    SystemCall("renameat2", 316, 276, ((0, 1), (2, 3))),
    SystemCall("unlink", 87, None, _PATH),
    SystemCall("unlinkat", 263, 35, _AT),
    SystemCall("rmdir", 84, None, _PATH),
    SystemCall("mkdir", 83, None, _PATH),
    SystemCall("mkdirat", 258, 34, _AT),
    SystemCall("link", 86, None, ((None, 0), (None, 1))),
    SystemCall("linkat", 265, 37, ((0, 1), (2, 3))),
    SystemCall("symlink", 88, None, ((None, 1),)),
    SystemCall("symlinkat", 266, 36, ((1, 2),)),
    SystemCall("chmod", 90, None, _PATH),
    SystemCall("fchmod", 91, 52, _FILE),
    SystemCall("fchmodat", 268, 53, _AT),
    SystemCall("fchmodat2", 452, 452, _AT),
    SystemCall("chown", 92, None, _PATH),
    SystemCall("lchown", 94, None, _PATH),
    SystemCall("fchown", 93, 55, _FILE),
    SystemCall("fchownat", 260, 54, _AT),
    SystemCall("utimensat", 280, 88, _AT),
    SystemCall("setxattr", 188, 5, _PATH),
    SystemCall("lsetxattr", 189, 6, _PATH),
    SystemCall("fsetxattr", 190, 7, _FILE),
)

MACHINE = platform.machine()
BY_NUMBER = {number: call for call in _CALLS if (number := getattr(call, MACHINE, None)) is not None}

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
_KILL_PROCESS, _USER_NOTIF, _ALLOW = 0x80000000, 0x7FC00000, 0x7FFF0000

# An open with one of these makes or changes a file, or means to.
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# linux/filter.h: BPF on struct seccomp_data (number at 0, architecture at 4, arguments of 8 bytes from 16).
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06


class NotSupported(Exception):
    """System calls can't be handed to another process here."""


def hand_over_changes() -> int:
    """From now on, every file-changing call of this process and its threads waits for an answer through the
    descriptor returned. Raises NotSupported."""
    if MACHINE not in _ARCHITECTURES:
        raise NotSupported(f"fault injection knows the system calls of x86_64 and aarch64, not of {MACHINE}")
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(_program())
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    flags = _SECCOMP_FILTER_FLAG_NEW_LISTENER
    listener: int = libc.syscall(_SECCOMP[MACHINE], _SECCOMP_SET_MODE_FILTER, flags, program)
    if listener < 0:
        raise NotSupported(
            "fault injection needs seccomp user notification (Linux 5.5 or later, not forbidden by the container"
            f" that this runs in): {os.strerror(ctypes.get_errno())}"
        )
    return listener


def _program() -> list[bytes]:
    """The filter: calls of another architecture end the process, changes are handed over, the rest runs."""
    code = [
        _instruction(_LOAD, 4),
        _instruction(_IF_EQUAL, _ARCHITECTURES[MACHINE], then=1),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, 0),
    ]
    for number, call in BY_NUMBER.items():
        if call.flags is None:
            code += [_instruction(_IF_EQUAL, number, otherwise=1), _instruction(_RETURN, _USER_NOTIF)]
        else:
            code += [
                _instruction(_IF_EQUAL, number, otherwise=4),
                _instruction(_LOAD, 16 + 8 * call.flags),
                _instruction(_IF_ANY_BIT, _CHANGING, otherwise=1),
                _instruction(_RETURN, _USER_NOTIF),
                _instruction(_RETURN, _ALLOW),
            ]
    return [*code, _instruction(_RETURN, _ALLOW)]


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
