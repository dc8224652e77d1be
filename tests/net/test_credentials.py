"""Which credentials are known for a host: where they stand, what counts first, and what is wrong with a file."""

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from acistore.config import Host
from acistore.errors import ConfigError
from acistore.net.credentials.known import Credentials
from acistore.net.hosts import host_key
from tests.forking import CONTEXT
from tests.net.auth import SECRET, Places, auth, basic, oauth, sent
from tests.users import User

# Where they stand


def test_rkts_files_are_read_as_they_are(places: Places) -> None:
    places.write(
        "user", "a.json", auth("basic", {"user": "ada", "password": "p:w ü"}, "coreos.com", "tectonic.com")
    )
    places.write("user", "b.json", auth("oauth", {"token": "some.token=="}, "quay.io:8443"))
    places.write(
        "user", "c.json", auth("aws", {"accessKeyID": "AKID", "secretAccessKey": "s"}, "b.s3.amazonaws.com")
    )
    config = places.config()
    assert sent(config, "coreos.com") == sent(config, "tectonic.com") == basic("ada", "p:w ü")
    assert sent(config, "quay.io:8443") == "Bearer some.token=="
    assert (sent(config, "b.s3.amazonaws.com") or "").startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert sent(config, "example.com") is None


def test_the_names_of_keys_may_be_in_any_case_as_for_rkt(places: Places) -> None:
    content = {
        "RKTkind": "auth",
        "rktversion": "v1",
        "Domains": ["a.com"],
        "TYPE": "oauth",
        "Credentials": {"Token": "t"},
    }
    places.write("user", "a.json", content)
    assert sent(places.config(), "a.com") == "Bearer t"


def test_a_later_directory_replaces_an_earlier_one_host_by_host(places: Places) -> None:
    places.write("system", "all.json", oauth("a.com", "b.com", "c.com", token="system"))
    places.write("local", "other-name.json", auth("basic", {"user": "u", "password": "local"}, "b.com", "c.com"))
    places.write("user", "all.json", oauth("c.com", token="user"))
    config = places.config()
    assert [sent(config, host) for host in ("a.com", "b.com", "c.com")] == [
        "Bearer system",
        basic("u", "local"),
        "Bearer user",
    ]


def test_a_host_twice_in_one_directory_is_an_error(places: Places) -> None:
    first = places.write("local", "1.json", oauth("a.com", "b.com"))
    second = places.write("local", "2.json", oauth("B.com"))
    with pytest.raises(ConfigError, match=f"{second}: b.com has credentials already, in {first}"):
        sent(places.config(), "example.com")


def test_a_host_twice_in_one_file_is_an_error(places: Places) -> None:
    file = places.write("local", "1.json", oauth("a.com", "a.com"))
    with pytest.raises(ConfigError, match=f"{file}: a.com has credentials already, in {file}"):
        sent(places.config(), "example.com")


def test_fields_that_rkt_does_not_know_are_passed_over_as_it_does(places: Places) -> None:
    content = auth("oauth", {"token": "t", "scope": "pull"}, "a.com")
    places.write("user", ".json", {**content, "comment": "ask the team"})
    assert sent(places.config(), "a.com") == "Bearer t"


def test_a_directory_of_credentials_that_is_a_file_is_an_error_as_for_rkt(places: Places) -> None:
    for layer in ("system", "local", "user"):
        place = places.top / layer / "auth.d"
        place.parent.mkdir()
        place.write_text("{}")
        with pytest.raises(ConfigError, match=f"{place} can't be read: Not a directory"):
            sent(places.config(), "a.com")
        place.unlink()
        place.parent.rmdir()
        place.parent.write_text("no directory of configuration either: nothing is there")
        assert sent(places.config(), "a.com") is None


def test_what_is_not_rkts_auth_is_passed_over(places: Places) -> None:
    docker = {"rktKind": "dockerAuth", "rktVersion": "v1", "registries": ["quay.io"], "credentials": {"user": "u"}}
    places.write("user", "docker.json", docker)
    places.write("user", "README", "see the wiki")
    places.write("user", "below/a.json", oauth("a.com"))
    places.write("user", "folder.json/a.json", oauth("a.com"))
    elsewhere = places.write("elsewhere", "linked.json", oauth("a.com"))
    (places.top / "user/auth.d/linked.json").symlink_to(elsewhere)
    os.mkfifo(places.top / "user/auth.d/pipe.json")
    assert sent(places.config(), "a.com") is None


def test_tables_of_the_configuration_beat_auth_d_which_beats_netrc(places: Places) -> None:
    places.write_netrc("\n".join(f"machine {host}.com login u password netrc" for host in "abc"))
    places.write("user", "a.json", oauth("a.com", "b.com", token="auth.d"))
    config = places.config(
        Host("a.com", token="first"), Host("a.com", token="second"), Host("x.com", ca_file=Path("x"))
    )
    assert [sent(config, f"{host}.com") for host in "abcx"] == [
        "Bearer first",
        "Bearer auth.d",
        basic("u", "netrc"),
        None,
    ]


