"""The files of TLS that a configuration names, and which of them are of no use."""

import os
from collections.abc import Callable
from pathlib import Path

from acistore.config.paths import unreadable
from tests.config.conftest import Load

Write = Callable[[str, str], Path]


def test_every_path_that_can_not_be_read_is_told_with_its_option_and_where_it_was_set(
    write: Write, load: Load, tmp_path: Path
) -> None:
    (tmp_path / "user/dir").mkdir(parents=True)
    os.mkfifo(tmp_path / "user/pipe")
    file = write(
        "user",
        """
        ca_file = "none.pem"
        [[hosts]]
        name = "a.com"
        ca_file = "acistore.toml"
        ca_directory = "none"
        client_certificate = "dir"
        client_key = "pipe"
        [[hosts]]
        name = "b.com"
        ca_directory = "dir"
        """,
    )
    here = file.parent
    problems = list(unreadable(load(ACISTORE_CA_DIRECTORY=str(file))))
    assert [(each.message, each.facts["set by"]) for each in problems] == [
        (f"ca_file: {here}/none.pem can't be read: No such file or directory", str(file)),
        (f"ca_directory: {file} can't be read: Not a directory", "ACISTORE_CA_DIRECTORY"),
        (f"hosts.ca_directory of a.com: {here}/none can't be read: No such file or directory", str(file)),
        (f"hosts.client_certificate of a.com: {here}/dir can't be read: Is a directory", str(file)),
        (f"hosts.client_key of a.com: {here}/pipe is not a file", str(file)),
    ]


def test_without_any_there_is_nothing_to_tell(load: Load) -> None:
    assert list(unreadable(load())) == []


def test_paths_of_a_file_have_no_detours(write: Write, load: Load, tmp_path: Path) -> None:
    write(
        "local", 'ca_file = "../ca.pem"\ndir = "./a/../../store"\n[[hosts]]\nname = "a"\nca_file = "../b/c.pem"\n'
    )
    config = load()
    assert (str(config.ca_file), str(config.dir)) == (f"{tmp_path}/ca.pem", f"{tmp_path}/store")
    assert str(config.hosts[0].ca_file) == f"{tmp_path}/b/c.pem"


def test_a_detour_behind_a_link_leads_where_the_system_would_go(write: Write, load: Load, tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    write("local", 'ca_file = "link/../ca.pem"\n')
    (tmp_path / "local/link").symlink_to(tmp_path / "far/away")
    assert load().ca_file == tmp_path / "far/ca.pem"
