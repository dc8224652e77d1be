"""What keys, and files with keys, make the commands say: their words, and nothing that a terminal obeys."""

import json
from pathlib import Path

import pytest

from tests.cli.running import Ran
from tests.fetch.conftest import HOST, NAME
from tests.gpg import SigningKey
from tests.trust.hardening.conftest import IMAGE, Operator
from tests.trust.hardening.forging import Pair, public_key, signed, user
from tests.web import WebSite

USER_IDS = [
    b"\x1b[2J\x1b]0;title\x07",
    b"Alice\nkey 4E8E 13DC\n  user ID  Release",
    b"Alice\rBob",
    b"\x00\x01\x08\x7f",
    b"\x85\x9b31m\xff\xfe",
    b"a:b:c \\x0a \\n \\\\",
    *(
        text.encode()
        for text in (
            "\x85\x9b31m",
            "\u202eecila",
            "\u2066\u200f",
            "\u200b\ufeff\xad",
            "\u2028\u2029",
            "\U000e0041\u0600",
        )
    ),
    b" " * 200 + b"fingerprint  0000",
]


def is_harmless(ran: Ran) -> bool:
    """Whether nothing in its output but line breaks is for the terminal, or there without being seen."""
    return (ran.out + ran.err).replace("\n", "").isprintable()


def is_json(ran: Ran) -> bool:
    """Whether its output is one document, and of its warnings and errors each a line."""
    if ran.out.strip():
        json.loads(ran.out)
    return all(isinstance(json.loads(line), dict) for line in ran.err.splitlines())


def test_user_ids_in_every_command(operator: Operator, alice: Pair) -> None:
    path = operator.top / "key.asc"
    path.write_bytes(public_key(alice, USER_IDS[0], *(user(alice, user_id) for user_id in USER_IDS[1:])))
    fingerprint = alice.fingerprint
    commands = [
        ("trust", "add", "--prefix", NAME, str(path)),
        ("trust", "add", "--prefix", NAME, "--fingerprint", "0" * 40, str(path)),
        ("trust", "add", "--prefix", NAME, "--yes", str(path)),
        ("trust", "list"),
        ("trust", "show", fingerprint),
        ("trust", "check"),
        ("trust", "check", "--expires-within", "90000d"),
        ("trust", "explain", NAME),
        ("-v", "trust", "refresh"),
        ("trust", "export", str(operator.top / "bundle.json")),
        ("trust", "import", "--yes", "--layer", "local", str(operator.top / "bundle.json")),
        ("trust", "mask", "--layer", "user", fingerprint),
        ("trust", "list"),
        ("trust", "unmask", fingerprint),
    ]
    for command in commands:
        in_words, as_json = operator.run(*command), operator.run("--json", *command)
        assert is_harmless(in_words), command
        assert is_harmless(as_json), command
        assert is_json(as_json), command
        assert "internal error" not in in_words.err + as_json.err, command
    image = json.loads(operator.fetch(signed(alice, IMAGE)).out)[0]["id"]
    for command in (("show", image), ("list",), ("trust", "remove", fingerprint), ("verify", "--trust")):
        assert is_harmless(operator.run(*command)), command
    assert operator.run("fetch", "--no-cache", f"{NAME}:1.0").code == 4
    assert is_harmless(operator.run("fetch", "--no-cache", f"{NAME}:1.0"))


def bundle(operator: Operator, key: SigningKey, source: str) -> Path:
    """A file of trusted keys with one that is said to have come from there."""
    entry = {
        "prefix": NAME,
        "fingerprint": key.fingerprint,
        "key": key.public().decode(),
        "source": source,
        "added_at": "2026-01-01T00:00:00Z",
    }
    path = operator.top / "bundle.json"
    form = {"format": "acistore trusted keys", "version": 1, "keys": [entry], "masks": []}
    path.write_text(json.dumps(form))
    return path


@pytest.mark.parametrize(
    "source",
    [
        "\x1b[2J\x1b]0;title\x07",
        "a\nb",
        "\u202ehttps://example.com/",
        "https://example.com/$(touch pwned).asc",
        "/proc/self/environ",
        "/etc/passwd",
        "file:///etc/shadow",
        "ftp://example.com/key",
        "http://example.com/key.asc",
        "https://[::1",
        "-",
        "--help",
        "",
    ],
)
def test_source_that_somebody_else_has_noted(operator: Operator, release: SigningKey, source: str) -> None:
    """It may be shown and asked for; what comes from there is the same key, or nothing is taken."""
    path = bundle(operator, release, source)
    for command in (
        ("trust", "import", "--yes", str(path)),
        ("trust", "list"),
        ("trust", "show", release.fingerprint),
        ("trust", "refresh"),
    ):
        in_words, as_json = operator.run(*command), operator.run("--json", *command)
        assert is_harmless(in_words), command
        assert is_json(as_json), command
        assert "internal error" not in in_words.err + as_json.err, command
        assert "root:" not in in_words.err, command


def test_next_step_with_a_source_is_one_word_for_the_shell(
    operator: Operator, release: SigningKey, other: SigningKey, one_web: WebSite
) -> None:
    """Where there is another key now, people are told a command, and they will paste it."""
    source = f"https://{HOST}/$(touch$IFS{operator.top}/pwned).asc"
    one_web.put(HOST, f"$(touch$IFS{operator.top}/pwned).asc", other.public())
    assert operator.run("trust", "import", "--yes", str(bundle(operator, release, source))).code == 0
    ran = operator.run("--json", "trust", "refresh")
    assert ran.code == 4
    (error,) = (json.loads(line)["error"] for line in ran.err.splitlines())
    assert f"'{source}'" in error["next"]


def test_password_in_the_url_of_a_key_is_not_kept(
    operator: Operator, release: SigningKey, one_web: WebSite
) -> None:
    one_web.put(HOST, "key.asc", release.public())
    url = f"https://bob:hunter2@{HOST}/key.asc"
    ran = operator.run("trust", "add", "--prefix", NAME, "--yes", url)
    assert ran.code == 2
    assert "hunter2" not in ran.out + ran.err
    assert not [path for path in operator.top.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
