"""A damaged store is mended from where its images came from; nothing is dropped without consent."""

import gzip
import io
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from acistore.config import Limits, Mirror
from acistore.errors import StoreTooNew, TransferFailed
from acistore.fetch.repair import Repaired, Repairer
from acistore.naming import ImageName
from acistore.store import Admission, Store, StoredImage, always
from tests.fetch.conftest import HOST, LABELS, LARGE, NAME, Operator, Publisher, Unsteady, served
from tests.images import image
from tests.store.damaging import lose_database, rot, the_pack_with
from tests.waiting import PATIENCE
from tests.web import RawServer, answering

OWN, SHARED = b"app's own\n" * 300, b"shared with others\n" * 300
APP = image(NAME, {"etc/own": OWN, "etc/shared": SHARED}, labels=LABELS)
BASE_NAME = "example.com/base"
BASE = image(BASE_NAME, {"etc/base": b"base's own\n" * 300, "also/shared": SHARED}, labels=LABELS)
ACI = f"acis/{NAME}-1.0.aci"


@pytest.fixture
def shop(publisher: Publisher, operator: Operator) -> Operator:
    """Somebody who has fetched two images that share a body."""
    publisher.publish(APP)
    publisher.publish(BASE, name=BASE_NAME)
    operator.trusts(publisher.key, HOST)
    operator.fetch()
    operator.fetch(f"{BASE_NAME}:1.0")
    return operator


def never(images: Sequence[StoredImage]) -> bool:
    raise AssertionError(f"nobody need be asked about {images}")


def no(images: Sequence[StoredImage]) -> bool:
    return False


def yes(images: Sequence[StoredImage]) -> bool:
    return True


def repair(
    operator: Operator, consent: Callable[[Sequence[StoredImage]], bool] = never, **limits: int
) -> Repaired:
    operator.store.close()
    config = replace(operator.config, limits=replace(Limits(), **limits))
    return Repairer(config, progress=operator, consent=consent).repair()


def held(operator: Operator) -> dict[str, bytes]:
    """The tars of all images, by name, as they are exported."""
    with Store.open(operator.config.dir) as store:
        assert store.verify().damaged == ()
        tars = {}
        for each in store.list():
            out = io.BytesIO()
            store.export(each, out)
            tars[each.name] = out.getvalue()
        return tars


def downloads(publisher: Publisher) -> int:
    return sum(".aci 200" in line for line in publisher.web.log())


def packs(operator: Operator) -> set[str]:
    return {path.name for path in (operator.config.dir / "packs").iterdir()}


# --- bodies and skeletons


def test_a_damaged_body_is_fetched_again_and_everything_else_stays(shop: Operator, publisher: Publisher) -> None:
    before = shop.store.find(shop.store.list()[-1].image_name)
    shop.store.pin(before)
    admissions, remotes = shop.store.admissions(before), shop.store.remotes(before)
    damaged = rot(shop.config.dir, OWN)
    others = packs(shop) - {damaged.name}
    repaired = repair(shop)
    assert (repaired.report.ok, repaired.rebuilt, repaired.dropped, repaired.lost) == (True, None, (), ())
    assert [each.id for each in repaired.repaired] == [before.id]
    assert others < packs(shop)
    assert not damaged.exists()
    with Store.open(shop.config.dir) as store:
        after = store.get(before.id)
        assert after == replace(before, pinned=True)
        assert (store.admissions(after), store.remotes(after)) == (admissions, remotes)
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}
    assert downloads(publisher) == 3


def test_what_a_fetch_has_kept_is_gone_on_with_or_left_to_it(unsteady: Unsteady, operator: Operator) -> None:
    file, _ = unsteady.publish(LARGE)
    operator.trusts(unsteady.key, HOST)
    [stored] = [operator.fetch(unsteady.url())]
    file.cuts = [1000]
    operator.config = replace(operator.config, limits=Limits(retries=0))
    with pytest.raises(TransferFailed):
        operator.fetch(unsteady.url(), no_cache=True)
    rot(operator.config.dir, bytes([3]) * 40_000)
    file.cuts = [0]
    assert not repair(operator, no, retries=0).report.ok
    assert operator.partials() == [1000]
    assert [each.id for each in repair(operator).repaired] == [stored.id]
    assert file.ranges[-2:] == ["bytes=1000-"] * 2
    assert operator.partials() == []


