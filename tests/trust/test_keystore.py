"""TrustStore: which keys are trusted for a name, and how they get in and out."""

import json
import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.config import Config, Limits
from acistore.errors import FileUnusable, InvalidName, KeyNotFound, KeyRefused, UsageError
from acistore.trust.keys import Layer, shown_fingerprint
from acistore.trust.keystore import TrustStore
from tests.gpg import KeyMaker, SigningKey
from tests.trust.conftest import LONG_AGO


class Directories:
    """Three configuration directories, and key files put there by hand."""

    def __init__(self, top: Path) -> None:
        self.config = Config(
            dir=top / "store", system_config=top / "usr", local_config=top / "etc", user_config=top / "home"
        )
        self.store = TrustStore.open(self.config)

    def place(self, layer: Layer, prefix: str | None, name: str) -> Path:
        layers = {
            "system": self.config.system_config,
            "local": self.config.local_config,
            "user": self.config.user_config,
        }
        directory = "root.d" if prefix is None else f"prefix.d/{prefix}"
        return layers[layer] / "trustedkeys" / directory / name

    def put(self, layer: Layer, prefix: str | None, key: SigningKey) -> Path:
        return self.write(layer, prefix, key.fingerprint, key.public())

    def mask(self, layer: Layer, prefix: str | None, key: SigningKey) -> Path:
        return self.write(layer, prefix, key.fingerprint, b"")

    def write(self, layer: Layer, prefix: str | None, name: str, content: bytes) -> Path:
        path = self.place(layer, prefix, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def trusted(self, name: str) -> dict[str, tuple[str, str]]:
        return {key.fingerprint: (key.place.rule, key.place.layer) for key in self.store.keys_for(name)}


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "acistore.trust")
    return caplog


# Which keys are trusted


def test_no_directories_no_keys(directories: Directories, warnings: pytest.LogCaptureFixture) -> None:
    assert directories.store.keys_for("example.com/app") == ()
    assert directories.store.all_keys() == ()
    assert directories.store.everything_trusted() == ()
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
    found = [(key.fingerprint, key.place.prefix) for key in directories.store.everything_trusted()]
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


# Adding


def test_added_key_is_trusted_and_lies_where_rkt_looks(
    directories: Directories, maker: KeyMaker, release: SigningKey
) -> None:
    (added,) = directories.store.add(
        release.public(armored=False), prefix="example.com/app", source="https://example.com/k", layer="local"
    )
    assert added.fingerprint == release.fingerprint
    assert directories.trusted("example.com/app") == {release.fingerprint: ("example.com/app", "local")}
    path = directories.place("local", "example.com/app", release.fingerprint)
    assert path.read_bytes().count(b"-----BEGIN PGP PUBLIC KEY BLOCK-----") == 1
    assert release.fingerprint.upper().encode() in maker.gpg("--show-keys", "--with-colons", str(path))


def test_root_key_is_added_to_its_layer(directories: Directories, release: SigningKey) -> None:
    directories.store.add(release.public(), prefix=None, source="key", layer="user")
    assert directories.trusted("anything") == {release.fingerprint: ("root", "user")}
    assert directories.place("user", None, release.fingerprint).is_file()


