"""The Kubernetes API server as the operator talks to it: who we are there, requests, lists in parts, watches, errors.

Belongs here: renewal of credentials (`connection`), one request and its answer (`exchange`), the client (`client`); where
credentials lie and what is raised is `weft_operator.access`. The client is a `controllers.store.Store` and more.
Does not belong here: any meaning of an object, and what is kept of a list or a watch (`weft_operator.reflect`).
"""

from weft_operator.access import (
    Access,
    AccessError,
    ApiError,
    ConflictError,
    Credentials,
    ExistsError,
    ExpiredError,
    InCluster,
    Kubeconfig,
    NotFoundError,
    UnreachableError,
)
from weft_operator.apiserver.client import ApiServer, Body

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
