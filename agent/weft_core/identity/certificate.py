"""X.509 certificates read strictly: bytes in, the facts that a trust decision needs out.

Theory: `cryptography.x509` would do this, but it costs 8.4 MiB of memory in every worker (measured: 25.9 against 34.3 MiB
after importing trio, msgspec and ssl). This reader is a few hundred lines, knows no key and no signature (OpenSSL has
checked those before we look), and is tested against `cryptography` over thousands of mutated certificates: what it
accepts, `cryptography` reads the same way. It may refuse more.

Source: RFC 5280 §4.1.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from weft_core.identity.der import (
    BIT_STRING,
    INTEGER,
    OID,
    SEQUENCE,
    DerError,
    Reader,
    context,
    read_integer,
    read_octet_bits,
    read_oid,
    read_time,
)
from weft_core.identity.extensions import (
    BASIC_CONSTRAINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    BasicConstraints,
    Extension,
    check_name,
    read_basic_constraints,
    read_extensions,
    read_key_usage,
    read_purposes,
    read_subject_key_id,
    read_uris,
)
from weft_core.identity.keys import PublicKey, read_public_key

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
"""RSA 4096 with 64 names stays below 6 KiB; the size bounds the work of everything that follows."""
MAX_SERIAL_OCTETS: Final = 20
"""RFC 5280 §4.1.2.2."""

_VERSION: Final = context(0, constructed=True)
_EXTENSIONS: Final = context(3, constructed=True)
_VERSION_3: Final = 2
_JUDGED: Final = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME})


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says; nothing here is judged yet."""

    serial: int
    issuer: bytes
    """The issuer's name as DER; compared as bytes, only to tell whether a certificate is its own issuer."""
    subject: bytes
    not_before_unix_s: int
    not_after_unix_s: int
    """Both are the first and last second of validity."""
    key: PublicKey
    constraints: BasicConstraints
    usage: frozenset[int] | None
    """Bit numbers of KeyUsage; None: absent."""
    usage_critical: bool
    purposes: frozenset[bytes] | None
    """Extended key usages; None: absent."""
    uris: tuple[str, ...]
    """Every URI among the alternative names."""
    subject_key_id: bytes
    unknown_critical: int
    """How many critical extensions there are whose content nobody here reads."""


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> Certificate:
    """Read one version 3 certificate.

    Remembered by content: a peer shows the same certificate on each of its connections, and a chain ends in the same
    few authorities.

    Args:
        der: the certificate, whole.

    Raises:
        DerError: it is not a version 3 certificate in DER, or too large.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise DerError(f"certificate of {len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are read")
    outer = Reader(der)
    certificate = outer.open(SEQUENCE)
    outer.close()
    body = certificate.open(SEQUENCE)
    algorithm = certificate.whole(SEQUENCE)
    if not read_octet_bits(certificate.value(BIT_STRING)):
        raise DerError("empty signature")
    certificate.close()
    return _read_body(body, algorithm)


def _read_body(body: Reader, outer_algorithm: bytes) -> Certificate:
    if body.tag != _VERSION:  # left out: version 1
        raise DerError("certificate is not of version 3")
    version = body.open(_VERSION)
    if read_integer(version.value(INTEGER)) != _VERSION_3:
        raise DerError("certificate is not of version 3")
    version.close()
    serial = _read_serial(body.value(INTEGER))
    if body.whole(SEQUENCE) != outer_algorithm:
        raise DerError("signature algorithm inside and outside differ")
    _check_algorithm(outer_algorithm)
    issuer = _read_name(body.whole(SEQUENCE))
    validity = body.open(SEQUENCE)
    not_before, not_after = read_time(validity), read_time(validity)
    validity.close()
    subject = _read_name(body.whole(SEQUENCE))
    key = read_public_key(body.open(SEQUENCE))
    wrapper = body.open(_EXTENSIONS)  # the unique identifiers that may stand before it are long obsolete: refused
    extensions = read_extensions(wrapper.open(SEQUENCE))
    wrapper.close()
    body.close()
    return Certificate(
        serial=serial,
        issuer=issuer,
        subject=subject,
        not_before_unix_s=not_before,
        not_after_unix_s=not_after,
        key=key,
        constraints=read_basic_constraints(extensions),
        usage=read_key_usage(extensions),
        usage_critical=_is_critical(extensions.get(KEY_USAGE)),
        purposes=read_purposes(extensions),
        uris=read_uris(extensions),
        subject_key_id=read_subject_key_id(extensions),
        unknown_critical=sum(1 for name, item in extensions.items() if item.critical and name not in _JUDGED),
    )


def _read_serial(content: bytes) -> int:
    serial = read_integer(content)
    if serial <= 0 or len(content) > MAX_SERIAL_OCTETS:
        raise DerError(f"serial number is not a positive number of at most {MAX_SERIAL_OCTETS} octets")
    return serial


def _check_algorithm(der: bytes) -> None:
    """Check the shape; OpenSSL has judged the algorithm when it checked the signature."""
    fields = Reader(der).open(SEQUENCE)
    read_oid(fields.value(OID))
    if fields.tag != -1:
        fields.value(fields.tag)
    fields.close()


def _read_name(der: bytes) -> bytes:
    check_name(Reader(der).open(SEQUENCE))
    return der


def _is_critical(extension: Extension | None) -> bool:
    return extension is not None and extension.critical
