"""From the name of an image to where it is: a page to endpoints and keys (pure), and a Resolver that walks pages.

App Container Image Discovery (appc spec, discovery.md). Nothing that is found here is fetched here, and nothing
is trusted for being found.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import quote

from lxml import etree

from acistore.config import Limits
from acistore.errors import EndpointNotFound, LimitExceeded, NetworkError
from acistore.events import log_of, tell
from acistore.naming import ImageName, covers, parents
from acistore.net.answers import Response, phrase
from acistore.net.client import Client

# Elements that are open at once. libxml2 looks through all of them at each end tag: with no bound, 2 MiB of
# unclosed tags followed by as many end tags take minutes. What is nested deeper is not read.
MAX_DEPTH = 1000
# Letters of a template: no server takes a longer URL, and what is put in for each of its placeholders may be long.
MAX_TEMPLATE = 8192
# Parts of a name: each costs a request.
MAX_PARTS = 32
_FEED_SIZE = 16 << 10
# The pages of a host are asked for each of its images: so many are kept, each of `limits.page_size` at most.
_PAGES_KEPT = 16

# Found wherever the reference's `{.*?}` finds something ("{", and "}" later in the same line): the last "{" before
# that "}" begins one of these. But a "{" is looked at once, where `.*?` goes on to the end of the line for each.
_PLACEHOLDER = re.compile(r"\{([^{}\n]*)\}")

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# The two are linear: blanks are in one run unless there is a quote, and what is a tag is no part of the next.
_CHARSET = re.compile(r"charset\s*=\s*(?:[\"']\s*)?([\w.:-]+)", re.IGNORECASE | re.ASCII)
_META = re.compile(r"<meta\s[^>]*", re.IGNORECASE | re.ASCII)
# Letters of Content-Type, and bytes of a page, in which a charset is looked for.
_PRESCANNED = 1024
# Python's names of the encodings that pages are in (WHATWG Encoding Standard). Python has more codecs, some of
# which are not encodings of text, and some of which take quadratic time.
_ENCODINGS = re.compile(
    r"utf-8|utf-16(-[lb]e)?|cp125\d|cp866|cp874|iso8859-\d+|koi8-[ru]|mac-(roman|cyrillic)"
    r"|gbk|gb2312|gb18030|big5|euc_jp|iso2022_jp|shift_jis|euc_kr"
)
# What everybody means who says so.
_AS_WINDOWS_1252 = frozenset({"iso8859-1", "ascii"})

log = log_of(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an image and its signature are. `page` is the page that says so, empty when it isn't known.

    `signature_url` is of an OpenPGP signature, as the specification has it; an SSH signature lies beside the image
    likewise, with `aci.sig` for `{ext}`.
    """

    image_url: str
    signature_url: str
    page: str = ""
    ssh_signature_url: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """What one page says about a name, in its order: endpoints, and URLs of keys, of any scheme.

    `unfilled` are the placeholders of its templates that the name has nothing for.
    """

    endpoints: tuple[Endpoint, ...]
    keys: tuple[str, ...]
    unfilled: tuple[str, ...] = field(default=(), compare=False)


def read_page(body: bytes, content_type: str | None, name: ImageName, *, most: int = Limits().endpoints) -> Page:
    """What a page, or the beginning of one, says about `name` (appc spec, discovery.md § Discovery Templates).

    `content_type` is the header, for its charset. The name's labels are taken as they are; only `version` is
    `latest` where it is absent or empty. Takes any bytes, and raises nothing. Of endpoints and of keys the first
    `most` are returned, since each may cost a whole deadline; a warning is logged when there are more.

    A tag applies to a name when its prefix is the name or one of its parents, by whole path components; the
    reference implementation compares letters.
    """
    templates: list[str] = []
    keys: list[str] = []
    for kind, content in _read_tags(_decoded(body, content_type)):
        prefix, _, value = (part.strip() for part in content.strip().partition(" "))
        if 0 < len(value) <= MAX_TEMPLATE and _applies(prefix, name.name):
            (keys if kind == "ac-discovery-pubkeys" else templates).append(value)
    rendered = (render(template, name) for template in templates)
    unfilled = dict.fromkeys(each for template in templates for each in unfilled_in(template, name))
    return Page(
        _first(filter(None, rendered), most, "endpoints", name),
        _first(iter(keys), most, "keys", name),
        tuple(islice(unfilled, most)),
    )


def _first(found: Iterator[_T], most: int, what: str, name: ImageName) -> tuple[_T, ...]:
    kept = tuple(islice(found, most))
    if next(found, None) is not None:
        log.warning("a page has more than %d %s for %s; the rest is left out", most, what, name.name)
    return kept


def _applies(prefix: str, name: str) -> bool:
    return covers(prefix, name) or (prefix.endswith("/") and name.startswith(prefix))


