"""What becomes of SSH signatures: every status, with real keys, and beside what ssh-keygen says of the same."""

import base64
import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from acistore.errors import MalformedSignature
from acistore.trust.signatures import SignatureResult, Status
from acistore.trust.ssh.keys import SshKey, describe, read_keys
from acistore.trust.ssh.sshsig import read_signatures
from acistore.trust.ssh.verify import Verification
from acistore.trust.ssh.wire import read_key_blob
from tests.ssh import (
    NAMESPACE,
    TOUCHED,
    SecurityKey,
    SshKeyMaker,
    SshSigningKey,
    accepts,
    armored,
    armored_signature,
    number,
    packed,
    unarmored,
    unpacked,
)
from tests.trust.ssh.conftest import PAIRS, KeyPair

DATA = b"an image, as it is served\n" * 1000

HASHES = ("sha256", "sha512")
NIST_ORDERS = {
    "nistp256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "sk-nistp256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
EDWARDS_ORDER = 2**252 + 27742317777372353535851937790883648493


def results_of(signatures: bytes, keys: Iterable[KeyPair], data: bytes = DATA) -> tuple[SignatureResult, ...]:
    known = {key.fingerprint: describe(key) for pair in keys for key in read_keys(pair.public())}
    with Verification(read_signatures(signatures), known) as verification:
        verification.feed(data)
        return verification.finish()


def status_of(signature: bytes, key: KeyPair, data: bytes = DATA) -> Status:
    (result,) = results_of(signature, [key], data)
    return result.status


def is_good(signature: bytes, key: KeyPair, data: bytes = DATA) -> bool:
    try:
        return [result.status for result in results_of(signature, [key], data)] == [Status.GOOD]
    except MalformedSignature:
        return False


class Parts:
    """A signature in parts, to be put together otherwise."""

    def __init__(self, signature: bytes) -> None:
        self.key, namespace, self.reserved, hashalg, self.proof = unpacked(unarmored(signature)[10:])
        self.namespace, self.hashalg = namespace.decode(), hashalg.decode()
        (self.algorithm, self.value), self.told = self._two_strings(self.proof)

    @staticmethod
    def _two_strings(proof: bytes) -> tuple[list[bytes], bytes]:
        end = 4 + int.from_bytes(proof[:4], "big")
        end += 4 + int.from_bytes(proof[end : end + 4], "big")
        return unpacked(proof[:end]), proof[end:]

    def with_proof(
        self, *, algorithm: bytes | None = None, value: bytes | None = None, told: bytes | None = None
    ) -> bytes:
        strings = packed(
            self.algorithm if algorithm is None else algorithm, self.value if value is None else value
        )
        proof = strings + (self.told if told is None else told)
        return armored_signature(self.key, proof, hashalg=self.hashalg, namespace=self.namespace)


# Good ones


@pytest.mark.parametrize("hashalg", HASHES)
@pytest.mark.parametrize("data", [DATA, b""])
def test_good_signature(pair: KeyPair, hashalg: str, data: bytes, openssh: Path) -> None:
    signature = pair.sign(data, hashalg=hashalg)
    assert accepts(pair.public(), data, signature, openssh)
    (result,) = results_of(signature, [pair], data)
    assert result.status is Status.GOOD
    assert result.fingerprint == result.signing_fingerprint == pair.fingerprint
    assert result.key is not None
    assert result.key.user_id == pair.public().split()[2].decode()


def test_data_may_come_in_pieces(ed25519: KeyPair) -> None:
    (key,) = map(describe, read_keys(ed25519.public()))
    with Verification(read_signatures(ed25519.sign(DATA)), {key.fingerprint: key}) as verification:
        for start in range(0, len(DATA), 999):
            verification.feed(DATA[start : start + 999])
            verification.feed(b"")
        assert [result.status for result in verification.finish()] == [Status.GOOD]


def test_many_keys_sign_alike(ssh_maker: SshKeyMaker) -> None:
    """Numbers of every length: one in 256 begins with a zero, half of them have their highest bit set."""
    for kind in ("ed25519", "ecdsa"):
        token = SecurityKey("ed25519" if kind == "ed25519" else "ecdsa")
        for count in range(300):
            assert status_of(token.sign(b"%d" % count), token, b"%d" % count) is Status.GOOD


def test_several_signatures_have_a_result_each_in_their_order(
    pairs: dict[str, KeyPair], weak_rsa: KeyPair
) -> None:
    first, second, absent = pairs["rsa"], pairs["nistp384"], pairs["sk-ed25519"]
    signatures = [
        first.sign(DATA),
        second.sign(DATA + b"x", hashalg="sha256"),
        absent.sign(DATA),
        weak_rsa.sign(DATA, hashalg="sha256"),
        first.sign(DATA, hashalg="sha256"),
        first.sign(DATA),
    ]
    results = results_of(b"".join(signatures), [second, first, weak_rsa])
    statuses = [Status.GOOD, Status.BAD, Status.NO_PUBLIC_KEY, Status.WEAK_KEY, Status.GOOD, Status.GOOD]
    assert [result.status for result in results] == statuses
    signers = [first, second, None, weak_rsa, first, first]
    assert [result.fingerprint for result in results] == [signer and signer.fingerprint for signer in signers]
    claimed = [result.signature.fingerprint for result in results]
    assert claimed == [one.fingerprint for one in (first, second, absent, weak_rsa, first, first)]


def test_comments_of_keys_do_not_matter(ed25519: KeyPair) -> None:
    words = ed25519.public().split()
    (key,) = map(describe, read_keys(b" ".join([*words[:2], b"somebody else"])))
    verification = Verification(read_signatures(ed25519.sign(DATA)), {key.fingerprint: key})
    verification.feed(DATA)
    (result,) = verification.finish()
    assert (result.status, result.key) == (Status.GOOD, key)


# All others


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\n", DATA.replace(b"\n", b"\r\n")])
def test_signature_over_other_data_is_bad(pair: KeyPair, data: bytes) -> None:
    (result,) = results_of(pair.sign(DATA), [pair], data)
    assert (result.status, result.fingerprint) == (Status.BAD, pair.fingerprint)
    assert result.signing_fingerprint is None


def test_signature_by_a_key_not_given(pairs: dict[str, KeyPair]) -> None:
    for algorithm, pair in pairs.items():
        others = [other for name, other in pairs.items() if name != algorithm]
        (result,) = results_of(pair.sign(DATA), others)
        assert (result.status, result.key, result.fingerprint) == (Status.NO_PUBLIC_KEY, None, None)
    assert status_of(pairs["ed25519"].sign(DATA), SecurityKey()) is Status.NO_PUBLIC_KEY


def test_key_counts_under_its_own_fingerprint_only(ed25519: KeyPair, rsa: KeyPair) -> None:
    (key,) = map(describe, read_keys(rsa.public()))
    verification = Verification(read_signatures(ed25519.sign(DATA)), {ed25519.fingerprint: key})
    verification.feed(DATA)
    assert [result.status for result in verification.finish()] == [Status.NO_PUBLIC_KEY]


def test_signature_moved_to_another_key_is_bad(ssh_maker: SshKeyMaker, ed25519: KeyPair) -> None:
    other = ssh_maker.key("ed25519")
    moved = armored_signature(unpacked(unarmored(other.sign(DATA))[10:])[0], Parts(ed25519.sign(DATA)).proof)
    assert status_of(moved, other) is Status.BAD


def test_short_rsa_key_is_weak_when_it_has_signed(weak_rsa: KeyPair) -> None:
    (result,) = results_of(weak_rsa.sign(DATA), [weak_rsa])
    assert (result.status, result.signing_fingerprint) == (Status.WEAK_KEY, weak_rsa.fingerprint)
    assert status_of(weak_rsa.sign(DATA), weak_rsa, b"else") is Status.BAD


class RsaSigner:
    """Signs as ssh-keygen doesn't, with a key that it made."""

    def __init__(self, pair: KeyPair) -> None:
        assert isinstance(pair, SshSigningKey)
        private = load_ssh_private_key(pair.private(), None)
        assert isinstance(private, rsa.RSAPrivateKey)
        self._private = private
        self._parts = Parts(pair.sign(DATA))

    def value(self, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
        message = b"SSHSIG" + packed(NAMESPACE.encode(), b"", b"sha512", hashlib.sha512(data).digest())
        return self._private.sign(message, padding.PKCS1v15(), digest)

    def signature(self, algorithm: bytes, value: bytes) -> bytes:
        return self._parts.with_proof(algorithm=algorithm, value=value)


def test_rsa_with_sha1_is_refused(rsa: KeyPair, openssh: Path) -> None:
    signer = RsaSigner(rsa)
    signature = signer.signature(b"ssh-rsa", signer.value(DATA, hashes.SHA1()))
    assert not accepts(rsa.public(), DATA, signature, openssh)
    (result,) = results_of(signature, [rsa])
    assert (result.status, result.fingerprint) == (Status.WEAK_DIGEST, rsa.fingerprint)
    assert (result.signing_fingerprint, result.signature.digest) == (None, "SHA1")


@pytest.mark.parametrize(
    ("algorithm", "digest"), [(b"rsa-sha2-256", hashes.SHA256()), (b"rsa-sha2-512", hashes.SHA512())]
)
def test_rsa_may_hash_otherwise_than_the_data_was_hashed(
    rsa: KeyPair, algorithm: bytes, digest: hashes.HashAlgorithm, openssh: Path
) -> None:
    signer = RsaSigner(rsa)
    signature = signer.signature(algorithm, signer.value(DATA, digest))
    assert accepts(rsa.public(), DATA, signature, openssh)
    assert status_of(signature, rsa) is Status.GOOD
    other = b"rsa-sha2-512" if algorithm == b"rsa-sha2-256" else b"rsa-sha2-256"
    assert status_of(Parts(signature).with_proof(algorithm=other), rsa) is Status.BAD


def test_zeros_in_front_of_an_rsa_signature_may_be_missing(rsa: KeyPair, openssh: Path) -> None:
    signer = RsaSigner(rsa)
    signed = ((data, signer.value(data, hashes.SHA512())) for data in map(b"%d".__mod__, range(10000)))
    data, value = next((data, value) for data, value in signed if value[0] == 0)
    shorter = signer.signature(b"rsa-sha2-512", value.lstrip(b"\0"))
    assert accepts(rsa.public(), data, shorter, openssh)
    assert status_of(shorter, rsa, data) is Status.GOOD
    longer = signer.signature(b"rsa-sha2-512", b"\0" + value)
    assert not accepts(rsa.public(), data, longer, openssh)
    assert status_of(longer, rsa, data) is Status.BAD
    for empty in (b"", b"\0", b"\0" * 256, b"\1"):
        assert status_of(signer.signature(b"rsa-sha2-512", empty), rsa, data) is Status.BAD


# Security keys


@pytest.mark.parametrize("kind", ["sk-ed25519", "sk-nistp256"])
@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (TOUCHED, Status.GOOD),
        (TOUCHED | 0x04, Status.GOOD),
        (0xFF, Status.GOOD),
        (0x00, Status.NO_TOUCH),
        (0x04, Status.NO_TOUCH),
        (0xFE, Status.NO_TOUCH),
    ],
)
def test_security_key_has_to_be_touched(
    pairs: dict[str, KeyPair], kind: str, flags: int, status: Status, openssh: Path
) -> None:
    token = pairs[kind]
    assert isinstance(token, SecurityKey)
    signature = token.sign(DATA, flags=flags)
    # ssh-keygen looks at the flags of signatures over files just as little as at the counter.
    assert accepts(token.public(), DATA, signature, openssh)
    (result,) = results_of(signature, [token])
    assert (result.status, result.signing_fingerprint) == (status, token.fingerprint)
    assert status_of(signature, token, b"else") is Status.BAD


