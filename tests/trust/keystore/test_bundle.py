"""Trusted keys carried from one machine to another in one file, which may be anybody's."""

import itertools
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acistore.cli.trust.force import not_as_wished, only_for_this_user
from acistore.errors import AcistoreError, FileUnusable, KeyRefused, UsageError
from acistore.trust import places
from acistore.trust.keys import Layer, Place
from acistore.trust.keystore import bundle as bundles
from acistore.trust.keystore import carrying, masking, revoking
from acistore.trust.keystore.arriving import Arrival
from acistore.trust.keystore.bundle import Bundle, BundledMask
from acistore.trust.keystore.store import TrustStore
from acistore.trust.openpgp.framing import armored
from acistore.trust.openpgp.packets import read_key_blocks
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.ssh import SshKeyMaker, SshSigningKey
from tests.trust.directories import Directories

PREFIX = "example.com/app"
LAYERS: tuple[Layer, ...] = ("system", "local", "user")
SOURCE = "https://example.com/ké.asc"


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (carrying, masking, places, revoking):
        monkeypatch.setattr(module, "default_layer", lambda: "local")


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> SshSigningKey:
    return SshKeyMaker(tmp_path_factory.mktemp("ssh")).key(comment="ci@bäcker")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Directories:
    """Another machine."""
    return Directories(tmp_path / "elsewhere")


@pytest.fixture
def full(
    directories: Directories,
    ssh: SshSigningKey,
    release: SigningKey,
    other: SigningKey,
    expired: SigningKey,
) -> Directories:
    """A machine with something of everything."""
    directories.store.add(release.public(), prefix=PREFIX, source=SOURCE, layer="local")
    directories.store.add(release.public(), prefix=None, source="/etc/keys/é", layer="user")
    directories.store.add(ssh.public(), prefix=PREFIX, source="/k", layer="local")
    directories.put("local", "example.org", expired)
    directories.put("system", None, other)
    directories.mask("local", "example.com", other)
    directories.mask("user", "example.net", other)
    return directories


def rows(store: TrustStore) -> list[tuple[object, ...]]:
    """What `trust list` says, but for the layers."""
    return sorted(
        (
            each.place.prefix or "",
            each.place.fingerprint,
            each.state,
            each.key.user_ids if each.key else None,
            each.origin.source if each.origin else "",
            each.origin.added_at if each.origin else None,
        )
        for each in store.listing()
    )


def written(arrivals: Sequence[Arrival]) -> list[Place]:
    return [place for each in arrivals for place in each.places]


def refusal(material: bytes) -> KeyRefused:
    with pytest.raises(KeyRefused) as caught:
        Bundle.parse(material)
    return caught.value


def test_what_is_trusted_here_is_trusted_elsewhere(full: Directories, elsewhere: Directories) -> None:
    carried = full.store.export().to_json()
    arrivals = elsewhere.store.restore(Bundle.parse(carried))
    assert {place.layer for place in written(arrivals)} == {"local"}
    assert {each.outcome for each in arrivals} == {"new"}
    assert rows(elsewhere.store) == rows(full.store)
    assert elsewhere.store.export().to_json() == carried
    for name in ("example.com/app", "example.com", "example.org", "example.net/x", "a"):
        assert set(elsewhere.trusted(name)) == set(full.trusted(name))


def test_the_same_says_the_same(full: Directories) -> None:
    assert full.store.export().to_json() == full.store.export().to_json()
    document = json.loads(full.store.export().to_json())
    assert (document["format"], document["version"]) == ("acistore trusted keys", 1)
    assert set(document["keys"][0]) == {"prefix", "fingerprint", "key", "source", "added_at"}
    assert document["masks"][0]["prefix"] == "example.com"


def test_on_the_same_machine_nothing_changes(full: Directories) -> None:
    before = [(each.place, each.state, each.origin) for each in full.store.listing()]
    arrivals = full.store.restore(full.store.export())
    assert {each.outcome for each in arrivals} == {"known"}
    assert written(arrivals) == []
    assert [(each.place, each.state, each.origin) for each in full.store.listing()] == before


