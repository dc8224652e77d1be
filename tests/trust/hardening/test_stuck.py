"""Keys and signatures at which gpg hangs or breaks off: they are of no use to anybody, and in nobody's way.

Some are real ones; where gpg is made to fail, it is at a certain key alone.
"""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from acistore.errors import KeyRefused, ProgramMissing
from acistore.trust.openpgp.gpg import Keyring, describe, read_keys
from acistore.trust.openpgp.merge import merge
from acistore.trust.openpgp.packets import KeyBlock, read_key_blocks, read_signatures
from acistore.trust.signatures import Status
from tests.programs import command_lines
from tests.trust.hardening.conftest import IMAGE, IMAGE_URL, Operator, Pretend
from tests.trust.hardening.forging import (
    COMPOSITE_SUBGROUP,
    LONG_AGO,
    Pair,
    at_which_gpg_breaks_off,
    dsa,
    ed25519,
    packet,
    public_key,
    signed,
    subkey,
    user,
)
from tests.waiting import within

NAP = f"86400.{os.getpid()}4"
HOW = {
    "hangs": f"exec sleep {NAP}",
    "breaks off": "kill -9 $$",
    "breaks off half way": "head -c 30 > /dev/null; kill -SEGV $$",
    "fails": "exit 2",
    "writes without end": "yes '[GNUPG:] IMPORT_PROBLEM' >&2",
    "writes nonsense": "cat > /dev/null; echo pub:x; echo '[GNUPG:] IMPORT_RES 1' >&2",
}
every_way = pytest.mark.parametrize("how", HOW.values(), ids=HOW)


def at_key(word: str, script: str, scratch: Path) -> str:
    """A gpg that does something else when it is given a key with that word in a user ID."""
    return (
        f'case "$*" in *--import*) cat > {scratch}/given.$$\n'
        f"if grep -aq {word} {scratch}/given.$$; then exec < {scratch}/given.$$; {script}\n"
        f'else real "$@" < {scratch}/given.$$; fi;; *) real "$@";; esac'
    )


def fragile() -> tuple[Pair, Pair]:
    """A pair with which sound signatures can be made, and the same with which those are made at which gpg ends."""
    pair = dsa(*COMPOSITE_SUBGROUP)
    return pair, at_which_gpg_breaks_off(pair)


def culprit() -> tuple[bytes, Pair]:
    """A key at which gpg breaks off, all by itself."""
    _, pair = fragile()
    return public_key(pair, "Culprit <culprit@example.net>"), pair


