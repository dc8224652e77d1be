"""Looking inside: files, their content, who holds them, how two images differ."""

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from acistore.archive.tar import Entry
from acistore.errors import (
    AcistoreError,
    FileUnusable,
    ImageNotFound,
    InvalidName,
    PathNotFound,
    StoreDamaged,
)
from acistore.store import Store, StoredImage, index, inside
from acistore.store.difference import Change
from acistore.store.inside import LINK_LIMIT, TARGET_LIMIT, resolve
from tests.archive import tree
from tests.images import entry, image, manifest, tar
from tests.programs import program
from tests.store.conftest import add

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def tar_of(*members: tuple[tarfile.TarInfo, bytes], name: str = "example.com/app", format: int = 1) -> bytes:
    """An image whose rootfs has these members, each path as it is in the archive."""
    return tar([entry("manifest", manifest(name)), entry("rootfs", kind=DIR), *members], format=format)


def packed(top: Path, *command: str) -> bytes:
    """An image by a tar program, of a directory that holds its rootfs."""
    (top / "manifest").write_bytes(manifest())
    call = [program(command[0]), *command[1:], "-cf", "-", "-C", str(top), "manifest", "rootfs"]
    return subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout


def read(store: Store, image: StoredImage, path: str) -> bytes:
    with store.read_file(image, path) as pieces:
        return b"".join(pieces)


def failure(kind: type[AcistoreError], store: Store, image: StoredImage, path: str) -> AcistoreError:
    with pytest.raises(kind) as failed:
        read(store, image, path)
    assert type(failed.value) is kind
    return failed.value


# --- files


def test_files_are_those_of_the_rootfs(store: Store) -> None:
    added = add(
        store,
        tar_of(
            entry("rootfs/b", b"body"),
            entry("rootfs/a", kind=DIR),
            entry("rootfs/a-b", b""),
            entry("rootfs/a/x", kind=LINK, target="../b"),
            entry("rootfs/c", kind=HARD, target="rootfs/b"),
        ),
    )
    found = store.files(added)
    assert [each.path for each in found] == ["/", "/a", "/a/x", "/a-b", "/b", "/c"]
    assert [each.kind for each in found] == ["dir", "dir", "symlink", "file", "file", "hardlink"]
    assert [each.target for each in found if each.target] == ["../b", "/b"]
    body = hashlib.sha512(b"body").digest()
    assert found[4] == Entry("/b", "file", 0o644, 0, 0, 1_400_000_000 * 10**9, 4, digest=body)
    assert store.files(added.id) == found


@pytest.mark.parametrize("command", [("tar", "--format=gnu"), ("tar", "--format=pax"), ("bsdtar", "--format=pax")])
def test_files_of_a_real_tree_are_all_there_and_can_be_read(
    store: Store, tmp_path: Path, command: tuple[str, ...]
) -> None:
    rootfs = tmp_path / "image" / "rootfs"
    tree.make_everything(rootfs)
    added = add(store, packed(tmp_path / "image", *command, "--numeric-owner"))
    found = {each.path: each for each in store.files(added)}
    wanted = {each.path: each for each in tree.expected(rootfs, "/")}
    assert set(found) == {"/", *wanted}
    for path, each in wanted.items():
        if each.kind == "file":
            assert read(store, added, path) == (rootfs / path[1:]).read_bytes(), path
            assert (added.id, path) in {(hit.image.id, hit.path) for hit in store.which(path)}


def test_files_of_an_image_that_is_gone(store: Store) -> None:
    added = add(store, image())
    store.remove([added])
    for ask in (store.files, lambda image: store.diff(image, add(store, image_with(b"x")))):
        with pytest.raises(ImageNotFound):
            ask(added)
    with pytest.raises(ImageNotFound):
        store.files(added.id)
    failure(ImageNotFound, store, added, "/etc/hosts")


def test_an_image_of_nothing_but_attributes_does_not_fill_the_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = entry("rootfs/f", b"body")
    member[0].pax_headers = {"SCHILY.xattr.user.a": "x" * 1000}
    added = add(store, tar_of(member, format=tarfile.PAX_FORMAT))
    assert store.files(added)[1].xattrs == (("user.a", b"x" * 1000),)
    monkeypatch.setattr(inside, "LISTING_LIMIT", 1000)
    with pytest.raises(FileUnusable, match="too many names and attributes"):
        store.files(added)
    assert read(store, added, "/f") == b"body"


