"""TrustStore: the keys that are trusted, for which names, in directories that anybody can read and manage.

Places are `trustedkeys/root.d/<fingerprint>` and `trustedkeys/prefix.d/<prefix>/<fingerprint>` in the system,
local and user configuration directories, as rkt has them, and nothing else is ever written there. Which
signatures are good is not asked here. Nothing is kept in memory: what holds is what the directories say now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from acistore.config import Config, Policy, policy_for
from acistore.errors import FileUnusable, KeyRefused
from acistore.events import log_of
from acistore.fingerprints import shown_fingerprint
from acistore.naming import check_identifier
from acistore.trust.keys import KeyBlock, Layer, Place, PublicKey, TrustedKey, scheme_of
from acistore.trust.keystore.adding import chosen, keys_to_trust
from acistore.trust.keystore.arriving import Arrival, changes_of
from acistore.trust.keystore.attention import CheckedKey, check
from acistore.trust.keystore.bundle import Bundle
from acistore.trust.keystore.carrying import described, taken_over, to_bundle
from acistore.trust.keystore.changes import Change, apply, changing
from acistore.trust.keystore.keyfiles import KeyFile, Reading
from acistore.trust.keystore.listing import ListedKey, ListedMask, in_force, listing
from acistore.trust.keystore.masking import masks_of, masks_to_make, masks_to_remove
from acistore.trust.keystore.merging import with_what_is_known
from acistore.trust.keystore.origins import Origin, read_origins
from acistore.trust.keystore.removing import not_allowed, removal, what_is_forgotten
from acistore.trust.keystore.renewal import Renewable, Renewal, newer_copies, of_the_system, renewables, renewal
from acistore.trust.keystore.selecting import damaged, matching, not_found, wanted_places
from acistore.trust.keystore.snapshot import Snapshot
from acistore.trust.lifetime import SOON, problem
from acistore.trust.offers import Material, Offer, told_of
from acistore.trust.places import Own, check_prefix
from acistore.trust.rules import Rules
from acistore.trust.schemes import read_key_blocks, read_keys

__all__ = ["ListedKey", "ListedMask", "Snapshot", "TrustStore"]

_log = log_of("acistore.trust")

_Decided = TypeVar("_Decided")


class TrustStore:
    """Trusted keys in layers, a later one overriding an earlier one, and the policies of the configuration.

    `key_size` is what a key file may hold, in bytes. Every method raises FileUnusable when a directory can't be
    read: what it masks would not be known. A key is named by its fingerprint or the last 16 or more digits of it,
    and with `prefix` or `root` only that place of it is meant, else all.
    """

    def __init__(
        self, layers: Mapping[Layer, Path], *, key_size: int = 1 << 20, policies: Sequence[Policy] = ()
    ) -> None:
        self._directories = dict(layers)
        self._key_size = key_size
        self._policies = tuple(policies)

    @classmethod
    def open(cls, config: Config) -> "TrustStore":
        """The trust store of the configuration directories."""
        return cls(
            {"system": config.system_config, "local": config.local_config, "user": config.user_config},
            key_size=config.limits.key_size,
            policies=config.policies,
        )

    def snapshot(self) -> "Snapshot":
        """What the directories say now, each read at most once, for whoever has several questions."""
        return Snapshot(self._read(), self._policies)

    def rules_for(self, name: str | None) -> Rules:
        """What holds for an AC name now; None stands for an image that has not told its name yet, and for which
        every key counts that is in force in some place. Raises InvalidName."""
        return self.snapshot().rules_for(name)

    def policy_for(self, name: str) -> Policy:
        """What the configuration demands of an AC name besides a key. No directory is read."""
        return policy_for(name, self._policies)

    def keys_for(self, name: str) -> tuple[TrustedKey, ...]:
        """The keys trusted for an AC name: root keys and those of its prefixes, each once. Raises InvalidName."""
        return self.rules_for(name).keys

    def masked_for(self, name: str) -> set[str]:
        """The fingerprints of keys that somebody has masked for a name, at any place. Raises InvalidName."""
        return self._read().masked(check_identifier(name))

    def listing(self, *, every_mask: bool = False) -> tuple[ListedKey | ListedMask, ...]:
        """Every key file, by prefix, root first, then by layer, and masks: every one, or those of keys that have
        no file for the same names. Raises ProgramMissing."""
        return tuple(listing(self._read(), self._origins(), every_mask=every_mask))

    def all_keys(self) -> tuple[ListedKey, ...]:
        """Every key file there is, by prefix, root first, then by layer. Raises ProgramMissing."""
        return tuple(each for each in self.listing() if isinstance(each, ListedKey))

    def find(
        self, fingerprint: str, *, prefix: str | None = None, root: bool = False
    ) -> tuple[ListedKey | ListedMask, ...]:
        """The files and masks of one key, at least one. Raises InvalidName, UsageError (not a fingerprint, or one
        that fits several keys), KeyNotFound (also: none of its files is in order), ProgramMissing."""
        reading = self._read()
        wanted = wanted_places(reading, prefix, root)
        if not (files := matching(reading.all_files(wanted), fingerprint)):
            raise not_found("key", fingerprint, prefix, root)
        whole = files[0].fingerprint
        found = tuple(
            each
            for each in listing(reading, self._origins())
            if each.place.fingerprint == whole and each.place.prefix in wanted
        )
        if not found:
            raise damaged([file.place for file in files])
        return found

    def places(self) -> tuple[Place, ...]:
        """Where every key file and mask lies, by prefix, root first, then by layer. No gpg is asked."""
        return tuple(file.place for file in self._read().all_files())

    def in_force(self, fingerprint: str, *, for_others: bool = False) -> tuple[Place, ...]:
        """The places through which a key is trusted, by its whole fingerprint: root first, then by prefix.

        With `for_others` as for those who use the machine too, and have no keys and masks of their own.
        """
        return in_force(self._seen(for_others=for_others), fingerprint)

    def trusted_through(self, fingerprint: str, prefix: str | None, *, for_others: bool = False) -> Place | None:
        """The place through which a key is trusted for the names under a prefix, or for every name; else None.

        The key is named by its whole fingerprint; `for_others` as for `in_force`.
        """
        return self.snapshot().trusted_through(fingerprint, prefix, for_others=for_others)

    def masks(self, fingerprint: str, *, prefix: str | None = None, root: bool = False) -> tuple[Place, ...]:
        """Where masks of a key lie, by its whole fingerprint. Raises InvalidName."""
        reading = self._read()
        return masks_of(reading, fingerprint, wanted_places(reading, prefix, root))

    def inspect(self, material: bytes, *, source: str | None = None) -> tuple[PublicKey, ...]:
        """The keys that `add` would find in a key file: with what else is known of them here, revocations most of
        all. With its `source` errors name that. Raises KeyRefused, ProgramMissing."""
        return with_what_is_known(self._read(), self._keys_in(material, source))

    def offers(self, found: Iterable[Material]) -> tuple[Offer, ...]:
        """What key files offer, each key with what the others and those here say of it. Raises as `inspect`."""
        given = [(each.source, self._keys_in(each.material, each.source)) for each in found]
        known = with_what_is_known(self._read(), [key for _, keys in given for key in keys])
        by_fingerprint = {key.fingerprint: key for key in known}
        fingerprints = [(source, dict.fromkeys(key.fingerprint for key in keys)) for source, keys in given]
        return tuple(
            Offer(source, tuple(by_fingerprint[each] for each in those)) for source, those in fingerprints
        )

    def _keys_in(self, material: bytes, source: str | None) -> tuple[PublicKey, ...]:
        try:
            if len(material) > self._key_size:
                raise KeyRefused(f"the key file is larger than {self._key_size} bytes")
            return read_keys(material)
        except KeyRefused as error:
            raise told_of(error, source) if source else error from None

    def add(
        self,
        material: bytes,
        *,
        prefix: str | None,
        source: str,
        layer: Own,
        only: Collection[str] | None = None,
    ) -> tuple[PublicKey, ...]:
        """Trust the keys of a file for the names under `prefix`, or for every name when that is None.

        `only` are the whole fingerprints to be added, all of which must be there; without it all keys are added.
        `source` is where they come from, for the record. Otherwise as `trust`.
        """
        keys = chosen(self.inspect(material, source=source), only, source)
        return self.trust([Offer(source, keys)], prefix=prefix, layer=layer)

    def would_trust(self, offers: Sequence[Offer], *, prefix: str | None, layer: Own) -> tuple[Arrival, ...]:
        """What `trust` would do: which keys are new, and what changes of the others. Raises as that does."""
        return tuple(self._to_trust(self._read(), offers, prefix, layer))

    def trust(self, offers: Sequence[Offer], *, prefix: str | None, layer: Own) -> tuple[PublicKey, ...]:
        """Trust the keys that are offered for the names under `prefix`, or for every name when that is None.

        What is known of a key here stays, and no older copy undoes a revocation. All or none are added, unless the
        disk fails between them. Raises InvalidName, FileUnusable, ProgramMissing, and KeyRefused when one of the
        keys can't be trusted: it has expired, or any copy of it here or there says that it was revoked, or it is
        masked for this, or it is too large together with what is known of it.
        """

        def plan(reading: Reading) -> tuple[list[Arrival], list[Change]]:
            arriving = self._to_trust(reading, offers, prefix, layer)
            return arriving, changes_of(arriving)

        keys = tuple(each.key for each in self._change(plan)[0] if each.key)
        for key in keys:
            if trouble := problem(key, datetime.now(UTC)):
                shown = shown_fingerprint(key.fingerprint)
                _log.warning("key %s is trusted, but of no use: %s", shown, trouble.words)
        return keys

    def _to_trust(
        self, reading: Reading, offers: Sequence[Offer], prefix: str | None, layer: Own
    ) -> list[Arrival]:
        if prefix is not None:
            check_prefix(prefix)
        now = datetime.now(UTC).replace(microsecond=0)
        return keys_to_trust(reading, offers, prefix=prefix, layer=layer, largest=self._key_size, now=now)

    def renewables(
        self, fingerprint: str | None = None, *, prefix: str | None = None, root: bool = False
    ) -> tuple[Renewable, ...]:
        """The keys, or the one that is named, with their files that can be renewed; the system layer's can't be.

        Raises InvalidName, UsageError (not a fingerprint, or one that fits several keys), KeyNotFound,
        FileUnusable (the key is of the system layer alone), ProgramMissing.
        """
        reading = self._read()
        files = [file for file in reading.all_files(wanted_places(reading, prefix, root)) if file.block]
        if fingerprint is not None and not (files := matching(files, fingerprint)):
            raise not_found("key", fingerprint, prefix, root)
        found = tuple(renewables(files, self._origins()))
        if fingerprint is not None and not found[0].places:
            raise of_the_system([file.place for file in files])
        return found

    def renew(
        self,
        fingerprint: str,
        material: bytes,
        source: str,
        *,
        prefix: str | None = None,
        root: bool = False,
    ) -> Renewal:
        """Add to a trusted key, by its whole fingerprint, what its owner has signed since, from a newer copy.

        Never another primary key, and nothing that was known goes: no subkey, no later end, no revocation. Raises
        KeyRefused (the material is no keys, or others, or of no use, or too much), KeyNotFound, InvalidName,
        FileUnusable, ProgramMissing.
        """
        if len(material) > self._key_size:
            raise KeyRefused(f"the key file is larger than {self._key_size} bytes", facts={"from": source})

        def copies_here(reading: Reading) -> list[KeyFile]:
            wanted = reading.all_files(wanted_places(reading, prefix, root))
            if not (files := [file for file in wanted if file.fingerprint == fingerprint and file.block]):
                raise not_found("key", fingerprint, prefix, root)
            return files

        places = [file.place for file in copies_here(self._read())]
        copies = newer_copies(fingerprint, read_key_blocks(material, scheme_of(fingerprint)), source, places)

        def plan(reading: Reading) -> tuple[Renewal, list[Change]]:
            return renewal(reading, copies_here(reading), copies, self._key_size)

        return self._change(plan)[0]

    def export(self) -> Bundle:
        """What is in force, to be carried elsewhere: keys with their places, and masks. Raises ProgramMissing."""
        return to_bundle(self._read(), self._origins())

    def would_restore(self, bundle: Bundle, *, layer: Own | None = None) -> tuple[Arrival, ...]:
        """What `restore` would do. Raises as that does."""
        return tuple(self._to_restore(self._read(), bundle, described(bundle), layer))

    def restore(self, bundle: Bundle, *, layer: Own | None = None) -> tuple[Arrival, ...]:
        """Put what a bundle holds in force: what becomes of each key and mask, and of other copies of the keys.

        Nothing is written of what is in force, and of keys that are masked here. Without `layer` keys go where
        they are already, else where keys are added, masks there, and higher when that is not enough. What is known
        of a key here stays, and no older copy undoes a revocation. All or nothing, unless the disk fails in
        between. Raises KeyRefused, FileUnusable, ProgramMissing.
        """
        known = described(bundle)

        def plan(reading: Reading) -> tuple[list[Arrival], list[Change]]:
            arriving = self._to_restore(reading, bundle, known, layer)
            return arriving, changes_of(arriving)

        return tuple(self._change(plan)[0])

    def _to_restore(
        self, reading: Reading, bundle: Bundle, known: Mapping[KeyBlock, PublicKey], layer: Own | None
    ) -> list[Arrival]:
        return taken_over(reading, bundle, known, layer, self._key_size)

    def check(self, *, soon: timedelta = SOON) -> tuple[CheckedKey, ...]:
        """Every key that is in force, and every file that is not in order, with what is the matter with it.

        `soon`: how long before its end a key is a matter. Raises ProgramMissing.
        """
        told: list[tuple[Path, str]] = []
        reading = Reading(self._directories, self._key_size, tell=lambda path, what: told.append((path, what)))
        return tuple(check(reading, self._origins(), told, now=datetime.now(UTC), soon=soon))

    def remove(self, fingerprint: str, *, prefix: str | None = None, root: bool = False) -> tuple[Place, ...]:
        """Trust a key no longer; what was removed. Masks stay.

        Raises InvalidName, UsageError (not a fingerprint, or one that fits several keys), KeyNotFound,
        FileUnusable (the key is of the system layer alone, or its file can't be removed).
        """
        rule = ("--root",) if root else () if prefix is None else ("--prefix", prefix)
        try:
            done, _ = self._change(lambda reading: removal(reading, fingerprint, prefix, root=root))
        except FileUnusable as error:
            raise not_allowed(error, fingerprint, rule) from error.__cause__
        for place in done.left:
            _log.warning("%s still trusts the key: it belongs to the system layer", place.path)
        if forgotten := what_is_forgotten(done):
            _log.warning("%s", forgotten)
        return done.places

    def mask(
        self, fingerprint: str, *, prefix: str | None = None, root: bool = False, layer: Own | None = None
    ) -> tuple[str, tuple[Place, ...]]:
        """Take a key out of force by empty files in a layer above it: its whole fingerprint, and the masks made.

        Without `layer` it is the first that serves, beginning with the one where keys are added. With a whole
        fingerprint and a place the key need not be here (yet). What is masked already, in the layer that is named
        or below it, gets no other mask. Raises InvalidName, UsageError (also: the key's own file lies where the
        mask would), KeyNotFound, FileUnusable.
        """
        whole, changes = self._change(
            lambda reading: masks_to_make(reading, fingerprint, prefix=prefix, root=root, layer=layer)
        )
        return whole, tuple(change.place for change in changes)

    def unmask(
        self, fingerprint: str, *, prefix: str | None = None, root: bool = False, layer: Own | None = None
    ) -> tuple[str, tuple[Place, ...]]:
        """Remove masks of a key, in one layer or in both: its whole fingerprint, and the masks that went.

        Raises InvalidName, UsageError, KeyNotFound, FileUnusable (also: the masks are the system's).
        """
        whole, changes = self._change(
            lambda reading: masks_to_remove(reading, fingerprint, prefix=prefix, root=root, layer=layer)
        )
        return whole, tuple(change.place for change in changes)

    def _change(self, plan: Callable[[Reading], tuple[_Decided, list[Change]]]) -> tuple[_Decided, list[Change]]:
        """Carry out the changes that come of what the plan reads; they, and what else it says.

        It is asked once before anything is touched, so that its refusals leave nothing behind, and again when
        nobody else can change the layers concerned.
        """
        decided, changes = plan(self._read())
        layers: set[Layer] = set()
        while not layers.issuperset(change.place.layer for change in changes):
            layers |= {change.place.layer for change in changes}
            with changing(self._directories, layers):
                decided, changes = plan(Reading(self._directories, self._key_size, tell=_say_nothing))
                if layers.issuperset(change.place.layer for change in changes):
                    apply(self._directories, changes)
        return decided, changes

    def _seen(self, *, for_others: bool) -> Reading:
        reading = self._read()
        return reading.up_to("local") if for_others else reading

    def _read(self) -> Reading:
        return Reading(self._directories, self._key_size)

    def _origins(self) -> dict[Layer, dict[str, Origin]]:
        return {layer: read_origins(directory) for layer, directory in self._directories.items()}


def _say_nothing(_path: Path, _problem: str) -> None:
    """What is not in order has been told when it was read before."""
