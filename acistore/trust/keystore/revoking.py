"""A revocation is of the key and not of a place: once it is known, no copy of the key admits anything.

Files of a layer that is not ours to change, the system's or to an ordinary user the local one, stay as they are; a
copy that knows better overrides them from a layer above.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from acistore.trust.keys import PublicKey
from acistore.trust.keystore.changes import Change
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.listing import blocks_of, in_force
from acistore.trust.places import changeable, default_layer
from acistore.trust.schemes import describe


def everywhere(reading: Reading, key: PublicKey, besides: Collection[Path]) -> Iterator[Change]:
    """What has to be written, besides these files, so that no copy of a revoked key is one that doesn't know it.

    Raises ProgramMissing.
    """
    if not key.revoked:
        return
    known = describe(blocks_of(reading, key.fingerprint))
    ignorant = [
        file.place
        for file in reading.copies(key.fingerprint)
        if file.block in known and not known[file.block].revoked
    ]
    own = [place for place in ignorant if place.layer in changeable()]
    shipped = [place for place in in_force(reading, key.fingerprint) if place in ignorant and place not in own]
    above = [reading.place(default_layer(), place.prefix, key.fingerprint) for place in shipped]
    yield from (Change(place, key.block.as_file) for place in (*own, *above) if place.path not in besides)