def test_only_what_is_lost_is_written_again(publisher: Publisher, operator: Operator) -> None:
    large = bytes(range(256)) * 4000
    archive = image(NAME, {"large": large, "etc/own": OWN}, labels=LABELS)
    publisher.publish(archive)
    operator.trusts(publisher.key)
    operator.fetch()
    operator.store.close()
    rot(operator.config.dir, OWN)
    with Store.open(operator.config.dir) as store:
        store.heal(store.list()[0], io.BytesIO(archive))
    [healed] = [path for path in (operator.config.dir / "packs").iterdir() if path.stat().st_size < len(large)]
    assert healed.stat().st_size < len(OWN) + 4000


def test_one_download_mends_all_images_that_share_what_was_damaged(shop: Operator, publisher: Publisher) -> None:
    rot(shop.config.dir, SHARED)
    repaired = repair(shop)
    assert repaired.report.ok
    assert {each.name for each in repaired.repaired} == {NAME, BASE_NAME}
    assert downloads(publisher) == 3
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_a_damaged_skeleton_is_made_again(shop: Operator) -> None:
    pack = the_pack_with(shop.config.dir, OWN)
    with Store.open(shop.config.dir) as store, store._disk.packs.open(pack.name) as reader:
        [skeleton] = [each for each in reader.contents() if each.kind == b"s"]
    flip_at = skeleton.offset + skeleton.length // 2
    data = bytearray(pack.read_bytes())
    data[flip_at] ^= 1
    pack.write_bytes(data)
    assert repair(shop).report.ok
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_a_missing_pack_is_fetched_again(shop: Operator) -> None:
    the_pack_with(shop.config.dir, OWN).unlink()
    repaired = repair(shop)
    assert repaired.report.ok
    assert {each.name for each in repaired.repaired} == {NAME, BASE_NAME}
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_an_image_from_a_file_is_mended_from_that_file(operator: Operator, tmp_path: Path) -> None:
    source = tmp_path / "app.aci"
    source.write_bytes(served(APP))
    operator.fetch(str(source), insecure={"image"})
    rot(operator.config.dir, OWN)
    assert repair(operator).report.ok
    assert held(operator) == {NAME: APP}


def test_a_source_that_is_no_file_any_more_is_of_no_help(operator: Operator, tmp_path: Path) -> None:
    source = tmp_path / "app.aci"
    source.write_bytes(served(APP))
    operator.fetch(str(source), insecure={"image"})
    rot(operator.config.dir, OWN)
    source.unlink()
    source.mkdir()
    assert not repair(operator, no).report.ok


# --- sources that are of no help


def test_another_image_at_the_source_is_not_taken(shop: Operator, publisher: Publisher) -> None:
    publisher.publish(image(NAME, {"etc/own": OWN + b"!", "etc/shared": SHARED}, labels=LABELS))
    rot(shop.config.dir, OWN)
    before = packs(shop)
    asked: list[Sequence[StoredImage]] = []

    def refuse(images: Sequence[StoredImage]) -> bool:
        asked.append(images)
        return False

    repaired = repair(shop, refuse)
    assert [[each.name for each in images] for images in asked] == [[NAME]]
    assert not repaired.report.ok
    assert (repaired.repaired, repaired.dropped) == ((), ())
    assert packs(shop) == before
    publisher.publish(APP)
    assert repair(shop).report.ok
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_what_can_not_be_mended_goes_with_consent_and_takes_nothing_else_along(
    shop: Operator, publisher: Publisher
) -> None:
    publisher.web.remove(HOST, ACI)
    rot(shop.config.dir, OWN)
    assert not repair(shop, no).report.ok
    repaired = repair(shop, yes)
    assert repaired.report.ok
    assert [each.name for each in repaired.dropped] == [NAME]
    assert held(shop) == {BASE_NAME: BASE}


