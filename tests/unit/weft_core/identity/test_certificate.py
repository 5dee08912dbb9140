"""Certificates: facts of the right ones, and every deviation from RFC 5280's shape refused."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.identity import DerError, read_certificate
from weft_core.identity.certificate import MAX_CERTIFICATE_BYTES
from weft_core.identity.extensions import CLIENT_AUTH, SERVER_AUTH
from weft_testing import asn1, pki

ROOT = pki.root("root")
NOW = 1_800_000_000.0
LEAF = ROOT.issue(now_unix_s=NOW, serial=77)


def test_facts_of_a_leaf() -> None:
    found = read_certificate(LEAF.der)
    assert found.serial == 77
    assert found.issuer == asn1.name("root")
    assert found.subject == asn1.name("")
    assert (found.not_before_unix_s, found.not_after_unix_s) == (NOW - 60, NOW + pki.DAY_S)
    assert found.key.kind == "p256"
    assert not found.constraints.is_authority
    assert found.usage == frozenset({pki.DIGITAL_SIGNATURE})
    assert found.usage_critical
    assert found.purposes == frozenset({CLIENT_AUTH, SERVER_AUTH})
    assert found.uris == (pki.ALICE,)
    assert found.subject_key_id == b""
    assert found.unknown_critical == 0


def test_facts_of_a_root() -> None:
    found = read_certificate(ROOT.der)
    assert found.issuer == found.subject
    assert found.constraints.is_authority
    assert found.usage == frozenset({pki.KEY_CERT_SIGN, pki.CRL_SIGN})
    assert found.purposes is None
    assert found.uris == ()
    assert found.subject_key_id == pki.key_id(ROOT.issued.key)


def test_counts_critical_extensions_that_nobody_reads() -> None:
    one = pki.extension("1.2.3.4", asn1.integer(1), critical=True)
    other = pki.extension("1.2.3.5", asn1.integer(1))
    assert read_certificate(ROOT.issue(extensions=(one, other)).der).unknown_critical == 1


def test_a_root_of_rsa() -> None:
    authority = pki.root(key=pki.rsa_key(2048))
    assert read_certificate(authority.der).key.kind == "rsa"
    assert read_certificate(authority.issue().der).key.kind == "p256"


Edit = Callable[[list[bytes]], list[bytes]]


def rebuilt(edit: Edit | None = None, *, outer: Edit | None = None) -> bytes:
    """The leaf's certificate taken apart, edited, put together; signatures are not looked at here."""
    algorithm = asn1.sequence(asn1.oid("1.2.840.10045.4.3.2"))
    fields = [
        asn1.explicit(0, asn1.integer(2)),
        asn1.integer(77),
        algorithm,
        asn1.name("root"),
        asn1.sequence(asn1.time(NOW), asn1.time(NOW + 10)),
        asn1.name(""),
        pki.public_info(LEAF.key),
        asn1.explicit(3, asn1.sequence(pki.extension("2.5.29.19", asn1.sequence()))),
    ]
    parts = [asn1.sequence(*(edit(fields) if edit else fields)), algorithm, asn1.bits(b"signature")]
    return asn1.sequence(*(outer(parts) if outer else parts))


def put(index: int, value: bytes) -> Edit:
    return lambda fields: [*fields[:index], value, *fields[index + 1 :]]


def insert(index: int, value: bytes) -> Edit:
    return lambda fields: [*fields[:index], value, *fields[index:]]


def test_the_unedited_one_is_read() -> None:
    assert read_certificate(rebuilt()).serial == 77


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(rebuilt(put(0, b"")), id="version 1"),
        pytest.param(rebuilt(put(0, asn1.explicit(0, asn1.integer(1)))), id="version 2"),
        pytest.param(rebuilt(put(0, asn1.explicit(0, asn1.integer(3)))), id="version 4"),
        pytest.param(rebuilt(put(0, asn1.explicit(0, asn1.integer(2) + asn1.integer(2)))), id="two versions"),
        pytest.param(rebuilt(put(1, asn1.integer(0))), id="serial 0"),
        pytest.param(rebuilt(put(1, asn1.integer(-1))), id="serial negative"),
        pytest.param(rebuilt(put(1, asn1.integer(1 << 160))), id="serial of 21 octets"),
        pytest.param(rebuilt(put(1, asn1.element(0x02, b"\x00\x01"))), id="serial padded"),
        pytest.param(rebuilt(put(2, asn1.sequence(asn1.oid("1.2.840.10045.4.3.3")))), id="two algorithms"),
        pytest.param(rebuilt(put(3, asn1.set_of())), id="issuer no name"),
        pytest.param(rebuilt(put(3, asn1.sequence(asn1.set_of()))), id="issuer with empty set"),
        pytest.param(rebuilt(put(4, asn1.sequence(asn1.time(NOW)))), id="no end"),
        pytest.param(rebuilt(put(4, asn1.sequence(*[asn1.time(NOW)] * 3))), id="three times"),
        pytest.param(rebuilt(put(5, asn1.sequence(asn1.sequence()))), id="subject no name"),
        pytest.param(rebuilt(put(6, asn1.sequence())), id="no key"),
        pytest.param(rebuilt(insert(7, asn1.implicit(1, b"\x00\x01"))), id="issuer unique id"),
        pytest.param(rebuilt(insert(7, asn1.implicit(2, b"\x00\x01"))), id="subject unique id"),
        pytest.param(rebuilt(put(7, b"")), id="no extensions"),
        pytest.param(rebuilt(put(7, asn1.explicit(3, asn1.sequence()))), id="empty extensions"),
        pytest.param(rebuilt(insert(8, asn1.integer(1))), id="field after extensions"),
        pytest.param(rebuilt(outer=put(2, asn1.bits(b""))), id="empty signature"),
        pytest.param(rebuilt(outer=put(2, asn1.bits(b"s", unused=1))), id="signature of odd bits"),
        pytest.param(rebuilt(outer=insert(3, asn1.integer(1))), id="field after signature"),
        pytest.param(rebuilt() + b"\x00", id="byte after certificate"),
        pytest.param(LEAF.der[:-1], id="cut"),
        pytest.param(b"", id="nothing"),
        pytest.param(asn1.sequence(b"\x30" * MAX_CERTIFICATE_BYTES), id="too large"),
    ],
)
def test_refuses_other_shapes(der: bytes) -> None:
    with pytest.raises(DerError):
        read_certificate(der)


def test_refuses_an_algorithm_of_three_fields() -> None:
    algorithm = asn1.sequence(asn1.oid("1.2.3"), asn1.integer(1), asn1.integer(1))
    with pytest.raises(DerError):
        read_certificate(rebuilt(put(2, algorithm), outer=put(1, algorithm)))


def test_every_cut_is_refused() -> None:
    for size in range(len(LEAF.der)):
        with pytest.raises(DerError):
            read_certificate(LEAF.der[:size])


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(DerError):
        read_certificate(data)


@settings(max_examples=300)
@given(st.integers(0, len(LEAF.der) - 1), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_mutants_are_read_or_refused(offset: int, patch: bytes, removed: int) -> None:
    try:
        read_certificate(LEAF.der[:offset] + patch + LEAF.der[offset + removed :])
    except DerError:
        pass
