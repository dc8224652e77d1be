"""`rm`, `gc` and `verify`: what goes, what stays, whether all is well."""

from pathlib import Path

import pytest

from acistore.cli.output import size
from acistore.store import Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import Run
from tests.images import image


@pytest.fixture
def base(store: Store) -> StoredImage:
    return add(store, image("example.com/base"))


@pytest.fixture
def user(store: Store, base: StoredImage) -> StoredImage:
    """An image that needs the base."""
    return add(store, image("example.com/user", dependencies=[{"imageName": "example.com/base"}]))


def damage(directory: Path, body: bytes) -> None:
    """Changes one byte of a body, wherever the store keeps it."""
    for pack in (directory / "packs").iterdir():
        content = pack.read_bytes()
        if body in content:
            pack.chmod(0o644)
            pack.write_bytes(content.replace(body, bytes([body[0] ^ 1]) + body[1:]))


# --- rm


def test_rm_prints_the_ids_and_says_what_the_next_gc_frees(run: Run, store: Store, app: StoredImage) -> None:
    ran = run("rm", "example.com/app:1.0")
    assert (ran.code, ran.out) == (0, f"{app.id}\n")
    assert ran.err.startswith("removed example.com/app:1.0,arch=amd64,os=linux; the next acistore gc frees ")
    assert store.list() == []


def test_rm_in_json(run: Run, app: StoredImage) -> None:
    document = run("--json", "rm", str(app.id)[:20]).document
    assert document["removed"] == [{"id": str(app.id), "name": "example.com/app"}]
    assert document["reclaimable_size"] > 0


def test_what_another_image_needs_stays_unless_it_goes_too(
    run: Run, store: Store, base: StoredImage, user: StoredImage
) -> None:
    refused = run("--json", "rm", "example.com/base")
    assert (refused.code, refused.document["removed"]) == (1, [])
    assert refused.error["kind"] == "ImageInUse"
    assert refused.error["next"] == f"acistore rm --force {base.id}"
    assert run("rm", "example.com/base", "example.com/user").code == 0
    assert store.list() == []


def test_force_takes_out_what_is_needed(run: Run, store: Store, base: StoredImage, user: StoredImage) -> None:
    assert run("rm", "--force", "example.com/base").code == 0
    assert [each.name for each in store.list()] == ["example.com/user"]


def test_rm_of_several_removes_what_it_can_and_reports_the_rest(
    run: Run, store: Store, app: StoredImage, base: StoredImage, user: StoredImage
) -> None:
    ran = run("--json", "rm", "example.com/none", "example.com/base", "example.com/app")
    assert ran.code == 3
    assert [each["name"] for each in ran.document["removed"]] == ["example.com/app"]
    assert [error["kind"] for error in ran.errors] == ["ImageNotFound", "ImageInUse"]


# --- gc


def test_gc_keeps_what_was_used_within_the_grace_period(run: Run, store: Store, app: StoredImage) -> None:
    ran = run("gc")
    assert (ran.code, ran.out) == (0, "freed 0 B: 0 images, 0 file bodies, 0 packs\n")
    assert len(store.list()) == 1


def test_gc_in_json_has_the_keys_of_the_contract(run: Run, store: Store, app: StoredImage) -> None:
    dry = run("--json", "gc", "--grace-period", "0s", "--dry-run").document
    assert set(dry) >= {"dry_run", "images", "blobs", "packs", "compacted", "freed_size"}
    assert dry["dry_run"] is True
    (going,) = dry["images"]
    assert (going["id"], going["name"]) == (str(app.id), "example.com/app")
    assert going["why"]
    assert len(store.list()) == 1
    wet = run("--json", "gc", "--grace-period", "0s").document
    assert (wet["dry_run"], wet["images"][0]["id"], wet["packs"]) == (False, str(app.id), 1)
    assert wet["freed_size"] > 0
    assert store.list() == []


def test_gc_tells_people_what_went_and_why(run: Run, app: StoredImage) -> None:
    dry = run("gc", "--grace-period=0s", "--dry-run").out.splitlines()
    assert dry[0] == "would remove example.com/app:1.0,arch=amd64,os=linux"
    assert dry[1] == f"  id   {app.id}"
    assert dry[-1].startswith("would free ")
    assert run("gc", "--grace-period=0s").out.splitlines()[0] == dry[0].replace("would remove", "removed")


def test_gc_keeps_the_newest_of_each_name(run: Run, store: Store) -> None:
    for version in ("1", "2", "3"):
        add(store, image(labels={"version": version}))
    run("gc", "--grace-period", "0s", "--keep", "2")
    assert [each.labels["version"] for each in store.list()] == ["3", "2"]


