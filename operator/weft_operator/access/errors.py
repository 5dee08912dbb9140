"""What goes wrong between us and the API server, as exceptions whose texts keep what the server said.

Source: Kubernetes API conventions, "Response Status Kind" (status, reason, message).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

MAX_MESSAGE: Final = 1000
"""Characters of the server's own words that are kept."""


class ApiError(Exception):
    """A request failed.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        reason: the server's word for it, as `Forbidden`; empty where it said none.
        retry_after_s: what the server asks us to wait; None: it said nothing.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s


class UnreachableError(ApiError):
    """There was no answer, or it broke off."""


class NotFoundError(ApiError):
    """There is no such object, or no such kind (404)."""


class ConflictError(ApiError):
    """Somebody else wrote the object since it was read (409)."""


class ExistsError(ApiError):
    """There is an object of this name already (409)."""


class ExpiredError(ApiError):
    """The resource version or continuation is too old; list anew (410)."""


def error_of(request: str, status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """Return the error that an answer is.

    Args:
        request: method and path, for the message.
        status: HTTP status, 400 or above; or the code of an ERROR event of a watch.
        body: a Status object, or anything.
        headers: of the answer.
    """
    said = _said(body)
    reason = str(said.get("reason") or "")
    message = f"{request}: {status} {reason}: {said.get('message') or 'no message'}"[:MAX_MESSAGE]
    kind = ApiError
    if status == 404:
        kind = NotFoundError
    elif status == 410 or reason in ("Expired", "Gone"):
        kind = ExpiredError
    elif status == 409:
        kind = ExistsError if reason == "AlreadyExists" else ConflictError
    return kind(message, status=status, reason=reason, retry_after_s=_seconds(headers.get("Retry-After")))


def _said(body: bytes) -> Mapping[str, object]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"message": body[:MAX_MESSAGE].decode(errors="replace").strip()}
    return found if isinstance(found, dict) else {"message": str(found)[:MAX_MESSAGE]}


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
