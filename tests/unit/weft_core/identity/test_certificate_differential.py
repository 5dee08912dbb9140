"""Our reader beside `cryptography`: what ours accepts, the other accepts too and reads the same; mutants by the thousand.

Ours may refuse more (it is the stricter one by intent), never less. Three things ours leaves to OpenSSL, which has judged
them before: the content of extensions whose name ours does not know (authority key identifiers are therefore left out of
the mutated certificates), the parameters of the signature algorithm, and keys of kinds that are refused anyway.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.identity import Certificate, DerError
from weft_core.identity.certificate import read_certificate
from weft_core.identity.der import INTEGER, SEQUENCE, Reader, object_identifier
from weft_core.identity.extensions import (
    BASIC_CONSTRAINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    SUBJECT_KEY_ID,
    read_extensions,
)
from weft_testing import asn1, pki

T = TypeVar("T", bound=x509.ExtensionType)
read = read_certificate.__wrapped__
JUDGED = {BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID}
MUTANTS_PER_SEED = 4000


def seeds() -> Iterator[tuple[str, bytes]]:
    root = pki.root("root", authority_key_id=False, path_length=3)
    yield "root", root.der
    yield "leaf", root.issue(authority_key_id=False).der
    names = (asn1.implicit(2, b"web.shop.svc"), asn1.implicit(7, b"\x0a\x00\x00\x01"), asn1.implicit(1, b"a@b.c"))
    yield "names", root.issue(authority_key_id=False, subject="alice", other_names=names).der
    yield "rsa", root.issue(authority_key_id=False, key=pki.rsa_key(2048), usage=(0, 2, 4, 7)).der
    yield "ed25519", root.issue(authority_key_id=False, key=ed25519.Ed25519PrivateKey.generate(), ends_in_s=2e9).der
    yield "signed by rsa", pki.root(key=pki.rsa_key(2048), authority_key_id=False).issue(authority_key_id=False).der


SEEDS = dict(seeds())


def mutant(source: random.Random, der: bytes) -> bytes:
    data = bytearray(der)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        at = source.randrange(len(data))
        match source.randrange(6):
            case 0:
                data[at] ^= 1 << source.randrange(8)
            case 1:
                data[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
            case 2:
                del data[at : at + source.randrange(1, 4)]
            case 3:
                data[at:at] = source.randbytes(source.randrange(1, 4))
            case 4:
                other = source.randrange(len(data))
                data[at : at + 4] = data[other : other + 4]
            case _:
                data[at] = (data[at] + source.choice((1, -1))) % 256
    return bytes(data)


def assert_same(ours: Certificate, der: bytes) -> None:
    theirs = x509.load_der_x509_certificate(der)
    assert theirs.version is x509.Version.v3
    assert ours.serial == theirs.serial_number
    assert datetime.fromtimestamp(ours.not_before_unix_s, UTC) == theirs.not_valid_before_utc
    assert datetime.fromtimestamp(ours.not_after_unix_s, UTC) == theirs.not_valid_after_utc
    try:
        extensions = theirs.extensions
    except ValueError:
        assert not extension_names(der) <= JUDGED, "an extension that we judge was misread"
        return
    constraints = value_of(extensions, x509.BasicConstraints)
    assert ours.constraints.is_authority == (constraints is not None and constraints.ca)
    assert ours.constraints.path_length == (constraints.path_length if constraints else None)
    assert ours.usage == usage_of(extensions)
    assert ours.usage_critical == any(item.critical for item in extensions if isinstance(item.value, x509.KeyUsage))
    purposes = value_of(extensions, x509.ExtendedKeyUsage)
    assert ours.purposes == (
        None if purposes is None else frozenset(object_identifier(oid.dotted_string) for oid in purposes)
    )
    names = value_of(extensions, x509.SubjectAlternativeName)
    assert list(ours.uris) == ([] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier))
    key_id = value_of(extensions, x509.SubjectKeyIdentifier)
    assert ours.subject_key_id == (b"" if key_id is None else key_id.digest)
    assert_same_key(ours, theirs)


def extension_names(der: bytes) -> set[bytes]:
    body = Reader(der).open(SEQUENCE).open(SEQUENCE)
    body.value(0xA0)
    for tag in (INTEGER, *[SEQUENCE] * 5):
        body.value(tag)
    return set(read_extensions(body.open(0xA3).open(SEQUENCE)))


def value_of(extensions: x509.Extensions, kind: type[T]) -> T | None:
    for item in extensions:
        if isinstance(item.value, kind):
            return item.value
    return None


def usage_of(extensions: x509.Extensions) -> frozenset[int] | None:
    usage = value_of(extensions, x509.KeyUsage)
    if usage is None:
        return None
    flags = (
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
        usage.key_agreement and usage.encipher_only,
        usage.key_agreement and usage.decipher_only,
    )
    return frozenset(number for number, flag in enumerate(flags) if flag)


def assert_same_key(ours: Certificate, theirs: x509.Certificate) -> None:
    if ours.key.kind == "other":
        return
    try:
        key = theirs.public_key()
    except ValueError:  # a point that is not on its curve: OpenSSL's to refuse, and it does
        return
    match key:
        case ec.EllipticCurvePublicKey():
            assert (ours.key.kind, ours.key.bits) == (f"p{key.key_size}", key.key_size)
        case rsa.RSAPublicKey():
            assert (ours.key.kind, ours.key.bits) == ("rsa", key.key_size)
            assert ours.key.exponent == key.public_numbers().e
        case _:
            assert isinstance(key, ed25519.Ed25519PublicKey)
            assert ours.key.kind == "ed25519"


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_read_the_same(name: str) -> None:
    assert_same(read(SEEDS[name]), SEEDS[name])


@pytest.mark.parametrize("name", SEEDS)
def test_mutants_are_read_the_same_or_refused(name: str) -> None:
    source = random.Random(f"weft {name}")
    accepted = 0
    for _ in range(MUTANTS_PER_SEED):
        der = mutant(source, SEEDS[name])
        try:
            ours = read(der)
        except DerError:
            continue
        if ours.key.kind == "other":
            continue
        accepted += 1
        assert_same(ours, der)
    assert accepted > MUTANTS_PER_SEED // 20, "mutants that nobody accepts prove nothing"


@settings(max_examples=100, deadline=None)
@given(
    serial=st.integers(1, (1 << 159) - 1),
    usage=st.sets(st.integers(0, 6), min_size=1),
    starts=st.integers(-(10**9), 0),
    lasts=st.integers(0, 5 * 10**9),
    domains=st.lists(st.text("abcdefghij-.", min_size=1, max_size=80), max_size=4),
    authority=st.booleans(),
)
def test_what_issuers_write_is_read(
    serial: int, usage: set[int], starts: int, lasts: int, domains: list[str], authority: bool
) -> None:
    der = (
        pki.root("issuer")
        .issue(
            serial=serial,
            usage=tuple(usage),
            starts_in_s=float(starts),
            ends_in_s=float(starts + lasts),
            other_names=tuple(asn1.implicit(2, domain.encode()) for domain in domains),
            authority=authority,
        )
        .der
    )
    assert_same(read(der), der)
