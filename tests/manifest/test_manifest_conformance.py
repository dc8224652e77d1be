"""The conformance cases of manifests, and of the texts in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acistore.errors import InvalidManifest
from acistore.manifest import ImageManifest
from acistore.manifest.values import check_date, check_semver

CONFORMANCE = Path(__file__).parent.parent / "conformance"


def cases(file: str, *kinds: str) -> list[Any]:
    """A parameter for each line of a conformance file, named after the end of its input, which tells most."""
    lines = (CONFORMANCE / file).read_text().splitlines()
    found = [(number, json.loads(line)) for number, line in enumerate(lines, start=1)]
    return [
        pytest.param(case, id=f"{number}-{case['kind']}-{case['input'][-60:]!a}")
        for number, case in found
        if case["kind"] in kinds
    ]


@pytest.mark.parametrize("case", cases("manifests.jsonl", "manifest"))
def test_manifest_is_read_as_the_reference_reads_it(case: dict[str, Any]) -> None:
    raw = case["input"].encode()
    if case["ok"]:
        assert ImageManifest.parse(raw).canonical() == case["canonical"]
    else:
        with pytest.raises(InvalidManifest):
            ImageManifest.parse(raw)


@pytest.mark.parametrize("case", cases("identifiers.jsonl", "semver", "date"))
def test_text_is_accepted_exactly_when_the_reference_accepts_it(case: dict[str, Any]) -> None:
    check: Callable[[str], str] = {"semver": check_semver, "date": check_date}[case["kind"]]
    if case["ok"]:
        assert check(case["input"]) == case["input"]
    else:
        with pytest.raises(ValueError, match="is not a"):
            check(case["input"])
