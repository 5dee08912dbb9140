"""What `weft check` of a cluster looks at, each as a finding with what to do about it; `--pre` before anything is installed.

Theory: a check answers what a person would try next: is this a cluster that Weft runs on, may this user install it, is everything
there and in order, does anything in the objects not hold. What could not be looked at is a warning, never a success.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from weft_cli.cluster.objects import custom_collections
from weft_cli.cluster.session import Body, Session
from weft_cli.overview.facts import Facts
from weft_cli.overview.finding import Finding
from weft_cli.overview.gate import gate_before, gate_now, gate_resources
from weft_cli.overview.nodes import node_states, operator_states
from weft_cli.overview.objects import troubled
from weft_contract.labels import GATEWAY_GROUP, GROUP
from weft_operator.access import ApiError
from weft_operator.compile import compile_cluster, read_view

OLDEST_MINOR: Final = 33
OLDEST_KERNEL: Final = (5, 17)
"""What the README asks for."""
KINDS: Final = ("Mesh", "AuthorizationPolicy", "PeerAuthentication", "RateLimitPolicy")
_NEEDED: Final = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("", "namespaces"),
)
"""What an installation creates outside its namespace, everywhere."""
_FOREIGN: Final = {"istio.io": "Istio", "linkerd.io": "Linkerd", "kuma.io": "Kuma"}


def before_installation(session: Session) -> Iterator[Finding]:
    """Yield what there is to say about a cluster that Weft is to be installed on."""
    yield _version(str(session.get("/version").get("gitVersion", "")))
    yield from _nodes(session)
    yield _gateway_api(session)
    yield gate_before(session)
    yield from (_may_create(session, group, resource) for group, resource in (*_NEEDED, *gate_resources(session)))
    yield from _other_meshes(session)


def of_installation(session: Session, facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say about a cluster that Weft is installed on."""
    yield _version(facts.server_version)
    yield from _crds(session)
    yield _gateway_api(session)
    yield from _parts(facts)
    yield gate_now(session)
    yield from _objects(facts)
    for text in facts.missing:
        yield Finding(
            subject="rights", result="warning", message=f"could not be looked at: {text}", remedy="ask for them"
        )


def _version(text: str) -> Finding:
    found = re.match(r"v1\.(\d+)", text)
    if found is None or int(found[1]) < OLDEST_MINOR:
        message, remedy = f"{text or 'unknown'}, Weft needs v1.{OLDEST_MINOR} or newer", "upgrade the cluster"
        return Finding(subject="Kubernetes", result="error", message=message, remedy=remedy)
    return Finding(subject="Kubernetes", result="ok", message=text)


def _nodes(session: Session) -> Iterator[Finding]:
    try:
        nodes = session.everything("/api/v1/nodes")
    except ApiError as exc:
        if exc.status != 403:
            raise
        yield Finding(subject="nodes", result="warning", message=f"could not be looked at: {exc}")
        return
    wrong = [finding for node in nodes if (finding := _node(node)) is not None]
    yield from wrong
    if not wrong:
        yield Finding(subject="nodes", result="ok", message=f"{len(nodes)} nodes, all Linux with a kernel that will do")


def _node(node: Body) -> Finding | None:
    name = node["metadata"]["name"]
    about = (node.get("status") or {}).get("nodeInfo") or {}
    system, kernel = str(about.get("operatingSystem", "")), str(about.get("kernelVersion", ""))
    if system != "linux":
        message = f"runs {system or 'an unknown system'}; its pods cannot be in the mesh"
        return Finding(
            subject=f"node {name}", result="warning", message=message, remedy="keep meshed pods away from it"
        )
    found = re.match(r"(\d+)\.(\d+)", kernel)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_KERNEL:
        message = f"kernel {kernel or 'unknown'} is older than {'.'.join(map(str, OLDEST_KERNEL))}"
        return Finding(subject=f"node {name}", result="error", message=message, remedy="upgrade the node")
    return None


