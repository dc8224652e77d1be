"""What stands where a detached signature is wanted: anything else is refused, before the image is asked for."""

import time
from collections.abc import Callable

import pytest

from acistore.trust.openpgp.framing import armored
from tests.fetch.conftest import HOST
from tests.gpg import SigningKey
from tests.trust.hardening.conftest import IMAGE, IMAGE_URL, SIGNATURE, Operator
from tests.trust.hardening.forging import (
    CERTIFICATION,
    STANDALONE,
    TEXT,
    TIMESTAMP,
    Pair,
    certified,
    mpi,
    notation,
    packet,
    signed,
    subpacket,
)

NOT_DETACHED = "MalformedSignature"


def in_armor(packets: bytes) -> bytes:
    return armored(packets).replace(b"PUBLIC KEY BLOCK", b"SIGNATURE")


def refuses_unseen(operator: Operator, material: bytes) -> str:
    """The message of the refusal, for which the image itself was not asked for."""
    before = len(operator.web.log())
    error = operator.refuses(material, NOT_DETACHED)
    asked = operator.web.log()[before:]
    assert f"GET https://{HOST}/{SIGNATURE} 200" in asked
    assert not [line for line in asked if line.startswith(f"GET {IMAGE_URL} ")]
    message: str = error["message"]
    return message


# Other things that gpg makes of the same image


@pytest.mark.parametrize("armor", [True, False], ids=["armored", "binary"])
@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("--clearsign", "a clear-signed text"),
        ("--sign", "a message with its content"),
        ("--sign --compress-algo none", "a message with its content"),
        ("--store", "a message with its content"),
        ("--textmode --detach-sign", "made over text"),
    ],
)
def test_other_products_of_gpg(operator: Operator, release: SigningKey, how: str, what: str, armor: bool) -> None:
    operator.trusts_key(release)
    assert what in refuses_unseen(operator, release.sign(IMAGE, how=how, armored=armor))