def test_all_may_read_what_is_added_and_nothing_stray_remains(
    directories: Directories, release: SigningKey
) -> None:
    before = os.umask(0o077)
    try:
        directories.store.add(release.public(), prefix="example.com/app", source="key", layer="local")
    finally:
        os.umask(before)
    top = directories.config.local_config
    found = {str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*")}
    assert found == {
        "origins.json": 0o644,
        "trustedkeys": 0o755,
        "trustedkeys/prefix.d": 0o755,
        "trustedkeys/prefix.d/example.com": 0o755,
        "trustedkeys/prefix.d/example.com/app": 0o755,
        f"trustedkeys/prefix.d/example.com/app/{release.fingerprint}": 0o644,
    }
    assert stat.S_IMODE(top.stat().st_mode) == 0o755


def test_each_key_of_a_file_goes_under_its_own_fingerprint(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    material = b"our keys\n" + release.public() + other.public()
    assert [key.fingerprint for key in directories.store.inspect(material)] == [
        release.fingerprint,
        other.fingerprint,
    ]
    added = directories.store.add(material, prefix="example.com", source="KEYS", layer="local")
    assert len(added) == 2
    assert set(directories.trusted("example.com")) == {release.fingerprint, other.fingerprint}


def test_only_the_keys_that_were_named_are_added(
    directories: Directories, release: SigningKey, other: SigningKey, expired: SigningKey
) -> None:
    material = release.public() + other.public() + expired.public()
    added = directories.store.add(
        material,
        prefix="example.com",
        source="KEYS",
        layer="local",
        only=[shown_fingerprint(other.fingerprint)],
    )
    assert [key.fingerprint for key in added] == [other.fingerprint]
    assert set(directories.trusted("example.com")) == {other.fingerprint}


def test_named_key_that_is_not_in_the_file_is_refused(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    with pytest.raises(KeyRefused) as caught:
        directories.store.add(
            release.public(),
            prefix="example.com",
            source="key",
            layer="local",
            only=[release.fingerprint, other.fingerprint],
        )
    assert shown_fingerprint(other.fingerprint) in caught.value.message
    assert caught.value.facts == {"there is": shown_fingerprint(release.fingerprint)}
    assert not directories.config.local_config.exists()


@pytest.mark.parametrize("fingerprint", ["", "0123456789abcdef", "x" * 40, "0" * 64])
def test_half_a_fingerprint_names_no_key_to_add(
    directories: Directories, release: SigningKey, fingerprint: str
) -> None:
    with pytest.raises(UsageError):
        directories.store.add(
            release.public(), prefix="example.com", source="key", layer="local", only=[fingerprint]
        )


def test_keys_past_their_time_are_refused_and_nothing_is_added(
    directories: Directories, maker: KeyMaker, release: SigningKey, expired: SigningKey
) -> None:
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    for key, problem in ((expired, "has expired"), (gone, "was revoked")):
        with pytest.raises(KeyRefused) as caught:
            directories.store.add(
                release.public() + key.public(), prefix="example.com", source="key", layer="local"
            )
        assert problem in caught.value.message
    assert not directories.config.local_config.exists()


def test_two_versions_of_a_key_in_a_file_are_refused(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO)
    material = key.public()
    key.expire("30y", at="20200601T000000")
    with pytest.raises(KeyRefused) as caught:
        directories.store.add(material + key.public(), prefix="example.com", source="key", layer="local")
    assert "twice" in caught.value.message


def test_secret_keys_and_large_files_are_refused(directories: Directories, release: SigningKey) -> None:
    for material in (release.secret(), release.public() + b" " * Limits().key_size, b"", b"junk"):
        with pytest.raises(KeyRefused):
            directories.store.add(material, prefix="example.com", source="key", layer="local")
    assert not directories.config.local_config.exists()


def test_short_key_is_added_with_a_warning(
    directories: Directories, maker: KeyMaker, warnings: pytest.LogCaptureFixture
) -> None:
    weak = maker.key("Weak <weak@example.com>", algorithm="rsa1024")
    directories.store.add(weak.public(), prefix="example.com", source="key", layer="local")
    assert "too short" in warnings.text


@pytest.mark.parametrize("prefix", ["", "/", "Example.com", "../x", "a/../b", "a//b", "a/./b", "example.com/"])
def test_what_is_no_prefix_is_refused(directories: Directories, release: SigningKey, prefix: str) -> None:
    with pytest.raises(InvalidName):
        directories.store.add(release.public(), prefix=prefix, source="key", layer="local")
    with pytest.raises(InvalidName):
        directories.store.remove(release.fingerprint, prefix=prefix)


def test_adding_again_replaces_a_mask_and_an_old_version(directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    path = directories.put("local", "example.com", key)
    key.expire("0", at="20200601T000000")
    directories.store.add(key.public(), prefix="example.com", source="new", layer="local")
    assert [k.state for k in directories.store.all_keys()] == ["valid"]
    path.write_bytes(b"")
    directories.store.add(key.public(), prefix="example.com", source="new", layer="local")
    assert set(directories.trusted("example.com")) == {key.fingerprint}


def test_directory_that_can_not_be_written_is_told(directories: Directories, release: SigningKey) -> None:
    directories.config.local_config.write_text("a file where the directory should be")
    with pytest.raises(FileUnusable) as caught:
        directories.store.add(release.public(), prefix="example.com", source="key", layer="local")
    assert str(directories.config.local_config) in caught.value.message


def test_file_where_a_directory_should_be_is_told(directories: Directories, release: SigningKey) -> None:
    directories.put("local", "example.com", release)
    inside = f"example.com/{release.fingerprint}"
    with pytest.raises(FileUnusable):
        directories.store.add(release.public(), prefix=inside, source="key", layer="local")
    assert set(directories.trusted(inside)) == {release.fingerprint}


# Origins


def test_origin_is_kept_beside_the_keys(directories: Directories, release: SigningKey) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    directories.store.add(release.public(), prefix="example.com", source="https://é/k", layer="local")
    (listed,) = directories.store.all_keys()
    assert listed.origin is not None
    assert listed.origin.source == "https://é/k"
    assert before <= listed.origin.added_at <= datetime.now(UTC)
    document = json.loads((directories.config.local_config / "origins.json").read_text())
    assert list(document) == [f"prefix.d/example.com/{release.fingerprint}"]


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"[]", b'{"a": 1}', b'{"a": {"source": "x"}}', b"[" * 100000, b"\xff"]
)
def test_damaged_origins_cost_no_key(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture, content: bytes
) -> None:
    directories.put("local", "example.com", release)
    (directories.config.local_config / "origins.json").write_bytes(content)
    assert [key.origin for key in directories.store.all_keys()] == [None]
    assert "origins.json can't be read" in warnings.text
    directories.store.add(release.public(), prefix="example.com", source="again", layer="local")
    assert [key.origin.source for key in directories.store.all_keys() if key.origin] == ["again"]


def test_origins_that_can_not_be_written_are_told(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    (directories.config.local_config / "origins.json").mkdir(parents=True)
    directories.store.add(release.public(), prefix="example.com", source="key", layer="local")
    assert "origins.json can't be written" in warnings.text
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    assert not [path for path in directories.config.local_config.iterdir() if path.name.startswith(".")]


# Removing


def test_removed_key_is_trusted_no_longer(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.store.add(release.public() + other.public(), prefix="example.com", source="k", layer="local")
    directories.store.add(release.public(), prefix=None, source="k", layer="user")
    removed = directories.store.remove(shown_fingerprint(release.fingerprint)[-19:])
    assert [(place.prefix, place.layer) for place in removed] == [(None, "user"), ("example.com", "local")]
    assert set(directories.trusted("example.com")) == {other.fingerprint}
    document = json.loads((directories.config.local_config / "origins.json").read_text())
    assert list(document) == [f"prefix.d/example.com/{other.fingerprint}"]


def test_key_is_removed_from_one_place_alone(directories: Directories, release: SigningKey) -> None:
    for prefix in (None, "example.com", "example.com/app"):
        directories.put("local", prefix, release)
    (removed,) = directories.store.remove(release.fingerprint, prefix="example.com")
    assert removed.path == directories.place("local", "example.com", release.fingerprint)
    (removed,) = directories.store.remove(release.fingerprint, root=True)
    assert removed.prefix is None
    assert [key.place.prefix for key in directories.store.all_keys()] == ["example.com/app"]


def test_damaged_key_file_can_be_removed_and_a_mask_stays(directories: Directories, release: SigningKey) -> None:
    directories.write("local", "example.com", release.fingerprint, b"junk")
    mask = directories.mask("user", "example.com", release)
    (removed,) = directories.store.remove(release.fingerprint)
    assert removed.layer == "local"
    assert mask.exists()


def test_key_that_is_not_there_is_not_found(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.put("local", "example.com", release)
    directories.mask("local", "example.com", other)
    with pytest.raises(KeyNotFound):
        directories.store.remove(other.fingerprint)
    with pytest.raises(KeyNotFound):
        directories.store.remove(release.fingerprint, prefix="example.com/app")
    with pytest.raises(KeyNotFound):
        directories.store.remove(release.fingerprint, root=True)


def test_tail_that_fits_several_keys_removes_none(directories: Directories, release: SigningKey) -> None:
    tail = release.fingerprint[-16:]
    twin = "0" * 24 + tail
    directories.put("local", "example.com", release)
    directories.write("local", "example.com", twin, b"junk")
    with pytest.raises(UsageError) as caught:
        directories.store.remove(tail)
    assert shown_fingerprint(twin) in caught.value.facts["keys"]
    directories.store.remove(twin)
    assert set(directories.trusted("example.com")) == {release.fingerprint}


@pytest.mark.parametrize("tail", ["", "89abcdef", "0123456789abcde", "x" * 16, "0" * 41])
def test_short_tail_is_refused(directories: Directories, tail: str) -> None:
    with pytest.raises(UsageError):
        directories.store.remove(tail)


def test_key_of_the_system_layer_stays(
    directories: Directories, release: SigningKey, warnings: pytest.LogCaptureFixture
) -> None:
    path = directories.put("system", "example.com", release)
    with pytest.raises(FileUnusable) as caught:
        directories.store.remove(release.fingerprint)
    assert "system layer" in caught.value.message
    assert caught.value.facts == {"file": str(path)}
    directories.put("local", "example.com", release)
    (removed,) = directories.store.remove(release.fingerprint)
    assert removed.layer == "local"
    assert f"{path} still trusts the key" in warnings.text
    assert path.exists()