def image_with(body: bytes) -> bytes:
    return image(files={"body": body})


# --- the content of a file


def test_a_file_is_read_with_or_without_its_first_slash(store: Store) -> None:
    added = add(store, image(files={"etc/hosts": b"localhost", "empty": b""}))
    for path in ("/etc/hosts", "etc/hosts", "//etc/./hosts", "/../etc/x/../hosts", "/etc/hosts/"):
        assert read(store, added, path) == b"localhost"
    assert read(store, added, "empty") == b""


def test_what_is_no_file_is_told(store: Store) -> None:
    added = add(
        store,
        tar_of(
            entry("rootfs/etc", kind=DIR),
            entry("rootfs/pipe", kind=tarfile.FIFOTYPE),
            entry("rootfs/null", kind=tarfile.CHRTYPE),
        ),
    )
    assert failure(FileUnusable, store, added, "/etc").message == "/etc is a directory, not a file"
    assert failure(FileUnusable, store, added, "/pipe").message == "/pipe is a named pipe, not a file"
    assert failure(FileUnusable, store, added, "/null").message == "/null is a character device, not a file"
    assert failure(FileUnusable, store, added, "").message.endswith("is a directory, not a file")
    assert failure(PathNotFound, store, added, "/none").exit_code == 3
    failure(PathNotFound, store, added, "/manifest")
    failure(PathNotFound, store, added, "/../manifest")
    for path in ("\ud800", "../\ud800"):
        failure(InvalidName, store, added, path)


def test_links_are_followed_inside_of_the_rootfs(store: Store) -> None:
    members = [entry("rootfs/usr/bin/perl5", b"perl")]
    for path, kind, target in (
        ("bin", LINK, "usr/bin"),
        ("usr/bin/perl", HARD, "rootfs/usr/bin/perl5"),
        ("usr/bin/again", HARD, "rootfs/usr/bin/perl"),
        ("usr/bin/p", LINK, "/bin/../bin/./perl"),
        ("escape", LINK, "../../../../usr/bin/p"),
        ("broken", LINK, "/nowhere"),
        ("loop", LINK, "loop"),
        ("directory", LINK, "usr"),
        ("lost", HARD, "rootfs/none"),
    ):
        members.append(entry(f"rootfs/{path}", kind=kind, target=target))
    added = add(store, tar_of(*members, entry("rootfs/usr", kind=DIR)))
    for path in ("/bin/perl5", "/usr/bin/perl", "/usr/bin/again", "/usr/bin/p", "escape", "/bin/../bin/p"):
        assert read(store, added, path) == b"perl", path
    name = {"image": "example.com/app"}
    assert failure(PathNotFound, store, added, "/broken").facts == name | {"leads to": "/nowhere"}
    assert "too many links" in failure(FileUnusable, store, added, "/loop").message
    assert failure(FileUnusable, store, added, "/directory").facts == name | {"leads to": "/usr"}
    failure(PathNotFound, store, added, "/lost")


def link(path: str, target: str) -> tuple[str, Entry]:
    return path, Entry(path, "symlink", 0o777, 0, 0, 0, 0, target)


def test_links_are_followed_as_far_as_linux_does() -> None:
    end = Entry("/0", "file", 0o644, 0, 0, 0, 0)
    files = {"/0": end, **dict(link(f"/{hop}", str(hop - 1)) for hop in range(1, LINK_LIMIT + 2))}
    assert resolve(files, f"/{LINK_LIMIT}") == end
    with pytest.raises(FileUnusable):
        resolve(files, f"/{LINK_LIMIT + 1}")
    with pytest.raises(FileUnusable):
        resolve(dict([link("/a", "x/" * TARGET_LIMIT)]), "a")


def test_a_name_that_is_not_utf_8_works_everywhere(store: Store) -> None:
    name = b"rootfs/caf\xe9 \n".decode(errors="surrogateescape")
    members = [entry(name, b"body"), entry("rootfs/link", kind=LINK, target=name.removeprefix("rootfs/"))]
    added = add(store, tar_of(*members))
    path = "/caf\udce9 \n"
    assert path in [each.path for each in store.files(added)]
    assert read(store, added, path) == read(store, added, "link") == b"body"
    assert [each.path for each in store.which(path)] == [path]
    assert [each.path for each in store.diff(add(store, image()), added)] == [path, "/link"]


