"""OpenPGP bytes taken apart: what counts as a detached signature and as a public key, and what doesn't."""

import base64
import logging
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.errors import KeyRefused, MalformedSignature
from acistore.trust.openpgp.framing import armored
from acistore.trust.openpgp.packets import KeyBlock, Signature, read_key_blocks, read_signatures
from tests.gpg import KeyMaker, SigningKey

DATA = b"an image"


def old_packet(tag: int, body: bytes) -> bytes:
    return bytes([0x80 | tag << 2 | 2]) + len(body).to_bytes(4, "big") + body


def new_packet(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 192:
        return bytes([0xC0 | tag, size]) + body
    if size < 8384:
        return bytes([0xC0 | tag, (size - 192 >> 8) + 192, (size - 192) & 0xFF]) + body
    return bytes([0xC0 | tag, 255]) + size.to_bytes(4, "big") + body


def signature_body(
    *, kind: int = 0, digest: int = 10, hashed: bytes = b"", unhashed: bytes = b"", version: int = 4
) -> bytes:
    areas = len(hashed).to_bytes(2, "big") + hashed + len(unhashed).to_bytes(2, "big") + unhashed
    return bytes([version, kind, 22, digest]) + areas + b"\x00\x00" + b"\x00\x08\xff" * 2


def refusal_of_signature(material: bytes) -> str:
    with pytest.raises(MalformedSignature) as caught:
        read_signatures(material)
    return caught.value.message


def refusal_of_key(material: bytes) -> str:
    with pytest.raises(KeyRefused) as caught:
        read_key_blocks(material)
    return caught.value.message


@pytest.fixture(scope="module")
def signed(release: SigningKey) -> bytes:
    return release.sign(DATA, armored=False)


def test_signature_says_who_when_and_how(release: SigningKey) -> None:
    material = release.sign(DATA, digest="SHA384", at="20240229T120000", expires="10d")
    (signature,) = read_signatures(material)
    assert signature.fingerprint == release.fingerprint
    assert signature.key_id == release.fingerprint[-16:]
    assert signature.digest == "SHA384"
    assert signature.created_at == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert signature.expires_at == datetime(2024, 3, 10, 12, tzinfo=UTC)
    assert signature.claims(release.fingerprint)


def test_armored_and_binary_signatures_are_the_same(release: SigningKey) -> None:
    armored_signature = release.sign(DATA, at="20240229T120000")
    binary = base64.b64decode(b"".join(armored_signature.split(b"\n\n")[1].splitlines()[:-2]))
    assert read_signatures(armored_signature) == read_signatures(binary)


@pytest.mark.parametrize("around", [b"", b"\n", b" \t\r\n\r\n"])
def test_white_space_around_signatures_is_nothing(release: SigningKey, signed: bytes, around: bytes) -> None:
    text = release.sign(DATA)
    assert len(read_signatures(around + text + around + text + around)) == 2
    assert len(read_signatures(around + signed + around)) == 1
    assert read_signatures(text.replace(b"\n", b"\r\n")) == read_signatures(text)


def test_several_signatures_in_one_block_or_in_several(
    release: SigningKey, other: SigningKey, signed: bytes
) -> None:
    second = other.sign(DATA, armored=False)
    one_block = armored(signed + second).replace(b"PUBLIC KEY BLOCK", b"SIGNATURE")
    two_blocks = b"".join(armored(one).replace(b"PUBLIC KEY BLOCK", b"SIGNATURE") for one in (signed, second))
    for material in (signed + second, one_block, two_blocks):
        issuers = [signature.fingerprint for signature in read_signatures(material)]
        assert issuers == [release.fingerprint, other.fingerprint]


def test_both_forms_of_packet_length_are_read() -> None:
    for size in (0, 200, 9000):
        notation = b"\xff" + (size + 1).to_bytes(4, "big") + bytes([20]) + b"n" * size
        body = signature_body(hashed=notation)
        old, new = read_signatures(old_packet(2, body)), read_signatures(new_packet(2, body))
        assert [old[0].digest, new[0].digest] == ["SHA512", "SHA512"]
    (short,) = read_signatures(bytes([0x88, len(signature_body())]) + signature_body())
    assert short.digest == "SHA512"


def test_issuer_known_by_key_id_alone() -> None:
    key_id = bytes.fromhex("0123456789abcdef")
    (signature,) = read_signatures(new_packet(2, signature_body(unhashed=b"\x09\x10" + key_id)))
    assert (signature.fingerprint, signature.key_id) == (None, "0123456789abcdef")
    assert signature.claims("f" * 24 + "0123456789abcdef")
    assert not signature.claims("0123456789abcdef" + "f" * 24)


def test_signature_of_version_3() -> None:
    body = b"\x03\x05\x00" + (1577836800).to_bytes(4, "big") + bytes.fromhex("0123456789abcdef") + b"\x01\x02"
    (signature,) = read_signatures(old_packet(2, body + b"\x00\x00" + b"\x00\x08\xff"))
    assert (signature.key_id, signature.digest) == ("0123456789abcdef", "SHA1")
    assert signature.created_at == datetime(2020, 1, 1, tzinfo=UTC)


def test_signature_by_nobody_is_read_and_fits_no_key() -> None:
    (signature,) = read_signatures(new_packet(2, signature_body()))
    assert (signature.fingerprint, signature.key_id, signature.created_at) == (None, None, None)
    assert not signature.claims("0" * 40)


def test_signed_part_of_a_signature_beats_the_unsigned_one() -> None:
    signed_issuer = b"\x16\x21\x04" + b"\x11" * 20
    unsigned_issuer = b"\x16\x21\x04" + b"\x22" * 20
    (signature,) = read_signatures(new_packet(2, signature_body(hashed=signed_issuer, unhashed=unsigned_issuer)))
    assert signature.fingerprint == "11" * 20


@pytest.mark.parametrize(
    ("material", "problem"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"<html>404</html>", "there is none in it"),
        (b"\x00\x01\x02", "there is none in it"),
        (b"\xff" * 50, "it is cut off"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n", "it is cut off"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nA!AA\n-----END PGP SIGNATURE-----\n", "its armor is damaged"),
        (b"-----BEGIN PGP SIGNATURE-----\nwAA=\n-----END PGP SIGNATURE-----\n", "no empty line"),
        (b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", "it is empty"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nwAA=\n=AAAA\n-----END PGP SIGNATURE-----\n", "checksum"),
        (new_packet(2, signature_body(version=6)), "version 6 are not supported"),
        (new_packet(2, signature_body(kind=0x10)), "type 0x10"),
        (new_packet(2, signature_body(kind=0x01)), "made over text"),
        (new_packet(2, signature_body(hashed=b"\x00")), "a subpacket is empty"),
        (new_packet(2, signature_body(hashed=b"\x09\x02")), "it is cut off"),
        (new_packet(2, b""), "it is cut off"),
        (new_packet(2, b"\x04\x00"), "it is cut off"),
        (new_packet(13, b"somebody"), "a packet of type 13"),
        (new_packet(11, b"b\x00\x00\x00\x00\x00data"), "a message with its content"),
        (b"\xa3\x01", "a message with its content"),
        (b"\x8b\x04", "a packet has no length"),
        (b"\xc2\xe1\x04\x00", "comes in parts"),
    ],
)
def test_anything_but_a_detached_signature_is_refused(material: bytes, problem: str) -> None:
    message = refusal_of_signature(material)
    assert message.startswith("not a detached OpenPGP signature: ")
    assert problem in message


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("--clearsign", "it is a clear-signed text"),
        ("--sign", "it is a message with its content"),
        ("--textmode --detach-sign", "it is made over text"),
    ],
)
@pytest.mark.parametrize("armor", [True, False])
def test_other_products_of_gpg_are_refused_by_name(
    release: SigningKey, how: str, problem: str, armor: bool
) -> None:
    assert problem in refusal_of_signature(release.sign(DATA, how=how, armored=armor))