@pytest.mark.parametrize("kind", ["sk-ed25519", "sk-nistp256"])
def test_flags_and_counter_are_signed(pairs: dict[str, KeyPair], kind: str, openssh: Path) -> None:
    token = pairs[kind]
    assert isinstance(token, SecurityKey)
    untouched = Parts(token.sign(DATA, flags=0, counter=7))
    for told in (b"\1\0\0\0\7", b"\0\0\0\0\x08", b"\0\xff\0\0\7"):
        signature = untouched.with_proof(told=told)
        assert not accepts(token.public(), DATA, signature, openssh)
        assert status_of(signature, token) is Status.BAD
    assert status_of(token.sign(DATA, counter=0xFFFFFFFF), token) is Status.GOOD


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_application_of_a_security_key_is_signed(kind: str, openssh: Path) -> None:
    made_for = SecurityKey("ed25519" if kind == "ed25519" else "ecdsa", application=b"ssh:images")
    elsewhere = SecurityKey(made_for.kind, b"ssh:", "else", made_for.on_edwards, made_for.on_nist)
    signature = made_for.sign(DATA)
    assert accepts(made_for.public(), DATA, signature, openssh)
    assert status_of(signature, made_for) is Status.GOOD
    assert status_of(signature, elsewhere) is Status.NO_PUBLIC_KEY
    moved = armored_signature(elsewhere.blob, Parts(signature).proof)
    assert not accepts(elsewhere.public(), DATA, moved, openssh)
    assert status_of(moved, elsewhere) is Status.BAD


