"""Keyring files of gpg's: which keys share one, and what becomes of keys at which gpg hangs or breaks off.

A keyring of gpg's is one room: whoever is in it can disturb the others, with packets at which gpg breaks off or by
claiming their keys as subkeys. So keys that claim the same share no keyring, and what gpg turns down in company is
given to it again without. No signature is looked at here.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from acistore.errors import ProgramMissing
from acistore.events import log_of
from acistore.trust.keys import PublicKey
from acistore.trust.openpgp.listing import read_listing
from acistore.trust.openpgp.packets import KeyBlock, Signature, claimed
from acistore.trust.openpgp.program import Program, broken
from acistore.trust.openpgp.results import is_for_gpg

_log = log_of("acistore.trust")

MOST_RINGS = 20
"""Keyrings that keys are spread over at most, before gpg has failed at one of them."""

_MOST_IMPORTS = 200  # of one keyring
_ROOM = 1 << 16  # bytes that gpg needs for files of its own, at most

_EXTRA_TIME = 2  # times the patience, for all keyrings after gpg has failed at one

_CROWD = f"gpg is not asked about it: more than {MOST_RINGS} keys claim to have the same parts"
_NO_TIME = "gpg was not asked about it: it hangs or breaks off at too many others"


def why_not(block: KeyBlock, now: datetime) -> str:
    """Why gpg doesn't accept a key, as far as that can be seen."""
    future = ": by this machine's clock it is still to be made" if block.created_at > now else ""
    return f"gpg does not accept it{future}"


def tell(what: str, problems: Iterable[tuple[KeyBlock, str]]) -> None:
    """Warns of keys, once for each problem: there may be hundreds of keys with the same one."""
    by_problem: defaultdict[str, list[str]] = defaultdict(list)
    for block, problem in problems:
        by_problem[problem].append(block.fingerprint)
    for problem, fingerprints in by_problem.items():
        more = f", and so {len(fingerprints) - 1} others" if len(fingerprints) > 1 else ""
        _log.warning("key %s %s%s: %s", fingerprints[0], what, more, problem)


class Ring:
    """One keyring file, and the keys in it by fingerprint.

    `patience` is in seconds, for each gpg that takes keys in. Raises Stuck, FileUnusable.
    """

    def __init__(self, program: Program, blocks: Sequence[KeyBlock], patience: float) -> None:
        self.path = program.new_path()
        self._program = program
        self._patience = patience
        self._by_fingerprint = {block.fingerprint: block for block in blocks}
        self._imports = 0
        self.keys: dict[str, PublicKey] = {}
        self._take_in(blocks)

    @property
    def blocks(self) -> Collection[KeyBlock]:
        """The keys that gpg was given."""
        return self._by_fingerprint.values()

    def _take_in(self, blocks: Sequence[KeyBlock]) -> None:
        """Import keys. Packets of one may have led gpg to turn down the others."""
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
            patience=self._patience,
        )
        try:
            with suppress(OSError, ValueError):
                run.result()
            if not run.statuses.has("IMPORT_RES"):
                self._program.check_room(_ROOM)
                raise broken("gpg has not imported the keys")
            # IMPORT_OK <what is new> <fingerprint>. The listing has the keys that were turned down as well.
            accepted = {value.lower().split()[-1] for word, value in run.statuses.lines if word == "IMPORT_OK"}
            for key in read_listing(run.statuses.data, self._by_fingerprint):
                if key.fingerprint in accepted:
                    self.keys[key.fingerprint] = key
        except ProgramMissing as error:
            raise Stuck(error, _suspect(blocks, run.statuses.lines)) from error
        except (ValueError, LookupError):
            unknown = broken("gpg lists keys in a form that is not known")
            raise Stuck(unknown, _suspect(blocks, run.statuses.lines)) from None

    def signatures_for(self, signatures: Iterable[Signature]) -> list[Signature]:
        """Those that claim to be by a key in here, as far as gpg can check such signatures."""
        found = []
        for signature in signatures:
            block = next(iter(claimed(self.blocks, [signature])), None)
            if block is None or not is_for_gpg(signature):
                continue
            if block.fingerprint in self.keys:
                found.append(signature)
            else:
                tell("does not count", [(block, why_not(block, datetime.now(UTC)))])
        return found


class Stuck(Exception):
    """gpg hangs, breaks off or writes nonsense where it is to take keys in: `error` says which of these.

    `suspect` is the key that it may have come to.
    """

    def __init__(self, error: ProgramMissing, suspect: KeyBlock) -> None:
        super().__init__(error.message)
        self.error = error
        self.suspect = suspect


