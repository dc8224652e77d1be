"""AWS signature v4, by AWS's own library. Imported only when something is to be signed."""

from urllib.parse import quote, unquote_to_bytes

import httpx
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSignedBodyValue,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest


def signed(
    method: str, url: httpx.URL, *, key_id: str, secret: str, session: str | None, region: str, service: str
) -> tuple[bytes, dict[str, str]]:
    """A request without a body, signed as of now: path and query as they are to be sent, and the headers.

    What is signed is what is sent: every character that has more than one spelling is percent-encoded, since the
    server signs that spelling whatever was sent (`+` in a path as `%2B`; in a query it stands for a space).
    """
    path, mark, query = url.raw_path.partition(b"?")
    target = "/".join(map(_encoded, path.split(b"/")))
    if mark:
        target += "?" + "&".join(map(_parameter, query.replace(b"+", b"%20").split(b"&")))
    request = HttpRequest(method, target, HttpHeaders([("Host", url.netloc.decode("ascii"))]))
    provider = AwsCredentialsProvider.new_static(key_id, secret, session)
    # S3 takes paths as they are; all other services normalize them, and encode them once more.
    takes_as_is = service.startswith("s3")
    config = AwsSigningConfig(
        algorithm=AwsSigningAlgorithm.V4,
        signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=provider,
        region=region,
        service=service,
        use_double_uri_encode=not takes_as_is,
        should_normalize_uri_path=not takes_as_is,
        signed_body_value=AwsSignedBodyValue.EMPTY_SHA256,
        signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    aws_sign_request(request, config).result()
    return target.encode("ascii"), {name: value for name, value in request.headers if name.lower() != "host"}


def _parameter(text: bytes) -> str:
    name, mark, value = text.partition(b"=")
    return _encoded(name) + mark.decode("ascii") + _encoded(value)


def _encoded(text: bytes) -> str:
    return quote(unquote_to_bytes(text), safe="")
