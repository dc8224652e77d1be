"""`export`: the identical tar, whole or not at all."""

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

from acistore.store import Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import COMMAND, Run, at_terminal, environment
from tests.cli.test_keep import damage
from tests.images import image


def test_what_comes_out_is_what_went_in(run: Run, store: Store, tmp_path: Path) -> None:
    archive = image(files={"a": b"abc", "b": os.urandom(100_000)})
    add(store, archive)
    target = tmp_path / "app.aci"
    ran = run("export", "example.com/app", str(target))
    assert (ran.code, ran.out) == (0, "")
    assert target.read_bytes() == archive
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~_umask()


def test_export_in_json_names_image_and_file(run: Run, app: StoredImage, tmp_path: Path) -> None:
    document = run("--json", "export", str(app.id), str(tmp_path / "app.aci")).document
    assert (document["id"], document["file"]) == (str(app.id), str(tmp_path / "app.aci"))


def test_export_to_stdout_is_the_archive_and_nothing_else(app: StoredImage, store: Store) -> None:
    done = subprocess.run(
        [*COMMAND, "--json", "export", str(app.id), "-"], env=environment(), capture_output=True, check=True
    )
    assert done.stderr == b""
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames()[:2] == ["manifest", "rootfs"]
    assert len(done.stdout) == app.size


def test_an_existing_file_is_replaced_on_success_alone(run: Run, store: Store, tmp_path: Path) -> None:
    body = b"will be damaged" * 10
    add(store, image(files={"file": body}))
    target = tmp_path / "app.aci"
    target.write_text("older")
    damage(tmp_path / "store", body)
    ran = run("export", "example.com/app", str(target))
    assert ran.code == 6
    assert "acistore verify" in ran.err
    assert target.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.aci", "store"]


def test_a_link_stays_a_link(run: Run, app: StoredImage, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/app.aci").touch()
    link = tmp_path / "link"
    link.symlink_to("there/app.aci")
    run("export", str(app.id), str(link))
    assert link.is_symlink()
    assert (tmp_path / "there/app.aci").stat().st_size == app.size


def test_a_device_is_written_to_and_stays(run: Run, app: StoredImage) -> None:
    assert run("export", str(app.id), "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_file_that_cannot_be_written_is_named(run: Run, app: StoredImage, tmp_path: Path) -> None:
    for target, why in (
        (tmp_path / "none/app.aci", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("/dev/full"), "No space left on device"),
    ):
        error = run("-q", "--json", "export", str(app.id), str(target)).error
        assert (error["kind"], error["exit_code"]) == ("FileUnusable", 1)
        assert error["message"] == f"{target} can't be written: {why}"


def test_an_archive_is_not_written_to_a_terminal(app: StoredImage) -> None:
    for target in ("-", "/dev/stderr"):
        seen = at_terminal("export", str(app.id), target)
        assert seen.code == 2
        assert "an archive is nothing for a terminal" in seen.text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
