"""TrustStore: which keys are trusted for a name, and what a listing says of them."""

import os
from pathlib import Path

import pytest

from acistore.config import Limits
from acistore.errors import FileUnusable, InvalidName
from acistore.trust.keys import Layer
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.trust.directories import Directories

# Which keys are trusted


def test_no_directories_no_keys(directories: Directories, warnings: pytest.LogCaptureFixture) -> None:
    assert directories.store.keys_for("example.com/app") == ()
    assert directories.store.all_keys() == ()
    assert directories.store.rules_for(None).keys == ()
    assert warnings.records == []


def test_key_for_a_prefix_covers_what_is_below_it(directories: Directories, release: SigningKey) -> None:
    path = directories.put("local", "example.com/app", release)
    for name in ("example.com/app", "example.com/app/worker/fast"):
        (key,) = directories.store.keys_for(name)
        assert (key.fingerprint, key.place.prefix) == (release.fingerprint, "example.com/app")
        assert (key.place.layer, key.place.path, key.place.rule) == ("local", path, "example.com/app")


@pytest.mark.parametrize("name", ["example.com/apple", "example.com", "example.org/app", "example.com/ap"])
def test_key_for_a_prefix_does_not_cover_a_longer_word(
    directories: Directories, release: SigningKey, name: str
) -> None:
    directories.put("local", "example.com/app", release)
    assert directories.trusted(name) == {}


def test_root_key_covers_every_name(directories: Directories, release: SigningKey) -> None:
    directories.put("system", None, release)
    assert directories.trusted("a") == {release.fingerprint: ("root", "system")}
    assert directories.trusted("example.com/app") == {release.fingerprint: ("root", "system")}