def test_key_in_place_of_a_signature_is_refused(release: SigningKey) -> None:
    assert "it is a public key" in refusal_of_signature(release.public())
    assert "a packet of type 6" in refusal_of_signature(release.public(armored=False))


def test_junk_around_signatures_is_refused(release: SigningKey, signed: bytes) -> None:
    text = release.sign(DATA)
    assert "something else before it" in refusal_of_signature(b"junk\n" + text)
    assert "something else after it" in refusal_of_signature(text + b"junk\n")
    assert "something else before it" in refusal_of_signature(text + b"junk\n" + text)
    assert "something else after it" in refusal_of_signature(signed + b"junk")
    assert "something else after it" in refusal_of_signature(signed + b"\n" + signed)
    assert "a packet of type 13" in refusal_of_signature(signed + new_packet(13, b"x"))


def test_every_truncation_of_a_signature_is_refused(signed: bytes) -> None:
    for size in range(len(signed)):
        with pytest.raises(MalformedSignature):
            read_signatures(signed[:size])


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda body: new_packet(2, b"\x04\x00" + body)))
def test_any_bytes_are_signatures_or_refused(material: bytes) -> None:
    with suppress(MalformedSignature):
        assert all(isinstance(signature, Signature) for signature in read_signatures(material))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda body: new_packet(6, b"\x04" + body)))
