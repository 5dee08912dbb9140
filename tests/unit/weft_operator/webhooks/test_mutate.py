"""Who gets a gate: pods that opted in by their own label, else by their namespace's, and nobody else."""

from collections.abc import Mapping

import pytest

from weft_operator.webhooks import Answer, GateSettings, mutate
from weft_testing.objects import Doc, pod, policy
from weft_testing.reviews import request_of

SETTINGS = GateSettings(image="example.com/weft-agent:1")
NAMESPACES: dict[str, dict[str, str]] = {
    "in": {"weft.dev/mesh": "enabled"},
    "out": {"weft.dev/mesh": "disabled"},
    "none": {},
    "odd": {"weft.dev/mesh": "yes"},
}


def asked(item: Doc, namespace: str, operation: str = "") -> Answer:
    return mutate(request_of(item, namespace=namespace, operation=operation), SETTINGS, NAMESPACES.get)


@pytest.mark.parametrize(
    ("namespace", "labels", "gated"),
    [
        ("in", {}, True),
        ("in", {"weft.dev/mesh": "enabled"}, True),
        ("in", {"weft.dev/mesh": "disabled"}, False),
        ("in", {"weft.dev/mesh": "yes"}, True),
        ("out", {}, False),
        ("out", {"weft.dev/mesh": "enabled"}, True),
        ("none", {}, False),
        ("none", {"weft.dev/mesh": "enabled"}, True),
        ("odd", {}, False),
        ("just-made", {}, True),
        ("just-made", {"weft.dev/mesh": "disabled"}, False),
    ],
)
def test_who_is_in(namespace: str, labels: Mapping[str, str], gated: bool) -> None:
    answer = asked(pod("web", labels=labels), namespace)
    assert answer.allowed
    assert bool(answer.patch) == gated
    assert not answer.warnings


def test_the_node_s_network_gets_a_warning_and_no_gate() -> None:
    answer = asked(pod("web", spec={"hostNetwork": True}), "in")
    assert answer.allowed
    assert not answer.patch
    assert "uses the node's network" in answer.warnings[0]
    assert "weft.dev/mesh: disabled" in answer.warnings[0]
    assert not asked(pod("web", spec={"hostNetwork": True}), "none").warnings


def test_windows_gets_a_warning_and_no_gate() -> None:
    answer = asked(pod("web", spec={"os": {"name": "windows"}}), "in")
    assert answer.allowed
    assert not answer.patch
    assert "Windows" in answer.warnings[0]
    assert asked(pod("web", spec={"os": {"name": "linux"}}), "in").patch


def test_only_new_pods_are_changed() -> None:
    assert not asked(pod("web"), "in", operation="UPDATE").patch
    assert not asked(policy("AuthorizationPolicy", "web", {}), "in").patch


@pytest.mark.parametrize("broken", [{"spec": None}, {"spec": []}, {"metadata": None}, {"metadata": {"labels": []}}])
def test_a_pod_that_is_none_is_no_crash(broken: Doc) -> None:
    assert asked({**pod("web"), **broken}, "in").patch
