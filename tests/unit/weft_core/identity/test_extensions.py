"""Extensions: the envelope, the five we judge, and names other than URIs."""

import pytest

from weft_core.identity.der import SEQUENCE, DerError, Reader
from weft_core.identity.extensions import (
    BASIC_CONSTRAINTS,
    CLIENT_AUTH,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    MAX_NAMES,
    SERVER_AUTH,
    SUBJECT_ALT_NAME,
    SUBJECT_KEY_ID,
    BasicConstraints,
    Extension,
    read_basic_constraints,
    read_extensions,
    read_key_usage,
    read_purposes,
    read_subject_key_id,
    read_uris,
)
from weft_testing import asn1, pki


def envelope(*extensions: bytes) -> dict[bytes, Extension]:
    return read_extensions(Reader(asn1.sequence(*extensions)).open(SEQUENCE))


def test_reads_the_envelope() -> None:
    found = envelope(pki.extension("2.5.29.15", b"a", critical=True), pki.extension("2.5.29.37", b"b"))
    assert found == {KEY_USAGE: Extension(True, b"a"), EXTENDED_KEY_USAGE: Extension(False, b"b")}


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (pki.extension("2.5.29.15", b"a"), pki.extension("2.5.29.15", b"b")),
        tuple(pki.extension(f"2.5.29.{number}", b"") for number in range(33)),
        (asn1.sequence(asn1.oid("2.5.29.15"), asn1.false(), asn1.octets(b"")),),
        (asn1.sequence(asn1.oid("2.5.29.15"), asn1.octets(b""), asn1.octets(b"")),),
        (asn1.sequence(asn1.oid("2.5.29.15")),),
        (asn1.oid("2.5.29.15"),),
    ],
    ids=["none", "twice", "too many", "explicit FALSE", "two values", "no value", "no sequence"],
)
def test_refuses_other_envelopes(extensions: tuple[bytes, ...]) -> None:
    with pytest.raises(DerError):
        envelope(*extensions)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (asn1.sequence(), BasicConstraints()),
        (asn1.sequence(asn1.true()), BasicConstraints(True)),
        (asn1.sequence(asn1.true(), asn1.integer(0)), BasicConstraints(True, 0)),
        (asn1.sequence(asn1.true(), asn1.integer(300)), BasicConstraints(True, 300)),
    ],
)
def test_basic_constraints(value: bytes, expected: BasicConstraints) -> None:
    assert read_basic_constraints({BASIC_CONSTRAINTS: Extension(True, value)}) == expected


@pytest.mark.parametrize(
    "value",
    [
        asn1.sequence(asn1.false()),
        asn1.sequence(asn1.integer(1)),
        asn1.sequence(asn1.true(), asn1.integer(-1)),
        asn1.sequence(asn1.true(), asn1.integer(1), asn1.integer(1)),
        asn1.sequence() + b"\x00",
        b"",
    ],
)
def test_refuses_other_basic_constraints(value: bytes) -> None:
    with pytest.raises(DerError):
        read_basic_constraints({BASIC_CONSTRAINTS: Extension(True, value)})


def test_key_usage() -> None:
    assert read_key_usage({KEY_USAGE: Extension(True, asn1.named_bits({0, 2}))}) == frozenset({0, 2})
    assert read_key_usage({}) is None
    assert read_key_usage({KEY_USAGE: Extension(True, asn1.named_bits({4, 7, 8}))}) == frozenset({4, 7, 8})
    for meaningless in ({9}, {0, 9}, {0, 7}, {8}):
        with pytest.raises(DerError):
            read_key_usage({KEY_USAGE: Extension(True, asn1.named_bits(meaningless))})
    for value in (asn1.bits(b""), asn1.bits(b"\x80", 6), asn1.named_bits({0}) + b"\x00", asn1.octets(b"\x80")):
        with pytest.raises(DerError):
            read_key_usage({KEY_USAGE: Extension(True, value)})


