"""Names, labels and IDs: the conformance cases, and what their messages and operations promise."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.errors import InvalidName
from acistore.naming import (
    ImageID,
    ImageName,
    Labels,
    arch_of_machine,
    check_identifier,
    check_name,
    covers,
    parents,
)

CONFORMANCE = Path(__file__).parent / "conformance"
DIGITS = "0123456789abcdef" * 8


def cases(file: str, *kinds: str) -> list[Any]:
    """A parameter for each line of a conformance file, named after its input."""
    lines = (CONFORMANCE / file).read_text().splitlines()
    found = [(number, json.loads(line)) for number, line in enumerate(lines, start=1)]
    return [
        pytest.param(case, id=f"{number}-{case['kind']}-{case['input'][:40]!a}")
        for number, case in found
        if case["kind"] in kinds
    ]


def accepted(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except InvalidName:
        return False
    return True


@pytest.mark.parametrize("case", cases("identifiers.jsonl", "identifier", "acname", "hash"))
def test_identifier_is_accepted_exactly_when_the_reference_accepts_it(case: dict[str, Any]) -> None:
    check = {"identifier": check_identifier, "acname": check_name, "hash": ImageID.parse}[case["kind"]]
    assert accepted(check, case["input"]) == case["ok"]


@pytest.mark.parametrize("case", cases("image-names.jsonl", "app"))
def test_image_name_is_read_as_the_reference_reads_it(case: dict[str, Any]) -> None:
    assert accepted(ImageName.parse, case["input"]) == case["ok"]
    if case["ok"]:
        name = ImageName.parse(case["input"])
        assert (name.name, name.labels) == (case["name"], case["labels"])


@pytest.mark.parametrize("check", [check_identifier, check_name, ImageName.parse])
@pytest.mark.parametrize("text", ["a\n", "a\u00e9", "a\u0663", "\n"])
def test_neither_a_last_newline_nor_letters_beyond_ascii_belong_to_a_name(
    check: Callable[[str], object], text: str
) -> None:
    assert not accepted(check, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", '"" is not an image name such as example.com/app: it is empty'),
        (
            "a/B",
            '"a/B" is not an image name such as example.com/app: character 3, "B", is not one of a-z 0-9',
        ),
        ("/a", 'it must not begin with "/"'),
        ("a/", 'it must not end with "/"'),
        ("a:1:2", "more than one colon"),
        ("a,os=x:1", "a colon behind a comma"),
        ("a:1,os", 'after a comma, "os" has no "="'),
        ("a,", 'after a comma, "" has no "="'),
        ("a,OS=x", '"OS" is not a label name such as os: character 1, "O"'),
        ("a,=x", '"" is not a label name such as os: it is empty'),
        ("a,name=x", "the image's own"),
        ("a:1.0,version=1.0", 'label "version" is given twice'),
        ("a,os=x\udcff", 'the value of label "os" is not Unicode text'),
    ],
)
def test_refused_name_says_what_is_wrong_and_where(text: str, problem: str) -> None:
    with pytest.raises(InvalidName) as caught:
        ImageName.parse(text)
    assert problem in caught.value.message


def test_message_cuts_a_very_long_name() -> None:
    with pytest.raises(InvalidName) as caught:
        ImageName.parse("A" * 10_000)
    assert len(caught.value.message) < 300


def test_name_built_from_parts_is_checked_too() -> None:
    with pytest.raises(InvalidName):
        ImageName("Example.com")
    with pytest.raises(InvalidName):
        ImageName("example.com", {"OS": "linux"})


def test_canonical_text_has_the_version_first_and_the_other_labels_sorted() -> None:
    name = ImageName.parse("example.com/app,version=1,os=linux,arch=amd64,a=b=c")
    assert str(name) == "example.com/app:1,a=b=c,arch=amd64,os=linux"
    assert str(ImageName.parse("example.com/app:")) == "example.com/app:"
    assert str(ImageName.parse("example.com/app")) == "example.com/app"


def test_label_value_without_a_notation_is_printed_all_the_same() -> None:
    assert str(ImageName("a", {"authors": "x,y:z"})) == "a,authors=x,y:z"


def test_order_of_labels_plays_no_part_in_equality() -> None:
    one, other = ImageName.parse("a,os=linux,arch=arm"), ImageName.parse("a,arch=arm,os=linux")
    assert one == other
    assert {one: "found"}[other] == "found"
    assert one != ImageName.parse("a,os=linux")


def test_labels_cannot_be_changed() -> None:
    given_labels = {"os": "linux"}
    name = ImageName("a", given_labels)
    given_labels["os"] = "freebsd"
    assert name.labels == {"os": "linux"}
    assert not hasattr(name.labels, "__setitem__")


def test_labels_given_twice_are_refused() -> None:
    with pytest.raises(InvalidName, match='"os" is given twice'):
        Labels([("os", "linux"), ("os", "linux")])


def test_version_is_the_label_of_that_name() -> None:
    assert ImageName.parse("a:1.0").version == "1.0"
    assert ImageName.parse("a,version=1.0").version == "1.0"
    assert ImageName.parse("a:").version == ""
    assert ImageName.parse("a").version is None


def test_missing_labels_are_added_and_given_ones_kept() -> None:
    name = ImageName.parse("a:2,os=").add_missing(version="latest", os="linux", arch="amd64")
    assert name.labels == {"version": "2", "os": "", "arch": "amd64"}


def test_name_for_this_machine_has_its_os_and_arch_where_absent() -> None:
    labels = ImageName.parse("a").for_this_machine().labels
    assert labels["os"] == "linux"
    assert labels.get("arch") == arch_of_machine(os.uname().machine)
    asked = ImageName.parse("a,os=freebsd,arch=arm")
    assert asked.for_this_machine() == asked


@pytest.mark.parametrize(
    ("machine", "arch"),
    [
        ("x86_64", "amd64"),
        ("aarch64", "aarch64"),
        ("armv7l", "armv7l"),
        ("armv6l", "armv6l"),
        ("i686", "i386"),
        ("i386", "i386"),
        ("ppc64", "ppc64"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
        ("riscv64", None),
        ("", None),
    ],
)
def test_machine_is_spelled_as_appc_spells_it(machine: str, arch: str | None) -> None:
    assert arch_of_machine(machine) == arch


def test_labels_match_when_every_one_asked_for_is_there_with_its_value() -> None:
    manifest = {"version": "1.0", "os": "linux", "arch": "amd64"}
    assert ImageName.parse("a").mismatches(manifest) == ()
    assert ImageName.parse("a:1.0,os=linux").mismatches(manifest) == ()


def test_each_label_that_does_not_match_is_named() -> None:
    asked = ImageName.parse("a:latest,os=linux,channel=beta")
    assert asked.mismatches({"version": "1.0", "os": "linux"}) == (
        'channel "beta" was asked for, and the image has no such label',
        'version "latest" was asked for, and the image has "1.0"',
    )


def test_label_asked_for_empty_does_not_match_an_absent_one() -> None:
    assert ImageName.parse("a,os=").mismatches({}) == ('os "" was asked for, and the image has no such label',)


def test_parents_are_the_name_and_what_is_above_it_by_whole_components() -> None:
    assert parents("example.com/a/b") == ("example.com/a/b", "example.com/a", "example.com")
    assert parents("example.com") == ("example.com",)


def test_prefix_covers_whole_path_components_only() -> None:
    assert covers("example.com/deb", "example.com/deb")
    assert covers("example.com/deb", "example.com/deb/x")
    assert not covers("example.com/deb", "example.com/debian")
    assert not covers("example.com/deb/x", "example.com/deb")
    assert not covers("", "example.com")


def test_image_id_is_written_in_lower_case() -> None:
    image_id = ImageID.parse(f"sha512-{DIGITS.upper()}")
    assert image_id == ImageID.parse(f"sha512-{DIGITS}")
    assert str(image_id) == f"sha512-{DIGITS}"
    assert image_id.digest == bytes.fromhex(DIGITS)


@pytest.mark.parametrize(
    "text",
    [
        f"sha512-{DIGITS[:-1]}",
        f"sha512-{DIGITS}0",
        f"sha512-{DIGITS}\n",
        f"sha512-{DIGITS[:-2]} 0",
        f"SHA512-{DIGITS}",
        f"sha256-{DIGITS[:64]}",
        DIGITS,
    ],
)
def test_anything_but_128_hex_digits_is_no_image_id(text: str) -> None:
    with pytest.raises(InvalidName, match="is not an image ID"):
        ImageID.parse(text)


def test_image_id_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidName, match="64 bytes"):
        ImageID(b"short")


identifiers = st.from_regex(r"[a-z0-9]([a-z0-9._~/-]{0,8}[a-z0-9])?", fullmatch=True)
label_values = st.text(st.characters(exclude_characters=",:", exclude_categories=["Cs"]), max_size=8)
label_maps = st.dictionaries(identifiers.filter(lambda name: name != "name"), label_values, max_size=4)


@given(identifiers, label_maps, st.none() | label_values)
def test_canonical_text_is_parsed_to_the_same_name(name: str, labels: dict[str, str], version: str | None) -> None:
    image = ImageName(name, labels if version is None else labels | {"version": version})
    assert ImageName.parse(str(image)) == image
    assert str(ImageName.parse(str(image))) == str(image)


@given(st.text("ab,:=.name\u00e9", max_size=20))
def test_any_text_is_refused_or_has_a_canonical_text(text: str) -> None:
    if accepted(ImageName.parse, text):
        assert ImageName.parse(str(ImageName.parse(text))) == ImageName.parse(text)


paths = st.text("ab/", min_size=1, max_size=8)


@given(paths, paths)
def test_name_is_covered_by_its_parents_and_by_nothing_else(prefix: str, name: str) -> None:
    assert covers(prefix, name) == (prefix in parents(name))


@given(st.binary(min_size=64, max_size=64))
def test_image_id_is_parsed_from_its_text(digest: bytes) -> None:
    assert ImageID.parse(str(ImageID(digest))) == ImageID(digest)
