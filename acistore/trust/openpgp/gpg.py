"""The one place that talks to GnuPG: keys and signatures in, facts out.

Only its status lines and its colon listing are read. Which keys are given, and what follows from the facts, is up
to the caller; how the program is run is told in `program`.

Which keys share a keyring is told in `rings`. gpg sees no signature that claims no key of its keyring.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

from acistore.errors import KeyRefused, ProgramMissing
from acistore.events import log_of
from acistore.trust import keys
from acistore.trust.keys import PublicKey
from acistore.trust.openpgp.packets import KeyBlock, Signature, claimed, read_key_blocks
from acistore.trust.openpgp.program import PATIENCE, PIECE, VERIFY_OPTIONS, Pipe, Program, broken
from acistore.trust.openpgp.results import Unreadable, foremost, read_results, unproven
from acistore.trust.openpgp.rings import Ring, spread, tell, why_not
from acistore.trust.signatures import SignatureResult

_log = log_of("acistore.trust")


def read_keys(material: bytes) -> tuple[PublicKey, ...]:
    """The public keys in a file, armored or binary, as gpg sees them; at least one.

    Keys that gpg doesn't accept are left out with a warning. Raises KeyRefused (no keys, or secret ones among
    them), ProgramMissing.
    """
    blocks = read_key_blocks(material)
    now = datetime.now(UTC)
    with Keyring(blocks, for_checks=False) as keyring:
        known, problems = keyring.everything, keyring.problems
    accepted = {key.block for key in known}
    left_out = [(block, problems.get(block) or why_not(block, now)) for block in blocks if block not in accepted]
    tell("is left out", left_out)
    if known:
        return known
    if all(block in problems for block, _ in left_out):
        raise KeyRefused(f"none of the keys can be used: {left_out[0][1]}")
    if future := [block.created_at for block in blocks if block.created_at > now]:
        raise KeyRefused(
            "gpg accepts none of the keys: by this machine's clock they are still to be made",
            facts={"made": f"{future[0]:%F %T} UTC", "now": f"{now:%F %T} UTC"},
        )
    raise KeyRefused("gpg accepts none of the keys: no user ID that its owner has signed")


def describe(blocks: Iterable[KeyBlock]) -> dict[keys.KeyBlock, PublicKey]:
    """What gpg says of each key; those that it doesn't accept are missing, and where it hangs or breaks off at one
    there is a warning. Raises ProgramMissing."""
    with Keyring(blocks, for_checks=False) as keyring:
        tell("is left out", keyring.problems.items())
        return {key.block: key for key in keyring.everything}


class Keyring:
    """Keys that gpg has taken in, to check signatures against. Used as a context manager.

    Versions of one key are told apart, and each has a say. Without `for_checks` the keys are only looked at.
    `patience` is in seconds, see PATIENCE. Raises ProgramMissing when gpg is not there, doesn't work or doesn't
    answer whatever the keys.
    """

    def __init__(self, blocks: Iterable[KeyBlock], *, for_checks: bool = True, patience: float = PATIENCE) -> None:
        self._blocks = tuple(dict.fromkeys(blocks))
        self._program = Program(patience)
        self._unfinished: set[Verification] = set()
        try:
            self._rings, self._problems = spread(self._program, self._blocks, for_checks=for_checks)
        except BaseException:
            self.close()
            raise

    @property
    def problems(self) -> Mapping[KeyBlock, str]:
        """The keys that gpg was not asked about, or hangs or breaks off at, with a sentence that says so."""
        return self._problems

    @property
    def everything(self) -> tuple[PublicKey, ...]:
        """The keys that gpg has accepted, in all their versions, in the order in which they were given."""
        accepted = {key.block: key for ring in self._rings for key in ring.keys.values()}
        return tuple(accepted[block] for block in self._blocks if block in accepted)

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """By fingerprint of the primary key: those that gpg has accepted, each in its first version."""
        found: dict[str, PublicKey] = {}
        for key in self.everything:
            found.setdefault(key.fingerprint, key)
        return found

    def verification(self, signatures: Sequence[Signature]) -> "Verification":
        """A check of signatures over data that is still to come. Raises FileUnusable."""
        tell("does not count", ((block, self._problems[block]) for block in claimed(self._problems, signatures)))
        return Verification(self._program, self._unfinished, tuple(signatures), self._rings)

    def verify(self, signatures: Sequence[Signature], data: BinaryIO) -> tuple[SignatureResult, ...]:
        """Check signatures over all that `data` has from where it stands. Raises ProgramMissing."""
        with self.verification(signatures) as verification:
            while piece := data.read(PIECE):
                verification.feed(piece)
            return verification.finish()

    def close(self) -> None:
        """End what still runs and remove the home."""
        for verification in tuple(self._unfinished):
            verification.abort()
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Verification:
    """One gpg for each keyring concerned, which hashes data as it arrives and then says what it thinks of the
    signatures.

    For one thread at a time. Ends with `finish` or `abort`; as a context manager it aborts what was not
    finished.
    """

    def __init__(
        self,
        program: Program,
        unfinished: "set[Verification]",
        signatures: tuple[Signature, ...],
        rings: Sequence[Ring],
    ) -> None:
        self._signatures = signatures
        self._unfinished = unfinished
        self._keys = [key for ring in rings for key in ring.keys.values()]
        self._checks: list[_Check] = []
        unfinished.add(self)
        for ring in rings:
            if claiming := ring.signatures_for(dict.fromkeys(signatures)):
                self._checks.append(_Check(program, ring, claiming))

    def feed(self, data: bytes) -> None:
        """The next piece of the data, of any length. Raises ProgramMissing when gpg doesn't take it."""
        for check in self._checks:
            check.feed(data)

    def finish(self) -> tuple[SignatureResult, ...]:
        """The data is complete: one result per signature, in their order. Raises ProgramMissing."""
        if self not in self._unfinished:
            raise RuntimeError("a verification ends once, and what was given up has no result")
        self._unfinished.discard(self)
        for check in self._checks:
            check.close()
        now = datetime.now(UTC)
        found: dict[Signature, list[SignatureResult]] = {each: [] for each in self._signatures}
        for check in self._checks:
            for signature, result in zip(check.signatures, check.results(now), strict=True):
                found[signature].append(result)
        return tuple(
            foremost(found[signature]) if found[signature] else unproven(signature, self._keys)
            for signature in self._signatures
        )

    def abort(self) -> None:
        """The data will not become complete: no verdict is wanted any more."""
        if self in self._unfinished:
            self._unfinished.discard(self)
            for check in self._checks:
                check.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class _Check:
    """The gpg of one keyring, and the signatures that claim to be by keys of it.

    What gpg hangs or breaks off at is a signature that can't be checked, unless gpg does so at anything.
    """

    def __init__(self, program: Program, ring: Ring, signatures: Sequence[Signature]) -> None:
        self.signatures = signatures
        self._program = program
        self._ring = ring
        self._is_given_up = False
        self._pipe = Pipe()
        path = program.write(b"".join(signature.packet for signature in signatures))
        options = [*VERIFY_OPTIONS, str(path), "-"]  # the data comes through standard input
        self._run = program.call(lambda gpg: gpg.verify_file(self._pipe, extra_args=options), keyring=ring.path)
        # A gpg that is gone reads no more: whoever waits for room in the pipe must not wait for ever.
        self._run.answer.add_done_callback(lambda _: self._pipe.close())

    def feed(self, data: bytes) -> None:
        if not self._pipe.write(data, self._program.patience):
            self._run.kill()
            self._give_up(broken("gpg hangs: it does not read what it has to check"))

    def close(self) -> None:
        """There is no more data."""
        self._pipe.close()

    def results(self, now: datetime) -> tuple[SignatureResult, ...]:
        """One for each signature. Raises ProgramMissing."""
        if not self._is_given_up:
            try:
                return self._results(now)
            except ProgramMissing as error:
                self._give_up(error)
        return tuple(unproven(signature, self._ring.keys.values()) for signature in self.signatures)

    def _results(self, now: datetime) -> tuple[SignatureResult, ...]:
        # A gpg that went away early makes python-gnupg stumble over the pipe: the status lines tell.
        with suppress(OSError, ValueError):
            self._run.result()
        lines = self._run.statuses.lines
        if self._run.statuses.has("NODATA"):
            # It has read the packets, and sees no signature in one of them: nobody knows in which.
            return tuple(unproven(signature, self._ring.keys.values()) for signature in self.signatures)
        if self._run.is_cut_off or not self._pipe.is_drained:
            raise broken("gpg ended before it had read all that it had to check")
        try:
            return read_results(lines, self.signatures, self._ring.keys, now)
        except Unreadable:
            raise broken("gpg ended before it had checked every signature") from None

    def _give_up(self, error: ProgramMissing) -> None:
        """Raises the error when it is gpg's fault."""
        if not self._program.can_verify():
            raise error
        self._is_given_up = True
        claimants = claimed(self._ring.blocks, self.signatures)
        tell("may have made a signature that can't be checked", ((each, error.message) for each in claimants))

    def end(self) -> None:
        """No results are wanted."""
        self._pipe.close()
        self._run.end()
