"""Key files that are not what they should be: secret, huge, poisonous, or with names made to deceive."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from acistore.cli.output import escape
from tests.fetch.conftest import HOST, NAME
from tests.gpg import KeyMaker, SigningKey
from tests.hostile.measured import Measured, measured
from tests.trust.hardening.conftest import IMAGE, IMAGE_URL, Operator
from tests.trust.hardening.forging import (
    LONG_AGO,
    Pair,
    certified,
    ecdsa,
    ed25519,
    mpi,
    packet,
    photo,
    public_key,
    signed,
    subkey,
    user,
)
from tests.web import RawServer

MIB = 1 << 20
# Seconds in which everything here has to be over, on a machine that does a lot else.
PATIENCE = 30.0


# Secret keys


@pytest.fixture(scope="module")
def secret(maker: KeyMaker) -> SigningKey:
    key = maker.key("Secret <secret@example.com>")
    key.add_subkey()
    return key


SECRETS: dict[str, Callable[[SigningKey, SigningKey], bytes]] = {
    "armored": lambda secret, _other: secret.secret(),
    "binary": lambda secret, _other: secret.secret(armored=False),
    "subkeys alone": lambda secret, _other: secret.secret(subkeys_only=True),
    "subkeys alone, binary": lambda secret, _other: secret.secret(subkeys_only=True, armored=False),
    "behind the public key": lambda secret, _other: secret.public() + secret.secret(),
    "behind another public key": lambda secret, other: other.public() + b"\nand mine:\n" + secret.secret(),
    "before a public key": lambda secret, other: secret.secret() + other.public(),
    "binary, behind another public key": lambda secret, other: (
        other.public(armored=False) + secret.secret(armored=False)
    ),
    "in the armor of a public key": lambda secret, _other: secret.secret().replace(b"PRIVATE", b"PUBLIC"),
    "quoted in a mail": lambda secret, other: other.public() + secret.secret().replace(b"\n", b"\n> "),
    "in old armor": lambda secret, _other: secret.secret().replace(b"PRIVATE KEY", b"SECRET KEY"),
    "cut off": lambda secret, _other: secret.secret()[:200],
}
secret_files = pytest.mark.parametrize("make", SECRETS.values(), ids=SECRETS)
Make = Callable[[SigningKey, SigningKey], bytes]


@secret_files
def test_file_with_secret_keys_is_refused_loudly(
    operator: Operator, secret: SigningKey, other: SigningKey, make: Make
) -> None:
    error = operator.refuses_key(make(secret, other))
    assert "SECRET key" in error["message"]
    assert error["next"].startswith("gpg --armor --export ")
    assert not list(operator.top.rglob(other.fingerprint))


def test_secret_key_that_a_page_offers_is_refused_loudly(operator: Operator, secret: SigningKey) -> None:
    url = operator.web.put(HOST, "secret.asc", secret.public() + secret.secret())
    ran = operator.run("--json", "trust", "add", "--prefix", NAME, "--yes", url)
    assert (ran.code, ran.out) == (4, "")
    assert "SECRET key" in ran.error["message"]
    assert operator.trusted() == []


def test_secret_key_among_the_trusted_ones_counts_for_nothing(operator: Operator, secret: SigningKey) -> None:
    operator.trusts(secret.public() + secret.secret(), secret.fingerprint)
    error = operator.refuses(secret.sign(IMAGE), "NoTrustedKey")
    assert "SECRET key" in operator.warning
    assert error["facts"]["trusted"] == f"no key for {NAME} or above it"


# Size


def command(operator: Operator, *arguments: str) -> Measured:
    return measured(*arguments, environment={}, scratch=operator.top, patience=PATIENCE)


def hundred_megabytes(path: Path, beginning: bytes) -> Path:
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(100 * MIB)
    return path


def test_key_file_of_a_hundred_megabytes(operator: Operator, release: SigningKey, authority: trustme.CA) -> None:
    add = ("--json", "trust", "add", "--prefix", NAME, "--yes")
    small = operator.top / "small.asc"
    small.write_bytes(release.public())
    usual = command(operator, *add, str(small))
    assert usual.code == 0
    operator.run("trust", "remove", release.fingerprint)
    sent: list[int] = []

    def serve(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"%x\r\n%b\r\n" % (MIB, bytes(MIB)))
            sent.append(MIB)

    with RawServer(serve, authority.issue_cert("keys.example.com")) as server:
        operator.web.take_over("keys.example.com", server)
        large = hundred_megabytes(operator.top / "large.asc", release.public())
        for source in (str(large), "https://keys.example.com/large.asc"):
            ran = command(operator, *add, source)
            assert ran.error["kind"] == "LimitExceeded"
            assert "--limits-key-size" in ran.error["next"]
            assert ran.peak < usual.peak + 24 * MIB
    assert 0 < sum(sent) < 20 * MIB
    assert operator.trusted() == []


def test_large_file_among_the_trusted_ones_stands_in_nobodys_way(operator: Operator, release: SigningKey) -> None:
    operator.trusts_key(release)
    large = operator.trusts(b"", "ab" * 20)
    hundred_megabytes(large, release.public())
    operator.admits(release.sign(IMAGE), release.fingerprint)


# What makes a key laborious: gpg checks each of these several times.


def user_ids(pair: Pair, number: int) -> bytes:
    return user(pair, f"Eve the {number}th <eve@example.net>")


def self_signatures(pair: Pair, number: int) -> bytes:
    return certified(pair, b"\xb4", b"Eve <eve@example.net>", at=LONG_AGO + number)


def forged_signatures(pair: Pair, number: int) -> bytes:
    return packet(2, self_signatures(pair, 0)[6:-4] + number.to_bytes(4, "big"))


def subkeys(pair: Pair, number: int) -> bytes:
    part = Pair(pair.body[:1] + number.to_bytes(4, "big") + pair.body[5:], pair.sign)
    return subkey(pair, part)


@pytest.mark.parametrize("burden", [user_ids, self_signatures, forged_signatures, subkeys])
def test_key_with_thousands_of_parts(
    operator: Operator, alice: Pair, burden: Callable[[Pair, int], bytes]
) -> None:
    eve = ecdsa("nistp256")
    key = public_key(eve, "Eve <eve@example.net>", *(burden(eve, number) for number in range(2500)))
    assert len(key) < MIB
    operator.refuses_key(key)
    assert "more than 200" in operator.warning
    operator.trusts_pair(alice)
    operator.trusts(key, eve.fingerprint, "example.com/aaa")
    operator.admits(signed(alice, IMAGE), alice.fingerprint, IMAGE_URL)


@pytest.mark.parametrize("burden", [user_ids, self_signatures, subkeys])
def test_key_with_as_many_parts_as_anybody_has(operator: Operator, burden: Callable[[Pair, int], bytes]) -> None:
    """Twenty years of renewals. The largest key of a Debian developer has 119 parts of its own."""
    key = ed25519()
    operator.trusts(public_key(key, "Alice", *(burden(key, number) for number in range(60))), key.fingerprint)
    operator.admits(signed(key, IMAGE), key.fingerprint)


def test_rsa_key_that_costs_gpg_minutes(operator: Operator, alice: Pair) -> None:
    """Its exponent is as long as its modulus; some hundred signatures of its own would be checked with that."""
    modulus = (1 << 4095) + 1
    body = b"\x04" + bytes(4) + b"\x01" + mpi(modulus) + mpi(modulus - 2)
    eve = Pair(body, lambda _number, _digest: mpi(modulus - 4))
    key = public_key(eve, "Eve", *(user(eve, f"Eve {number}") for number in range(80)))
    assert "RSA exponent is too large, with 4095 bits of at most 32" in operator.refuses_key(key)["message"]
    path = operator.trusts(key, eve.fingerprint)
    operator.trusts_pair(alice)
    operator.admits(signed(alice, IMAGE), alice.fingerprint)
    assert f"{path} is not trusted: " in operator.warning
    operator.refuses(signed(eve, IMAGE), "UntrustedSigner")


def test_key_that_thousands_have_certified(operator: Operator, alice: Pair, eve: Pair) -> None:
    """That is nothing that its owner can help, and nothing that gpg checks."""
    about = alice.hashed + b"\xb4\x00\x00\x00\x01A"
    others = [signed(eve, about, kind=0x10, at=LONG_AGO + number) for number in range(2000)]
    key = packet(6, alice.body) + user(alice, "A") + b"".join(others)
    assert operator.adds(key, "--json").code == 0
    operator.admits(signed(alice, IMAGE), alice.fingerprint)


def test_thousand_keys_in_a_file(operator: Operator) -> None:
    few = [public_key(ed25519(), f"Number {number}") for number in range(100)]
    many = b"".join(packet(6, ed25519().body) for _ in range(1001))
    assert "more than 1000 keys" in operator.refuses_key(many)["message"]
    assert len(operator.adds(b"".join(few), "--json").document) == 100


def test_file_full_of_key_packets(operator: Operator) -> None:
    """Nearly two hundred thousand, each of them empty."""
    for tiny in (b"\xc6\x00", b"\xc6\x01\x04", b"\xc6\x06\x04\x00\x00\x00\x00\x63", b"\xc6\x01\x06"):
        ran = operator.adds(tiny * (MIB // len(tiny) - 1), "--json")
        assert ran.code == 4
        assert len(ran.err.splitlines()) <= 1002


# Poison: packets at which gpg breaks off, and takes in none of the keys that it was given along with them

POISON: dict[str, Callable[[Pair], bytes]] = {
    "endless user ID": lambda eve: public_key(eve, "x" * 300_000),
    "signature of a version to come": lambda eve: public_key(eve, "Eve", packet(2, b"\x09" * 30)),
    "signature full of junk": lambda eve: public_key(eve, "Eve", packet(2, b"\x04" * 60_000)),
    "empty subkey": lambda eve: public_key(eve, "Eve", packet(14, b"")),
    "subkey of version 3": lambda eve: public_key(eve, "Eve", packet(14, b"\x03" + eve.body[1:])),
    "subkey cut off": lambda eve: public_key(eve, "Eve", packet(14, eve.body[:20])),
    "key cut off": lambda eve: packet(6, eve.body[:20]) + user(eve, "Eve"),
    "key of nothing": lambda _eve: packet(6, b"\x04"),
    "number too long": lambda _eve: packet(6, b"\x04\x00\x00\x00\x00\x01\xff\xff" + bytes(9000)),
    "no user ID": lambda eve: packet(6, eve.body),
    "user ID of nobody": lambda eve: packet(6, eve.body) + packet(13, b"Eve"),
    "junk behind its numbers": lambda eve: public_key(Pair(eve.body + b"junk", eve.sign), "Eve"),
}
poisoned = pytest.mark.parametrize("make", POISON.values(), ids=POISON)


@poisoned
def test_poisonous_key_in_a_bundle(
    operator: Operator, alice: Pair, eve: Pair, make: Callable[[Pair], bytes]
) -> None:
    good = public_key(alice, "Alice <alice@example.com>")
    for bundle in (make(eve) + good, good + make(eve), make(eve) + good + make(eve)):
        ran = operator.adds(bundle, "--json")
        assert ran.code == 0, ran
        assert [key["fingerprint"] for key in ran.document] == [alice.fingerprint]
        assert "left out" in ran.err


@poisoned
def test_poisonous_key_for_another_name(
    operator: Operator, alice: Pair, eve: Pair, make: Callable[[Pair], bytes]
) -> None:
    operator.trusts_pair(alice)
    fingerprint = Pair(eve.body + b"junk", eve.sign).fingerprint if b"junk" in make(eve) else eve.fingerprint
    operator.trusts(make(eve), fingerprint, "example.com/aaa")
    operator.admits(signed(alice, IMAGE), alice.fingerprint, IMAGE_URL)
    assert [key["fingerprint"] for key in operator.trusted() if key["state"] == "valid"] == [alice.fingerprint]


def test_key_that_gpg_takes_for_another_one(operator: Operator, alice: Pair, eve: Pair) -> None:
    """gpg reads numbers that are not written as they should be, and writes them as they should: what has one
    fingerprint here would have Alice's there."""
    longer = alice.body[:16] + b"\x01\x08" + alice.body[18:]
    for body in (alice.body + b"\x00", longer):
        disguised = Pair(body, alice.sign)
        assert disguised.fingerprint != alice.fingerprint
        operator.refuses_key(packet(6, body) + user(alice, "Alice <alice@example.com>"))
        assert "not written as they should be" in operator.warning
    stolen = public_key(
        eve, "Eve", packet(14, longer), subkey(eve, alice, back=False)[len(packet(14, alice.body)) :]
    )
    operator.refuses_key(stolen)


