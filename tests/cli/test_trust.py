"""`trust add`, `trust list` and `trust remove`: nothing is trusted that nobody has agreed to."""

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.cli.output import escape
from acistore.fingerprints import shown_fingerprint
from acistore.store import Admission, Store, StoredImage
from acistore.trust.places import default_layer
from tests.cli.running import AtTerminal, Run, at_terminal, spawn
from tests.conftest import LONG_AGO
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.web import WebSite

LIST_KEYS = {
    *("prefix", "fingerprint", "scheme", "user_ids", "layer", "state"),
    *("created_at", "expires_at", "source", "added_at"),
}
PREFIX = ("--prefix", "example.com/app")


@pytest.fixture
def key_file(tmp_path: Path, release: SigningKey) -> Path:
    path = tmp_path / "release.asc"
    path.write_bytes(release.public())
    return path


@pytest.fixture
def two_keys(tmp_path: Path, release: SigningKey, other: SigningKey) -> Path:
    path = tmp_path / "two.asc"
    path.write_bytes(release.public() + other.public())
    return path


def key_path(tmp_path: Path, layer: str, place: str, key: SigningKey) -> Path:
    return tmp_path / layer / "trustedkeys" / place / key.fingerprint


# --- add


def test_add_with_yes_shows_and_trusts_the_key(
    run: Run, tmp_path: Path, key_file: Path, release: SigningKey
) -> None:
    ran = run("trust", "add", *PREFIX, "--layer", "user", "--yes", str(key_file))
    assert (ran.code, ran.out) == (0, f"{release.fingerprint}\n")
    shown = ran.err.splitlines()
    assert shown[0] == f"key {shown_fingerprint(release.fingerprint)}"
    labelled = dict(line.strip().split("  ", 1) for line in shown[1:])
    assert labelled["user ID"].strip() == release.user_id
    assert labelled["created"].strip().startswith("2020-01-01 00:00:00 UTC (")
    assert labelled["expires"].strip() == "never"
    assert labelled["from"].strip() == str(key_file)
    assert labelled["for"].strip() == "example.com/app, in the user layer"
    assert key_path(tmp_path, "user", "prefix.d/example.com/app", release).exists()


def test_the_layer_is_local_for_root_and_user_otherwise(
    run: Run, tmp_path: Path, key_file: Path, release: SigningKey
) -> None:
    run("trust", "add", "--root", "--yes", str(key_file))
    assert key_path(tmp_path, "local" if os.geteuid() == 0 else "user", "root.d", release).exists()


def test_add_in_json_lists_what_was_added(run: Run, key_file: Path, release: SigningKey) -> None:
    ran = run("--json", "trust", "add", *PREFIX, "--yes", str(key_file))
    assert ran.err == ""
    (added,) = ran.document
    assert (added["prefix"], added["fingerprint"]) == ("example.com/app", release.fingerprint)
    assert added["source"] == str(key_file)


def test_a_fingerprint_chooses_among_the_keys_of_a_file(
    run: Run, two_keys: Path, release: SigningKey, other: SigningKey
) -> None:
    chosen = ("--fingerprint", shown_fingerprint(other.fingerprint))
    ran = run("trust", "add", *PREFIX, *chosen, str(two_keys))
    assert (ran.code, ran.out) == (0, f"{other.fingerprint}\n")
    assert f"left out: {shown_fingerprint(release.fingerprint)} {release.user_id}\n" in ran.err
    assert [key["fingerprint"] for key in run("--json", "trust", "list").document] == [other.fingerprint]


def test_a_fingerprint_that_is_not_there_is_an_error(
    run: Run, key_file: Path, release: SigningKey, other: SigningKey
) -> None:
    ran = run("--json", "trust", "add", *PREFIX, "--fingerprint", other.fingerprint, str(key_file))
    assert (ran.code, ran.out, ran.error["kind"]) == (4, "", "KeyRefused")
    assert ran.error["facts"] == {
        shown_fingerprint(release.fingerprint): release.user_id,
        "looked in": str(key_file),
    }
    wanted = other.fingerprint.upper()
    assert ran.error["next"] == f"acistore trust add --prefix example.com/app --fingerprint {wanted} KEYFILE"
    ran = run("--json", "trust", "add", "--root", "--fingerprint", other.fingerprint, str(key_file))
    assert ran.error["next"] == f"acistore trust add --root --fingerprint {wanted} KEYFILE"
    assert run("--json", "trust", "list").document == []


def test_a_key_in_two_files_is_added_once(run: Run, key_file: Path, two_keys: Path) -> None:
    ran = run("trust", "add", *PREFIX, "--yes", str(key_file), str(two_keys))
    assert (ran.code, len(ran.out.split())) == (0, 2)