def render(template: str, name: ImageName, *, quoted: bool = False) -> Endpoint | None:
    """A template with everything in braces replaced once by what the name has; None when something is left.

    `quoted`: labels are percent-encoded, where the specification has them taken as they are; and none may be a
    step in the path by itself.
    """
    if quoted and not {".", ".."}.isdisjoint(name.labels.values()):
        return None
    labels = {label: quote(value, safe="") if quoted else value for label, value in name.labels.items()}
    values = {**labels, "version": labels.get("version") or "latest", "name": name.name}

    def rendered(extension: str) -> str:
        known = {**values, "ext": extension}
        return _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), template)

    endpoint = Endpoint(rendered("aci"), rendered("aci.asc"), ssh_signature_url=rendered("aci.sig"))
    return None if _PLACEHOLDER.search(endpoint.image_url) else endpoint


def unfilled_in(template: str, name: ImageName) -> list[str]:
    """The placeholders of a template that a name has nothing for, as they stand there: `{os}`."""
    known = {*name.labels, "version", "name", "ext"}
    return [match[0] for match in _PLACEHOLDER.finditer(template) if match[1] not in known]


class _Tags:
    """Collects the meta tags of discovery from the parser's events: (name, content), in order."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if tag == "meta" and attributes.get("name") in ("ac-discovery", "ac-discovery-pubkeys"):
            self.found.append((attributes["name"], attributes.get("content", "")))

    def end(self, tag: str) -> None:
        self.depth -= 1

    def close(self) -> None:
        """Part of the parser's protocol."""


def _read_tags(page: bytes) -> list[tuple[str, str]]:
    """The tags of a page in UTF-8, wherever they stand but in comments and in raw text (script, title…)."""
    tags = _Tags()
    # A cast, since lxml's types ask for methods (of text, of comments) that lxml itself can do without.
    parser = etree.HTMLParser(target=cast(Any, tags), encoding="utf-8", huge_tree=True)
    try:
        for position in range(0, len(page), _FEED_SIZE):
            parser.feed(page[position : position + _FEED_SIZE])
            if tags.depth > MAX_DEPTH:
                break
        parser.close()
    except etree.LxmlError:
        pass  # a page that even a tolerant parser gives up on says what it said until then
    return tags.found


def _decoded(body: bytes, content_type: str | None) -> bytes:
    """The page in UTF-8: by its byte order mark, the header, what it says itself, or what it looks like."""
    text = body.decode(_encoding(body, content_type), errors="replace")
    return text.encode("utf-8", errors="replace")


def _encoding(body: bytes, content_type: str | None) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return encoding
    if in_header := _declared((content_type or "")[:_PRESCANNED]):
        return in_header
    tags = _META.findall(body[:_PRESCANNED].decode("latin-1"))
    if in_page := next(filter(None, map(_declared, tags)), None):
        return "utf-8" if in_page.startswith("utf-16") else in_page  # or we couldn't have read it
    return "utf-8" if _is_utf8(body) else "cp1252"


def _declared(text: str) -> str | None:
    """The encoding of the charset that a header or a tag names first, when it is one that pages are in."""
    charset = _CHARSET.search(text)
    if charset is None:
        return None
    try:
        name = codecs.lookup(charset[1]).name
    except (LookupError, ValueError):
        return None
    if name in _AS_WINDOWS_1252:
        return "cp1252"
    return name if _ENCODINGS.fullmatch(name) else None


