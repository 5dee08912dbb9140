"""What everybody needs to know to reach an API server: credentials, kubeconfigs, and what goes wrong, as exceptions.

Belongs here: reading credentials from where they lie, and errors in the server's words; shared by the operator's client
(`weft_operator.apiserver`, asyncio) and the command line's (`weft_cli.cluster`, blocking).
Does not belong here: any connection, any object.
"""

from weft_operator.access.credentials import Access, AccessError, Credentials, InCluster
from weft_operator.access.errors import (
    ApiError,
    ConflictError,
    ExistsError,
    ExpiredError,
    NotFoundError,
    UnreachableError,
    error_of,
)
from weft_operator.access.kubeconfig import Kubeconfig

__all__ = [
    "Access",
    "AccessError",
    "ApiError",
    "ConflictError",
    "Credentials",
    "ExistsError",
    "ExpiredError",
    "InCluster",
    "Kubeconfig",
    "NotFoundError",
    "UnreachableError",
    "error_of",
]
