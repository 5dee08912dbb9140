"""Identities of peers: strict reading of certificates, and the rules by which one is believed.

Belongs here: DER and X.509 as far as a trust decision needs them, PEM, the SPIFFE rules for leaf, chain and root.
Does not belong here: keys, signatures and TLS (OpenSSL's, in `weft_agent.tls`), issuing (`weft_operator.ca`), the grammar
of names (`weft_contract.identity`), files and clocks.
"""

from weft_core.identity.certificate import Certificate, read_certificate
from weft_core.identity.der import DerError
from weft_core.identity.pem import PemBlock, PemError, read_certificates, read_pem, write_pem
from weft_core.identity.verify import (
    PeerCertificate,
    PeerChain,
    Role,
    check_authority,
    check_root,
    verify_chain,
    verify_own,
    verify_peer,
)

__all__ = [
    "Certificate",
    "DerError",
    "PeerCertificate",
    "PeerChain",
    "PemBlock",
    "PemError",
    "Role",
    "check_authority",
    "check_root",
    "read_certificate",
    "read_certificates",
    "read_pem",
    "verify_chain",
    "verify_own",
    "verify_peer",
    "write_pem",
]
