"""Checks inside one object: each rule refuses what it must, and nothing else."""

import pytest

from weft_lab.model.check import container_port, is_demo_image
from weft_lab.model.pod import Container, ContainerPort
from weft_testing.lab import problems_of

TEMPLATE = """
apiVersion: {version}
kind: {kind}
metadata: {{name: a}}
spec:
  {selector}
  template:
    metadata: {{labels: {{app: a}}}}
    spec: {{{policy} containers: [{{name: m, command: [sh]}}]}}
"""


def errors(text: str) -> list[str]:
    return [problem.path for problem in problems_of(text) if not problem.warning]


def pod(spec: str) -> str:
    return f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {spec}}}"


def container(fields: str, rest: str = "") -> str:
    return pod(f"{{containers: [{{name: m, command: [sh], {fields}}}]{rest}}}")


@pytest.mark.parametrize(
    ("kind", "selector", "policy", "expected"),
    [
        ("Deployment", "selector: {matchLabels: {app: a}}", "", []),
        ("Deployment", "selector: {matchExpressions: [{key: app, operator: In, values: [a]}]}", "", []),
        ("Deployment", "selector: {}", "", ["$.spec.selector"]),
        ("Deployment", "selector: {matchLabels: {app: b}}", "", ["$.spec.selector"]),
        (
            "StatefulSet",
            "selector: {matchLabels: {app: a}}",
            "restartPolicy: Never,",
            ["$.spec.template.spec.restartPolicy"],
        ),
        ("DaemonSet", "selector: {matchLabels: {app: a}}", "", []),
    ],
)
def test_workloads(kind: str, selector: str, policy: str, expected: list[str]) -> None:
    assert errors(TEMPLATE.format(version="apps/v1", kind=kind, selector=selector, policy=policy)) == expected


def test_jobs_do_not_restart_always() -> None:
    job = TEMPLATE.format(version="batch/v1", kind="Job", selector="completions: 1", policy="{}")
    assert errors(job.replace("{}", "")) == ["$.spec.template.spec.restartPolicy"]
    assert errors(job.replace("{}", "restartPolicy: Never,")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (pod("{containers: []}"), ["$.spec.containers"]),
        (pod("{containers: [{name: m, command: [sh]}, {name: m, command: [sh]}]}"), ["$.spec.containers"]),
        (pod("{containers: [{name: M, command: [sh]}]}"), ["$.spec.containers[0].name"]),
        (container("volumeMounts: [{name: v, mountPath: /x}]"), ["$.spec.containers[0].volumeMounts[0].name"]),
        (container("volumeMounts: [{name: v, mountPath: /x}]", ", volumes: [{name: v, emptyDir: {}}]"), []),
        (
            container(
                "volumeMounts: [{name: v, mountPath: /../x, subPath: ../y}]", ", volumes: [{name: v, emptyDir: {}}]"
            ),
            ["$.spec.containers[0].volumeMounts[0].mountPath", "$.spec.containers[0].volumeMounts[0].subPath"],
        ),
        (container("env: [{name: A=B}]"), ["$.spec.containers[0].env[0].name"]),
        (container("env: [{name: A.b-C}]"), []),
        (container("readinessProbe: {tcpSocket: {port: 80}}"), []),
        (container("readinessProbe: {}"), ["$.spec.containers[0].readinessProbe"]),
        (
            container("readinessProbe: {tcpSocket: {port: 80}, exec: {command: [x]}}"),
            ["$.spec.containers[0].readinessProbe"],
        ),
        (container("livenessProbe: {tcpSocket: {port: http}}"), ["$.spec.containers[0].livenessProbe"]),
        (container("livenessProbe: {tcpSocket: {port: http}}, ports: [{name: http, containerPort: 80}]"), []),
        (container("livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 0}"), ["$.spec.containers[0].livenessProbe"]),
        (
            container("livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}"),
            ["$.spec.containers[0].livenessProbe.successThreshold"],
        ),
        (container("readinessProbe: {tcpSocket: {port: 80}, successThreshold: 2}"), []),
        (container("lifecycle: {preStop: {sleep: {seconds: 1}}}"), []),
        (container("lifecycle: {preStop: {}}"), ["$.spec.containers[0].lifecycle.preStop"]),
        (container("", ", securityContext: {sysctls: [{name: net.core.somaxconn, value: '1'}]}"), []),
        (
            container("", ", securityContext: {sysctls: [{name: kernel.panic, value: '1'}]}"),
            ["$.spec.securityContext.sysctls[0]"],
        ),
    ],
)
def test_pods(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{ports: [{port: 80}]}", []),
        ("{ports: []}", ["$.spec.ports"]),
        ("{clusterIP: None}", []),
        ("{ports: [{port: 0}]}", ["$.spec.ports[0].port"]),
        ("{ports: [{port: 80, name: a}, {port: 80, name: b}]}", ["$.spec.ports"]),
        ("{ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]}", []),
        ("{ports: [{port: 80, name: a}, {port: 81, name: a}]}", ["$.spec.ports"]),
    ],
)
def test_services(spec: str, expected: list[str]) -> None:
    assert errors(f"{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {spec}}}") == expected


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer", "ExternalName"])
def test_types_of_services_that_mean_less_here_are_warned_of(kind: str) -> None:
    found = problems_of(
        f"{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{type: {kind}, ports: [{{port: 1}}]}}}}"
    )
    assert [problem.path for problem in found] == ["$.spec.type"]
    assert found[0].warning


def test_a_volume_of_an_unknown_kind_is_an_empty_directory_with_a_warning() -> None:
    found = problems_of(pod("{containers: [{name: m, command: [sh]}], volumes: [{name: v, nfs: {server: x}}]}"))
    assert [problem.warning for problem in found] == [True, True]
    assert "emptyDir" in found[0].remedy


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("weft.dev/demo", True),
        ("weft.dev/demo:v1", True),
        ("weft.dev/demo@sha256:0", True),
        ("weft.dev/demon", False),
        ("nginx", False),
    ],
)
def test_the_demo_image(image: str, expected: bool) -> None:
    assert is_demo_image(image) is expected


def test_ports_by_name_and_number() -> None:
    found = Container(name="m", ports=(ContainerPort(container_port=8080, name="http"),))
    assert container_port(found, "http") == 8080
    assert container_port(found, "9090") == 9090
    assert container_port(found, 7) == 7
    assert container_port(found, "grpc") is None
