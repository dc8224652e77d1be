"""Reading JSON: what counts as JSON, as a field and as a type, and which path an error names."""

import json

import pytest

from acistore.errors import InvalidManifest
from acistore.manifest.fields import Field, decode


def message_of_refusal(raw: bytes) -> str:
    with pytest.raises(InvalidManifest) as caught:
        decode(raw)
    return caught.value.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "manifest: is not JSON: expecting value at line 1, column 1"),
        (b'{"a": 1,\n}', "manifest: is not JSON: "),
        (b'{"a": 1} {}', "manifest: is not JSON: extra data at line 1, column 10"),
        (b'{"a": "\xff"}', "manifest: is not UTF-8: byte 0xff at 7"),
        (b'\xef\xbb\xbf{"a": 1}', "manifest: is not JSON: "),
        ('{"a": 1}'.encode("utf-16"), "manifest: is not UTF-8: byte 0xff at 0"),
        (b'{"a": NaN}', "manifest: is not JSON: NaN is no JSON number"),
        (b'{"a": -Infinity}', "manifest: is not JSON: -Infinity is no JSON number"),
        (b'{"a": 1e999}', "manifest: holds a number that is too large: "),
        (b'{"a": ' + b"1" * 5000 + b"}", "manifest: holds a number of 5000 digits"),
        (b'{"a": "\\ud800"}', "manifest: a \\u escape stands for half a character"),
        (b'{"\\uDFFF": 1}', "manifest: a \\u escape stands for half a character"),
        (b'{"a": {"b": 1, "b": 1}}', 'manifest: "b" is given twice in one object'),
        (b"[" * 100_000, "manifest: is nested too deeply"),
        (b'{"a":' * 100_000, "manifest: is nested too deeply"),
    ],
)
def test_what_is_not_json_in_utf8_is_refused(raw: bytes, message: str) -> None:
    assert message_of_refusal(raw).startswith(message)


def test_escaped_pair_of_surrogates_is_one_character() -> None:
    assert decode(b'{"a": "\\ud83d\\ude00"}').required("a").text() == "\U0001f600"


def test_field_is_found_whatever_its_case() -> None:
    assert decode(b'{"SUPPLEMENTARYgids": 1}').required("supplementaryGIDs").value == 1
    # The two characters beyond ASCII that Go's encoding/json takes for letters of the alphabet.
    assert decode('{"u\u017fer": 1, "ac\u212aind": 2}'.encode()).required("user").value == 1
    assert decode('{"u\u017fer": 1, "ac\u212aind": 2}'.encode()).required("acKind").value == 2


def test_field_given_in_two_cases_is_refused() -> None:
    document = decode(b'{"app": {"user": "a", "USER": "b"}}')
    with pytest.raises(InvalidManifest, match=r'^app\.user: is given twice, as "user" and as "USER"$'):
        document.required("app").optional("user")


def test_unknown_fields_may_differ_in_case_only() -> None:
    assert decode(b'{"x": 1, "X": 2, "a": 3}').required("a").value == 3


def test_null_is_absent() -> None:
    document = decode(b'{"a": null}')
    assert document.optional("a") is None
    assert document.optional("b") is None
    assert document.elements("a") == []
    with pytest.raises(InvalidManifest, match=r"^a: is missing$"):
        document.required("a")


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        (1, "text", "1 is not a string"),
        (None, "text", "null is not a string"),
        ("", "filled_text", "is empty"),
        (["a", True], "texts", "true is not a string"),
        ({"a": 1}, "each", "an object is not a list"),
        ([], "members", "a list is not an object"),
        ({"k": []}, "text_map", "a list is not a string"),
        ("true", "boolean", '"true" is neither true nor false'),
        (0, "boolean", "0 is neither true nor false"),
    ],
)
def test_value_of_another_type_is_refused(value: object, kind: str, problem: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        getattr(Field("a.b", value), kind)()
    assert caught.value.message.startswith("a.b")
    assert caught.value.message.endswith(f": {problem}")


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("1.0", "1.0 is not an integer"),
        ("1e3", "1000.0 is not an integer"),
        ('"1"', '"1" is not an integer'),
        ("true", "true is not an integer"),
        ("[1]", "a list is not an integer"),
        ("0", "0 is not in 1..9"),
        ("10", "10 is not in 1..9"),
        ("1" * 300, f"{'1' * 40}… is not in 1..9"),
    ],
)
def test_integer_is_written_as_one_and_in_its_range(number: str, problem: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        Field("a", decode(number.encode()).value).integer(1, 9)
    assert caught.value.message == f"a: {problem}"


def test_both_ends_of_a_range_are_in_it() -> None:
    assert (Field("a", 1).integer(1, 9), Field("a", 9).integer(1, 9)) == (1, 9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"value": "1"}], "v[0].name: is missing"),
        ([{"name": "a"}], "v[0].value: is missing"),
        ([{"name": "a", "value": 1}], "v[0].value: 1 is not a string"),
        ([{"name": "a", "value": "1"}, None], "v[1]: null is not an object"),
        ([{"name": "a", "value": "1"}, {"name": "a", "value": "1"}], 'v[1].name: "a" is given twice'),
    ],
)
def test_pairs_need_name_and_value_once_each(values: object, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        decode(json.dumps({"v": values}).encode()).named_values("v", str)
    assert caught.value.message == message


def test_message_cuts_a_very_long_value() -> None:
    with pytest.raises(InvalidManifest) as caught:
        Field("a", "x" * 10_000).integer(1, 9)
    assert len(caught.value.message) < 200
