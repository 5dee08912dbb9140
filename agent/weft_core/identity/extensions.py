"""Extensions of a certificate: the envelope they come in, and the five whose content we judge.

Theory: an extension that we do not know is kept by name; a critical one among them makes the certificate unusable. Names
other than URIs are checked for form and then forgotten: nothing here or anywhere else decides by them, so a NUL or a
second spelling in one cannot matter (CVE-2025-66220). Kinds of names that no issuer of SPIFFE certificates writes
(otherName, X.400, EDI party) are refused, which is stricter than SPIFFE X509-SVID §2 asks.

Source: RFC 5280 §4.2; SPIFFE X509-SVID §2, §4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weft_core.identity.der import (
    BIT_STRING,
    BOOLEAN,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    DerError,
    Reader,
    context,
    object_identifier,
    read_integer,
    read_named_bits,
    read_oid,
    read_true,
)

BASIC_CONSTRAINTS: Final = object_identifier("2.5.29.19")
KEY_USAGE: Final = object_identifier("2.5.29.15")
EXTENDED_KEY_USAGE: Final = object_identifier("2.5.29.37")
SUBJECT_ALT_NAME: Final = object_identifier("2.5.29.17")
SUBJECT_KEY_ID: Final = object_identifier("2.5.29.14")

DIGITAL_SIGNATURE: Final = 0
KEY_CERT_SIGN: Final = 5
CRL_SIGN: Final = 6
"""Bit numbers of KeyUsage."""
_KEY_AGREEMENT: Final = 4
_ONLY_WITH_KEY_AGREEMENT: Final = frozenset({7, 8})
_LAST_USAGE: Final = 8

SERVER_AUTH: Final = object_identifier("1.3.6.1.5.5.7.3.1")
CLIENT_AUTH: Final = object_identifier("1.3.6.1.5.5.7.3.2")

MAX_EXTENSIONS: Final = 32
MAX_NAMES: Final = 64
"""Names in one subjectAltName; a workload has one URI and perhaps a few DNS names."""

_WIDE_STRINGS: Final = frozenset({0x1C, 0x1E})
"""UniversalString and BMPString, which RFC 5280 §4.1.2.4 lets nobody write."""

_RFC822_NAME: Final = context(1, constructed=False)
_DNS_NAME: Final = context(2, constructed=False)
_DIRECTORY_NAME: Final = context(4, constructed=True)
_URI: Final = context(6, constructed=False)
_IP_ADDRESS: Final = context(7, constructed=False)
_REGISTERED_ID: Final = context(8, constructed=False)


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension as it came: `value` is the DER inside the OCTET STRING."""

    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """Whether the subject is a certificate authority, and how many may follow below it."""

    is_authority: bool = False
    path_length: int | None = None


def read_extensions(extensions: Reader) -> dict[bytes, Extension]:
    """Read the content of the Extensions sequence, in order, by name.

    Raises:
        DerError: malformed, empty, too many, or one of them twice.
    """
    found: dict[bytes, Extension] = {}
    while extensions.tag != -1:
        fields = extensions.open(SEQUENCE)
        name = read_oid(fields.value(OID))
        critical = fields.tag == BOOLEAN and read_true(fields.value(BOOLEAN))
        value = fields.value(OCTET_STRING)
        fields.close()
        if name in found:
            raise DerError("an extension is there twice")
        found[name] = Extension(critical, value)
        if len(found) > MAX_EXTENSIONS:
            raise DerError(f"more than {MAX_EXTENSIONS} extensions")
    if not found:
        raise DerError("empty list of extensions")
    return found


def read_basic_constraints(extensions: Mapping[bytes, Extension]) -> BasicConstraints:
    """Return the basic constraints; absent means: not an authority."""
    extension = extensions.get(BASIC_CONSTRAINTS)
    if extension is None:
        return BasicConstraints()
    fields = _open_only(extension.value)
    is_authority = fields.tag == BOOLEAN and read_true(fields.value(BOOLEAN))
    path_length = read_integer(fields.value(INTEGER)) if fields.tag == INTEGER else None
    fields.close()
    if path_length is not None and (path_length < 0 or not is_authority):
        raise DerError("path length is negative, or given to something that is no authority")
    return BasicConstraints(is_authority, path_length)


