"""What is read of a cluster for an overview: Weft's own pods and their metrics, nodes, members, and the mesh's objects.

Theory: works with the rights of an ordinary user, as far as they go. What may not be read is named, with the right that is
missing, and shown as unknown; it is never taken for being in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weft_cli.cluster.metrics import Sample, scrape
from weft_cli.cluster.objects import Fetched, fetch
from weft_cli.cluster.session import Body, Session
from weft_operator.access import ApiError

NAME_LABEL: Final = "app.kubernetes.io/name"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
VERSION_LABEL: Final = "app.kubernetes.io/version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A cluster at one moment, as this user may see it."""

    server: str
    server_version: str
    namespace: str
    """Where Weft is installed."""
    fetched: Fetched
    agents: Sequence[Body]
    """Pods of the DaemonSet."""
    operators: Sequence[Body]
    metrics: Mapping[str, Sequence[Sample]]
    """By pod name; a pod that could not be asked is not there."""
    silent: Mapping[str, str]
    """Pod name to why it could not be asked."""
    leaders: Sequence[str] | None
    """Holders of the Leases in Weft's namespace; None: this user may not see them."""
    missing: Sequence[str]
    """What this user may not see, in the server's words."""

    def bodies(self, kind: str) -> list[Body]:
        """Return the objects of a kind."""
        return [document.body for document in self.fetched.documents if document.body.get("kind") == kind]


def gather(session: Session, namespace: str) -> Facts:
    """Read everything an overview is made of.

    Args:
        session: the cluster.
        namespace: where Weft is installed.

    Raises:
        ApiError: the server does not answer, or knows us not at all.
    """
    version = str(session.get("/version").get("gitVersion", ""))
    missing: list[str] = []
    pods = _own_pods(session, namespace, missing)
    fetched = fetch(session)
    metrics: dict[str, Sequence[Sample]] = {}
    silent: dict[str, str] = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            metrics[name] = scrape(session, namespace, name)
        except ApiError as exc:
            silent[name] = _why(exc)
    return Facts(
        server=session.server,
        server_version=version,
        namespace=namespace,
        fetched=fetched,
        agents=[pod for pod in pods if component(pod) == "agent"],
        operators=[pod for pod in pods if component(pod) == "operator"],
        metrics=metrics,
        silent=silent,
        leaders=_leaders(session, namespace),
        missing=(*missing, *fetched.unreadable),
    )


def component(pod: Body) -> str:
    """Return which part of Weft a pod is."""
    return str((pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def ready(pod: Body) -> bool:
    """Whether a pod's Ready condition holds."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _own_pods(session: Session, namespace: str, missing: list[str]) -> list[Body]:
    try:
        selector = {"labelSelector": f"{NAME_LABEL}=weft"}
        return session.everything(f"/api/v1/namespaces/{namespace}/pods", selector)
    except ApiError as exc:
        if exc.status != 403:
            raise
        missing.append(str(exc))
        return []


def _leaders(session: Session, namespace: str) -> list[str] | None:
    try:
        leases = session.everything(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    except ApiError as exc:
        if exc.status != 403:
            raise
        return None
    return [holder for lease in leases if (holder := str((lease.get("spec") or {}).get("holderIdentity") or ""))]


def _why(error: ApiError) -> str:
    if error.status == 403:
        return "this user may not use pods/proxy there (grant `get` on it to see more)"
    return f"its metrics do not answer: {str(error).rpartition(': ')[2]}"
