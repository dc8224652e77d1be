"""`files`, `cat`, `diff`, `which`: what is inside of images, for people and for scripts."""

import hashlib
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from acistore.store import Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import COMMAND, Run, at_terminal, environment, spawn
from tests.cli.test_completion import completed
from tests.cli.test_keep import damage
from tests.images import entry, image, manifest, tar
from tests.rootfs import debian_tar

FILES_KEYS = {"path", "type", "mode", "uid", "gid", "size", "mtime", "digest", "target"}


def digest(body: bytes) -> str:
    return f"sha512-{hashlib.sha512(body).hexdigest()}"


@pytest.fixture
def mixed(store: Store) -> StoredImage:
    """An image with a file of each kind, by names that a terminal should not see as they are."""
    device = entry("rootfs/dev", kind=tarfile.BLKTYPE)
    device[0].devmajor, device[0].devminor = 7, 300
    exact = entry("rootfs/exact", b"12345")
    exact[0].pax_headers = {"mtime": "1400000000.120000000"}
    exact[0].uid, exact[0].mode = 1000, 0o4755
    return add(
        store,
        tar(
            [
                entry("manifest", manifest()),
                entry("rootfs", kind=tarfile.DIRTYPE),
                exact,
                entry("rootfs/hard", kind=tarfile.LNKTYPE, target="rootfs/exact"),
                entry("rootfs/soft", kind=tarfile.SYMTYPE, target="exact\x1b[2J"),
                entry(b"rootfs/caf\xe9".decode(errors="surrogateescape"), b"coffee"),
                device,
            ],
            format=tarfile.PAX_FORMAT,
        ),
    )


# --- files


def test_files_in_json_have_the_keys_of_the_contract(run: Run, mixed: StoredImage) -> None:
    found = {each["path"]: each for each in run("--json", "files", "example.com/app").document}
    assert list(found) == ["/", "/caf\udce9", "/dev", "/exact", "/hard", "/soft"]
    assert all(set(each) >= FILES_KEYS for each in found.values())
    assert found["/exact"] == {
        "path": "/exact",
        "type": "file",
        "mode": 0o4755,
        "uid": 1000,
        "gid": 0,
        "size": 5,
        "mtime": "2014-05-13T16:53:20.12Z",
        "digest": digest(b"12345"),
        "target": None,
        "device": None,
    }
    assert (found["/"]["type"], found["/"]["mtime"]) == ("dir", "2014-05-13T16:53:20Z")
    assert (found["/hard"]["type"], found["/hard"]["target"], found["/hard"]["digest"]) == (
        "hardlink",
        "/exact",
        None,
    )
    assert found["/soft"]["target"] == "exact\x1b[2J"
    assert found["/dev"]["device"] == [7, 300]


def test_files_read_like_those_of_ls(run: Run, mixed: StoredImage) -> None:
    ran = run("files", str(mixed.id)[:20])
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "drwxr-xr-x  0/0         0  2014-05-13 16:53:20  /",
        "-rw-r--r--  0/0         6  2014-05-13 16:53:20  /caf\\udce9",
        "brw-r--r--  0/0     7,300  2014-05-13 16:53:20  /dev",
        "-rwsr-xr-x  1000/0      5  2014-05-13 16:53:20  /exact",
        "hrw-r--r--  0/0         0  2014-05-13 16:53:20  /hard link to /exact",
        "lrw-r--r--  0/0         0  2014-05-13 16:53:20  /soft -> exact\\x1b[2J",
    ]


def test_files_fit_a_terminal(store: Store) -> None:
    add(store, image(files={"a" * 90: b"x"}))
    lines = at_terminal("files", "example.com/app", COLUMNS="60").text.splitlines()
    assert len(lines) == 2
    assert len(lines[1]) == 60
    assert lines[1].endswith("a…")


