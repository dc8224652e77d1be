"""The content-addressed store: images and file bodies under their SHA-512, indexed in SQLite.

Its format, its invariants and what a crash at each step leaves: docs/store.md.
"""

from acistore.store.difference import Change
from acistore.store.inside import Occurrence
from acistore.store.latest import LatestRule, always
from acistore.store.records import Admission, Newest, Remote, StoredImage
from acistore.store.store import Store

__all__ = [
    "Admission",
    "Change",
    "LatestRule",
    "Newest",
    "Occurrence",
    "Remote",
    "Store",
    "StoredImage",
    "always",
]
