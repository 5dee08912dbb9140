"""Authorities as text: a private key with its certificate in PEM, read with everything checked that can be."""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from weft_operator.ca.authority import AuthorityKey, CaError, SigningKey

NAME_CHARACTERS: Final = 16


def key_pem(key: AuthorityKey) -> bytes:
    """Return a private key as PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def authority_name(certificate: x509.Certificate) -> str:
    """Return the first characters of an authority's key identifier: what people call it by.

    Raises:
        CaError: it has none.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError) as exc:
        raise CaError(f"an authority's certificate needs a subject key identifier ({exc})") from exc
    return found.hex()[:NAME_CHARACTERS]


def read_certificates(text: bytes, where: str) -> list[x509.Certificate]:
    """Read certificates, at least one.

    Raises:
        CaError: there is none, or one cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(text)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise CaError(f"{where} does not hold certificates in PEM: {exc}") from exc


def read_signing_key(key: bytes, chain: bytes, where: str) -> SigningKey:
    """Read an authority's key and certificate; further certificates are those above it.

    Raises:
        CaError: they cannot be read, do not belong together, or are no authority's.
    """
    try:
        found = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise CaError(f"{where} does not hold a private key without a password: {exc}") from exc
    if not isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CaError(f"{where}: the key of an authority must be an elliptic curve or RSA key")
    certificate, *above = read_certificates(chain, where)
    if certificate.public_key() != found.public_key():
        raise CaError(f"{where} holds a private key that is not its certificate's")
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise CaError(f"{where} holds a certificate that is no authority's (basic constraints: CA)")
    authority_name(certificate)
    return SigningKey(certificate, found, tuple(above))
