"""What an object still lacks to be ready, complete or gone. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from weft_lab.model import DaemonSet, Deployment, Job, Pod, ReplicaSet, StatefulSet
from weft_lab.model.workload import ReplicaStatus

GOALS: Final = ("ready", "available", "complete", "deleted")
_TYPES: Final = {
    "Pod": Pod,
    "Deployment": Deployment,
    "ReplicaSet": ReplicaSet,
    "StatefulSet": StatefulSet,
    "DaemonSet": DaemonSet,
    "Job": Job,
}


def goal_of(text: str) -> str | None:
    """Read `--for`: a goal, also as kubectl writes it (`condition=Ready`, `delete`); None for another text."""
    word = text.lower().removeprefix("condition=")
    word = {"delete": "deleted"}.get(word, word)
    return word if word in GOALS else None


def missing(document: Mapping[str, object], goal: str) -> str:
    """Return what an object lacks, as a clause with its name; empty if nothing."""
    kind = str(document.get("kind"))
    python_type = _TYPES.get(kind)
    if python_type is None:
        return "" if goal != "deleted" else _named(document, "is still there")
    if goal == "deleted":
        return _named(document, "is still there")
    found = msgspec.convert(document, python_type)
    lack = _lack(found)
    return _named(document, lack) if lack else ""


def _named(document: Mapping[str, object], lack: str) -> str:
    metadata = document.get("metadata")
    plain = metadata if isinstance(metadata, Mapping) else {}
    place = "/".join(str(part) for part in (plain.get("namespace"), plain.get("name")) if part)
    return f"{str(document.get('kind')).lower()} {place} {lack}"


def _lack(found: Pod | Deployment | ReplicaSet | StatefulSet | DaemonSet | Job) -> str:
    match found:
        case Pod():
            return _pod(found)
        case Deployment() | ReplicaSet() | StatefulSet():
            return _replicas(found.status, found.spec.replicas, found.metadata.generation)
        case DaemonSet():
            status = found.status
            wanted = status.desired_number_scheduled
            if status.observed_generation < found.metadata.generation:
                return "has not been looked at yet"
            if min(status.number_ready, status.updated_number_scheduled) < wanted:
                return f"has {status.number_ready} of {wanted} pods ready"
            return ""
        case Job():
            if found.status.gave_up:
                return f"failed ({found.status.failed} pods)"
            return (
                "" if found.status.complete else f"has {found.status.succeeded} of {found.spec.completions} completions"
            )


def _pod(pod: Pod) -> str:
    if pod.metadata.deletion_timestamp is not None:
        return "is being deleted"
    if pod.ready or pod.status.phase == "Succeeded":
        return ""
    waiting = [
        f"{item.name}: {item.state.waiting.reason} {item.state.waiting.message}".strip()
        for item in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        if item.state.waiting is not None and item.state.waiting.reason != "PodInitializing"
    ]
    reasons = [item.message for item in pod.status.conditions if item.type == "PodScheduled" and item.status != "True"]
    why = "; ".join([*reasons, *waiting]) or pod.status.message
    return f"is {pod.status.phase}, not ready{f' ({why})' if why else ''}"


def _replicas(status: ReplicaStatus, wanted: int, generation: int) -> str:
    if status.observed_generation < generation:
        return "has not been looked at yet"
    if status.ready_replicas < wanted or status.updated_replicas < wanted:
        return f"has {min(status.ready_replicas, status.updated_replicas)} of {wanted} pods up to date and ready"
    return f"has {status.replicas - wanted} old pods left" if status.replicas > wanted else ""