def read_key_usage(extensions: Mapping[bytes, Extension]) -> frozenset[int] | None:
    """Return the usages as bit numbers; None: the extension is absent."""
    extension = extensions.get(KEY_USAGE)
    if extension is None:
        return None
    outer = Reader(extension.value)
    usage = read_named_bits(outer.value(BIT_STRING))
    outer.close()
    if max(usage) > _LAST_USAGE or (usage & _ONLY_WITH_KEY_AGREEMENT and _KEY_AGREEMENT not in usage):
        raise DerError("key usage has bits that mean nothing")
    return usage


def read_purposes(extensions: Mapping[bytes, Extension]) -> frozenset[bytes] | None:
    """Return the extended key usages; None: the extension is absent."""
    extension = extensions.get(EXTENDED_KEY_USAGE)
    if extension is None:
        return None
    items = _open_only(extension.value)
    found: set[bytes] = set()
    while items.tag != -1:
        found.add(read_oid(items.value(OID)))
    if not found:
        raise DerError("empty extended key usage")
    return frozenset(found)


def read_subject_key_id(extensions: Mapping[bytes, Extension]) -> bytes:
    """Return the subject key identifier; empty: the extension is absent."""
    extension = extensions.get(SUBJECT_KEY_ID)
    if extension is None:
        return b""
    outer = Reader(extension.value)
    content = outer.value(OCTET_STRING)
    outer.close()
    if not content:
        raise DerError("empty subject key identifier")
    return content


def read_uris(extensions: Mapping[bytes, Extension]) -> tuple[str, ...]:
    """Return the URIs among the subject's alternative names, in order.

    Raises:
        DerError: malformed, a name with anything but visible ASCII, or a kind of name that is not allowed.
    """
    extension = extensions.get(SUBJECT_ALT_NAME)
    if extension is None:
        return ()
    names = _open_only(extension.value)
    uris: list[str] = []
    count = 0
    while names.tag != -1:
        tag, count = names.tag, count + 1
        content = names.value(tag)
        if tag == _URI:
            uris.append(_visible_ascii(content))
        else:
            _check_other_name(tag, content)
        if count > MAX_NAMES:
            raise DerError(f"more than {MAX_NAMES} alternative names")
    if not count:
        raise DerError("empty list of alternative names")
    return tuple(uris)


def _check_other_name(tag: int, content: bytes) -> None:
    if tag in {_DNS_NAME, _RFC822_NAME}:
        _visible_ascii(content)
    elif tag == _REGISTERED_ID:
        read_oid(content)
    elif tag == _DIRECTORY_NAME:
        outer = Reader(content)
        check_name(outer.open(SEQUENCE))
        outer.close()
    elif tag != _IP_ADDRESS or len(content) not in {4, 16}:
        raise DerError(f"alternative name of kind {tag & 0x1F}, which no workload has")


def check_name(rdns: Reader) -> None:
    """Check the shape of a distinguished name: sets of pairs of a type and one value.

    Raises:
        DerError: it has another shape.
    """
    while rdns.tag != -1:
        pairs = rdns.open(SET)
        if pairs.tag == -1:
            raise DerError("empty set in a name")
        while pairs.tag != -1:
            pair = pairs.open(SEQUENCE)
            read_oid(pair.value(OID))
            if pair.tag in _WIDE_STRINGS:
                raise DerError("a name has a value of four or two bytes per character")
            pair.value(pair.tag)
            pair.close()


def _visible_ascii(content: bytes) -> str:
    if not content or min(content) < 0x21 or max(content) > 0x7E:
        raise DerError("a name is empty or has a byte that is not visible ASCII (NUL, space, control, or above 126)")
    return content.decode("ascii")


def _open_only(value: bytes) -> Reader:
    outer = Reader(value)
    inner = outer.open(SEQUENCE)
    outer.close()
    return inner
