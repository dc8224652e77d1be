"""Values that are written as text in a manifest: versions, dates, URLs, quantities, variable names.

Each check returns the text unchanged when it is right, and raises ValueError with a reason otherwise. They
are as strict as the spec, and where the reference implementation is stricter still, as strict as that.
"""

import calendar
import re

from acistore.naming import quoted

# semver.org, version 2.0.0
_PRERELEASE = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    rf"(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_LARGEST_INT64 = 2**63 - 1

# RFC 3339 § 5.6, without the lower-case t and z and the leap second, none of which the reference takes.
_DATE = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

# RFC 3986 with an authority; characters beyond ASCII and spaces in the path are taken, as browsers do.
_ESCAPE = "%[0-9A-Fa-f]{2}"
_URL = re.compile(
    "https?://"
    rf"(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|{_ESCAPE})*@)?"
    rf"(?:\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|[^\x00-\x7f]|{_ESCAPE})+)"
    r"(?::[0-9]*)?"
    rf"(?:/(?:[^%?#\x00-\x1f\x7f]|{_ESCAPE})*)?"
    r"(?:\?[^#\x00-\x1f\x7f]*)?"
    rf"(?:#(?:[^%\x00-\x1f\x7f]|{_ESCAPE})*)?",
    re.IGNORECASE | re.ASCII,
)

# The grammar of Kubernetes' quantities, from which the reference took them.
_QUANTITY = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,9})?")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def check_semver(text: str) -> str:
    """A version of the spec: semantic versioning 2.0.0, and not zero (appc spec, types.md § AC Version)."""
    match = _SEMVER.fullmatch(text)
    # Twenty digits are too many already, and Python refuses to read thousands of them.
    if match is None or any(int(number[:20]) > _LARGEST_INT64 for number in match.groups()):
        raise ValueError(f"{quoted(text)} is not a semantic version such as 0.8.11")
    if text == "0.0.0":
        raise ValueError(f"{quoted(text)} is no version of the spec")
    return text


def check_date(text: str) -> str:
    """A time in RFC 3339's form, with a `T` in the middle (appc spec, types.md § Timestamps Type)."""
    match = _DATE.fullmatch(text)
    if match is None or int(match[3]) > calendar.monthrange(int(match[1]), int(match[2]))[1]:
        raise ValueError(f"{quoted(text)} is not an RFC 3339 time such as 2014-10-27T19:32:27Z")
    return text


def check_url(text: str) -> str:
    """An http or https URL."""
    if _URL.fullmatch(text) is None:
        raise ValueError(f"{quoted(text)} is not an http or https URL such as https://example.com/docs")
    return text


def check_quantity(text: str) -> str:
    """An amount of a resource, such as `500m` or `2Gi` (appc spec, ace.md § Resource Isolators).

    The suffix for a thousand is a small k: the reference refuses the capital one that the spec's text names.
    """
    if _QUANTITY.fullmatch(text) is None:
        raise ValueError(f"{quoted(text)} is not a quantity such as 500m, 1.5, 64k, 2G or 128Mi")
    return text


def check_variable(text: str) -> str:
    """The name of an environment variable (appc spec, aci.md § Image Manifest Schema, environment)."""
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(
            f"{quoted(text)} is not the name of a variable: letters, digits, _ . - and no digit, . or - first"
        )
    return text