def test_gc_keeps_to_a_size(run: Run, store: Store) -> None:
    for version in ("1", "2"):
        add(store, image(files={"body": version.encode() * 100_000}, labels={"version": version}))
    run("gc", "--max-size", "150K")
    assert [each.labels["version"] for each in store.list()] == ["2"]


def break_off(store: Store, *urls: str) -> None:
    """Leaves a part of a download of each URL."""
    for url in urls:
        with store.spool.file(url, waiting=pytest.fail, resume=True) as file:
            file.begin({"etag": '"1"'})
            file.write(b"half")
            file.keep = True


def test_gc_tells_of_partial_downloads(run: Run, store: Store) -> None:
    break_off(store, "https://example.com/a.aci", "https://example.com/b.aci")
    assert "partial" not in run("gc").out
    dry = run("gc", "--grace-period", "0s", "--dry-run")
    freed = size(store.usage().downloads_size)
    assert dry.out == f"would free {freed}: 0 images, 0 file bodies, 0 packs, 2 partial downloads\n"
    assert run("--json", "gc", "--grace-period", "0s", "--dry-run").document["downloads"] == 2
    assert run("gc", "--grace-period", "0s").out == dry.out.replace("would free", "freed")
    assert run("--json", "gc", "--grace-period", "0s").document["downloads"] == 0


def test_one_partial_download_is_one(run: Run, store: Store) -> None:
    break_off(store, "https://example.com/a.aci")
    assert run("gc", "--grace-period", "0s").out.endswith(", 1 partial download\n")


def test_the_help_of_gc_warns_of_partial_downloads(run: Run) -> None:
    text = " ".join(run("gc", "--help").out.split())
    assert "Partial downloads go as well" in text
    assert "the next fetch would have gone on with them" in text


# --- df


def test_df_tells_what_partial_downloads_take(run: Run, store: Store, app: StoredImage) -> None:
    assert "  downloads    0 B of that" in run("df").out
    before = run("--json", "df").document
    assert before["downloads_size"] == 0
    break_off(store, "https://example.com/a.aci")
    usage = run("--json", "df").document
    taken = usage["downloads_size"]
    assert usage["disk_size"] - before["disk_size"] == taken > 0
    assert (
        f"  downloads    {size(taken)} of that in partial ones, with which the next fetch goes on\n"
        in run("df").out
    )


# --- verify


def test_verify_of_a_sound_store(run: Run, app: StoredImage) -> None:
    ran = run("verify")
    assert (ran.code, ran.out) == (0, "checked 1 image, 10.2 kB: no damage\n")
    assert run("--json", "verify").document == {
        "ok": True,
        "images_checked": 1,
        "bytes_checked": app.size,
        "damaged": [],
        "repaired": [],
        "not_admitted": [],
        "dropped": [],
        "lost": [],
    }


def test_damage_is_exit_code_6_and_every_damaged_image_is_named(
    run: Run, store: Store, tmp_path: Path, app: StoredImage, base: StoredImage
) -> None:
    body = b"shared by two" * 10
    damaged = [add(store, image(f"example.com/{name}", {"etc/file": body})) for name in ("one", "two")]
    damage(tmp_path / "store", body)
    ran = run("--json", "verify")
    assert (ran.code, ran.error["kind"]) == (6, "StoreDamaged")
    assert ran.document["ok"] is False
    found = {(each["name"], each["id"], each["path"]) for each in ran.document["damaged"] if each["id"]}
    assert found == {(each.name, str(each.id), "/etc/file") for each in damaged}
    text = run("verify")
    assert text.code == 6
    for each in damaged:
        assert f"{each.name} is damaged\n" in text.out
        assert str(each.id) in text.err


def test_verify_of_some_images_looks_at_these_alone(
    run: Run, store: Store, tmp_path: Path, app: StoredImage
) -> None:
    body = b"only in the other" * 10
    other = add(store, image("example.com/other", {"file": body}))
    damage(tmp_path / "store", body)
    assert run("verify", "example.com/app").code == 0
    assert run("verify", str(other.id)[:16]).code == 6
    missing = run("--json", "verify", "example.com/none", "example.com/app")
    assert (missing.code, missing.document["images_checked"]) == (3, 1)


def test_a_missing_database_is_damage(run: Run, store: Store, tmp_path: Path, app: StoredImage) -> None:
    store.close()
    for file in (tmp_path / "store").glob("acistore.db*"):
        file.unlink()
    assert run("--json", "list").error["exit_code"] == 6
