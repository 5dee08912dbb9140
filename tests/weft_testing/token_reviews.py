"""Tokens and their reviews without an API server: what Kubernetes says of tokens, as `tests/cluster` shows that it does."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from weft_contract.stream import TOKEN_AUDIENCE
from weft_operator.access import UnreachableError

AGENTS = ("weft-system", "weft-agent")
"""Namespace and service account."""


def token(name: str, expires_unix_s: float = 2e9) -> str:
    """Make a JSON web token that nobody signed."""
    claims = {"sub": name, "exp": int(expires_unix_s)}
    return f"e30.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{name}"


def user(pod: str, node: str, *, account: str = AGENTS[1], uid: str = "") -> dict[str, Any]:
    """Return what a review says of the user of a pod's token."""
    key = "authentication.kubernetes.io"
    extra = {f"{key}/pod-name": [pod], f"{key}/pod-uid": [uid or f"uid-{AGENTS[0]}-{pod}"], f"{key}/node-name": [node]}
    return {"username": f"system:serviceaccount:{AGENTS[0]}:{account}", "extra": extra}


class Reviewer:
    """An API server that reviews tokens."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        """By token; any other is not authenticated."""
        self.audiences = [TOKEN_AUDIENCE]
        self.reviews: list[str] = []
        self.away = False

    async def create(self, path: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a TokenReview."""
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        spec = item["spec"]
        assert spec["audiences"] == [TOKEN_AUDIENCE]
        self.reviews.append(spec["token"])
        if self.away:
            raise UnreachableError("POST tokenreviews: connection refused")
        found = self.users.get(spec["token"])
        if found is None:
            return {**item, "status": {"user": {}, "error": "invalid bearer token"}}
        return {**item, "status": {"authenticated": True, "audiences": self.audiences, "user": found}}
