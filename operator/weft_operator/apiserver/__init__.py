"""The Kubernetes API server as the operator talks to it: who we are there, requests, lists in parts, watches, errors.

Belongs here: credentials and their renewal (`access`, `kubeconfig`), one client for all requests (`client`), what it raises
(`errors`). The client is a `controllers.store.Store` and more.
Does not belong here: any meaning of an object, and what is kept of a list or a watch (`weft_operator.reflect`).
"""

from weft_operator.apiserver.access import Access, AccessError, Credentials, InCluster
from weft_operator.apiserver.client import ApiServer, Body
from weft_operator.apiserver.errors import (
    ApiError,
    ConflictError,
    ExistsError,
    ExpiredError,
    NotFoundError,
    UnreachableError,
)
from weft_operator.apiserver.kubeconfig import Kubeconfig

__all__ = [
    "Access",
    "AccessError",
    "ApiError",
    "ApiServer",
    "Body",
    "ConflictError",
    "Credentials",
    "ExistsError",
    "ExpiredError",
    "InCluster",
    "Kubeconfig",
    "NotFoundError",
    "UnreachableError",
]
