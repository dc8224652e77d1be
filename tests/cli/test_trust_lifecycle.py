"""`trust` over a key's life: what is shown of it, how it is taken out of force, renewed, checked and carried."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acistore.cli.output import width
from acistore.cli.trust import force
from acistore.cli.trust.rows import fitted
from acistore.fingerprints import shown_fingerprint
from acistore.store import Admission, Store, StoredImage
from tests.cli.running import Run, at_terminal, spawn
from tests.cli.test_trust import LIST_KEYS, PREFIX, key_path
from tests.gpg import KeyMaker, SigningKey
from tests.images import image
from tests.ssh import SshKeyMaker, SshSigningKey
from tests.web import WebSite

IN_PREFIX = "prefix.d/example.com/app"


@pytest.fixture
def ssh(tmp_path: Path) -> SshSigningKey:
    return SshKeyMaker(tmp_path).key(comment="ci@example.com")


@pytest.fixture
def trusted(run: Run, tmp_path: Path, release: SigningKey) -> Path:
    """The file of a key that is trusted for example.com/app."""
    (tmp_path / "release.asc").write_bytes(release.public())
    assert run("trust", "add", *PREFIX, "--layer", "local", "--yes", str(tmp_path / "release.asc")).code == 0
    return key_path(tmp_path, "local", IN_PREFIX, release)


def put(tmp_path: Path, layer: str, place: str, key: SigningKey, content: bytes | None = None) -> Path:
    path = key_path(tmp_path, layer, place, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.public() if content is None else content)
    return path


def admitted(store: Store, name: str, key: SigningKey, rule: str) -> StoredImage:
    admission = Admission(
        "verified", datetime.now(UTC), scheme="openpgp", fingerprint=key.fingerprint, signer=key.user_id, rule=rule
    )
    return store.add(io.BytesIO(image(name)), admit=lambda _id, _manifest: [admission])


# --- SSH keys


def test_ssh_keys_go_through_the_same_commands(run: Run, tmp_path: Path, ssh: SshSigningKey) -> None:
    public = str(ssh.path) + ".pub"
    shown = shown_fingerprint(ssh.fingerprint)
    ran = run("trust", "add", *PREFIX, "--layer", "local", "--fingerprint", shown, public)
    assert (ran.code, ran.out) == (0, f"{ssh.fingerprint}\n")
    assert ran.err.splitlines()[0] == f"key {shown}"
    assert "comment    ci@example.com" in ran.err
    assert "OpenPGP" not in ran.err
    assert (tmp_path / "local/trustedkeys/ssh" / IN_PREFIX / ssh.fingerprint).read_bytes() == ssh.public()
    (listed,) = run("--json", "trust", "list").document
    assert (listed["scheme"], listed["fingerprint"]) == ("ssh", ssh.fingerprint)
    assert (listed["user_ids"], listed["created_at"], listed["expires_at"]) == (["ci@example.com"], None, None)
    assert ssh.fingerprint in run("trust", "list").out
    assert run("trust", "show", shown).out.splitlines()[:3] == [
        ssh.fingerprint,
        f"  fingerprint  {shown}",
        "  comment      ci@example.com",
    ]
    assert run("trust", "mask", shown).code == 0
    assert [each["state"] for each in run("--json", "trust", "list").document] == ["masked"]
    assert run("trust", "unmask", ssh.fingerprint[-16:]).code == 0
    assert run("trust", "refresh", shown).code == 2
    assert run("trust", "check").code == 0
    assert run("trust", "remove", shown).out.startswith(f"{ssh.fingerprint}\n")
    assert run("--json", "trust", "list").document == []


def test_keys_of_both_schemes_are_added_at_once_or_not_at_all(
    run: Run, tmp_path: Path, ssh: SshSigningKey, release: SigningKey, maker: KeyMaker
) -> None:
    (tmp_path / "release.asc").write_bytes(release.public())
    sources = (str(ssh.path) + ".pub", str(tmp_path / "release.asc"))
    gone = maker.key("Gone <gone@example.com>")
    gone.revoke()
    (tmp_path / "gone.asc").write_bytes(gone.public())
    ran = run("--json", "trust", "add", *PREFIX, "--yes", *sources, str(tmp_path / "gone.asc"))
    assert (ran.code, ran.error["kind"]) == (4, "KeyRefused")
    assert run("--json", "trust", "list").document == []
    assert run("trust", "add", *PREFIX, "--yes", *sources).out.split() == sorted(
        [ssh.fingerprint, release.fingerprint]
    )


def test_a_page_may_name_keys_of_both_schemes(
    run: Run, web: WebSite, ssh: SshSigningKey, release: SigningKey
) -> None:
    urls = (
        web.put("example.com", "release.asc", release.public()),
        web.put("example.com", "ssh.pub", ssh.public()),
    )
    tags = [f'<meta name="ac-discovery-pubkeys" content="example.com {url}">' for url in urls]
    web.put("example.com", "index.html", "\n".join(tags).encode())
    document = run("--json", "trust", "add", *PREFIX, "--yes").document
    assert {(each["scheme"], each["source"]) for each in document} == {("openpgp", urls[0]), ("ssh", urls[1])}


def test_a_private_key_is_refused_loudly(run: Run, ssh: SshSigningKey) -> None:
    ran = run("trust", "add", *PREFIX, "--yes", str(ssh.path))
    assert ran.code == 4
    assert "PRIVATE key, which must never leave its owner; nothing was added" in ran.err


# --- list


def test_list_tells_when_and_from_where_and_what_ends_soon(
    run: Run, tmp_path: Path, maker: KeyMaker, trusted: Path, other: SigningKey
) -> None:
    soon = maker.key("Soon <soon@example.com>", expires="10d")
    put(tmp_path, "local", "root.d", soon)
    put(tmp_path, "user", "prefix.d/example.org", other, b"")
    rows = [line.split() for line in run("trust", "list").out.splitlines()[1:]]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert rows[0][-7:] == ["local", "expires", "in", "9", "days", "-", "-"]
    assert rows[1][-4:] == ["local", "valid", today, str(tmp_path / "release.asc")]
    assert rows[2] == ["example.org", other.fingerprint, "user", "masked", "-", "-"]
    documents = run("--json", "trust", "list").document
    assert [each["state"] for each in documents] == ["valid", "valid", "masked"]
    assert all(set(each) == LIST_KEYS for each in documents)
    assert (documents[2]["user_ids"], documents[2]["created_at"]) == ([], None)


FINGERPRINT = "0123456789abcdef" * 2 + "01234567"
HEADINGS = ("PREFIX", "FINGERPRINT", "USER ID", "LAYER", "STATE", "ADDED", "FROM")
LONG = (
    "example.com/a/name/with/many/parts",
    FINGERPRINT,
    "Release Engineering of Example, Incorporated <release@example.com>",
    "local",
    "expires in 12 days",
    "2026-01-31",
    "https://example.com/keys/release.asc",
)


@pytest.mark.parametrize("room", [40, 80, 100, 120, 160, 200, 300])
def test_a_table_fits_into_its_terminal(room: int) -> None:
    lines = fitted([HEADINGS, LONG, ("(root)", "ab" * 32, "ci", "user", "valid", "-", "-")], room)
    assert all(width(line) <= room for line in lines)
    if room >= 80:
        assert "expires in 12 days" in lines[1]
        assert FINGERPRINT[-16:] in lines[1]
        assert not lines[1].endswith("…") or "ADDED" in lines[0]
    if room >= 120:
        assert "2026-01-31" in lines[1]
    if room == 300:
        assert lines == fitted([HEADINGS, LONG, ("(root)", "ab" * 32, "ci", "user", "valid", "-", "-")], None)
        assert "ab" * 32 in lines[2]


def test_at_a_terminal_a_fingerprint_is_cut_to_what_commands_take(
    run: Run, trusted: Path, release: SigningKey
) -> None:
    seen = at_terminal("trust", "list", COLUMNS="80").text
    tail = seen.splitlines()[1].split()[1]
    assert tail == release.fingerprint[-16:]
    assert run("trust", "show", tail).code == 0


# --- show


def test_show_tells_all_of_every_place(run: Run, store: Store, tmp_path: Path, maker: KeyMaker) -> None:
    key = maker.key("Shown <shown@example.com>", at="20200101T000000")
    put(tmp_path, "system", "root.d", key)
    mask = put(tmp_path, "local", "root.d", key, b"")
    subkey = key.add_subkey(expires="30y", at="20200601T000000")
    (tmp_path / "key.asc").write_bytes(key.public())
    run("trust", "add", *PREFIX, "--layer", "user", "--yes", str(tmp_path / "key.asc"))
    found = admitted(store, "example.com/app", key, "example.com/app")
    text = run("trust", "show", key.fingerprint).out
    lines = text.splitlines()
    assert lines[0] == key.fingerprint
    assert lines[1].split(maxsplit=1) == ["fingerprint", shown_fingerprint(key.fingerprint)]
    assert "for every name, in the system layer: masked" in lines
    assert "for every name, in the local layer: a mask" in lines
    assert f"  masked by  {mask}" in lines
    assert "for example.com/app, in the user layer: valid" in lines
    assert f"  from   {tmp_path / 'key.asc'}" in lines
    assert text.count(f"{shown_fingerprint(subkey)}, ed25519, 255 bits, signs") == 1
    assert f"  has admitted  example.com/app {found.id}" in lines
    document = run("--json", "trust", "show", key.fingerprint).document
    assert (document["fingerprint"], document["scheme"]) == (key.fingerprint, "openpgp")
    assert document["images"] == [{"id": str(found.id), "name": "example.com/app"}]
    assert [
        (each["prefix"], each["layer"], each["mask"], len(each["subkeys"])) for each in document["places"]
    ] == [
        (None, "system", False, 0),
        (None, "local", True, 0),
        ("example.com/app", "user", False, 1),
    ]
    assert document["places"][0]["deciding_file"] == str(mask)
    assert document["places"][2]["subkeys"][0]["fingerprint"] == subkey
    assert len(run("--json", "trust", "show", *PREFIX, key.fingerprint).document["places"]) == 1
    assert run("--json", "trust", "show", "--root", key.fingerprint).document["images"] == []
    assert run("trust", "show", "ab" * 20).code == 3


# --- mask


def test_mask_says_what_is_in_force_afterwards(
    run: Run, tmp_path: Path, trusted: Path, release: SigningKey
) -> None:
    put(tmp_path, "system", "root.d", release)
    ran = run("trust", "mask", *PREFIX, "--layer", "user", release.fingerprint)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        release.fingerprint,
        "  masked for     example.com/app (user)",
        "  trusted for    every name (system)",
        "  by others for  example.com/app (local)",
    ]
    document = run("--json", "trust", "mask", "--root", "--layer", "local", release.fingerprint).document
    mask = key_path(tmp_path, "local", "root.d", release)
    place = {"prefix": None, "fingerprint": release.fingerprint, "layer": "local", "file": str(mask)}
    mine = key_path(tmp_path, "user", IN_PREFIX, release)
    for_others = {"prefix": "example.com/app", "layer": "local", "file": str(trusted)}
    assert document == {
        "fingerprint": release.fingerprint,
        "masks": [place],
        "masked_by": [],
        "in_force": [],
        "in_force_for_others": [for_others | {"fingerprint": release.fingerprint}],
    }
    ran = run("trust", "mask", release.fingerprint)
    assert ran.code == 0
    assert ran.err.startswith("there was nothing to do: the key is masked already\n")
    assert ran.out.splitlines() == [
        release.fingerprint,
        f"  masked by      {mask}",
        f"  masked by      {mine}",
        "  trusted for    nothing, by this user",
        "  by others for  example.com/app (local)",
    ]
    document = run("--json", "trust", "mask", *PREFIX, release.fingerprint).document
    assert (document["masks"], [each["file"] for each in document["masked_by"]]) == ([], [str(mine)])
    ran = run("trust", "unmask", release.fingerprint)
    assert ran.out.splitlines()[1:] == [
        "  unmasked for  every name (local)",
        "  unmasked for  example.com/app (user)",
        "  trusted for   every name (system)",
        "  trusted for   example.com/app (local)",
    ]


def test_a_mask_for_one_user_is_told_to_be_that(
    run: Run, tmp_path: Path, trusted: Path, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(force, "default_layer", lambda: "local")
    shown = release.fingerprint.upper()
    told = (
        "acistore: warning: masked only for this user: others on this machine still trust the key for "
        "example.com/app; for the whole machine, "
    )
    ran = run("trust", "mask", release.fingerprint)
    remove = f"acistore trust remove --prefix example.com/app {shown}"
    assert ran.err == f"{told}{remove}\n"
    assert run("trust", "mask", release.fingerprint).err.endswith(f"{told}{remove}\n")
    run(*remove.split()[1:])
    put(tmp_path, "system", IN_PREFIX, release)
    mask = f"acistore trust mask --layer local --prefix example.com/app {shown}"
    assert run("trust", "mask", *PREFIX, "--layer", "user", release.fingerprint).err.endswith(f"{told}{mask}\n")
    ran = run(*mask.split()[1:])
    assert ran.err == ""
    assert "  trusted for  nothing\n" in ran.out
    monkeypatch.setattr(force, "default_layer", lambda: "user")
    run("trust", "unmask", "--layer", "local", release.fingerprint)
    ran = run("trust", "mask", "--layer", "user", release.fingerprint)
    assert ran.err.endswith(f"for the whole machine, as root: {mask}\n")


def test_a_mask_that_does_not_reach_is_told(run: Run, tmp_path: Path, release: SigningKey) -> None:
    put(tmp_path, "user", "prefix.d/example.com", release)
    out = run("trust", "mask", *PREFIX, "--layer", "local", release.fingerprint).out
    assert "trusted for  example.com/app, through example.com (user)" in out


def test_a_key_is_not_masked_by_its_own_file(run: Run, trusted: Path, release: SigningKey) -> None:
    ran = run("--json", "trust", "mask", *PREFIX, "--layer", "local", release.fingerprint)
    assert (ran.code, ran.error["kind"]) == (2, "UsageError")
    remove = ["trust", "remove", *PREFIX, release.fingerprint.upper()]
    assert ran.error["next"] == " ".join(["acistore", *remove])
    assert run(*remove).code == 0


def test_removing_says_where_the_key_still_counts(
    run: Run, tmp_path: Path, trusted: Path, release: SigningKey
) -> None:
    put(tmp_path, "system", "root.d", release)
    out = run("trust", "remove", *PREFIX, release.fingerprint).out
    assert out.splitlines() == [
        release.fingerprint,
        "  not trusted for  example.com/app (local)",
        "  trusted for      every name (system)",
        "  trusted for      example.com/app, through every name (system)",
    ]


@pytest.mark.parametrize("command", ["show", "remove", "mask", "unmask", "refresh"])
def test_one_place_is_named_at_most(run: Run, release: SigningKey, command: str) -> None:
    ran = run("--json", "trust", command, *PREFIX, "--root", release.fingerprint)
    assert (ran.code, ran.error["next"]) == (2, f"acistore trust {command} --help")


# --- refresh


def test_refresh_names_the_images_of_a_revoked_key(
    run: Run, store: Store, tmp_path: Path, maker: KeyMaker
) -> None:
    key = maker.key("Gone <gone@example.com>")
    source = tmp_path / "gone.asc"
    source.write_bytes(key.public())
    run("trust", "add", *PREFIX, "--layer", "local", "--yes", str(source))
    found = admitted(store, "example.com/app", key, "example.com/app")
    assert run("trust", "refresh").out == (f"{key.fingerprint} {key.user_id}\n  unchanged  nothing new\n")
    key.revoke()
    source.write_bytes(key.public())
    ran = run("trust", "refresh", key.fingerprint)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"{key.fingerprint} {key.user_id}",
        "  changed      revoked by its owner",
        "  written for  example.com/app (local)",
        f"  has admitted  example.com/app {found.id}",
    ]
    assert "was revoked by its owner, and admits nothing any more" in ran.err
    assert "--remove-images" in ran.err
    assert len(store.list()) == 1
    (document,) = run("--json", "trust", "refresh", "--remove-images").document
    assert document["changes"] == []
    assert (document["revoked"], document["images_removed"]) == (True, True)
    assert document["removed_images"] == [str(found.id)]
    assert document["images"] == [{"id": str(found.id), "name": "example.com/app"}]
    assert store.list() == []
    assert [each["state"] for each in run("--json", "trust", "list").document] == ["revoked"]
    (document,) = run("--json", "trust", "refresh", "--remove-images").document
    assert (document["images_removed"], document["removed_images"]) == (False, [])
    lines = [line.split(maxsplit=1) for line in run("trust", "show", key.fingerprint).out.splitlines()]
    assert ["state", "REVOKED by its owner"] in lines
    assert ["expires", "never"] in lines


@pytest.mark.parametrize(
    ("place", "where"), [((), ""), (PREFIX, " for example.com/app"), (("--root",), " for every name")]
)
def test_when_there_is_nothing_to_refresh_that_is_said(run: Run, place: tuple[str, ...], where: str) -> None:
    ran = run("trust", "refresh", *place)
    assert (ran.code, ran.out, ran.err) == (0, "", f"there is no key{where} that could be refreshed\n")
    assert run("--json", "trust", "refresh", *place).document == []
    assert run("-q", "trust", "refresh", *place).err == ""


def test_what_can_not_be_refreshed_is_reported_and_the_others_go_on(
    run: Run, tmp_path: Path, trusted: Path, other: SigningKey, stranger: SigningKey, ssh: SshSigningKey
) -> None:
    (tmp_path / "other.asc").write_bytes(other.public())
    run("trust", "add", "--root", "--yes", str(tmp_path / "other.asc"), str(ssh.path) + ".pub")
    put(tmp_path, "local", "root.d", stranger)
    (tmp_path / "release.asc").unlink()
    ran = run("trust", "refresh")
    assert ran.code == 1
    assert f"the key file {tmp_path / 'release.asc'} is not there any more" in ran.err
    assert f"{other.fingerprint} {other.user_id}\n  unchanged  nothing new\n" in ran.out
    assert f"left alone: {shown_fingerprint(stranger.fingerprint)}" in ran.err
    assert f"left alone: {shown_fingerprint(ssh.fingerprint)}" in ran.err
    ran = run("--json", "trust", "refresh")
    assert ran.error["kind"] == "FileUnusable"
    assert [each["refreshed"] for each in ran.document].count(True) == 1
    assert run("trust", "refresh", "ab" * 20).code == 3


# --- check


def test_check_is_for_a_timer(run: Run, tmp_path: Path, maker: KeyMaker, trusted: Path) -> None:
    ran = run("trust", "check")
    assert (ran.code, ran.out, ran.err) == (0, "", "1 key, all well\n")
    ran = run("-q", "trust", "check")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    soon = maker.key("Soon <soon@example.com>", expires="50d")
    put(tmp_path, "local", "root.d", soon)
    assert run("trust", "check").err == "2 keys, all well\n"
    stray = trusted.with_name("README")
    stray.write_text("keys")
    ran = run("--json", "trust", "check", "--expires-within", "60d")
    assert ran.code == 4
    assert (ran.error["kind"], ran.error["exit_code"]) == ("KeysNeedAttention", 4)
    assert ran.error["message"] == "1 of 2 keys and 1 file need attention"
    assert ran.error["next"] == f"acistore trust show {soon.fingerprint.upper()}"
    not_named = "it is not named by a fingerprint of 40 lower-case hexadecimal digits"
    assert [(each["prefix"], each["problem_kind"], each["problem"]) for each in ran.document] == [
        (None, "expiring", "expires in 49 days"),
        ("example.com/app", None, None),
        ("example.com/app", "file", not_named),
    ]
    assert all(set(each) == LIST_KEYS | {"file", "problem", "problem_kind"} for each in ran.document)
    assert (ran.document[2]["file"], ran.document[2]["layer"]) == (str(stray), "local")
    ran = run("-q", "trust", "check", "--expires-within", "60d")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["PREFIX", "(root)", "example.com/app"]
    assert str(stray) in ran.out
    assert ran.err.splitlines()[:3] == [
        "acistore: 1 of 2 keys and 1 file need attention",
        f"  {shown_fingerprint(soon.fingerprint)}  expires in 49 days: {soon.user_id}, for every name (local)",
        f"  {stray}  {not_named}",
    ]
    assert run("--json", "trust", "check", "--expires-within", "soon").error["exit_code"] == 2


def test_check_of_nothing(run: Run) -> None:
    ran = run("trust", "check")
    assert (ran.code, ran.out, ran.err) == (0, "", "no key is trusted\n")
    assert run("--json", "trust", "check").document == []


# --- export, import


@pytest.fixture
def exported(run: Run, tmp_path: Path, trusted: Path, ssh: SshSigningKey, other: SigningKey) -> Path:
    """A file with a key of each scheme and a mask; nothing is trusted any more."""
    run("trust", "add", "--root", "--layer", "local", "--yes", str(ssh.path) + ".pub")
    run("trust", "mask", *PREFIX, "--layer", "local", other.fingerprint)
    path = tmp_path / "keys.json"
    ran = run("trust", "export", str(path))
    assert (ran.code, ran.out, ran.err) == (0, "", f"wrote {path}: 2 trusted keys and 1 mask\n")
    run("trust", "remove", trusted.name)
    run("trust", "remove", ssh.fingerprint)
    run("trust", "unmask", other.fingerprint)
    assert run("--json", "trust", "list").document == []
    return path


def test_what_was_exported_is_imported(
    run: Run, exported: Path, ssh: SshSigningKey, release: SigningKey, other: SigningKey
) -> None:
    ran = run("trust", "import", "--layer", "local", "--yes", str(exported))
    assert ran.code == 0
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0][:2] == ["PREFIX", "FINGERPRINT"]
    assert {row[1] for row in rows[1:]} == {ssh.fingerprint, release.fingerprint, other.fingerprint}
    assert all("local" in row for row in rows[1:])
    for shown in (shown_fingerprint(ssh.fingerprint), shown_fingerprint(release.fingerprint)):
        assert f"key {shown}\n" in ran.err
    assert (
        f"mask of key {shown_fingerprint(other.fingerprint)}\n"
        "  for   example.com/app, in the local layer\n"
        "  here  new\n"
    ) in ran.err
    assert "  said to be from  " in ran.err  # nobody but the file says so
    before = run("--json", "trust", "list").document
    assert [(each["prefix"], each["state"]) for each in before] == [
        (None, "valid"),
        *sorted(
            [("example.com/app", "valid"), ("example.com/app", "masked")],
            key=lambda row: release.fingerprint if row[1] == "valid" else other.fingerprint,
        ),
    ]
    assert run("trust", "export", "-").out.encode() == exported.read_bytes()
    ran = run("trust", "import", str(exported))  # nobody has to be asked
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.count("  in force already\n") == 3
    assert "nothing was changed: all of it is in force already" in ran.err
    assert run("--json", "trust", "import", str(exported)).document == []
    assert run("--json", "trust", "list").document == before


def test_import_from_a_pipe(exported: Path, run: Run) -> None:
    ran = spawn("--json", "trust", "import", "--yes", "-", stdin=exported.read_text())
    assert ran.code == 0
    assert len(json.loads(ran.out)) == 3
    assert spawn("trust", "export", "-").out == exported.read_text()


def test_import_needs_an_answer(
    run: Run, exported: Path, release: SigningKey, ssh: SshSigningKey, other: SigningKey
) -> None:
    ran = run("--json", "trust", "import", str(exported))
    assert (ran.code, ran.error["kind"]) == (2, "NoTerminal")
    assert ran.error["facts"] == {
        shown_fingerprint(ssh.fingerprint): "ci@example.com",
        shown_fingerprint(release.fingerprint): release.user_id,
        shown_fingerprint(other.fingerprint): "a mask",
    }
    assert ran.error["next"].startswith("acistore trust import --fingerprint ")
    assert run("--json", "trust", "list").document == []
    seen = at_terminal("trust", "import", str(exported), answers={"[y/N]": "n\n"}, stdout_too=False)
    assert (seen.code, seen.out) == (4, "")
    assert seen.text.index(shown_fingerprint(release.fingerprint)) < seen.text.index("[y/N]")
    assert run("--json", "trust", "list").document == []
    seen = at_terminal("trust", "import", str(exported), answers={"[y/N]": "y\n"}, stdout_too=False)
    assert seen.code == 0
    assert len(run("--json", "trust", "list").document) == 3


def test_import_of_some_keys(run: Run, exported: Path, release: SigningKey, ssh: SshSigningKey) -> None:
    chosen = ("--fingerprint", release.fingerprint)
    ran = run("trust", "import", *chosen, str(exported))
    assert (ran.code, ran.out.splitlines()[1].split()[1]) == (0, release.fingerprint)
    assert f"left out: {shown_fingerprint(ssh.fingerprint)}\n" in ran.err
    assert [each["fingerprint"] for each in run("--json", "trust", "list").document] == [release.fingerprint]
    assert run("trust", "import", "--fingerprint", "ab" * 20, str(exported)).code == 4


def test_what_is_masked_here_is_left_alone_and_told(
    run: Run, tmp_path: Path, exported: Path, ssh: SshSigningKey, release: SigningKey
) -> None:
    mask = put(tmp_path, "user", IN_PREFIX, release, b"")
    shown = shown_fingerprint(release.fingerprint)
    ran = run("trust", "import", "--layer", "local", "--yes", str(exported))
    assert ran.code == 0
    assert f"  left alone: masked here by {mask}\n" in ran.err
    assert f"warning: key {shown} was left alone for example.com/app: it is masked here by {mask}\n" in ran.err
    assert not key_path(tmp_path, "local", IN_PREFIX, release).exists()
    assert (tmp_path / "local/trustedkeys/ssh/root.d" / ssh.fingerprint).exists()
    ran = run("--json", "trust", "import", "--layer", "local", "--yes", str(exported))
    assert ran.document == []


def test_an_import_of_a_mask_holds_for_the_whole_machine(
    run: Run, tmp_path: Path, trusted: Path, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = tmp_path / "older.json", tmp_path / "newer.json"
    run("trust", "export", str(older))
    run("trust", "mask", "--layer", "user", release.fingerprint)
    run("trust", "export", str(newer))
    run("trust", "unmask", release.fingerprint)
    ran = run("trust", "import", "--layer", "local", "--yes", str(newer))
    assert ran.code == 0
    assert (
        f"mask of key {shown_fingerprint(release.fingerprint)}\n"
        "  for   example.com/app, in the local layer\n"
        f"  here  takes the place of the key's own file {trusted}\n"
    ) in ran.err
    assert "warning" not in ran.err
    assert ran.out.splitlines()[1].split()[:4] == ["example.com/app", release.fingerprint, "local", "masked"]
    assert trusted.read_bytes() == b""
    ran = run("--json", "trust", "import", "--layer", "local", "--yes", str(older))
    assert (ran.code, ran.document) == (0, [])
    assert trusted.read_bytes() == b""


def test_a_revocation_that_is_imported_names_the_images(
    run: Run, store: Store, tmp_path: Path, maker: KeyMaker
) -> None:
    key = maker.key("Gone <gone@example.com>")
    path = put(tmp_path, "local", IN_PREFIX, key)
    found = admitted(store, "example.com/app", key, "example.com/app")
    fresh = key.public()
    key.revoke()
    path.write_bytes(key.public())
    run("trust", "export", str(tmp_path / "keys.json"))
    path.write_bytes(fresh)
    elsewhere = put(tmp_path, "local", "root.d", key, fresh)
    ran = run("trust", "import", "--layer", "local", "--yes", str(tmp_path / "keys.json"))
    assert ran.code == 0
    assert ran.err.count("  here       changed: revoked by its owner\n") == 2
    assert "  state      REVOKED by its owner\n" in ran.err
    assert f"has admitted  example.com/app {found.id}" in ran.out
    assert "--remove-images" in ran.err
    assert len(store.list()) == 1
    assert run("trust", "import", "--yes", "--remove-images", str(tmp_path / "keys.json")).code == 0
    assert store.list() == []
    admitted(store, "example.com/app", key, "example.com/app")
    for file in (path, elsewhere):
        file.write_bytes(fresh)
    documents = run("--json", "trust", "import", "--yes", "--remove-images", str(tmp_path / "keys.json")).document
    assert {each["prefix"]: (each["outcome"], each["changes"]) for each in documents} == {
        None: ("changed", ["revoked by its owner"]),
        "example.com/app": ("changed", ["revoked by its owner"]),
    }
    assert all(each["images_removed"] and each["removed_images"] == [str(found.id)] for each in documents)
    assert store.list() == []


def test_stdin_is_called_that(run: Run, exported: Path) -> None:
    ran = spawn("--json", "trust", "import", "-", stdin="junk")
    assert ran.error["message"] == "stdin is not a file of trusted keys: it is not JSON"
    ran = spawn("--json", "trust", "import", "-", stdin=exported.read_text())
    assert ran.error["message"].startswith("whether to trust what stdin holds, 2 trusted keys and 1 mask, can't")
    ran = spawn("--json", "trust", "import", "--fingerprint", "ab" * 20, "-", stdin=exported.read_text())
    assert ran.error["message"].endswith("is not in stdin")
    ran = run("--json", "trust", "import", "--fingerprint", "ab" * 20, str(exported))
    assert ran.error["message"].endswith(f"is not in {exported}")


def test_what_keeps_a_mask_from_having_an_effect_is_told(
    run: Run, tmp_path: Path, exported: Path, release: SigningKey, other: SigningKey
) -> None:
    path = put(tmp_path, "user", IN_PREFIX, other)
    ran = run("trust", "import", "--layer", "local", "--yes", str(exported))
    shown = shown_fingerprint(other.fingerprint)
    assert f"warning: key {shown} still counts for example.com/app: through {path}\n" in ran.err


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_file_of_keys_is_refused(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk").write_bytes(content)
    assert run("--json", "trust", "import", "--yes", str(tmp_path / "junk")).error["kind"] == "KeyRefused"
    assert run("--json", "trust", "import", "--yes", str(tmp_path / "none")).error["kind"] == "FileUnusable"


def test_export_replaces_a_file_or_leaves_it(run: Run, tmp_path: Path, trusted: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("older")
    (tmp_path / "link").symlink_to(path)
    assert run("--json", "trust", "export", str(tmp_path / "link")).document == {
        "file": str(tmp_path / "link"),
        "keys": 1,
        "masks": 0,
    }
    assert (tmp_path / "link").is_symlink()
    assert json.loads(path.read_text())["version"] == 1
    assert run("--json", "trust", "export", str(tmp_path / "none/keys.json")).error["kind"] == "FileUnusable"
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".acistore")]
    assert run("trust", "export", "/dev/null").code == 0


# --- completion


def test_fingerprints_and_prefixes_are_completed(run: Run, trusted: Path, release: SigningKey) -> None:
    def words(line: str) -> list[str]:
        ran = spawn(_ACISTORE_COMPLETE="bash_complete", COMP_LINE=line)
        return [word.partition(",")[2] for word in ran.out.split()]

    assert words("acistore trust show ") == [release.fingerprint]
    assert words(f"acistore trust mask {release.fingerprint[:4].upper()}") == [release.fingerprint]
    assert words("acistore trust remove --prefix ex") == ["example.com/app"]
    assert "refresh" in words("acistore trust ")


# --- text from outside


def test_nothing_from_outside_reaches_the_terminal_as_it_is(
    run: Run, tmp_path: Path, maker: KeyMaker, store: Store
) -> None:
    evil = maker.key("Evil \u202e\x9b2J <evil@example.com>", expires="10d")
    source = tmp_path / "evil\x1b[2J.asc"
    source.write_bytes(evil.public())
    admitted(store, "example.com/app", evil, "example.com/app")
    calls: list[tuple[str, ...]] = [
        ("add", *PREFIX, "--layer", "local", "--yes", str(source)),
        *(("list",), ("show", evil.fingerprint), ("check",), ("refresh",), ("mask", evil.fingerprint)),
        *(("unmask", evil.fingerprint), ("export", str(tmp_path / "k")), ("import", "--yes", str(tmp_path / "k"))),
        ("remove", evil.fingerprint),
    ]
    for call in calls:
        ran = run("trust", *call)
        assert (ran.out + ran.err).replace("\n", "").isprintable(), call
        assert "internal error" not in ran.err
