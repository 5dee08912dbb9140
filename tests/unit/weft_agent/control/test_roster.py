"""Who is captured: the configuration's pods as the watch shows them, and new ones that it does not know yet."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from weft_agent.control.config_files import parse
from weft_agent.control.config_source import Config
from weft_agent.control.roster import Members, members
from weft_agent.kubernetes import NodePods
from weft_contract.codec import decode_resource, document, encode
from weft_contract.objects import Pod
from weft_contract.objects.pod import PodCondition
from weft_contract.resources import Node, Resource, Workload

NODE = Node(name="n1", trust_domain="cluster.local", addresses=("192.0.2.1",))
GATE = {"name": "weft-gate"}


def workload(name: str, address: str = "10.0.0.1", **changes: Any) -> Workload:
    fields: dict[str, Any] = {
        "namespace": "shop", "name": name, "uid": f"uid-{name}", "service_account": "web",
        "identity": "spiffe://cluster.local/ns/shop/sa/web", "addresses": (address,), "policies": ("shop/deny",),
    }  # fmt: skip
    return Workload(**(fields | changes))


def config(*resources: Resource) -> Config:
    return parse(encode(document("n1", [NODE, *resources])), "n1.json", "n1", "file")


def pod(name: str, address: str = "10.0.0.1", spec: Mapping[str, Any] | None = None, **metadata: Any) -> Pod:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "web"}, **metadata},
            "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": [{"name": "c"}], **(spec or {})},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}] if address else []},
        },
        Pod,
    )


def seen(*pods: Pod) -> NodePods:
    made = NodePods()
    made.replace(pods)
    return made


def names(found: Members) -> tuple[list[str], list[str]]:
    return [item.name for item in found.told], [item.name for item in found.untold]


def told(found: Members, key: str) -> Any:
    assert found.entries is not None
    return decode_resource(found.entries[key][1]) if key in found.entries else None


def test_without_a_configuration_there_is_nobody() -> None:
    assert members(None, seen(pod("web"))) == Members()


def test_without_a_watch_the_configuration_is_everything() -> None:
    present = config(workload("web"))
    for nothing in (None, NodePods()):
        found = members(present, nothing)
        assert found.told == present.workloads
        assert found.complete is (nothing is None), "a watch that has shown nothing yet may know of more"
        assert found.entries is present.entries


def test_a_configuration_that_agrees_with_the_watch_stays_as_it_is() -> None:
    present = config(workload("web"), workload("ahead", "10.0.0.2"))
    found = members(present, seen(pod("web")))
    assert names(found) == (["ahead", "web"], []), "one that the watch has not shown yet is not gone"
    assert found.entries is present.entries


def test_a_pod_that_is_gone_is_released_and_no_longer_told() -> None:
    present = config(workload("web"), workload("other", "10.0.0.2"))
    pods = seen(pod("web"), pod("other", "10.0.0.2"))
    pods.change("DELETED", pod("web"))
    found = members(present, pods)
    assert names(found) == (["other"], [])
    assert told(found, "Workload/shop/web") is None
    assert told(found, "Workload/shop/other") == present.workloads[0]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_released(phase: str) -> None:
    ended = msgspec.structs.replace(pod("web"), status=msgspec.structs.replace(pod("web").status, phase=phase))
    assert names(members(config(workload("web")), seen(ended))) == ([], [])


def test_addresses_are_those_of_the_watch() -> None:
    found = members(config(workload("web")), seen(pod("web", "10.0.0.77")))
    assert found.told[0].addresses == ("10.0.0.77",)
    assert told(found, "Workload/shop/web").addresses == ("10.0.0.77",)


def test_an_address_that_went_to_a_younger_pod_is_no_longer_the_old_ones() -> None:
    old = pod("old", creationTimestamp="2026-01-01T00:00:00Z", deletionTimestamp="2026-01-01T00:01:00Z")
    young = pod("young", creationTimestamp="2026-01-01T00:02:00Z", labels={"weft.dev/mesh": "enabled"})
    found = members(config(workload("old")), seen(old, young))
    assert names(found) == ([], ["young"])
    assert told(found, "Workload/shop/old") is None


def test_a_pod_that_is_being_deleted_loses_its_address_even_to_an_older_one() -> None:
    leaving = pod("leaving", creationTimestamp="2026-01-02T00:00:00Z", deletionTimestamp="2026-01-02T00:01:00Z")
    older = pod("older", creationTimestamp="2026-01-01T00:00:00Z")
    found = members(config(workload("leaving"), workload("older")), seen(leaving, older))
    assert names(found) == (["older"], [])


def test_a_new_pod_like_one_that_is_known_is_treated_like_it() -> None:
    label = {"app": "web", "weft.dev/mesh": "enabled"}
    present = config(workload("web-1"))
    found = members(present, seen(pod("web-1", labels=label), pod("web-2", "10.0.0.2", labels=label)))
    assert names(found) == (["web-1", "web-2"], [])
    copy = told(found, "Workload/shop/web-2")
    assert (copy.uid, copy.addresses, copy.policies) == ("uid-web-2", ("10.0.0.2",), ("shop/deny",))
    assert copy == found.told[1]


@pytest.mark.parametrize(
    "difference",
    [
        {"labels": {"app": "web", "weft.dev/mesh": "enabled", "canary": "true"}},
        {"annotations": {"weft.dev/opaquePorts": "5432"}},
        {"namespace": "bank"},
        {"spec": {"serviceAccountName": "other"}},
        {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}]}},
    ],
)
def test_a_new_pod_unlike_any_other_is_captured_and_waits(difference: dict[str, Any]) -> None:
    label: dict[str, Any] = {"labels": {"app": "web", "weft.dev/mesh": "enabled"}}
    present = config(workload("web-1"))
    found = members(present, seen(pod("web-1", **label), pod("web-2", "10.0.0.2", **(label | difference))))
    assert names(found) == (["web-1"], ["web-2"])
    assert found.entries is present.entries


def test_a_strangers_exclusions_hold_and_broken_ones_do_not() -> None:
    annotations = {
        "weft.dev/excludeInboundPorts": "9090,9100-9110", "weft.dev/excludeOutboundPorts": "no port",
        "weft.dev/excludeOutboundIPRanges": "10.9.0.0/16",
    }  # fmt: skip
    stranger = pod("new", labels={"weft.dev/mesh": "enabled"}, annotations=annotations)
    (found,) = members(config(), seen(stranger)).untold
    assert found.capture.exclude_inbound_ports == ((9090, 9090), (9100, 9110))
    assert found.capture.exclude_outbound_ports == ()
    assert found.capture.exclude_outbound_networks == ("10.9.0.0/16",)
    assert found.identity == "spiffe://cluster.local/ns/shop/sa/web"


def test_a_pod_at_its_gate_opted_in_by_its_namespace() -> None:
    waiting = pod("new", spec={"initContainers": [GATE]})
    assert names(members(config(), seen(waiting))) == ([], ["new"])
    conditions = (PodCondition(type="Initialized", status="True"),)
    through = msgspec.structs.replace(waiting, status=msgspec.structs.replace(waiting.status, conditions=conditions))
    assert names(members(config(), seen(through))) == ([], []), "afterwards the operator decides"
    assert names(members(config(), seen(through), (), {"uid-new"})) == ([], ["new"]), "and until then it stays in"
    left = msgspec.structs.replace(
        through, metadata=msgspec.structs.replace(through.metadata, labels={"weft.dev/mesh": "disabled"})
    )
    assert names(members(config(), seen(left), (), {"uid-new"})) == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"weft.dev/mesh": "disabled"}, "spec": {"initContainers": [GATE]}},
        {"labels": {}},
        {"labels": {"weft.dev/mesh": "perhaps"}},
        {"labels": {"weft.dev/mesh": "enabled"}, "address": ""},
        {"labels": {"weft.dev/mesh": "enabled"}, "spec": {"serviceAccountName": "NO account"}},
    ],
)
def test_who_did_not_opt_in_or_cannot_be_is_left_alone(changes: dict[str, Any]) -> None:
    assert names(members(config(), seen(pod("new", **changes)))) == ([], [])


def test_a_pod_on_the_nodes_network_is_refused_whatever_the_configuration_says() -> None:
    on_node = pod("web", "192.0.2.1", spec={"hostNetwork": True})
    found = members(config(workload("web", "192.0.2.1")), seen(on_node))
    assert names(found) == ([], [])
    assert "node's network" in found.refused["shop/web"]
    assert told(found, "Workload/shop/web") is None
    asks = pod("asks", "192.0.2.1", spec={"hostNetwork": True}, labels={"weft.dev/mesh": "enabled"})
    assert "shop/asks" in members(config(), seen(asks)).refused
    assert not members(config(), seen(pod("no", "192.0.2.1", spec={"hostNetwork": True}))).refused


def test_the_nodes_addresses_are_joined() -> None:
    present = config(workload("web"))
    found = members(present, None, ["192.0.2.1", "10.77.1.1", "fd77::1"])
    assert told(found, "Node/n1").addresses == ("192.0.2.1", "10.77.1.1", "fd77::1")
    assert members(present, None, ["192.0.2.1"]).entries is present.entries