def test_without_a_terminal_the_flag_is_named(run: Run, key_file: Path, release: SigningKey) -> None:
    ran = run("--json", "trust", "add", *PREFIX, str(key_file))
    assert (ran.code, ran.error["kind"]) == (2, "NoTerminal")
    assert ran.error["facts"] == {shown_fingerprint(release.fingerprint): release.user_id}
    assert ran.error["next"] == (
        f"acistore trust add --prefix example.com/app --fingerprint {release.fingerprint.upper()} {key_file}"
    )
    assert spawn("trust", "add", *PREFIX, str(key_file), stdin="y\n").code == 2
    assert run("--json", "trust", "list").document == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["key.asc"],
        ["--root", "--prefix", "example.com", "key.asc"],
        ["--root"],
        ["--root", "--yes"],
        ["--root", "--layer", "system", "key.asc"],
        ["--root", "--fingerprint", "4F1A", "key.asc"],
    ],
    ids=" ".join,
)
def test_a_place_a_key_and_a_layer_have_to_be_right(
    run: Run, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    key_file.rename("key.asc")
    ran = run("--json", "trust", "add", *arguments)
    assert (ran.code, ran.error["kind"]) == (2, "UsageError")


def test_what_is_no_key_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("trust me")
    assert run("--json", "trust", "add", *PREFIX, "--yes", str(tmp_path / "note.txt")).error["exit_code"] == 4
    assert run("--json", "trust", "add", *PREFIX, "--yes", str(tmp_path / "none")).error["exit_code"] == 1


def test_messages_name_the_file_that_they_are_about(
    run: Run, tmp_path: Path, key_file: Path, release: SigningKey
) -> None:
    (tmp_path / "junk.asc").write_bytes(b"junk")
    (tmp_path / "secret.asc").write_bytes(release.secret())
    for name, problem in (("junk.asc", "not an OpenPGP public key"), ("secret.asc", "this is a SECRET key")):
        ran = run("--json", "trust", "add", *PREFIX, "--yes", str(key_file), str(tmp_path / name))
        assert ran.error["message"].startswith(f"{tmp_path / name}: {problem}")


def test_a_key_by_plain_http_is_refused_with_the_option_that_would_allow_it(run: Run, web: WebSite) -> None:
    url = web.put("example.com", "keys.asc", b"", tls=False)
    for flags in ((), ("--insecure-options", "http,tls")):
        ran = run("-q", "--json", *flags, "trust", "add", *PREFIX, "--yes", url)
        assert (ran.code, ran.error["kind"]) == (5, "InsecureTransport")
        assert ran.error["next"].endswith("--insecure-options=pubkey")


def test_what_is_here_of_a_key_is_shown(
    run: Run, tmp_path: Path, key_file: Path, maker: KeyMaker, release: SigningKey
) -> None:
    def here(*flags: str, file: Path = key_file) -> list[str]:
        lines = run("trust", "add", "--layer", "local", "--yes", *flags, str(file)).err.splitlines()
        told = (line.strip().partition("  ") for line in lines)
        return [value.strip() for label, _, value in told if label in ("here", "trusted for")]

    assert here(*PREFIX) == ["new"]
    assert here(*PREFIX) == ["in force already"]
    assert here("--prefix", "example.org") == ["new", "example.com/app (local)"]
    key = maker.key("Renewed <renewed@example.com>", at=LONG_AGO, expires="50y")
    renewed = tmp_path / "renewed.asc"
    renewed.write_bytes(key.public())
    here(*PREFIX, file=renewed)
    key.expire("0", at="20200601T000000")
    renewed.write_bytes(key.public())
    assert here(*PREFIX, file=renewed) == ["changed: expires never, was 2069-12-19"]
    path = key_path(tmp_path, "local", "prefix.d/example.com/app", key)
    assert here(*PREFIX, "--layer", "user", file=renewed) == [f"as {path}"]


def test_a_masked_key_is_not_added_and_stays_masked(run: Run, key_file: Path, release: SigningKey) -> None:
    run("trust", "add", *PREFIX, "--layer", "local", "--yes", str(key_file))
    run("trust", "mask", release.fingerprint)
    for layer in ("local", "user"):
        ran = run("--json", "trust", "add", *PREFIX, "--layer", layer, "--yes", str(key_file))
        assert (ran.code, ran.error["kind"]) == (4, "KeyRefused")
        assert "is masked for example.com/app" in ran.error["message"]
    assert [each["state"] for each in run("--json", "trust", "list").document] == ["masked"]
    unmask = ran.error["next"].split()
    assert unmask[:3] == ["acistore", "trust", "unmask"]
    assert run(*unmask[1:]).code == 0
    assert [each["state"] for each in run("--json", "trust", "list").document] == ["valid"]


def test_a_key_that_is_of_no_use_is_told_of(run: Run, tmp_path: Path, maker: KeyMaker) -> None:
    weak = maker.key("Weak <weak@example.com>", algorithm="rsa1024")
    (tmp_path / "weak.asc").write_bytes(weak.public())
    ran = run("trust", "add", *PREFIX, "--yes", str(tmp_path / "weak.asc"))
    assert ran.code == 0
    assert "is trusted, but of no use: too short: what it signs is refused" in ran.err
    ran = run("--json", "trust", "check")
    assert ran.code == 4
    assert [each["problem_kind"] for each in ran.document] == ["weak"]


def ask(key_file: Path, answer: str, *flags: str) -> AtTerminal:
    return at_terminal(
        *flags, "trust", "add", *PREFIX, str(key_file), answers={"Trust this key for": answer}, stdout_too=False
    )


def test_a_person_is_asked_and_says_yes(run: Run, key_file: Path, release: SigningKey) -> None:
    seen = ask(key_file, "yes\n")
    assert (seen.code, seen.out) == (0, f"{release.fingerprint}\n")
    assert seen.text.index(shown_fingerprint(release.fingerprint)) < seen.text.index("[y/N]")
    assert [key["state"] for key in run("--json", "trust", "list").document] == ["valid"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "nothing", "end of file"])