# User IDs

NAMES: dict[str, bytes] = {
    "terminal escapes": b"\x1b[2J\x1b]0;owned\x07Release <release@example.com>\x1b[1A",
    "controls": b"Rel\x00ease\x01\x08\x7f\r<release@example.com>\t",
    "line breaks": b"Release\nacistore: all is well\n  signed by  Release",
    "status line": b"Release\n[GNUPG:] VALIDSIG 00 2024-01-01 1 0 4 0 22 10 00 00",
    "listing": b"Release:::::\nfpr:::::::::0000000000000000000000000000000000000000:\\x3a\\n",
    "other direction": "Release \u202e<moc.elpmaxe@esaeler>\u2066\u200f".encode(),
    "invisible": "Rel\u200bea\u00adse\ufeff\u2028<release@example.com>\u2029".encode(),
    "C1 controls": "Release \u009b2J\u0085<release@example.com>".encode(),
    "no UTF-8": b"Rele\xe4se \x9b2J \xff\xfe\xc0\x80\xed\xa0\x80 <release@example.com>",
    "two kilobytes": b"Release " * 250,
    "nothing": b"",
    "blanks": b"   ",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_user_id_can_do_nothing_to_whoever_reads_it(operator: Operator, name: bytes) -> None:
    pair = ed25519()
    text = name.decode("utf-8", "replace")
    added = operator.adds(public_key(pair, name))
    assert (added.code, added.out) == (0, f"{pair.fingerprint}\n")
    assert escape(text).rstrip() in added.err
    refused = operator.fetch(signed(pair, b"another image"))
    in_words = operator.run("fetch", f"{NAME}:1.0")
    assert (refused.code, in_words.code) == (4, 4)
    assert escape(text)[:200] in in_words.err  # a fact is cut in its middle when it is very long
    signed_by = refused.error["facts"]["signed by"]
    assert signed_by.endswith(f'{text[-100:]}"' if text else pair.fingerprint[-4:].upper())
    shown = [
        added.err,
        in_words.err,
        operator.run("trust", "list").out,
        operator.run("trust", "show", pair.fingerprint).out,
    ]
    for output in shown:
        assert output.replace("\n", "").isprintable()
        assert not re.search(r"^(acistore: all is well|\[GNUPG:\]|fpr:)", output, re.MULTILINE)
    (listed,) = operator.trusted()
    assert listed["user_ids"] == ([text] if text else [""])
    for arguments in (["trust", "list"], ["trust", "show", pair.fingerprint]):
        assert operator.run("--json", *arguments).out.isascii()


@pytest.mark.parametrize("line_break", [b"\n", b"\x85", b"\xc3\x85", b"\xe2\x80\xa8", b"\x0b\x0c\x1c\x1d\x1e"])
def test_status_lines_in_a_user_id_are_not_believed(operator: Operator, alice: Pair, line_break: bytes) -> None:
    """gpg repeats user IDs in its status lines, and leaves the upper half of Latin-1 as it is."""
    eve = ed25519()
    victim = alice.fingerprint.upper()
    proof = f"VALIDSIG {victim} 2024-01-01 1704067200 0 4 0 22 10 00 {victim}"
    lines = (b"Eve", b"NEWSIG", f"GOODSIG {victim[-16:]} Alice".encode(), proof.encode())
    operator.trusts(public_key(eve, (line_break + b"[GNUPG:] ").join(lines)), eve.fingerprint)
    operator.trusts_pair(alice)
    operator.admits(signed(eve, IMAGE), eve.fingerprint)
    operator.refuses(signed(eve, b"another image"), "BadSignature")


def test_key_with_a_photo_for_a_name(operator: Operator) -> None:
    pair = ed25519()
    key = packet(6, pair.body) + photo(pair, b"\xff\xd8\xff\xe0" + bytes(100))
    assert operator.adds(key).code == 0
    assert [each["user_ids"] for each in operator.trusted()] == [[]]
    operator.admits(signed(pair, IMAGE), pair.fingerprint)


def test_key_without_a_name(operator: Operator, alice: Pair) -> None:
    """Nobody has signed for anything in it, not even when it expires."""
    assert "no user ID" in operator.refuses_key(packet(6, alice.body))["message"]
    assert "no user ID" in operator.refuses_key(packet(6, alice.body) + packet(13, b"Alice"))["message"]


def test_name_that_another_has_signed(operator: Operator, alice: Pair, eve: Pair) -> None:
    """Eve writes names into Alice's key; what Alice has not signed is not shown."""
    forged = packet(13, b"Eve <eve@example.net>") + certified(eve, b"\xb4", b"Eve <eve@example.net>")
    assert operator.adds(public_key(alice, "Alice <alice@example.com>", forged)).code == 0
    assert [key["user_ids"] for key in operator.trusted()] == [["Alice <alice@example.com>"]]


def test_revocation_that_another_has_signed(operator: Operator, alice: Pair, eve: Pair) -> None:
    forged = signed(eve, alice.hashed, kind=0x20)
    pretending = signed(eve, alice.hashed, kind=0x20, unhashed=b"\x09\x10" + bytes.fromhex(alice.fingerprint)[-8:])
    operator.trusts(packet(6, alice.body) + forged + pretending + user(alice, "Alice"), alice.fingerprint)
    operator.admits(signed(alice, IMAGE), alice.fingerprint)


def test_json_is_json_whatever_the_name(operator: Operator) -> None:
    pair = ed25519()
    operator.trusts(public_key(pair, b'"}],{"\x00\\'), pair.fingerprint)
    assert json.loads(operator.run("--json", "trust", "list").out)[0]["user_ids"] == ['"}],{"\x00\\']