def test_whoever_names_a_layer_gets_everything_there(full: Directories, elsewhere: Directories) -> None:
    arrivals = elsewhere.store.restore(full.store.export(), layer="user")
    assert {place.layer for place in written(arrivals)} == {"user"}
    assert not elsewhere.config.local_config.exists()


def test_a_mask_travels_and_not_the_key_that_it_masks(
    directories: Directories, elsewhere: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.put("local", PREFIX, release)
    directories.mask("user", PREFIX, release)
    directories.put("local", "example.org", other)
    exported = directories.store.export()
    assert [(each.prefix, each.fingerprint) for each in exported.masks] == [(PREFIX, release.fingerprint)]
    assert [each.fingerprint for each in exported.keys] == [other.fingerprint]
    elsewhere.put("system", None, release)
    elsewhere.store.restore(exported)
    assert elsewhere.trusted(PREFIX) == {}
    assert set(elsewhere.trusted("example.net")) == {release.fingerprint}


def test_a_mask_that_comes_takes_the_place_of_the_key_for_all_users(
    directories: Directories, elsewhere: Directories, release: SigningKey
) -> None:
    directories.put("local", PREFIX, release)
    older = directories.store.export()
    directories.mask("user", PREFIX, release)
    exported = directories.store.export()
    key = elsewhere.put("local", PREFIX, release)
    (arrival,) = elsewhere.store.would_restore(exported)
    assert (arrival.outcome, [each.path for each in arrival.here]) == ("new", [key])
    assert elsewhere.store.restore(exported) == (arrival,)
    assert [each.layer for each in arrival.places] == ["local"]
    assert key.read_bytes() == b""
    assert elsewhere.store.in_force(release.fingerprint, for_others=True) == ()
    (again,) = elsewhere.store.restore(exported)
    assert (again.outcome, again.places) == ("known", ())
    (left,) = elsewhere.store.restore(older)
    assert (left.outcome, left.places, [each.path for each in left.here]) == ("masked", (), [key])
    (left,) = elsewhere.store.restore(older, layer="user")
    assert left.outcome == "masked"
    assert elsewhere.trusted(PREFIX) == {}


def test_a_mask_that_comes_takes_its_place_though_one_user_has_masked_it(
    directories: Directories, elsewhere: Directories, release: SigningKey
) -> None:
    directories.mask("local", PREFIX, release)
    key = elsewhere.put("local", PREFIX, release)
    elsewhere.mask("user", PREFIX, release)
    (arrival,) = elsewhere.store.restore(directories.store.export())
    assert [each.path for each in arrival.places] == [key]
    assert key.read_bytes() == b""


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_mask_that_comes_reaches_a_key_of_the_users_own_as_well(
    directories: Directories, elsewhere: Directories, release: SigningKey, is_masked: bool
) -> None:
    directories.mask("local", PREFIX, release)
    exported = directories.store.export()
    key = elsewhere.put("user", PREFIX, release)
    if is_masked:
        elsewhere.mask("local", PREFIX, release)
    (arrival,) = elsewhere.store.restore(exported)
    assert [each.layer for each in arrival.places] == (["user"] if is_masked else ["local", "user"])
    assert [each.path for each in arrival.here] == [key]
    assert elsewhere.trusted(PREFIX) == {}
    assert elsewhere.store.restore(exported)[0].outcome == "known"


def test_a_mask_goes_where_it_is_wanted_though_one_user_has_it(
    directories: Directories, elsewhere: Directories, release: SigningKey
) -> None:
    directories.mask("local", PREFIX, release)
    exported = directories.store.export()
    elsewhere.put("system", PREFIX, release)
    elsewhere.mask("user", PREFIX, release)
    assert written(elsewhere.store.restore(exported)) == []
    (mask,) = written(elsewhere.store.restore(exported, layer="local"))
    assert mask.layer == "local"
    assert elsewhere.store.in_force(release.fingerprint, for_others=True) == ()


def test_what_is_masked_here_stays_so_and_the_rest_goes_on(
    directories: Directories, elsewhere: Directories, release: SigningKey, other: SigningKey
) -> None:
    directories.put("local", PREFIX, release)
    directories.put("local", PREFIX, other)
    exported = directories.store.export()
    above = elsewhere.mask("user", "example.com", other)  # which has the last word for example.com/app, too
    mask = elsewhere.mask("local", PREFIX, release)
    outcomes = {each.fingerprint: each for each in elsewhere.store.restore(exported)}
    assert {each.outcome for each in outcomes.values()} == {"masked"}
    assert [each.path for each in outcomes[release.fingerprint].here] == [mask]
    assert [each.path for each in outcomes[other.fingerprint].here] == [above]
    above.unlink()
    outcomes = {each.fingerprint: each for each in elsewhere.store.restore(exported)}
    assert outcomes[release.fingerprint].outcome == "masked"
    assert outcomes[other.fingerprint].outcome == "new"
    assert set(elsewhere.trusted(PREFIX)) == {other.fingerprint}
    assert mask.read_bytes() == b""


def test_each_key_is_new_or_changed_or_known(
    directories: Directories, elsewhere: Directories, maker: KeyMaker, release: SigningKey, other: SigningKey
) -> None:
    renewed = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    for key in (renewed, release):
        elsewhere.put("local", PREFIX, key)
    renewed.expire("30y", at="20200601T000000")
    for key in (renewed, release, other):
        directories.put("local", PREFIX, key)
    coming = {each.fingerprint: each for each in elsewhere.store.would_restore(directories.store.export())}
    assert {each: (coming[each].outcome, coming[each].changes) for each in coming} == {
        renewed.fingerprint: ("changed", ("expires 2050-05-25, was 2020-12-31",)),
        release.fingerprint: ("known", ()),
        other.fingerprint: ("new", ()),
    }
    assert elsewhere.store.restore(directories.store.export()) == tuple(coming.values())
    again = elsewhere.store.restore(directories.store.export())
    assert {each.outcome for each in again} == {"known"}


PLACES = (None, "a", "a/b", "a/b/c")
CELLS = list(itertools.product(LAYERS, PLACES))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=st.lists(st.sampled_from(["", "", "key", "mask", "junk"]), min_size=len(CELLS), max_size=len(CELLS)))
def test_a_bundle_says_for_every_name_what_the_layers_say(
    tmp_path_factory: pytest.TempPathFactory, release: SigningKey, layout: list[str]
) -> None:
    here = Directories(tmp_path_factory.mktemp("here"))
    there = Directories(tmp_path_factory.mktemp("there"))
    content = {"key": release.public(), "mask": b"", "junk": b"junk"}
    for (layer, prefix), what in zip(CELLS, layout, strict=True):
        if what:
            here.write(layer, prefix, release.fingerprint, content[what])
    there.store.restore(Bundle.parse(here.store.export().to_json()))
    for name in ("a", "a/b", "a/b/c", "a/b/c/d", "a/x", "b"):
        assert set(there.trusted(name)) == set(here.trusted(name)), name
    assert len(there.store.rules_for(None).keys) == len(here.store.rules_for(None).keys)


