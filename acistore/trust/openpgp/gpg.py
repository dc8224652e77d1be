"""The one place that talks to GnuPG: keys and signatures in, facts out.

Only its status lines and its colon listing are read. Which keys are given, and what follows from the facts, is up
to the caller; how the program is run is told in `program`.

A keyring of gpg's is one room: whoever is in it can disturb the others, with packets at which gpg breaks off or by
claiming their keys as subkeys. So keys that claim the same share no keyring, what gpg turns down in company is
given to it again without, and gpg sees no signature that claims no key of its keyring.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

from acistore.errors import KeyRefused
from acistore.trust import keys
from acistore.trust.keys import PublicKey
from acistore.trust.openpgp.listing import read_listing
from acistore.trust.openpgp.packets import KeyBlock, Signature, read_key_blocks
from acistore.trust.openpgp.program import PATIENCE, PIECE, Pipe, Program, broken
from acistore.trust.openpgp.results import Unreadable, foremost, is_for_gpg, read_results, unproven
from acistore.trust.signatures import SignatureResult

_log = logging.getLogger("acistore.trust")

_MOST_IMPORTS = 200  # of one keyring
_ROOM = 1 << 16  # bytes that gpg needs for files of its own, at most


def read_keys(material: bytes) -> tuple[PublicKey, ...]:
    """The public keys in a file, armored or binary, as gpg sees them; at least one.

    Keys that gpg doesn't accept are left out with a warning. Raises KeyRefused (no keys, or secret ones among
    them), ProgramMissing.
    """
    blocks = read_key_blocks(material)
    known = describe(blocks)
    now = datetime.now(UTC)
    for block in blocks:
        if block not in known:
            _log.warning("key %s is left out: %s", block.fingerprint, _why_not(block, now))
    if known:
        return tuple(known[block] for block in blocks if block in known)
    if future := [block.created_at for block in blocks if block.created_at > now]:
        raise KeyRefused(
            "gpg accepts none of the keys: by this machine's clock they are still to be made",
            facts={"made": f"{future[0]:%F %T} UTC", "now": f"{now:%F %T} UTC"},
        )
    raise KeyRefused("gpg accepts none of the keys: no user ID that its owner has signed")


def _why_not(block: KeyBlock, now: datetime) -> str:
    """Why gpg doesn't accept a key, as far as that can be seen."""
    future = ": by this machine's clock it is still to be made" if block.created_at > now else ""
    return f"gpg does not accept it{future}"


def describe(blocks: Iterable[KeyBlock]) -> dict[keys.KeyBlock, PublicKey]:
    """What gpg says of each key; those that it doesn't accept are missing. Raises ProgramMissing."""
    with Keyring(blocks) as keyring:
        return {key.block: key for key in keyring.everything}


class Keyring:
    """Keys that gpg has taken in, to check signatures against. Used as a context manager.

    Versions of one key are told apart, and each has a say. `patience` is in seconds, see PATIENCE. Raises
    ProgramMissing when gpg is not there, doesn't work or doesn't answer.
    """

    def __init__(self, blocks: Iterable[KeyBlock], *, patience: float = PATIENCE) -> None:
        self._program = Program(patience)
        self._unfinished: set[Verification] = set()
        try:
            self._rings = [_Ring(self._program, group) for group in _apart(dict.fromkeys(blocks))]
        except BaseException:
            self.close()
            raise

    @property
    def everything(self) -> tuple[PublicKey, ...]:
        """The keys that gpg has accepted, in all their versions."""
        return tuple(key for ring in self._rings for key in ring.keys.values())

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """By fingerprint of the primary key: those that gpg has accepted, each in its first version."""
        found: dict[str, PublicKey] = {}
        for key in self.everything:
            found.setdefault(key.fingerprint, key)
        return found

    def verification(self, signatures: Sequence[Signature]) -> "Verification":
        """A check of signatures over data that is still to come. Raises FileUnusable."""
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


def _apart(blocks: Iterable[KeyBlock]) -> list[list[KeyBlock]]:
    """The keys in groups in which no key ID is claimed twice, be it as primary key or as subkey."""
    groups: list[tuple[list[KeyBlock], set[str]]] = []
    for block in blocks:
        claimed = {fingerprint[-16:] for fingerprint in block.parts}
        free = (group for group in groups if group[1].isdisjoint(claimed))
        if (group := next(free, None)) is None:
            groups.append(group := ([], set()))
        group[0].append(block)
        group[1].update(claimed)
    return [group for group, _ in groups]