def test_a_body_is_checked_before_its_end_comes_out(store: Store, directory: Path) -> None:
    small, large = os.urandom(1000), os.urandom(3 << 20)
    added = add(store, image(files={"small": small, "large": large}))
    flip(directory, small[500:520])
    flip(directory, large[-20:])
    seen = bytearray()
    for path in ("/small", "/large"):
        with pytest.raises(StoreDamaged) as damaged, store.read_file(added, path) as pieces:
            for piece in pieces:
                seen += piece
        assert damaged.value.next_step == f"acistore verify {added.id}"
    assert large.startswith(bytes(seen))
    assert len(seen) < len(large)


def test_a_damaged_skeleton_tells_nothing(store: Store, directory: Path) -> None:
    added = add(store, image(files={"a": b"body"}))
    (pack,) = (directory / "packs").iterdir()
    at = pack.read_bytes().index(b"\x28\xb5\x2f\xfd")  # zstd's first bytes
    flip(directory, pack.read_bytes()[at + 10 : at + 40])
    with pytest.raises(StoreDamaged, match="its skeleton has another SHA-512"):
        store.files(added)
    assert read(store, added, "/a") == b"body"  # which needs no skeleton
    failure(StoreDamaged, store, added, "/b")


def flip(directory: Path, content: bytes) -> None:
    """Changes the first byte of some content, wherever in the packs it is."""
    (pack,) = (directory / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[data.index(content)] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)


def test_a_missing_pack_is_damage(store: Store, directory: Path) -> None:
    added = add(store, image(files={"a": b"body"}))
    for pack in (directory / "packs").iterdir():
        pack.unlink()
    failure(StoreDamaged, store, added, "/a")
    with pytest.raises(StoreDamaged, match="is missing"):
        store.files(added)


def test_a_file_needs_no_pack_but_its_own(store: Store, directory: Path) -> None:
    shared, own = os.urandom(1000), os.urandom(1000)
    add(store, image("example.com/base", {"shared": shared}))
    (first,) = (directory / "packs").iterdir()
    added = add(store, image(files={"shared": shared, "own": own}))
    first.unlink()
    assert read(store, added, "/own") == own
    assert len(store.files(added)) == 3
    failure(StoreDamaged, store, added, "/shared")


def test_a_file_stays_readable_while_its_pack_is_compacted_away(store: Store, directory: Path) -> None:
    body = os.urandom(3 << 20)
    old = add(store, image("example.com/old", {"waste": os.urandom(9 << 20), "kept": body}))
    new = add(store, image("example.com/new", {"kept": body}))
    with store.read_file(new, "/kept") as pieces:
        first = next(pieces)
        store.remove([old])
        store.collect()
        assert first + b"".join(pieces) == body
    assert read(store, new, "/kept") == body
    assert [each.path for each in store.files(new)] == ["/", "/kept"]


@pytest.mark.parametrize("command", [("tar", "--format=gnu"), ("tar", "--format=pax"), ("bsdtar", "--format=pax")])
def test_sparse_files_have_their_content(store: Store, tmp_path: Path, command: tuple[str, ...]) -> None:
    rootfs = tmp_path / "rootfs"
    tree.make_sparse(rootfs)
    (rootfs / "link").symlink_to("comb")
    sparse = () if command[0] == "bsdtar" else ("--sparse",)
    added = add(store, packed(tmp_path, *command, *sparse))
    for name in ("ends", "comb", "hole", "dense", "link"):
        assert read(store, added, name) == (rootfs / name).read_bytes()
    assert [each.digest for each in store.which("/comb")] == [None]


# --- which


def test_which_finds_paths_and_bodies_the_newest_import_first(store: Store) -> None:
    body = b"the same"
    one = add(store, image("example.com/one", {"a": body, "b": body, "c": b"other"}))
    two = add(store, image("example.com/two", {"a": b"another"}))
    digest = hashlib.sha512(body).digest()
    hits = store.which("/a")
    assert [(hit.image.id, hit.path) for hit in hits] == [(two.id, "/a"), (one.id, "/a")]
    assert hits[1].digest == digest
    assert store.which("a") == hits
    by_body = store.which(f"sha512-{digest.hex().upper()}")
    assert [(hit.image.id, hit.path, hit.digest) for hit in by_body] == [
        (one.id, "/a", digest),
        (one.id, "/b", digest),
    ]
    assert [hit.digest for hit in store.which("/")] == [None, None]


