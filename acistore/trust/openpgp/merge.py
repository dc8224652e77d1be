"""Versions of one key made one, by gpg: what its owner has signed in any of them stays.

So an older version takes nothing away again that a newer one brought: no end, no subkey, no revocation. Signatures
by others are left out. They prove nothing here, and anybody can add as many to a key as a server takes. So a
revocation counts only when it is by the key itself, not by one named in it for that (RFC 4880, section 5.2.3.15).
"""

from collections.abc import Sequence
from contextlib import closing, suppress

from acistore.errors import KeyRefused, ProgramMissing
from acistore.fingerprints import shown_fingerprint
from acistore.trust.openpgp.packets import KeyBlock, read_key_blocks
from acistore.trust.openpgp.program import PATIENCE, Program, broken

_OPTIONS = ["--import-options", "self-sigs-only,no-import-clean"]


def merge(versions: Sequence[KeyBlock]) -> KeyBlock | None:
    """One key of versions of it (all of one fingerprint), as far as gpg accepts them; None when it accepts none.

    Of the same versions in the same order comes the same key, to the byte. Raises ProgramMissing, and KeyRefused
    when gpg hangs or breaks off at a version (who knows what it says), or when there is too much in all of them.
    """
    (fingerprint,) = {version.fingerprint for version in versions}
    with closing(Program(PATIENCE)) as program:
        for version in dict.fromkeys(versions):
            _take_in(program, version)
        exported = _export(program, fingerprint, most=sum(len(version.packets) for version in versions))
    if not exported:
        return None
    try:
        (merged,) = read_key_blocks(exported)
    except KeyRefused as error:
        raise _refused(fingerprint, error.message) from None
    except ValueError:
        raise broken("gpg writes keys in a form that is not known") from None
    if merged.fingerprint != fingerprint:
        raise broken("gpg has made another key of a key's versions")
    return merged


def _take_in(program: Program, version: KeyBlock) -> None:
    # A process each: at what is wrong in one version gpg must not break off before it comes to the next.
    run = program.call(lambda gpg: gpg.import_keys(version.packets, extra_args=_OPTIONS))
    try:
        with suppress(OSError, ValueError):
            run.result()
        if not run.statuses.has("IMPORT_RES"):
            raise broken("gpg has not imported a key")
    except ProgramMissing as error:
        if program.can_import():
            raise _refused(version.fingerprint, error.message) from None
        raise


def _refused(fingerprint: str, why: str) -> KeyRefused:
    return KeyRefused(f"the versions of key {shown_fingerprint(fingerprint)} can't be made one: {why}")


def _export(program: Program, fingerprint: str, most: int) -> bytes:
    run = program.call(
        lambda gpg: gpg.export_keys(fingerprint, armor=False, expect_passphrase=False), most_output=2 * most
    )
    with suppress(OSError, ValueError):
        run.result()
    return run.statuses.data
