"""Keys fetched again from where they came: what their owners have signed since is taken, and nothing else.

The publisher's server may be in anybody's hands: it can serve what the owner has signed at any time, and what it
makes itself, but it can sign nothing in the owner's name.
"""

import os
import shlex
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from acistore.config import Limits
from acistore.errors import (
    FileUnusable,
    InsecureTransport,
    KeyNotFound,
    KeyRefused,
    LimitExceeded,
    NetworkError,
    ResourceNotFound,
    UsageError,
)
from acistore.fingerprints import shown_fingerprint
from acistore.refresh import Refreshed, refresh
from acistore.trust import places
from acistore.trust.keys import Layer, PublicKey
from acistore.trust.keystore import changes, renewal, revoking
from acistore.trust.keystore import store as keystore
from acistore.trust.keystore.origins import Origin, change_origins
from acistore.trust.keystore.store import TrustStore
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.mounts import forked
from tests.ssh import SshKeyMaker
from tests.trust.directories import Directories
from tests.trust.hardening.forging import (
    CERTIFICATION,
    CERTIFY,
    DAY,
    SIGN,
    Pair,
    ed25519,
    now,
    packet,
    public_key,
    signed,
    subkey,
    subkey_revocation,
    subpacket,
    user,
)
from tests.users import User
from tests.web import RawServer, WebSite

HOST, PATH = "example.com", "keys.asc"
URL = f"https://{HOST}/{PATH}"
PREFIX = "example.com/app"
KEY_REVOCATION = 0x20
USER_ID = "Owner <owner@example.com>"


class Publisher:
    """Somebody with a key made by hand, and the versions of it that its owner has signed one after another."""

    def __init__(self) -> None:
        self.pair, self.part, self.later = ed25519(), ed25519(), ed25519()

    @property
    def fingerprint(self) -> str:
        return self.pair.fingerprint

    def version(self, *parts: bytes, expires_in: int | None = None, at: int = 0) -> bytes:
        """The key with its first subkey, which ends so many days from now; `at` are the seconds between the making
        of the key and its owner's saying so."""
        made = int.from_bytes(self.pair.body[1:5], "big")
        ends = b"" if expires_in is None else subpacket(9, (now() + expires_in * DAY - made).to_bytes(4, "big"))
        owner = user(self.pair, USER_ID, at=made + at, hashed=ends)
        return packet(6, self.pair.body) + owner + subkey(self.pair, self.part) + b"".join(parts)

    def revoked(self) -> bytes:
        return revoked(self.version(), self.pair, self.pair)


def revoked(key: bytes, about: Pair, by: Pair, *, claims: bytes | None = None) -> bytes:
    """A key with a revocation of it, which may be by another and claim another's key ID."""
    area = None if claims is None else subpacket(2, now().to_bytes(4, "big"))
    free = None if claims is None else subpacket(16, claims)
    revocation = signed(by, about.hashed, kind=KEY_REVOCATION, whole_area=area, unhashed=free)
    first = len(packet(6, about.body))
    return key[:first] + revocation + key[first:]


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def trust(directories: Directories) -> TrustStore:
    return directories.store


@pytest.fixture
def trusted(directories: Directories, publisher: Publisher) -> Callable[[bytes], Path]:
    """Has a version of the key trusted for a while, as it came from its server; the file of it."""

    def trusted(version: bytes) -> Path:
        path = directories.write("local", PREFIX, publisher.fingerprint, version)
        note = f"prefix.d/{PREFIX}/{publisher.fingerprint}"
        change_origins(directories.config.local_config, {note: Origin(URL, datetime(2021, 1, 1, tzinfo=UTC))})
        return path

    return trusted


@pytest.fixture
def refreshed(directories: Directories, web: WebSite) -> Callable[..., Refreshed]:
    """What comes of the one key when its server has that now."""

    def refreshed(served: bytes | None = None) -> Refreshed:
        if served is not None:
            web.put(HOST, PATH, served)
        (result,) = refresh(directories.store, directories.config)
        return result

    return refreshed


def key_in(trust: TrustStore) -> PublicKey:
    (listed,) = trust.all_keys()
    return listed.key


# What the owner has signed since