def test_each_kind_stands_in_a_table(places: Places) -> None:
    config = places.config(
        Host("a.com", username="u", password=SECRET),
        Host(
            "b.com",
            aws_access_key_id="AKID",
            aws_secret_access_key=SECRET,
            aws_region="eu-west-1",
            aws_service="execute-api",
        ),
    )
    assert sent(config, "a.com") == basic("u", SECRET)
    assert "/eu-west-1/execute-api/aws4_request" in (sent(config, "b.com") or "")


def test_files_are_read_once_and_not_before_they_are_needed(places: Places) -> None:
    credentials = Credentials(places.config())
    file = places.write("user", "a.json", oauth("a.com"))
    assert credentials.for_url(httpx.URL("https://a.com/"))
    file.write_text("broken")
    assert credentials.for_url(httpx.URL("https://a.com/"))


# Names


@pytest.mark.parametrize(
    ("name", "hosts", "others"),
    [
        (
            "a.com",
            ["a.com", "A.com", "a.com:443", "a.com:8443"],
            ["x.a.com", "com", "aa.com", "a.com.evil.org", "a.co", "a.com.", "a.com@b.org", "a.com:x@b.org"],
        ),
        ("A.com:8443", ["a.com:8443"], ["a.com", "a.com:443", "a.com:84430"]),
        ("a.com:443", ["a.com", "a.com:443"], ["a.com:8443"]),
        ("127.0.0.1", ["127.0.0.1", "127.0.0.1:8443"], ["127.0.0.10", "localhost"]),
        ("[::1]", ["[::1]", "[0:0::1]:8443"], ["[::11]"]),
        ("[0:0::1]:8443", ["[::1]:8443"], ["[::1]"]),
        ("bücher.de", ["bücher.de", "xn--bcher-kva.de"], ["bucher.de"]),
    ],
)
def test_a_name_is_that_host_and_no_other(places: Places, name: str, hosts: list[str], others: list[str]) -> None:
    places.write("user", "a.json", oauth(name, token="t"))
    config = places.config()
    assert [sent(config, host) for host in hosts] == ["Bearer t"] * len(hosts)
    assert [sent(config, host) for host in others] == [None] * len(others)


def test_a_name_with_the_port_comes_first(places: Places) -> None:
    places.write_netrc("machine a.com:8443 login u password p")
    config = places.config(Host("a.com", token="all"), Host("a.com:9443", token="this"))
    assert sent(config, "a.com:9443") == "Bearer this"
    assert sent(config, "a.com:8443") == basic("u", "p")
    assert sent(config, "a.com:7443") == "Bearer all"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "*.a.com",
        "https://a.com",
        "a.com/",
        "u@a.com",
        "u:p@a.com",
        "a.com:",
        "a.com:x",
        "a.com:99999",
        "a.com:0",
        "a b",
        "[::1",
        "[:::1]",
        "::1",
        "a.com?x",
        "[1.2.3.4]",
    ],
)
def test_what_is_no_host(name: str) -> None:
    with pytest.raises(ValueError, match="not a host such as") as raised:
        host_key(name)
    assert not name or name not in str(raised.value)


