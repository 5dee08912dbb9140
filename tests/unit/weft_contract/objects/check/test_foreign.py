"""Our labels and annotations on other people's objects, and the ports of Services."""

from typing import Any

import pytest

from weft_contract.objects import Skipped, decode_object, problems
from weft_contract.problems import Problem


def _found(
    kind: str, metadata: dict[str, Any], spec: dict[str, Any] | None = None, version: str = "v1"
) -> list[Problem]:
    doc = {"apiVersion": version, "kind": kind, "metadata": {"name": "a", **metadata}, "spec": spec or {}}
    item = decode_object(doc, "x")
    assert not isinstance(item, Skipped)
    return problems(item, lambda _: None)


def test_right_labels_and_annotations_have_no_problems() -> None:
    annotations = {
        "weft.dev/excludeInboundPorts": "9090,9100-9110",
        "weft.dev/excludeOutboundPorts": "25",
        "weft.dev/excludeOutboundIPRanges": "10.0.0.0/8,fd00::/8",
        "weft.dev/opaquePorts": "3306",
        "weft.dev/preserveSource": "false",
        "weft.dev/netns": "lab-pod-1",
        "other.io/x": "anything",
    }
    assert _found("Pod", {"labels": {"weft.dev/mesh": "disabled"}, "annotations": annotations}) == []
    assert _found("Namespace", {"labels": {"weft.dev/mesh": "enabled"}}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weft.dev/excludeInboundPorts", "http"),
        ("weft.dev/excludeOutboundPorts", "1-0"),
        ("weft.dev/excludeOutboundIPRanges", "10.0.0.0/99"),
        ("weft.dev/opaquePorts", "0"),
        ("weft.dev/preserveSource", "no"),
        ("weft.dev/netns", "../../proc/1/ns/net"),
    ],
)
def test_wrong_annotations_are_problems(key: str, value: str) -> None:
    (problem,) = _found("Pod", {"annotations": {key: value}})
    assert problem.path == f"$.metadata.annotations[{key!r}]"
    assert "the annotation is not counted" in problem.message
    template = {"template": {"metadata": {"annotations": {key: value}}}}
    (problem,) = _found("Deployment", {}, template, "apps/v1")
    assert problem.path == f"$.spec.template.metadata.annotations[{key!r}]"


@pytest.mark.parametrize("kind", ["Pod", "Namespace"])
def test_a_wrong_opt_in_label_is_a_problem(kind: str) -> None:
    (problem,) = _found(kind, {"labels": {"weft.dev/mesh": "true"}})
    assert "neither 'enabled' nor 'disabled'" in problem.message
    (problem,) = _found(kind, {"annotations": {"weft.dev/mesh": "enabled"}})
    assert problem.remedy == "make it a label"


def test_annotations_that_are_not_carried_out_are_warned_of() -> None:
    (problem,) = _found("Pod", {"annotations": {"weft.dev/excludeInboundPort": "80"}})
    assert problem.warning
    assert problem.remedy == "did you mean weft.dev/excludeInboundPorts?"
    (problem,) = _found("Service", {"annotations": {"weft.dev/netns": "x"}})
    assert str(problem.remedy).startswith("known here: ")
    assert "weft.dev/opaquePorts" in str(problem.remedy)
    for key in ("retry.weft.dev/http", "timeout.weft.dev/idle"):
        (problem,) = _found("Service", {"annotations": {key: "1"}})
        assert problem.warning
        assert "no effect yet" in problem.message


def test_timeouts_of_a_service() -> None:
    for value in ("10s", "1m30s", "0s"):
        assert _found("Service", {"annotations": {"timeout.weft.dev/request": value}}) == []
    (problem,) = _found("Service", {"annotations": {"timeout.weft.dev/backendRequest": "fast"}})
    assert "write it as 10s" in problem.message
    assert not problem.warning
    (problem,) = _found("Pod", {"annotations": {"timeout.weft.dev/request": "10s"}})
    assert problem.warning, "it belongs on the Service"


def test_rate_limits_of_a_service() -> None:
    rate, burst = "ratelimit.weft.dev/requestsPerSecond", "ratelimit.weft.dev/burst"
    for value in ("100", "0.5", "10000000"):
        assert _found("Service", {"annotations": {rate: value, burst: "20"}}) == []
    for value in ("", "0", "0.0", "-1", "1e3", "many", "10000001", "1/s", "٣"):
        (problem,) = _found("Service", {"annotations": {rate: value}})
        assert "write it as 100 or 0.5; the annotation is not counted" in problem.message
        assert not problem.warning
    for value in ("", "0", "1.5", "-1", "100000000", "²"):
        (problem,) = _found("Service", {"annotations": {rate: "1", burst: value}})
        assert "write it as 20; the annotation is not counted" in problem.message
    (problem,) = _found("Service", {"annotations": {burst: "20"}})
    assert problem.message == f"it has no effect without {rate}"
    (problem,) = _found("Service", {"annotations": {"ratelimit.weft.dev/average": "20"}})
    assert problem.warning
    assert rate in str(problem.remedy)
    (problem,) = _found("Pod", {"annotations": {rate: "20"}})
    assert problem.warning, "it belongs on the Service"


def test_service_ports() -> None:
    def paths(*ports: dict[str, Any], **annotations: str) -> list[str]:
        return [problem.path for problem in _found("Service", {"annotations": annotations}, {"ports": list(ports)})]

    assert paths({"port": 80}) == []
    assert paths({"port": 53, "name": "a", "protocol": "UDP"}, {"port": 53, "name": "b"}) == []
    assert paths({"port": 80, "name": "a"}, {"port": 80, "name": "b"}) == ["$.spec.ports[1]"]
    assert paths({"port": 80, "name": "a"}, {"port": 81, "name": "a"}) == ["$.spec.ports[1]"]
    assert paths({"port": 80}, {"port": 81}) == ["$.spec.ports[1]"]
    assert paths({"port": 80, "targetPort": 0}) == ["$.spec.ports[0].targetPort"]
    assert paths(**{"weft.dev/opaquePorts": "x"}) == ["$.metadata.annotations['weft.dev/opaquePorts']"]


@pytest.mark.parametrize(
    ("kind", "version"), [("Node", "v1"), ("ServiceAccount", "v1"), ("EndpointSlice", "discovery.k8s.io/v1")]
)
def test_kinds_without_rules_of_ours_have_no_problems(kind: str, version: str) -> None:
    assert _found(kind, {}, version=version) == []