def test_times_are_told_from_the_first_year_to_the_last(run: Run, store: Store) -> None:
    members = [entry("manifest", manifest()), entry("rootfs", kind=tarfile.DIRTYPE)]
    for name, time in (("a", "-62135596800"), ("b", "253402300799.999999999"), ("c", "-0.5")):
        member = entry(f"rootfs/{name}")
        member[0].pax_headers = {"mtime": time}
        members.append(member)
    add(store, tar(members, format=tarfile.PAX_FORMAT))
    assert [each["mtime"] for each in run("--json", "files", "example.com/app").document[1:]] == [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "1969-12-31T23:59:59.5Z",
    ]
    assert "0001-01-01 00:00:00  /a" in run("files", "example.com/app").out


# --- cat


def printed(*arguments: str | bytes) -> bytes:
    call = subprocess.run([*COMMAND, "cat", *arguments], env=environment(), capture_output=True, check=False)
    assert (call.returncode, call.stderr) == (0, b"")
    return call.stdout


def test_cat_prints_bytes_and_nothing_else(mixed: StoredImage, store: Store) -> None:
    body = os.urandom(3_000_000)
    add(store, image("example.com/big", {"a/body": body}))
    assert printed("example.com/big", "a/body") == body
    assert printed("--json", "example.com/app", "/hard") == b"12345"
    assert printed("example.com/app", b"/caf\xe9") == b"coffee"


def test_cat_says_what_there_is_not(run: Run, mixed: StoredImage) -> None:
    error = run("--json", "cat", "example.com/app", "/none").error
    assert (error["kind"], error["exit_code"]) == ("PathNotFound", 3)
    assert error["facts"] == {"image": "example.com/app"}
    assert error["next"] == f"acistore files {mixed.id}"
    assert run("cat", "example.com/none", "/a").code == 3
    error = run("--json", "cat", "example.com/app", "/").error
    assert (error["kind"], error["exit_code"]) == ("FileUnusable", 1)
    ran = run("cat", "example.com/app", "/soft")
    assert ran.code == 3
    assert "leads to  /exact\\x1b[2J" in ran.err


def test_what_is_damaged_does_not_come_out(store: Store, tmp_path: Path) -> None:
    body = b"will be damaged" * 10
    add(store, image(files={"a": body}))
    damage(tmp_path / "store", body)
    ran = spawn("cat", "example.com/app", "/a")
    assert (ran.code, ran.out) == (6, "")
    assert "next  acistore verify sha512-" in ran.err


def test_a_terminal_is_not_told_what_to_do(store: Store) -> None:
    add(store, image(files={"a": "a\tb\nGröße\x1b[2J\r\x9b".encode() + b"\xff"}))
    seen = at_terminal("cat", "example.com/app", "a")
    assert seen.code == 0
    assert seen.screen.replace("\r\n", "\n") == "a\tb\nGröße\\x1b[2J\\r\\x9b\\udcff"


# --- diff


@pytest.fixture
def versions(store: Store) -> tuple[str, str]:
    def version(number: str, *members: tuple[tarfile.TarInfo, bytes]) -> str:
        described = entry("manifest", manifest(labels={"version": number}))
        return str(add(store, tar([described, entry("rootfs", kind=tarfile.DIRTYPE), *members])).id)

    changed = entry("rootfs/c", b"2")
    changed[0].mode = 0o600
    return (
        version("1", entry("rootfs/a"), entry("rootfs/c", b"1"), entry("rootfs/same", b"x")),
        version("2", entry("rootfs/b\x1b"), changed, entry("rootfs/same", b"x")),
    )


def test_diff_is_a_line_for_each_change(run: Run, versions: tuple[str, str]) -> None:
    ran = run("diff", "example.com/app:1", "example.com/app:2")
    assert (ran.code, ran.out, ran.err) == (0, "- /a\n+ /b\\x1b\n~ /c  content, mode\n", "")
    assert run("diff", *reversed(versions)).out == "+ /a\n- /b\\x1b\n~ /c  content, mode\n"


def test_diff_in_json_has_the_keys_of_the_contract(run: Run, versions: tuple[str, str]) -> None:
    assert run("--json", "diff", *versions).document == [
        {"path": "/a", "change": "removed", "what": []},
        {"path": "/b\x1b", "change": "added", "what": []},
        {"path": "/c", "change": "changed", "what": ["content", "mode"]},
    ]