# What is known here


def test_an_older_copy_undoes_nothing(elsewhere: Directories, directories: Directories, maker: KeyMaker) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="1y")
    directories.put("local", PREFIX, key)
    old = directories.store.export()
    key.expire("0", at="20200601T000000")
    elsewhere.put("user", PREFIX, key)
    (arrival,) = elsewhere.store.restore(old)
    assert (arrival.outcome, arrival.changes) == ("changed", ("signed anew by its owner",))
    assert arrival.places == (elsewhere.store.all_keys()[0].place,)
    assert [(each.place.layer, each.state) for each in elsewhere.store.all_keys()] == [("user", "valid")]
    key.revoke()
    elsewhere.put("system", "example.net", key)
    elsewhere.store.restore(old, layer="local")
    assert {each.state for each in elsewhere.store.all_keys()} == {"revoked"}


def test_a_revocation_that_comes_reaches_every_place(
    directories: Directories, elsewhere: Directories, maker: KeyMaker
) -> None:
    key = maker.key("Gone <gone@example.com>")
    elsewhere.put("user", "example.org", key)
    elsewhere.put("system", None, key)
    key.revoke()
    directories.put("local", PREFIX, key)
    exported = directories.store.export()
    assert all(each.key and each.key.revoked for each in elsewhere.store.would_restore(exported))
    arrivals = elsewhere.store.restore(exported)
    assert [(each.prefix, each.outcome, each.changes) for each in arrivals] == [
        (PREFIX, "new", ()),
        ("example.org", "changed", ("revoked by its owner",)),
        (None, "changed", ("revoked by its owner",)),
    ]
    assert {each.state for each in elsewhere.store.all_keys()} == {"revoked"}


