"""What becomes of held endpoints when slices show others: nobody gets an identity by guess, and nobody loses one."""

from collections.abc import Mapping, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.degraded.held import Held, OwnPods, own_pods, read_held
from weft_agent.degraded.overlay import Overlay, work_out
from weft_agent.degraded.seen import SeenSlice, TargetReference
from weft_agent.degraded.stranger import Asked
from weft_contract.codec import decode_resource, digest, encode
from weft_contract.gate import GATE_CONTAINER
from weft_contract.objects import Pod
from weft_contract.resources import Endpoint, Endpoints, Peers, Resource, Service, ServicePort
from weft_contract.resources.document import resource_key
from weft_contract.resources.workload import Capture, Workload

WEB = "spiffe://cluster.local/ns/shop/sa/web"
OTHER = "spiffe://cluster.local/ns/shop/sa/other"
Slices = Mapping[str, Sequence[SeenSlice]]


def service(name: str = "web", port_name: str = "") -> Service:
    return Service(namespace="shop", name=name, ports=(ServicePort(port=80, name=port_name),))


def at(address: str, identity: str = WEB, port: int = 8080, node: str = "n2", workload: str = "shop/web") -> Endpoint:
    return Endpoint(address=address, port=port, identity=identity, node=node, workload=workload, zone="z")


def behind(*endpoints: Endpoint, name: str = "web") -> Endpoints:
    return Endpoints(namespace="shop", service=name, port=80, endpoints=endpoints)


def held(*resources: Resource) -> Held:
    return read_held({resource_key(item): (digest(encode(item)), encode(item)) for item in resources})


def shown(*entries: dict[str, object], name: str = "web", port_name: str = "", port: int = 8080) -> SeenSlice:
    return msgspec.convert(
        {
            "metadata": {
                "name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": list(entries),
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        },
        SeenSlice,
    )  # fmt: skip


def entry(address: str, node: str = "n2", **conditions: bool) -> dict[str, object]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions or {"ready": True}}


def nobody() -> OwnPods:
    return own_pods("n1", "z1", ())


def own(*addresses: str, identity: str = WEB, excluded: tuple[tuple[int, int], ...] = ()) -> OwnPods:
    pod = Workload(
        namespace="shop", name="web-1", uid="u", service_account="web", identity=identity, addresses=addresses,
        workload="web", capture=Capture(exclude_inbound_ports=excluded),
    )  # fmt: skip
    return own_pods("n1", "z1", [pod])


def endpoints_of(overlay: Overlay, base: Held, key: str = "Endpoints/shop/web:80") -> tuple[Endpoint, ...]:
    if key not in overlay.entries:
        return base.endpoints[key].endpoints
    content_hash, body = overlay.entries[key]
    assert content_hash == digest(body)
    resource = decode_resource(body)
    assert isinstance(resource, Endpoints)
    return resource.endpoints


def peers_of(overlay: Overlay) -> tuple[Endpoint, ...]:
    resource = decode_resource(overlay.entries["Peers/shop"][1])
    assert isinstance(resource, Peers)
    return resource.endpoints


