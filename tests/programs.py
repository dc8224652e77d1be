"""Programs that tests run: found, or the test fails and says how to install what is missing."""

import shutil

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