def test_anything_but_yes_is_no(run: Run, key_file: Path, answer: str) -> None:
    seen = ask(key_file, answer)
    assert (seen.code, seen.out) == (4, "")
    assert "no key was added for example.com/app" in seen.text
    assert run("--json", "trust", "list").document == []


def test_a_question_shows_what_it_is_about_even_when_quiet(key_file: Path, release: SigningKey) -> None:
    for flag in ("-q", "--json"):
        assert shown_fingerprint(release.fingerprint) in ask(key_file, "y\n", flag).text


def test_an_answer_that_is_none_is_asked_again(key_file: Path) -> None:
    seen = ask(key_file, "perhaps\ny\n")
    assert seen.code == 0
    assert seen.text.count("[y/N]") == 2


def test_a_user_id_can_do_nothing_to_the_terminal(run: Run, maker: KeyMaker, tmp_path: Path) -> None:
    evil = maker.key("Evil \u202e\x9b2J <evil@example.com>")
    path = tmp_path / "evil.asc"
    path.write_bytes(evil.public())
    ran = run("trust", "add", *PREFIX, "--yes", str(path))
    assert escape(evil.user_id) in ran.err
    assert (ran.err + run("trust", "list").out).replace("\n", "").isprintable()


# --- list


def test_list_of_nothing(run: Run) -> None:
    headings = ["PREFIX", "FINGERPRINT", "USER", "ID", "LAYER", "STATE", "ADDED", "FROM"]
    assert run("trust", "list").out.split() == headings
    assert run("--json", "trust", "list").out == "[]\n"


def test_list_shows_prefix_layer_and_state(
    run: Run, key_file: Path, two_keys: Path, tmp_path: Path, release: SigningKey, other: SigningKey
) -> None:
    run("trust", "add", "--root", "--layer", "local", "--yes", str(two_keys))
    run("trust", "add", *PREFIX, "--layer", "user", "--yes", str(key_file))
    key_path(tmp_path, "user", "root.d", other).parent.mkdir(parents=True)
    key_path(tmp_path, "user", "root.d", other).touch()
    keys = run("--json", "trust", "list").document
    assert all(set(key) >= LIST_KEYS for key in keys)
    assert {(key["prefix"], key["fingerprint"], key["layer"], key["state"]) for key in keys} == {
        (None, release.fingerprint, "local", "valid"),
        (None, other.fingerprint, "local", "masked"),
        ("example.com/app", release.fingerprint, "user", "valid"),
    }
    (in_prefix,) = [key for key in keys if key["prefix"]]
    assert (in_prefix["scheme"], in_prefix["user_ids"]) == ("openpgp", [release.user_id])
    assert (in_prefix["created_at"], in_prefix["expires_at"]) == ("2020-01-01T00:00:00Z", None)
    lines = [line.split() for line in run("trust", "list").out.splitlines()]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    row = ["example.com/app", release.fingerprint, *release.user_id.split(), "user", "valid", today, str(key_file)]
    assert row in lines


# --- remove


def admitted(store: Store, name: str, key: SigningKey, rule: str) -> StoredImage:
    admission = Admission(
        "verified", datetime.now(UTC), scheme="openpgp", fingerprint=key.fingerprint, signer=key.user_id, rule=rule
    )
    return store.add(io.BytesIO(image(name)), admit=lambda _id, _manifest: [admission])