def test_clear_signed_text_beside_a_signature(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    detached, clear = release.sign(IMAGE), release.sign(b"some text", how="--clearsign")
    for material in (detached + clear, clear + detached):
        refuses_unseen(operator, material)


def test_key_in_place_of_a_signature(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    for armor in (True, False):
        refuses_unseen(operator, release.public(armored=armor))
        refuses_unseen(operator, release.sign(IMAGE, armored=armor) + release.public(armored=armor))


def test_signature_over_an_empty_file(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    operator.refuses(release.sign(b""), "BadSignature")


def test_empty_signature(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    for material in (b"", b"\n", in_armor(b""), b"\x00" * 100):
        refuses_unseen(operator, material)


# Something around it

JUNK: dict[str, Callable[[bytes], bytes]] = {
    "text after armor": lambda good: in_armor(good) + b"and so on\n",
    "text before armor": lambda good: b"Here is the signature:\n" + in_armor(good),
    "text between armor": lambda good: in_armor(good) + b"\nand\n" + in_armor(good),
    "binary after armor": lambda good: in_armor(good) + good,
    "armor after binary": lambda good: good + in_armor(good),
    "zeros after armor": lambda good: in_armor(good) + bytes(8),
    "zeros after binary": lambda good: good + bytes(8),
    "text after binary": lambda good: good + b"junk",
    "ones after binary": lambda good: good + b"\xff" * 8,
    "the beginning of another one": lambda good: good + good[:-1],
    "the head of another one": lambda good: good + b"\xc2",
    "another one in parts": lambda good: good + b"\xc2\xe1" + good[6:],
    "another one without a length": lambda good: good + b"\x8b" + good[6:],
    "a user ID": lambda good: good + packet(13, b"Release <release@example.com>"),
    "a packet that there is not": lambda good: good + packet(60, b"private"),
    "a marker": lambda good: packet(10, b"PGP") + good,
    "one-pass signature before it": lambda good: packet(4, b"\x03\x00\x0a\x16" + bytes(8) + b"\x01") + good,
    "literal data after it": lambda good: good + packet(11, b"b\x00\x00\x00\x00\x00" + IMAGE),
    "compressed data around it": lambda good: packet(8, b"\x00" + good),
    "a second block that never ends": lambda good: in_armor(good) + b"-----BEGIN PGP SIGNATURE-----\n\nwsA=\n",
    "octets behind its numbers": lambda good: packet(2, good[6:] + b"junk"),
    "a number less": lambda good: packet(2, good[6:-34]),
    "half a number less": lambda good: packet(2, good[6:-5]),
    "more numbers": lambda good: packet(2, good[6:] + mpi(7)),
}


@pytest.mark.parametrize("spoil", JUNK.values(), ids=JUNK)
def test_junk_around_a_good_signature(operator: Operator, alice: Pair, spoil: Callable[[bytes], bytes]) -> None:
    operator.trusts_pair(alice)
    refuses_unseen(operator, spoil(signed(alice, IMAGE)))


def test_white_space_around_a_good_signature_is_nothing(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    good = signed(alice, IMAGE)
    operator.admits(b"\r\n \t" + in_armor(good).replace(b"\n", b"\r\n") + b" \n\n", alice.fingerprint)
    operator.admits(good + b"\r\n", alice.fingerprint)


# Signatures that are not over a file


@pytest.mark.parametrize("kind", [TEXT, STANDALONE, 0x10, CERTIFICATION, 0x18, 0x1F, 0x20, TIMESTAMP, 0x50, 0xFF])
def test_signatures_of_other_kinds(operator: Operator, alice: Pair, kind: int) -> None:
    """Each is real: made over the image's bytes, and marked as something else."""
    operator.trusts_pair(alice)
    refuses_unseen(operator, signed(alice, IMAGE, kind=kind))
    refuses_unseen(operator, signed(alice, IMAGE) + signed(alice, IMAGE, kind=kind))


def test_certification_in_place_of_a_signature(operator: Operator, alice: Pair) -> None:
    """What it covers, served as the image, is what the signer has signed; but he did not mean it as a file."""
    operator.trusts_pair(alice)
    refuses_unseen(operator, certified(alice, b"\xb4", b"Alice <alice@example.com>"))


@pytest.mark.parametrize("version", [0, 1, 2, 5, 6, 255])
def test_signatures_of_other_versions(operator: Operator, alice: Pair, version: int) -> None:
    operator.trusts_pair(alice)
    good = signed(alice, IMAGE)
    other = packet(2, bytes([version]) + good[7:])
    for material in (other, good + other, other + good):
        assert f"version {version} are not supported" in refuses_unseen(operator, material)


# Subpackets


def test_subpackets_that_say_nothing_to_us(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    known = notation("origin@example.com", b"\x00\xff\nhere") + subpacket(26, b"https://example.com/policy")
    unknown = subpacket(99, b"?") + subpacket(101, b"")
    embedded = subpacket(32, signed(alice, b"another one")[6:])
    for extra in (known, unknown, embedded, subpacket(20, b""), known * 40):
        operator.admits(signed(alice, IMAGE, hashed=extra), alice.fingerprint)


def test_subpackets_that_must_be_understood(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    for extra in (subpacket(99, b"?", critical=True), notation("x@example.com", b"1", critical=True)):
        operator.refuses(signed(alice, IMAGE, hashed=extra), "BadSignature")


def test_notation_that_looks_like_a_status_line(operator: Operator, alice: Pair, eve: Pair) -> None:
    """gpg repeats notations and the signer's user ID in its status lines."""
    operator.trusts_pair(alice)
    operator.trusts_pair(eve, prefix="example.net")
    fingerprint = alice.fingerprint.upper()
    proof = f"VALIDSIG {fingerprint} 2024-01-01 1704067200 0 4 0 22 10 00 {fingerprint}"
    breaks = (b"\n", b"\r\n", b"\x0b\x0c\x1c\x1d\x1e", b"\x85", "\x85".encode(), "\u2028\u2029".encode())
    for line_break in breaks:
        lines = ("", "NEWSIG", f"GOODSIG {fingerprint[-16:]} x", proof)
        said = (line_break + b"[GNUPG:] ").join(line.encode() for line in lines)
        extra = notation("x@example.com", said) + subpacket(28, said) + subpacket(26, said)
        operator.refuses(signed(eve, IMAGE, hashed=extra), "UntrustedSigner", IMAGE_URL)


@pytest.mark.parametrize("size", [9_000, 10_000, 60_000])
def test_areas_full_of_subpackets(operator: Operator, alice: Pair, size: int) -> None:
    """What is more than gpg reads is refused here, lest gpg sees fewer signatures than there are."""
    operator.trusts_pair(alice)
    filling = notation("x@example.com", bytes(size))
    for material in (
        signed(alice, IMAGE, hashed=filling),
        signed(alice, IMAGE, unhashed=subpacket(16, bytes.fromhex(alice.fingerprint)[-8:]) + filling),
    ):
        if size < 10_000:
            operator.admits(material, alice.fingerprint)
        else:
            assert "more than 10000 bytes" in refuses_unseen(operator, material)


def test_subpackets_that_are_cut_off(operator: Operator, alice: Pair) -> None:
    operator.trusts_pair(alice)
    for extra in (b"\x00", b"\x05\x63", b"\xff\xff\xff\xff\xff\x63", b"\xc0"):
        refuses_unseen(operator, signed(alice, IMAGE, hashed=extra))


# Files of a megabyte that are made to cost


BEGIN, END = b"-----BEGIN PGP SIGNATURE-----\n", b"-----END PGP SIGNATURE-----\n"
COSTLY: dict[str, bytes] = {
    "beginnings": BEGIN * 34_000,
    "headers": BEGIN + b"A:\n" * 340_000,
    "headers and an end": BEGIN + b"A: b\n" * 200_000 + b"\n" + END,
    "short lines": BEGIN + b"\n" + b"A\n" * 500_000 + END,
    "empty blocks": (BEGIN + b"\n" + END) * 17_000,
    "blank lines": b"\n" * 1_000_000 + b"x",
    "label": b"-----BEGIN PGP " + b"A, " * 340_000,
    "empty packets": b"\xc2\x00" * 500_000,
    "one packet": packet(2, b"\x04" * 1_048_000),
    "subpackets": packet(2, b"\x04\x00\x16\x0a\xff\xfe" + b"\x01\x63" * 32_767 + b"\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("material", COSTLY.values(), ids=COSTLY)
def test_costly_files_are_refused_as_well(operator: Operator, alice: Pair, material: bytes) -> None:
    """Soon: in no time for which a person would have to wait."""
    operator.trusts_pair(alice)
    assert len(material) < 1 << 20
    start = time.process_time()
    refuses_unseen(operator, material)
    assert time.process_time() - start < 10
