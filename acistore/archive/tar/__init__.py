"""A tar split into skeleton and bodies, and joined again.

`split` reads what GNU tar, bsdtar, Go and Python write, and is stricter than any of them: where two of them
would see different files in the same bytes, the archive is refused. `join` gives back the identical bytes, and
`entries` tells what is in the tar by its skeleton alone.
Which paths an image may have is `acistore.archive.layout`'s business.
"""

from acistore.archive.tar.entry import BodySink, Entry, Kind
from acistore.archive.tar.listing import entries, entries_and_parts
from acistore.archive.tar.skeleton import join
from acistore.archive.tar.sparse import filled, fingerprint
from acistore.archive.tar.splitting import split

__all__ = ["BodySink", "Entry", "Kind", "entries", "entries_and_parts", "filled", "fingerprint", "join", "split"]
