"""TrustStore: keys taken out of force by masks, and let count again."""

import shlex
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from acistore.errors import FileUnusable, InvalidName, KeyNotFound, KeyRefused, UsageError
from acistore.fingerprints import shown_fingerprint
from acistore.trust import places
from acistore.trust.keys import Layer
from acistore.trust.keystore import changes, masking
from acistore.trust.keystore import store as keystore
from acistore.trust.keystore.store import TrustStore
from acistore.trust.offers import Offer
from acistore.trust.places import Own
from tests.gpg import SigningKey
from tests.trust.directories import Directories

UNKNOWN = "ab" * 20


@pytest.fixture(params=["root", "user"])
def default(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Own:
    """Where keys and masks go unless something else is said: as for root, and as for others."""
    layer: Own = "local" if request.param == "root" else "user"
    for module in (masking, places):
        monkeypatch.setattr(module, "default_layer", lambda: layer)
    return layer


def masks(directories: Directories) -> list[Path]:
    return [place.path for place in directories.store.places() if place.path.stat().st_size == 0]


@pytest.mark.parametrize("prefix", [None, "example.com/app"])
def test_a_key_is_masked_in_the_layer_where_keys_are_added(
    directories: Directories, release: SigningKey, default: Own, prefix: str | None
) -> None:
    directories.put("system", prefix, release)
    whole, (mask,) = directories.store.mask(release.fingerprint[-16:], prefix=prefix, root=prefix is None)
    assert (whole, mask.prefix, mask.layer) == (release.fingerprint, prefix, default)
    assert mask.path == directories.place(default, prefix, release.fingerprint)
    assert (mask.path.read_bytes(), mask.path.stat().st_mode & 0o777) == (b"", 0o644)
    assert directories.trusted("example.com/app") == {}


@pytest.mark.usefixtures("default")
def test_a_key_that_lies_there_is_masked_one_layer_higher(directories: Directories, release: SigningKey) -> None:
    path = directories.put("local", "example.com", release)
    _, (mask,) = directories.store.mask(release.fingerprint, prefix="example.com")
    assert mask.layer == "user"
    assert path.stat().st_size > 0
    assert directories.trusted("example.com") == {}


@pytest.mark.parametrize(
    ("layer", "chosen"), [("user", None), ("user", "user"), ("local", "local")], ids=["top", "user", "local"]
)
def test_a_mask_never_takes_the_place_of_the_key_itself(
    directories: Directories, release: SigningKey, default: Own, layer: Layer, chosen: Own | None
) -> None:
    path = directories.put(layer, "example.com", release)
    with pytest.raises(UsageError) as caught:
        directories.store.mask(release.fingerprint, prefix="example.com", layer=chosen)
    assert "the mask would be the file of the key itself" in caught.value.message
    assert caught.value.facts == {"file": str(path)}
    expected = f"acistore trust remove --prefix example.com {release.fingerprint.upper()}"
    assert caught.value.next_step == expected
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    assert masks(directories) == []


@pytest.mark.usefixtures("default")
def test_without_a_place_every_place_of_the_key_is_masked(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    places: list[tuple[Layer, str | None]] = [
        *(("system", None), ("local", "example.com"), ("local", None), ("system", "example.org"))
    ]
    for layer, prefix in places:
        directories.put(layer, prefix, release)
    directories.put("local", "example.com", other)
    _, made = directories.store.mask(release.fingerprint)
    assert {mask.prefix for mask in made} == {None, "example.com", "example.org"}
    assert directories.store.in_force(release.fingerprint) == ()
    assert set(directories.trusted("example.com")) == {other.fingerprint}


@pytest.mark.usefixtures("default")
def test_all_places_are_masked_or_none(directories: Directories, release: SigningKey) -> None:
    directories.put("system", None, release)
    directories.put("user", "example.com", release)
    with pytest.raises(UsageError):
        directories.store.mask(release.fingerprint)
    assert masks(directories) == []


def test_under_a_prefix_a_root_key_is_masked_for_that_alone(
    directories: Directories, release: SigningKey, default: Own
) -> None:
    directories.put("user", None, release)
    _, (mask,) = directories.store.mask(release.fingerprint, prefix="example.com")
    assert (mask.prefix, mask.layer) == ("example.com", default)
    assert directories.trusted("example.com/app") == {}
    assert directories.trusted("example.org") == {release.fingerprint: ("root", "user")}
    assert [place.prefix for place in directories.store.in_force(release.fingerprint)] == [None]


def test_a_layer_that_does_not_reach_the_key_is_passed_over(
    directories: Directories, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "default_layer", lambda: "local")
    directories.put("user", "example.com", release)
    _, (mask,) = directories.store.mask(release.fingerprint, prefix="example.com/app")
    assert (mask.prefix, mask.layer) == ("example.com/app", "user")
    assert directories.trusted("example.com/app") == {}
    assert set(directories.trusted("example.com")) == {release.fingerprint}


def test_whoever_names_a_layer_gets_the_mask_there(directories: Directories, release: SigningKey) -> None:
    directories.put("user", "example.com", release)
    _, (mask,) = directories.store.mask(release.fingerprint, prefix="example.com/app", layer="local")
    assert mask.layer == "local"
    assert set(directories.trusted("example.com/app")) == {release.fingerprint}


def test_a_key_can_be_masked_before_it_is_there(
    directories: Directories, release: SigningKey, default: Own
) -> None:
    whole, (mask,) = directories.store.mask(release.fingerprint.upper(), prefix="example.com")
    assert (whole, mask.layer) == (release.fingerprint, default)
    directories.put("system", "example.com", release)
    assert directories.trusted("example.com/app") == {}
    _, (mask,) = directories.store.mask("ab" * 32, root=True)
    assert (mask.layer, mask.path.parts[-4:]) == (default, ("trustedkeys", "ssh", "root.d", "ab" * 32))


def test_what_is_masked_already_stays_as_it_is(directories: Directories, release: SigningKey) -> None:
    directories.put("system", "example.com", release)
    mask = directories.mask("local", "example.com", release)
    for place in ({}, {"prefix": "example.com"}, {"prefix": "example.com", "layer": "user"}):
        assert directories.store.mask(release.fingerprint, **place) == (release.fingerprint, ())  # type: ignore[arg-type]
    assert masks(directories) == [mask]


def test_what_can_not_be_masked(directories: Directories, release: SigningKey, other: SigningKey) -> None:
    directories.put("system", "example.com", release)
    with pytest.raises(KeyNotFound):
        directories.store.mask(other.fingerprint)
    with pytest.raises(UsageError):
        directories.store.mask(other.fingerprint[-16:], prefix="example.com")
    with pytest.raises(UsageError):
        directories.store.mask("ab", prefix="example.com")
    with pytest.raises(InvalidName):
        directories.store.mask(release.fingerprint, prefix="../example.com")
    assert masks(directories) == []
    assert not directories.config.local_config.exists()


def test_a_mask_that_one_user_has_is_none_for_the_machine(directories: Directories, release: SigningKey) -> None:
    directories.put("system", "example.com", release)
    own = directories.mask("user", "example.com", release)
    assert directories.store.mask(release.fingerprint) == (release.fingerprint, ())
    assert [each.layer for each in directories.store.in_force(release.fingerprint, for_others=True)] == ["system"]
    through = directories.store.trusted_through(release.fingerprint, "example.com/app", for_others=True)
    assert through is not None
    assert through.layer == "system"
    _, (mask,) = directories.store.mask(release.fingerprint, layer="local")
    assert mask.layer == "local"
    assert directories.store.in_force(release.fingerprint, for_others=True) == ()
    assert directories.store.trusted_through(release.fingerprint, "example.com", for_others=True) is None
    assert [each.path for each in directories.store.masks(release.fingerprint)] == [mask.path, own]
    assert directories.store.masks(release.fingerprint, root=True) == ()


# Adding what is masked


PLACES: list[tuple[Layer, Own]] = [
    *(("local", "local"), ("user", "local"), ("local", "user"), ("system", "local"), ("user", "user")),
]


@pytest.mark.parametrize(("masked_in", "added_to"), PLACES)
@pytest.mark.parametrize("prefix", [None, "example.com"])
def test_a_masked_key_is_not_added(
    directories: Directories, release: SigningKey, masked_in: Layer, added_to: Own, prefix: str | None
) -> None:
    mask = directories.mask(masked_in, prefix, release)
    for job in (directories.store.add, _would_add(directories.store)):
        with pytest.raises(KeyRefused) as caught:
            job(release.public(), prefix=prefix, source="k", layer=added_to)
        what = "every name" if prefix is None else prefix
        assert caught.value.message == f"key {shown_fingerprint(release.fingerprint)} is masked for {what}"
        assert caught.value.facts == {"masked by": str(mask)}
    assert caught.value.next_step is not None
    assert mask.read_bytes() == b""
    assert [place.path for place in directories.store.places()] == [mask]
    _run(directories, caught.value.next_step, release)
    if masked_in != "system":
        directories.store.add(release.public(), prefix=prefix, source="k", layer=added_to)
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    directories.store.add(release.public(), prefix=prefix, source="k", layer=added_to)


def _would_add(store: TrustStore) -> Callable[..., object]:
    def job(material: bytes, *, prefix: str | None, source: str, layer: Own) -> object:
        return store.would_trust([Offer(source, store.inspect(material))], prefix=prefix, layer=layer)

    return job


def _run(directories: Directories, command: str, key: SigningKey) -> None:
    """Does what the next step of an error says."""
    words = shlex.split(command)
    if words[0] == "install":
        file = directories.config.dir.parent / "KEYFILE"
        file.write_bytes(key.public())
        subprocess.run(words, cwd=file.parent, check=True)
        return
    assert words[:3] == ["acistore", "trust", "unmask"]
    place = {"root": True} if words[3] == "--root" else {"prefix": words[4]}
    directories.store.unmask(words[-1], **place)


def test_a_mask_that_would_take_the_key_away_again_is_told(directories: Directories, release: SigningKey) -> None:
    mask = directories.mask("user", "example.com", release)
    with pytest.raises(KeyRefused, match=r"is masked for example\.com/app") as caught:
        directories.store.add(release.public(), prefix="example.com/app", source="k", layer="local")
    assert caught.value.facts == {"masked by": str(mask)}
    shown = release.fingerprint.upper()
    assert caught.value.next_step == f"acistore trust unmask --prefix example.com {shown}"


def test_a_mask_is_not_replaced_though_another_file_overrides_it(
    directories: Directories, release: SigningKey
) -> None:
    mask = directories.mask("local", "example.com", release)
    directories.put("user", "example.com", release)
    with pytest.raises(KeyRefused, match="is masked"):
        directories.store.add(release.public(), prefix="example.com", source="k", layer="local")
    assert mask.read_bytes() == b""
    directories.store.add(release.public(), prefix="example.com", source="k", layer="user")


def test_a_mask_for_other_names_forbids_nothing(directories: Directories, release: SigningKey) -> None:
    """Whoever masks a key as a root key may well trust it for some names."""
    directories.mask("local", None, release)
    directories.mask("local", "example.com", release)
    directories.mask("user", "example.org", release)
    directories.store.add(release.public(), prefix="example.com/app", source="k", layer="local")
    assert set(directories.trusted("example.com/app")) == {release.fingerprint}
    assert directories.trusted("example.com") == {}


def test_one_masked_key_of_several_keeps_all_out(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.mask("local", "example.com", other)
    with pytest.raises(KeyRefused, match="is masked"):
        directories.store.add(release.public() + other.public(), prefix="example.com", source="k", layer="local")
    assert directories.trusted("example.com") == {}


def test_a_mask_that_comes_in_the_meantime_is_not_undone(
    directories: Directories, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(layers: Mapping[Layer, Path], held: Collection[Layer]) -> AbstractContextManager[None]:
        directories.mask("local", "example.com", release)
        return changes.changing(layers, held)

    monkeypatch.setattr(keystore, "changing", later)
    with pytest.raises(KeyRefused, match="is masked"):
        directories.store.add(release.public(), prefix="example.com", source="k", layer="local")
    assert directories.trusted("example.com") == {}


# Unmasking


def test_an_unmasked_key_counts_again(directories: Directories, release: SigningKey, other: SigningKey) -> None:
    directories.put("system", "example.com", release)
    directories.mask("local", "example.com", release)
    directories.mask("user", "example.com", release)
    kept = directories.mask("user", "example.com", other)
    whole, gone = directories.store.unmask(release.fingerprint[-16:])
    assert (whole, [mask.layer for mask in gone]) == (release.fingerprint, ["local", "user"])
    assert set(directories.trusted("example.com")) == {release.fingerprint}
    assert masks(directories) == [kept]


def test_only_the_masks_that_are_meant_go(directories: Directories, release: SigningKey) -> None:
    paths = [
        directories.mask(layer, prefix, release) for layer in ("local", "user") for prefix in (None, "example.com")
    ]
    directories.store.unmask(release.fingerprint, prefix="example.com", layer="local")
    directories.store.unmask(release.fingerprint, root=True, layer="user")
    assert masks(directories) == [paths[0], paths[3]]
    with pytest.raises(KeyNotFound):
        directories.store.unmask(release.fingerprint, prefix="example.com", layer="local")


def test_a_key_file_is_no_mask(directories: Directories, release: SigningKey) -> None:
    path = directories.put("local", "example.com", release)
    damaged = directories.write("user", "example.com", release.fingerprint, b"junk")
    with pytest.raises(KeyNotFound):
        directories.store.unmask(release.fingerprint)
    assert path.exists()
    assert damaged.exists()


def test_a_mask_of_the_system_layer_stays(directories: Directories, release: SigningKey) -> None:
    path = directories.mask("system", "example.com", release)
    with pytest.raises(FileUnusable) as caught:
        directories.store.unmask(release.fingerprint)
    assert caught.value.facts == {"file": str(path)}
    own = directories.mask("local", "example.com", release)
    _, gone = directories.store.unmask(release.fingerprint)
    assert [mask.path for mask in gone] == [own]
    assert path.exists()


# In listings


def test_a_mask_without_a_key_beside_it_is_listed(
    directories: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.put("system", None, release)
    directories.put("system", "example.com", other)
    directories.mask("local", "example.com", release)
    directories.mask("local", "example.com", other)
    directories.mask("user", None, other)
    rows = [
        (each.place.prefix, each.place.layer, each.place.fingerprint, each.state)
        for each in directories.store.listing()
    ]
    assert rows == [
        (None, "system", release.fingerprint, "valid"),
        (None, "user", other.fingerprint, "masked"),
        ("example.com", "system", other.fingerprint, "masked"),
        ("example.com", "local", release.fingerprint, "masked"),
    ]
    found = directories.store.find(other.fingerprint)
    assert [(each.place.prefix, each.place.layer) for each in found] == [
        (None, "user"),
        ("example.com", "system"),
        ("example.com", "local"),
    ]
    assert {each.deciding.path for each in found if each.place.prefix} == {
        directories.place("local", "example.com", other.fingerprint)
    }
    assert all(each.key and each.key.user_id == other.user_id for each in found)
