"""What comes and what is here already, made one key, so that nothing that was known of a key is forgotten.

Most of all a revocation: wherever one is known, an older copy of the key from elsewhere does not undo it.
"""

from collections.abc import Sequence

from acistore.errors import KeyRefused
from acistore.fingerprints import shown_fingerprint
from acistore.trust.keys import KeyBlock, PublicKey
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.openpgp import merge as openpgp
from acistore.trust.openpgp.packets import KeyBlock as OpenpgpBlock
from acistore.trust.schemes import describe


def merge(versions: Sequence[KeyBlock]) -> KeyBlock | None:
    """One key of versions of it; None when gpg accepts none. Raises ProgramMissing.

    Versions of an SSH key differ in the comment alone; the last one's stays.
    """
    given = [version for version in versions if isinstance(version, OpenpgpBlock)]
    return openpgp.merge(given) if given else versions[-1]


def with_what_is_known(reading: Reading, keys: Sequence[PublicKey]) -> tuple[PublicKey, ...]:
    """The keys, each once, as they are together with all versions of them among these and in the trust store.

    Raises ProgramMissing, KeyRefused (gpg accepts a key and not what it is together with what is known of it).
    """
    result = {key.fingerprint: key for key in reversed(keys)}
    versions: dict[str, dict[KeyBlock, None]] = {fingerprint: {} for fingerprint in result}
    known_here = (file.block for file in reading.all_files() if file.block and file.fingerprint in versions)
    for block in (*known_here, *(key.block for key in keys)):
        versions[block.fingerprint][block] = None
    merged: list[KeyBlock] = []
    for fingerprint, several in versions.items():
        if len(several) > 1:
            if (one := merge(list(several))) is None:
                raise _not_together(fingerprint)
            merged.append(one)
    known = describe(merged)
    for block in merged:
        if block not in known:
            raise _not_together(block.fingerprint)
        result[block.fingerprint] = known[block]
    return tuple(result[fingerprint] for fingerprint in dict.fromkeys(key.fingerprint for key in keys))


def _not_together(fingerprint: str) -> KeyRefused:
    shown = shown_fingerprint(fingerprint)
    return KeyRefused(f"gpg does not accept key {shown} together with what is known of it")