def test_keys_of_all_layers_and_prefixes_add_up(
    directories: Directories, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    directories.put("system", None, release)
    directories.put("local", "example.com", other)
    directories.put("user", "example.com/app", stranger)
    assert set(directories.trusted("example.com/app")) == {
        release.fingerprint,
        other.fingerprint,
        stranger.fingerprint,
    }
    assert set(directories.trusted("example.com/b")) == {release.fingerprint, other.fingerprint}


@pytest.mark.parametrize(
    ("key", "mask"),
    [
        (("system", None), ("local", None)),
        (("system", None), ("user", None)),
        (("local", None), ("user", None)),
        (("system", "example.com"), ("local", "example.com")),
        (("system", "example.com/app"), ("user", "example.com")),
        (("local", "example.com"), ("user", "example.com/app")),
        (("local", "example.com"), ("local", "example.com/app")),
        (("system", None), ("local", "example.com")),
        (("user", None), ("system", "example.com/app")),
    ],
)
def test_empty_file_masks(
    directories: Directories,
    release: SigningKey,
    key: tuple[Layer, str | None],
    mask: tuple[Layer, str | None],
) -> None:
    directories.put(*key, release)
    assert directories.trusted("example.com/app") != {}
    directories.mask(*mask, release)
    assert directories.trusted("example.com/app") == {}


@pytest.mark.parametrize(
    ("key", "mask"),
    [
        (("local", None), ("system", None)),
        (("system", "example.com"), ("local", None)),
        (("user", "example.com"), ("local", "example.com")),
        (("local", "example.com/app"), ("local", "example.com")),
        (("local", "example.com"), ("user", "example.com/application")),
        (("local", "example.com"), ("user", "example.org")),
    ],
)
def test_mask_reaches_neither_up_nor_aside(
    directories: Directories,
    release: SigningKey,
    key: tuple[Layer, str | None],
    mask: tuple[Layer, str | None],
) -> None:
    directories.put(*key, release)
    directories.mask(*mask, release)
    assert set(directories.trusted("example.com/app")) == {release.fingerprint}


def test_mask_under_a_prefix_leaves_the_root_key_to_other_names(
    directories: Directories, release: SigningKey
) -> None:
    directories.put("system", None, release)
    directories.mask("local", "example.com", release)
    assert directories.trusted("example.com/app") == {}
    assert directories.trusted("example.org") == {release.fingerprint: ("root", "system")}


def test_later_layer_overrides_an_earlier_one(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    directories.put("system", "example.com", key)
    key.expire("0", at="20200601T000000")
    directories.put("local", "example.com", key)
    (trusted,) = directories.store.keys_for("example.com")
    assert trusted.place.layer == "local"
    assert [(k.place.layer, k.state) for k in directories.store.all_keys()] == [
        ("system", "expired"),
        ("local", "valid"),
    ]


@pytest.mark.parametrize("name", ["", "/", "Example.com", "../etc", "example.com/", "a b"])
def test_what_is_no_name_is_refused(directories: Directories, name: str) -> None:
    with pytest.raises(InvalidName):
        directories.store.keys_for(name)


@pytest.mark.parametrize("name", ["a.com/../b.com/app", "b.com//app", "a.com/./../b.com/app"])
def test_name_can_not_reach_keys_of_another_by_dots(
    directories: Directories, release: SigningKey, name: str
) -> None:
    directories.place("local", "a.com", "x").parent.mkdir(parents=True)
    directories.put("local", "b.com/app", release)
    assert directories.trusted(name) == {}


def test_everything_trusted(
    directories: Directories, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    directories.put("local", None, release)
    directories.put("local", "example.com", release)
    directories.put("system", "example.org/deep/down", other)
    directories.put("system", "example.net", stranger)
    directories.mask("user", "example.net", stranger)
    found = [(key.fingerprint, key.place.prefix) for key in directories.store.rules_for(None).keys]
    assert found == [
        (release.fingerprint, None),
        (release.fingerprint, "example.com"),
        (other.fingerprint, "example.org/deep/down"),
    ]


# Files that are not in order


def test_file_named_after_another_key_is_not_trusted(
    directories: Directories, release: SigningKey, other: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    path = directories.write("local", "example.com", other.fingerprint, release.public())
    assert directories.trusted("example.com") == {}
    assert f"{path} is not trusted: it holds another key than its name says" in warnings.text


def test_of_several_keys_in_a_file_only_the_one_it_is_named_after(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.write("local", None, other.fingerprint, release.public() + other.public())
    assert set(directories.trusted("example.com")) == {other.fingerprint}


def test_file_named_in_capitals_is_not_trusted(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    directories.write("local", None, release.fingerprint.upper(), release.public())
    assert directories.trusted("example.com") == {}
    assert "lower-case" in warnings.text


def test_stray_files_are_told_and_hurt_nobody(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    directories.put("local", "example.com", release)
    stray = directories.write("local", "example.com", "README", b"keys of example.com")
    directories.write("local", "example.com", ".gitkeep", b"")
    top = directories.place("local", "example.com", "x").parents[1] / release.fingerprint
    top.write_bytes(release.public())
    directories.write("local", "Not-A-Name", release.fingerprint, release.public())
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    assert len(directories.store.all_keys()) == 1
    for text in (f"{stray} is not trusted", f"{top} is not trusted", "prefix.d/Not-A-Name is not trusted"):
        assert text in warnings.text
    assert ".gitkeep" not in warnings.text


@pytest.mark.parametrize("damage", ["junk", "secret", "pipe", "loop", "dangling", "large", "directory link"])
def test_damaged_file_is_told_and_shadows_the_key_below(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture, damage: str
) -> None:
    directories.put("system", "example.com", release)
    path = directories.write("local", "example.com", release.fingerprint, b"junk")
    if damage == "secret":
        path.write_bytes(release.secret())
    elif damage == "large":
        path.write_bytes(release.public() + b"\n" * Limits().key_size)
    elif damage != "junk":
        path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "loop":
        path.symlink_to(path)
    elif damage == "dangling":
        path.symlink_to("nowhere")
    elif damage == "directory link":
        path.symlink_to("..")
    assert directories.trusted("example.com") == {}
    assert f"{path} is not trusted" in warnings.text
    assert [key.state for key in directories.store.all_keys()] == ["masked"]


def test_linked_key_file_is_read(directories: Directories, release: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_bytes(release.public())
    path = directories.write("local", "example.com", "x", b"").with_name(release.fingerprint)
    path.symlink_to(tmp_path / "key.asc")
    assert set(directories.trusted("example.com")) == {release.fingerprint}


def test_linked_directory_serves_no_other_name(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    path = directories.put("local", "example.com", release)
    link = path.parents[1] / "example.org"
    link.symlink_to("example.com")
    (path.parent / "loop").symlink_to("..")
    assert directories.trusted("example.org/app") == {}
    assert directories.trusted("example.com/loop/example.com") == {release.fingerprint: ("example.com", "local")}
    assert f"{link} is not trusted: it is a symbolic link" in warnings.text
    assert len(directories.store.all_keys()) == 1
    with pytest.raises(FileUnusable):
        directories.store.add(release.public(), prefix="example.org", source="x", layer="local")


def test_whole_key_store_may_be_a_link(directories: Directories, release: SigningKey, tmp_path: Path) -> None:
    rkt = directories.put("local", "example.com", release).parents[2].rename(tmp_path / "rkt")
    (directories.config.local_config / "trustedkeys").symlink_to(rkt)
    assert set(directories.trusted("example.com")) == {release.fingerprint}


# The listing


def test_listing_tells_all_there_is(
    directories: Directories,
    maker: KeyMaker,
    release: SigningKey,
    other: SigningKey,
    expired: SigningKey,
) -> None:
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    directories.put("system", None, release)
    directories.put("system", "example.com", other)
    directories.mask("local", "example.com", other)
    directories.put("local", "example.com", expired)
    directories.put("user", "example.com/app", gone)
    directories.store.add(release.public(), prefix="example.com/app", source="key.asc", layer="user")
    rows = [(k.place.prefix, k.place.layer, k.key.fingerprint, k.state) for k in directories.store.all_keys()]
    assert rows == [
        (None, "system", release.fingerprint, "valid"),
        ("example.com", "system", other.fingerprint, "masked"),
        ("example.com", "local", expired.fingerprint, "expired"),
        *sorted(
            [
                ("example.com/app", "user", gone.fingerprint, "revoked"),
                ("example.com/app", "user", release.fingerprint, "valid"),
            ],
            key=lambda row: row[2],
        ),
    ]
    origins = [k.origin.source for k in directories.store.all_keys() if k.origin]
    assert origins == ["key.asc"]
    assert directories.store.all_keys()[0].key.user_ids == (release.user_id,)


def test_listing_starts_few_processes(
    directories: Directories,
    release: SigningKey,
    other: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(10):
        directories.put("local", f"example.com/{number}", release)
        directories.put("local", f"example.com/{number}", other)
    wrapper = tmp_path / "bin" / "gpg"
    wrapper.parent.mkdir()
    path = os.environ["PATH"]
    wrapper.write_text(f'#!/bin/sh\necho >> {tmp_path}/calls\nPATH={path}; exec gpg "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{path}")
    assert len(directories.store.all_keys()) == 20
    assert len((tmp_path / "calls").read_text()) == 2


def test_key_that_gpg_does_not_accept_is_not_listed(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    binary = release.public(armored=False)
    directories.write("local", None, release.fingerprint, binary[: 2 + binary[1]])
    assert directories.store.all_keys() == ()
    assert "gpg does not accept the key" in warnings.text


@pytest.mark.parametrize("prefix", ["example.com/root.d/app", "example.com/prefix.d", "root.d/app"])
def test_a_link_above_a_prefix_named_like_a_directory_of_the_store(
    directories: Directories, release: SigningKey, prefix: str
) -> None:
    path = directories.put("local", prefix, release)
    assert prefix in {place.prefix for place in directories.store.places()}
    first = directories.place("local", prefix.partition("/")[0], "x").parent
    first.rename(first.with_name("moved"))
    first.symlink_to("moved")
    assert path.exists()
    assert directories.trusted(prefix) == {}
    with pytest.raises(FileUnusable, match="symbolic link"):
        directories.store.mask("ab" * 20, prefix=prefix, layer="local")