class _Ring:
    """One keyring file, and the keys in it by fingerprint."""

    def __init__(self, program: Program, blocks: Sequence[KeyBlock]) -> None:
        self.path = program.new_path()
        self._program = program
        self._blocks = {block.fingerprint: block for block in blocks}
        self._imports = 0
        self.keys: dict[str, PublicKey] = {}
        self._take_in(blocks)

    def _take_in(self, blocks: Sequence[KeyBlock]) -> None:
        """Import keys. Packets of one may have led gpg to break off before it came to the others."""
        if not blocks or self._imports == _MOST_IMPORTS:
            return
        self._import(blocks)
        rest = [block for block in blocks if block.fingerprint not in self.keys]
        if rest:
            # When it could not write them, gpg says no more than that it has none of them.
            self._program.check_room(_ROOM + 2 * sum(len(block.packets) for block in blocks))
        if len(rest) < len(blocks):
            self._take_in(rest)
        elif len(rest) > 1:
            self._take_in(rest[: len(rest) // 2])
            self._take_in(rest[len(rest) // 2 :])

    def _import(self, blocks: Sequence[KeyBlock]) -> None:
        self._imports += 1
        packets = b"".join(block.packets for block in blocks)
        run = self._program.call(
            lambda gpg: gpg.import_keys(packets, extra_args=["--import-options", "import-show"]),
            keyring=self.path,
            # A listing has at most four characters for each byte of a user ID, and some around it.
            most_output=8 * len(packets),
        )
        with suppress(OSError, ValueError):
            run.result()
        if not any(keyword == "IMPORT_RES" for keyword, _ in run.statuses.lines):
            self._program.check_room(_ROOM)
            raise broken("gpg has not imported the keys")
        # IMPORT_OK <what is new> <fingerprint>. The listing has the keys that were turned down as well.
        accepted = {value.lower().split()[-1] for word, value in run.statuses.lines if word == "IMPORT_OK"}
        try:
            for key in read_listing(run.statuses.data, self._blocks):
                if key.fingerprint in accepted:
                    self.keys[key.fingerprint] = key
        except (ValueError, LookupError):
            raise broken("gpg lists keys in a form that is not known") from None

    def signatures_for(self, signatures: Iterable[Signature]) -> list[Signature]:
        """Those that claim to be by a key in here, as far as gpg can check such signatures."""
        found = []
        for signature in signatures:
            claimed = next(
                (block for block in self._blocks.values() if any(map(signature.claims, block.parts))), None
            )
            if claimed is None or not is_for_gpg(signature):
                continue
            if claimed.fingerprint in self.keys:
                found.append(signature)
            else:
                _log.warning(
                    "key %s does not count: %s", claimed.fingerprint, _why_not(claimed, datetime.now(UTC))
                )
        return found


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
        rings: Sequence[_Ring],
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
    """The gpg of one keyring, and the signatures that claim to be by keys of it."""

    def __init__(self, program: Program, ring: _Ring, signatures: Sequence[Signature]) -> None:
        self.signatures = signatures
        self._keys = ring.keys
        self._patience = program.patience
        self._pipe = Pipe()
        path = program.write(b"".join(signature.packet for signature in signatures))
        # In batch mode gpg stops at the first signature that is bad or has expired, and outside of it takes no
        # log file; text for people goes to the other channel then. The data comes through standard input.
        options = ["--no-batch", "--logger-fd", "1", str(path), "-"]
        self._run = program.call(lambda gpg: gpg.verify_file(self._pipe, extra_args=options), keyring=ring.path)
        # A gpg that is gone reads no more: whoever waits for room in the pipe must not wait for ever.
        self._run.answer.add_done_callback(lambda _: self._pipe.close())

    def feed(self, data: bytes) -> None:
        if not self._pipe.write(data, self._patience):
            self._run.kill()
            raise broken("gpg hangs: it does not read what it has to check")

    def close(self) -> None:
        """There is no more data."""
        self._pipe.close()

    def results(self, now: datetime) -> tuple[SignatureResult, ...]:
        """One for each signature. Raises ProgramMissing."""
        # A gpg that went away early makes python-gnupg stumble over the pipe: the status lines tell.
        with suppress(OSError, ValueError):
            self._run.result()
        lines = self._run.statuses.lines
        if any(keyword == "NODATA" for keyword, _ in lines):
            # It has read the packets, and sees no signature in one of them: nobody knows in which.
            return tuple(unproven(signature, self._keys.values()) for signature in self.signatures)
        if self._run.is_cut_off or not self._pipe.is_drained:
            raise broken("gpg ended before it had read all that it had to check")
        try:
            return read_results(lines, self.signatures, self._keys, now)
        except Unreadable:
            raise broken("gpg ended before it had checked every signature") from None

    def end(self) -> None:
        """No results are wanted."""
        self._pipe.close()
        self._run.end()
