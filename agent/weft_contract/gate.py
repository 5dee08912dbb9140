"""The capture gate: the init container that runs first in every pod of the mesh, and what it waits for.

Theory: a program that starts before its pod is captured would speak past the mesh. So the pod's first container connects to
`ports.GATE_ADDRESS_V4` or `GATE_ADDRESS_V6` at `ports.HEALTH_PORT`, addresses that nobody has: only the agent, and only
through the capture of this very pod, can answer there. The agent answers one line, `ready <pod uid>`, when rules, listeners,
certificate and configuration of the pod are in place, and closes without an answer before that. The gate compares the uid
with its own, ends with 0, and the pod's own containers start. Anything else: it tries again, and the pod waits.
"""

from typing import Final

GATE_CONTAINER: Final = "weft-gate"
"""Name of the init container; a pod of the mesh without it was created while the webhook was away."""
GATE_COMMAND: Final = ("weft-agent", "gate")
"""What it runs; the agent's own image has it."""
POD_UID_VARIABLE: Final = "WEFT_POD_UID"
"""Environment variable with the pod's uid, by the downward API."""

_READY: Final = "ready "


def ready_line(uid: str) -> bytes:
    """Return what the agent answers for a pod that is ready."""
    return f"{_READY}{uid}\n".encode("ascii")


def is_ready(answer: bytes, uid: str) -> bool:
    """Whether an answer opens the gate of a pod; an unfinished line does not."""
    return bool(uid) and answer == ready_line(uid)
