"""Downloads on their way in: what is kept of them, who may go on with it, and when it goes."""

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from acistore.store import Store
from tests.store.conftest import files_in

URL = "https://example.com/app.aci"
NOTE = {"etag": '"1"', "length": "10"}
NOTHING = timedelta(0)


def broken_off(
    store: Store,
    *,
    url: str = URL,
    keep: bool = True,
    note: dict[str, str] | None = NOTE,
    body: bytes = b"half",
) -> None:
    with store.spool.file(url, waiting=pytest.fail, resume=True) as file:
        file.begin(note)
        file.write(body)
        file.keep = keep


def left(store: Store) -> tuple[bytes, object]:
    """What whoever comes next finds."""
    with store.spool.file(URL, waiting=pytest.fail, resume=True) as file:
        file.keep = True
        file.seek(0)
        return file.read(), file.note


def test_what_broke_off_is_there_the_next_time(store: Store) -> None:
    broken_off(store)
    assert left(store) == (b"half", NOTE)
    assert left(store) == (b"half", NOTE)


def test_what_others_left_is_not_what_was_on_its_way_here(store: Store, directory: Path) -> None:
    broken_off(store)
    with Store.open(directory) as later:
        kept = [store.spool.is_kept, later.spool.is_kept]
        broken_off(later, url=f"{URL}?else", keep=False)
        kept.append(later.spool.is_kept)
        broken_off(later)
        kept.append(later.spool.is_kept)
        later.spool.forget(URL)
        kept.append(later.spool.is_kept)
    assert kept == [True, False, False, True, False]


def test_the_next_bytes_go_behind_those_that_are_there(store: Store) -> None:
    broken_off(store)
    with store.spool.file(URL, waiting=pytest.fail, resume=True) as file:
        file.write(b" and half")
        assert file.size == 13
        file.keep = True
    assert left(store)[0] == b"half and half"


@pytest.mark.parametrize(
    ("keep", "note", "body"), [(False, NOTE, b"half"), (True, None, b"half"), (True, NOTE, b"")]
)
def test_what_is_of_no_use_goes_at_once(
    store: Store, directory: Path, keep: bool, note: dict[str, str] | None, body: bytes
) -> None:
    broken_off(store, keep=keep, note=note, body=body)
    assert files_in(directory) == []


def test_whoever_does_not_resume_begins_with_nothing(store: Store, directory: Path) -> None:
    broken_off(store)
    with store.spool.file(URL, waiting=pytest.fail) as file:
        assert (file.read(), file.note) == (b"", None)
    assert files_in(directory) == []


def test_a_note_of_another_source_is_none(store: Store, directory: Path) -> None:
    broken_off(store)
    [note] = (directory / "spool").glob("*.json")
    note.write_text(note.read_text().replace("app.aci", "other.aci"))
    assert left(store) == (b"", None)


def test_a_link_in_place_of_a_note_is_not_followed(store: Store, directory: Path, tmp_path: Path) -> None:
    broken_off(store)
    [note] = (directory / "spool").glob("*.json")
    victim = tmp_path / "victim"
    note.rename(victim)
    note.symlink_to(victim)
    assert left(store) == (b"", None)
    before = victim.read_bytes()
    note.unlink(missing_ok=True)
    note.symlink_to(victim)
    broken_off(store)
    assert victim.read_bytes() == before


def test_notes_are_private(store: Store, directory: Path) -> None:
    before = os.umask(0)
    try:
        broken_off(store)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o077 for path in (directory / "spool").iterdir()] == [0, 0]


def test_partial_downloads_obey_the_grace_period(store: Store, directory: Path) -> None:
    broken_off(store)
    assert store.collect(grace_period=timedelta(hours=1)).freed_size == 0
    assert len(files_in(directory)) == 2
    for path in (directory / "spool").iterdir():
        os.utime(path, (1, 1))
    assert store.collect(grace_period=timedelta(hours=1), dry_run=True).freed_size > 0
    assert store.collect(grace_period=timedelta(hours=1)).freed_size > 0
    assert files_in(directory) == []


def test_without_a_grace_period_they_go_at_once(store: Store, directory: Path) -> None:
    broken_off(store)
    store.collect(grace_period=NOTHING)
    assert files_in(directory) == []


def test_a_collection_says_how_many_it_takes_and_how_much_they_are(store: Store) -> None:
    for number in range(3):
        broken_off(store, url=f"{URL}?{number}")
    assert store.collect(grace_period=timedelta(hours=1)).downloads == 0
    planned = store.collect(grace_period=NOTHING, dry_run=True)
    size = store.usage().downloads_size
    done = store.collect(grace_period=NOTHING)
    assert (planned.downloads, done.downloads) == (3, 3)
    assert planned.freed_size == done.freed_size == size > 0
    assert store.usage().downloads_size == 0


def test_a_last_write_in_the_future_is_as_old_as_it_is_far_away(store: Store, directory: Path) -> None:
    broken_off(store)
    hour = timedelta(hours=1)
    for path in (directory / "spool").iterdir():
        os.utime(path, (1, time.time() + 1800))
    assert store.collect(grace_period=hour).downloads == 0
    for path in (directory / "spool").iterdir():
        os.utime(path, (1, time.time() + 7200))
    assert store.collect(grace_period=hour, dry_run=True).downloads == 1
    assert store.collect(grace_period=hour).downloads == 1
    assert files_in(directory) == []


def test_a_note_without_its_file_goes_and_is_no_download(store: Store, directory: Path) -> None:
    broken_off(store)
    [file] = [path for path in (directory / "spool").iterdir() if path.suffix != ".json"]
    file.unlink()
    assert store.collect(grace_period=NOTHING).downloads == 0
    assert files_in(directory) == []


def test_a_running_download_keeps_file_and_note(store: Store, directory: Path) -> None:
    with store.spool.file(URL, waiting=pytest.fail, resume=True) as file:
        file.begin(NOTE)
        file.write(b"half")
        file.flush()
        assert store.usage().downloads_size > 0
        assert store.collect(grace_period=NOTHING).downloads == 0
        store.spool.forget(URL)
        assert len(files_in(directory)) == 2
        file.keep = True
    assert left(store) == (b"half", NOTE)


def test_what_is_not_wanted_any_more_is_forgotten(store: Store, directory: Path) -> None:
    store.spool.forget(URL)
    broken_off(store)
    store.spool.forget("https://example.com/other.aci")
    assert len(files_in(directory)) == 2
    store.spool.forget(URL)
    assert files_in(directory) == []


def test_who_waits_can_be_called_off(store: Store) -> None:
    class Enough(Exception):
        pass

    def pause(seconds: float) -> None:
        raise Enough

    told = []
    with (
        store.spool.file(URL, waiting=pytest.fail),
        pytest.raises(Enough),
        store.spool.file(URL, waiting=lambda: told.append(1), pause=pause),
    ):
        pass
    assert told == [1]


def test_one_after_another_in_many_threads(store: Store, directory: Path) -> None:
    def take_part() -> None:
        with store.spool.file(URL, waiting=lambda: None, resume=True) as file:
            if file.note is None:
                file.begin(NOTE)
            file.write(b"x")
            file.keep = True

    threads = [threading.Thread(target=take_part) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left(store) == (b"x" * 8, NOTE)
