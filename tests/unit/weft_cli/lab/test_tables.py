"""Tables with kubectl's columns and words."""

from collections.abc import Mapping

import msgspec
import pytest
from msgspec.structs import replace

from weft_cli.lab.tables import age, pod_word, table
from weft_lab.model import ContainerStatus, EndpointSlice, Metadata, Pod
from weft_lab.model.meta import Model
from weft_lab.model.pod import ContainerState, Phase, Running, Terminated, Waiting
from weft_lab.model.service import EndpointConditions, SliceEndpoint, SlicePort
from weft_testing.lab import one, pod


def builtins(found: Model) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(found)
    return plain


def rows(
    kind: str, *items: Mapping[str, object], wide: bool = False, namespaces: bool = False
) -> list[tuple[str, ...]]:
    shown = table(kind, items, wide=wide, namespaces=namespaces, now_unix_s=1000.0)
    assert all(len(row) == len(shown.header) for row in shown.rows)
    return list(shown.rows)


def with_states(
    phase: Phase, *states: ContainerState, inits: tuple[ContainerState, ...] = (), deleted: bool = False
) -> Pod:
    def statuses(found: tuple[ContainerState, ...]) -> tuple[ContainerStatus, ...]:
        return tuple(
            ContainerStatus(
                name=str(n), ready=s.running is not None, started=s.running is not None, restart_count=n, state=s
            )
            for n, s in enumerate(found)
        )

    made = pod("a", phase=phase, addresses=("10.0.0.1", "fd::1"), node="node-1", deleted=deleted)
    status = replace(made.status, container_statuses=statuses(states), init_container_statuses=statuses(inits))
    return replace(made, status=status)


def waiting(reason: str) -> ContainerState:
    return ContainerState(waiting=Waiting(reason=reason))


def ended(code: int, reason: str) -> ContainerState:
    return ContainerState(terminated=Terminated(exit_code=code, reason=reason))


RUNNING = ContainerState(running=Running(started_at="t"))


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (with_states("Running", RUNNING), "Running"),
        (with_states("Running", RUNNING, waiting("CrashLoopBackOff")), "CrashLoopBackOff"),
        (with_states("Pending", waiting("ContainerCreating")), "ContainerCreating"),
        (with_states("Pending", waiting("PodInitializing")), "Pending"),
        (with_states("Succeeded", ended(0, "Completed")), "Completed"),
        (with_states("Failed", ended(1, "Error")), "Error"),
        (with_states("Running", RUNNING, deleted=True), "Terminating"),
        (with_states("Pending", waiting("PodInitializing"), inits=(RUNNING, waiting("PodInitializing"))), "Init:1/2"),
        (
            with_states("Pending", waiting("PodInitializing"), inits=(waiting("CrashLoopBackOff"),)),
            "Init:CrashLoopBackOff",
        ),
        (with_states("Pending", waiting("PodInitializing"), inits=(ended(1, "Error"),)), "Init:Error"),
    ],
)
def test_a_pods_word(found: Pod, word: str) -> None:
    assert pod_word(found) == word


def test_pods_in_short_and_wide() -> None:
    made = replace(
        with_states("Running", RUNNING, waiting("x")),
        metadata=Metadata(name="a", namespace="shop", creation_timestamp="1970-01-01T00:00:10Z"),
    )
    assert rows("Pod", builtins(made)) == [("a", "1/1", "x", "1", "16m")]
    assert rows("Pod", builtins(made), wide=True, namespaces=True) == [
        ("shop", "a", "1/1", "x", "1", "16m", "10.0.0.1,fd::1", "node-1")
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172799, "47h"), (172800, "2d")],
)
def test_ages(seconds: int, text: str) -> None:
    assert age(Metadata(creation_timestamp="1970-01-01T00:00:00Z"), float(seconds)) == text


def test_services_and_workloads() -> None:
    service = one(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd::1'], "
        "selector: {app: web}, ports: [{port: 80}, {port: 53, name: d, protocol: UDP}]}}"
    )
    assert rows("Service", builtins(service), wide=True) == [
        ("web", "ClusterIP", "10.0.0.1,fd::1", "<none>", "80/TCP,53/UDP", "<unknown>", "app=web")
    ]
    headless = one("{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None}}")
    assert rows("Service", builtins(headless))[0][2:5] == ("None", "<none>", "<none>")
    template = (
        "selector: {matchLabels: {a: b}}, "
        "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: m, command: [x]}]}}"
    )
    deployment = one(
        f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: w}}, spec: {{replicas: 3, {template}}}}}"
    )
    assert rows("Deployment", builtins(deployment)) == [("w", "0/3", "0", "0", "<unknown>")]


def test_endpoints_are_gathered_by_service_and_shortened() -> None:
    def piece(name: str, *addresses: str, ready: bool = True) -> dict[str, object]:
        return builtins(
            EndpointSlice(
                metadata=Metadata(name=name, namespace="shop", labels={"kubernetes.io/service-name": "web"}),
                address_type="IPv4",
                endpoints=tuple(
                    SliceEndpoint(addresses=(address,), conditions=EndpointConditions(ready=ready))
                    for address in addresses
                ),
                ports=(SlicePort(port=80),),
            )
        )

    many = [piece("a", "10.0.0.1", "10.0.0.2"), piece("b", "fd::1", "fd::2"), piece("c", "10.0.0.9", ready=False)]
    assert rows("endpoints", *many) == [("web", "10.0.0.1:80,10.0.0.2:80,[fd::1]:80 + 1 more...", "<unknown>")]
    assert rows("endpoints", *many, wide=True)[0][1].endswith("[fd::1]:80,[fd::2]:80")
    assert rows("endpoints", piece("d", "10.0.0.9", ready=False))[0][1] == "<none>"


def test_kinds_without_columns_of_their_own_have_name_and_age() -> None:
    assert rows("ConfigMap", {"metadata": {"name": "a"}}) == [("a", "<unknown>")]