def test_without_a_network_nothing_is_dropped(shop: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    rot(shop.config.dir, OWN)
    repaired = repair(shop, no, retries=0)
    assert [each.image.name for each in repaired.report.damaged if each.image] == [NAME]


def test_a_bomb_in_place_of_the_image_is_stopped_at_its_size(shop: Operator, publisher: Publisher) -> None:
    publisher.web.put(HOST, ACI, gzip.compress(APP[:-1024] + bytes(200 << 20)))
    rot(shop.config.dir, OWN)
    before = packs(shop)
    assert not repair(shop, no).report.ok
    assert packs(shop) == before
    assert not [*(shop.config.dir / "tmp").iterdir(), *(shop.config.dir / "spool").iterdir()]


def test_an_endless_body_is_stopped_at_the_limit(
    shop: Operator, publisher: Publisher, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    rot(shop.config.dir, OWN)
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawServer(answering(head, *[chunk] * 1000), authority.issue_cert(HOST)) as endless:
        publisher.web.take_over(HOST, endless)
        assert not repair(shop, no, image_size=1 << 20).report.ok
    assert "than 1048576 bytes, the limit" in caplog.text
    assert not [*(shop.config.dir / "spool").iterdir()]


# --- the index


def test_a_lost_database_is_made_again_with_what_packs_tell(shop: Operator) -> None:
    [base, app] = shop.store.list()
    admissions, remotes = shop.store.admissions(app), shop.store.remotes(app)
    shop.store.close()
    lose_database(shop.config.dir)
    repaired = repair(shop)
    assert repaired.rebuilt
    assert (repaired.rebuilt.images, repaired.rebuilt.state_known, repaired.rebuilt.aside) == (2, False, None)
    with Store.open(shop.config.dir) as store:
        assert (store.admissions(store.get(app.id)), store.remotes(store.get(app.id))) == (admissions, remotes)
        assert store.get(app.id).imported_at == app.imported_at
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}
    assert {base.name, app.name} == {NAME, BASE_NAME}


def test_damage_in_database_and_body_together(shop: Operator, publisher: Publisher) -> None:
    shop.store.pin(shop.store.list()[0])
    shop.store.close()
    rot(shop.config.dir, OWN)
    lose_database(shop.config.dir)
    repaired = repair(shop)
    assert repaired.report.ok
    assert [each.name for each in repaired.repaired] == [NAME]
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_what_is_mended_before_the_index_is_made_again_is_told(shop: Operator) -> None:
    with shop.store._database.write() as connection:
        connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'blob'")
    rot(shop.config.dir, OWN)
    repaired = repair(shop)
    assert repaired.report.ok
    assert repaired.rebuilt
    assert repaired.rebuilt.state_known
    assert [each.name for each in repaired.repaired] == [NAME]


def test_a_pack_whose_table_is_damaged_is_mended_by_the_index_without_a_network(
    shop: Operator, publisher: Publisher
) -> None:
    publisher.web.remove(HOST, ACI)
    pack = the_pack_with(shop.config.dir, OWN)
    data = bytearray(pack.read_bytes())
    data[-100] ^= 1
    pack.write_bytes(data)
    assert repair(shop).report.ok
    assert not pack.exists()
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_an_image_whose_bodies_are_gone_with_the_database_is_only_named(
    shop: Operator, publisher: Publisher
) -> None:
    """It may have been removed on purpose, since its key was revoked, say: to fetch it is up to a person."""
    shop.store.close()
    the_pack_with(shop.config.dir, SHARED).unlink()  # with the whole of one image, and a body of the other
    lose_database(shop.config.dir)
    repaired = repair(shop)
    assert (repaired.report.ok, repaired.repaired, held(shop)) == (True, (), {})
    assert [each.name.name for each in repaired.lost] == [BASE_NAME]


def test_an_image_that_can_not_be_brought_back_is_told(shop: Operator, publisher: Publisher) -> None:
    shop.store.close()
    the_pack_with(shop.config.dir, SHARED).unlink()
    lose_database(shop.config.dir)
    publisher.web.remove(HOST, f"acis/{BASE_NAME}-1.0.aci")
    repaired = repair(shop)
    assert (repaired.report.ok, repaired.repaired) == (True, ())
    assert [each.name.name for each in repaired.lost] == [BASE_NAME]


def test_an_image_of_which_only_the_old_database_tells_is_fetched_again(shop: Operator) -> None:
    with shop.store._database.write() as connection:
        connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'blob'")
        connection.exec_driver_sql("UPDATE image SET checksum = x'00' WHERE name = 'example.com/base'")
        connection.exec_driver_sql("UPDATE blob SET offset = -1")
    shop.store.close()
    the_pack_with(shop.config.dir, OWN).unlink()
    repaired = repair(shop)
    assert (repaired.report.ok, repaired.lost) == (True, ())
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def lost_but_known(shop: Operator) -> None:
    """The app's pack is gone, and the database, which knows of the app, can't be used as it is."""
    with shop.store._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE label")
    shop.store.close()
    the_pack_with(shop.config.dir, OWN).unlink()


def test_an_image_that_is_fetched_again_keeps_all_who_have_let_it_in(shop: Operator) -> None:
    moment = datetime(2024, 2, 29, tzinfo=UTC)
    both = [
        Admission("verified", moment, fingerprint=each * 20, url=f"https://{HOST}/gone") for each in ("cd", "ab")
    ]
    app = shop.store.add(io.BytesIO(APP), admit=lambda _id, _manifest: both)
    before = shop.store.admissions(app)
    lost_but_known(shop)
    assert repair(shop).lost == ()
    with Store.open(shop.config.dir) as store:
        assert before[1:] == both
        assert store.admissions(store.get(app.id)) == before


def with_version(version: str) -> bytes:
    return image(NAME, labels=LABELS | {"version": version})


@pytest.mark.parametrize("newer", [True, False])
def test_a_repair_brings_no_older_image_back_as_what_was_admitted_last(shop: Operator, newer: bool) -> None:
    """Of the two it is the other that was fetched as latest last by somebody who looked at its signature."""
    app = shop.store.find(ImageName(NAME))
    shop.store.record_fetch(app, latest=always)
    if newer:
        signed = shop.store.admissions(app)
        shop.store.remove([shop.store.add(io.BytesIO(with_version("2")), admit=lambda *_: signed, latest=always)])
        shop.store.record_fetch(app, latest=always, checked=False)
    known = shop.store.newest(app.image_name)
    lost_but_known(shop)
    assert repair(shop).lost == ()
    with Store.open(shop.config.dir) as store:
        newest = store.newest(app.image_name)
        assert known
        assert newest
        assert (newest.id, newest.version) == (known.id, "2" if newer else "1.0")
        assert store.get(app.id).latest != newer


def test_repair_waits_for_others_that_use_the_store(shop: Operator, caplog: pytest.LogCaptureFixture) -> None:
    with shop.store._database.write() as connection:
        connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'blob'")
    other = Store.open(shop.config.dir)
    waits = threading.Event()

    class Notices(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for other processes" in record.getMessage():
                waits.set()

    handler = Notices()
    logging.getLogger("acistore").addHandler(handler)
    done: list[Repaired] = []
    thread = threading.Thread(target=lambda: done.append(repair(shop)))
    thread.start()
    try:
        assert waits.wait(PATIENCE)
        assert not done
    finally:
        other.close()
        thread.join(PATIENCE)
        logging.getLogger("acistore").removeHandler(handler)
    assert done[0].report.ok
    assert held(shop) == {NAME: APP, BASE_NAME: BASE}


def test_a_newer_store_is_refused_and_left_alone(shop: Operator) -> None:
    with shop.store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    shop.store.close()
    before = (shop.config.dir / "acistore.db").read_bytes()
    with pytest.raises(StoreTooNew):
        repair(shop)
    assert (shop.config.dir / "acistore.db").read_bytes() == before


def test_a_mirror_may_help_where_the_source_has_gone(shop: Operator, publisher: Publisher) -> None:
    publisher.web.put("mirror.test", "app.aci", served(APP))
    shop.config = replace(shop.config, mirrors=(Mirror(HOST, "https://mirror.test/app.{ext}"),))
    publisher.web.remove(HOST, ACI)
    rot(shop.config.dir, OWN)
    assert repair(shop).report.ok
    assert held(shop)[NAME] == APP
