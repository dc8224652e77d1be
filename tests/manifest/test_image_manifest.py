"""ImageManifest: the whole, its top-level fields and its dependencies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.errors import InvalidManifest
from acistore.manifest import ImageManifest
from acistore.naming import ImageID, ImageName

SMALLEST: dict[str, Any] = {"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app"}
ID = f"sha512-{'ab' * 64}"


def parse(**fields: object) -> ImageManifest:
    return ImageManifest.parse(json.dumps(SMALLEST | fields).encode())


def message_of_refusal(**fields: object) -> str:
    with pytest.raises(InvalidManifest) as caught:
        parse(**fields)
    return caught.value.message


def pair(name: object, value: object) -> dict[str, object]:
    return {"name": name, "value": value}


def dependency(**fields: object) -> list[dict[str, object]]:
    return [{"imageName": "example.com/base"} | fields]


def test_smallest_manifest_has_nothing_but_its_name() -> None:
    manifest = parse()
    assert manifest.image_name == ImageName("example.com/app")
    assert manifest.ac_version == "0.8.11"
    assert manifest.app is None
    assert (manifest.labels, manifest.annotations) == ({}, {})
    assert (manifest.dependencies, manifest.path_whitelist) == ((), ())
    assert manifest.canonical() == SMALLEST


def test_manifest_keeps_its_bytes_and_the_fields_it_does_not_know() -> None:
    raw = b' {"future": {"x": [1.5, null]}, "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a"}\n'
    manifest = ImageManifest.parse(raw)
    assert manifest.raw == raw
    assert manifest.document["future"] == {"x": [1.5, None]}
    assert "future" not in manifest.canonical()


def test_name_of_an_image_has_its_labels() -> None:
    manifest = parse(labels=[pair("version", "1.0"), pair("os", "linux"), pair("arch", "amd64")])
    assert manifest.image_name == ImageName.parse("example.com/app:1.0,os=linux,arch=amd64")
    assert manifest.labels == {"version": "1.0", "os": "linux", "arch": "amd64"}


def test_label_value_may_be_any_text() -> None:
    assert parse(labels=[pair("x", "a,b:c\n\u00e9"), pair("y", "")]).labels == {"x": "a,b:c\n\u00e9", "y": ""}


def test_arch_without_an_os_may_be_anything() -> None:
    assert parse(labels=[pair("arch", "riscv64")]).labels == {"arch": "riscv64"}


def test_dependency_is_read_with_its_pin_and_size() -> None:
    labels = [pair("os", "linux")]
    (found,) = parse(dependencies=dependency(imageID=ID.replace("ab", "AB"), labels=labels, size=7)).dependencies
    assert found.image_name == ImageName.parse("example.com/base,os=linux")
    assert found.image_id == ImageID(b"\xab" * 64)
    assert found.size == 7
    assert found.canonical() == {"imageName": "example.com/base", "imageID": ID, "labels": labels, "size": 7}


@pytest.mark.parametrize("size", [0, None])
def test_size_of_zero_is_no_size(size: int | None) -> None:
    (found,) = parse(dependencies=dependency(size=size)).dependencies
    assert (found.size, found.image_id, found.labels) == (None, None, {})
    assert found.canonical() == {"imageName": "example.com/base"}


def test_annotations_keep_their_order() -> None:
    annotations = [pair("z", "1"), pair("authors", "A <a@b.c>"), pair("created", "2014-10-27T19:32:27Z")]
    assert parse(annotations=annotations).canonical()["annotations"] == annotations


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"acKind": None}, "acKind: is missing"),
        ({"acKind": "PodManifest"}, 'acKind: "PodManifest" is not "ImageManifest"'),
        ({"acVersion": 1}, "acVersion: 1 is not a string"),
        ({"acVersion": "0.0.0"}, 'acVersion: "0.0.0" is no version of the spec'),
        ({"name": "A"}, 'name: "A" is not an AC identifier'),
        ({"labels": {}}, "labels: an object is not a list"),
        ({"labels": [pair("name", "x")]}, 'labels[0].name: a label can\'t have the name "name"'),
        ({"labels": [pair("a", "1"), pair("B", "2")]}, 'labels[1].name: "B" is not a label name'),
        ({"labels": [pair("a", "1"), pair("a", "2")]}, 'labels[1].name: "a" is given twice'),
        ({"labels": [{"name": "a"}]}, "labels[0].value: is missing"),
        ({"labels": [pair("os", "beos")]}, 'labels[0].value: "beos" is not a known os: darwin, freebsd'),
        (
            {"labels": [pair("arch", "arm"), pair("os", "linux")]},
            'labels[0].value: "arm" is not an arch of linux: aarch64,',
        ),
        ({"app": []}, "app: a list is not an object"),
        ({"annotations": [pair("a", None)]}, "annotations[0].value: is missing"),
        ({"annotations": [pair("a", "1"), pair("a", "1")]}, 'annotations[1].name: "a" is given twice'),
        ({"annotations": [pair("created", "now")]}, 'annotations[0].value: "now" is not an RFC 3339 time'),
        ({"annotations": [pair("homepage", "x")]}, 'annotations[0].value: "x" is not an http or https URL'),
        ({"annotations": [pair("documentation", "x")]}, 'annotations[0].value: "x" is not an http or'),
        ({"dependencies": [None]}, "dependencies[0]: null is not an object"),
        ({"dependencies": [{}]}, "dependencies[0].imageName: is missing"),
        ({"dependencies": dependency(imageName="a/")}, 'dependencies[0].imageName: "a/" is not an AC'),
        ({"dependencies": dependency(imageID=ID[:-1])}, 'dependencies[0].imageID: "sha512-abab'),
        ({"dependencies": dependency(size=-1)}, "dependencies[0].size: -1 is not in 0.."),
        ({"dependencies": dependency(size=1.0)}, "dependencies[0].size: 1.0 is not an integer"),
        ({"dependencies": dependency(labels=[pair("os", "x")])}, 'dependencies[0].labels[0].value: "x" is'),
        ({"pathWhitelist": "/a"}, 'pathWhitelist: "/a" is not a list'),
        ({"pathWhitelist": ["/a", "b"]}, 'pathWhitelist[1]: "b" is not an absolute path'),
    ],
)
def test_error_begins_with_the_field(fields: dict[str, object], message: str) -> None:
    assert message_of_refusal(**fields).startswith(message)


@pytest.mark.parametrize(("raw", "what"), [(b'"x"', '"x"'), (b"[]", "a list"), (b"null", "null")])
def test_manifest_is_an_object(raw: bytes, what: str) -> None:
    with pytest.raises(InvalidManifest, match=f"^manifest: {what} is not an object$"):
        ImageManifest.parse(raw)


FIELDS = (
    *("acKind", "acVersion", "name", "labels", "app", "annotations", "dependencies", "pathWhitelist"),
    *("exec", "user", "group", "supplementaryGIDs", "eventHandlers", "workingDirectory", "environment"),
    *("mountPoints", "ports", "isolators", "userAnnotations", "userLabels", "imageName", "imageID", "size"),
    *("value", "path", "readOnly", "protocol", "port", "count", "socketActivated", "default", "limit", "set"),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["ImageManifest", "0.8.11", "a", "/a", "os", "1M", "pre-start", "resource/cpu"])
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=15,
)


def refused_or_read(raw: bytes) -> None:
    try:
        manifest = ImageManifest.parse(raw)
    except InvalidManifest:
        return
    canonical = json.dumps(manifest.canonical()).encode()
    assert ImageManifest.parse(canonical).canonical() == manifest.canonical()


@given(st.binary(max_size=60) | st.text('{}[]":,\\ud01.e-nulltrue', max_size=40).map(str.encode))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    refused_or_read(raw)


@given(st.dictionaries(st.sampled_from(FIELDS), documents, max_size=8))
def test_any_fields_are_a_manifest_or_refused(fields: dict[str, object]) -> None:
    refused_or_read(json.dumps(SMALLEST | fields).encode())


@given(st.dictionaries(st.sampled_from(FIELDS), documents, max_size=8))
def test_any_fields_of_an_app_are_read_or_refused(fields: dict[str, object]) -> None:
    app = {"user": "0", "group": "0"} | fields
    refused_or_read(json.dumps(SMALLEST | {"app": app}).encode())
