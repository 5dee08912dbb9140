"""The capture gate: the init container that runs first in every pod of the mesh, and what it waits for.

Theory: a program that starts before its pod is captured would speak past the mesh. So the pod's first container connects to
`ports.GATE_ADDRESS_V4` or `GATE_ADDRESS_V6` at `ports.HEALTH_PORT`, addresses that nobody has: only the agent, and only
through the capture of this very pod, can answer there. The gate says one line, `gate <pod uid>`. The agent answers one line,
`ready <pod uid>`, when rules, listeners, certificate and configuration of the pod are in place, `waiting <reason>` before
that, and closes. The gate compares the uid with its own, ends with 0, and the pod's own containers start. Anything else: it
tries again, and the pod waits. The reason is for people; nothing is decided by it.

This module is imported by the gate itself, which starts without site packages: standard library only.
"""

from typing import Final

GATE_CONTAINER: Final = "weft-gate"
"""Name of the init container; a pod of the mesh without it was created while what puts it in was away."""
GATE_COMMAND: Final = ("weft-agent", "gate")
"""What it runs; the agent's own image has it."""
POD_UID_VARIABLE: Final = "WEFT_POD_UID"
"""Environment variable with the pod's uid, by the downward API."""

MAX_LINE_BYTES: Final = 512
"""Of a question or an answer; whoever sends more is not the other half of this."""

_ASK: Final = "gate "
_READY: Final = "ready "
_WAITING: Final = "waiting "


def ready_line(uid: str) -> bytes:
    """Return what the agent answers for a pod that is ready."""
    return f"{_READY}{uid}\n".encode("ascii")


def is_ready(answer: bytes, uid: str) -> bool:
    """Whether an answer opens the gate of a pod; an unfinished line does not."""
    return bool(uid) and answer == ready_line(uid)


def question_line(uid: str) -> bytes:
    """Return what the gate of a pod says."""
    return f"{_ASK}{uid}\n".encode("ascii")


def question_uid(line: bytes) -> str:
    """Return the uid that a gate asks for; empty where the line is no question."""
    text = line.decode("ascii", "replace")
    return text.removeprefix(_ASK).removesuffix("\n") if text.startswith(_ASK) and text.endswith("\n") else ""


def waiting_line(reason: str) -> bytes:
    """Return what the agent answers for a pod that is not ready."""
    text = " ".join(reason.split()).encode("ascii", "replace")
    return _WAITING.encode() + text[: MAX_LINE_BYTES - len(_WAITING) - 1] + b"\n"


def waiting_reason(answer: bytes) -> str:
    """Return why a pod has to wait; empty where the answer does not say so."""
    text = answer.decode("ascii", "replace")
    return text.removeprefix(_WAITING).strip() if text.startswith(_WAITING) and text.endswith("\n") else ""
