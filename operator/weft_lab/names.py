"""Names of everything a lab leaves on the machine: namespaces, links, directories. Pure; `down` works from these alone.

Theory: whatever a lab makes carries the lab's name in a form that no other lab's name can produce. A lab name has no dot,
so `weft-lab.<name>.` is a prefix of that lab's namespaces and of no other's. Recovery therefore needs no record.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

STATE_ROOT: Final = Path("/run/weft/lab")
NETNS_ROOT: Final = Path("/run/netns")
NAMESPACE_PREFIX: Final = "weft-lab"
DEFAULT_LAB: Final = "default"
LAB_VARIABLE: Final = "WEFT_LAB_PROCESS_OF"
"""Environment variable that marks the processes a lab starts outside of its namespaces; never set by people, as `down` kills
whatever carries it."""

_LAB_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_MAX_NAMESPACE_NAME: Final = 128
"""What the annotation `weft.dev/netns` may hold."""


class LabNameError(ValueError):
    """The text cannot name a lab; the message says what can."""


def check_lab_name(text: str) -> str:
    """Return `text` if it can name a lab.

    Raises:
        LabNameError: it is not 1-32 characters of a-z, 0-9 and inner dashes.
    """
    if not _LAB_NAME.fullmatch(text):
        raise LabNameError(
            f"lab name {text!r:.60} must be 1-32 characters of a-z, 0-9 and '-', not beginning or ending with '-'"
        )
    return text


def node_names(count: int) -> tuple[str, ...]:
    """Return the names of a lab's nodes: `node-1`, `node-2` …"""
    return tuple(f"node-{index}" for index in range(1, count + 1))


def namespace_prefix(lab: str) -> str:
    """Return what the names of all network namespaces of a lab begin with."""
    return f"{NAMESPACE_PREFIX}.{lab}."


def fabric_namespace(lab: str) -> str:
    """Return the network namespace of the bridge that joins the nodes."""
    return f"{namespace_prefix(lab)}fabric"


def node_namespace(lab: str, node: str) -> str:
    """Return the network namespace of a node."""
    return f"{namespace_prefix(lab)}node.{node}"


def pod_namespace(lab: str, namespace: str, pod: str) -> str:
    """Return the network namespace of a pod; long names are cut and told apart by a hash."""
    name = f"{namespace_prefix(lab)}pod.{namespace}.{pod}"
    if len(name) <= _MAX_NAMESPACE_NAME:
        return name
    return f"{name[: _MAX_NAMESPACE_NAME - 13]}-{short_hash(name, 12)}"


def pod_link(uid: str) -> str:
    """Return the name of a pod's link on its node; kernel names have at most 15 bytes."""
    return f"pod{short_hash(uid, 12)}"


def short_hash(text: str, length: int) -> str:
    """Return the first hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def state_directory(lab: str) -> Path:
    """Return the directory that holds all state of a lab."""
    return STATE_ROOT / lab
