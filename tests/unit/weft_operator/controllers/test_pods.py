"""Events on pods that opted in and are not as they should be."""

from collections.abc import Mapping

import pytest

from weft_operator.compile import ClusterView
from weft_operator.controllers.events import Recorder
from weft_operator.controllers.pods import pod_notices
from weft_operator.controllers.teller import Teller
from weft_testing.memory_api import MemoryApi
from weft_testing.objects import Doc, namespace, pod, view_of

GATE = {"initContainers": [{"name": "weft-gate"}]}


def view(*pods: Doc) -> ClusterView:
    return view_of(namespace("shop"), namespace("out", mesh=None), *pods)


def found(*pods: Doc) -> list[tuple[str, str]]:
    seen = view(*pods)
    return [
        (item.metadata.name, notice.reason) for item, notice in pod_notices(seen, seen.pods.items(), "cluster.local")
    ]


@pytest.mark.parametrize(
    ("spec", "reasons"),
    [
        (GATE, []),
        ({}, ["NoCaptureGate"]),
        ({"initContainers": [{"name": "other"}]}, ["NoCaptureGate"]),
        ({"hostNetwork": True}, ["NotInMesh"]),
        ({**GATE, "serviceAccountName": "Not_A_Name"}, ["NotInMesh"]),
    ],
)
def test_what_is_wrong_with_a_pod(spec: Mapping[str, object], reasons: list[str]) -> None:
    assert found(pod("web", "10.0.0.1", spec=spec)) == [("web", reason) for reason in reasons]


def test_pods_that_did_not_opt_in_or_have_ended_are_none_of_our_business() -> None:
    assert found(pod("web", "10.0.0.1", namespace="out")) == []
    assert found(pod("web", "10.0.0.1", labels={"weft.dev/mesh": "disabled"})) == []
    assert found({**pod("web", "10.0.0.1"), "status": {"phase": "Succeeded"}}) == []
    assert found(pod("web", "10.0.0.1", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})) == []


def test_a_pod_that_waits_for_its_node_is_looked_at_too() -> None:
    assert found({**pod("web", node=""), "status": {"phase": "Pending"}}) == [("web", "NoCaptureGate")]


@pytest.mark.asyncio
async def test_each_is_told_once_and_again_when_something_else_is_wrong() -> None:
    api = MemoryApi()
    teller = Teller(Recorder(api, "replica-1"))

    async def tell(*pods: Doc) -> int:
        seen = view(*pods)
        return await teller.tell(pod_notices(seen, seen.pods.items(), "cluster.local"))

    on_node = pod("web", "10.0.0.1", spec={"hostNetwork": True})
    assert [await tell(on_node), await tell(on_node)] == [1, 0]
    [event] = api.events
    assert (event["type"], event["reason"], event["regarding"]["kind"]) == ("Warning", "NotInMesh", "Pod")
    assert event["regarding"]["uid"] == "uid-shop-web"
    assert "label it weft.dev/mesh: disabled" in event["note"]
    assert await tell(pod("web", "10.0.0.1")) == 1
    assert await tell() == 0
    assert teller.told == {}
