"""Who answers at an endpoint by the pod object behind it: the very pod at the very place, in the mesh for certain, or nobody."""

from typing import Any

import msgspec
import pytest

from weft_agent.degraded.place import Place
from weft_agent.degraded.seen import SeenEndpoint, TargetReference
from weft_agent.degraded.stranger import Asked, stranger_there
from weft_contract.gate import GATE_CONTAINER
from weft_contract.labels import EXCLUDE_INBOUND_PORTS
from weft_contract.objects import Pod
from weft_contract.resources import Endpoint

WEB = "spiffe://cluster.local/ns/shop/sa/web"
TARGET = TargetReference(kind="Pod", namespace="shop", name="web-5d-x", uid="u7")
PLACE = Place(address="10.0.0.7", port=8080, node="n2", ready=True, zone="z", pod=TARGET)
GATED = {"initContainers": [{"name": GATE_CONTAINER}, {"name": "own"}]}
OWNER = {"kind": "ReplicaSet", "name": "web-5d", "controller": True}


def pod(status: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> Asked:
    body = {
        "metadata": {
            "name": "web-5d-x", "namespace": "shop", "uid": "u7", "labels": {"pod-template-hash": "5d"},
            "ownerReferences": [OWNER], **(metadata or {}),
        },
        "spec": {"nodeName": "n2", "serviceAccountName": "web", **GATED, **spec},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}], **(status or {})},
    }  # fmt: skip
    return Asked(trust_domain="cluster.local", pods={"u7": msgspec.convert(body, Pod)})


def test_a_gated_pod_is_expected_to_prove_the_identity_of_its_account() -> None:
    assert stranger_there(PLACE, pod()) == Endpoint(
        address="10.0.0.7", port=8080, identity=WEB, node="n2", workload="shop/web", zone="z", ready=True
    )


@pytest.mark.parametrize(
    ("place", "asked"),
    [
        (PLACE, Asked(trust_domain="cluster.local")),
        (msgspec.structs.replace(TARGET, uid="u8"), pod()),
        (PLACE, Asked(pods=pod().pods)),
        (PLACE, pod(nodeName="n3")),
        (PLACE, pod(hostNetwork=True)),
        (PLACE, pod({"podIP": "10.0.0.8", "podIPs": [{"ip": "10.0.0.8"}]})),
        (PLACE, pod({"phase": "Failed"})),
        (PLACE, pod(initContainers=[{"name": "own"}])),
        (PLACE, pod(metadata={"labels": {"weft.dev/mesh": "disabled"}})),
        (PLACE, pod(serviceAccountName="Not/One")),
        (PLACE, pod(metadata={"annotations": {EXCLUDE_INBOUND_PORTS: "8000-8080"}})),
    ],
    ids=[
        "not asked for", "another pod of that name", "no trust domain", "another node", "the node's network", "another address",
        "ended", "no gate", "opted out", "no identity", "a port without capture",
    ],
)  # fmt: skip
def test_who_is_not_known_for_certain_is_nobody(place: Place | TargetReference, asked: Asked) -> None:
    if isinstance(place, TargetReference):
        place = Place(address="10.0.0.7", port=8080, node="n2", ready=True, pod=place)
    assert stranger_there(place, asked) is None


def test_its_own_label_is_enough_and_wins() -> None:
    labelled = pod(metadata={"labels": {"weft.dev/mesh": "enabled"}, "ownerReferences": []}, initContainers=[])
    found = stranger_there(PLACE, labelled)
    assert found is not None
    assert (found.identity, found.workload) == (WEB, "shop/web-5d-x")
    assert stranger_there(PLACE, pod(metadata={"labels": {"weft.dev/mesh": "maybe"}})) is not None, "counts as none"


def test_a_slice_that_names_no_pod_names_nobody() -> None:
    for target in (None, {"kind": "Node", "namespace": "shop", "name": "n", "uid": "u"}, {"kind": "Pod", "name": "n"}):
        entry = msgspec.convert({"addresses": ["10.0.0.7"], "targetRef": target}, SeenEndpoint)
        assert entry.pod is None
    assert stranger_there(Place(address="10.0.0.7", port=8080, node="n2", ready=True), pod()) is None
