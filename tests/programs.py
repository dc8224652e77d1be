"""Programs that tests run: found, or the test fails and says how to install what is missing; and what runs now."""

import shutil
from pathlib import Path

import pytest

_PACKAGES = {
    "bsdtar": "libarchive-tools",
    "bzip2": "bzip2",
    "gzip": "gzip",
    "ip": "iproute2",
    "mount": "mount",
    "openssl": "openssl",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "umount": "mount",
    "unshare": "util-linux",
    "xz": "xz-utils",
    "zstd": "zstd",
}


def program(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: apt-get install {_PACKAGES[name]}")
    return path


def command_lines() -> list[bytes]:
    """Of all processes of this machine, the words with spaces between them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" "))
        except OSError:
            continue
    return found
