"""The capture gate: always first, exactly one, whatever was there before and however often it is asked for."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.gate import GATE_CONTAINER
from weft_operator.webhooks import GateSettings, gate_container
from weft_operator.webhooks.gate import gate_patch
from weft_testing.objects import Doc, pod
from weft_testing.reviews import patched

SETTINGS = GateSettings(image="example.com/weft-agent:1")
GATE = gate_container(SETTINGS)


def with_init(*containers: Doc) -> Doc:
    return pod("web", spec={"initContainers": list(containers)})


def names(item: Doc) -> list[str]:
    spec = item["spec"]
    assert isinstance(spec, dict)
    return [container["name"] for container in spec["initContainers"]]


def test_the_container_needs_nothing_and_knows_its_pod() -> None:
    assert GATE["command"] == ["weft-agent", "gate"]
    assert GATE["env"] == [
        {"name": "WEFT_POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}
    ]
    security = GATE["securityContext"]
    assert isinstance(security, dict)
    # What the Pod Security Standard `restricted` asks of a container.
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"] is True
    assert GATE["resources"] == {
        "requests": {"cpu": "10m", "memory": "32Mi"},
        "limits": {"cpu": "500m", "memory": "128Mi"},
    }


def test_image_pull_policy_command_and_resources_are_settings() -> None:
    gate = gate_container(
        GateSettings(
            image="i", pull_policy="Always", command=["/gate"], requests={"cpu": "1m"}, limits={"memory": "9Mi"}
        )
    )
    assert (gate["image"], gate["imagePullPolicy"], gate["command"]) == ("i", "Always", ["/gate"])
    assert gate["resources"] == {"requests": {"cpu": "1m"}, "limits": {"memory": "9Mi"}}


@pytest.mark.parametrize(
    "before",
    [
        pod("web"),
        pod("web", spec={"initContainers": []}),
        with_init({"name": "a"}),
        with_init({"name": "a"}, {"name": "b"}),
    ],
)
def test_it_becomes_the_first(before: Doc) -> None:
    after = patched(before, gate_patch(before, SETTINGS))
    spec = after["spec"]
    assert isinstance(spec, dict)
    assert spec["initContainers"][0] == GATE
    assert gate_patch(after, SETTINGS) == ()


def test_one_that_another_webhook_pushed_back_is_moved_to_the_front() -> None:
    before = with_init({"name": "other"}, GATE, {"name": "b"})
    assert names(patched(before, gate_patch(before, SETTINGS))) == [GATE_CONTAINER, "other", "b"]


def test_a_gate_of_one_s_own_making_is_replaced() -> None:
    owns: list[Doc] = [
        {"name": GATE_CONTAINER, "image": "busybox", "command": ["true"]},
        {**GATE, "command": ["true"]},
        {**GATE, "restartPolicy": "Always"},
        {**GATE, "args": ["--help"]},
        {**GATE, "envFrom": [{"configMapRef": {"name": "mine"}}]},
        {**GATE, "resources": {"limits": {"memory": "1Mi"}}},
        {**GATE, "volumeMounts": [{"name": "mine", "mountPath": "/usr/bin"}]},
        {**GATE, "volumeMounts": [{"name": "mine", "mountPath": "/var/run/secrets/../../../usr/bin"}]},
    ]
    for own in owns:
        before = with_init(own, {"name": "b"})
        after = patched(before, gate_patch(before, SETTINGS))
        assert names(after) == [GATE_CONTAINER, "b"]
        assert gate_patch(after, SETTINGS) == ()


def test_mounts_that_others_gave_to_every_container_stay() -> None:
    mounted = {**GATE, "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/x"}]}
    assert gate_patch(with_init(mounted), SETTINGS) == ()


def test_resources_that_others_gave_to_every_container_stay() -> None:
    resources = GATE["resources"]
    assert isinstance(resources, dict)
    more = {part: {**quantities, "ephemeral-storage": "1Gi"} for part, quantities in resources.items()}
    assert gate_patch(with_init({**GATE, "resources": more}), SETTINGS) == ()


def test_a_new_image_replaces_the_old_gate() -> None:
    newer = GateSettings(image="example.com/weft-agent:2")
    before = with_init(GATE, {"name": "b"})
    after = patched(before, gate_patch(before, newer))
    assert names(after) == [GATE_CONTAINER, "b"]
    assert gate_patch(after, newer) == ()


init_containers = st.lists(
    st.sampled_from([GATE, {"name": "a"}, {"name": "b"}, {"name": GATE_CONTAINER, "image": "x"}]), max_size=5
)


@given(init_containers)
def test_whatever_was_there_the_gate_is_first_and_alone_and_the_others_keep_their_order(before: list[Doc]) -> None:
    item = with_init(*copy.deepcopy(before))
    after = patched(item, gate_patch(item, SETTINGS))
    others = [container["name"] for container in before if container["name"] != GATE_CONTAINER]
    assert names(after) == [GATE_CONTAINER, *others]
    assert gate_patch(after, SETTINGS) == ()
