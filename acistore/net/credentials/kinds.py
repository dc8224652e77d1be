"""The kinds of credentials, and what each of them makes of a request. Where they come from: known.py.

A value here is right: it can be sent as it is, and no message about a wrong one quotes it.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_KEY_ID = re.compile(r"[A-Za-z0-9_+=.@-]+")
_WORD = re.compile(r"[a-z0-9-]+")
# In the name of a host of S3: what stands for the region, after what stands for the service.
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")
_DEFAULT_REGION = "us-east-1"
_DEFAULT_SERVICE = "s3"


@dataclass(frozen=True, slots=True)
class Authorized:
    """A request as it is to be sent: path and query, and the headers that say who asks."""

    target: bytes
    headers: Mapping[str, str] = field(repr=False)


class Secret(Protocol):
    """Proves who asks."""

    def authorize(self, method: str, url: httpx.URL) -> Authorized:
        """The request with the proof."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who asks, and where it came from: the path of a file, or the name of a variable."""

    secret: Secret
    source: str


@dataclass(frozen=True, slots=True)
class Basic:
    """User and password (RFC 7617). Raises ValueError."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        for what, value in (("user", self.username), ("password", self.password)):
            _check(bool(value), f"no {what}")
            _check(value.isprintable(), f"the {what} has characters in it that can't be printed")
        _check(":" not in self.username, "the user has a colon in it, which ends it")

    def authorize(self, method: str, url: httpx.URL) -> Authorized:
        """See Secret."""
        encoded = b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
        return Authorized(url.raw_path, {"Authorization": f"Basic {encoded}"})


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token (RFC 6750). Raises ValueError."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _check(bool(self.token), "no token")
        _check(_VISIBLE.fullmatch(self.token), "the token has spaces or control characters in it, or is not ASCII")

    def authorize(self, method: str, url: httpx.URL) -> Authorized:
        """See Secret."""
        return Authorized(url.raw_path, {"Authorization": f"Bearer {self.token}"})


@dataclass(frozen=True, slots=True)
class AwsKey:
    """An access key of AWS. Without `region` and `service` they are taken from the host, as rkt does: S3, and the
    region that stands in the name, else us-east-1. Raises ValueError."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str | None = None
    service: str | None = None
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check(_KEY_ID.fullmatch(self.access_key_id), "no access key ID, or not one of AWS")
        _check(_VISIBLE.fullmatch(self.secret_access_key), "no secret access key, or not one of AWS")
        _check(self.region is None or _WORD.fullmatch(self.region), "not a region of AWS")
        _check(self.session_token is None or _VISIBLE.fullmatch(self.session_token), "not a session token of AWS")
        _check(self.service is None or _WORD.fullmatch(self.service), "not a service of AWS")

    def authorize(self, method: str, url: httpx.URL) -> Authorized:
        """See Secret. A URL that was signed before (presigned) is left alone, since AWS refuses two signatures."""
        if {"X-Amz-Signature", "Signature"} & set(url.params):
            return Authorized(url.raw_path, {})
        from acistore.net.credentials import aws  # noqa: PLC0415 - its library costs 80 ms, and few need it

        target, headers = aws.signed(
            method,
            url,
            key_id=self.access_key_id,
            secret=self.secret_access_key,
            session=self.session_token,
            region=self.region or region_of(url.host),
            service=self.service or _DEFAULT_SERVICE,
        )
        return Authorized(target, headers)


def region_of(host: str) -> str:
    """The region in the name of a host: `bucket.s3.eu-west-1.amazonaws.com`, `s3-eu-west-1.amazonaws.com`."""
    head, separator, _ = host.lower().rpartition(".amazonaws.com")
    if separator:
        # From the right: what comes before the service is the name of a bucket, which may look like a region.
        for label in reversed(head.split(".")):
            region = label.removeprefix("s3-")
            if _REGION.fullmatch(region):
                return region
            if label == "s3" or label.startswith("s3-"):
                break
    return _DEFAULT_REGION


def _check(right: object, wrong: str) -> None:
    if not right:
        raise ValueError(wrong)
