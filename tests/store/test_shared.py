"""A store that several users share: a group's, a user's in which root works, one that others may read."""

import os
import stat
from dataclasses import replace
from pathlib import Path

from tests.images import image
from tests.mounts import MIB, Place, command, import_everything, on_a_disk
from tests.store.conftest import files_in
from tests.users import User

GROUP = 40_000
# One with a umask that keeps everything private, the other with the usual one.
ALICE = User(uid=40_001, groups=(40_001, GROUP), umask=0o077)
BOB = User(uid=40_002, groups=(40_002, GROUP), umask=0o022)
EVE = User(uid=40_003, groups=(40_003,), umask=0o022)
ROOT = User(uid=0, groups=(0,), umask=0o077)

SHARED = {f"lib/{n}": os.urandom(70_000) for n in range(3)}


def archive_of(user: User) -> bytes:
    """An image of which most bytes are the user's own."""
    own = {"etc/name": b"%d" % user.uid, "own": bytes([user.uid % 251]) * 400_000}
    return image(f"example.com/user-{user.uid}", {**own, **SHARED})


def run(user: User, *arguments: object) -> str:
    """What the command says to the user, for whom all has to go well."""
    ran = command("-q", *arguments, become=user.become)
    assert (ran.code, ran.err) == (0, ""), (user, arguments, ran)
    return ran.out


def put(place: Place, user: User) -> None:
    """The user's image comes into the store."""
    file = place.elsewhere / f"{user.uid}.aci"
    file.write_bytes(archive_of(user))
    file.chmod(0o644)
    run(user, "--insecure-options", "image", "fetch", file)


def name_of(user: User) -> str:
    return f"example.com/user-{user.uid}"


def use(place: Place, user: User, other: User) -> None:
    """Whoever may change a store does everything with the image of another one."""
    out = place.elsewhere / f"out-{user.uid}"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    assert name_of(other) in run(user, "list")
    assert run(user, "cat", name_of(other), "/etc/name") == str(other.uid)
    run(user, "export", name_of(other), out / "app.aci")
    assert (out / "app.aci").read_bytes() == archive_of(other)
    run(user, "verify")
    run(user, "pin", name_of(other))
    run(user, "unpin", name_of(other))
    run(user, "df")


def everything_in(store: Path) -> list[Path]:
    return sorted([store, *store.rglob("*")])


def modes(store: Path) -> dict[str, str]:
    """The modes of all that is in a store, in octal."""
    return {
        str(path.relative_to(store)): f"{stat.S_IMODE(path.stat().st_mode):o}" for path in everything_in(store)
    }


def owners(store: Path) -> set[tuple[int, int]]:
    return {(path.stat().st_uid, path.stat().st_gid) for path in everything_in(store)}


def check_modes(store: Path, *, directory: str, private: str, file: str) -> None:
    """Everything is open to those to whom the store's own directory is; `private` are spool and tmp."""
    for path, mode in modes(store).items():
        is_private = path in ("spool", "tmp")
        is_directory = (store / path).is_dir()
        assert mode == (private if is_private else directory if is_directory else file), (path, mode)


def share(place: Place, mode: int = 0o2770, user: User = ROOT) -> None:
    """`install -d -m MODE -g GROUP`."""
    place.store.mkdir()
    os.chown(place.store, user.uid, GROUP)
    place.store.chmod(mode)


@on_a_disk(size=96 * MIB)
def test_the_users_of_a_group_use_each_others_images(place: Place) -> None:
    import_everything(place)
    share(place)
    put(place, ALICE)
    check_modes(place.store, directory="2770", private="2770", file="660")
    put(place, BOB)
    check_modes(place.store, directory="2770", private="2770", file="660")
    assert {group for _user, group in owners(place.store)} == {GROUP}
    use(place, ALICE, BOB)
    use(place, BOB, ALICE)

    run(BOB, "rm", name_of(ALICE))
    assert "rewritten" in run(BOB, "gc"), "the bodies that BOB's image needs are in ALICE's pack"
    check_modes(place.store, directory="2770", private="2770", file="660")
    use(place, ALICE, BOB)
    put(place, ALICE)
    run(ALICE, "gc", "--grace-period", "0s")
    assert files_in(place.store) == []
    check_modes(place.store, directory="2770", private="2770", file="660")


@on_a_disk(size=96 * MIB)
def test_who_is_not_of_the_group_sees_nothing(place: Place) -> None:
    import_everything(place)
    share(place)
    put(place, ALICE)
    for arguments in (["list"], ["rm", name_of(ALICE)], ["gc"], ["verify"], ["export", name_of(ALICE), "-"]):
        ran = command("--json", *arguments, become=EVE.become)
        assert (ran.code, ran.out, ran.error["kind"]) == (1, "", "StoreUnavailable"), ran


@on_a_disk(size=96 * MIB)
def test_others_may_read_where_the_directory_lets_them(place: Place) -> None:
    import_everything(place)
    share(place, 0o2775)
    put(place, BOB)
    put(place, ALICE)
    check_modes(place.store, directory="2775", private="2770", file="664")
    assert run(EVE, "list").count(name_of(ALICE)) == 1
    assert run(EVE, "cat", name_of(ALICE), "/etc/name") == str(ALICE.uid)
    run(EVE, "verify")
    run(EVE, "df")
    assert command("rm", name_of(ALICE), become=EVE.become).code == 1
    use(place, ALICE, BOB)


@on_a_disk(size=96 * MIB)
def test_without_a_group_a_store_is_its_users_own(place: Place) -> None:
    import_everything(place)
    place.disk.chmod(0o777)
    put(place, replace(BOB, umask=0))
    check_modes(place.store, directory="700", private="700", file="600")
    assert command("list", become=ALICE.become).code == 1


@on_a_disk(size=96 * MIB)
def test_root_only_looks_into_a_users_store(place: Place) -> None:
    """Whoever can replace files under root's hands could have root write to any other."""
    import_everything(place)
    place.disk.chmod(0o777)
    put(place, ALICE)
    before = sorted(everything_in(place.store))
    run(ROOT, "verify")
    run(ROOT, "export", name_of(ALICE), place.elsewhere / "app.aci")
    for arguments in (["gc"], ["rm", name_of(ALICE)], ["pin", name_of(ALICE)], ["verify", "--repair"]):
        ran = command(*arguments, become=ROOT.become)
        assert (ran.code, "only be read" in ran.err) == (1, True), ran
    assert sorted(everything_in(place.store)) == before
    assert owners(place.store) == {(ALICE.uid, ALICE.uid)}
    run(ALICE, "gc", "--grace-period", "0s")


@on_a_disk(size=96 * MIB)
def test_a_store_can_be_opened_to_a_group_later(place: Place) -> None:
    import_everything(place)
    place.disk.chmod(0o777)
    put(place, ALICE)
    for path in everything_in(place.store):  # chgrp -R, chmod -R g+rwX, and g+s on the directories
        os.chown(path, -1, GROUP)
        path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))
    put(place, BOB)
    use(place, BOB, ALICE)
    use(place, ALICE, BOB)
    check_modes(place.store, directory="2770", private="2770", file="660")
    assert {group for _user, group in owners(place.store)} == {GROUP}
    run(BOB, "rm", name_of(ALICE))
    run(BOB, "gc")
    use(place, ALICE, BOB)
