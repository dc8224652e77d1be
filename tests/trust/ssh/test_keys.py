"""SSH key files: what counts as a public key, and what is refused, how loudly."""

import base64
import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from hypothesis import example, given
from hypothesis import strategies as st

from acistore.errors import KeyRefused
from acistore.trust.keys import KeyBlock
from acistore.trust.ssh.keys import SshKey, describe, looks_like_ssh, read_keys
from tests.gpg import SigningKey
from tests.programs import program
from tests.ssh import SecurityKey, SshKeyMaker, number, packed, reads, run
from tests.trust.ssh.conftest import KeyPair

SIZES = {"ed25519": 256, "nistp256": 256, "nistp384": 384, "nistp521": 521, "rsa": 2048}
SIZES |= {"sk-ed25519": 256, "sk-nistp256": 256}

P = 2**255 - 19

UNUSED = ec.generate_private_key(ec.SECP256R1())


def line(blob: bytes, name: bytes | None = None, comment: bytes = b"me") -> bytes:
    if name is None:
        name = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
    return b" ".join([name, base64.b64encode(blob), comment]) + b"\n"


def blob_of(public: bytes) -> bytes:
    return base64.b64decode(public.split()[1])


def refusal(material: bytes) -> KeyRefused:
    with pytest.raises(KeyRefused) as caught:
        read_keys(material)
    return caught.value


def rsa_line(modulus: int, exponent: int = 65537) -> bytes:
    return line(packed(b"ssh-rsa", number(exponent), number(modulus)))


def ed25519_line(y: int, sign: int = 0) -> bytes:
    return line(packed(b"ssh-ed25519", (y | sign << 255).to_bytes(32, "little")))


@pytest.mark.parametrize("algorithm", SIZES)
def test_key_as_it_is_described(pairs: dict[str, KeyPair], algorithm: str) -> None:
    pair = pairs[algorithm]
    (key,) = read_keys(pair.public())
    known = describe(key)
    assert (known.algorithm, known.bits) == (algorithm, SIZES[algorithm])
    assert known.fingerprint == pair.fingerprint
    assert known.user_id == pair.public().split()[2].decode()
    assert (known.created_at, known.expires_at, known.expired, known.revoked) == (None, None, False, False)
    assert not known.is_weak(known.fingerprint)


def test_key_in_its_own_file_is_the_same_key(pair: KeyPair) -> None:
    (key,) = read_keys(pair.public())
    block: KeyBlock = key
    assert (block.scheme, block.subkeys) == ("ssh", ())
    assert block.as_file == pair.public()
    assert read_keys(block.as_file) == (key,)
    assert len({key, *read_keys(pair.public())}) == 1


def test_short_rsa_keys_are_weak_and_those_below_openssh_s_limit_are_none(weak_rsa: KeyPair) -> None:
    (key,) = read_keys(weak_rsa.public())
    assert describe(key).bits == 1024
    assert describe(key).is_weak(key.fingerprint)
    assert "too short" in refusal(rsa_line(2**1022 + 1)).message


def test_file_with_several_keys_blank_lines_and_remarks(ed25519: KeyPair, rsa: KeyPair) -> None:
    material = b"# release keys\r\n\n  " + ed25519.public() + b"\t# and another\n\t" + rsa.public().strip()
    for _ in range(2):
        assert [key.fingerprint for key in read_keys(material)] == [ed25519.fingerprint, rsa.fingerprint]
        material = material.replace(b"\n", b"\r\n")


def test_same_key_twice_counts_once(ed25519: KeyPair) -> None:
    words = ed25519.public().split()
    (key,) = read_keys(b" ".join([*words[:2], b"first"]) + b"\n" + b"\t".join([*words[:2], b"second\n"]))
    assert key.comment == "first"


def test_keys_are_bounded_in_number() -> None:
    lines = [SecurityKey(on_nist=UNUSED).public() for _ in range(101)]
    assert len(read_keys(b"".join(lines[:100] * 2))) == 100
    assert "more than 100 keys" in refusal(b"".join(lines)).message


