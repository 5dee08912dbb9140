"""Objects as rows, with the columns that kubectl has. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from weft_contract.labels import SLICE_SERVICE_LABEL
from weft_lab.model import (
    DaemonSet,
    Deployment,
    EndpointSlice,
    Job,
    Metadata,
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    Service,
    StatefulSet,
)
from weft_lab.model.meta import Model

NONE: Final = "<none>"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SHOWN_ENDPOINTS: Final = 3


class _Any(Model, frozen=True, kw_only=True):
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Table:
    """A header and its rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(
    kind: str,
    items: Sequence[Mapping[str, object]],
    *,
    wide: bool,
    namespaces: bool,
    now_unix_s: float,
    all_endpoints: bool = False,
) -> Table:
    """Return the table of objects of one kind.

    Args:
        kind: their kind, or `endpoints` for slices by Service.
        items: documents.
        wide: with the further columns of `-o wide`.
        namespaces: with a column for the namespace.
        now_unix_s: wall clock, for ages.
        all_endpoints: do not shorten lists of endpoints.
    """
    if kind == "endpoints":
        return _endpoints(items, namespaces=namespaces, now_unix_s=now_unix_s, everything=all_endpoints or wide)
    columns, further, cells = _KINDS.get(kind, ((), (), _generic))
    header = ("NAME", *columns, "AGE", *(further if wide else ()))
    rows: list[tuple[str, ...]] = []
    for item in items:
        metadata = msgspec.convert(item, _Any).metadata
        own = cells(item)
        row = (metadata.name, *own[: len(columns)], age(metadata, now_unix_s), *(own[len(columns) :] if wide else ()))
        rows.append((metadata.namespace, *row) if namespaces else row)
    return Table(("NAMESPACE", *header) if namespaces else header, tuple(rows))


def age(metadata: Metadata, now_unix_s: float) -> str:
    """Return how old an object is, in kubectl's short form."""
    if metadata.creation_timestamp is None:
        return "<unknown>"
    seconds = max(0, int(now_unix_s - datetime.fromisoformat(metadata.creation_timestamp).timestamp()))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE}m"
    return f"{seconds // _HOUR}h" if seconds < 2 * _DAY else f"{seconds // _DAY}d"