def test_which_finds_nothing_where_nothing_is(store: Store) -> None:
    added = add(store, image(files={"a": b"body", "sha512-12": b"named like a digest"}))
    for wanted in ("/b", "sha512-" + "0" * 128, "/manifest", "../manifest"):
        assert list(store.which(wanted)) == []
    described = hashlib.sha512(added.raw_manifest).hexdigest()
    assert list(store.which(f"sha512-{described}")) == []
    with pytest.raises(InvalidName):
        store.which("sha512-12")
    assert len(store.which("/sha512-12")) == 1
    store.remove([added])
    assert list(store.which("/a")) == []


def test_the_index_is_asked_without_looking_through_a_table(directory: Path) -> None:
    """What costs the same however many images there are: no plan of SQLite has a scan in it."""
    with Store.open(directory) as store:
        added = add(store, image(files={"a": b"body"}))
    engine = create_engine(f"sqlite:///{directory / 'acistore.db'}")
    with engine.connect() as connection:
        plans: list[str] = []

        @event.listens_for(connection, "before_cursor_execute")
        def explain(*call: Any) -> None:
            _connection, cursor, statement, parameters, _context, _many = call
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[-1] for row in plan)

        assert index.images_with_path(connection, b"rootfs/a")
        assert index.images_with_body(connection, hashlib.sha512(b"body").digest())
        assert index.body_at(connection, added, b"rootfs/a")
        assert index.skeleton_digest_of(connection, added)
    engine.dispose()
    assert len(plans) > 10
    assert [plan for plan in plans if plan.startswith("SCAN")] == []


# --- diff


Member = tuple[tarfile.TarInfo, bytes]


def member(change: Callable[[tarfile.TarInfo], object] = lambda info: None, body: bytes = b"body") -> Member:
    info, content = entry("rootfs/f", body)
    change(info)
    return info, content


def put(name: str, value: object) -> Callable[[tarfile.TarInfo], object]:
    return lambda info: setattr(info, name, value)


def attributes(value: str) -> Callable[[tarfile.TarInfo], object]:
    return put("pax_headers", {"SCHILY.xattr.user.a": value})


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (member(), member(body=b"BODY"), ("content",)),
        (member(), member(body=b"longer body"), ("content",)),
        (member(), member(put("mode", 0o755)), ("mode",)),
        (member(), member(put("uid", 1)), ("owner",)),
        (member(), member(put("gid", 1)), ("owner",)),
        (member(), member(put("mtime", 1)), ("mtime",)),
        (member(), member(attributes("1")), ("xattrs",)),
        (member(attributes("1")), member(attributes("2")), ("xattrs",)),
        (member(), entry("rootfs/f", kind=tarfile.FIFOTYPE), ("type",)),
        (entry("rootfs/f", kind=LINK, target="a"), entry("rootfs/f", kind=LINK, target="b"), ("target",)),
        (entry("rootfs/f", kind=LINK, target="a"), member(), ("type",)),
        (
            member(),
            member(lambda info: (put("mode", 0)(info), put("uid", 9)(info)), b"x"),
            ("content", "mode", "owner"),
        ),
    ],
)
def test_diff_tells_what_differs(store: Store, before: Member, after: Member, what: tuple[str, ...]) -> None:
    old = add(store, tar_of(before, name="example.com/old", format=tarfile.PAX_FORMAT))
    new = add(store, tar_of(after, name="example.com/new", format=tarfile.PAX_FORMAT))
    assert store.diff(old, new) == [Change("/f", "changed", what)]  # type: ignore[arg-type]
    assert list(store.diff(old, old)) == []


def test_the_number_of_a_device_is_its_type(store: Store) -> None:
    def device(minor: int) -> bytes:
        info, body = entry("rootfs/f", kind=tarfile.CHRTYPE)
        info.devmajor, info.devminor = 1, minor
        return tar_of((info, body))

    assert store.diff(add(store, device(3)), add(store, device(5))) == [Change("/f", "changed", ("type",))]