def test_any_bytes_are_keys_or_refused(material: bytes) -> None:
    with suppress(KeyRefused):
        assert all(isinstance(block, KeyBlock) for block in read_key_blocks(material))


@given(st.binary(min_size=1, max_size=60))
def test_armor_gives_back_what_was_put_in(body: bytes) -> None:
    packets = new_packet(6, b"\x04\x00\x00\x00\x00\x63" + body)  # of an algorithm that there is not
    (block,) = read_key_blocks(armored(packets))
    assert block.packets == packets
    assert block.as_file == armored(packets)


def test_our_armor_is_read_by_gpg(maker: KeyMaker, release: SigningKey) -> None:
    (block,) = read_key_blocks(release.public(armored=False))
    assert release.fingerprint.upper().encode() in maker.gpg("--show-keys", "--with-colons", stdin=block.as_file)


def test_armored_and_binary_keys_are_the_same(release: SigningKey) -> None:
    (block,) = read_key_blocks(release.public())
    assert (block,) == read_key_blocks(release.public(armored=False))
    assert block.fingerprint == release.fingerprint


def test_subkeys_belong_to_their_key(maker: KeyMaker) -> None:
    key = maker.key("Subkeys <subkeys@example.com>")
    subkeys = (key.add_subkey(), key.add_subkey(algorithm="rsa2048", usage="encr"))
    (block,) = read_key_blocks(key.public())
    assert (block.fingerprint, block.subkeys) == (key.fingerprint, subkeys)


def test_file_with_several_keys(release: SigningKey, other: SigningKey) -> None:
    both = [release.fingerprint, other.fingerprint]
    binary = release.public(armored=False) + other.public(armored=False)
    listing = b"pub ed25519\n" + release.public() + b"\nand another one\n" + other.public() + b"the end\n"
    for material in (binary, listing, armored(binary), release.public() + other.public()):
        assert [block.fingerprint for block in read_key_blocks(material)] == both
    assert len(read_key_blocks(release.public() + release.public())) == 1


def test_notes_of_gpg_between_packets_are_left_out(release: SigningKey) -> None:
    binary = release.public(armored=False)
    assert read_key_blocks(binary + new_packet(12, b"trust")) == read_key_blocks(binary)


def test_secret_key_is_refused_loudly(release: SigningKey, other: SigningKey) -> None:
    assert "SECRET" in refusal_of_key(release.secret())
    assert "SECRET" in refusal_of_key(other.public() + release.secret())
    assert "SECRET" in refusal_of_key(new_packet(5, b"\x04"))


def test_keys_of_other_versions_are_left_out(release: SigningKey, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "acistore.trust")
    new_key = new_packet(6, b"\x06" + b"x" * 40)
    (block,) = read_key_blocks(new_key + release.public(armored=False))
    assert block.fingerprint == release.fingerprint
    assert "version 6" in caplog.text
    assert "there is no key in it" in refusal_of_key(new_key)


@pytest.mark.parametrize(
    ("material", "problem"),
    [
        (b"", "there is no key in it"),
        (b"ssh-ed25519 AAAA me", "there is none in it"),
        (new_packet(2, signature_body()), "it is a signature"),
        (new_packet(13, b"x"), "a packet of type 13"),
        (new_packet(6, b"\x04" + b"x" * 70000), "a key is too large"),
    ],
)
def test_what_is_no_key_is_refused(material: bytes, problem: str) -> None:
    assert problem in refusal_of_key(material)


def test_signature_in_place_of_a_key_is_refused(release: SigningKey) -> None:
    assert "it is a signature" in refusal_of_key(release.sign(DATA))


# Numbers of keys