def test_the_exit_code_of_diff_says_whether_there_is_one(run: Run, versions: tuple[str, str]) -> None:
    first, second = versions
    assert run("diff", "--exit-code", first, second).code == 1
    assert run("--json", "diff", "--exit-code", first, second).code == 1
    same = run("diff", "--exit-code", first, first)
    assert (same.code, same.out) == (0, "")
    assert run("--json", "diff", first, first).document == []
    assert run("diff", "--exit-code", first, "example.com/none").code == 3


# --- which


def test_which_names_the_images_that_hold_a_path(run: Run, store: Store, app: StoredImage) -> None:
    other = add(store, image("example.com/other", {"etc/app.conf": b"x"}))
    found = run("which", "etc/app.conf").out.splitlines()
    assert [line.split() for line in found] == [
        [str(other.id), "example.com/other", "/etc/app.conf"],
        [str(app.id), str(app.image_name), "/etc/app.conf"],
    ]
    seen = at_terminal("which", "etc/app.conf", COLUMNS="40").text.splitlines()
    assert seen[0].startswith(f"{str(other.id)[:19]}  example.com/other")
    assert {len(line) for line in seen} == {40}


def test_which_in_json_has_the_keys_of_the_contract(run: Run, app: StoredImage) -> None:
    wanted = digest(b"answer = 42\n" * 100)
    hit = {
        "id": str(app.id),
        "name": "example.com/app",
        "labels": {"version": "1.0", "os": "linux", "arch": "amd64"},
        "path": "/etc/app.conf",
        "digest": wanted,
    }
    assert run("--json", "which", wanted).document == [hit]
    assert run("--json", "which", "/etc/app.conf").document == [hit]
    assert run("--json", "which", "/").document == [hit | {"path": "/", "digest": None}]


def test_which_without_a_hit_is_not_found(run: Run, app: StoredImage) -> None:
    for wanted in ("/none", "sha512-" + "0" * 128):
        ran = run("--json", "which", wanted)
        assert (ran.code, ran.out) == (3, "")
        assert ran.error["kind"] == "PathNotFound"
    ran = run("which", "sha512-12")
    assert ran.code == 2
    assert ran.err.startswith("acistore: 'sha512-12' is not a digest: sha512- and 128 hex digits\n")


# --- all of them


def test_they_stand_in_the_group_and_order_of_the_contract(run: Run) -> None:
    (group,) = re.findall(r"^Look:\n((?:  .*\n)+)", run("--help").out, re.MULTILINE)
    names = [line.split()[0] for line in group.splitlines()]
    assert [name for name in names if name in {"list", "show", "files", "cat", "diff", "which"}] == [
        *("list", "show", "files", "cat", "diff", "which"),
    ]
    for command, usage in (("files", "IMAGE"), ("cat", "IMAGE PATH"), ("diff", "A B"), ("which", "PATH|DIGEST")):
        shown = run(command, "--help").out
        assert f"Usage: acistore {command} [OPTIONS] {usage}\n" in shown
        assert f"\n    acistore {command} " in shown


def test_their_images_are_completed(app: StoredImage) -> None:
    for line in ("files ex", "cat ex", "diff ex", "diff example.com/app ex"):
        assert completed(f"acistore {line}") == ["example.com/app", "example.com/app:1.0"], line


def test_they_make_no_store(run: Run, tmp_path: Path) -> None:
    for arguments in (["files", "a.b/c"], ["cat", "a.b/c", "/x"], ["diff", "a.b/c", "a.b/d"], ["which", "/x"]):
        assert run(*arguments).code == 3
    assert not (tmp_path / "store").exists()


def test_a_debian_image_is_looked_into(run: Run, store: Store) -> None:
    with debian_tar().open("rb") as file:
        added = store.add(file)
    listed = run("--json", "files", str(added.id)).document
    assert len(listed) == store.file_count(added) - 1
    assert b"NAME=" in printed(str(added.id), "/etc/os-release")
    shared = next(each for each in listed if each["type"] == "file" and each["size"] > 100_000)
    hits = run("--json", "which", shared["digest"]).document
    assert shared["path"] in [hit["path"] for hit in hits]
