"""`verify`: is it all well, and if not, can it be mended?"""

import io
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from acistore.store import Store, StoredImage
from tests.cli.running import Run, at_terminal, spawn
from tests.images import image
from tests.store.damaging import flip, lose_database, rot

OWN, SHARED = b"app's own\n" * 300, b"shared with others\n" * 300
KEYS = {"ok", "images_checked", "bytes_checked", "damaged", "repaired", "not_admitted", "dropped", "lost"}
REVISIONS = Path(__file__).parents[1] / "store" / "revisions"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The file that the app comes from."""
    file = tmp_path / "app.aci"
    file.write_bytes(image(files={"etc/own": OWN, "etc/shared": SHARED}, labels={"version": "1.0"}))
    return file


@pytest.fixture
def app(run: Run, directory: Path, source: Path) -> StoredImage:
    """`example.com/app:1.0`, fetched from a file, and beside it `example.com/base`."""
    assert run("--insecure-options=image", "fetch", str(source)).code == 0
    with Store.open(directory) as store:
        app = store.list()[0]
        store.add(io.BytesIO(image("example.com/base", {"etc/base": b"base" * 500})))
    return app


# --- look


def test_a_sound_store(run: Run, app: StoredImage) -> None:
    ran = run("verify")
    assert (ran.code, ran.out) == (0, f"checked 2 images, {_size(run)}: no damage\n")
    assert re.fullmatch(r"verifying \(.* kB\)\n", ran.err)
    assert run("-q", "verify").err == ""


def _size(run: Run) -> str:
    return f"{sum(each['size'] for each in run('--json', 'list').document) / 1000:.1f} kB"


def test_one_image_alone(run: Run, app: StoredImage, directory: Path) -> None:
    rot(directory, b"base" * 500)
    document = run("--json", "verify", str(app.id), "example.com/app").document
    assert (document["ok"], document["images_checked"]) == (True, 1)
    assert run("verify", "example.com/base").code == 6


def test_an_image_that_is_not_there_is_not_found_and_the_others_are_checked(run: Run, app: StoredImage) -> None:
    ran = run("verify", "example.com/nothing", "example.com/app")
    assert ran.code == 3
    assert "checked 1 image" in ran.out


def test_damage_is_told_by_image_and_path(run: Run, app: StoredImage, directory: Path) -> None:
    pack = rot(directory, OWN)
    ran = run("verify")
    assert ran.code == 6
    assert ran.out.splitlines()[:5] == [
        "the store is damaged",
        f"  damage  pack {pack.name} is damaged at byte {pack.read_bytes().index(OWN[:90])}",
        "example.com/app:1.0 is damaged",
        f"  id        {app.id}",
        "  /etc/own  its body has another SHA-512",
    ]
    assert ran.err.splitlines()[1:] == [
        "acistore: 1 of 2 images in the store is damaged",
        f"  {app.id}  example.com/app:1.0",
        "  next  acistore verify --repair",
    ]


def test_damage_as_json(run: Run, app: StoredImage, directory: Path) -> None:
    rot(directory, OWN)
    ran = run("--json", "verify")
    assert ran.code == 6
    assert ran.document.keys() == KEYS
    assert not ran.document["ok"]
    assert {
        "id": str(app.id),
        "name": "example.com/app",
        "path": "/etc/own",
        "what": "its body has another SHA-512",
    } in ran.document["damaged"]
    assert (ran.error["kind"], ran.error["exit_code"]) == ("StoreDamaged", 6)
    assert ran.error["next"] == "acistore verify --repair"


@pytest.mark.parametrize("arguments", [("--repair", "example.com/app"), ("--yes",), ("--yes", "example.com/app")])
def test_repair_takes_no_images_and_yes_means_repair(run: Run, app: StoredImage, arguments: tuple[str]) -> None:
    ran = run("verify", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "next  acistore verify --repair" in ran.err


def test_where_there_is_no_store_none_is_made(run: Run, directory: Path) -> None:
    for arguments in (("verify",), ("verify", "--repair")):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert "there is no store" in ran.err
    assert not directory.exists()


# --- mend


def test_repair_of_a_sound_store_changes_nothing(run: Run, app: StoredImage) -> None:
    before = run("--json", "list").out
    document = run("--json", "verify", "--repair").document
    assert (document["ok"], document["repaired"], document["dropped"], document["lost"]) == (True, [], [], [])
    assert document.keys() == KEYS | {"dropped", "lost"}
    assert run("--json", "list").out == before


def test_repair_tells_what_was_mended(run: Run, app: StoredImage, directory: Path) -> None:
    rot(directory, OWN)
    ran = run("verify", "--repair")
    assert (ran.code, ran.out.splitlines()[0]) == (0, f"mended example.com/app:1.0 {app.id}")
    assert "mending example.com/app:1.0" in ran.err
    rot(directory, OWN)
    assert run("--json", "verify", "--repair").document["repaired"] == [str(app.id)]
    assert run("verify").code == 0


def test_without_consent_nothing_is_dropped(run: Run, app: StoredImage, directory: Path, source: Path) -> None:
    source.unlink()
    rot(directory, OWN)
    ran = run("verify", "--repair")
    assert ran.code == 6
    assert "example.com/app:1.0 is damaged" in ran.out
    assert ran.err.splitlines()[-1].split() == ["next", "acistore", "verify", "--repair", "--yes"]
    assert re.search(r"  dropped +nothing", ran.err)
    assert len(run("--json", "list").document) == 2
    ran = run("verify", "--repair", "--yes")
    assert (ran.code, ran.out.splitlines()[0]) == (0, f"dropped example.com/app:1.0 {app.id}")
    assert [each["name"] for each in run("--json", "list").document] == ["example.com/base"]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 1), ("n", 6, 2)])
def test_the_person_at_the_terminal_is_asked(
    run: Run, app: StoredImage, directory: Path, source: Path, answer: str, code: int, left: int
) -> None:
    source.unlink()
    rot(directory, OWN)
    seen = at_terminal("verify", "--repair", answers={"Drop them? [y/N]": f"{answer}\n"})
    assert seen.code == code
    assert "these images can't be mended:" in seen.text
    assert str(app.id) in seen.text
    assert len(run("--json", "list").document) == left


def test_a_terminal_sees_one_live_line(app: StoredImage) -> None:
    seen = at_terminal("verify", stdout_too=False)
    assert (seen.code, seen.out[:15]) == (0, "checked 2 image")
    assert seen.screen.startswith("\x1b[?25l")
    assert "verifying" in seen.text
    assert seen.screen.count("\n") <= 1  # and that line is taken away in the end


def test_a_lost_database_is_damage_and_made_again(run: Run, app: StoredImage, directory: Path) -> None:
    with Store.open(directory) as store:
        store.pin(app)
    lose_database(directory)
    for command in ("list", "verify"):
        ran = run(command)
        assert (ran.code, ran.out) == (6, "")
        assert "next   acistore verify --repair" in ran.err
    ran = run("verify", "--repair")
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "made the database again from the packs: 2 images",
        "  lost        pins and last use (it is now), where the old database doesn't tell",
        "  back again  images that were removed, if gc has not freed them yet",
    ]
    assert {each["name"] for each in run("--json", "list").document} == {"example.com/app", "example.com/base"}


def test_a_damaged_database_is_put_aside_and_its_pins_are_kept(
    run: Run, app: StoredImage, directory: Path
) -> None:
    with Store.open(directory) as store:
        store.pin(app)
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE label SET value = '1.1'")
    assert run("verify").code == 6
    ran = run("verify", "--repair")
    assert ran.code == 0
    [aside] = directory.glob("acistore.db.damaged-*Z")
    assert ran.out.splitlines()[:2] == [
        "made the database again from the packs: 2 images",
        f"  old database  {aside}",
    ]
    assert [each["name"] for each in run("--json", "list").document if each["pinned"]] == ["example.com/app"]


def test_a_pack_that_tells_nothing_of_itself_any_more_is_named(
    run: Run, app: StoredImage, directory: Path, source: Path
) -> None:
    source.unlink()
    pack = rot(directory, OWN)
    flip(pack, pack.stat().st_size - 1)
    lose_database(directory)
    ran = run("verify", "--repair")
    assert ran.code == 6  # nothing is left that could tell of the image but the pack's name
    assert f"  can't be read  pack {pack.name}" in ran.out
    assert "acistore: the store is sound again, but 1 pack can't be read: images may be missing" in ran.err
    assert run("verify").code == 0


def test_an_image_of_the_old_database_alone_is_named(
    run: Run, app: StoredImage, directory: Path, source: Path
) -> None:
    source.unlink()
    rot(directory, OWN).unlink()
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE sqlite_sequence SET seq = 0")
    ran = run("verify", "--repair")
    assert ran.code == 6
    assert ran.err.splitlines()[-3:] == [
        "acistore: the store is sound again, but 1 image could not be brought back",
        f"  {app.id}  example.com/app:1.0",
        "  next  acistore fetch example.com/app:1.0",
    ]
    assert run("verify").code == 0


def test_a_store_of_an_older_schema_is_upgraded_and_mended(run: Run, tmp_path: Path, directory: Path) -> None:
    archive = tmp_path / "older"
    archive.mkdir()
    subprocess.run(["tar", "-xJf", REVISIONS / "0001.tar.xz", "-C", archive], check=True)
    shutil.move(archive / "store", directory)
    # The largest one is of an image that was removed.
    [*_, pack, _dead] = sorted((directory / "packs").iterdir(), key=lambda path: path.stat().st_size)
    flip(pack, pack.stat().st_size - 100)
    assert run("verify").code == 6
    ran = run("verify", "--repair")
    assert (ran.code, ran.out.splitlines()[-1].split(": ")[-1]) == (0, "no damage")
    assert not pack.exists()


def test_a_newer_store_is_refused(run: Run, app: StoredImage, directory: Path) -> None:
    with closing(sqlite3.connect(directory / "acistore.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    ran = run("--json", "verify", "--repair", "--yes")
    assert (ran.code, ran.error["kind"], ran.error["next"]) == (1, "StoreTooNew", "upgrade acistore")


def test_repair_in_a_pipe_is_plain_lines(app: StoredImage, directory: Path) -> None:
    rot(directory, OWN)
    ran = spawn("verify", "--repair")
    assert ran.code == 0
    assert "\x1b" not in ran.err + ran.out
    assert [line.split(" (")[0] for line in ran.err.splitlines()] == [
        "verifying",
        "verifying",
        "mending example.com/app:1.0",
        "verifying",
    ]