@pytest.fixture
def be_patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds that one waits for a gpg, and a fifth of which once one has failed."""
    defaults = Keyring.__init__.__kwdefaults__
    assert defaults is not None
    return lambda seconds: monkeypatch.setitem(defaults, "patience", seconds)


# Keys


def test_key_at_which_gpg_breaks_off_is_in_nobody_else_s_way(operator: Operator, alice: Pair) -> None:
    key, pair = culprit()
    operator.trusts(key, pair.fingerprint)
    operator.trusts_pair(alice)
    operator.admits(signed(alice, IMAGE), alice.fingerprint)
    operator.admits(signed(alice, IMAGE), alice.fingerprint, IMAGE_URL)
    assert [each["fingerprint"] for each in operator.trusted() if each["state"] == "valid"] == [alice.fingerprint]
    assert operator.fetch(signed(alice, IMAGE)).code == 0
    assert operator.run("verify", "--trust").code == 0
    assert operator.run("--json", "trust", "check").code == 4
    explained = operator.run("--json", "trust", "explain", "example.com/app").document
    assert [each["fingerprint"] for each in explained["keys"] if each["accepted"]] == [alice.fingerprint]


def test_key_at_which_gpg_breaks_off_can_be_taken_away(operator: Operator) -> None:
    key, pair = culprit()
    path = operator.trusts(key, pair.fingerprint)
    assert operator.run("trust", "remove", pair.fingerprint).code == 0
    assert not path.exists()


def test_signature_by_a_key_at_which_gpg_breaks_off(operator: Operator, alice: Pair) -> None:
    """It is by nobody whom anybody could trust, and a refusal: other places are asked then."""
    key, pair = culprit()
    operator.trusts(key, pair.fingerprint)
    operator.trusts_pair(alice)
    operator.refuses(signed(pair, IMAGE), "UntrustedSigner")
    operator.refuses(signed(pair, IMAGE), "UntrustedSigner", IMAGE_URL)


def test_key_at_which_gpg_breaks_off_is_not_added(operator: Operator, alice: Pair) -> None:
    key, pair = culprit()
    message = operator.refuses_key(key)["message"]
    assert re.search("gpg (has not imported|accepts none)", message)
    bundle = operator.adds(key + public_key(alice, "Alice") + key, "--json")
    assert [each["fingerprint"] for each in bundle.document] == [alice.fingerprint]
    assert pair.fingerprint in bundle.err


@every_way
def test_key_at_which_gpg_fails(
    operator: Operator,
    alice: Pair,
    pretend: Pretend,
    tmp_path: Path,
    be_patient: Callable[[float], None],
    how: str,
) -> None:
    pretend(at_key("Culprit", how, tmp_path))
    first, second = ed25519(), ed25519()
    for number in range(5):
        other = ed25519()
        operator.trusts(public_key(other, f"Number {number}"), other.fingerprint, "example.com/aaa")
    for pair in (first, second):
        operator.trusts(public_key(pair, "Culprit"), pair.fingerprint)
    operator.trusts_pair(alice)

    def attempt(seconds: float) -> None:
        be_patient(seconds)
        valid = [each["fingerprint"] for each in operator.trusted() if each["state"] == "valid"]
        assert len(valid) == 6
        assert alice.fingerprint in valid
        operator.admits(signed(alice, IMAGE), alice.fingerprint)
        operator.refuses(signed(first, IMAGE), "UntrustedSigner")
        assert f"key {first.fingerprint} does not count" in operator.warning
        assert "gpg does not accept it (gpg " in operator.warning

    within(2.5, attempt)
    assert not [line for line in command_lines() if NAP.encode() in line]


@pytest.mark.usefixtures("impatient")
@every_way
def test_gpg_that_fails_at_every_key_is_broken(alice: Pair, pretend: Pretend, tmp_path: Path, how: str) -> None:
    """It fails where it is given none, too."""
    pretend(f'case "$*" in *--import*) {how};; *) real "$@";; esac')
    with pytest.raises(ProgramMissing) as caught:
        describe(read_key_blocks(public_key(alice, "Alice")))
    assert "gnupg" in str(caught.value.next_step)


def test_time_for_keys_at_which_gpg_hangs_is_bounded(pretend: Pretend, tmp_path: Path) -> None:
    """However many they are."""
    pretend(at_key("Culprit", f"exec sleep {NAP}", tmp_path))
    material = b"".join(public_key(ed25519(), f"Culprit {number}") for number in range(60))
    with Keyring(read_key_blocks(material), for_checks=False, patience=1) as keyring:
        assert keyring.everything == ()
        problems = list(keyring.problems.values())
    assert len(problems) == 60
    assert any("hangs or breaks off at too many others" in problem for problem in problems)


def test_versions_at_which_gpg_breaks_off_are_not_made_one(pretend: Pretend, tmp_path: Path) -> None:
    """Nobody knows what such a version says: perhaps that the key was revoked."""
    pair = ed25519()
    old = public_key(pair, "Alice")
    new = old + user(pair, "Culprit", at=LONG_AGO + 5)
    pretend(at_key("Culprit", "kill -9 $$", tmp_path))
    with pytest.raises(KeyRefused, match="can't be made one: gpg has not imported"):
        merge([*read_key_blocks(old), *read_key_blocks(new)])
    pretend('case "$*" in *--import*) kill -9 $$;; *) real "$@";; esac')
    with pytest.raises(ProgramMissing):
        merge([*read_key_blocks(old), *read_key_blocks(new)])


def test_versions_that_are_too_much_together_are_not_made_one() -> None:
    pair = ed25519()
    versions = [
        public_key(pair, "Alice", *(user(pair, f"{version} {number}") for number in range(90)))
        for version in range(2)
    ]
    with pytest.raises(KeyRefused, match="more than 200"):
        merge([block for version in versions for block in read_key_blocks(version)])


# Signatures


def test_signature_at_which_gpg_breaks_off(operator: Operator, alice: Pair) -> None:
    """Its key is one that gpg accepts. It is refused like any that is bad, and so is what gpg has not come to."""
    sound, fatal = fragile()
    operator.trusts(public_key(sound, "Eve <eve@example.net>"), sound.fingerprint)
    operator.trusts_pair(alice)
    operator.admits(signed(sound, IMAGE), sound.fingerprint)
    for more in (b"", signed(alice, IMAGE), signed(fatal, IMAGE)):
        ran = operator.fetch(signed(fatal, IMAGE) + more)
        assert (ran.code, ran.out) == (4, "[]\n")
        assert '"MalformedSignature"' in ran.err or '"BadSignature"' in ran.err
        assert "reinstall" not in ran.err


@pytest.mark.parametrize(
    "how",
    [f"exec sleep {NAP}", "kill -9 $$", "cat > /dev/null; exit 1"],
    ids=["hangs", "breaks off", "says nothing"],
)
def test_signature_at_which_gpg_fails(
    operator: Operator, alice: Pair, pretend: Pretend, be_patient: Callable[[float], None], how: str
) -> None:
    """Only when there is something to check; where there is nothing, it says so."""
    operator.trusts_pair(alice)
    pretend(
        'for word; do before=$last; last=$word; done\ncase "$*" in *--verify*) '
        f'if [ -s "$before" ]; then {how}; else real "$@"; fi;; *) real "$@";; esac'
    )

    def attempt(seconds: float) -> None:
        be_patient(seconds)
        operator.refuses(signed(alice, IMAGE), "MalformedSignature")
        assert f"key {alice.fingerprint} may have made a signature that can't be checked" in operator.warning
        with Keyring(read_key_blocks(public_key(alice, "A"))) as keyring:
            (result,) = keyring.verify(read_signatures(signed(alice, b"")), io.BytesIO(bytes(32 << 20)))
        assert result.status is Status.ERROR

    within(2.5, attempt)


def test_signature_at_which_gpg_breaks_off_is_in_no_other_keyring_s_way(alice: Pair) -> None:
    """Eve claims Alice's part, and her keyring's gpg is ended by another signature in the same file."""
    part = ed25519()
    sound, fatal = fragile()
    honest = read_key_blocks(public_key(alice, "Alice", subkey(alice, part)))
    thief = read_key_blocks(public_key(sound, "Eve", subkey(sound, part, back=False)))
    signatures = read_signatures(signed(fatal, IMAGE) + signed(part, IMAGE))
    with Keyring([*thief, *honest]) as keyring:
        first, second = keyring.verify(signatures, io.BytesIO(IMAGE))
    assert first.status in (Status.ERROR, Status.BAD)
    assert (second.status, second.fingerprint) == (Status.GOOD, alice.fingerprint)


# Crowds: keys that claim the same, and so share no keyring


def crowd(size: int, *claims: Pair, bound: bool = False) -> list[KeyBlock]:
    """Keys that claim all of these, each with a signature for that or without."""

    def part(owner: Pair, claim: Pair) -> bytes:
        return subkey(owner, claim, back=False) if bound else packet(14, claim.body)

    owners = [ed25519() for _ in range(size)]
    made = [public_key(each, "Eve", *(part(each, claim) for claim in claims)) for each in owners]
    return [block for key in made for block in read_key_blocks(key)]


def mutual_crowd(size: int, *claims: Pair) -> list[KeyBlock]:
    """Keys each of which claims all the others, and these."""
    owners = [ed25519() for _ in range(size)]
    made = [
        public_key(each, "Eve", *(packet(14, claim.body) for claim in (*owners, *claims) if claim != each))
        for each in owners
    ]
    return [block for key in made for block in read_key_blocks(key)]


@pytest.fixture
def calls(pretend: Pretend, tmp_path: Path) -> Path:
    """A file with a line for each time that gpg is called."""
    pretend(f'echo "$*" >> {tmp_path}/calls; real "$@"')
    return tmp_path / "calls"


def test_keys_that_claim_one_part_are_looked_at_together(alice: Pair, calls: Path) -> None:
    part = ed25519()
    honest = read_key_blocks(public_key(alice, "Alice", subkey(alice, part)))
    blocks = [*crowd(60, part, bound=True), *honest]
    assert set(describe(blocks)) == set(blocks)
    assert len(calls.read_text().splitlines()) == 2


def test_crowd_that_claims_everybody_leaves_out_nobody_but_itself(alice: Pair, calls: Path) -> None:
    """Each of its keys claims all others and Alice's: no two have room in one keyring. Alice claims nobody's."""
    others = [block for _ in range(5) for block in read_key_blocks(public_key(ed25519(), "Bystander"))]
    versions = [
        block
        for number in range(3)
        for block in read_key_blocks(public_key(alice, "Alice", user(alice, f"Version {number}")))
    ]
    eves = mutual_crowd(30, alice)
    with Keyring([*eves, *others, *versions], for_checks=False) as keyring:
        accepted = {key.block for key in keyring.everything}
        assert accepted >= {*others, *versions}
        assert set(keyring.problems) == set(eves) - accepted
        assert 0 < len(keyring.problems) < len(eves)
    assert len(calls.read_text().splitlines()) <= 1 + 20
    assert all("more than 20 keys claim" in problem for problem in keyring.problems.values())


def test_owner_of_a_primary_key_is_heard_whatever_crowd_claims_it(alice: Pair, calls: Path) -> None:
    signature = read_signatures(signed(alice, IMAGE))
    honest = read_key_blocks(public_key(alice, "Alice"))
    for eves in (crowd(40, alice, bound=True), mutual_crowd(40, alice)):
        calls.write_text("")
        with Keyring([*eves, *honest]) as keyring:
            (result,) = keyring.verify(signature, io.BytesIO(IMAGE))
        assert (result.status, result.fingerprint) == (Status.GOOD, alice.fingerprint)
        assert len(calls.read_text().splitlines()) <= 1 + 2 * 20


def test_who_is_given_first_is_heard_whatever_crowd_claims_the_same_part(alice: Pair) -> None:
    part = ed25519()
    honest = read_key_blocks(public_key(alice, "Alice", subkey(alice, part)))
    with Keyring([*honest, *crowd(40, part, bound=True)]) as keyring:
        (result,) = keyring.verify(read_signatures(signed(part, IMAGE)), io.BytesIO(IMAGE))
        assert len(keyring.problems) == 21
    assert (result.status, result.fingerprint) == (Status.GOOD, alice.fingerprint)


def test_crowd_under_one_prefix_does_not_silence_the_others(operator: Operator, alice: Pair) -> None:
    """Of an image that has no name yet every key might be the signer's: one of each prefix comes in turn."""
    part = ed25519()
    operator.trusts_pair(alice, subkey(alice, part))
    for block in crowd(40, part, bound=True):
        operator.trusts(block.as_file, block.fingerprint, "example.com/aaa")
    operator.admits(signed(part, IMAGE), alice.fingerprint, IMAGE_URL)
    assert "more than 20 keys claim" in operator.warning
    operator.admits(signed(part, IMAGE), alice.fingerprint)
    assert operator.warning == ""
    assert len(operator.trusted()) == 41


def test_left_out_keys_of_a_bundle_are_told(alice: Pair, caplog: pytest.LogCaptureFixture) -> None:
    material = b"".join(block.packets for block in mutual_crowd(25)) + public_key(alice, "Alice")
    assert alice.fingerprint in {key.fingerprint for key in read_keys(material)}
    (warning,) = caplog.messages
    assert re.search("key [0-9a-f]{40} is left out, and so 4 others: .* more than 20", warning)
