"""Why the operator cannot be talked to: a class for each kind, with the reason that metrics count it by.

Theory: nothing here ends the agent. Each error ends one attempt, is told in log, status and readiness, and is followed by the
next attempt; the last good configuration and the certificates that are valid stay in force.
"""

from typing import ClassVar


class OperatorError(Exception):
    """One attempt failed; never raised itself. The message says what happened and what to look at."""

    reason: ClassVar[str] = "error"


class CredentialsError(OperatorError):
    """The agent's own roots or token cannot be read."""

    reason = "credentials"


class UnreachableError(OperatorError):
    """No connection came about, or it broke."""

    reason = "unreachable"


class UntrustedError(OperatorError):
    """What answers is not the operator that the roots vouch for."""

    reason = "untrusted"


class RefusedError(OperatorError):
    """The operator answered, and said no.

    Args:
        status: of the HTTP answer.
        detail: in the operator's words.
        retry_after_s: how long it asks to be left alone.
    """

    reason = "refused"

    def __init__(self, status: int, detail: str, retry_after_s: float = 0.0) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"the operator answered {status}: {detail or 'without a reason'}")


class ProtocolError(OperatorError):
    """The operator says what this agent does not understand; most likely one of them is of another version."""

    reason = "protocol"


class SilentError(OperatorError):
    """The connection is there, and nothing comes any more."""

    reason = "silent"


class ClosedError(OperatorError):
    """The operator closed the stream without a word."""

    reason = "closed"


class GoodbyeError(OperatorError):
    """The operator ended the session in order.

    Args:
        text: its reason.
        retry_after_s: when to come back.
    """

    reason = "goodbye"

    def __init__(self, text: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the operator said goodbye: {text or 'without a reason'}")