# Beside OpenSSH


def test_signature_for_another_namespace_counts_nowhere(pair: KeyPair, openssh: Path) -> None:
    signature = pair.sign(DATA, namespace="file")
    renamed = armored_signature(Parts(signature).key, Parts(signature).proof)
    assert accepts(pair.public(), DATA, signature, openssh, namespace="file")
    assert not accepts(pair.public(), DATA, renamed, openssh)
    assert status_of(renamed, pair) is Status.BAD


def rebuilt(signature: bytes, algorithm: str) -> dict[str, tuple[bytes, bool]]:
    """The signature in other forms, each with whether it is good here still."""
    parts = Parts(signature)
    begin, *text, end, _ = signature.split(b"\n")
    blob = unarmored(signature)

    def with_fields(**fields: object) -> bytes:
        given = {"key": parts.key, "proof": parts.proof, "hashalg": parts.hashalg, **fields}
        return armored_signature(**given)  # type: ignore[arg-type]

    forms: dict[str, tuple[bytes, bool]] = {
        "itself": (with_fields(), True),
        "CRLF": (signature.replace(b"\n", b"\r\n"), True),
        "one line": (b"\n".join([begin, b"".join(text), end, b""]), True),
        "a byte a line": (b"\n".join([begin, *(bytes([byte]) for byte in b"".join(text)), end, b""]), True),
        "blanks": (b"\n".join([begin, b" \t".join(text), end, b""]), True),
        "empty lines": (b"\n".join([begin, b"", *text, b"", end, b"", b""]), True),
        "no line end": (signature.rstrip(), True),
        "junk after it": (signature + b"junk\n", False),
        "reserved": (with_fields(reserved=b"x"), False),
        "version 0": (with_fields(version=0), False),
        "version 2": (with_fields(version=2), False),
        "other hash": (with_fields(hashalg="sha256" if parts.hashalg == "sha512" else "sha512"), False),
        "key after the key": (with_fields(key=parts.key + b"\0"), False),
        "junk at the end": (armored(blob + b"\0"), False),
        "junk after the proof": (with_fields(proof=parts.proof + b"\0"), False),
        "no proof": (with_fields(proof=b""), False),
        "zeros": (parts.with_proof(value=b"\0" * len(parts.value)), False),
        "empty value": (parts.with_proof(value=b""), False),
        "longer value": (parts.with_proof(value=parts.value + b"\0"), False),
    }
    if "ed25519" in algorithm:
        scalar = int.from_bytes(parts.value[32:], "little") + EDWARDS_ORDER
        beyond = parts.value[:32] + scalar.to_bytes(32, "little")
        forms["beyond the order"] = (parts.with_proof(value=beyond), False)
    if "nistp" in algorithm:
        r, s = unpacked(parts.value)
        forms["zeros in front"] = (parts.with_proof(value=packed(b"\0" + r, s)), False)
        forms["negative"] = (parts.with_proof(value=packed(b"\xff" + r, s)), False)
        forms["swapped"] = (parts.with_proof(value=packed(s, r)), False)
        forms["nought"] = (parts.with_proof(value=packed(r, b"")), False)
    if order := NIST_ORDERS.get(algorithm):
        r, s = unpacked(parts.value)
        # As everywhere but in Bitcoin, both halves of the numbers count.
        mirrored = number(order - int.from_bytes(s, "big"))
        forms["mirrored"] = (parts.with_proof(value=packed(r, mirrored)), True)
        beyond = number(order + int.from_bytes(s, "big"))
        forms["beyond the order"] = (parts.with_proof(value=packed(r, beyond)), False)
    return forms


