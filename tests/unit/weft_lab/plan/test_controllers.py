"""Controllers: from any state they lead to what the object says, one round after the other, and then rest."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from weft_lab.model import Condition, DaemonSet, Deployment, Job, Key, LabObject, Pod, PodStatus, StatefulSet
from weft_lab.model.pod import Phase
from weft_lab.plan.controllers import CreatePod, DeletePod, SetStatus, reconcile
from weft_lab.plan.view import View, pod_key
from weft_testing.lab import key_of, node, one


@dataclass
class Cluster:
    """Objects, and the little that a cluster does by itself: pods become ready, deleted pods go."""

    objects: dict[Key, LabObject] = field(default_factory=dict)
    serial: "itertools.count[int]" = field(default_factory=itertools.count)
    least_ready: int = 10**9

    def put(self, text: str, uid: str = "owner") -> None:
        found = one(text)
        old = self.objects.get(key_of(found))
        generation = old.metadata.generation + 1 if old is not None else 1
        placed = replace(found, metadata=replace(found.metadata, uid=uid, generation=generation))
        if old is not None and hasattr(old, "status"):
            placed = replace(placed, status=old.status)
        self.objects[key_of(found)] = placed

    def step(self) -> int:
        """One round of the controllers; return how many pods they touched."""
        touched = 0
        for step in reconcile(View(self.objects), lambda uid: f"s{next(self.serial)}"):
            match step:
                case CreatePod(made):
                    assert pod_key(made) not in self.objects, "made twice"
                    serial = f"2026-01-01T00:00:{next(self.serial) % 60:02}Z"
                    metadata = replace(made.metadata, uid=f"u{next(self.serial)}", creation_timestamp=serial)
                    self.objects[pod_key(made)] = replace(made, metadata=metadata)
                    touched += 1
                case DeletePod(key):
                    found = self.objects[key]
                    assert found.metadata.deletion_timestamp is None, "deleted twice"
                    metadata = replace(found.metadata, deletion_timestamp="now")
                    self.objects[key] = replace(found, metadata=metadata)
                    touched += 1
                case SetStatus(key, found):
                    self.objects[key] = found
        self.least_ready = min(self.least_ready, len(self.ready()))
        return touched

    def pods(self) -> list[Pod]:
        return [item for item in self.objects.values() if isinstance(item, Pod)]

    def alive(self) -> list[Pod]:
        return [item for item in self.pods() if item.metadata.deletion_timestamp is None]

    def ready(self) -> list[Pod]:
        return [item for item in self.pods() if item.ready]

    def become(self, phase: Phase, *, ready: bool, names: list[str] | None = None) -> None:
        """Let living pods take a phase."""
        for item in self.alive():
            if (names is None or item.metadata.name in names) and not item.finished:
                condition = Condition(type="Ready", status="True" if ready else "False")
                self.objects[pod_key(item)] = replace(item, status=PodStatus(phase=phase, conditions=(condition,)))

    def bury(self) -> None:
        for item in self.pods():
            if item.metadata.deletion_timestamp is not None:
                del self.objects[pod_key(item)]

    def settle(self) -> None:
        """Let controllers and cluster work until nothing is left to do."""
        for _ in range(200):
            touched = self.step()
            self.become("Running", ready=True)
            self.bury()
            if not touched and not self.step():
                return
        raise AssertionError("the controllers never rest")


def deployment(replicas: int, image: str = "a", strategy: str = "RollingUpdate") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  replicas: {replicas}
  strategy: {{type: {strategy}}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: m, image: {image}, command: [sh]}}]}}
"""


def stateful(replicas: int, image: str = "a", policy: str = "OrderedReady") -> str:
    head = deployment(replicas, image).replace("kind: Deployment", "kind: StatefulSet")
    return head.replace("strategy: {type: RollingUpdate}", f"podManagementPolicy: {policy}\n  serviceName: web")


def daemon(image: str = "a", selector: str = "") -> str:
    head = deployment(1, image).replace("kind: Deployment", "kind: DaemonSet").replace("  replicas: 1\n", "")
    return head.replace("spec: {containers", f"spec: {{{selector} containers").replace(
        "  strategy: {type: RollingUpdate}\n", ""
    )