def test_some_of_the_keys_can_be_chosen(full: Directories, release: SigningKey, other: SigningKey) -> None:
    chosen, left_out = full.store.export().only([release.fingerprint.upper()])
    assert {each.fingerprint for each in chosen.entries} == {release.fingerprint}
    assert len(chosen.keys) == 2
    assert other.fingerprint in left_out
    with pytest.raises(KeyRefused, match="is not in the file"):
        full.store.export().only(["ab" * 20])
    with pytest.raises(UsageError):
        full.store.export().only([release.fingerprint[-16:]])


def test_all_is_done_or_nothing(full: Directories, elsewhere: Directories) -> None:
    exported = full.store.export()
    (elsewhere.config.local_config / "trustedkeys").mkdir(parents=True)
    (elsewhere.config.local_config / "trustedkeys/root.d").write_text("a file where a directory should be")
    before = {path for path in elsewhere.config.local_config.rglob("*") if path.is_file()}
    with pytest.raises(FileUnusable):
        elsewhere.store.restore(exported)
    assert {path for path in elsewhere.config.local_config.rglob("*") if path.is_file()} == before


# Files that mean harm


@pytest.fixture
def document(directories: Directories, release: SigningKey) -> dict[str, Any]:
    directories.store.add(release.public(), prefix=PREFIX, source=SOURCE, layer="local")
    found: dict[str, Any] = json.loads(directories.store.export().to_json())
    return found


def test_a_field_more_is_no_matter(document: dict[str, Any]) -> None:
    document["comment"] = document["keys"][0]["note"] = {"made by": "somebody"}
    assert len(Bundle.parse(json.dumps(document).encode()).keys) == 1


@pytest.mark.parametrize(
    "material",
    [
        b"",
        b"junk",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b"1" * 5000,
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"format": "acistore trusted keys"}',
        b'{"format": "acistore trusted keys", "version": 1}',
        b'{"format": "acistore trusted keys", "version": 1, "keys": {}, "masks": []}',
        b'{"format": "acistore trusted keys", "version": 1, "keys": [], "masks": [[]]}',
        b'{"format": "acistore trusted keys", "version": NaN, "keys": [], "masks": []}',
        b'{"format": "acistore trusted keys", "version": 1, "version": 1, "keys": [], "masks": []}',
    ],
    ids=range(15),
)
def test_what_is_something_else_is_refused(material: bytes) -> None:
    error = refusal(material)
    assert error.message.startswith("the file is not a file of trusted keys: ")
    assert error.next_step