def test_purposes() -> None:
    value = asn1.sequence(asn1.oid(pki.SERVER_AUTH), asn1.oid(pki.CLIENT_AUTH))
    assert read_purposes({EXTENDED_KEY_USAGE: Extension(False, value)}) == frozenset({SERVER_AUTH, CLIENT_AUTH})
    assert read_purposes({}) is None
    for wrong in (asn1.sequence(), asn1.sequence(asn1.integer(1)), asn1.oid(pki.SERVER_AUTH)):
        with pytest.raises(DerError):
            read_purposes({EXTENDED_KEY_USAGE: Extension(False, wrong)})


def test_subject_key_id() -> None:
    assert read_subject_key_id({SUBJECT_KEY_ID: Extension(False, asn1.octets(b"id"))}) == b"id"
    assert read_subject_key_id({}) == b""
    for wrong in (asn1.octets(b""), asn1.integer(1), asn1.octets(b"a") + b"b"):
        with pytest.raises(DerError):
            read_subject_key_id({SUBJECT_KEY_ID: Extension(False, wrong)})


URI = asn1.implicit(6, b"spiffe://a/ns/b/sa/c")


def uris(*names: bytes) -> tuple[str, ...]:
    return read_uris({SUBJECT_ALT_NAME: Extension(False, asn1.sequence(*names))})


def test_uris_among_other_names() -> None:
    others = (
        asn1.implicit(2, b"web.shop.svc"),
        asn1.implicit(1, b"me@example.org"),
        asn1.implicit(7, b"\x0a\x00\x00\x01"),
        asn1.implicit(7, bytes(16)),
        asn1.implicit(8, b"\x55\x1d"),
        asn1.explicit(4, asn1.name("somebody")),
        asn1.explicit(4, asn1.name("")),
    )
    assert uris(URI, *others) == uris(*others, URI) == ("spiffe://a/ns/b/sa/c",)
    assert uris(URI, URI) == ("spiffe://a/ns/b/sa/c",) * 2
    assert uris(asn1.implicit(2, b"web")) == ()
    assert read_uris({}) == ()


@pytest.mark.parametrize(
    "name",
    [
        asn1.implicit(6, b""),
        asn1.implicit(6, b"spiffe://a/ns/b/sa/c\x00.evil"),
        asn1.implicit(6, b"spiffe://a/ns/b/sa/c\n"),
        asn1.implicit(6, b"spiffe://a/ns/b /sa/c"),
        asn1.implicit(6, "spiffe://ä/ns/b/sa/c".encode()),
        asn1.implicit(6, b"spiffe://a/ns/b/sa/c\x7f"),
        asn1.implicit(2, b"web\x00.evil"),
        asn1.implicit(1, b"a@b\x00"),
        asn1.implicit(7, b"\x0a\x00\x00"),
        asn1.implicit(7, bytes(8)),
        asn1.implicit(8, b"\x55\x80"),
        asn1.explicit(4, asn1.integer(1)),
        asn1.explicit(4, asn1.sequence(asn1.set_of())),
        asn1.explicit(4, asn1.name("a") + b"\x00"),
        asn1.explicit(4, asn1.sequence(asn1.set_of(asn1.sequence(asn1.oid("2.5.4.3"), asn1.element(0x1E, b"\x00a"))))),
        asn1.explicit(0, asn1.oid("1.3.6.1.4.1.311.20.2.3") + asn1.explicit(0, asn1.utf8("a\x00b"))),
        asn1.explicit(3, b""),
        asn1.explicit(5, b""),
        asn1.explicit(6, asn1.utf8("spiffe://a/ns/b/sa/c")),
        asn1.implicit(9, b"x"),
        asn1.integer(1),
    ],
)
def test_refuses_other_names(name: bytes) -> None:
    """CVE-2025-66220 among them: a NUL in a name nobody should read past."""
    for names in ((name,), (URI, name), (name, URI)):
        with pytest.raises(DerError):
            uris(*names)


def test_refuses_no_name_and_too_many() -> None:
    with pytest.raises(DerError):
        uris()
    assert uris(URI, *[asn1.implicit(2, b"a")] * (MAX_NAMES - 1))
    with pytest.raises(DerError):
        uris(URI, *[asn1.implicit(2, b"a")] * MAX_NAMES)
