"""netrc: what of it counts, and what is wrong with one."""

import os

import pytest

from acistore.errors import ConfigError
from tests.net.auth import SECRET, Places, basic, sent


def test_netrc_counts_for_the_hosts_that_it_names(places: Places) -> None:
    places.write_netrc(
        "machine a.com login ada password s3cret\n"
        "machine b.com:8443 login bob password other\n"
        "machine c.com login without-password\n"
        "default login anybody password anything\n"
    )
    config = places.config()
    assert sent(config, "a.com") == basic("ada", "s3cret")
    assert sent(config, "b.com:8443") == basic("bob", "other")
    assert [sent(config, host) for host in ("b.com", "c.com", "d.com", "default")] == [None] * 4


def test_netrc_is_read_as_other_programs_read_it(places: Places) -> None:
    places.write_netrc(
        "# of the team\n"
        "macdef init\n"
        "machine macro.com login u password p\n"
        "\n"
        "machine A.com\n\tlogin ada\n\taccount x\n\tpassword pass#word # not a part of it\n"
        'machine b.com login "b o b" password "quoted \\" \\\\ word"\n'
        "machine c.com login first password 1\n"
        "machine c.com login second password 2\n"
        "machine d.com login d password d machine e.com login e password e\n"
    )
    config = places.config()
    assert sent(config, "macro.com") is None
    assert sent(config, "a.com") == basic("ada", "pass#word")
    assert sent(config, "b.com") == basic("b o b", 'quoted " \\ word')
    assert sent(config, "c.com") == basic("second", "2")
    assert [sent(config, f"{host}.com") for host in "de"] == [basic("d", "d"), basic("e", "e")]


@pytest.mark.parametrize("what", ["directory", "pipe", "nothing"])
def test_what_netrc_names_that_is_no_file_holds_no_credentials(places: Places, what: str) -> None:
    if what == "directory":
        places.netrc.mkdir()
    elif what == "pipe":
        os.mkfifo(places.netrc)
    assert sent(places.config(), "a.com") is None


def test_without_netrc_it_is_in_the_home_directory(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(places.top))
    (places.top / ".netrc").write_text("machine a.com login ada password s3cret\n")
    assert sent(places.config(), "a.com") == basic("ada", "s3cret")


@pytest.mark.parametrize(
    "text",
    [f"machine a.com login u password x {SECRET}", f"{SECRET}", f"machine a.com password x login\n{SECRET} y z"],
)
def test_a_broken_netrc_is_told_without_its_secrets(places: Places, text: str) -> None:
    places.write_netrc(text)
    with pytest.raises(ConfigError, match=f"{places.netrc}: not a netrc file, line") as raised:
        sent(places.config(), "example.com")
    assert SECRET not in f"{raised.value} {raised.value.facts} {raised.value.next_step}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\x00 \x80", "not a netrc file"), (b" " * (1 << 20 | 1), "longer than 1048576 bytes")],
)
def test_what_can_be_no_netrc(places: Places, content: bytes, reason: str) -> None:
    places.netrc.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{places.netrc}: {reason}"):
        sent(places.config(), "example.com")
