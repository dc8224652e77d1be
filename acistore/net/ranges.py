"""Which bytes of which whole: what to ask for to go on with a download, and whether what comes is the rest of it.

Pure: values in, values out (RFC 9110, sections 13.1.5 and 14). A note is what is kept of the answer that a
download began with, beside the bytes that came; only one with a strong validator is made.
"""

import re
from collections.abc import Mapping

from acistore.net.freshness import Validators, strong_validators

_CONTENT_RANGE = re.compile(r"(?i:bytes) (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)


def note_of(headers: Mapping[str, str], length: int | None, place: str | None = None) -> Mapping[str, str] | None:
    """What is needed to go on with what comes now from a place (as in `Validators`); None where nothing tells it
    from any other content."""
    validators = strong_validators(headers)
    given = {
        "etag": validators.etag,
        "last_modified": validators.last_modified,
        "place": place,
        "length": None if length is None else str(length),
    }
    note = {name: value for name, value in given.items() if value}
    return note if _of_part(note, place) else None


def noted(note: Mapping[str, str]) -> Validators:
    """The validators of what is there."""
    return Validators(note.get("etag"), note.get("last_modified"), note.get("place"))


def asking_for_rest(here: int, note: Mapping[str, str], place: str | None = None) -> dict[str, str]:
    """The request headers that ask a place for what follows the first `here` bytes, or else the whole; none where
    they are from another one."""
    conditions = _of_part(note, place).conditions()
    return {"Range": f"bytes={here}-", "If-Range": next(iter(conditions.values()))} if conditions else {}


def is_same(note: Mapping[str, str], headers: Mapping[str, str], place: str | None = None) -> bool:
    """Whether a whole from a place is what a part of is there, by its strong validator."""
    known, validators = _of_part(note, place), strong_validators(headers)
    if known.etag or validators.etag:
        return known.etag == validators.etag
    return validators.last_modified is not None and known.last_modified == validators.last_modified


def why_not_rest(here: int, note: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """What is wrong with the part that an answer (206) brings, where it is not the rest of what is there.

    Parts may be put together if they have the same strong validator (section 15.3.7.3). A server leaves out a
    Last-Modified that we have sent it, but an ETag never (section 15.3.7).
    """
    match = _content_range(headers)
    if match is None or match[1] is None or int(match[1]) != here:
        return f"asked for the rest from {here}, it sends another part"
    if _is_another(note, headers) or (note.get("etag") and "etag" not in headers):
        return "it sends a part of something else"
    if match[3] != "*" and note.get("length") not in (None, match[3].lstrip("0")):
        return "it sends a part of something of another size"
    return None


def is_complete(here: int, note: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether all is there already, by an answer (416) which says that nothing follows."""
    match = _content_range(headers)
    is_end = match is not None and match[3] != "*" and int(match[3]) == here
    return is_end and note.get("length") in (None, str(here)) and not _is_another(note, headers)


def size_of_whole(note: Mapping[str, str], headers: Mapping[str, str]) -> int | None:
    """The bytes of the whole, a part of which comes: as the answer tells, or that which it was begun with; else it
    ends with this part."""
    match = _content_range(headers)
    if match is None or match[2] is None:
        return None
    known = note.get("length", "") if match[3] == "*" else match[3]
    return int(known) if known.isdecimal() else int(match[2]) + 1


def _of_part(note: Mapping[str, str], place: str | None) -> Validators:
    """The strong validators of what is there that a place can be asked by for the rest.

    Once the length is known, too, a tag counts at any place (redirects may lead to another mirror each time), and
    a date whatever the query is (a signed URL): a download that began again with each try might never end, while
    two files that nothing of this tells apart don't fit their signature, and come once more in one piece.
    """
    known = noted(note)
    if "length" not in note:
        valid = known.at(place)
        return Validators(valid.etag, valid.last_modified)
    if known.etag:
        return Validators(known.etag)
    is_near = (place or "").removesuffix("?") == (known.place or "").removesuffix("?")
    return Validators(None, known.last_modified) if is_near else Validators()


def _content_range(headers: Mapping[str, str]) -> re.Match[str] | None:
    return _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())


def _is_another(note: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether there are validators, of whatever strength, that are not those of what is there."""
    found = {"etag": headers.get("etag"), "last_modified": headers.get("last-modified")}
    return any(note.get(name) not in (None, value) for name, value in found.items() if value is not None)
