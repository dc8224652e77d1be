"""Configuration directories of a test's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from acistore.config import PULL_POLICIES, Config

Load = Callable[..., Config]

# Of each kind of value: what the file has, what the variable, and what the flag.
WORDS = {
    "SIZE": ("1M", "2M", "3M"),
    "DURATION": ("7s", "8s", "9s"),
    "N": ("7", "8", "9"),
    "PATH": ("/file", "/variable", "/flag"),
    "LIST": ("http", "tls", "image"),
    "": ("yes", "no", "yes"),
    "|".join(PULL_POLICIES): ("new", "never", "update"),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes the file of a layer (system, local or user)."""

    def write(layer: str, content: str) -> Path:
        path = tmp_path / layer / "acistore.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    return write


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads what applies in these directories, with flags and variables of the test's."""

    def load(flags: Mapping[str, object] | None = None, **variables: str) -> Config:
        layers = {f"ACISTORE_{each.upper()}_CONFIG": str(tmp_path / each) for each in ("system", "local", "user")}
        return Config.load(flags, {**layers, **variables})

    return load
