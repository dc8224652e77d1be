"""Images and signatures that redirects lead to: what is known of one place says nothing of another."""

from dataclasses import dataclass
from email.utils import formatdate

import pytest

from acistore.errors import ServerFailed, TransferFailed
from tests.fetch.conftest import LABELS, NAME, Operator, Unsteady
from tests.fileserver import File, Redirect
from tests.images import image

LAST_WEEK = formatdate(1_700_000_000, usegmt=True)
SECRET = "mJ4Zt0"


@dataclass
class Latest:
    """`latest.aci`, which leads to the release of the day. All releases have the same validators."""

    unsteady: Unsteady
    by: str

    def __post_init__(self) -> None:
        self.url = self.unsteady.url("latest.aci")
        self.redirects = [Redirect(""), Redirect("")]
        for redirect, ending in zip(self.redirects, ("", ".asc"), strict=True):
            self.unsteady.site.put(f"latest.aci{ending}", redirect)

    def release(self, version: str, path: str = "") -> tuple[File, File]:
        archive = image(NAME, {"etc/app": version.encode() * 1000}, labels=LABELS | {"version": version})
        files = self.unsteady.publish(archive, path or f"{version}/app.aci")
        for file in files:
            file.etag = '"1"' if self.by == "tag" else None
            file.last_modified = None if self.by == "tag" else LAST_WEEK
        return files

    def leads_to(self, version: str, query: str = "") -> None:
        for redirect, ending in zip(self.redirects, ("", ".asc"), strict=True):
            redirect.to = self.unsteady.url(f"{version}/app.aci{ending}{query}")


@pytest.fixture(params=["tag", "date"])
def latest(request: pytest.FixtureRequest, unsteady: Unsteady) -> Latest:
    return Latest(unsteady, request.param)


def conditional(*files: File) -> list[bool]:
    """Of each request, whether it had conditions."""
    return [b"If-None-Match" in head or b"If-Modified-Since" in head for file in files for head in file.heads]


def test_another_release_with_the_validators_of_the_last_one_is_fetched(
    latest: Latest, trusting: Operator
) -> None:
    latest.release("1.0")
    new = latest.release("2.0")
    latest.leads_to("1.0")
    assert trusting.fetch(latest.url).labels["version"] == "1.0"
    latest.leads_to("2.0")
    fetched = trusting.fetch(latest.url)
    assert (fetched.labels["version"], fetched.reused) == ("2.0", False)
    assert conditional(*new) == [False, False]


def test_half_of_a_release_and_half_of_another_that_looks_the_same_never_make_one(
    latest: Latest, trusting: Operator
) -> None:
    (old, _), (new, _) = latest.release("1.0"), latest.release("2.0")
    assert len(old.body) == len(new.body)
    old.cuts = [len(old.body) // 2, *[0] * 10]
    latest.leads_to("1.0")
    with pytest.raises(TransferFailed):
        trusting.fetch(latest.url)
    latest.leads_to("2.0")
    assert trusting.fetch(latest.url).labels["version"] == "2.0"


def test_what_redirects_lead_to_costs_a_304_for_each_while_it_is_the_same(
    latest: Latest, trusting: Operator
) -> None:
    files = latest.release("1.0")
    latest.leads_to("1.0")
    first = trusting.fetch(latest.url)
    for _ in range(2):
        again = trusting.fetch(latest.url)
        assert (again.id, again.reused) == (first.id, True)
    assert conditional(*files) == [False, True, True] * 2
    assert not any(conditional(*latest.redirects))


@pytest.mark.parametrize("which", [0, 1], ids=["image", "signature"])
def test_a_304_from_where_nothing_is_known_is_none(latest: Latest, trusting: Operator, which: int) -> None:
    latest.release("1.0")
    new = latest.release("2.0")
    latest.leads_to("1.0")
    trusting.fetch(latest.url)
    latest.redirects[which].to = latest.redirects[which].to.replace("1.0", "2.0")
    new[which].instead = [b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"]
    with pytest.raises(ServerFailed, match="304"):
        trusting.fetch(latest.url)


@pytest.mark.parametrize("redirects_first", [True, False])
def test_what_is_served_without_a_redirect_is_another_place(
    latest: Latest, trusting: Operator, redirects_first: bool
) -> None:
    latest.release("1.0")
    latest.leads_to("1.0")
    own = latest.release("2.0", "latest.aci")
    latest.unsteady.site.files |= {"/own.aci": own[0], "/own.aci.asc": own[1]}

    def fetched(redirected: bool) -> str:
        answering = latest.redirects if redirected else own
        latest.unsteady.site.put("latest.aci", answering[0])
        latest.unsteady.site.put("latest.aci.asc", answering[1])
        return trusting.fetch(latest.url).labels["version"]

    versions = [fetched(redirects_first), fetched(not redirects_first)]
    assert versions == (["1.0", "2.0"] if redirects_first else ["2.0", "1.0"])


def test_of_a_signed_url_a_tag_is_known_whatever_its_query_and_that_is_kept_nowhere(
    latest: Latest, trusting: Operator
) -> None:
    files = latest.release("1.0")
    latest.leads_to("1.0", f"?signature={SECRET}1")
    trusting.fetch(latest.url)
    latest.leads_to("1.0", f"?signature={SECRET}2")
    assert trusting.fetch(latest.url).reused is (latest.by == "tag")
    assert conditional(*files) == [False, latest.by == "tag"] * 2
    for path in trusting.config.dir.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
