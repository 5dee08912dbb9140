"""Who a caller is, as the hub is told: the seam to the authentication of agents."""

from dataclasses import dataclass
from typing import Protocol


class RefusedError(Exception):
    """A caller is turned away; becomes `application/problem+json`.

    Args:
        status: HTTP status.
        title: what is refused, in a few words.
        detail: why, and what to do about it.
        retry_after_s: when coming again may help; None: not without a change.
    """

    def __init__(self, status: int, title: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{title}: {detail}")
        self.status, self.title, self.detail, self.retry_after_s = status, title, detail, retry_after_s

    @property
    def parts(self) -> tuple[int, str, str, float | None]:
        """What it was made of: an answer that is kept is raised as a new error each time."""
        return self.status, self.title, self.detail, self.retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An agent whose token was accepted."""

    node: str
    """The node that the token says it runs on."""
    pod: str = ""
    """`namespace/name` of the agent's pod; empty where it is none."""
    pod_uid: str = ""
    expires_unix_s: float = float("inf")
    """End of the token."""


class Gatekeeper(Protocol):
    """Knows callers by their bearer tokens."""

    async def admit(self, token: str) -> Caller:
        """Say who presents a token.

        Raises:
            RefusedError: nobody we serve.
        """

    def still_there(self, caller: Caller) -> bool:
        """Say whether an admitted caller still exists; its token may outlive it."""