@pytest.mark.parametrize(
    ("comment", "read"),
    [
        (b"", ""),
        (b"me@example.com", "me@example.com"),
        (b"two  words \t", "two  words"),
        ("Grüße 🙂".encode(), "Grüße 🙂"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x1b[2Jgone\x07\x00", "\ufffd[2Jgone\ufffd\ufffd"),
        ("\u202eevil\u2028\u0085".encode(), "\ufffdevil\ufffd\ufffd"),
        (b"x" * 5000, "x" * 256),
        (b"x" * 255 + b" y", "x" * 255),
    ],
)
def test_comment_is_one_bounded_printable_line(ed25519: KeyPair, comment: bytes, read: str) -> None:
    (key,) = read_keys(line(blob_of(ed25519.public()), comment=comment))
    assert key.comment == read
    assert describe(key).user_ids == ((read,) if read else ())
    assert read_keys(key.as_file) == (key,)


@given(st.binary(max_size=400).filter(lambda comment: not {*b"\r\n"}.intersection(comment)))
@example(b"PuTTY-User-Key-File-")
@example(b"-----BEGIN OPENSSH PRIVATE KEY-----")
@example(b"---- BEGIN SSH2 PUBLIC KEY ----")
@example(b"# ssh-rsa AAAA")
def test_file_of_a_key_holds_what_was_read(comment: bytes) -> None:
    blob = packed(b"ssh-ed25519", (9).to_bytes(32, "little"))
    (key,) = read_keys(line(blob, comment=comment))
    assert read_keys(key.as_file) == (key,)
    assert key.as_file.count(b"\n") == 1


# Refused


def private_forms(maker: SshKeyMaker) -> dict[str, bytes]:
    forms = {}
    for form in ("PEM", "PKCS8"):
        for passphrase in ("", "secret"):
            pair = maker.key("rsa", 1024)
            run("-q", "-p", "-P", "", "-N", passphrase, "-m", form, "-f", str(pair.path))
            forms[f"{form} {passphrase}"] = pair.private()
    ecdsa = maker.key("ecdsa", 256)
    run("-q", "-p", "-P", "", "-N", "", "-m", "PEM", "-f", str(ecdsa.path))
    forms["EC"] = ecdsa.private()
    forms["OpenSSH"] = maker.key().private()
    forms["DSA"] = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    forms["SSH2"] = b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n"
    forms["PuTTY"] = b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"
    forms["SSH1"] = b"SSH PRIVATE KEY FILE FORMAT 1.1\n\0"
    return forms


def test_private_keys_are_refused_loudly(ssh_maker: SshKeyMaker, ed25519: KeyPair) -> None:
    forms = private_forms(ssh_maker)
    assert {form.split(b"KEY")[0] for form in forms.values() if form.startswith(b"-----")} == {
        b"-----BEGIN RSA PRIVATE ",
        b"-----BEGIN EC PRIVATE ",
        b"-----BEGIN DSA PRIVATE ",
        b"-----BEGIN OPENSSH PRIVATE ",
        b"-----BEGIN PRIVATE ",
        b"-----BEGIN ENCRYPTED PRIVATE ",
    }
    for form in forms.values():
        unended = ed25519.public().rstrip() + b"\r"
        for material in (form, ed25519.public() + form, unended + form, b"# " + form, b"Bag Attributes\n" + form):
            assert looks_like_ssh(material)
            error = refusal(material)
            assert error.message == "this is a PRIVATE key, which must never leave its owner; nothing was added"
            assert error.next_step
    assert str(refusal(forms["PuTTY"]).next_step).startswith("puttygen ")


def test_what_to_do_about_a_private_key_works(ssh_maker: SshKeyMaker) -> None:
    pair = ssh_maker.key()
    command = refusal(pair.private()).next_step
    assert command is not None
    words = command.replace("KEYFILE", str(pair.path)).split()
    done = subprocess.run([program(words[0]), *words[1:]], capture_output=True, check=True)
    assert read_keys(done.stdout) == read_keys(pair.public())


@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM"])
def test_other_forms_of_public_keys_are_refused_with_the_command_that_converts_them(
    ssh_maker: SshKeyMaker, tmp_path: Path, form: str
) -> None:
    pair = ssh_maker.key("rsa", 2048)
    converted = tmp_path / "converted"
    converted.write_bytes(run("-e", "-m", form, "-f", str(pair.path)))
    assert looks_like_ssh(converted.read_bytes())
    error = refusal(converted.read_bytes())
    assert error.message.startswith("not an SSH public key: it is in ")
    assert error.next_step is not None
    words = error.next_step.replace("KEYFILE", str(converted)).split()
    done = subprocess.run([program(words[0]), *words[1:]], capture_output=True, check=True)
    assert [key.fingerprint for key in read_keys(done.stdout)] == [pair.fingerprint]


def test_certificates_are_refused(ssh_maker: SshKeyMaker) -> None:
    authority, pair = ssh_maker.key(), ssh_maker.key("ecdsa", 256)
    run("-q", "-s", str(authority.path), "-I", "someone", "-n", "user", f"{pair.path}.pub")
    certificate = pair.path.with_name(f"{pair.path.name}-cert.pub").read_bytes()
    assert looks_like_ssh(certificate)
    assert "certificates are not supported" in refusal(certificate).message
    disguised = line(blob_of(certificate), b"ecdsa-sha2-nistp256")
    assert "certificates are not supported" in refusal(disguised).message


def test_dsa_keys_are_refused() -> None:
    public = dsa.generate_private_key(1024).public_key().public_numbers()
    parameters = public.parameter_numbers
    numbers = (parameters.p, parameters.q, parameters.g, public.y)
    material = line(packed(b"ssh-dss", *map(number, numbers)))
    assert looks_like_ssh(material)
    assert "DSA key, which is too weak" in refusal(material).message


@pytest.mark.parametrize(
    "front", [b'from="10.0.0.1",no-pty ', b'command="ssh-rsa AAAA x" ', b"me@example.com ", b"cert-authority "]
)
def test_options_and_names_in_front_of_a_key_are_refused(ed25519: KeyPair, front: bytes) -> None:
    assert looks_like_ssh(front + ed25519.public())
    assert "something in front of it" in refusal(front + ed25519.public()).message


def test_one_wrong_line_refuses_the_file_and_is_told(ed25519: KeyPair) -> None:
    error = refusal(ed25519.public() + b"\nssh-ed25519 AAAA\n")
    assert error.message == "not an SSH public key: it is cut off (line 3)"


def test_signature_and_openpgp_key_in_place_of_a_key_are_refused(ed25519: KeyPair, release: SigningKey) -> None:
    assert "it is a signature" in refusal(ed25519.sign(b"an image")).message
    assert "there is none in it" in refusal(release.public()).message


@pytest.mark.parametrize("material", [b"", b"\n# nothing\n", b"<html>404</html>", b"\xff\x00", b"ssh-ed25519"])
def test_files_without_a_key_are_refused(material: bytes) -> None:
    assert "there is none in it" in refusal(material).message


def test_openpgp_files_do_not_look_like_ssh(release: SigningKey) -> None:
    for material in (release.public(), release.public(armored=False), release.secret(), b"", b"<html>404</html>"):
        assert not looks_like_ssh(material)
    assert not looks_like_ssh(b"made on the host with ssh-rsa keys\n" + release.public())


def test_public_keys_look_like_ssh(pair: KeyPair) -> None:
    for material in (pair.public(), b"\n# mine\r\n\t" + pair.public(), pair.public().split()[0]):
        assert looks_like_ssh(material)


@pytest.mark.parametrize(
    ("material", "problem"),
    [
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "it is cut off"),
        (b"ssh-ed25519 AAAA!", "Base64 is damaged"),
        (b"ssh-ed25519 AAAAB", "Base64 is damaged"),
        (line(packed(b"ssh-ed25519", b"\x09" * 33)), "not 32 bytes long"),
        (line(packed(b"ssh-ed25519", b"\x09" * 32) + b"\0"), "more than belongs there"),
        (line(packed(b"ssh-ed25519", b"\x09" * 32), b"ssh-rsa"), "says ssh-rsa and is ssh-ed25519"),
        (line(packed(b"ssh-ed448", b"\x09" * 57)), '"ssh-ed448", which is not supported'),
        (line(packed(b"ssh-ed448", b"\x09" * 57), b"ssh-ed25519"), '"ssh-ed448", which is not supported'),
        (line(packed(b"ecdsa-sha2-nistp256", b"nistp384", b"\x04" + b"\x01" * 96)), 'on the curve "nistp384"'),
        (line(packed(b"ecdsa-sha2-nistp256", b"sha2-nistp256", b"\x04" + b"\x01" * 64)), "on the curve"),
        (line(packed(b"ecdsa-sha2-nistp256", b"", b"\x04" + b"\x01" * 64)), "on the curve"),
        (line(packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64)), "not a point of its curve"),
        (line(packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + b"\x01" * 32)), "uncompressed point"),
        (line(packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x00")), "uncompressed point"),
        (rsa_line(2**16384 + 1), "a number in it is too large"),
        (rsa_line(2**2047 + 1, 2**64 + 1), "a number in it is too large"),
        (rsa_line(2**2047 + 1, 1), "numbers that can't be right"),
        (rsa_line(2**2047 + 1, 65536), "numbers that can't be right"),
        (rsa_line(2**2047), "numbers that can't be right"),
        (line(packed(b"ssh-rsa", b"\x00\x03", number(2**2047 + 1))), "needless zeros"),
        (line(packed(b"ssh-rsa", b"\x03", b"\x00" + number(2**2047 + 1))), "needless zeros"),
        (line(packed(b"ssh-rsa", b"\x03", b"\xff" * 256)), "not above zero"),
        (line(packed(b"ssh-rsa", b"", number(2**2047 + 1))), "not above zero"),
        (line(packed(b"sk-ssh-ed25519@openssh.com", b"\x09" * 32)), "it is cut off"),
        (line(packed(b"sk-ssh-ed25519@openssh.com", b"\x09" * 32, b"ssh:\0x")), "is not a text"),
        (line(packed(b"sk-ssh-ed25519@openssh.com", b"\x09" * 32, b"x" * 1025)), "is not a text"),
        (line(packed(b"ssh-ed25519", b"\x09" * 32), comment=b"x" * 20000), "it is too long"),
        (b"ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\xff\xff\xff\xff"), "it is cut off"),
    ],
)
def test_what_is_no_key_is_refused(material: bytes, problem: str) -> None:
    assert problem in refusal(material).message


def test_longest_rsa_key_is_taken() -> None:
    (key,) = read_keys(rsa_line(2**16383 + 1, 2**63 + 1))
    assert describe(key).bits == 16384


# Order 1, 2, 4, and one of those of order 8 (RFC 7748's curve in the form of RFC 8032).
ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [1, P - 1, 0, ORDER_8, P - ORDER_8, P, P + 1])
def test_ed25519_keys_that_anybody_can_sign_with_are_refused(y: int, sign: int) -> None:
    assert "not a point of its curve that can be a key" in refusal(ed25519_line(y, sign)).message