def _suspect(blocks: Sequence[KeyBlock], lines: Iterable[tuple[str, str]]) -> KeyBlock:
    """The key behind the last one that gpg has accepted: it takes one after another."""
    accepted = {value.lower()[-40:] for word, value in tuple(lines) if word == "IMPORT_OK"}
    last = max((number for number, block in enumerate(blocks) if block.fingerprint in accepted), default=-1)
    return blocks[min(last + 1, len(blocks) - 1)]


def spread(
    program: Program, blocks: Sequence[KeyBlock], *, for_checks: bool
) -> tuple[list[Ring], dict[KeyBlock, str]]:
    """The keys in keyrings, and why some are in none.

    A group of keys at which gpg hangs or breaks off is tried apart, until it takes in what it can and those at
    which it does are alone. All of that takes less than four times the patience. Raises ProgramMissing when gpg
    does so without any key, and FileUnusable.
    """
    groups, crowd = _apart(blocks, for_checks=for_checks)
    problems = dict.fromkeys(crowd, _CROWD)
    rings: list[Ring] = []
    waiting = deque(groups)
    patience, end = program.patience, None
    while waiting:
        group = waiting.popleft()
        if end is not None and time.monotonic() > end:
            problems |= dict.fromkeys(group, _NO_TIME)
            continue
        try:
            rings.append(Ring(program, group, patience))
        except Stuck as stuck:
            if end is None:
                if not program.can_import():
                    raise stuck.error from None
                patience, end = program.haste, time.monotonic() + _EXTRA_TIME * program.patience
            if len(group) == 1:
                problems[group[0]] = f"gpg does not accept it ({stuck.error.message})"
                continue
            # What is not under suspicion comes first, lest it has to pay for the others.
            rest = [block for block in group if block != stuck.suspect]
            waiting.extendleft(filter(None, (rest[len(rest) // 2 :], rest[: len(rest) // 2])))
            waiting.append([stuck.suspect])
    return rings, problems


def _apart(blocks: Sequence[KeyBlock], *, for_checks: bool) -> tuple[list[list[KeyBlock]], list[KeyBlock]]:
    """The keys in at most MOST_RINGS groups, each for a keyring, and those for which there is no room in any.

    Apart are versions of one key, and a key from each that claims it as a subkey. Where signatures are to be
    checked, so are keys that claim the same subkey, since gpg takes the first that it finds. All by key ID.

    Those who claim others' keys come last. So whoever claims none has room beside all of the same kind, and no
    crowd of keys, whoever has brought it, leaves out one that is honest. Only where signatures are to be checked a
    crowd that claims somebody's subkey can't be told from its owner: then what is given first has room first.
    """
    groups: list[_Group] = []
    left_out = []
    for block in _by_modesty(blocks):
        group = next((each for each in groups if each.has_room_for(block, for_checks=for_checks)), None)
        if group is None:
            if len(groups) == MOST_RINGS:
                left_out.append(block)
                continue
            groups.append(group := _Group())
        group.add(block)
    return [group.blocks for group in groups], left_out


def _by_modesty(blocks: Sequence[KeyBlock]) -> list[KeyBlock]:
    """The keys by how many others' primary keys they claim, and of those that claim as many the first version of
    each key before the second."""
    owned = {_key_id(block.fingerprint) for block in blocks}
    versions: Counter[str] = Counter()
    ranked = []
    for block in blocks:
        claims = {_key_id(each) for each in block.subkeys} & owned
        ranked.append((len(claims - {_key_id(block.fingerprint)}), versions[block.fingerprint], block))
        versions[block.fingerprint] += 1
    return [block for _, _, block in sorted(ranked, key=lambda each: each[:2])]


class _Group:
    """Keys that don't disturb one another."""

    def __init__(self) -> None:
        self.blocks: list[KeyBlock] = []
        self._primaries: set[str] = set()
        self._parts: set[str] = set()

    def has_room_for(self, block: KeyBlock, *, for_checks: bool) -> bool:
        parts = {_key_id(each) for each in block.parts}
        if _key_id(block.fingerprint) in self._parts:
            return False
        return parts.isdisjoint(self._parts if for_checks else self._primaries)

    def add(self, block: KeyBlock) -> None:
        self.blocks.append(block)
        self._primaries.add(_key_id(block.fingerprint))
        self._parts.update(map(_key_id, block.parts))


def _key_id(fingerprint: str) -> str:
    return fingerprint[-16:]
