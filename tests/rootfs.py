"""A real root file system as an image archive, made once per machine.

`debian_tar()` runs debootstrap, which takes root, a Debian mirror and half a minute; where that can't be had, the
archive holds files of this machine instead, and stderr says so. It stays in a cache directory: remove that to
have it made anew. Environment: DEBIAN_SUITE (bookworm), XDG_CACHE_HOME.
"""

import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from acistore.naming import ImageName

NAME = "example.com/debian"
VERSION = "12.0.0"

_TIMEOUT = "900"
_MANIFEST_TIME = 1_400_000_000
_OWN_DIRECTORIES = ("etc", "usr/bin", "usr/lib")
_OWN_SIZE = 120 << 20


class _Unavailable(Exception):
    """No Debian can be made here; the text is the reason."""


def debian_tar() -> Path:
    """The image archive, uncompressed: `manifest`, then `rootfs` and what is in it, as GNU tar writes it."""
    suite = os.environ.get("DEBIAN_SUITE", "bookworm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acistore-tests"
    cache.mkdir(parents=True, exist_ok=True)
    debian, own = cache / f"debian-{suite}.tar", cache / "own-files.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for made in (debian, own):
            if made.exists():
                return made
        with tempfile.TemporaryDirectory(dir=cache) as work:
            image = Path(work) / "image"
            _write_manifest(image)
            try:
                _say(f"making a root file system with debootstrap, once: {debian}")
                _debootstrap(suite, image / "rootfs")
                result = debian
            except _Unavailable as reason:
                _say(f"files of this machine take the place of Debian ({reason}): {own}")
                copy_own_files(image / "rootfs")
                result = own
            _pack(image, Path(work) / "tar")
            (Path(work) / "tar").replace(result)
    return result


def _write_manifest(image: Path) -> None:
    """The image's directory, with the manifest and an empty rootfs in it."""
    labels = ImageName.parse(f"{NAME}:{VERSION}").for_this_machine().labels
    manifest = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": NAME,
        "labels": [{"name": name, "value": value} for name, value in labels.items()],
    }
    (image / "rootfs").mkdir(parents=True)
    (image / "rootfs").chmod(0o755)
    (image / "manifest").write_text(json.dumps(manifest))
    (image / "manifest").chmod(0o644)
    os.utime(image / "manifest", (_MANIFEST_TIME, _MANIFEST_TIME))


def _pack(image: Path, into: Path) -> None:
    """A tar that depends on nothing but the files."""
    command = ["tar", "--format=gnu", "--numeric-owner", "--sort=name", "-C", str(image)]
    subprocess.run([*command, "-cf", str(into), "manifest", "rootfs"], check=True)


def _debootstrap(suite: str, target: Path) -> None:
    """Debian's minimal system. In mounts of its own, so that none is left whatever happens."""
    if os.geteuid() != 0:
        raise _Unavailable("not root")
    if shutil.which("debootstrap") is None:
        raise _Unavailable("apt-get install debootstrap")
    command = ["timeout", _TIMEOUT, "unshare", "--mount", "debootstrap", "--variant=minbase"]
    done = subprocess.run(
        [*command, suite, str(target), _mirror(suite)],
        env={**os.environ, **_proxy(), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(target)
        target.mkdir()
        lines = done.stdout.decode(errors="replace").split("\n")
        raise _Unavailable(f"debootstrap: {next((line for line in reversed(lines) if line), 'failed')}")


def _mirror(suite: str) -> str:
    """The mirror that apt has the suite from, or else apt's first."""
    sources = [source for source in _apt_sources() if source[0].startswith(("http:", "https:", "file:"))]
    for uri, suites in sources:
        if suite in suites:
            return uri
    if not sources:
        raise _Unavailable("apt has no mirror")
    return sources[0][0]


def _apt_sources(apt: Path = Path("/etc/apt")) -> Iterator[tuple[str, list[str]]]:
    """URI and suites of every source of binary packages, in apt's order (sources.list(5))."""
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.exists():
            for line in path.read_text().splitlines():
                words = re.sub(r"\[.*?\]", " ", line.partition("#")[0]).split()
                if words[:1] == ["deb"]:
                    yield words[1], words[2:3]
        elif path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", path.read_text()):
                fields = _deb822(stanza)
                if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
                    for uri in fields["uris"]:
                        yield uri, fields["suites"]


def _deb822(stanza: str) -> dict[str, list[str]]:
    """The fields of a stanza, split into words."""
    fields: dict[str, list[str]] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith((" ", "\t")):
            fields[name] += line.split()
        else:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.split()
    return fields


def _proxy() -> dict[str, str]:
    """apt's proxy for debootstrap's wget, unless the environment has one."""
    if "http_proxy" in os.environ:
        return {}
    command = ["apt-config", "dump", "--format", "%v", "Acquire::http::Proxy"]
    proxy = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {"http_proxy": proxy} if proxy else {}


def copy_own_files(rootfs: Path, size: int = _OWN_SIZE) -> None:
    """Settings, programs and libraries of this machine that anybody may read, up to `size` bytes."""
    left = size
    for top in _OWN_DIRECTORIES:
        for directory, names, files in os.walk(Path("/") / top):
            names.sort()
            into = rootfs / Path(directory).relative_to("/")
            into.mkdir(parents=True, exist_ok=True)
            for file in sorted(files):
                source = Path(directory) / file
                status = source.lstat()
                public = stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH
                if (public or stat.S_ISLNK(status.st_mode)) and status.st_size <= left:
                    left -= status.st_size
                    shutil.copy2(source, into / file, follow_symlinks=False)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
