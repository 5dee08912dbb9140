"""Controllers: which pods should be there for Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs. Pure.

Theory: each call looks at the whole state and says the next steps, never a sequence; what cannot be done yet is found
again by the next call. Pods that are being deleted still count as present where their name or place matters.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec.structs import replace

from weft_contract.codec import digest, encode
from weft_lab.model import (
    DaemonSet,
    Deployment,
    Job,
    Key,
    LabObject,
    Metadata,
    OwnerReference,
    Pod,
    PodTemplate,
    ReplicaSet,
    StatefulSet,
)
from weft_lab.model.meta import has_labels
from weft_lab.model.workload import DaemonSetStatus, JobStatus, ReplicaStatus
from weft_lab.names import short_hash
from weft_lab.plan.view import View, owner_of, pod_key

TEMPLATE_HASH: Final = "pod-template-hash"
REVISION_HASH: Final = "controller-revision-hash"
JOB_LABEL: Final = "batch.kubernetes.io/job-name"

Workload: TypeAlias = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job
NameSource: TypeAlias = Callable[[str], str]
"""Returns a fresh suffix for a pod of the owner with this uid."""

_API_VERSIONS: Final = {Deployment: "apps/v1", ReplicaSet: "apps/v1", StatefulSet: "apps/v1", DaemonSet: "apps/v1"}


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Make this pod."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete this pod, with its grace period."""

    key: Key


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Replace the object by one that differs in its status alone."""

    key: Key
    object: LabObject


Step: TypeAlias = CreatePod | DeletePod | SetStatus


def reconcile(view: View, fresh: NameSource) -> list[Step]:
    """Return the next steps of all controllers.

    Args:
        view: all objects.
        fresh: gives each new pod a suffix that no pod of its owner had before.
    """
    owned: dict[str, list[Pod]] = {}
    for pod in view.pods():
        if (owner := owner_of(pod)) is not None:
            owned.setdefault(owner.uid, []).append(pod)
    steps: list[Step] = []
    seen: set[str] = set()
    for key, workload in _workloads(view):
        uid = workload.metadata.uid
        seen.add(uid)
        steps += _one(key, workload, owned.get(uid, []), view, fresh)
    for uid, pods in owned.items():
        if uid not in seen:
            steps += [DeletePod(pod_key(pod)) for pod in pods if _alive(pod) or pod.finished]
    return [step for step in steps if not (isinstance(step, DeletePod) and _deleting(view, step.key))]


def _workloads(view: View) -> Iterator[tuple[Key, Workload]]:
    yield from view.of(Deployment)
    yield from view.of(ReplicaSet)
    yield from view.of(StatefulSet)
    yield from view.of(DaemonSet)
    yield from view.of(Job)


def _deleting(view: View, key: Key) -> bool:
    pod = view.get(key, Pod)
    return pod is None or pod.metadata.deletion_timestamp is not None


def _one(key: Key, workload: Workload, pods: list[Pod], view: View, fresh: NameSource) -> list[Step]:
    match workload:
        case Deployment():
            return _deployment(key, workload, pods, fresh)
        case ReplicaSet():
            return _replica_set(key, workload, pods, fresh)
        case StatefulSet():
            return _stateful_set(key, workload, pods)
        case DaemonSet():
            return _daemon_set(key, workload, pods, view, fresh)
        case Job():
            return _job(key, workload, pods, fresh)


def template_hash(template: PodTemplate) -> str:
    """Return the label value that tells one version of a template from another."""
    return digest(encode(template))[:10]


def _deployment(key: Key, found: Deployment, pods: list[Pod], fresh: NameSource) -> list[Step]:
    version = template_hash(found.spec.template)
    alive = [pod for pod in pods if _alive(pod)]
    new = [pod for pod in alive if pod.metadata.labels.get(TEMPLATE_HASH) == version]
    old = [pod for pod in alive if pod not in new]
    wanted = found.spec.replicas
    steps: list[Step] = []
    blocked = found.spec.strategy.type == "Recreate" and any(pod not in new for pod in pods)
    for _ in range(0 if blocked else wanted - len(new)):
        name = f"{key.name}-{version}-{fresh(found.metadata.uid)}"
        steps.append(CreatePod(_pod(key, found, name, found.spec.template, {TEMPLATE_HASH: version})))
    steps += _surplus(new, len(new) - wanted)
    keep = 0 if found.spec.strategy.type == "Recreate" else max(0, wanted - _ready(new))
    steps += _surplus(old, len(old) - keep)
    steps += [DeletePod(pod_key(pod)) for pod in pods if pod.finished]
    return steps + _replica_status(key, found, alive, len(new))


def _replica_set(key: Key, found: ReplicaSet, pods: list[Pod], fresh: NameSource) -> list[Step]:
    alive = [pod for pod in pods if _alive(pod)]
    steps: list[Step] = []
    for _ in range(found.spec.replicas - len(alive)):
        name = f"{key.name}-{fresh(found.metadata.uid)}"
        steps.append(CreatePod(_pod(key, found, name, found.spec.template, {})))
    steps += _surplus(alive, len(alive) - found.spec.replicas)
    steps += [DeletePod(pod_key(pod)) for pod in pods if pod.finished]
    return steps + _replica_status(key, found, alive, len(alive))


def _stateful_set(key: Key, found: StatefulSet, pods: list[Pod]) -> list[Step]:
    version = template_hash(found.spec.template)
    by_name = {pod.metadata.name: pod for pod in pods}
    names = [f"{key.name}-{ordinal}" for ordinal in range(found.spec.replicas)]
    ordered = found.spec.pod_management_policy == "OrderedReady"
    steps: list[Step] = []
    for ordinal, name in enumerate(names):
        pod = by_name.get(name)
        if pod is None:
            steps.append(CreatePod(_numbered(key, found, ordinal, version)))
        elif pod.finished:
            steps.append(DeletePod(pod_key(pod)))
        if ordered and (pod is None or not pod.ready):
            break
    surplus = [pod for name, pod in by_name.items() if name not in names]
    surplus.sort(key=lambda pod: -_ordinal(pod))
    steps += [DeletePod(pod_key(pod)) for pod in (surplus[:1] if ordered else surplus)]
    if all(name in by_name for name in names):
        steps += _outdated([by_name[name] for name in reversed(names)], version)
    alive = [pod for pod in pods if _alive(pod)]
    updated = sum(1 for pod in alive if pod.metadata.labels.get(REVISION_HASH) == version)
    return steps + _replica_status(key, found, alive, updated)


def _outdated(pods: Sequence[Pod], version: str) -> list[Step]:
    """Return the one pod to replace next: the first outdated one, once all before it are replaced and ready."""
    for pod in pods:
        if pod.metadata.labels.get(REVISION_HASH) != version:
            return [DeletePod(pod_key(pod))]
        if not pod.ready:
            return []
    return []


def _numbered(key: Key, found: StatefulSet, ordinal: int, version: str) -> Pod:
    name = f"{key.name}-{ordinal}"
    labels = {
        REVISION_HASH: version,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    pod = _pod(key, found, name, found.spec.template, labels)
    return replace(pod, spec=replace(pod.spec, hostname=name, subdomain=found.spec.service_name))


def _ordinal(pod: Pod) -> int:
    digits = pod.metadata.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _daemon_set(key: Key, found: DaemonSet, pods: list[Pod], view: View, fresh: NameSource) -> list[Step]:
    version = template_hash(found.spec.template)
    spec = found.spec.template.spec
    nodes = [
        node.metadata.name
        for node in view.nodes()
        if has_labels(node.metadata.labels, spec.node_selector) and spec.node_name in {"", node.metadata.name}
    ]
    by_node: dict[str, Pod] = {}
    steps: list[Step] = []
    for pod in pods:
        if pod.finished or pod.spec.node_name not in nodes or pod.spec.node_name in by_node:
            steps.append(DeletePod(pod_key(pod)))
        else:
            by_node[pod.spec.node_name] = pod
    for node in nodes:
        if node not in by_node:
            name = f"{key.name}-{fresh(found.metadata.uid)}"
            made = _pod(key, found, name, found.spec.template, {REVISION_HASH: version})
            steps.append(CreatePod(replace(made, spec=replace(made.spec, node_name=node))))
    current = sorted(by_node.values(), key=lambda pod: pod.metadata.labels.get(REVISION_HASH) != version)
    if len(current) == len(nodes):
        steps += _outdated(current, version)
    alive = [pod for pod in by_node.values() if _alive(pod)]
    status = DaemonSetStatus(
        observed_generation=found.metadata.generation,
        desired_number_scheduled=len(nodes),
        current_number_scheduled=len(alive),
        updated_number_scheduled=sum(1 for pod in alive if pod.metadata.labels.get(REVISION_HASH) == version),
        number_ready=_ready(alive),
    )
    return steps + ([SetStatus(key, replace(found, status=status))] if status != found.status else [])


def _job(key: Key, found: Job, pods: list[Pod], fresh: NameSource) -> list[Step]:
    spec = found.spec
    succeeded = sum(1 for pod in pods if pod.status.phase == "Succeeded")
    failed = sum(1 for pod in pods if pod.status.phase == "Failed")
    active = [pod for pod in pods if _alive(pod)]
    complete, gave_up = succeeded >= spec.completions, failed > spec.backoff_limit
    wanted = 0 if complete or gave_up else min(spec.parallelism, spec.completions - succeeded)
    steps: list[Step] = []
    for _ in range(wanted - len(active)):
        name = f"{key.name}-{fresh(found.metadata.uid)}"
        steps.append(CreatePod(_pod(key, found, name, spec.template, {JOB_LABEL: key.name, "job-name": key.name})))
    steps += _surplus(active, len(active) - wanted)
    status = JobStatus(
        active=min(len(active), wanted), succeeded=succeeded, failed=failed, complete=complete, gave_up=gave_up
    )
    return steps + ([SetStatus(key, replace(found, status=status))] if status != found.status else [])


def _alive(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None and not pod.finished


def _ready(pods: Sequence[Pod]) -> int:
    return sum(1 for pod in pods if pod.ready)


def _surplus(pods: Sequence[Pod], count: int) -> list[Step]:
    """Return the pods to part with: those without a node, not ready, or youngest first."""
    ordered = sorted(pods, key=lambda pod: pod.metadata.creation_timestamp or "", reverse=True)
    ordered.sort(key=lambda pod: (bool(pod.spec.node_name), pod.ready))
    return [DeletePod(pod_key(pod)) for pod in ordered[: max(0, count)]]


def _replica_status(
    key: Key, found: Deployment | ReplicaSet | StatefulSet, alive: Sequence[Pod], updated: int
) -> list[Step]:
    ready = _ready(alive)
    status = ReplicaStatus(
        observed_generation=found.metadata.generation,
        replicas=len(alive),
        updated_replicas=updated,
        ready_replicas=ready,
        available_replicas=ready,
    )
    return [SetStatus(key, replace(found, status=status))] if status != found.status else []


def _pod(key: Key, owner: Workload, name: str, template: PodTemplate, labels: dict[str, str]) -> Pod:
    reference = OwnerReference(
        api_version=_API_VERSIONS.get(type(owner), "batch/v1"),
        kind=key.kind,
        name=key.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
    metadata = Metadata(
        name=_fitting(name),
        namespace=key.namespace,
        labels=template.metadata.labels | labels,
        annotations=template.metadata.annotations,
        owner_references=(reference,),
    )
    return Pod(metadata=metadata, spec=template.spec)


def _fitting(name: str) -> str:
    """Keep a made-up name within what a host name may have (63 bytes), unique all the same."""
    return name if len(name) <= 63 else f"{name[:54]}-{short_hash(name, 8)}"
