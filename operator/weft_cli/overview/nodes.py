"""The state of each node: its agent, how many of its pods are captured, which configuration holds, which certificates."""

import time
from collections.abc import Iterable, Sequence

import msgspec

from weft_cli.cluster.metrics import Sample
from weft_cli.cluster.session import Body
from weft_cli.overview.facts import Facts, ready
from weft_contract.resources import Workload
from weft_operator.compile import compile_cluster, read_view

SOON_S = 3600.0
"""A certificate that lives no longer is told of: renewal happens at half life, so something keeps it from happening."""


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base: immutable, camelCase in JSON and YAML."""


class NodeState(Shape, frozen=True, kw_only=True):
    """One node."""

    node: str
    agent: str = ""
    """Pod name; empty: none runs there."""
    ready: bool = False
    version: str = ""
    restarts: int = 0
    captured: int | None = None
    """Pods captured; None: not known."""
    members: int = 0
    """Pods that opted in, as the objects say."""
    generation: int | None = None
    workers_behind: int = 0
    """Workers that have not applied this generation."""
    connected: bool | None = None
    """Whether an operator's stream is open; None: not known."""
    degraded: bool = False
    """Works with its last good configuration."""
    refused_resources: int = 0
    certificates: int | None = None
    next_expiry_unix_s: float | None = None
    message: str = ""
    """What is not in order; empty: nothing."""


class OperatorState(Shape, frozen=True, kw_only=True):
    """One replica of the operator."""

    pod: str
    ready: bool
    leading: bool | None = None
    """None: not known."""
    streams: int | None = None
    """Agents connected."""
    message: str = ""


def node_states(facts: Facts, now_unix_s: float | None = None) -> list[NodeState]:
    """Return the state of every node that has an agent, members, or neither."""
    now = time.time() if now_unix_s is None else now_unix_s
    members = _members(facts)
    by_node = {str(pod["spec"].get("nodeName", "")): pod for pod in facts.agents}
    names = {str(node["metadata"]["name"]) for node in facts.bodies("Node")} | by_node.keys() | members.keys()
    return [_node_state(name, by_node.get(name), members.get(name, 0), facts, now) for name in sorted(names - {""})]


def operator_states(facts: Facts) -> list[OperatorState]:
    """Return the state of every operator."""
    return [_operator_state(pod, facts) for pod in facts.operators]


def _members(facts: Facts) -> dict[str, int]:
    """Count the pods that the compiler takes for members, by node."""
    compiled = compile_cluster(read_view(facts.fetched.documents))
    return {
        node: sum(isinstance(entry.spec, Workload) for entry in document.resources)
        for node, document in compiled.nodes.items()
    }


def _node_state(name: str, agent: Body | None, members: int, facts: Facts, now: float) -> NodeState:
    if agent is None:
        message = f"no agent runs here, so {members} pods of the mesh cannot start" if members else "no agent runs here"
        return NodeState(node=name, members=members, message=message)
    pod = str(agent["metadata"]["name"])
    samples = facts.metrics.get(pod)
    known = _known(samples) if samples is not None else {}
    state = NodeState(
        node=name, agent=pod, ready=ready(agent), restarts=_restarts(agent), members=members,
        **known,  # type: ignore[arg-type] # values by name, each of its field's type
    )  # fmt: skip
    return msgspec.structs.replace(state, message="; ".join(_complaints(state, facts.silent.get(pod, ""), now)))


def _known(samples: Sequence[Sample]) -> dict[str, object]:
    generation = _first(samples, "weft_config_generation")
    connected = _first(samples, "weft_operator_connected")
    applied = [sample.value for sample in samples if sample.name == "weft_config_applied_generation"]
    expiries = [sample.value for sample in samples if sample.name == "weft_certificate_not_after_seconds"]
    captured = [
        s for s in samples if s.name == "weft_capture_state" and s.labels.get("state") == "captured" and s.value
    ]
    build = next((sample for sample in samples if sample.name == "weft_build_info"), None)
    return {
        "version": build.labels.get("version", "") if build is not None else "",
        "captured": len(captured),
        "generation": int(generation) if generation is not None else None,
        "workers_behind": sum(value != generation for value in applied),
        "connected": bool(connected) if connected is not None else None,
        "degraded": bool(_first(samples, "weft_config_stale")),
        "refused_resources": int(
            max((s.value for s in samples if s.name == "weft_config_refused_resources"), default=0)
        ),
        "certificates": len(expiries),
        "next_expiry_unix_s": min(expiries, default=None),
    }


def _complaints(state: NodeState, silent: str, now: float) -> Iterable[str]:
    if not state.ready:
        yield "the agent is not ready"
    if silent:
        yield silent
    if state.captured is not None and state.captured != state.members:
        yield f"{state.captured} of {state.members} pods captured"
    if state.connected is False:
        yield "no operator is connected"
    if state.degraded:
        yield "works with its last good configuration"
    if state.workers_behind:
        yield f"{state.workers_behind} workers have not applied the configuration"
    if state.refused_resources:
        yield f"{state.refused_resources} resources refused, their last good version holds"
    if state.next_expiry_unix_s is not None and state.next_expiry_unix_s - now < SOON_S:
        yield "a certificate has expired" if state.next_expiry_unix_s < now else "a certificate expires within the hour"


def _operator_state(pod: Body, facts: Facts) -> OperatorState:
    name = str(pod["metadata"]["name"])
    samples = facts.metrics.get(name, ())
    streams = _first(samples, "weft_operator_streams")
    complaints = [text for text in ("" if ready(pod) else "not ready", facts.silent.get(name, "")) if text]
    return OperatorState(
        pod=name,
        ready=ready(pod),
        leading=any(name in holder for holder in facts.leaders) if facts.leaders is not None else None,
        streams=int(streams) if streams is not None else None,
        message="; ".join(complaints),
    )


def _first(samples: Sequence[Sample], name: str) -> float | None:
    return next((sample.value for sample in samples if sample.name == name), None)


def _restarts(pod: Body) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(item.get("restartCount", 0)) for item in statuses)
