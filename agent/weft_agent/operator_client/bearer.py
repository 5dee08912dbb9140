"""The agent's projected service account token: read at each use, since the kubelet replaces it long before it expires.

Theory: the operator judges the token, not we. Only the expiry is read from it, unverified, to plan a new connection before
the operator has to cut the old one; a token without a readable expiry is used all the same.

Source: Kubernetes "Service account token volume projection" (rotated at 80 % of its life); RFC 7519 §4.1.4.
"""

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from weft_agent.operator_client.errors import CredentialsError

MAX_TOKEN_BYTES: Final = 16 * 1024
_BEARER: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750 §2.1."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token."""

    text: str = field(repr=False)
    expires_unix_s: float
    """Infinite where the token does not say."""


class _Claims(msgspec.Struct):
    exp: float = math.inf


def read_token(path: Path) -> Token:
    """Read the token; blocking, but small.

    Raises:
        CredentialsError: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKEN_BYTES + 1).strip()
    except OSError as exc:
        raise CredentialsError(
            f"the token {path} cannot be read: {exc.strerror}; mount a projected service account token there"
        ) from exc
    if len(data) > MAX_TOKEN_BYTES or not _BEARER.fullmatch(data):
        raise CredentialsError(f"{path} holds no bearer token; mount a projected service account token there")
    return Token(data.decode("ascii"), _expiry(data))


def _expiry(token: bytes) -> float:
    parts = token.split(b".")
    if len(parts) != 3:
        return math.inf
    try:
        payload = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=_Claims).exp
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        return math.inf
