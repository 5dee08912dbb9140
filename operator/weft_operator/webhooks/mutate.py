"""`/mutate`: pods that opted in get the capture gate as their first init container.

Theory: the API server sends pods that the webhook configuration's selectors chose: by their own label, or by their
namespace's where they have none. The choice is looked at again here, because a configuration with wider selectors would
otherwise put a gate into pods that no agent captures, and they would wait for ever. What cannot be in the mesh (the node's
own network, Windows) is let through as it is, with a warning: the compiler refuses it the mesh and its callers' STRICT
mode refuses its plaintext, so nothing gets weaker.
"""

from collections.abc import Callable, Mapping
from typing import Final

from weft_contract.labels import MESH_DISABLED, MESH_ENABLED, MESH_LABEL
from weft_operator.webhooks.gate import GateSettings, gate_patch
from weft_operator.webhooks.review import ALLOWED, Answer, Request, mapping

NamespaceLabels = Callable[[str], Mapping[str, str] | None]
"""Labels of a namespace; None: it is not known here (yet)."""

_HOST_NETWORK: Final = (
    f"{MESH_LABEL}: this pod opted in but uses the node's network, so it is not in the mesh and gets no capture gate; "
    f"label it {MESH_LABEL}: {MESH_DISABLED}"
)
_WINDOWS: Final = f"{MESH_LABEL}: Windows pods cannot be in the mesh; label it {MESH_LABEL}: {MESH_DISABLED}"


def mutate(request: Request, settings: GateSettings, namespace_labels: NamespaceLabels) -> Answer:
    """Answer for one pod.

    Args:
        request: what the API server asks.
        settings: how the gate is made.
        namespace_labels: what is known of namespaces.
    """
    pod = request.item
    if request.operation != "CREATE" or request.kind.kind != "Pod" or not _opted_in(request, namespace_labels):
        return ALLOWED
    spec = mapping(pod.get("spec"))
    if spec.get("hostNetwork") is True:
        return Answer(allowed=True, warnings=[_HOST_NETWORK])
    if mapping(spec.get("os")).get("name") == "windows":
        return Answer(allowed=True, warnings=[_WINDOWS])
    return Answer(allowed=True, patch=gate_patch(pod, settings))


def _opted_in(request: Request, namespace_labels: NamespaceLabels) -> bool:
    """Whether a pod is to be in the mesh: its own label, else its namespace's.

    A namespace that is not known yet has just been made, and the API server, which knows it, chose the pod by its label.
    """
    own = mapping(mapping(request.item.get("metadata")).get("labels")).get(MESH_LABEL)
    if own in (MESH_ENABLED, MESH_DISABLED):
        return own == MESH_ENABLED
    labels = namespace_labels(request.namespace)
    return labels is None or labels.get(MESH_LABEL) == MESH_ENABLED
