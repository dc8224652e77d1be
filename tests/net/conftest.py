"""Fixtures of the network room."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from acistore.store.spool import Spool, SpoolFile
from acistore.store.workspace import Workspace
from tests.fileserver import File
from tests.net.auth import Places, made
from tests.net.downloads import Serve, Served


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Where credentials are read from in this test."""
    return made(tmp_path, monkeypatch)


@pytest.fixture
def localhost(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost")


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[Callable[[str], SpoolFile]]:
    """Makes the spool file for a URL, which is empty."""
    workspace = Workspace(tmp_path / "store")
    workspace.create()
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(Spool(workspace).file(url, waiting=pytest.fail))


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, direct: None) -> Serve:
    """Serves a file, and makes somebody who downloads it."""
    certificate = authority.issue_cert("localhost")

    def make(file: File) -> Served:
        return Served(tmp_path_factory.mktemp("store"), certificate, file)

    return make