def pod_word(pod: Pod) -> str:
    """Return the word that kubectl shows as a pod's status."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    for index, status in enumerate(pod.status.init_container_statuses):
        if (status.state.terminated is not None and status.state.terminated.exit_code == 0) or status.started:
            continue
        if status.state.waiting is not None and status.state.waiting.reason not in {
            "PodInitializing",
            "ContainerCreating",
        }:
            return f"Init:{status.state.waiting.reason}"
        if status.state.terminated is not None:
            return "Init:Error"
        return f"Init:{index}/{len(pod.status.init_container_statuses)}" if pod.status.pod_ips else pod.status.phase
    states = [status.state.waiting or status.state.terminated for status in pod.status.container_statuses]
    words = [state.reason for state in states if state is not None]
    words = [word for word in words if word != "Completed" or pod.status.phase == "Succeeded"]
    return words[0] if words and words[0] != "PodInitializing" else (pod.status.reason or pod.status.phase)


def _pod(item: Mapping[str, object]) -> tuple[str, ...]:
    pod = msgspec.convert(item, Pod)
    statuses = pod.status.container_statuses
    ready = sum(1 for status in statuses if status.ready and status.state.running is not None)
    restarts = sum(status.restart_count for status in (*statuses, *pod.status.init_container_statuses))
    total = len(pod.spec.containers)
    addresses = ",".join(pod.addresses) or NONE
    return f"{ready}/{total}", pod_word(pod), str(restarts), addresses, pod.spec.node_name or NONE


def _service(item: Mapping[str, object]) -> tuple[str, ...]:
    service = msgspec.convert(item, Service)
    addresses = "None" if service.headless else (",".join(service.addresses) or NONE)
    ports = ",".join(f"{port.port}/{port.protocol}" for port in service.spec.ports) or NONE
    return service.spec.type, addresses, NONE, ports, _pairs(service.spec.selector)


def _node(item: Mapping[str, object]) -> tuple[str, ...]:
    node = msgspec.convert(item, Node)
    addresses = ",".join(address.address for address in node.status.addresses if address.type == "InternalIP")
    return "Ready", addresses, ",".join(node.spec.pod_cidrs)


def _namespace(item: Mapping[str, object]) -> tuple[str, ...]:
    found = msgspec.convert(item, Namespace)
    return ("Terminating" if found.metadata.deletion_timestamp is not None else "Active",)


def _deployment(item: Mapping[str, object]) -> tuple[str, ...]:
    found = msgspec.convert(item, Deployment)
    status = found.status
    return (
        f"{status.ready_replicas}/{found.spec.replicas}", str(status.updated_replicas), str(status.available_replicas),
        _pairs(found.spec.selector.match_labels),
    )  # fmt: skip


def _replica_set(item: Mapping[str, object]) -> tuple[str, ...]:
    found = msgspec.convert(item, ReplicaSet)
    return str(found.spec.replicas), str(found.status.replicas), str(found.status.ready_replicas)


def _stateful_set(item: Mapping[str, object]) -> tuple[str, ...]:
    found = msgspec.convert(item, StatefulSet)
    return (f"{found.status.ready_replicas}/{found.spec.replicas}",)


def _daemon_set(item: Mapping[str, object]) -> tuple[str, ...]:
    status = msgspec.convert(item, DaemonSet).status
    numbers = (
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
    )
    return tuple(str(number) for number in numbers)


def _job(item: Mapping[str, object]) -> tuple[str, ...]:
    found = msgspec.convert(item, Job)
    word = "Complete" if found.status.complete else ("Failed" if found.status.gave_up else "Running")
    return word, f"{found.status.succeeded}/{found.spec.completions}"


def _generic(item: Mapping[str, object]) -> tuple[str, ...]:
    return ()


_KINDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Mapping[str, object]], tuple[str, ...]]]]] = {
    "Pod": (("READY", "STATUS", "RESTARTS"), ("IP", "NODE"), _pod),
    "Service": (("TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)"), ("SELECTOR",), _service),
    "Node": (("STATUS",), ("INTERNAL-IP", "POD-CIDRS"), _node),
    "Namespace": (("STATUS",), (), _namespace),
    "Deployment": (("READY", "UP-TO-DATE", "AVAILABLE"), ("SELECTOR",), _deployment),
    "ReplicaSet": (("DESIRED", "CURRENT", "READY"), (), _replica_set),
    "StatefulSet": (("READY",), (), _stateful_set),
    "DaemonSet": (("DESIRED", "CURRENT", "READY", "UP-TO-DATE"), (), _daemon_set),
    "Job": (("STATUS", "COMPLETIONS"), (), _job),
}


def _endpoints(
    items: Sequence[Mapping[str, object]], *, namespaces: bool, now_unix_s: float, everything: bool
) -> Table:
    """Return slices by Service: ready endpoints of both families."""
    found: dict[tuple[str, str], list[str]] = {}
    metadata: dict[tuple[str, str], Metadata] = {}
    for item in items:
        piece = msgspec.convert(item, EndpointSlice)
        key = (piece.metadata.namespace, piece.metadata.labels.get(SLICE_SERVICE_LABEL, piece.metadata.name))
        metadata.setdefault(key, piece.metadata)
        texts = found.setdefault(key, [])
        for endpoint in piece.endpoints:
            if endpoint.conditions.ready is not False:
                texts += [_place(address, port.port) for address in endpoint.addresses for port in piece.ports]
    rows: list[tuple[str, ...]] = []
    for key in sorted(found):
        row = (key[1], _shortened(sorted(set(found[key])), everything), age(metadata[key], now_unix_s))
        rows.append((key[0], *row) if namespaces else row)
    header = ("NAME", "ENDPOINTS", "AGE")
    return Table(("NAMESPACE", *header) if namespaces else header, tuple(rows))


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _shortened(texts: list[str], everything: bool) -> str:
    if not texts:
        return NONE
    if everything or len(texts) <= _SHOWN_ENDPOINTS:
        return ",".join(texts)
    return f"{','.join(texts[:_SHOWN_ENDPOINTS])} + {len(texts) - _SHOWN_ENDPOINTS} more..."


def _pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE
