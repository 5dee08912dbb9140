"""The capture gate as a container, and the patch that puts it first into a pod.

Theory: the gate has to be the *first* init container, or one before it would speak past the mesh; so a gate that another
webhook pushed back is moved to the front again (`reinvocationPolicy: IfNeeded`), and one that a pod brings along under our
name is replaced: a pod cannot opt out by a gate of its own making. Applying the patch twice changes nothing.

Where the API server puts the gate in by itself, the chart's `templates/webhooks/gate-policy.yaml` says all this in CEL, of the
container in its `files/gate.yaml`; tests hold the two against this module.

The container asks for nothing: no privilege, no token, a read-only root, so that it runs under the `restricted` Pod Security
Standard. Its limits count for the pod only while it runs.

Source: `weft_contract.gate`; Kubernetes documentation "Init containers" (order, resources), RFC 6902.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from weft_contract.gate import GATE_COMMAND, GATE_CONTAINER, POD_UID_VARIABLE
from weft_operator.webhooks.review import Patch, mapping

_PATH: Final = "/spec/initContainers"
NOBODY: Final = 65532
"""User and group of the gate; the number of distroless images' `nonroot`."""
CREDENTIALS: Final = "/var/run/secrets/"
"""Where tokens are mounted into every container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """How the gate is made; set by the chart."""

    image: str
    """The agent's own image, which is on every node already."""
    pull_policy: str = "IfNotPresent"
    command: Sequence[str] = GATE_COMMAND
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "10m", "memory": "32Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "500m", "memory": "128Mi"})
    """Both are given, because a quota of a namespace may ask for both."""


def gate_container(settings: GateSettings) -> dict[str, object]:
    """Return the container."""
    return {
        "name": GATE_CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": list(settings.command),
        "env": [
            {
                "name": POD_UID_VARIABLE,
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}},
            }
        ],
        "resources": {"requests": dict(settings.requests), "limits": dict(settings.limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": NOBODY,
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def gate_patch(pod: Mapping[str, object], settings: GateSettings) -> Patch:
    """Return the JSON patch that makes the gate a pod's first init container; empty where it is already.

    Args:
        pod: as it would be stored.
        settings: how the gate is made.
    """
    gate = gate_container(settings)
    spec = mapping(pod.get("spec"))
    present = spec.get("initContainers")
    if not isinstance(present, list) or not present:
        return [{"op": "add", "path": _PATH, "value": [gate]}]
    ours = [index for index, item in enumerate(present) if mapping(item).get("name") == GATE_CONTAINER]
    if ours == [0] and _is_gate(mapping(present[0]), gate):
        return ()
    # From behind, so that the places in front keep their numbers; the test guards against a list that moved meanwhile.
    removals: list[dict[str, object]] = []
    for index in reversed(ours):
        removals.append({"op": "test", "path": f"{_PATH}/{index}/name", "value": GATE_CONTAINER})
        removals.append({"op": "remove", "path": f"{_PATH}/{index}"})
    return [*removals, {"op": "add", "path": f"{_PATH}/0", "value": gate}]


def _is_gate(container: Mapping[str, object], gate: Mapping[str, object]) -> bool:
    """Whether a container is the gate and nothing more: no arguments, no further environment, no file put over its program.

    What other admission gives to every container makes no other gate of it: mounts of credentials, and resources beside ours.
    """
    if container.keys() - gate.keys() - {"volumeMounts"}:
        return False
    same = all(container.get(key) == value for key, value in gate.items() if key != "resources")
    return same and _has_resources(container, gate) and all(map(_is_of_credentials, _items(container, "volumeMounts")))


def _has_resources(container: Mapping[str, object], gate: Mapping[str, object]) -> bool:
    has, needs = mapping(container.get("resources")), mapping(gate["resources"])
    return all(mapping(needs[part]).items() <= mapping(has.get(part)).items() for part in needs)


def _is_of_credentials(mount: object) -> bool:
    path = str(mapping(mount).get("mountPath", ""))
    return path.startswith(CREDENTIALS) and ".." not in path


def _items(container: Mapping[str, object], key: str) -> Sequence[object]:
    value = container.get(key)
    return value if isinstance(value, list) else ()
