"""AWS signature v4: a server recomputes each signature from what has arrived, as AWS documents it."""

import hashlib
import hmac
from urllib.parse import quote, unquote_to_bytes

import pytest
import trustme

from acistore.config import Host
from acistore.net import Client
from acistore.net.credentials.kinds import region_of
from tests.net.auth import OK, Places, header
from tests.web import RawServer, answering

LIMIT = 1000
KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOTHING = hashlib.sha256(b"").hexdigest()


def recomputed(request: bytes, secret: str) -> str:
    """The signature that a request should have, by its own Credential and SignedHeaders.

    Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single
    Chunk". The path and the query are decoded and encoded again, as a server does. The path of any other service
    is encoded as it came (IAM User Guide, "Create a signed AWS API request": twice in all).
    """
    method, target, _ = request.decode("latin-1").split("\r\n", 1)[0].split(" ")
    path, _, query = target.partition("?")
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    parts = dict(
        part.strip().split("=", 1) for part in _header(request, "Authorization").split(" ", 1)[1].split(",")
    )
    date, region, service, _ = scope = parts["Credential"].split("/")[1:]
    canonical = "\n".join(
        [
            method,
            "/".join(_uri(piece) if service == "s3" else quote(piece, safe="") for piece in path.split("/")),
            "&".join(sorted(f"{_uri(name)}={_uri(value.replace('+', ' '))}" for name, value in pairs)),
            *(f"{name}:{_header(request, name)}" for name in parts["SignedHeaders"].split(";")),
            "",
            parts["SignedHeaders"],
            _header(request, "x-amz-content-sha256"),
        ]
    )
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            _header(request, "x-amz-date"),
            "/".join(scope),
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for each in (date, region, service, "aws4_request", to_sign):
        key = hmac.digest(key, each.encode(), "sha256")
    return key.hex()


def signature(request: bytes) -> str:
    return _header(request, "Authorization").rpartition("Signature=")[2]


def _uri(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="")


def _header(request: bytes, name: str) -> str:
    value = header(request, name)
    assert value is not None, name
    return value


def test_this_server_computes_the_signature_that_amazon_publishes() -> None:
    published = (
        "GET /test.txt HTTP/1.1\r\n"
        "Host: examplebucket.s3.amazonaws.com\r\n"
        "Range: bytes=0-9\r\n"
        f"x-amz-content-sha256: {NOTHING}\r\n"
        "x-amz-date: 20130524T000000Z\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\r\n"
    ).encode()
    assert recomputed(published, KEY) == signature(published)


@pytest.mark.parametrize(
    "target",
    [
        "app.aci",
        "",
        "bucket//a/../b.aci",
        "a+b/1.0%2bgit~x(1)/ä%20c.aci",
        "app.aci?versionId=3%2FL4kq&response-content-type=a+b&acl&b=2&a=1&q==&r=1%262",
    ],
)
def test_what_is_sent_is_what_was_signed(
    direct: None, places: Places, localhost: trustme.LeafCert, target: str
) -> None:
    host = Host("localhost", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key=KEY)
    with RawServer(answering(OK), localhost) as server, Client(places.config(host)) as client:
        client.get(server.url + target, limit=LIMIT)
        conditions = {"Range": "bytes=1-", "If-None-Match": '"e"'}
        with client.open(server.url + target, conditions=lambda _: conditions):
            pass
        client.is_missing(server.url + target)
    assert len(server.requests) == 3
    for request in server.requests:
        assert signature(request) == recomputed(request, KEY)
        assert "/us-east-1/s3/aws4_request" in _header(request, "Authorization")
        assert "host;x-amz-content-sha256;x-amz-date" in _header(request, "Authorization")
        assert _header(request, "x-amz-content-sha256") == NOTHING


@pytest.mark.parametrize("target", ["", "a+b/1.0%2bgit~x(1)/ä%20c.aci?q=a+b"])
def test_region_and_service_can_be_given(
    direct: None, places: Places, localhost: trustme.LeafCert, target: str
) -> None:
    host = Host(
        "localhost",
        aws_access_key_id="AKID",
        aws_secret_access_key=KEY,
        aws_region="eu-central-1",
        aws_service="execute-api",
    )
    with RawServer(answering(OK), localhost) as server, Client(places.config(host)) as client:
        client.get(server.url + target, limit=LIMIT)
    assert "/eu-central-1/execute-api/aws4_request" in _header(server.requests[0], "Authorization")
    assert signature(server.requests[0]) == recomputed(server.requests[0], KEY)


def test_a_session_token_goes_along_and_is_signed(
    direct: None, places: Places, localhost: trustme.LeafCert
) -> None:
    host = Host(
        "localhost", aws_access_key_id="ASIA", aws_secret_access_key=KEY, aws_session_token="FwoGZXIvYXdz+/=="
    )
    with RawServer(answering(OK), localhost) as server, Client(places.config(host)) as client:
        client.get(server.url, limit=LIMIT)
    assert _header(server.requests[0], "X-Amz-Security-Token") == "FwoGZXIvYXdz+/=="
    assert "x-amz-security-token" in _header(server.requests[0], "Authorization").partition("Signature=")[0]
    assert signature(server.requests[0]) == recomputed(server.requests[0], KEY)


def test_a_presigned_url_is_not_signed_again(direct: None, places: Places, localhost: trustme.LeafCert) -> None:
    host = Host("localhost", aws_access_key_id="AKID", aws_secret_access_key=KEY)
    with RawServer(answering(OK), localhost) as server, Client(places.config(host)) as client:
        client.get(server.url + "a+b?X-Amz-Signature=0", limit=LIMIT)
    assert server.requests[0].startswith(b"GET /a+b?X-Amz-Signature=0 ")
    assert header(server.requests[0], "Authorization") is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.amazonaws.com", "us-east-1"),
        ("bucket.s3.amazonaws.com", "us-east-1"),
        ("s3-external-1.amazonaws.com", "us-east-1"),
        ("bucket.s3-eu-west-1.amazonaws.com", "eu-west-1"),
        ("S3-EU-WEST-1.amazonaws.com", "eu-west-1"),
        ("bucket.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("s3.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("bucket.s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bucket.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("eu-west-1.s3.amazonaws.com", "us-east-1"),
        ("s3-eu-west-1.s3.us-west-2.amazonaws.com", "us-west-2"),
        ("bucket.s3-accelerate.amazonaws.com", "us-east-1"),
        ("minio.example.com", "us-east-1"),
        ("s3.eu-west-1.example.com", "us-east-1"),
    ],
)
def test_the_region_is_taken_from_the_host(host: str, region: str) -> None:
    assert region_of(host) == region
