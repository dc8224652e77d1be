"""`discover` and `fetch`: where an image is, and how it comes into the store."""

import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import trustme

from acistore.fingerprints import shown_fingerprint
from acistore.naming import ImageName
from acistore.store import Store
from tests.cli.running import COMMAND, Run, at_terminal, environment, spawn
from tests.fetch.conftest import HOST, NAME, Publisher, app
from tests.gpg import SigningKey
from tests.images import image
from tests.waiting import PATIENCE
from tests.web import RawServer, WebSite

FETCH_KEYS = {"id", "name", "labels", "size", "source", "fetched_at", "reused", "bytes_downloaded"}
HERE = ImageName("x").for_this_machine().labels
PAGE = f"https://{HOST}/app?ac-discovery=1"


@pytest.fixture
def publisher(web: WebSite, release: SigningKey) -> Publisher:
    """example.com, with `app:1.0` for this machine, signed by the release key."""
    publisher = Publisher(web, release)
    publisher.page(keys=f"https://{HOST}/keys.asc")
    publisher.web.put(HOST, "keys.asc", release.public())
    publisher.publish(app(**HERE))
    return publisher


@pytest.fixture
def trusted(publisher: Publisher, run: Run) -> Publisher:
    """The same, whose key is trusted."""
    assert run("trust", "add", "--prefix", NAME, "--yes").code == 0
    return publisher


# --- discover


def test_discover_shows_where_things_are(run: Run, publisher: Publisher) -> None:
    ran = run("discover", f"{NAME}:1.0")
    assert (ran.code, ran.err) == (0, "")
    wanted, *lines = ran.out.splitlines()
    assert wanted == f"{NAME}:1.0,arch={HERE['arch']},os=linux"
    assert [line.split() for line in lines] == [
        ["image", f"https://{HOST}/acis/{NAME}-1.0.aci"],
        ["signature", f"https://{HOST}/acis/{NAME}-1.0.aci.asc"],
        ["or", "by", "SSH", f"https://{HOST}/acis/{NAME}-1.0.aci.sig"],
        ["key", f"https://{HOST}/keys.asc"],
    ]


def test_discover_with_v_shows_each_page(run: Run, publisher: Publisher) -> None:
    pages = [line.split(maxsplit=1) for line in run("-v", "discover", NAME).out.splitlines() if "  page" in line]
    assert pages == [
        ["page", f"{PAGE}: 404 Not Found"],
        ["page", f"https://{HOST}?ac-discovery=1: 1 endpoint, 1 key"],
    ]


def test_discover_in_json_has_the_keys_of_the_contract(run: Run, publisher: Publisher) -> None:
    page = f"https://{HOST}?ac-discovery=1"
    assert run("--json", "discover", NAME).document == {
        "name": NAME,
        "labels": {"version": "latest", **HERE},
        "images": [
            {
                "url": f"https://{HOST}/acis/{NAME}-latest.aci",
                "signature_url": f"https://{HOST}/acis/{NAME}-latest.aci.asc",
                "ssh_signature_url": f"https://{HOST}/acis/{NAME}-latest.aci.sig",
                "page": page,
            }
        ],
        "keys": [f"https://{HOST}/keys.asc"],
        "pages": [
            {"url": PAGE, "status": 404, "outcome": "404 Not Found"},
            {"url": page, "status": 200, "outcome": "1 endpoint, 1 key"},
        ],
    }


def test_discover_that_finds_nothing_tells_of_every_page(run: Run, web: WebSite) -> None:
    web.put(HOST, "index.html", b"<p>welcome</p>")
    error = run("--json", "discover", NAME).error
    assert (error["kind"], error["exit_code"]) == ("EndpointNotFound", 3)
    assert list(error["facts"]) == [PAGE, f"https://{HOST}?ac-discovery=1"]


# --- fetch


def test_fetch_prints_the_id_and_in_a_pipe_a_line_a_step(trusted: Publisher, store: Store) -> None:
    ran = spawn("fetch", f"{NAME}:1.0")
    (stored,) = store.list()
    assert (ran.code, ran.out) == (0, f"{stored.id}\n")
    assert any(line.startswith("downloading ") for line in ran.err.splitlines())
    assert not re.search(r"[\x1b\r]", ran.err)


