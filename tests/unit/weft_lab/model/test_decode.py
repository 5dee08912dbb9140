"""Documents to objects: sound ones pass, every mistake is named at once, every field that is not carried out is told."""

from pathlib import Path

import pytest
import yaml

from weft_lab.model import Deployment, Foreign, Pod, Service, decode
from weft_operator.compile import regex_error
from weft_testing.lab import REPOSITORY, one, problems_of, read

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  containers:
  - {name: main, image: weft.dev/demo, args: [serve]}
"""


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "manifests" / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_is_taken_whole(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        found = decode(document, source=path.name, regex=regex_error)
        assert found.object is not None, found.problems
        assert not found.failed


def test_a_pod_is_read_with_kubernetes_defaults() -> None:
    found = one(POD)
    assert isinstance(found, Pod)
    assert found.spec.restart_policy == "Always"
    assert found.spec.account == "default"
    assert found.spec.termination_grace_period_seconds == 30


def test_namespaces_are_filled_in_for_kinds_that_have_them_only() -> None:
    service, namespace = read(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}\n---\n"
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}"
    )
    assert service.key is not None
    assert (service.key.namespace, service.object.metadata.namespace if service.object else "") == (
        "default",
        "default",
    )
    assert namespace.key is not None
    assert namespace.key.namespace == ""


def test_all_mistakes_of_a_document_come_at_once() -> None:
    found = problems_of(
        "{apiVersion: v1, kind: Pod, metadata: {name: Web}, spec: {restartPolicy: Sometimes, containers: "
        "[{name: main, image: nginx, ports: [{containerPort: eighty}]}]}}"
    )
    assert {problem.path for problem in found} == {
        "$.spec.restartPolicy",
        "$.spec.containers[0].ports[0].containerPort",
    }
    assert all(problem.subject == "Pod Web" and problem.source == "t.yaml" for problem in found)


def test_fields_that_are_not_carried_out_are_warnings_with_their_path() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  affinity: {nodeAffinity: {}}
  terminationGracePeriodSeconds: 5
  containers:
  - {name: main, image: weft.dev/demo, resources: {limits: {cpu: 1}}, imagePullPolicy: Always, stdin: true}
"""
    found = problems_of(text)
    assert {problem.path for problem in found} == {"$.spec.affinity", "$.spec.containers[0].resources"}
    assert all(problem.warning for problem in found)


def test_explicit_nulls_mean_absent() -> None:
    assert problems_of(POD + "  affinity: null\n  hostname: null\n") == []


def test_an_image_without_command_names_the_remedy() -> None:
    (found,) = problems_of(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: m, image: nginx}]}}"
    )
    assert not found.warning
    assert "nginx" in found.message
    assert "command" in found.remedy
    assert "weft.dev/demo" in found.remedy


def test_an_image_with_command_runs_this_machines_files() -> None:
    assert not problems_of(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: m, image: nginx, command: [sh]}]}}"
    )


def test_mesh_objects_are_judged_and_kept_word_for_word() -> None:
    text = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec: {action: ALLOW, rules: [{to: [{operation: {paths: [/foo]}}]}]}
"""
    found = one(text)
    assert isinstance(found, Foreign)
    assert found.document["spec"] == yaml.safe_load(text)["spec"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            "{apiVersion: weft.dev/v1alpha1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {acton: ALLOW}}",
            "$.spec.acton",
        ),
        ("{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: a}, spec: {}}", "$.kind"),
        ("{apiVersion: weft.dev/v1alpha1, kind: AuthorisationPolicy, metadata: {name: a}, spec: {}}", "$.kind"),
        ("{apiVersion: weft.dev/v9, kind: Mesh, metadata: {name: default}, spec: {}}", "$.apiVersion"),
    ],
)
def test_broken_mesh_objects_are_refused(text: str, path: str) -> None:
    (found,) = read(text)
    assert found.object is None
    assert path in {problem.path for problem in found.problems if not problem.warning}


@pytest.mark.parametrize(
    "text",
    [
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}}",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a}}",
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}}",
    ],
)
def test_kinds_that_the_lab_does_not_run_are_told(text: str) -> None:
    (found,) = read(text)
    assert found.object is None
    assert [problem.warning for problem in found.problems] == [True]


@pytest.mark.parametrize("text", ["[1, 2]", "just a text", "{kind: Pod}", "{apiVersion: v1, kind: 7}", "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    (found,) = read(text)
    assert found.failed


@pytest.mark.parametrize(
    "metadata", ["null", "{}", "[]", "{name: 7}", "{name: ''}", "{name: a/b}", "{name: a, labels: {x: 1}}"]
)
def test_metadata_must_name_the_object(metadata: str) -> None:
    (found,) = read(f"{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}")
    assert found.failed


def test_workloads_and_services_are_read() -> None:
    deployment, service = read(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: "
        "{metadata: {labels: {app: a}}, spec: {containers: [{name: m, command: [sh]}]}}}}\n---\n"
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, clusterIP: None}}"
    )
    assert isinstance(deployment.object, Deployment)
    assert deployment.object.spec.replicas == 1
    assert isinstance(service.object, Service)
    assert service.object.headless
