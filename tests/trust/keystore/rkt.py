"""How rkt 1.30 loads trusted keys (pkg/keystore: loadKeyring, entityFromFile), said again without its code.

It walks `root.d` and, below `prefix.d`, the tree of the name's first component, the system's before the local ones
(it knows no user layer), each directory in the order of its names, files and directories mixed; links it does not
follow. Directories whose path is no beginning of the name's own are left out. An empty file takes away the key
that it is named after. Any other file has to be an armored keyring whose first key has the file's name as its
fingerprint in lower-case hex: else nothing at all is trusted. What lies beside `root.d` and `prefix.d` it never
looks at.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.gpg import KeyMaker


class RktRefuses(AssertionError):
    """rkt would fail for every image."""


def loaded_by_rkt(maker: KeyMaker, configuration: Iterable[Path], name: str) -> dict[str, Path]:
    """The keys that rkt trusts for a name, by fingerprint, and the files that they come from.

    `configuration` are rkt's directories, the system's first. Raises RktRefuses.
    """
    stores = [directory / "trustedkeys" for directory in configuration]
    first = name.split("/", maxsplit=1)[0]
    walks = [(store / "root.d", store / "root.d") for store in stores]
    walks += [(store / "prefix.d" / first, store / "prefix.d" / name) for store in stores]
    trusted: dict[str, Path] = {}
    for start, way in walks:
        for path in _walked(start, str(way)):
            if path.lstat().st_size == 0:
                trusted.pop(path.name, None)
            else:
                trusted[_fingerprint(maker, path)] = path
    return trusted


def check_whole_store(maker: KeyMaker, configuration: Iterable[Path]) -> None:
    """Whether rkt could load the keys for any name: no file is one that it stumbles over. Raises RktRefuses."""
    for directory in configuration:
        for place in ("root.d", "prefix.d"):
            for path in _walked(directory / "trustedkeys" / place, None):
                if path.lstat().st_size:
                    _fingerprint(maker, path)


def _walked(start: Path, way: str | None) -> Iterator[Path]:
    if not start.is_dir() or start.is_symlink():
        return
    for path in sorted(start.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if way is None or way.startswith(str(path)):
                yield from _walked(path, way)
        else:
            yield path


def _fingerprint(maker: KeyMaker, path: Path) -> str:
    content = path.read_bytes()
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" not in content:
        raise RktRefuses(f"{path} is no armored keyring")
    listing = maker.gpg("--show-keys", "--with-colons", str(path)).decode(errors="replace")
    found = [line.split(":")[9].lower() for line in listing.splitlines() if line.startswith("fpr:")]
    if found[:1] != [path.name]:
        raise RktRefuses(f"fingerprint mismatch: {path.name}: {found[:1]}")
    return found[0]