def test_quiet_fetch_prints_the_id_alone(trusted: Publisher, run: Run) -> None:
    assert run("-q", "fetch", f"{NAME}:1.0").err == ""
    refused = run("-q", "--insecure-options=http", "fetch", "example.com/none")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.startswith("acistore: example.com/none")


def test_fetch_in_json_has_the_keys_of_the_contract(trusted: Publisher, run: Run) -> None:
    ran = run("--json", "fetch", f"{NAME}:1.0")
    (fetched,) = ran.document
    assert ran.err == ""
    assert set(fetched) >= FETCH_KEYS
    assert fetched["name"] == NAME
    assert fetched["labels"] == {"version": "1.0", **HERE}
    assert fetched["source"] == f"https://{HOST}/acis/{NAME}-1.0.aci"
    assert (fetched["reused"], fetched["bytes_downloaded"] > 0) == (False, True)
    (again,) = run("--json", "fetch", "--pull-policy", "new", f"{NAME}:1.0").document
    assert (again["id"], again["reused"], again["bytes_downloaded"]) == (fetched["id"], True, 0)


def test_of_several_each_is_tried_and_the_first_failure_is_the_exit_code(
    trusted: Publisher, run: Run, other: SigningKey
) -> None:
    trusted.publish(app(version="2.0", **HERE), version="2.0", key=other)
    ran = run("--json", "fetch", f"{NAME}:2.0", f"{NAME}:1.0", "Not A Name", "./none.aci", f"{NAME}:1.0")
    assert ran.code == 4
    first, second = ran.document
    assert first["id"] == second["id"]
    kinds = {error["about"]: error["kind"] for error in ran.errors}
    assert (kinds[f"{NAME}:2.0"], kinds["Not A Name"]) == ("UntrustedSigner", "InvalidName")
    assert len(ran.errors) == 3


def test_of_several_it_is_told_how_many_are_done(trusted: Publisher, run: Run) -> None:
    ran = run("fetch", "--jobs", "1", f"{NAME}:1.0", "Not A Name")
    assert [line for line in ran.err.splitlines() if line.endswith("of 2)")] == [
        f"{NAME}:1.0 is in the store (2 of 2)",
    ]


@pytest.mark.parametrize(("version", "code"), [("", 2), ("latest", 4)])
def test_who_asks_for_no_version_or_for_latest_is_shown_the_way(
    trusted: Publisher, run: Run, version: str, code: int
) -> None:
    trusted.publish(app(version="2.0", **HERE), version="latest")
    ran = run("--json", "fetch", f"{NAME}:{version}")
    assert (ran.code, ran.error["next"].endswith(f"acistore fetch {NAME}")) == (code, True)


def test_a_reader_that_has_gone_keeps_no_image_from_coming(trusted: Publisher, run: Run, store: Store) -> None:
    trusted.publish(app(version="2.0", **HERE), version="2.0")
    command = shlex.join([*COMMAND, "-q", "fetch", f"{NAME}:1.0", f"{NAME}:2.0", f"{NAME}:3.0"])
    script = f"set -o pipefail; {command} | true"
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, check=False)
    assert done.returncode == 3
    assert len(store.list()) == 2


def test_a_url_that_is_none_does_not_keep_the_others_from_being_tried(trusted: Publisher, run: Run) -> None:
    ran = run("--json", "fetch", "https://[::1", f"{NAME}:1.0")
    assert [each["name"] for each in ran.document] == [NAME]
    assert ran.error["exit_code"] == ran.code == 2


def test_nothing_is_fetched_for_a_name_without_a_key(publisher: Publisher, run: Run) -> None:
    ran = run("--json", "fetch", f"{NAME}:1.0")
    assert (ran.code, ran.document, ran.error["kind"]) == (4, [], "NoTrustedKey")
    assert not any(line.endswith(".aci 200") for line in publisher.web.log())


