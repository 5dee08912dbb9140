"""The certificate authority: who issues, what is written into a certificate, and an authority in a directory.

Belongs here: roots, intermediates, leaves, their rotation, the files of the development authority.
Does not belong here: who may have which identity (the distribution's affair, by token and pod), and the judgement of
peers' certificates, which is the agents' (`weft_core.identity`).
"""

from weft_operator.ca.authority import (
    Authority,
    CaError,
    IssuedCertificate,
    ServerCertificate,
    SigningKey,
    create_intermediate,
    create_root,
    public_key_of_request,
)

__all__ = [
    "Authority",
    "CaError",
    "IssuedCertificate",
    "ServerCertificate",
    "SigningKey",
    "create_intermediate",
    "create_root",
    "public_key_of_request",
]