@pytest.mark.parametrize("algorithm", PAIRS)
@pytest.mark.parametrize("hashalg", HASHES)
def test_other_forms_of_a_signature(
    pairs: dict[str, KeyPair], algorithm: str, hashalg: str, openssh: Path
) -> None:
    pair = pairs[algorithm]
    differ = set()
    for form, (signature, expected) in rebuilt(pair.sign(DATA, hashalg=hashalg), algorithm).items():
        good = is_good(signature, pair)
        assert good == expected, form
        if good != accepts(pair.public(), DATA, signature, openssh):
            differ.add(form)
    # Older versions of OpenSSH don't read the first; the others are what some version accepts, and we never.
    assert differ <= {"CRLF", "junk after it", "reserved", "version 0", "zeros in front", "beyond the order"}


CHANGES: list[Callable[[random.Random, bytearray], None]] = [
    lambda rng, raw: raw.__setitem__(rng.randrange(len(raw)), rng.randrange(256)),
    lambda rng, raw: raw.__setitem__(
        rng.randrange(len(raw)), raw[rng.randrange(len(raw))] ^ 1 << rng.randrange(8)
    ),
    lambda rng, raw: raw.insert(rng.randrange(len(raw) + 1), rng.choice(b"\0\1\x7f\x80\xff \nA=")),
    lambda rng, raw: raw.__delitem__(rng.randrange(len(raw))),
    lambda rng, raw: raw.__delitem__(slice(rng.randrange(len(raw)), None)),
    lambda rng, raw: raw.extend(raw[rng.randrange(len(raw)) :]),
    lambda rng, raw: raw.insert(rng.randrange(len(raw) + 1), rng.choice(b" \t\r\n")),
]