def news(publisher: Publisher) -> dict[str, tuple[bytes, bytes, list[str]]]:
    """What is known, what is served then, and what has changed by that."""
    version, part = publisher.version, shown_fingerprint(publisher.part.fingerprint)
    past, soon, later = (datetime.fromtimestamp(now() + days * DAY, UTC) for days in (-10, 10, 700))
    added = subkey(publisher.pair, publisher.later)
    return {
        "later end": (
            version(expires_in=10),
            version(expires_in=700, at=DAY),
            [f"expires {later:%Y-%m-%d}, was {soon:%Y-%m-%d}"],
        ),
        "earlier end": (version(), version(expires_in=10, at=DAY), [f"expires {soon:%Y-%m-%d}, was never"]),
        "no longer expired": (
            version(expires_in=-10),
            version(at=DAY),
            [f"expires never, was {past:%Y-%m-%d}"],
        ),
        "new subkey": (
            version(),
            version(added),
            [f"new subkey {shown_fingerprint(publisher.later.fingerprint)}, expires never"],
        ),
        "subkey revoked": (
            version(),
            version(subkey_revocation(publisher.pair, publisher.part)),
            [f"subkey {part} revoked by its owner"],
        ),
        "revoked": (version(), publisher.revoked(), ["revoked by its owner"]),
    }


NEWS = sorted(news(Publisher()))


@pytest.mark.parametrize("what", NEWS)
def test_what_the_owner_has_signed_since_is_taken(
    trust: TrustStore,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    what: str,
) -> None:
    old, new, changed = news(publisher)[what]
    path = trusted(old)
    known = key_in(trust)
    result = refreshed(new)
    assert result.failures == ()
    assert result.renewal is not None
    assert list(result.renewal.changes) == changed
    assert [place.path for place in result.renewal.places] == [path]
    (listed,) = trust.all_keys()
    assert listed.key == result.renewal.key != known
    assert listed.origin is not None
    assert listed.origin.source == URL
    before = path.stat().st_ino, path.stat().st_mtime_ns
    again = refreshed()
    assert again.renewal is not None
    assert (again.renewal.changes, again.renewal.places) == ((), ())
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("what", NEWS)
def test_an_older_copy_takes_nothing_away(
    trust: TrustStore,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    what: str,
) -> None:
    old, new, _ = news(publisher)[what]
    if what == "revoked":
        trusted(old)
        refreshed(new)
    else:
        trusted(new)
    known = key_in(trust)
    result = refreshed(old)
    assert result.renewal is not None
    assert set(result.renewal.changes) <= {"signed anew by its owner"}
    assert replace(key_in(trust), block=known.block) == known
    again = refreshed(old)
    assert again.renewal is not None
    assert again.renewal.places == ()


def test_a_new_user_id_is_taken(
    trust: TrustStore,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
) -> None:
    trusted(publisher.version())
    both = publisher.version() + b""
    first = len(packet(6, publisher.pair.body))
    both = both[:first] + user(publisher.pair, "New <new@example.com>") + both[first:]
    result = refreshed(both)
    assert result.renewal is not None
    assert result.renewal.changes == ("new user ID New <new@example.com>",)
    assert set(key_in(trust).user_ids) == {USER_ID, "New <new@example.com>"}


def test_gpg_made_keys_are_renewed_as_well(directories: Directories, maker: KeyMaker, tmp_path: Path) -> None:
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="30y")
    source = tmp_path / "key.asc"
    source.write_bytes(key.public())
    directories.store.add(key.public(), prefix=PREFIX, source=str(source), layer="local")
    key.add_subkey()
    key.revoke_subkey()
    key.add_subkey(usage="encrypt", algorithm="cv25519")
    source.write_bytes(key.public())
    (result,) = refresh(directories.store, directories.config, key.fingerprint[-16:])
    assert result.renewal is not None
    assert [subkey.revoked for subkey in result.renewal.key.subkeys] == [True, False]


# What somebody else has made