def test_remove_names_the_images_that_the_key_admitted_and_leaves_them(
    run: Run, store: Store, key_file: Path, release: SigningKey, other: SigningKey
) -> None:
    run("trust", "add", *PREFIX, "--yes", str(key_file))
    found = admitted(store, "example.com/app", release, "example.com/app")
    admitted(store, "example.com/else", other, "root")
    ran = run("trust", "remove", release.fingerprint[-16:])
    assert ran.code == 0
    assert ran.out.splitlines() == [
        release.fingerprint,
        f"  not trusted for  example.com/app ({default_layer()})",
        "  trusted for      nothing",
        f"  has admitted  example.com/app {found.id}",
    ]
    assert "example.com/else" not in ran.out
    assert "--remove-images" in ran.err
    assert len(store.list()) == 2
    assert run("--json", "trust", "list").document == []


def test_remove_takes_the_images_out_when_told_to(
    run: Run, store: Store, tmp_path: Path, key_file: Path, release: SigningKey
) -> None:
    run("trust", "add", *PREFIX, "--layer", "user", "--yes", str(key_file))
    found = admitted(store, "example.com/app", release, "example.com/app")
    document = run("--json", "trust", "remove", release.fingerprint, "--remove-images").document
    path = key_path(tmp_path, "user", "prefix.d/example.com/app", release)
    place = {"prefix": "example.com/app", "fingerprint": release.fingerprint, "layer": "user", "file": str(path)}
    assert document == {
        "removed": [place],
        "in_force": [],
        "images": [{"id": str(found.id), "name": "example.com/app"}],
        "images_removed": True,
        "removed_images": [str(found.id)],
    }
    assert store.list() == []


def test_images_are_said_to_be_removed_when_some_were(
    run: Run, store: Store, key_file: Path, release: SigningKey
) -> None:
    run("trust", "add", *PREFIX, "--yes", str(key_file))
    document = run("--json", "trust", "remove", release.fingerprint, "--remove-images").document
    assert (document["images"], document["images_removed"], document["removed_images"]) == ([], False, [])
    run("trust", "add", *PREFIX, "--yes", str(key_file))
    admitted(store, "example.com/app", release, "example.com/app")
    document = run("--json", "trust", "remove", release.fingerprint).document
    assert (len(document["images"]), document["images_removed"], document["removed_images"]) == (1, False, [])


def test_removing_a_revoked_key_says_what_is_forgotten(run: Run, tmp_path: Path, maker: KeyMaker) -> None:
    gone = maker.key("Gone <gone@example.com>")
    old = tmp_path / "old.asc"
    old.write_bytes(gone.public())
    gone.revoke()
    path = key_path(tmp_path, "local", "prefix.d/example.com/app", gone)
    path.parent.mkdir(parents=True)
    path.write_bytes(gone.public())
    ran = run("trust", "remove", gone.fingerprint)
    assert ran.code == 0
    assert "that is forgotten here with its last copy" in ran.err
    mask = ran.err.partition("older copies out: ")[2].split()
    assert run(*mask[1:]).code == 0
    assert run("trust", "add", *PREFIX, "--yes", str(old)).code == 4


def test_remove_from_one_place_leaves_the_others_and_their_images(
    run: Run, store: Store, key_file: Path, release: SigningKey
) -> None:
    run("trust", "add", *PREFIX, "--yes", str(key_file))
    run("trust", "add", "--root", "--yes", str(key_file))
    admitted(store, "example.com/app", release, "example.com/app")
    admitted(store, "example.org/tool", release, "root")
    document = run("--json", "trust", "remove", "--root", release.fingerprint).document
    assert [place["prefix"] for place in document["removed"]] == [None]
    assert [each["name"] for each in document["images"]] == ["example.org/tool"]
    assert [key["prefix"] for key in run("--json", "trust", "list").document] == ["example.com/app"]


def test_remove_makes_no_store(run: Run, tmp_path: Path, key_file: Path, release: SigningKey) -> None:
    run("trust", "add", *PREFIX, "--yes", str(key_file))
    assert run("trust", "remove", *PREFIX, release.fingerprint).code == 0
    assert not (tmp_path / "store").exists()


def test_a_key_that_is_not_there_is_not_found(run: Run, release: SigningKey) -> None:
    assert run("--json", "trust", "remove", release.fingerprint).error["exit_code"] == 3
    assert run("--json", "trust", "remove", "4F1A").error["exit_code"] == 2
    assert run("--json", "trust", "remove", "--root", *PREFIX, release.fingerprint).error["exit_code"] == 2
