"""SSH signatures taken apart: what counts as a detached signature for images, and what doesn't."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acistore.errors import MalformedSignature
from acistore.trust.signatures import Signature
from acistore.trust.ssh.sshsig import SshSignature, is_signature, read_signatures
from tests.gpg import SigningKey
from tests.ssh import armored, armored_signature, number, packed, unarmored, unpacked
from tests.trust.ssh.conftest import KeyPair

DATA = b"an image"

ED25519 = packed(b"ssh-ed25519", b"\x09" * 32)
PROOF = packed(b"ssh-ed25519", b"\x01" * 64)
NISTP256 = packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64)
SK_ED25519 = packed(b"sk-ssh-ed25519@openssh.com", b"\x09" * 32, b"ssh:")


def rsa_blob(modulus: int, exponent: int = 65537) -> bytes:
    return packed(b"ssh-rsa", number(exponent), number(modulus))


def ecdsa_proof(*factors: bytes) -> bytes:
    return packed(b"ecdsa-sha2-nistp256", packed(*factors))


def refusal(material: bytes) -> MalformedSignature:
    with pytest.raises(MalformedSignature) as caught:
        read_signatures(material)
    assert caught.value.message.startswith("not a detached SSH signature for images: ")
    return caught.value


def test_signature_says_who_and_how(pair: KeyPair) -> None:
    for hashalg, digest in (("sha256", "SHA256"), ("sha512", "SHA512")):
        (read,) = read_signatures(pair.sign(DATA, hashalg=hashalg))
        signature: Signature = read
        assert signature.scheme == "ssh"
        assert signature.fingerprint == pair.fingerprint
        assert signature.digest == digest
        assert (signature.key_id, signature.created_at, signature.expires_at) == (None, None, None)
        assert signature.claims(pair.fingerprint)
        assert not signature.claims(pair.fingerprint[:40])
        assert not signature.claims(pair.fingerprint[-16:])


def test_sha1_is_told_whatever_the_data_is_hashed_with() -> None:
    proof = packed(b"ssh-rsa", b"\x01" * 256)
    (signature,) = read_signatures(armored_signature(rsa_blob(2**2047 + 1), proof))
    assert signature.digest == "SHA1"


@pytest.mark.parametrize("around", [b"", b"\n", b" \t\r\n\r\n"])
def test_white_space_around_and_in_armor_is_nothing(ed25519: KeyPair, around: bytes) -> None:
    signature = ed25519.sign(DATA)
    read = read_signatures(signature)
    assert read_signatures(around + signature + around) == read
    assert read_signatures(signature.replace(b"\n", b"\r\n")) == read
    one_line = base64.b64encode(unarmored(signature))
    assert (
        read_signatures(signature.split(b"\n")[0] + b"\n" + one_line + b"\n" + signature.split(b"\n")[-2]) == read
    )
    assert is_signature(around + signature)


def test_several_blocks_one_after_another(ed25519: KeyPair, rsa: KeyPair) -> None:
    for between in (b"", b"\n", b"\r\n \n"):
        both = ed25519.sign(DATA) + between + rsa.sign(DATA)
        assert [one.fingerprint for one in read_signatures(both)] == [ed25519.fingerprint, rsa.fingerprint]


def test_signatures_are_bounded_in_number() -> None:
    one = armored_signature(ED25519, PROOF)
    assert len(read_signatures(one * 100)) == 100
    assert "more than 100 signatures" in refusal(one * 101).message


def test_openpgp_is_refused_by_name(release: SigningKey) -> None:
    for armor in (True, False):
        material = release.sign(DATA, armored=armor)
        assert not is_signature(material)
        assert "it is OpenPGP" in refusal(material).message


def test_other_namespace_is_told_with_the_command_to_sign(ed25519: KeyPair) -> None:
    error = refusal(ed25519.sign(DATA, namespace="file"))
    assert 'made for the namespace "file", not for "acistore"' in error.message
    assert error.next_step == "ssh-keygen -Y sign -n acistore -f KEYFILE IMAGE"


@pytest.mark.parametrize("namespace", ["", "acistore\0", "ACISTORE", "acistore ", "acistore,file", "x" * 5000])
def test_namespace_is_the_very_word(namespace: str) -> None:
    error = refusal(armored_signature(ED25519, PROOF, namespace=namespace))
    assert "namespace" in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("material", "problem"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"<html>404</html>", "there is none in it"),
        (b"SSHSIG\x00\x00\x00\x01", "there is none in it"),
        (b"ssh-ed25519 AAAA me", "there is none in it"),
        (b"-----BEGIN SSH SIGNATURE-----", "it is cut off"),
        (b"-----BEGIN SSH SIGNATURE-----\nAAAA\n", "it is cut off"),
        (b"-----BEGIN SSH SIGNATURE-----\nAAAA-----END SSH SIGNATURE-----\n", "it is cut off"),
        (b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", "something else in it"),
        (b"-----BEGIN SSH SIGNATURE-----\nA!AA\n-----END SSH SIGNATURE-----\n", "Base64 is damaged"),
        (b"-----BEGIN SSH SIGNATURE-----\nAAA\n-----END SSH SIGNATURE-----\n", "Base64 is damaged"),
        (b"-----BEGIN SSH SIGNATURE-----\nAB==\n-----END SSH SIGNATURE-----\n", "Base64 is damaged"),
        (b"-----BEGIN SSH SIGNATURE-----\nAA==AAAA\n-----END SSH SIGNATURE-----\n", "Base64 is damaged"),
        (b"-----BEGIN SSH SIGNATURE----- x\nAAAA\n-----END SSH SIGNATURE-----\n", "first or the last line"),
        (b"-----BEGIN SSH SIGNATURE-----\n" + b"A" * 100000 + b"\n-----END SSH SIGNATURE-----\n", "too large"),
        (armored(b"SSHSIG"), "it is cut off"),
        (armored(b"SSHSIX\x00\x00\x00\x01"), "something else in it"),
        (armored_signature(ED25519, PROOF, version=0), "version 0 of the format"),
        (armored_signature(ED25519, PROOF, version=2), "version 2 of the format"),
        (armored_signature(ED25519, PROOF, hashalg="sha1"), '"sha1" is not supported'),
        (armored_signature(ED25519, PROOF, hashalg="SHA512"), '"SHA512" is not supported'),
        (armored_signature(ED25519, PROOF, reserved=b"x"), "field that is reserved"),
        (armored(unarmored(armored_signature(ED25519, PROOF)) + b"\0"), "more than belongs there"),
        (armored_signature(b"", PROOF), "it is cut off"),
        (armored_signature(ED25519 + b"\0", PROOF), "more than belongs there"),
        (armored_signature(packed(b"ssh-ed25519", b"\x09" * 31), PROOF), "not 32 bytes long"),
        (armored_signature(packed(b"ssh-dss", b"\x09"), PROOF), "DSA key"),
        (armored_signature(packed(b"ssh-ed448", b"\x09" * 57), PROOF), 'type "ssh-ed448", which is not supported'),
        (armored_signature(packed(b"ssh-ed25519-cert-v01@openssh.com", b"nonce"), PROOF), "certificate"),
        (armored_signature(ED25519, b""), "it is cut off"),
        (armored_signature(ED25519, PROOF + b"\0"), "more than belongs there"),
        (armored_signature(ED25519, packed(b"ssh-ed25519", b"\x01" * 63)), "not 64 bytes long"),
        (armored_signature(ED25519, packed(b"ssh-rsa", b"\x01" * 64)), "not how a key of type ssh-ed25519 signs"),
        (armored_signature(NISTP256, PROOF), "not how a key of type ecdsa-sha2-nistp256 signs"),
        (armored_signature(SK_ED25519, packed(b"sk-ssh-ed25519@openssh.com", b"\x01" * 64)), "it is cut off"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x01")), "it is cut off"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x01", b"\x01", b"\x01")), "more than belongs there"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x01", b"")), "not above zero"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x80", b"\x01")), "not above zero"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x00\x01", b"\x01")), "needless zeros"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x01", b"\x00")), "needless zeros"),
        (armored_signature(NISTP256, ecdsa_proof(b"\x01" * 67, b"\x01")), "too large"),
    ],
)
def test_anything_but_a_detached_signature_is_refused(material: bytes, problem: str) -> None:
    assert problem in refusal(material).message


def test_what_webauthn_signs_is_refused() -> None:
    key = packed(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + b"\x01" * 64, b"ssh:")
    proof = packed(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com", packed(b"\x01", b"\x01")) + b"\x01\0\0\0\1"
    assert "is not how a key of type" in refusal(armored_signature(key, proof)).message


def test_junk_around_signatures_is_refused(ed25519: KeyPair) -> None:
    signature = ed25519.sign(DATA)
    assert "something else before it" in refusal(b"junk\n" + signature).message
    assert "something else after it" in refusal(signature + b"junk").message
    assert "something else after it" in refusal(signature + b"junk\n" + signature).message
    assert "something else after it" in refusal(signature + b"\0").message
    assert "first or the last line" in refusal(signature.rstrip() + signature).message


def test_every_truncation_of_a_signature_is_refused(pair: KeyPair) -> None:
    signature = pair.sign(DATA)
    blob = unarmored(signature)
    for size in range(len(blob)):
        refusal(armored(blob[:size]))
    for size in range(len(signature.rstrip())):
        refusal(signature[:size])


def test_lengths_beyond_the_end_are_refused(pair: KeyPair) -> None:
    blob = unarmored(pair.sign(DATA))
    position = len(b"SSHSIG") + 4
    while position < len(blob):
        length = int.from_bytes(blob[position : position + 4], "big")
        for wrong in (0xFFFFFFFF, 0x7FFFFFFF, length + 1, length - 1 if length else 1):
            refusal(armored(blob[:position] + wrong.to_bytes(4, "big") + blob[position + 4 :]))
        position += 4 + length


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda rest: armored(b"SSHSIG\0\0\0\1" + rest))
    | st.binary(max_size=200).map(lambda key: armored_signature(key, PROOF))
    | st.binary(max_size=200).map(lambda proof: armored_signature(ED25519, proof))
    | st.binary(max_size=200).map(lambda content: armored_signature(NISTP256, ecdsa_proof(content)))
    | st.lists(st.binary(max_size=40), max_size=6).map(lambda fields: armored(b"SSHSIG\0\0\0\1" + packed(*fields)))
)
def test_any_bytes_are_signatures_or_refused(material: bytes) -> None:
    with suppress(MalformedSignature):
        assert all(isinstance(signature, SshSignature) for signature in read_signatures(material))


@given(
    value=st.binary(max_size=300),
    factors=st.tuples(st.integers(1, 2**521 - 1), st.integers(1, 2**521 - 1)),
    flags=st.integers(0, 255),
    counter=st.integers(0, 2**32 - 1),
)
def test_fields_are_read_as_they_were_written(
    value: bytes, factors: tuple[int, int], flags: int, counter: int
) -> None:
    proof = packed(b"rsa-sha2-256", value)
    (by_rsa,) = read_signatures(armored_signature(rsa_blob(2**2047 + 1), proof, hashalg="sha256"))
    assert (by_rsa.proof.algorithm, by_rsa.proof.value, by_rsa.data_digest) == ("rsa-sha2-256", value, "SHA256")
    (by_ecdsa,) = read_signatures(armored_signature(NISTP256, ecdsa_proof(*map(number, factors))))
    assert by_ecdsa.proof.factors == factors
    told = bytes([flags]) + counter.to_bytes(4, "big")
    key = packed(b"sk-ssh-ed25519@openssh.com", b"\x09" * 32, b"ssh:")
    proof = packed(b"sk-ssh-ed25519@openssh.com", b"\x01" * 64)
    (by_token,) = read_signatures(armored_signature(key, proof + told))
    assert (by_token.proof.flags, by_token.proof.counter) == (flags, counter)


def test_what_openssh_writes_is_written_the_same_here(ed25519: KeyPair) -> None:
    signature = ed25519.sign(DATA)
    key, _, _, _, proof = unpacked(unarmored(signature)[10:])
    assert armored_signature(key, proof) == signature
