"""Tables of mirrors and hosts."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from acistore.config import Config, Host, Mirror, write_table
from acistore.errors import ConfigError
from tests.config.conftest import Load

Write = Callable[[str, str], Path]
URL = "https://mirror.example.com/{name}-{version}.{ext}"
SECRET = "sEcReT"


def test_a_mirror_has_a_prefix_and_a_template(write: Write, load: Load) -> None:
    path = write("local", f'[[mirrors]]\nprefix = "example.com/app"\nurl = "{URL}"\n')
    assert load().mirrors == (Mirror("example.com/app", URL, str(path)),)


def test_a_mirror_for_every_name_has_an_empty_prefix(load: Load) -> None:
    (mirror,) = load({"mirrors": f'[{{prefix = "", url = "{URL}"}}]'}).mirrors
    assert mirror == Mirror("", URL, "flag")
    assert write_table(mirror) == f'{{prefix = "", url = "{URL}"}}'


def test_tables_of_all_sources_are_taken_the_strongest_first(write: Write, load: Load) -> None:
    for layer in ("system", "local", "user"):
        write(layer, "".join(f'[[mirrors]]\nprefix = "{layer}/{n}"\nurl = "{URL}"\n' for n in (1, 2)))
    array = f'[{{prefix = "%s", url = "{URL}"}}]'
    config = load({"mirrors": array % "flag"}, ACISTORE_MIRRORS=array % "variable")
    assert [mirror.prefix for mirror in config.mirrors] == [
        *("flag", "variable", "user/1", "user/2", "local/1", "local/2", "system/1", "system/2"),
    ]
    assert [mirror.origin for mirror in config.mirrors[:2]] == ["flag", "ACISTORE_MIRRORS"]
    assert config.origins["mirrors"] == "flag"
    assert load(ACISTORE_MIRRORS="").origins["mirrors"].endswith("user/acistore.toml")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (f'url = "{URL}"', "mirrors.prefix is missing"),
        ('prefix = "example.com"', "mirrors.url is missing"),
        (f'prefix = "Example.com"\nurl = "{URL}"', "is not one of a-z"),
        (f'prefix = "example.com/"\nurl = "{URL}"', "must not end"),
        (f'prefix = 3\nurl = "{URL}"', "3 is not the beginning of a name"),
        ('prefix = "a"\nurl = "ftp://h/{ext}"', "mirrors.url: not an https:// URL"),
        ('prefix = "a"\nurl = "https:///{ext}"', "mirrors.url: not a URL"),
        ('prefix = "a"\nurl = "https://h:port/{ext}"', "mirrors.url: not a URL"),
        ('prefix = "a"\nurl = "https://h/\\u0000{ext}"', "mirrors.url: not a URL"),
        (f'prefix = "a"\nurl = "https://u:{SECRET}@h/{{ext}}"', "a user or a password stands in it"),
        (f'prefix = "a"\nurl = "https://u:{SECRET}/{{ext}}"', "mirrors.url: not a URL"),
        ('prefix = "a"\nurl = "https://{name}/{ext}"', "its host has a placeholder"),
        ('prefix = "a"\nurl = "https://h/{name}"', "without {ext} an image and its signature have one URL"),
    ],
)
def test_a_mirror_that_can_not_be_used_is_refused(write: Write, load: Load, table: str, problem: str) -> None:
    path = write("user", f"[[mirrors]]\n{table}\n")
    with pytest.raises(ConfigError) as raised:
        load()
    assert problem in raised.value.message
    assert raised.value.facts["set by"] == str(path)
    assert SECRET not in f"{raised.value.message}{raised.value.facts}"


def test_a_host_has_what_its_table_says(write: Write, load: Load) -> None:
    path = write(
        "user",
        """
        [[hosts]]
        name = "Images.Example.com"
        ca_file = "authorities.pem"
        ca_directory = ""
        client_certificate = "/etc/client.pem"
        client_key = "~/client.key"
        username = "me"
        password = "pass word: ü"
        [[hosts]]
        name = "[2001:DB8::0:1]:08443"
        token = "abc"
        [[hosts]]
        name = "bucket.s3.amazonaws.com"
        aws_access_key_id = "id"
        aws_secret_access_key = "key"
        aws_region = "eu-west-1"
        """,
    )
    basic, oauth, aws = load().hosts
    assert basic == Host(
        "images.example.com",
        ca_file=path.parent / "authorities.pem",
        client_certificate=Path("/etc/client.pem"),
        client_key=Path("~/client.key").expanduser(),
        username="me",
        password="pass word: ü",
        origin=str(path),
    )
    assert oauth == Host("[2001:db8::1]:8443", token="abc", origin=str(path))
    assert (aws.aws_region, aws.aws_service) == ("eu-west-1", None)


@pytest.mark.parametrize(
    "name",
    [
        *("", "https://example.com", "example.com/", "*.example.com", ".example.com", "example.com.", "a b"),
        *("::1", "[::1", "[::g]", "[fe80::1%eth0]", "example.com:", "example.com:0", "example.com:65536"),
        *("example.com:https", "bücher.example", f"u:{SECRET}@example.com"),
    ],
)
def test_what_is_no_host_is_refused(write: Write, load: Load, name: str) -> None:
    write("user", f'[[hosts]]\nname = "{name}"\n')
    with pytest.raises(ConfigError, match=r"^hosts\.name: ") as raised:
        load()
    assert SECRET not in raised.value.message


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('client_key = "k"', "client_key is there without client_certificate"),
        ('username = "u"', "username is there without password"),
        (f'password = "{SECRET}"', "password is there without username"),
        ('aws_access_key_id = "u"', "aws_access_key_id is there without aws_secret_access_key"),
        (f'aws_secret_access_key = "{SECRET}"', "aws_secret_access_key is there without aws_access_key_id"),
        (f'aws_session_token = "{SECRET}"', "aws_session_token is there without aws_access_key_id"),
        ('aws_region = "r"', "aws_region is there without aws_access_key_id"),
        ('aws_service = "r"', "aws_service is there without aws_access_key_id"),
        (f'username = "u"\npassword = "{SECRET}"\ntoken = "{SECRET}"', "a host takes one kind of credentials"),
        (f'token = "{SECRET}"\naws_region = "r"', "a host takes one kind of credentials"),
        ('username = "u:v"\npassword = "p"', "hosts.username: a colon stands in it"),
        (f'username = "u"\npassword = "{SECRET}\\r\\nX: y"', "hosts.password: a control character stands in it"),
        (f'token = "{SECRET} "', "hosts.token: a letter stands in it that is not ASCII, or a blank"),
        (f'token = ["{SECRET}"]', "hosts.token: not text in quotes"),
        ("username = 1", "hosts.username: not text in quotes"),
        ("ca_file = 1", "hosts.ca_file: 1 is not a path"),
    ],
)
def test_a_host_whose_keys_do_not_fit_is_refused(write: Write, load: Load, keys: str, problem: str) -> None:
    path = write("user", f'[[hosts]]\nname = "example.com"\n{keys}\n')
    with pytest.raises(ConfigError) as raised:
        load()
    assert problem in raised.value.message
    assert raised.value.facts == {"set by": str(path)}
    assert SECRET not in raised.value.message


def test_two_tables_for_a_host_in_one_file_are_refused_and_in_two_files_are_not(write: Write, load: Load) -> None:
    write("local", '[[hosts]]\nname = "example.com"\nca_file = "a"\n')
    write("user", '[[hosts]]\nname = "example.com"\nca_file = "b"\n[[hosts]]\nname = "example.com:443"\n')
    assert [host.name for host in load().hosts] == ["example.com", "example.com:443", "example.com"]
    path = write("user", '[[hosts]]\nname = "example.com"\n[[hosts]]\nname = "EXAMPLE.com"\n')
    with pytest.raises(ConfigError, match=r"two tables for example\.com") as raised:
        load()
    assert str(path) in raised.value.message


def test_an_unknown_key_in_a_table_names_the_nearest(write: Write, load: Load) -> None:
    path = write("user", '[[hosts]]\nname = "a"\n[[hosts]]\nname = "b"\nclent_key = "x"\n')
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message == f"{path}: unknown key 'hosts.clent_key'"
    assert raised.value.facts == {"table": "2", "did you mean": "hosts.client_key"}
    with pytest.raises(ConfigError) as raised:
        load({"mirrors": '[{prefx = "a"}]'})
    assert raised.value.message == "--mirrors: unknown key 'mirrors.prefx'"


@pytest.mark.parametrize("text", ['[hosts]\nname = "a"\n', "hosts = 3\n", 'hosts = ["a"]\n', "hosts = [1, {}]\n"])
def test_what_is_no_array_of_tables_is_refused(write: Write, load: Load, text: str) -> None:
    write("user", text)
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.next_step == "write [[hosts]] above each table"


@pytest.mark.parametrize("text", ["3", '{name = "a"}', '["a"]'])
def test_in_a_variable_or_flag_an_array_is_asked_for_and_not_what_files_have(load: Load, text: str) -> None:
    for flags, variables in (({"hosts": text}, {}), ({}, {"ACISTORE_HOSTS": text})):
        with pytest.raises(ConfigError, match=r"^hosts is (one table|not an array of tables)$") as raised:
            load(flags, **variables)
        assert (raised.value.next_step or "").startswith('write one like [{name = "images.example.com"')


def test_a_key_that_was_cut_short_is_completed(load: Load) -> None:
    with pytest.raises(ConfigError) as raised:
        load({"hosts": '[{name = "a", client_cert = "x"}]'})
    assert raised.value.facts == {"did you mean": "hosts.client_certificate"}


@pytest.mark.parametrize("text", ["[", SECRET, f'[{{password = "{SECRET}]', f"[]\njobs = '{SECRET}'", "[\ud800]"])
def test_a_variable_or_flag_that_is_no_toml_is_refused_and_not_quoted(load: Load, text: str) -> None:
    for flags, variables in (({"hosts": text}, {}), ({}, {"ACISTORE_HOSTS": text})):
        with pytest.raises(ConfigError) as raised:
            load(flags, **variables)
        assert raised.value.message.startswith("hosts is not an array of tables: ")
        assert raised.value.facts == {"set by": "flag" if flags else "ACISTORE_HOSTS"}
        assert SECRET not in raised.value.message


@pytest.mark.parametrize("key", ["password", "token", "aws_secret_access_key", "aws_session_token"])
def test_a_secret_may_stand_in_a_variable_and_not_in_a_flag(load: Load, key: str) -> None:
    text = f'[{{name = "example.com", {key} = "{SECRET}", username = "u", aws_access_key_id = "i"}}]'
    with pytest.raises(ConfigError, match=f"hosts.{key} stands in a flag") as raised:
        load({"hosts": text})
    assert "acistore.toml" in str(raised.value.next_step)
    assert load(ACISTORE_HOSTS=f'[{{name = "a", token = "{SECRET}"}}]').hosts[0].token == SECRET


def test_secrets_are_in_no_representation() -> None:
    hosts = (
        Host("a", username="u", password=SECRET),
        Host("a", token=SECRET),
        Host("a", aws_access_key_id="i", aws_secret_access_key=SECRET, aws_session_token=SECRET),
    )
    written = [write_table(host) for host in hosts]
    assert SECRET not in repr(hosts) + repr(Config(hosts=hosts)) + "".join(written)
    assert [tomllib.loads(f"x = {each}")["x"] for each in written] == [
        {"name": "a", "username": "u", "password": "(hidden)"},
        {"name": "a", "token": "(hidden)"},
        {
            "name": "a",
            "aws_access_key_id": "i",
            "aws_secret_access_key": "(hidden)",
            "aws_session_token": "(hidden)",
        },
    ]