def test_ed25519_keys_off_the_curve_or_written_otherwise_are_refused() -> None:
    assert "not a point" in refusal(ed25519_line(2)).message
    assert "not a point" in refusal(ed25519_line(P + 3)).message
    assert read_keys(ed25519_line(3)) and read_keys(ed25519_line(3, sign=1))


def test_real_keys_are_usable() -> None:
    for _ in range(20):
        token = SecurityKey(on_nist=UNUSED)
        assert read_keys(token.public())[0].fingerprint == token.fingerprint


# Beside OpenSSH


def test_what_is_read_here_is_read_by_openssh(pair: KeyPair, openssh: Path) -> None:
    (key,) = read_keys(pair.public())
    assert reads(key.as_file, openssh)


def test_keys_with_bytes_changed_are_keys_or_refused(pair: KeyPair, openssh: Path) -> None:
    rng = random.Random(5)
    (original,) = read_keys(pair.public())
    taken = 0
    for _ in range(300):
        raw = bytearray(original.blob.raw)
        for _ in range(rng.choice((1, 1, 2))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        changed = line(bytes(raw), pair.public().split()[0])
        with suppress(KeyRefused):
            (key,) = read_keys(changed)
            assert (key.fingerprint == original.fingerprint) == (bytes(raw) == original.blob.raw)
            taken += 1
            if taken <= 20:
                assert reads(changed, openssh)
    assert taken < 300


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda rest: b"ssh-ed25519 " + base64.b64encode(b"\0\0\0" + rest))
    | st.sampled_from([b"ssh-ed25519", b"ssh-rsa", b"ecdsa-sha2-nistp256", b"sk-ssh-ed25519@openssh.com"]).flatmap(
        lambda name: st.lists(st.binary(max_size=140), max_size=3).map(lambda parts: line(packed(name, *parts)))
    )
)
def test_any_bytes_are_keys_or_refused(material: bytes) -> None:
    looks_like_ssh(material)
    with suppress(KeyRefused):
        assert all(isinstance(key, SshKey) for key in read_keys(material))