def _gateway_api(session: Session) -> Finding:
    kinds = {item.kind for item in custom_collections(session, GATEWAY_GROUP)}
    if "HTTPRoute" not in kinds:
        message = "its CRDs are not installed: policies work, routes cannot be written"
        remedy = "apply the standard channel of Gateway API v1.6"
        return Finding(subject="Gateway API", result="warning", message=message, remedy=remedy)
    return Finding(
        subject="Gateway API", result="ok", message=", ".join(sorted(kind for kind in kinds if "Route" in kind))
    )


def _may_create(session: Session, group: str, resource: str) -> Finding:
    attributes = {"verb": "create", "group": group, "resource": resource}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = session.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    name = f"{resource}.{group}".rstrip(".")
    if (answer.get("status") or {}).get("allowed"):
        return Finding(subject="rights", result="ok", message=f"this user may create {name}")
    message = f"this user may not create {name}, which an installation does"
    return Finding(
        subject="rights", result="error", message=message, remedy="install as an administrator of the cluster"
    )


def _other_meshes(session: Session) -> Iterator[Finding]:
    groups = [str(item.get("name")) for item in session.get("/apis").get("groups") or ()]
    for suffix, name in _FOREIGN.items():
        if any(group == suffix or group.endswith(f".{suffix}") for group in groups):
            message = f"{name} is installed too: a pod must not be in both meshes"
            remedy = f"label only namespaces that {name} leaves alone"
            yield Finding(subject="other meshes", result="warning", message=message, remedy=remedy)


def _crds(session: Session) -> Iterator[Finding]:
    kinds = {item.kind for item in custom_collections(session, GROUP)}
    absent = [kind for kind in KINDS if kind not in kinds]
    if absent:
        message = f"not installed: {', '.join(absent)}"
        yield Finding(subject="CRDs", result="error", message=message, remedy="install the chart weft-crds")
    else:
        yield Finding(subject="CRDs", result="ok", message=", ".join(KINDS))


def _parts(facts: Facts) -> Iterator[Finding]:
    operators, nodes = operator_states(facts), node_states(facts)
    if not operators:
        message = "no operator runs: nothing that changes reaches the agents"
        yield Finding(subject="operator", result="error", message=message, remedy="install the chart weft")
    for operator in operators:
        result: Literal["ok", "warning", "error"] = "ok" if operator.ready and not operator.message else "warning"
        yield Finding(subject=f"operator {operator.pod}", result=result, message=operator.message or "ready")
    for node in nodes:
        wrong = bool(node.message)
        result = "ok" if not wrong else "warning" if node.ready else "error"
        captured = "?" if node.captured is None else str(node.captured)
        message = node.message or f"agent ready, {captured}/{node.members} pods captured"
        remedy = f"kubectl logs -n {facts.namespace} {node.agent}" if wrong and node.agent else ""
        yield Finding(subject=f"node {node.node}", result=result, message=message, remedy=remedy)


def _objects(facts: Facts) -> Iterator[Finding]:
    problems = compile_cluster(read_view(facts.fetched.documents)).problems
    for problem in problems:
        subject = problem.subject or problem.source
        result: Literal["warning", "error"] = "warning" if problem.warning else "error"
        message = f"{problem.path}: {problem.message}"
        yield Finding(subject=subject, result=result, message=message, remedy=problem.remedy or "")
    told = {problem.subject for problem in problems}
    states = [state for state in troubled(facts) if f"{state.kind} {state.namespace}/{state.name}" not in told]
    for state in states:
        message = f"{state.condition} does not hold: {state.reason}: {state.message}"
        subject = f"{state.kind} {state.namespace}/{state.name}"
        yield Finding(subject=subject, result="error", message=message)
    if not problems and not states:
        yield Finding(subject="objects", result="ok", message="everything in them is carried out")
