"""An authority that somebody else keeps, as cert-manager writes it into a Secret: `tls.crt`, `tls.key`, `ca.crt`."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from weft_operator.ca.authority import CaError
from weft_operator.ca.pem import authority_name, key_pem, read_certificates, read_signing_key
from weft_operator.ca.state import RootRecord, SignerRecord

CHAIN: Final = "tls.crt"
KEY: Final = "tls.key"
ROOTS: Final = "ca.crt"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What the Secret says now."""

    roots: tuple[RootRecord, ...]
    """Without their keys, by name."""
    signer: SignerRecord


def read_issuer(data: Mapping[str, bytes], where: str) -> Issuer:
    """Read an issuer.

    Args:
        data: the Secret's.
        where: its name, for messages.

    Raises:
        CaError: something is missing, does not belong together, or does not lead to one of its roots.
    """
    missing = [name for name in (CHAIN, KEY, ROOTS) if not data.get(name)]
    if missing:
        raise CaError(
            f"{where} has no {', '.join(missing)}: it must hold tls.crt, tls.key and ca.crt, as cert-manager writes them for "
            "a Certificate with isCA: true"
        )
    signer = read_signing_key(data[KEY], data[CHAIN], where)
    roots = read_certificates(data[ROOTS], f"{where} {ROOTS}")
    above = [certificate for certificate in signer.above if certificate not in roots]
    root = _root_above([signer.certificate, *above], roots, where)
    records = {
        name: RootRecord(name=name, certificate=_pem(certificate))
        for certificate in roots
        for name in [authority_name(certificate)]
    }
    chain = "".join(map(_pem, [signer.certificate, *above]))
    record = SignerRecord(root=authority_name(root), certificate=chain, key=key_pem(signer.key).decode())
    return Issuer(tuple(records[name] for name in sorted(records)), record)


def _root_above(chain: list[x509.Certificate], roots: list[x509.Certificate], where: str) -> x509.Certificate:
    """Return the root that a chain leads to.

    Raises:
        CaError: a signature is wrong, or it leads to none.
    """
    for below, above in pairwise(chain):
        if not _issued(above, below):
            raise CaError(f"{where}: {CHAIN} is not a chain, each certificate below the next")
    for root in roots:
        if _issued(root, chain[-1]):
            return root
    raise CaError(
        f"{where}: {CHAIN} does not lead to a root of {ROOTS}; a self-signed issuer cannot be used as it is, make a "
        "Certificate with isCA: true below it"
    )


def _issued(above: x509.Certificate, below: x509.Certificate) -> bool:
    if above == below:
        return False
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