@pytest.mark.parametrize("algorithm", PAIRS)
def test_changed_signatures_are_good_only_where_openssh_agrees(
    pairs: dict[str, KeyPair], algorithm: str, openssh: Path
) -> None:
    rng = random.Random(7)
    pair = pairs[algorithm]
    original = pair.sign(DATA)
    good = 0
    for count in range(400):
        raw = bytearray(original if count % 2 else unarmored(original))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if raw:
                rng.choice(CHANGES)(rng, raw)
        changed = bytes(raw) if count % 2 else armored(bytes(raw))
        if is_good(changed, pair):
            good += 1
            assert read_signatures(changed) == read_signatures(original)
            content = base64.b64decode(b"".join(changed.split()[3:-3]))
            assert accepts(pair.public(), DATA, armored(content), openssh)
    # Some of the changes are to white space.
    assert good > 5


def test_every_byte_of_a_signature_counts(pair: KeyPair) -> None:
    blob = unarmored(pair.sign(DATA))
    for position in range(len(blob)):
        for bit in (0x01, 0x80):
            changed = bytearray(blob)
            changed[position] ^= bit
            assert not is_good(armored(bytes(changed)), pair)


def test_key_off_its_curve_checks_nothing() -> None:
    """`read_keys` lets none of them in; should one get here all the same, it is told that nothing was checked."""
    blob = packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64)
    signature = armored_signature(blob, packed(b"ecdsa-sha2-nistp256", packed(b"\x01", b"\x01")))
    key = describe(SshKey(read_key_blob(blob), "off the curve"))
    verification = Verification(read_signatures(signature), {key.fingerprint: key})
    (result,) = verification.finish()
    assert (result.status, result.key, result.signing_fingerprint) == (Status.ERROR, key, None)


# Its life


def test_verification_ends_once(ed25519: KeyPair) -> None:
    verification = Verification(read_signatures(ed25519.sign(DATA)), {})
    verification.finish()
    with pytest.raises(RuntimeError):
        verification.finish()
    given_up = Verification(read_signatures(ed25519.sign(DATA)), {})
    given_up.close()
    with pytest.raises(RuntimeError):
        given_up.finish()


def test_nothing_is_calculated_for_signatures_by_strangers(ed25519: KeyPair) -> None:
    """In a process of its own: `cryptography` is not even imported, nor for OpenPGP at all."""
    signature = base64.b64encode(ed25519.sign(DATA)).decode()
    program = (
        "import base64, sys\n"
        "import acistore.trust.keystore, acistore.trust.check\n"
        "from acistore.trust.ssh.keys import looks_like_ssh, read_keys\n"
        "from acistore.trust.ssh.sshsig import read_signatures\n"
        "from acistore.trust.ssh.verify import Verification\n"
        f"signatures = read_signatures(base64.b64decode({signature!r}))\n"
        "verification = Verification(signatures, {})\n"
        "verification.feed(b'data')\n"
        "print(*verification.finish()[0].status.split(), 'cryptography' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["no", "public", "key", "False"]
