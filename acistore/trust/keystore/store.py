"""TrustStore: the keys that are trusted, for which names, in directories that anybody can read and manage.

Places are `trustedkeys/root.d/<fingerprint>` and `trustedkeys/prefix.d/<prefix>/<fingerprint>` in the system,
local and user configuration directories, as rkt has them, and nothing else is ever written there. Which
signatures are good is not asked here. Nothing is kept in memory: what holds is what the directories say now.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from acistore.config import Config, Policy
from acistore.errors import FileUnusable, KeyRefused
from acistore.fingerprints import normal_fingerprint, option_fingerprint, shown_fingerprint
from acistore.naming import check_identifier
from acistore.trust.keys import Layer, Place, PublicKey, TrustedKey, scheme_of
from acistore.trust.keystore.attention import CheckedKey, check
from acistore.trust.keystore.bundle import Bundle
from acistore.trust.keystore.carrying import changes_for, described, to_bundle
from acistore.trust.keystore.changes import Change, apply, changing
from acistore.trust.keystore.keyfiles import Reading
from acistore.trust.keystore.listing import ListedKey, ListedMask, blocks_of, in_force, listing
from acistore.trust.keystore.masking import masks_to_make, masks_to_remove
from acistore.trust.keystore.merging import with_what_is_known
from acistore.trust.keystore.origins import Origin, read_origins
from acistore.trust.keystore.renewal import Renewable, Renewal, newer_copies, renewables, renewal
from acistore.trust.keystore.selecting import matching, not_found, wanted_places
from acistore.trust.keystore.snapshot import Snapshot
from acistore.trust.lifetime import SOON, ends_at, problem, standing
from acistore.trust.offers import Material, Offer
from acistore.trust.places import Own, check_prefix
from acistore.trust.rules import Rules
from acistore.trust.schemes import describe, read_key_blocks, read_keys

__all__ = ["ListedKey", "ListedMask", "Snapshot", "TrustStore"]

_log = logging.getLogger("acistore.trust")

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

    def keys_for(self, name: str) -> tuple[TrustedKey, ...]:
        """The keys trusted for an AC name: root keys and those of its prefixes, each once. Raises InvalidName."""
        return self.rules_for(name).keys

    def masked_for(self, name: str) -> set[str]:
        """The fingerprints of keys that somebody has masked for a name, at any place. Raises InvalidName."""
        return self._read().masked(check_identifier(name))

    def listing(self) -> tuple[ListedKey | ListedMask, ...]:
        """Every key file, by prefix, root first, then by layer, and masks of keys that have no file for the same
        names. Raises ProgramMissing."""
        return tuple(listing(self._read(), self._origins(), every_mask=False))

    def all_keys(self) -> tuple[ListedKey, ...]:
        """Every key file there is, by prefix, root first, then by layer. Raises ProgramMissing."""
        return tuple(each for each in self.listing() if isinstance(each, ListedKey))

    def find(
        self, fingerprint: str, *, prefix: str | None = None, root: bool = False
    ) -> tuple[ListedKey | ListedMask, ...]:
        """The files and masks of one key. Raises InvalidName, UsageError (not a fingerprint, or one that fits
        several keys), KeyNotFound, ProgramMissing."""
        reading = self._read()
        wanted = wanted_places(reading, prefix, root)
        if not (files := matching(reading.all_files(wanted), fingerprint)):
            raise not_found("key", fingerprint, prefix, root)
        whole = files[0].fingerprint
        return tuple(
            each
            for each in listing(reading, self._origins())
            if each.place.fingerprint == whole and each.place.prefix in wanted
        )

    def places(self) -> tuple[Place, ...]:
        """Where every key file and mask lies, by prefix, root first, then by layer. No gpg is asked."""
        return tuple(file.place for file in self._read().all_files())

    def in_force(self, fingerprint: str) -> tuple[Place, ...]:
        """The places through which a key is trusted, by its whole fingerprint: root first, then by prefix."""
        return in_force(self._read(), fingerprint)

    def inspect(self, material: bytes) -> tuple[PublicKey, ...]:
        """The keys that `add` would find in a key file: with what else is known of them here, revocations most of
        all. Raises KeyRefused, ProgramMissing."""
        return with_what_is_known(self._read(), self._keys_in(material))

    def offers(self, found: Iterable[Material]) -> tuple[Offer, ...]:
        """What key files offer, each key with what the others and those here say of it. Raises as `inspect`."""
        given = [(each.source, self._keys_in(each.material)) for each in found]
        known = with_what_is_known(self._read(), [key for _, keys in given for key in keys])
        by_fingerprint = {key.fingerprint: key for key in known}
        fingerprints = [(source, dict.fromkeys(key.fingerprint for key in keys)) for source, keys in given]
        return tuple(
            Offer(source, tuple(by_fingerprint[each] for each in those)) for source, those in fingerprints
        )

    def _keys_in(self, material: bytes) -> tuple[PublicKey, ...]:
        if len(material) > self._key_size:
            raise KeyRefused(f"the key file is larger than {self._key_size} bytes")
        return read_keys(material)

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
        keys = _chosen(self.inspect(material), only)
        return self.trust([Offer(source, keys)], prefix=prefix, layer=layer)

    def check_fit(self, offers: Sequence[Offer]) -> None:
        """Raises KeyRefused when one of the keys can't be trusted: it has expired, or any copy of it here or there
        says that it was revoked, or it is too large together with what is known of it. Raises ProgramMissing."""
        self._fit(self._read(), offers)

    def trust(self, offers: Sequence[Offer], *, prefix: str | None, layer: Own) -> tuple[PublicKey, ...]:
        """Trust the keys that are offered for the names under `prefix`, or for every name when that is None.

        What is known of a key here stays, and no older copy undoes a revocation. All or none are added, unless the
        disk fails between them. Raises InvalidName, FileUnusable, ProgramMissing, and as `check_fit`.
        """
        if prefix is not None:
            check_prefix(prefix)
        now = datetime.now(UTC).replace(microsecond=0)
        sources = {key.fingerprint: offer.source for offer in reversed(offers) for key in offer.keys}

        def plan(reading: Reading) -> tuple[tuple[PublicKey, ...], list[Change]]:
            keys = self._fit(reading, offers)
            places = [reading.place(layer, prefix, key.fingerprint) for key in keys]
            return keys, [
                Change(place, key.block.as_file, Origin(sources[key.fingerprint], now))
                for place, key in zip(places, keys, strict=True)
            ]

        keys, _ = self._change(plan)
        for key in keys:
            if trouble := problem(key, now, timedelta(0)):
                _log.warning("key %s is trusted, but of no use: %s", shown_fingerprint(key.fingerprint), trouble)
        return keys

    def renewables(
        self, fingerprint: str | None = None, *, prefix: str | None = None, root: bool = False
    ) -> tuple[Renewable, ...]:
        """The keys that can be renewed, or the one that is named; those of the system layer can't be.

        Raises InvalidName, UsageError (not a fingerprint, or one that fits several keys), KeyNotFound,
        FileUnusable (the key is of the system layer alone), ProgramMissing.
        """
        reading = self._read()
        files = [file for file in reading.all_files(wanted_places(reading, prefix, root)) if file.block]
        if fingerprint is not None and not (files := matching(files, fingerprint)):
            raise not_found("key", fingerprint, prefix, root)
        own = [file for file in files if file.place.layer != "system"]
        if fingerprint is not None and not own:
            raise _not_ours([file.place for file in files])
        return tuple(renewables(own, self._origins()))

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
        copies = newer_copies(fingerprint, read_key_blocks(material, scheme_of(fingerprint)), source)

        def plan(reading: Reading) -> tuple[Renewal, list[Change]]:
            wanted = reading.all_files(wanted_places(reading, prefix, root))
            files = [file for file in wanted if file.fingerprint == fingerprint and file.block]
            if not files:
                raise not_found("key", fingerprint, prefix, root)
            return renewal(reading, files, copies, self._key_size)

        return self._change(plan)[0]

    def export(self) -> Bundle:
        """What is in force, to be carried elsewhere: keys with their places, and masks. Raises ProgramMissing."""
        return to_bundle(self._read(), self._origins())

    def offered_by(self, bundle: Bundle) -> dict[str | None, tuple[Offer, ...]]:
        """The keys in a bundle by what they are to be trusted for, with what is known of them here.

        Raises KeyRefused (gpg does not accept one), ProgramMissing.
        """
        known = described(bundle)
        keys = {key.fingerprint: key for key in with_what_is_known(self._read(), tuple(known.values()))}
        offers: dict[str | None, tuple[Offer, ...]] = {}
        for each in bundle.keys:
            offer = Offer(each.origin.source if each.origin else "", (keys[each.fingerprint],))
            offers[each.prefix] = (*offers.get(each.prefix, ()), offer)
        return offers

    def restore(self, bundle: Bundle, *, layer: Own | None = None) -> tuple[Place, ...]:
        """Put what a bundle holds in force; what was written for that, which is nothing where it is in force.

        Without `layer` keys and masks go where they are already, else where keys are added. What is known of a key
        here stays, and no older copy undoes a revocation. All or nothing, unless the disk fails in between. Raises
        KeyRefused, UsageError (a mask would be the file of the key itself), FileUnusable, ProgramMissing.
        """
        known = described(bundle)

        def plan(reading: Reading) -> tuple[None, list[Change]]:
            return None, changes_for(reading, bundle, known, layer, self._key_size)

        return tuple(change.place for change in self._change(plan)[1])

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

        def plan(reading: Reading) -> tuple[list[Place], list[Change]]:
            files = reading.all_files(wanted_places(reading, prefix, root))
            found = [file.place for file in matching((f for f in files if not f.is_mask), fingerprint)]
            if not found:
                raise not_found("key", fingerprint, prefix, root)
            return found, [Change(place, None) for place in found if place.layer != "system"]

        found, changes = self._change(plan)
        left = [place for place in found if place.layer == "system"]
        if not changes:
            raise _not_ours(left)
        for place in left:
            _log.warning("%s still trusts the key: it belongs to the system layer", place.path)
        return tuple(change.place for change in changes)

    def mask(
        self, fingerprint: str, *, prefix: str | None = None, root: bool = False, layer: Own | None = None
    ) -> tuple[str, tuple[Place, ...]]:
        """Take a key out of force by empty files in a layer above it: its whole fingerprint, and the masks made.

        Without `layer` it is the first that serves, beginning with the one where keys are added. With a whole
        fingerprint and a place the key need not be here (yet). What is masked already gets no other mask. Raises
        InvalidName, UsageError (also: the key's own file lies where the mask would), KeyNotFound, FileUnusable.
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
        layers = {change.place.layer for change in changes}
        if not layers:
            return decided, []
        with changing(self._directories, layers):
            decided, changes = plan(Reading(self._directories, self._key_size, tell=_say_nothing))
            changes = [change for change in changes if change.place.layer in layers]
            apply(self._directories, changes)
        return decided, changes

    def _fit(self, reading: Reading, offers: Sequence[Offer]) -> tuple[PublicKey, ...]:
        """The keys as they would be kept. Raises KeyRefused, ProgramMissing."""
        keys = with_what_is_known(reading, [key for offer in offers for key in offer.keys])
        for key in keys:
            shown = shown_fingerprint(key.fingerprint)
            if key.revoked:
                raise _revoked(reading, key)
            if standing(key) == "expired":
                raise KeyRefused(f"key {shown} has expired", facts={"expired": f"{ends_at(key):%Y-%m-%d}"})
            if len(key.block.as_file) > self._key_size:
                raise KeyRefused(
                    f"key {shown} is too large: its file would have more than {self._key_size} bytes",
                    next_step="if it is meant to be so: acistore --limits-key-size …",
                )
        return keys

    def _read(self) -> Reading:
        return Reading(self._directories, self._key_size)

    def _origins(self) -> dict[Layer, dict[str, Origin]]:
        return {layer: read_origins(directory) for layer, directory in self._directories.items()}


def _say_nothing(_path: Path, _problem: str) -> None:
    """What is not in order has been told when it was read before."""


def _chosen(keys: Sequence[PublicKey], only: Collection[str] | None) -> tuple[PublicKey, ...]:
    """The keys that are wanted. Raises KeyRefused for one that isn't there."""
    if only is None:
        return tuple(keys)
    wanted = [normal_fingerprint(fingerprint) for fingerprint in only]
    for fingerprint in wanted:
        if fingerprint not in {key.fingerprint for key in keys}:
            there = ", ".join(shown_fingerprint(key.fingerprint) for key in keys)
            raise KeyRefused(f"key {shown_fingerprint(fingerprint)} is not in the file", facts={"there is": there})
    return tuple(key for key in keys if key.fingerprint in wanted)


def _revoked(reading: Reading, key: PublicKey) -> KeyRefused:
    """The error for a revoked key, with where that was known before, or else where the key still counts."""
    shown = shown_fingerprint(key.fingerprint)
    facts = {"user ID": str(key.user_id)}
    next_step = None
    known = {block for block, each in describe(blocks_of(reading, key.fingerprint)).items() if each.revoked}
    if files := [str(file.place.path) for file in reading.all_files() if file.block in known]:
        facts["known from"] = ", ".join(files)
    elif places := in_force(reading, key.fingerprint):
        facts["still trusted for"] = ", ".join(place.prefix or "every name" for place in places)
        next_step = f"acistore trust remove {option_fingerprint(key.fingerprint)}"
    return KeyRefused(f"key {shown} was revoked by its owner", facts=facts, next_step=next_step)


def _not_ours(places: Sequence[Place]) -> FileUnusable:
    fingerprint = places[0].fingerprint
    return FileUnusable(
        f"key {shown_fingerprint(fingerprint)} belongs to the system layer, which acistore does not change",
        facts={"file": ", ".join(str(place.path) for place in places)},
        next_step=f"acistore trust mask {option_fingerprint(fingerprint)}",
    )