def job(completions: int = 1, parallelism: int = 1, backoff: int = 2) -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: once, namespace: shop}}
spec:
  completions: {completions}
  parallelism: {parallelism}
  backoffLimit: {backoff}
  template:
    spec: {{restartPolicy: Never, containers: [{{name: m, command: [sh]}}]}}
"""


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc")), min_size=1, max_size=5))
def test_a_deployment_gets_there_from_anywhere(changes: list[tuple[int, str]]) -> None:
    cluster = Cluster()
    for replicas, image in changes:
        cluster.put(deployment(replicas, image))
        cluster.step()
    cluster.settle()
    replicas, image = changes[-1]
    assert len(cluster.pods()) == replicas
    assert {item.spec.containers[0].image for item in cluster.pods()} <= {image}
    found = cluster.objects[Key("Deployment", "shop", "web")]
    assert isinstance(found, Deployment)
    assert found.status.ready_replicas == found.status.updated_replicas == replicas
    assert found.status.observed_generation == found.metadata.generation


def test_a_rolling_update_never_has_fewer_ready_pods_than_wished() -> None:
    cluster = Cluster()
    cluster.put(deployment(4))
    cluster.settle()
    cluster.least_ready = 4
    cluster.put(deployment(4, "b"))
    cluster.settle()
    assert cluster.least_ready >= 4


def test_a_rolling_update_that_never_gets_ready_keeps_the_old_pods() -> None:
    cluster = Cluster()
    cluster.put(deployment(2))
    cluster.settle()
    before = {item.metadata.name for item in cluster.ready()}
    cluster.put(deployment(2, "broken"))
    for _ in range(5):
        cluster.step()
        cluster.bury()
    assert {item.metadata.name for item in cluster.ready()} == before
    assert len(cluster.alive()) == 4


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    cluster = Cluster()
    cluster.put(deployment(2, strategy="Recreate"))
    cluster.settle()
    cluster.put(deployment(2, "b", strategy="Recreate"))
    cluster.step()
    assert not cluster.alive()
    cluster.step()
    assert not cluster.alive(), "the old ones are still ending"
    cluster.bury()
    cluster.step()
    assert len(cluster.alive()) == 2


def test_scaling_down_takes_pods_that_are_not_ready_first() -> None:
    cluster = Cluster()
    cluster.put(deployment(3))
    cluster.settle()
    good = cluster.pods()[1].metadata.name
    cluster.become("Running", ready=False)
    cluster.become("Running", ready=True, names=[good])
    cluster.put(deployment(1))
    cluster.step()
    assert [item.metadata.name for item in cluster.alive()] == [good]


def test_pods_of_a_deleted_owner_go() -> None:
    cluster = Cluster()
    cluster.put(deployment(2))
    cluster.settle()
    del cluster.objects[Key("Deployment", "shop", "web")]
    cluster.step()
    assert not cluster.alive()


def test_pods_of_an_owner_that_was_made_again_go_too() -> None:
    cluster = Cluster()
    cluster.put(deployment(2))
    cluster.settle()
    cluster.put(deployment(2), uid="another")
    cluster.step()
    assert len(cluster.alive()) == 2
    assert {item.metadata.owner_references[0].uid for item in cluster.alive()} == {"another"}


def test_a_stateful_set_starts_in_order_and_one_at_a_time() -> None:
    cluster = Cluster()
    cluster.put(stateful(3))
    seen = []
    for _ in range(6):
        cluster.step()
        assert sum(1 for item in cluster.pods() if not item.ready) <= 1
        cluster.become("Running", ready=True)
        seen.append(sorted(item.metadata.name for item in cluster.pods()))
    assert seen[:3] == [["web-0"], ["web-0", "web-1"], ["web-0", "web-1", "web-2"]]
    pod = cluster.objects[Key("Pod", "shop", "web-1")]
    assert isinstance(pod, Pod)
    assert (pod.spec.hostname, pod.spec.subdomain) == ("web-1", "web")


def test_a_parallel_stateful_set_starts_at_once() -> None:
    cluster = Cluster()
    cluster.put(stateful(3, policy="Parallel"))
    cluster.step()
    assert len(cluster.pods()) == 3


def test_a_stateful_set_updates_from_the_last_to_the_first() -> None:
    cluster = Cluster()
    cluster.put(stateful(3))
    cluster.settle()
    cluster.put(stateful(3, "b"))
    order = []
    for _ in range(20):
        cluster.step()
        order += [item.metadata.name for item in cluster.pods() if item.metadata.deletion_timestamp is not None]
        assert len(cluster.ready()) >= 2
        cluster.bury()
        cluster.become("Running", ready=True)
    assert order == ["web-2", "web-1", "web-0"]
    assert {item.spec.containers[0].image for item in cluster.pods()} == {"b"}


def test_a_stateful_set_shrinks_from_the_end() -> None:
    cluster = Cluster()
    cluster.put(stateful(3))
    cluster.settle()
    cluster.put(stateful(1))
    cluster.step()
    assert sorted(item.metadata.name for item in cluster.alive()) == ["web-0", "web-1"]
    cluster.settle()
    assert [item.metadata.name for item in cluster.pods()] == ["web-0"]


def test_a_daemon_set_has_one_pod_on_each_fitting_node() -> None:
    cluster = Cluster()
    for name in ("node-1", "node-2"):
        cluster.objects[Key("Node", "", name)] = node(name, disk="ssd" if name == "node-1" else "tape")
    cluster.put(daemon())
    cluster.settle()
    assert sorted(item.spec.node_name for item in cluster.pods()) == ["node-1", "node-2"]
    cluster.put(daemon("b"))
    for _ in range(8):
        cluster.step()
        assert len(cluster.ready()) >= 1, "one node at a time"
        cluster.bury()
        cluster.step()
        assert len(cluster.alive()) == 2
        cluster.become("Running", ready=True)
    cluster.settle()
    assert {item.spec.containers[0].image for item in cluster.pods()} == {"b"}
    cluster.put(daemon("b", "nodeSelector: {disk: ssd},"))
    cluster.settle()
    assert [item.spec.node_name for item in cluster.pods()] == ["node-1"]
    found = cluster.objects[Key("DaemonSet", "shop", "web")]
    assert isinstance(found, DaemonSet)
    assert found.status.number_ready == found.status.desired_number_scheduled == 1


def finish(cluster: Cluster, phase: Phase) -> None:
    cluster.become(phase, ready=False)


def test_a_job_runs_as_many_as_it_may_until_it_has_enough() -> None:
    cluster = Cluster()
    cluster.put(job(completions=5, parallelism=2))
    done = 0
    while not isinstance(found := cluster.objects[Key("Job", "shop", "once")], Job) or not found.status.complete:
        cluster.step()
        running = [item for item in cluster.pods() if not item.finished]
        assert len(running) == min(2, 5 - done)
        done += len(running)
        finish(cluster, "Succeeded")
        cluster.step()
    assert found.status.succeeded == 5
    assert not [item for item in cluster.pods() if not item.finished]


def test_a_job_gives_up_after_its_backoff_limit() -> None:
    cluster = Cluster()
    cluster.put(job(backoff=1))
    for _ in range(6):
        cluster.step()
        finish(cluster, "Failed")
    found = cluster.objects[Key("Job", "shop", "once")]
    assert isinstance(found, Job)
    assert (found.status.failed, found.status.gave_up, found.status.complete) == (2, True, False)


@pytest.mark.parametrize("text", [deployment(2), stateful(2), job()])
def test_pods_know_their_owner_and_carry_the_templates_labels(text: str) -> None:
    cluster = Cluster()
    cluster.put(text)
    cluster.step()
    for item in cluster.pods():
        (owner,) = item.metadata.owner_references
        assert owner.controller
        assert owner.uid == "owner"
        assert item.metadata.namespace == "shop"
        assert item.metadata.labels.get("app", "web") == "web"
        assert len(item.metadata.name) <= 63


def test_a_settled_stateful_set_has_a_true_status() -> None:
    cluster = Cluster()
    cluster.put(stateful(2))
    cluster.settle()
    found = cluster.objects[Key("StatefulSet", "shop", "web")]
    assert isinstance(found, StatefulSet)
    assert found.status.ready_replicas == 2