def test_another_key_is_never_taken(
    directories: Directories,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    mallory = ed25519()
    for served in (
        public_key(mallory, "Mallory <mallory@example.net>"),
        public_key(mallory, USER_ID),
        # The owner's subkey, adopted; and the owner's key as a subkey.
        public_key(mallory, USER_ID, subkey(mallory, publisher.part)),
        public_key(mallory, USER_ID, subkey(mallory, publisher.pair)),
    ):
        result = refreshed(served)
        assert result.renewal is None
        (failure,) = result.failures
        assert isinstance(failure, KeyRefused)
        assert "what its source has now is another key" in failure.message
        assert failure.facts["there is"] == shown_fingerprint(mallory.fingerprint)
        assert failure.facts["from"] == URL
        assert (
            failure.next_step == f"acistore trust add --prefix {PREFIX} {URL}  # if the publisher has changed keys"
        )
        assert shown_fingerprint(publisher.fingerprint) in failure.facts["key"]
    assert path.read_bytes() == before
    assert set(directories.trusted(PREFIX)) == {publisher.fingerprint}


def test_of_several_keys_only_the_one_that_is_trusted_is_taken(
    directories: Directories,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
) -> None:
    trusted(publisher.version())
    mallory = public_key(ed25519(), "Mallory <mallory@example.net>")
    result = refreshed(mallory + publisher.version(expires_in=5, at=DAY) + mallory)
    assert result.renewal is not None
    assert len(result.renewal.changes) == 1
    assert set(directories.trusted(PREFIX)) == {publisher.fingerprint}


@pytest.mark.parametrize("claims", [None, "owner"], ids=["as himself", "as the owner"])
def test_a_revocation_by_somebody_else_does_not_count(
    trust: TrustStore,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    claims: str | None,
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    key_id = bytes.fromhex(publisher.fingerprint)[-8:] if claims else None
    result = refreshed(revoked(publisher.version(), publisher.pair, ed25519(), claims=key_id))
    assert result.failures == ()
    assert result.renewal is not None
    assert not result.renewal.key.revoked
    assert path.read_bytes() == before
    assert not key_in(trust).revoked


def test_a_subkey_that_the_owner_has_not_adopted_is_not_taken(
    trust: TrustStore,
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    mallory, part = ed25519(), ed25519()
    stolen = subkey(mallory, part)
    forged = subkey(replace(mallory, body=publisher.pair.body), part)
    bare = packet(14, part.body)
    for parts in (stolen, forged, bare):
        result = refreshed(publisher.version(parts))
        assert result.renewal is not None
        assert result.renewal.changes == ()
    assert path.read_bytes() == before
    assert [each.fingerprint for each in key_in(trust).subkeys] == [publisher.part.fingerprint]


def test_a_key_without_its_self_signatures_is_refused(
    publisher: Publisher, trusted: Callable[[bytes], Path], refreshed: Callable[..., Refreshed]
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    primary, name = packet(6, publisher.pair.body), packet(13, USER_ID.encode())
    for stripped in (primary, primary + name, primary + name + subkey(publisher.pair, publisher.part)):
        result = refreshed(stripped)
        assert result.renewal is None
        assert isinstance(result.failures[0], KeyRefused)
        assert "gpg does not accept" in result.failures[0].message
    assert path.read_bytes() == before


def test_signatures_of_strangers_are_left_out(
    publisher: Publisher, trusted: Callable[[bytes], Path], refreshed: Callable[..., Refreshed]
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    content = USER_ID.encode()
    about = publisher.pair.hashed + b"\xb4" + len(content).to_bytes(4, "big") + content
    spam = signed(ed25519(), about, kind=CERTIFICATION)
    plain = publisher.version()
    where = len(packet(6, publisher.pair.body) + user(publisher.pair, USER_ID))
    result = refreshed(plain[:where] + spam * (900_000 // len(spam)) + plain[where:])
    assert result.failures == ()
    assert result.renewal is not None
    assert result.renewal.changes == ()
    assert path.read_bytes() == before
    result = refreshed(plain[:where] + spam * 1000 + plain[where:] + subkey(publisher.pair, publisher.later))
    assert result.renewal is not None
    assert len(result.renewal.changes) == 1
    assert len(path.read_bytes()) < 3000


def test_secret_keys_are_refused_loudly(
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    release: SigningKey,
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    result = refreshed(release.secret())
    assert isinstance(result.failures[0], KeyRefused)
    assert "SECRET" in result.failures[0].message
    assert path.read_bytes() == before


def test_an_endless_answer_is_given_up(
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    web: WebSite,
    authority: trustme.CA,
) -> None:
    trusted(publisher.version())
    sent = 0

    def endless(connection: socket.socket, _head: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while sent < 100 << 20:
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000

    with RawServer(endless, authority.issue_cert(HOST)) as server:
        web.take_over(HOST, server)
        result = refreshed()
    assert isinstance(result.failures[0], LimitExceeded)
    assert result.failures[0].next_step == "if it is meant to be so: acistore --limits-key-size …"
    assert sent < 100 << 20


def test_what_would_become_too_large_is_refused(
    directories: Directories, publisher: Publisher, tmp_path: Path
) -> None:
    """Each copy is within the limit; together, or armored, they are not."""
    config = replace(directories.config, limits=replace(Limits(), key_size=4096))
    trust = TrustStore.open(config)
    source = tmp_path / "key.pgp"
    trust.add(publisher.version(), prefix=PREFIX, source=str(source), layer="local")
    path = directories.place("local", PREFIX, publisher.fingerprint)
    before = path.read_bytes()
    source.write_bytes(publisher.version(*(subkey(publisher.pair, ed25519()) for _ in range(11))))
    assert source.stat().st_size < 4096
    (result,) = refresh(trust, config)
    assert isinstance(result.failures[0], KeyRefused)
    assert "too large" in result.failures[0].message
    assert path.read_bytes() == before
    with pytest.raises(KeyRefused, match="too large"):
        trust.add(source.read_bytes(), prefix="example.org", source=str(source), layer="local")


# Sources


def test_a_source_that_is_gone_stops_no_other(
    directories: Directories, web: WebSite, release: SigningKey, other: SigningKey, stranger: SigningKey
) -> None:
    here = directories.config.dir.parent / "stranger.asc"
    here.write_bytes(stranger.public())
    web.put(HOST, "index.html", b"")
    config = replace(directories.config, limits=replace(Limits(), retries=0))
    sources = {release: f"https://{HOST}/gone.asc", other: "https://localhost:1/k", stranger: str(here)}
    for key, source in sources.items():
        directories.store.add(key.public(), prefix=PREFIX, source=source, layer="local")
    results = {each.key.fingerprint: each for each in refresh(directories.store, config)}
    assert isinstance(results[release.fingerprint].failures[0], ResourceNotFound)
    assert isinstance(results[other.fingerprint].failures[0], NetworkError)
    assert results[stranger.fingerprint].failures == ()
    assert results[stranger.fingerprint].renewal is not None
    here.unlink()
    (result,) = refresh(directories.store, directories.config, stranger.fingerprint)
    assert isinstance(result.failures[0], FileUnusable)
    assert result.failures[0].facts["from"] == str(here)


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_a_source_that_is_no_file_keeps_nobody_waiting(
    directories: Directories, release: SigningKey, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "source"
    if kind == "pipe":
        os.mkfifo(source)
    elif kind == "directory":
        source.mkdir()
    else:
        source.symlink_to("/dev/zero")
    directories.store.add(release.public(), prefix=PREFIX, source=str(source), layer="local")
    (result,) = refresh(directories.store, directories.config)
    assert isinstance(result.failures[0], FileUnusable)
    assert "not there any more" in result.failures[0].message


def test_plain_http_is_not_asked(directories: Directories, web: WebSite, release: SigningKey) -> None:
    url = web.put(HOST, PATH, release.public(), tls=False)
    directories.store.add(release.public(), prefix=PREFIX, source=url, layer="local")
    (result,) = refresh(directories.store, directories.config)
    assert isinstance(result.failures[0], InsecureTransport)
    assert "--insecure-options=pubkey" in (result.failures[0].next_step or "")
    insecure = replace(directories.config, insecure_options=frozenset({"tls", "http", "image"}))
    (result,) = refresh(directories.store, insecure)
    assert isinstance(result.failures[0], InsecureTransport)
    assert web.log() == []
    (result,) = refresh(directories.store, replace(directories.config, insecure_options=frozenset({"pubkey"})))
    assert result.renewal is not None


def test_a_source_of_several_keys_is_asked_once(
    directories: Directories, web: WebSite, release: SigningKey, other: SigningKey
) -> None:
    url = web.put(HOST, PATH, release.public() + other.public())
    for prefix in (PREFIX, "example.org", None):
        directories.store.add(release.public() + other.public(), prefix=prefix, source=url, layer="local")
    results = list(refresh(directories.store, directories.config))
    assert [each.renewal is not None for each in results] == [True, True]
    assert len(web.log()) == 1


def test_what_has_no_source_is_left_alone(directories: Directories, release: SigningKey, tmp_path: Path) -> None:
    ssh = SshKeyMaker(tmp_path).key()
    directories.put("local", PREFIX, release)
    directories.store.add(ssh.public(), prefix=PREFIX, source=str(ssh.path) + ".pub", layer="local")
    results = {each.key.fingerprint: each for each in refresh(directories.store, directories.config)}
    assert results[release.fingerprint].left_alone == "where it came from is not known"
    assert "SSH" in (results[ssh.fingerprint].left_alone or "")
    assert all(each.renewal is None and not each.failures for each in results.values())
    with pytest.raises(KeyNotFound) as unknown:
        list(refresh(directories.store, directories.config, release.fingerprint))
    assert unknown.value.next_step == f"acistore trust add --prefix {PREFIX} KEYFILE  # adds what is new in it"
    directories.place("local", PREFIX, release.fingerprint).unlink()
    directories.put("local", None, release)
    with pytest.raises(KeyNotFound) as unknown:
        list(refresh(directories.store, directories.config, release.fingerprint, root=True))
    assert unknown.value.next_step == "acistore trust add --root KEYFILE  # adds what is new in it"
    with pytest.raises(UsageError) as nothing:
        list(refresh(directories.store, directories.config, ssh.fingerprint))
    shown = shown_fingerprint(ssh.fingerprint)
    assert nothing.value.next_step == f"acistore trust remove {shown}  # when it is out of use"


def test_keys_of_the_system_layer_are_not_renewed(directories: Directories, release: SigningKey) -> None:
    path = directories.put("system", PREFIX, release)
    (left,) = refresh(directories.store, directories.config)
    assert (left.renewal, left.failures) == (None, ())
    assert left.left_alone == "it belongs to the system layer"
    with pytest.raises(FileUnusable) as caught:
        list(refresh(directories.store, directories.config, release.fingerprint))
    assert caught.value.facts == {"file": str(path)}
    add = f"acistore trust add --prefix {PREFIX} KEYFILE"
    assert caught.value.next_step == f"{add}  # puts a newer copy above it"
    with pytest.raises(KeyNotFound):
        list(refresh(directories.store, directories.config, release.fingerprint, root=True))


# Places


def test_only_the_place_that_is_meant_is_renewed(
    directories: Directories, publisher: Publisher, web: WebSite
) -> None:
    url = web.put(HOST, PATH, publisher.version(expires_in=5, at=DAY))
    for prefix in (PREFIX, "example.org", None):
        directories.store.add(publisher.version(), prefix=prefix, source=url, layer="local")
    (result,) = refresh(directories.store, directories.config, prefix=PREFIX)
    assert result.renewal is not None
    assert [place.prefix for place in result.renewal.places] == [PREFIX]
    (result,) = refresh(directories.store, directories.config, publisher.fingerprint)
    assert result.renewal is not None
    assert [place.prefix for place in result.renewal.places] == [None, "example.org"]


def test_a_revocation_goes_to_every_place_of_the_key(
    directories: Directories, publisher: Publisher, web: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (places, revoking):
        monkeypatch.setattr(module, "default_layer", lambda: "local")
    url = web.put(HOST, PATH, publisher.revoked())
    shipped = directories.write("system", None, publisher.fingerprint, publisher.version())
    directories.write("system", "example.net", publisher.fingerprint, publisher.version())
    directories.write("user", "example.net", publisher.fingerprint, b"")
    directories.write("user", "example.org", publisher.fingerprint, publisher.version())
    directories.store.add(publisher.version(), prefix=PREFIX, source=url, layer="local")
    (result,) = refresh(directories.store, directories.config, prefix=PREFIX)
    assert result.renewal is not None
    assert {(place.prefix, place.layer) for place in result.renewal.places} == {
        (PREFIX, "local"),
        ("example.org", "user"),
        (None, "local"),
    }
    assert shipped.read_bytes() == publisher.version()
    assert {each.state for each in directories.store.all_keys()} == {"revoked", "masked"}
    (again,) = refresh(directories.store, directories.config)
    assert again.renewal is not None
    assert again.renewal.places == ()


# Adding a key that is there already


def test_a_revocation_known_anywhere_is_not_undone_by_adding_an_older_copy(
    directories: Directories, publisher: Publisher
) -> None:
    places: list[tuple[Layer, str | None]] = [("user", "example.net"), ("system", None), ("local", PREFIX)]
    known = publisher.revoked()
    for layer, prefix in places:
        path = directories.write(layer, prefix, publisher.fingerprint, known)
        assert [key.revoked for key in directories.store.inspect(publisher.version())] == [True]
        with pytest.raises(KeyRefused) as caught:
            directories.store.add(publisher.version(), prefix=PREFIX, source="k", layer="local")
        assert "was revoked by its owner" in caught.value.message
        assert caught.value.facts["known from"] == str(path)
        assert path.read_bytes() == known
        path.unlink()


def test_a_revoked_copy_of_a_trusted_key_is_refused_and_says_what_to_do(
    directories: Directories, publisher: Publisher
) -> None:
    directories.store.add(publisher.version(), prefix=PREFIX, source="k", layer="local")
    with pytest.raises(KeyRefused) as caught:
        directories.store.add(publisher.revoked(), prefix=PREFIX, source="k", layer="local")
    assert caught.value.facts["still trusted for"] == PREFIX
    assert caught.value.next_step == f"acistore trust remove {publisher.fingerprint.upper()}"


@pytest.mark.parametrize("what", ["later end", "new subkey", "subkey revoked"])
def test_adding_an_older_copy_takes_nothing_away(
    directories: Directories, publisher: Publisher, what: str
) -> None:
    old, new, _ = news(publisher)[what]
    directories.store.add(new, prefix="example.net", source="new", layer="user")
    (added,) = directories.store.add(old, prefix=PREFIX, source="old", layer="local")
    (known,) = directories.store.inspect(new)
    assert replace(added, block=known.block) == known
    (listed,) = [each for each in directories.store.all_keys() if each.place.prefix == PREFIX]
    assert listed.key == added
    assert listed.origin is not None
    assert listed.origin.source == "old"


def test_several_sources_are_added_together_or_not_at_all(
    directories: Directories, release: SigningKey, expired: SigningKey
) -> None:
    class Source:
        def __init__(self, source: str, material: bytes) -> None:
            self.source, self.material = source, material

    store = directories.store
    offers = store.offers([Source("a", release.public()), Source("b", expired.public())])
    with pytest.raises(KeyRefused, match="has expired"):
        store.trust(offers, prefix=PREFIX, layer="local")
    assert not directories.config.local_config.exists()
    store.trust(offers[:1], prefix=PREFIX, layer="local")
    (listed,) = store.all_keys()
    assert listed.origin is not None
    assert listed.origin.source == "a"


def test_a_key_whose_last_signing_subkey_has_expired_can_not_be_added(
    directories: Directories, publisher: Publisher
) -> None:
    made = int.from_bytes(publisher.part.body[1:5], "big")
    ended = subpacket(9, (now() - DAY - made).to_bytes(4, "big"))
    part = subkey(publisher.pair, publisher.part, hashed=ended)
    old = public_key(publisher.pair, USER_ID, part, uses=CERTIFY)
    with pytest.raises(KeyRefused, match="has expired") as caught:
        directories.store.add(old, prefix=PREFIX, source="k", layer="local")
    yesterday = datetime.fromtimestamp(now() - DAY, UTC)
    assert caught.value.facts == {"from": "k", "expired": f"{yesterday:%Y-%m-%d}"}
    fine = public_key(publisher.pair, USER_ID, part, uses=CERTIFY | SIGN)
    directories.store.add(fine, prefix=PREFIX, source="k", layer="local")


def test_what_was_written_meanwhile_is_not_undone(
    directories: Directories, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock somebody else's refresh finds a revocation."""
    known = publisher.revoked()

    def later(directories_: Mapping[Layer, Path], layers: Collection[Layer]) -> AbstractContextManager[None]:
        directories.write("user", "example.net", publisher.fingerprint, known)
        return changes.changing(directories_, layers)

    monkeypatch.setattr(keystore, "changing", later)
    with pytest.raises(KeyRefused, match="was revoked"):
        directories.store.add(publisher.version(), prefix=PREFIX, source="k", layer="local")
    assert not directories.place("local", PREFIX, publisher.fingerprint).exists()


def test_what_came_meanwhile_in_another_layer_is_not_passed_over(
    directories: Directories, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock somebody trusts an older copy in a layer that is not locked yet."""
    held: list[set[Layer]] = []

    def later(directories_: Mapping[Layer, Path], layers: Collection[Layer]) -> AbstractContextManager[None]:
        held.append(set(layers))
        directories.write("user", "example.net", publisher.fingerprint, publisher.version())
        return changes.changing(directories_, layers)

    directories.write("local", PREFIX, publisher.fingerprint, publisher.version())
    monkeypatch.setattr(keystore, "changing", later)
    renewal = directories.store.renew(publisher.fingerprint, publisher.revoked(), URL)
    assert held == [{"local"}, {"local", "user"}]
    assert {place.layer for place in renewal.places} == {"local", "user"}
    assert {each.state for each in directories.store.all_keys()} == {"revoked"}


def test_sources_of_another_machine_can_be_anything(directories: Directories, release: SigningKey) -> None:
    directories.put("local", PREFIX, release)
    note = f"prefix.d/{PREFIX}/{release.fingerprint}"
    for source in ("", "file:///etc/passwd", "\x1b[2J", "ftp://example.com/k", "a" * 5000, "https://"):
        change_origins(directories.config.local_config, {note: Origin(source, datetime.now(UTC))})
        (result,) = refresh(directories.store, directories.config)
        assert result.renewal is None
        assert len(result.failures) == 1


# Users who may change their own layer alone


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (places, renewal, revoking):
        monkeypatch.setattr(module, "default_layer", lambda: "user")


@pytest.mark.usefixtures("ordinary")
def test_to_an_ordinary_user_the_local_layer_is_like_that_of_the_system(
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    directories: Directories,
) -> None:
    path = trusted(publisher.version())
    before = path.read_bytes()
    path.parent.chmod(0o555)
    result = refreshed(publisher.version(expires_in=5, at=DAY))
    assert result.renewal is not None
    assert [(each.prefix, each.layer) for each in result.renewal.places] == [(PREFIX, "user")]
    (accepted,) = directories.store.keys_for(PREFIX)
    assert accepted.place.layer == "user"
    again = refreshed()
    assert again.renewal is not None
    assert again.renewal.places == ()
    result = refreshed(publisher.revoked())
    assert result.renewal is not None
    assert [(each.prefix, each.layer) for each in result.renewal.places] == [(PREFIX, "user")]
    assert path.read_bytes() == before
    path.parent.chmod(0o755)


@pytest.mark.usefixtures("ordinary")
def test_a_newer_copy_does_not_override_the_users_own_mask(
    publisher: Publisher,
    trusted: Callable[[bytes], Path],
    refreshed: Callable[..., Refreshed],
    directories: Directories,
) -> None:
    trusted(publisher.version())
    mask = directories.write("user", PREFIX, publisher.fingerprint, b"")
    result = refreshed(publisher.revoked())
    assert result.renewal is not None
    assert result.renewal.places == ()
    assert mask.read_bytes() == b""


def test_a_user_who_cannot_write_the_local_layer_learns_of_a_revocation(
    publisher: Publisher, trusted: Callable[[bytes], Path], directories: Directories
) -> None:
    path = trusted(publisher.version())
    config = directories.config
    config.user_config.mkdir(parents=True, exist_ok=True)
    for parent in (config.dir.parent, *config.dir.parent.parents[:3]):
        parent.chmod(0o755)
    path.parent.chmod(0o555)
    user = User(4711, (4711,))
    if os.geteuid() == 0:
        os.chown(config.user_config, user.uid, user.uid)

    def job() -> int:
        done = directories.store.renew(publisher.fingerprint, publisher.revoked(), URL)
        sys.stdout.write(" ".join(place.layer for place in done.places))
        return 0

    ran = forked(job, become=user.become if os.geteuid() == 0 else lambda: None)
    path.parent.chmod(0o755)
    assert (ran.code, ran.out) == (0, "user"), ran.err
    (listed, above) = directories.store.all_keys()
    assert (listed.place.layer, listed.state) == ("local", "revoked")
    assert (above.place.layer, above.key.revoked) == ("user", True)


# What a page or bundle names is not a command


def test_a_url_in_the_next_step_is_one_word(
    publisher: Publisher, release: SigningKey, directories: Directories
) -> None:
    directories.write("local", PREFIX, publisher.fingerprint, publisher.version())
    source = "https://example.com/$(id);`id`.asc"
    with pytest.raises(KeyRefused) as caught:
        directories.store.renew(publisher.fingerprint, release.public(), source)
    command, _, _ = (caught.value.next_step or "").rpartition("  # ")
    assert shlex.split(command) == ["acistore", "trust", "add", "--prefix", PREFIX, source]
    assert f"'{source}'" in command