def test_diff_tells_what_came_and_went_in_order(store: Store) -> None:
    old = add(store, tar_of(entry("rootfs/a", kind=DIR), entry("rootfs/a/x"), entry("rootfs/a-b")))
    new = add(store, tar_of(entry("rootfs/a", kind=DIR), entry("rootfs/z"), name="example.com/new"))
    assert store.diff(old, new) == [
        Change("/a/x", "removed"),
        Change("/a-b", "removed"),
        Change("/z", "added"),
    ]
    assert store.diff(old.id, new.id) == store.diff(old, new)


def linked(*names: str, body: bytes = b"body", first: str = "b") -> list[Member]:
    """A file and its other names."""
    links = [entry(f"rootfs/{name}", kind=HARD, target=f"rootfs/{first}") for name in names]
    return [entry(f"rootfs/{first}", body), *links]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (linked("a", first="b"), linked("b", first="a"), []),
        (linked("a"), linked("a", body=b"x"), [("/a", ("content",)), ("/b", ("content",))]),
        (linked("a"), [entry("rootfs/a", b"body"), entry("rootfs/b", b"body")], [("/b", ("target",))]),
        (linked("a", first="c"), [*linked("a", first="c"), entry("rootfs/d")], [("/d", ())]),
    ],
)
def test_a_hard_link_is_compared_as_the_file_it_is(
    store: Store, before: list[Member], after: list[Member], changes: list[tuple[str, tuple[str, ...]]]
) -> None:
    old = add(store, tar_of(*before, name="example.com/old"))
    new = add(store, tar_of(*after, name="example.com/new"))
    assert [(each.path, each.what) for each in store.diff(old, new)] == changes


def test_a_hard_link_to_nothing_is_compared_as_it_is(store: Store) -> None:
    lost = [entry("rootfs/a", kind=HARD, target="rootfs/none"), entry("rootfs/b", kind=HARD, target="rootfs/b")]
    old = add(store, tar_of(*lost, name="example.com/old"))
    new = add(store, tar_of(*lost, name="example.com/new"))
    assert list(store.diff(old, new)) == []


def test_the_content_of_sparse_files_counts_and_not_how_it_is_told(store: Store, tmp_path: Path) -> None:
    tree.make_sparse(tmp_path / "rootfs")
    (tmp_path / "rootfs/other name").hardlink_to(tmp_path / "rootfs/comb")
    ways = [
        ("tar", "--format=gnu"),
        ("tar", "--format=gnu", "--sparse"),
        ("tar", "--format=posix", "--sparse", "--sparse-version=0.0"),
        ("tar", "--format=posix", "--sparse", "--sparse-version=1.0"),
    ]
    images = [add(store, packed(tmp_path, *way, "--mtime=@1400000000")) for way in ways]
    for other in images[1:]:
        assert list(store.diff(images[0], other)) == []
        assert list(store.diff(images[-1], other)) == []
    with (tmp_path / "rootfs/comb").open("r+b") as file:
        file.seek(2 << 16)
        file.write(b"!")
    changed = add(store, packed(tmp_path, *ways[1], "--mtime=@1400000000"))
    wanted = [Change("/comb", "changed", ("content",)), Change("/other name", "changed", ("content",))]
    for other in images:
        assert list(store.diff(other, changed)) == wanted


def test_a_sparse_file_whose_map_makes_no_sense_is_told(store: Store) -> None:
    info, _ = entry("rootfs/f", bytes(512))
    info.pax_headers = {"GNU.sparse.map": "9,512", "GNU.sparse.size": "100"}
    added = add(store, tar_of((info, bytes(512)), format=tarfile.PAX_FORMAT))
    assert failure(FileUnusable, store, added, "/f").message == (
        "/f can't be read: it is a sparse file whose map does not fit it"
    )
    other = add(store, tar_of((info, bytes(512)), name="example.com/other", format=tarfile.PAX_FORMAT))
    assert store.diff(added, other) == [Change("/f", "changed", ("content",))]


def test_looking_inside_is_no_use_of_an_image(store: Store) -> None:
    added = store.add(io.BytesIO(image(files={"a": b"x"})))
    before = store.get(added.id).last_used_at
    store.files(added)
    read(store, added, "a")
    store.which("a")
    store.diff(added, add(store, image()))
    assert store.get(added.id).last_used_at == before