PRIME, ORDER = (1 << 2047) + 9, (1 << 255) + 95  # odd, and of these lengths: nobody asks whether they are prime
RSA, ELGAMAL, DSA = 1, 16, 17


def number(value: int) -> bytes:
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def key_of(algorithm: int, *numbers: int) -> bytes:
    return new_packet(6, b"\x04\x00\x00\x00\x01" + bytes([algorithm]) + b"".join(map(number, numbers)))


@pytest.mark.parametrize(
    "key",
    [
        key_of(RSA, PRIME, 65537),
        key_of(RSA, PRIME, 3),
        key_of(RSA, (1 << 10239) + 1, (1 << 32) - 1),
        key_of(RSA, (1 << 16383) + 1, 65537),
        key_of(DSA, PRIME, ORDER, 4, 5),
        key_of(DSA, (1 << 4095) + 1, ORDER, PRIME, PRIME),
        key_of(ELGAMAL, PRIME, 2, 5),
        key_of(ELGAMAL, PRIME, PRIME - 1, PRIME - 1),
    ],
)
def test_numbers_of_usual_keys(key: bytes) -> None:
    assert len(read_key_blocks(key)) == 1


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (key_of(RSA, PRIME, (1 << 32) + 1), "RSA exponent is too large, with 33 bits of at most 32"),
        (key_of(RSA, PRIME, PRIME - 2), "RSA exponent is too large, with 2048 bits"),
        (key_of(2, PRIME, PRIME - 2), "RSA exponent is too large"),
        (key_of(3, PRIME, PRIME - 2), "RSA exponent is too large"),
        (key_of(RSA, (1 << 10240) + 1, (1 << 17) + 1), "RSA exponent is too large, with 18 bits of at most 17"),
        (key_of(RSA, (1 << 16384) + 1, 65537), "RSA modulus is too large"),
        (key_of(DSA, (1 << 4096) + 1, ORDER, 4, 5), "DSA prime is too large"),
        (key_of(DSA, PRIME, (1 << 256) + 1, 4, 5), "DSA subgroup is too large"),
        (key_of(ELGAMAL, (1 << 16384) + 1, 2, 5), "ElGamal prime is too large"),
        *((key_of(RSA, PRIME, exponent), "can't be right") for exponent in (0, 1, 2, 65536)),
        (key_of(RSA, PRIME - 1, 65537), "can't be right"),
        (key_of(RSA, 0, 3), "can't be right"),
        (key_of(RSA, 3, 3), "can't be right"),
        *((key_of(DSA, PRIME, ORDER, value, 5), "can't be right") for value in (0, 1, PRIME)),
        *((key_of(DSA, PRIME, ORDER, 4, value), "can't be right") for value in (0, 1, PRIME + 2)),
        *((key_of(DSA, PRIME, value, 4, 5), "can't be right") for value in (0, ORDER - 1)),
        (key_of(DSA, PRIME - 1, ORDER, 4, 5), "can't be right"),
        (key_of(DSA, ORDER, ORDER, 4, 5), "can't be right"),
        (key_of(ELGAMAL, PRIME, 0, 5), "can't be right"),
        (key_of(ELGAMAL, PRIME, 2, PRIME), "can't be right"),
    ],
)
def test_numbers_that_cost_too_much_or_can_t_be_right(
    release: SigningKey, caplog: pytest.LogCaptureFixture, key: bytes, problem: str
) -> None:
    """As a subkey just like as a primary key."""
    assert problem in refusal_of_key(key)
    binary = release.public(armored=False)
    (block,) = read_key_blocks(key + binary)
    assert block.fingerprint == release.fingerprint
    caplog.clear()
    tag = 0x80 | 14 << 2 if not key[0] & 0x40 else 0xC0 | 14
    assert problem in refusal_of_key(binary + bytes([tag]) + key[1:])
    assert f"OpenPGP key {release.fingerprint} is left out: " in caplog.text


@given(st.integers(0, 1 << 300), st.integers(0, 1 << 40), st.integers(0, 1 << 300), st.integers(0, 1 << 300))
def test_any_numbers_end_in_a_key_or_a_refusal(one: int, two: int, three: int, four: int) -> None:
    for key in (key_of(RSA, one, two), key_of(DSA, one, two, three, four), key_of(ELGAMAL, one, two, three)):
        with suppress(KeyRefused):
            (block,) = read_key_blocks(key)
            assert block.packets == key
