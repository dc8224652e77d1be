"""Who has let images in: several signers at once, told by image and by key, and in the records of packs."""

import io
import json
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from acistore.errors import StoreDamaged
from acistore.naming import ImageID
from acistore.store import Admission, Remote, Store, StoredImage
from acistore.store.packfile import RECORD, PackReader
from acistore.store.provenance import MOST_ADMISSIONS, Provenance, read_record, write_record
from tests.images import image
from tests.store.conftest import WHEN, add, admissions, files_in

ONE, TWO, THREE = "cd" * 20, "ab" * 20, "ef" * 32
LATER = WHEN + timedelta(days=1)
ID = ImageID(bytes(64))


def let_in(store: Store, archive: bytes, by: list[Admission]) -> StoredImage:
    return store.add(io.BytesIO(archive), admit=lambda _id, _manifest: by)


def test_all_who_let_an_image_in_at_once_are_recorded_in_their_order(store: Store) -> None:
    first = admissions(ONE, TWO)
    stored = let_in(store, image(), first)
    assert store.admissions(stored) == first
    second = admissions(TWO, THREE, ONE, at=LATER)
    assert let_in(store, image(), second).key == stored.key
    assert store.admissions(stored) == second + first
    assert store.get(stored.id).last_used_at == LATER
    assert store.get(stored.id).imported_at == WHEN


def test_an_image_that_nobody_lets_in_is_a_mistake_of_the_program(store: Store, directory: Path) -> None:
    with pytest.raises(ValueError, match="nothing has let in"):
        let_in(store, image(), [])
    assert (store.list(), files_in(directory)) == ([], [])


def test_the_admissions_of_all_images_are_those_of_each(store: Store) -> None:
    for number in range(3):
        let_in(store, image(labels={"version": str(number)}), admissions(ONE, TWO)[: number + 1])
    let_in(store, image(labels={"version": "1"}), admissions(THREE, at=LATER))
    add(store, image("example.com/other"))
    told = store.all_admissions()
    assert told == {each.key: store.admissions(each) for each in store.list()}
    assert sorted(map(len, told.values())) == [1, 1, 2, 3]


def test_the_admissions_of_all_images_are_one_question_however_many(store: Store) -> None:
    counts = []
    for number in range(12):
        add(store, image(labels={"version": str(number)}))
        if number in (0, 11):
            counts.append(count_statements(store))
    assert counts[0] == counts[1] <= 2


def count_statements(store: Store) -> int:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        store.all_admissions()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(statements)


def test_the_images_that_a_key_has_let_in_are_found_by_the_rule_too(store: Store) -> None:
    by_prefix = let_in(store, image("example.com/prefix"), admissions(ONE, TWO))
    by_root = let_in(store, image("example.com/root"), admissions(TWO, rule="root") + admissions(ONE))
    assert names(store.images_admitted_by(ONE)) == {by_prefix.name, by_root.name}
    assert names(store.images_admitted_by(TWO)) == {by_prefix.name, by_root.name}
    # Each of the two rules has let both images in, but not by the same key.
    assert names(store.images_admitted_by(TWO, "root")) == {by_root.name}
    assert names(store.images_admitted_by(TWO, "example.com")) == {by_prefix.name}
    assert names(store.images_admitted_by(ONE, "root")) == set()
    assert names(store.images_admitted_by(THREE)) == set()


def names(images: Any) -> set[str]:
    return {each.name for each in images}


# --- what packs record


def records(directory: Path) -> list[dict[str, Any]]:
    """The records in all packs of a store."""
    found = []
    for path in (directory / "packs").iterdir():
        with path.open("rb") as file:
            reader = PackReader(file, path.name)
            found += [json.loads(reader.checked(each)) for each in reader.contents() if each.kind == RECORD]
    return found


def test_a_pack_records_all_who_let_its_image_in_and_one_as_older_versions_read_it(
    store: Store, directory: Path
) -> None:
    let_in(store, image(), admissions(ONE, TWO))
    [record] = records(directory)
    assert [each["fingerprint"] for each in record["admissions"]] == [ONE, TWO]
    assert record["admission"] == record["admissions"][0]
    # All that versions up to schema revision 0003 ask of it.
    assert {"id", "size", "latest", "admission", "remote"} <= record.keys()
    assert set(record["admission"]) == {
        *("verdict", "admitted_at", "scheme", "fingerprint", "signing_fingerprint", "signer", "rule"),
        *("signature_digest", "signed_at", "signature_expires_at", "url", "insecure"),
    }


def test_a_record_comes_back_as_it_was_written() -> None:
    remote = Remote("https://example.com/é", None, None, None, None, 1, WHEN, place="https://example.net/é?")
    told = Provenance(tuple(admissions(ONE, TWO, at=LATER) + admissions(THREE)), remote, True)
    found = read_record(write_record(ID, 1024, told))
    assert (found.id, found.size, found.provenance) == (ID, 1024, told)
    assert found.provenance.admitted_at == LATER


def test_a_record_of_an_older_version_has_one_admission() -> None:
    [given] = admissions(ONE)
    told = Provenance((given,), Remote("https://example.com/", None, None, '"1"', None, 1, WHEN))
    record = json.loads(write_record(ID, 1024, told))
    del record["admissions"], record["remote"]["place"], record["remote"]["signature_place"]
    assert read_record(json.dumps(record).encode()).provenance == told


def test_a_record_of_a_later_version_may_lack_what_older_ones_read() -> None:
    given = tuple(admissions(ONE, TWO))
    record = json.loads(write_record(ID, 1024, Provenance(given)))
    del record["admission"]
    assert read_record(json.dumps(record).encode()).provenance.admissions == given


def test_a_record_holds_the_newest_admissions_however_many_there_were() -> None:
    [given] = admissions(ONE)
    many = [replace(given, admitted_at=WHEN + timedelta(hours=hour)) for hour in range(5000)]
    text = write_record(ID, 1024, Provenance(tuple(many)))
    assert len(text) < 32 << 10
    assert read_record(text).provenance.admissions == tuple(reversed(many[-MOST_ADMISSIONS:]))
    assert json.loads(text)["admission"]["admitted_at"] == many[-1].admitted_at.isoformat()


@pytest.mark.parametrize(
    "wrong", [None, [], {}, [None], ["verified"], [[]], [{}], 7, "x", [{"verdict": "verified"}]]
)
def test_a_record_whose_admissions_make_no_sense_is_damaged(wrong: object) -> None:
    record = json.loads(write_record(ID, 1024, Provenance(tuple(admissions(ONE)))))
    with pytest.raises(StoreDamaged):
        read_record(json.dumps(record | {"admissions": wrong}).encode())


def test_a_record_in_which_bits_were_flipped_is_read_or_is_damaged() -> None:
    signed = [replace(each, signature_digest=b"\xff", signed_at=WHEN) for each in admissions(ONE, TWO)]
    text, chance = write_record(ID, 3, Provenance(tuple(signed))), random.Random(9)
    read = 0
    for _round in range(3000):
        damaged = bytearray(text)
        for _flip in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
        with suppress(StoreDamaged):
            read += bool(read_record(bytes(damaged)).provenance.admissions)
    assert 0 < read < 3000