def test_what_slices_confirm_stays_as_it_is_and_nothing_is_laid_over_it() -> None:
    base = held(service(), behind(at("10.0.0.1"), at("10.0.0.2", identity="")))
    slices = {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.0.2"))]}
    assert work_out(base, slices, nobody()) == Overlay()


def test_who_is_gone_gets_no_traffic_and_keeps_its_identity_as_a_peer() -> None:
    base = held(service(), behind(at("10.0.0.1"), at("10.0.0.2")))
    overlay = work_out(base, {"shop/web": [shown(entry("10.0.0.2"))]}, nobody())
    assert endpoints_of(overlay, base) == (at("10.0.0.2"),)
    assert peers_of(overlay) == (at("10.0.0.1", port=0),)
    assert (overlay.services, overlay.gone, overlay.added, overlay.unknown) == (1, 1, 0, 0)


def test_who_is_not_ready_gets_no_traffic_and_who_terminates_is_the_last_resort() -> None:
    base = held(service(), behind(at("10.0.0.1"), at("10.0.0.2")))
    slices = [
        shown(entry("10.0.0.1", ready=False), entry("10.0.0.2", ready=False, serving=True, terminating=True)),
    ]
    overlay = work_out(base, {"shop/web": slices}, nobody())
    assert endpoints_of(overlay, base) == (msgspec.structs.replace(at("10.0.0.2"), ready=False),)


def test_a_peer_that_is_there_already_is_not_there_twice() -> None:
    peers = Peers(namespace="shop", endpoints=(at("10.0.0.1", port=0), at("10.0.0.9", identity=OTHER, port=0)))
    base = held(service(), behind(at("10.0.0.1")), peers)
    overlay = work_out(base, {"shop/web": [shown()]}, nobody())
    assert endpoints_of(overlay, base) == ()
    assert "Peers/shop" not in overlay.entries


def test_a_service_without_slices_keeps_what_is_held() -> None:
    base = held(service(), behind(at("10.0.0.1")))
    assert work_out(base, {}, nobody()) == Overlay()
    assert work_out(base, {"shop/web": []}, nobody()) == Overlay()


def test_a_new_address_is_left_out_however_alike_its_siblings_are() -> None:
    base = held(service(), behind(at("10.0.0.1"), at("10.0.0.2")))
    slices = {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.0.2"), entry("10.0.0.3"))]}
    overlay = work_out(base, slices, nobody())
    assert (overlay.entries, overlay.unknown) == ({}, 1)


def test_a_new_address_is_used_once_the_pod_behind_it_is_known_and_asked_for_until_nobody_shows_it() -> None:
    base = held(service(), behind(at("10.0.0.1")))
    target = TargetReference(kind="Pod", namespace="shop", name="web-9", uid="u9")
    new = {**entry("10.0.0.3"), "targetRef": msgspec.to_builtins(target), "zone": "z"}
    slices = {"shop/web": [shown(entry("10.0.0.1"), new)]}
    overlay = work_out(base, slices, nobody())
    assert (overlay.entries, overlay.unknown, overlay.strangers) == ({}, 1, frozenset({target}))
    body = {
        "metadata": {"name": "web-9", "namespace": "shop", "uid": "u9"},
        "spec": {"nodeName": "n2", "serviceAccountName": "web", "initContainers": [{"name": GATE_CONTAINER}]},
        "status": {"podIP": "10.0.0.3"},
    }
    asked = Asked(trust_domain="cluster.local", pods={"u9": msgspec.convert(body, Pod)})
    overlay = work_out(base, slices, nobody(), asked)
    assert endpoints_of(overlay, base) == (at("10.0.0.1"), at("10.0.0.3", workload="shop/web-9"))
    assert (overlay.added, overlay.unknown, overlay.strangers) == (1, 0, frozenset({target}))
    assert not work_out(base, {"shop/web": [shown(entry("10.0.0.1"))]}, nobody(), asked).strangers


def test_pods_of_this_node_are_not_asked_for() -> None:
    target = {"kind": "Pod", "namespace": "shop", "name": "web-9", "uid": "u9"}
    slices = {"shop/web": [shown({**entry("10.0.0.3", node="n1"), "targetRef": target})]}
    assert not work_out(held(service(), behind(at("10.0.0.1"))), slices, nobody()).strangers


def test_an_address_that_was_a_peer_is_used_with_its_identity() -> None:
    base = held(service(), behind(at("10.0.0.1")), Peers(namespace="shop", endpoints=(at("10.0.0.3", port=0),)))
    overlay = work_out(base, {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.0.3"))]}, nobody())
    assert endpoints_of(overlay, base) == (at("10.0.0.1"), at("10.0.0.3"))
    assert (overlay.added, overlay.unknown) == (1, 0)


def test_a_known_address_with_two_identities_is_left_out() -> None:
    peers = Peers(namespace="shop", endpoints=(at("10.0.0.3", port=0), at("10.0.0.3", identity=OTHER, port=0)))
    overlay = work_out(held(service(), behind(), peers), {"shop/web": [shown(entry("10.0.0.3"))]}, nobody())
    assert (overlay.entries, overlay.unknown) == ({}, 1)


def test_that_nobody_of_the_mesh_answers_is_believed_of_the_very_service_port_alone() -> None:
    """An address goes from pod to pod: plain for one Service says nothing of whoever stands behind another."""
    base = held(service(), behind(), service("two"), behind(at("10.0.0.1", identity=""), name="two"))
    slices = {"shop/web": [shown(entry("10.0.0.1"))], "shop/two": [shown(entry("10.0.0.1"), name="two")]}
    overlay = work_out(base, slices, nobody())
    assert (overlay.entries, overlay.unknown) == ({}, 1)


def test_a_port_on_which_the_workload_has_no_identity_elsewhere_is_not_guessed() -> None:
    excluded = at("10.0.0.1", identity="")
    base = held(service(), behind(excluded), Peers(namespace="shop", endpoints=(at("10.0.0.3", port=0),)))
    overlay = work_out(base, {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.0.3"))]}, nobody())
    assert (overlay.entries, overlay.unknown) == ({}, 1)


def test_an_address_on_another_node_is_another_pod() -> None:
    base = held(service(), behind(at("10.0.0.1"), at("10.0.0.2", identity="")))
    overlay = work_out(base, {"shop/web": [shown(entry("10.0.0.1", "n3"), entry("10.0.0.2", "n3"))]}, nobody())
    assert endpoints_of(overlay, base) == ()
    assert peers_of(overlay) == (at("10.0.0.1", port=0),)
    assert (overlay.gone, overlay.unknown) == (2, 2)


def test_a_new_pod_of_this_node_is_used_because_the_agent_sees_it_itself() -> None:
    base = held(service(), behind(at("10.0.0.1")))
    slices = {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.1.9", "n1"))]}
    new = Endpoint(address="10.0.1.9", port=8080, identity=WEB, node="n1", workload="shop/web", zone="z1")
    assert endpoints_of(work_out(base, slices, own("10.0.1.9")), base) == (at("10.0.0.1"), new)
    plain = endpoints_of(work_out(base, slices, own("10.0.1.9", excluded=((8000, 8100),))), base)
    assert plain[1] == msgspec.structs.replace(new, identity="")
    assert work_out(base, slices, own("10.0.1.8")).unknown == 1
    elsewhere = {"shop/web": [shown(entry("10.0.0.1"), entry("10.0.1.9", "n5"))]}
    assert work_out(base, elsewhere, own("10.0.1.9")).unknown == 1


def test_a_pod_of_the_mesh_that_took_over_an_address_of_this_node_is_not_called_in_plain() -> None:
    base = held(service(), behind(at("10.0.1.9", identity="", node="n1")))
    found = endpoints_of(work_out(base, {"shop/web": [shown(entry("10.0.1.9", "n1"))]}, own("10.0.1.9")), base)
    assert [item.identity for item in found] == [WEB]


def test_nothing_is_laid_over_what_workers_refuse() -> None:
    """A stand-in refuses in place of a resource that cannot be used; correcting its neighbours could open what it closes."""
    broken = Peers(namespace="shop", endpoints=(at("nonsense", port=0),))
    base = held(service(), behind(at("10.0.0.1")), broken)
    assert work_out(base, {"shop/web": [shown()]}, nobody()) == Overlay()
    unreadable = read_held({"Service/shop/web": ("", b"{}"), "Peers/other": ("", encode(Peers(namespace="other")))})
    assert (unreadable.services, list(unreadable.peers)) == ({}, ["other"])


def test_ports_are_matched_by_name_and_only_the_first_address_counts() -> None:
    base = held(service(port_name="http"), behind(at("10.0.0.1"), at("10.0.0.1", port=9)))
    item = shown({"addresses": ["10.0.0.1", "10.0.0.7"]}, {"addresses": ["x"]}, {"addresses": []}, port_name="http")
    wrong = shown(entry("10.0.0.1"), port_name="admin", port=9)
    overlay = work_out(base, {"shop/web": [item, wrong]}, nobody())
    assert endpoints_of(overlay, base) == (at("10.0.0.1"),)
    assert "Peers/shop" not in overlay.entries, "the address has its identity on the other port still"
    assert overlay.unknown == 0


# -- any state at all ---------------------------------------------------------------------------------------------

addresses = st.sampled_from([f"10.0.0.{number}" for number in range(1, 7)] + ["fd00::1", "fd00::2"])
nodes = st.sampled_from(["n1", "n2", "n3", ""])
identities = st.sampled_from([WEB, OTHER, ""])
ports = st.sampled_from([8080, 9090])
any_endpoint = st.builds(at, addresses, identities, ports, nodes, st.sampled_from(["shop/web", "shop/other"]))
any_endpoints = st.lists(any_endpoint, max_size=6, unique_by=lambda item: (item.address, item.port))
any_entry = st.builds(
    lambda address, node, ready: entry(address, node, ready=ready, serving=True, terminating=not ready),
    addresses, nodes, st.booleans(),
)  # fmt: skip
any_slices = st.lists(
    st.builds(lambda entries, port: shown(*entries, port=port), st.lists(any_entry, max_size=6), ports), max_size=3
)
any_peers = st.lists(
    any_endpoint.filter(lambda item: bool(item.identity)), max_size=4, unique_by=lambda item: item.address
)
any_own = st.builds(lambda found, identity: own(*found, identity=identity), st.sets(addresses), st.just(OTHER))


@given(any_endpoints, any_endpoints, any_peers, any_slices, any_own)
def test_nobody_gets_an_identity_that_was_not_known_and_nobody_loses_one(
    first: list[Endpoint],
    second: list[Endpoint],
    peers: list[Endpoint],
    slices: list[SeenSlice],
    mine: OwnPods,
) -> None:
    any_port = tuple(msgspec.structs.replace(item, port=0) for item in peers)
    base = held(
        service(), behind(*first), service("two"), behind(*second, name="two"),
        Peers(namespace="shop", endpoints=any_port),
    )  # fmt: skip
    overlay = work_out(base, {"shop/web": slices}, mine)
    result = endpoints_of(overlay, base)
    visible = {(address, port.port) for item in slices for port in item.ports for address in _usable(item)}
    for endpoint in result if slices else ():
        assert (endpoint.address, endpoint.port) in visible
        known = {item.identity for item in (*first, *second, *any_port) if item.address == endpoint.address}
        if endpoint.identity:
            assert endpoint.identity in known or endpoint.address in mine.by_address
        else:
            assert any(
                (item.address, item.port, item.identity) == (endpoint.address, endpoint.port, "") for item in first
            )
    before = {item.address for item in (*first, *second, *any_port) if item.identity}
    now = peers_of(overlay) if "Peers/shop" in overlay.entries else any_port
    after = {item.address for item in (*result, *second, *now) if item.identity}
    assert before <= after
    assert set(overlay.entries) <= {"Endpoints/shop/web:80", "Peers/shop"}


def _usable(item: SeenSlice) -> list[str]:
    return [each.addresses[0] for each in item.endpoints if each.conditions.usable is not None]
