"""What an object lacks, in a clause that helps."""

import msgspec
import pytest

from weft_cli.lab.readiness import goal_of, missing
from weft_lab.model import Pod
from weft_testing.lab import pod


def document(found: Pod) -> dict[str, object]:
    return {"kind": "Pod", **msgspec.to_builtins(found)}


def workload(kind: str, spec: dict[str, object], status: dict[str, object]) -> dict[str, object]:
    template = {"spec": {"containers": [{"name": "m"}]}}
    metadata = {"name": "web", "namespace": "shop", "generation": 2}
    return {
        "kind": kind,
        "metadata": metadata,
        "spec": {"selector": {}, "template": template, **spec},
        "status": status,
    }


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("ready", "ready"),
        ("condition=Ready", "ready"),
        ("delete", "deleted"),
        ("Complete", "complete"),
        ("nosuch", None),
    ],
)
def test_goals(text: str, goal: str | None) -> None:
    assert goal_of(text) == goal


def test_pods() -> None:
    assert missing(document(pod("a", ready=True)), "ready") == ""
    assert missing(document(pod("a", phase="Succeeded")), "ready") == ""
    assert "shop/a is being deleted" in missing(document(pod("a", ready=True, deleted=True)), "ready")
    assert missing(document(pod("a")), "ready") == "pod shop/a is Running, not ready"
    assert "still there" in missing(document(pod("a", ready=True)), "deleted")


@pytest.mark.parametrize(
    ("status", "lack"),
    [
        ({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3, "replicas": 3}, ""),
        (
            {"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 3, "replicas": 3},
            "has not been looked at yet",
        ),
        ({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1, "replicas": 4}, "has 1 of 3 pods"),
        ({"observedGeneration": 2, "readyReplicas": 4, "updatedReplicas": 3, "replicas": 4}, "has 1 old pods left"),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet"])
def test_replicas(kind: str, status: dict[str, object], lack: str) -> None:
    found = missing(workload(kind, {"replicas": 3}, status), "ready")
    assert lack in found
    assert bool(found) == bool(lack)


def test_daemon_sets_and_jobs() -> None:
    good: dict[str, object] = {
        "observedGeneration": 2,
        "desiredNumberScheduled": 2,
        "numberReady": 2,
        "updatedNumberScheduled": 2,
    }
    assert missing(workload("DaemonSet", {}, good), "ready") == ""
    assert "1 of 2" in missing(workload("DaemonSet", {}, good | {"numberReady": 1}), "ready")
    assert missing(workload("Job", {}, {"complete": True}), "complete") == ""
    assert "0 of 1" in missing(workload("Job", {}, {}), "complete")
    assert "failed" in missing(workload("Job", {}, {"gaveUp": True, "failed": 7}), "complete")


def test_other_kinds_are_ready_as_they_are() -> None:
    assert missing({"kind": "ConfigMap", "metadata": {"name": "a"}}, "ready") == ""
    assert "configmap a" in missing({"kind": "ConfigMap", "metadata": {"name": "a"}}, "deleted")