def test_keys_from_https_are_trusted_when_told_so_with_a_warning(
    publisher: Publisher, run: Run, release: SigningKey
) -> None:
    ran = run("fetch", "--trust-keys-from-https", f"{NAME}:1.0")
    assert ran.code == 0
    (warning,) = [line for line in ran.err.splitlines() if line.startswith("acistore: warning: ")]
    assert release.fingerprint[-4:].upper() in warning.upper()


def test_each_insecure_option_is_one_warning(publisher: Publisher, run: Run) -> None:
    ran = run("--insecure-options=image,http,tls,pubkey", "fetch", f"{NAME}:1.0")
    assert ran.code == 0
    warnings = [line for line in ran.err.splitlines() if line.startswith("acistore: warning: ")]
    assert len(warnings) == 4
    for option in ("image", "http", "tls", "pubkey"):
        assert any(f"--insecure-options={option}" in warning for warning in warnings)
    assert run("-q", "--insecure-options=image", "fetch", f"{NAME}:1.0").err == ""


def test_a_file_is_fetched_with_the_signature_that_is_named(
    run: Run, tmp_path: Path, release: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = image(NAME, labels=HERE)
    Path("app.aci").write_bytes(archive)
    Path("detached.sig").write_bytes(release.sign(archive, armored=False))
    Path("release.asc").write_bytes(release.public())
    run("trust", "add", "--prefix", NAME, "--yes", "release.asc")
    assert run("--json", "fetch", "./app.aci").error["kind"] == "SignatureMissing"
    assert run("fetch", "./app.aci", "--signature", "./detached.sig").code == 0
    error = run("--json", "fetch", "./app.aci", "./app.aci", "--signature", "./detached.sig").error
    assert (error["kind"], error["exit_code"]) == ("UsageError", 2)


def test_the_pull_policy_is_one_of_three(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("fetch", "--pull-policy", "always", NAME)
    assert ran.code == 2
    assert ran.err.startswith("acistore: --pull-policy: 'always' is not one of 'new', 'update', 'never'\n")
    assert run("fetch", "--pull-policy", "never", NAME).code == 3
    monkeypatch.setenv("ACISTORE_PULL_POLICY", "never")
    assert run("fetch", NAME).code == 3


def test_on_a_terminal_one_display_shows_the_download(trusted: Publisher, store: Store) -> None:
    seen = at_terminal("fetch", f"{NAME}:1.0", stdout_too=False)
    (stored,) = store.list()
    assert (seen.code, seen.out) == (0, f"{stored.id}\n")
    assert "downloading" in seen.text
    assert re.search(r"\d+/\d+ bytes|\d/\d+\.\d [kM]B", seen.text)
    assert seen.screen.rfind("\x1b[?25h") > seen.screen.rfind("\x1b[?25l")  # the cursor is back,
    after_erasing = seen.screen.rpartition("\x1b[2K")[2]
    assert not re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", after_erasing).strip()  # and the display gone
    assert "\x1b[3" not in at_terminal("--no-color", "fetch", NAME).screen
    assert "\x1b" not in at_terminal("-q", "fetch", f"{NAME}:1.0", stdout_too=False).screen
    assert "\x1b" not in at_terminal("fetch", f"{NAME}:1.0", TERM="dumb").screen


def test_a_warning_stands_above_the_live_display(publisher: Publisher) -> None:
    seen = at_terminal("fetch", "--trust-keys-from-https", f"{NAME}:1.0")
    assert seen.code == 0
    assert f"is trusted for {NAME} from now on" in re.sub(r"\s+", " ", seen.text)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_fetch_that_is_interrupted_leaves_a_sound_store(
    run: Run, web: WebSite, store: Store, authority: trustme.CA, name: str
) -> None:
    at_work, over = threading.Event(), threading.Event()

    def stall(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
        at_work.set()
        over.wait(PATIENCE)

    with RawServer(stall, authority.issue_cert("slow.example.com")) as server:
        web.take_over("slow.example.com", server)
        with subprocess.Popen(
            [*COMMAND, "-q", "--insecure-options=image", "fetch", "https://slow.example.com/app.aci"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert at_work.wait(PATIENCE)
            process.send_signal(getattr(signal, name))
            code = process.wait(PATIENCE)
            over.set()
            assert process.stdout and process.stderr
            assert (code, process.stdout.read(), process.stderr.read()) == (
                128 + getattr(signal, name),
                b"",
                b"",
            )
    assert run("verify").code == 0
    assert store.list() == []


# --- keys that are found, and images that are older


REVIEWED = f'[{{prefix = "{HOST}", discover_keys = true}}]'


def test_a_person_reviews_the_keys_that_were_found(publisher: Publisher, run: Run) -> None:
    seen = at_terminal(
        *("--policies", REVIEWED, "fetch", f"{NAME}:1.0"),
        answers={"Trust this key for example.com/app?": "y\n"},
        stdout_too=False,
    )
    assert seen.code == 0, seen.text
    assert seen.text.index(shown_fingerprint(publisher.key.fingerprint)) < seen.text.index("[y/N]")
    assert f"https://{HOST}/keys.asc" in seen.text
    assert seen.out.startswith("sha512-")
    [listed] = run("--json", "trust", "list").document
    assert (listed["prefix"], listed["source"]) == (NAME, f"https://{HOST}/keys.asc")


def test_a_person_who_says_no_trusts_nobody(publisher: Publisher, run: Run) -> None:
    seen = at_terminal(
        *("--policies", REVIEWED, "fetch", f"{NAME}:1.0"), answers={"[y/N]": "n\n"}, stdout_too=False
    )
    assert (seen.code, seen.out) == (4, "")
    assert "no key was added for example.com/app" in seen.text
    assert run("--json", "trust", "list").document == []


def test_two_names_are_asked_about_one_after_the_other(publisher: Publisher, run: Run) -> None:
    publisher.publish(image("example.com/db", labels={"version": "1.0", **HERE}), name="example.com/db")
    seen = at_terminal(
        *("--policies", REVIEWED, "fetch", f"{NAME}:1.0", "example.com/db:1.0"),
        answers={"for example.com/app?": "y\n", "for example.com/db?": "n\n"},
        stdout_too=False,
    )
    assert seen.code == 4, seen.text
    assert seen.out.count("sha512-") == 1
    assert [each["prefix"] for each in run("--json", "trust", "list").document] == [NAME]


def test_a_question_can_be_interrupted(publisher: Publisher, run: Run) -> None:
    command = [*COMMAND, "--policies", REVIEWED, "fetch", f"{NAME}:1.0"]
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(
        command, env=environment(TERM="xterm"), stdin=terminal, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        os.close(terminal)
        seen = b""
        while b"[y/N]" not in seen:
            assert select.select([keyboard], [], [], PATIENCE)[0], seen
            seen += os.read(keyboard, 1 << 16)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    os.close(keyboard)
    assert run("--json", "trust", "list").document == []


def test_without_a_terminal_the_command_is_told_and_works(publisher: Publisher, run: Run) -> None:
    ran = spawn("--json", "--policies", REVIEWED, "fetch", f"{NAME}:1.0", stdin="y\n")
    assert (ran.code, ran.error["kind"]) == (4, "NoTrustedKey")
    assert run("--json", "trust", "list").document == []
    program, *arguments = shlex.split(ran.error["next"])
    assert program == "acistore"
    assert run(*arguments).code == 0
    assert run("fetch", f"{NAME}:1.0").code == 0


def test_an_older_image_is_refused_as_latest_unless_it_is_allowed(trusted: Publisher, run: Run) -> None:
    for number in ("2.0", "1.0"):
        trusted.publish(image(NAME, labels={"version": number, **HERE}), version="latest")
        ran = run("--json", "fetch", NAME)
    assert (ran.code, ran.error["kind"]) == (4, "DowngradeRefused")
    ran = run("fetch", NAME)
    assert "offered now" in ran.err
    assert ran.err.splitlines()[-1].lstrip().startswith(f"next           acistore fetch --allow-downgrade {NAME}")
    assert run("fetch", "--allow-downgrade", NAME).code == 0
    assert run("fetch", NAME).code == 0