# Broken files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f'{{"token": "{SECRET}", ', "not JSON, line 1 column 36"),
        (f'"{SECRET}', "not JSON, line 1 column 1"),
        ("", "not JSON, line 1 column 1"),
        ("[" * 100_000, "not JSON"),
        (f"[{'1' * 5000}]", "not JSON"),
        ("\x00\xff", "not JSON"),
        ([SECRET], "not a JSON object"),
        ({"rktKind": "paths", "rktVersion": "v1", "data": SECRET}, 'not of the kind "auth" and version "v1"'),
        ({"rktKind": "auth", "rktVersion": "v2"}, 'not of the kind "auth" and version "v1"'),
        ({"rktVersion": "v1"}, 'not of the kind "auth" and version "v1"'),
        (auth("oauth", {"token": SECRET}), "domains: not a list of hosts"),
        ({**oauth(), "domains": SECRET}, "domains: not a list of hosts"),
        (oauth("a.com", f"https://u:{SECRET}@a.com"), r"domains\[1\]: not a host such as"),
        ({**oauth("a.com"), "domains": [7]}, r"domains\[0\]: not a host such as"),
        (auth("", {"token": SECRET}, "a.com"), "type: not one of basic, oauth, aws"),
        (auth(SECRET, {"token": SECRET}, "a.com"), "type: not one of basic, oauth, aws"),
        (auth("oauth", SECRET, "a.com"), "credentials: not a JSON object"),
        (auth("oauth", {"token": [SECRET]}, "a.com"), "credentials: token: not a text"),
        (auth("oauth", {"user": SECRET}, "a.com"), "credentials: no token"),
        (auth("oauth", {"token": f"{SECRET}\r\nHost: evil"}, "a.com"), "the token has spaces"),
        (auth("oauth", {"token": f"{SECRET}\ud800"}, "a.com"), "the token has spaces"),
        (auth("basic", {"user": SECRET}, "a.com"), "credentials: no password"),
        (auth("basic", {"password": SECRET}, "a.com"), "credentials: no user"),
        (auth("basic", {"user": "u", "password": f"{SECRET}\n"}, "a.com"), "the password has characters"),
        (auth("basic", {"user": "u", "password": f"{SECRET}\ud800"}, "a.com"), "the password has characters"),
        (auth("aws", {"accessKeyID": "AKID"}, "a.com"), "no secret access key"),
        (auth("aws", {"secretAccessKey": SECRET}, "a.com"), "no access key ID"),
        (auth("aws", {"accessKeyID": f"{SECRET}/x", "secretAccessKey": SECRET}, "a.com"), "no access key ID"),
        (
            auth("aws", {"accessKeyID": "A", "secretAccessKey": SECRET, "awsRegion": f"{SECRET}/"}, "a.com"),
            "not a region of AWS",
        ),
        ("x" * (1 << 20 | 1), "longer than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_without_its_secrets(places: Places, content: object, reason: str) -> None:
    file = places.write("user", "broken.json", content)
    with pytest.raises(ConfigError, match=reason) as raised:
        sent(places.config(), "example.com")
    error = raised.value
    assert str(file) in error.message
    assert "rktVersion" in str(error.next_step) or "longer" in reason
    # Nor in what a traceback would show.
    while error is not None:
        assert SECRET not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)  # type: ignore[assignment]


@pytest.mark.parametrize(
    "host",
    [
        Host("a.com", username="u", password=f"{SECRET}\u2028", origin="the file"),
        Host("a.com", aws_access_key_id="a/b", aws_secret_access_key=SECRET, origin="the file"),
    ],
)
def test_a_table_that_nothing_can_be_sent_from(places: Places, host: Host) -> None:
    with pytest.raises(ConfigError, match="the file: hosts") as raised:
        sent(places.config(host), "example.com")
    assert SECRET not in f"{raised.value} {raised.value.facts} {raised.value.next_step}"


# Files that others can read, or that we can't


def test_a_file_that_others_can_read_gets_one_warning(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    toml = places.top / "acistore.toml"
    open_files = [places.netrc, places.write("system", "a.json", oauth("a.com")), toml]
    toml.write_text("")
    places.write_netrc("machine b.com login u password p")
    places.write("user", "b.json", oauth("a.com")).chmod(0o600)
    for file, mode in zip(open_files, (0o644, 0o640, 0o604), strict=True):
        file.chmod(mode)
    for _ in range(2):
        sent(places.config(Host("c.com", token=SECRET, origin=str(toml))), "a.com")
    assert [record.name for record in caplog.records] == ["acistore.net.credentials"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} holds secrets and can be read by other users: chmod 600 {file}" for file in open_files
    ]


def test_a_table_without_a_secret_may_stand_where_all_can_read(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    file = places.top / "acistore.toml"
    file.write_text("")
    file.chmod(0o644)
    sent(places.config(Host("c.com", ca_file=Path("x"), origin=str(file))), "a.com")
    assert caplog.records == []


def as_nobody(top: Path, layer: str) -> None:
    """In another process: reads credentials as a user who may not read those of a layer, and tells the outcome."""
    if os.geteuid() == 0:
        User(uid=40_001, groups=(40_001,)).become()
    os.environ["NETRC"] = str(top / "netrc")
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("acistore").addHandler(handler)
    try:
        lines.append(f"sent {sent(Places(top).config(), 'b.com')}")
    except ConfigError as error:
        lines.append(f"error {error.message}")
    (top / "said").write_text("\n".join(lines))


@pytest.mark.parametrize("layer", ["system", "local", "user"])
@pytest.mark.parametrize("what", ["file", "directory"])
def test_credentials_that_we_may_not_read(layer: str, what: str) -> None:
    with TemporaryDirectory(prefix="acistore-", dir="/tmp") as top:
        places = Places(Path(top))
        file = places.write(layer, "a.json", oauth("a.com"))
        closed = file if what == "file" else file.parent
        closed.chmod(0o000)
        process = CONTEXT.Process(target=as_nobody, args=(places.top, layer))
        places.top.chmod(0o777)
        process.start()
        process.join(60)
        said = (places.top / "said").read_text().splitlines()
        closed.chmod(0o700)
    if layer == "user":
        assert said == [f"error {closed} can't be read: Permission denied"]
    else:
        assert said == [f"{closed} can't be read: Permission denied; credentials in it are not used", "sent None"]