def test_a_later_version_is_refused_with_what_to_do(document: dict[str, Any]) -> None:
    document["version"] = 2
    error = refusal(json.dumps(document).encode())
    assert error.message == (
        "the file can't be read: it is in version 2 of the format, and this acistore knows 1 alone"
    )
    assert error.next_step == "use a newer acistore"
    document["version"] = "2"
    assert refusal(json.dumps(document).encode()).message == (
        'the file is not a file of trusted keys: "version" is not a number'
    )


Change = Callable[[dict[str, Any], SigningKey], object]


def _another_key(entry: dict[str, Any], other: SigningKey) -> None:
    entry["key"] = other.public().decode()


def _second_key(entry: dict[str, Any], other: SigningKey) -> None:
    entry["key"] += other.public().decode()


def _secret_key(entry: dict[str, Any], other: SigningKey) -> None:
    entry["key"] = other.secret().decode()


HARM: dict[str, tuple[Change, str]] = {
    "another key": (_another_key, "it holds another key than its fingerprint says"),
    "a second key": (_second_key, "it holds another key than its fingerprint says"),
    "a secret key": (_secret_key, "this is a SECRET key"),
    "a way out": (lambda entry, _: entry.update(prefix="../../etc"), "is not a prefix"),
    "dots": (lambda entry, _: entry.update(prefix="a/../b"), "is not a prefix"),
    "a way to the top": (lambda entry, _: entry.update(prefix="/etc"), "is not a prefix"),
    "an empty prefix": (lambda entry, _: entry.update(prefix=""), "is not a prefix"),
    "no prefix": (lambda entry, _: entry.pop("prefix"), '"prefix" is missing'),
    "a number": (lambda entry, _: entry.update(prefix=5), '"prefix" is not a text'),
    "a path": (lambda entry, _: entry.update(fingerprint="../" * 13 + "a"), "is not a whole fingerprint"),
    "capitals": (lambda entry, _: entry.update(fingerprint=entry["fingerprint"].upper()), "lower-case"),
    "half a fingerprint": (
        lambda entry, _: entry.update(fingerprint=entry["fingerprint"][:16]),
        "is not a whole fingerprint",
    ),
    "another scheme": (lambda entry, _: entry.update(fingerprint="ab" * 32), "not an SSH public key"),
    "no key": (lambda entry, _: entry.update(key=None), '"key" is not a text'),
    "a broken key": (lambda entry, _: entry.update(key=entry["key"][:-80]), "it is cut off"),
    "a surrogate": (lambda entry, _: entry.update(key="\ud800"), '"key" is not text'),
    "a long source": (lambda entry, _: entry.update(source="x" * 5000), '"source" is too long'),
    "a source without a time": (lambda entry, _: entry.update(added_at=None), '"added_at" is not a text'),
    "no time": (lambda entry, _: entry.update(added_at="yesterday"), '"added_at" is not a time'),
    "no zone": (lambda entry, _: entry.update(added_at="2026-01-01T00:00:00"), '"added_at" is not a time'),
    "a time before time": (
        lambda entry, _: entry.update(added_at="0001-01-01T00:00:00+14:00"),
        '"added_at" is not a time',
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_an_entry_that_is_not_in_order_is_named(document: dict[str, Any], other: SigningKey, harm: str) -> None:
    change, problem = HARM[harm]
    change(document["keys"][0], other)
    message = refusal(json.dumps(document).encode()).message
    assert message.startswith("the file is not a file of trusted keys: keys, number 1: ")
    assert problem in message


def test_a_place_that_is_there_twice_is_refused(document: dict[str, Any]) -> None:
    entry = document["keys"][0]
    twice = document | {"keys": [entry, entry]}
    masked = document | {"masks": [{"prefix": entry["prefix"], "fingerprint": entry["fingerprint"]}]}
    for each in (twice, masked):
        assert "twice for the same names" in refusal(json.dumps(each).encode()).message


def test_what_is_too_much_is_refused(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "larger than" in refusal(b" " * (bundles.LARGEST + 1)).message
    document["masks"] = [{"prefix": f"a{number}", "fingerprint": "ab" * 20} for number in range(10_001)]
    assert '"masks" is not a list of at most 10000' in refusal(json.dumps(document).encode()).message


def test_a_key_that_gpg_does_not_accept_is_refused(
    directories: Directories, elsewhere: Directories, document: dict[str, Any], release: SigningKey
) -> None:
    (block,) = read_key_blocks(release.public())
    primary = block.packets[: 2 + block.packets[1]]  # gpg writes short lengths
    document["keys"][0]["key"] = armored(primary).decode()
    bundle = Bundle.parse(json.dumps(document).encode())
    for step in (elsewhere.store.would_restore, elsewhere.store.restore):
        with pytest.raises(KeyRefused, match="gpg does not accept"):
            step(bundle)
    assert not elsewhere.config.local_config.exists()
    directories.write("local", PREFIX, release.fingerprint, armored(primary))
    assert directories.store.export() == Bundle((), ())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_never_more_than_a_refusal(document: dict[str, Any], data: st.DataObject) -> None:
    material = bytearray(json.dumps(document, indent=2).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(material) - 1))
        material[position] = data.draw(st.integers(0, 255))
    try:
        bundle = Bundle.parse(bytes(material))
    except KeyRefused:
        return
    except AcistoreError as error:
        raise AssertionError(f"{error!r} is no refusal") from error
    assert all(each.fingerprint == each.block.fingerprint for each in bundle.keys)


# Time of the note


def test_when_a_key_was_added_is_carried_to_the_second(document: dict[str, Any]) -> None:
    document["keys"][0]["added_at"] = "2026-01-31T12:00:00.75+02:00"
    (key,) = Bundle.parse(json.dumps(document).encode()).keys
    assert key.origin is not None
    assert key.origin.added_at == datetime(2026, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("version", [True, 1.0, "1", None])
def test_a_version_is_a_whole_number(document: dict[str, Any], version: object) -> None:
    document["version"] = version
    with pytest.raises(KeyRefused, match='"version" is not a number'):
        Bundle.parse(json.dumps(document).encode())


def test_a_source_with_a_password_is_left_out(document: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    document["keys"][0]["source"] = "https://bob:secret@example.com/k.asc"
    (key,) = Bundle.parse(json.dumps(document).encode()).keys
    assert key.origin is None
    assert "is left out: the URL has a user name or password in it" in caplog.text
    assert "secret" not in caplog.text


# Many, and who may write where


def test_what_is_said_of_many_masks_is_read_once(
    directories: Directories, elsewhere: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    scandir = os.scandir

    def counting(path: Path) -> Any:
        looked.append(Path(path))
        return scandir(path)

    masks = tuple(BundledMask(None, f"{number:040x}") for number in range(100))
    written = [place for each in elsewhere.store.restore(Bundle((), masks)) for place in each.places]
    assert len(written) == len(masks)
    monkeypatch.setattr(os, "scandir", counting)
    assert list(not_as_wished(elsewhere.store, written)) == []
    assert list(only_for_this_user(elsewhere.store, written)) == []
    assert len(looked) < len(masks)


def test_an_ordinary_user_takes_over_into_the_own_layer(
    directories: Directories, elsewhere: Directories, maker: KeyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (carrying, masking, places, revoking):
        monkeypatch.setattr(module, "default_layer", lambda: "user")
    key = maker.key("Gone <gone@example.com>", at=LONG_AGO)
    old = elsewhere.put("local", PREFIX, key)
    other = elsewhere.put("local", "example.org", key)
    before = old.read_bytes()
    key.revoke()
    directories.put("user", PREFIX, key)
    arrivals = elsewhere.store.restore(directories.store.export())
    written = {(place.prefix, place.layer) for each in arrivals for place in each.places}
    assert written == {(PREFIX, "user"), ("example.org", "user")}
    assert old.read_bytes() == other.read_bytes() == before