def _is_utf8(body: bytes) -> bool:
    """Whether it decodes; a character that was cut in two at the end doesn't count."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Visit:
    """A page that was asked for: its URL, the status (None without an answer), and what came of it, in words; and
    what to do when it depends on who asks."""

    url: str
    status: int | None
    outcome: str
    next_step: str | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found for a name, and how. Either kind may be empty; `failure` is what ended the walk early."""

    name: ImageName
    endpoints: tuple[Endpoint, ...]
    keys: tuple[str, ...]
    visits: tuple[Visit, ...]
    failure: NetworkError | None = None

    def require_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints. Raises EndpointNotFound, or the NetworkError that ended the walk, when there are none."""
        return self.endpoints or self._fail("image")

    def require_keys(self) -> tuple[str, ...]:
        """The keys. Raises EndpointNotFound, or the NetworkError that ended the walk, when there are none."""
        return self.keys or self._fail("key")

    def require_any(self) -> "Discovery":
        """This discovery. Raises EndpointNotFound, or the NetworkError that ended the walk, when it is empty."""
        return self if self.endpoints or self.keys else self._fail("image or key")

    def _fail(self, what: str) -> NoReturn:
        """Raises the error that tells of every page that was tried."""
        tried = {visit.url: visit.outcome for visit in self.visits}
        next_step = next((visit.next_step for visit in self.visits if visit.next_step), None)
        if self.failure is None:
            raise EndpointNotFound(f"no {what} was found for {self.name}", facts=tried, next_step=next_step)
        if self.failure.next_step is None and "." not in self.name.name.partition("/")[0]:
            self.failure.next_step = f"a name begins with a domain: example.com/app; a file is ./{self.name.name}"
        message = self.failure.message
        self.failure.facts.update(
            {url: outcome for url, outcome in tried.items() if message not in (outcome, f"{url}: {outcome}")}
        )
        raise self.failure


class Resolver:
    """Asks the pages of names, through a client. Keeps some of them, so that the pages of a host are hardly asked
    for again for each of its images. Safe to use from several threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pages: dict[str, Response] = {}

    def resolve_images(self, name: ImageName) -> tuple[Endpoint, ...]:
        """The endpoints alone, at least one. Raises EndpointNotFound or NetworkError, with the pages tried."""
        return self.resolve(name, keys=False).require_endpoints()

    def resolve_keys(self, name: ImageName) -> tuple[str, ...]:
        """The URLs of keys alone, at least one. Raises EndpointNotFound or NetworkError, with the pages tried."""
        return self.resolve(name, images=False).require_keys()

    def resolve(self, name: ImageName, *, images: bool = True, keys: bool = True) -> Discovery:
        """Asks `https://NAME?ac-discovery=1`, then its parents up to the host, until all that is wanted is found.

        Images and keys may be found on different pages. Labels are taken as they are (see `read_page`). A page
        that answers 4xx or has no tag for the name hands over to its parent. Anything else that goes wrong, from a
        name that doesn't resolve to a 5xx, ends the walk: all the pages are one host's, and a page that is broken
        must not hand its authority over to another one. It is kept as `failure`, beside what was found before.

        Where plain HTTP is allowed, what HTTPS doesn't answer with 200 is asked by HTTP too, as the reference
        does; a failure then ends the walk by one of the two. Raises LimitExceeded for a name of more than
        MAX_PARTS parts.
        """
        paths = parents(name.name)
        if len(paths) > MAX_PARTS:
            raise LimitExceeded(f"{name.name} has more than {MAX_PARTS} parts, each of which may have a page")
        schemes = list(self._client.schemes)
        visits: list[Visit] = []
        found = Page((), ())
        failure = None
        for path in paths:
            try:
                page = self._visit(path, name, schemes, visits)
            except NetworkError as error:
                failure = error
                break
            found = Page(
                found.endpoints or (page.endpoints if images else ()), found.keys or (page.keys if keys else ())
            )
            if bool(found.endpoints) >= images and bool(found.keys) >= keys:
                break
        return Discovery(name, found.endpoints, found.keys, tuple(visits), failure)

    def _visit(self, path: str, name: ImageName, schemes: list[str], visits: list[Visit]) -> Page:
        """What the page at `path` says. Takes a scheme off the list that failed; raises when none is left."""
        for scheme in tuple(schemes):
            url = f"{scheme}://{path}?ac-discovery=1"
            try:
                response = self._get(url)
            except NetworkError as error:
                visits.append(Visit(url, None, error.message.removeprefix(f"{url}: ")))
                schemes.remove(scheme)
                if not schemes:
                    raise
                continue
            tell(log, "page", "%s: %s", url, phrase(response.status), url=url, status=response.status)
            page = _page_of(response, url, name, self._client.limits.endpoints)
            visits.append(self._visited(url, response, page, name))
            if response.status == 200:
                return page
        return Page((), ())

    def _get(self, url: str) -> Response:
        if response := self._pages.get(url):
            return response
        response = self._client.get(url, limit=self._client.limits.page_size, cut=True)
        if len(self._pages) < _PAGES_KEPT:
            self._pages[url] = response
        return response

    def _visited(self, url: str, response: Response, page: Page, name: ImageName) -> Visit:
        """What came of a page that has answered."""
        if response.status in (401, 403) and response.access:
            outcome = f"{phrase(response.status)}; credentials: {response.access.told}"
            return Visit(url, response.status, outcome, response.access.next_step)
        if response.status != 200:
            return Visit(url, response.status, phrase(response.status))
        counts = ((len(page.endpoints), "endpoint"), (len(page.keys), "key"))
        found = [f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count]
        if page.unfilled:
            found.append(f"a template that needs {', '.join(page.unfilled)}, which the name doesn't have")
        if not found:
            found.append(f"no tag for {name.name}")
            if len(response.body) >= self._client.limits.page_size:
                found.append(f"only the first {len(response.body)} bytes were read")
        return Visit(url, response.status, ", ".join(found))


def _page_of(response: Response, url: str, name: ImageName, most: int) -> Page:
    if response.status != 200:
        return Page((), ())
    page = read_page(response.body, response.headers.get("content-type"), name, most=most)
    return replace(page, endpoints=tuple(replace(endpoint, page=url) for endpoint in page.endpoints))
