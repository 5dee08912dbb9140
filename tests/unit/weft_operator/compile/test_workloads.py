"""Members to Workload resources."""

from typing import Any

import pytest

from weft_contract.objects import Pod, decode_object
from weft_contract.resources import Capture, InboundPort, Probe, Workload
from weft_operator.compile.members import find_members
from weft_operator.compile.peer_authentication import Modes
from weft_operator.compile.services import Lead
from weft_operator.compile.workloads import compile_workload, find_probes
from weft_testing import objects as o

_MODES = Modes(mode="STRICT", ports=((8080, "PERMISSIVE"),), decided_by="")


def _workload(body: o.Doc, *leads: Lead) -> Workload:
    view = o.view_of(o.namespace("shop"), body)
    (member,) = find_members(view, "cluster.local").by_key.values()
    return compile_workload(member, leads=leads, modes=_MODES, policies={}, rate_limits={}, source="x")[0]


def _lead(port: int, service: str = "shop/web", protocol: Any = "http") -> Lead:
    return Lead(service=service, service_port=80, port_name="", pod_port=port, protocol=protocol)


def test_a_workload() -> None:
    labels = {"app": "web", "version": "v2", "app.kubernetes.io/name": "shop-web"}
    found = _workload(o.pod("web", "10.0.0.1", "fd00::1", account="web", labels=labels))
    assert found == Workload(
        namespace="shop",
        name="web",
        uid="uid-shop-web",
        service_account="web",
        identity="spiffe://cluster.local/ns/shop/sa/web",
        addresses=("10.0.0.1", "fd00::1"),
        workload="web",
        app="shop-web",
        version="v2",
        mtls="STRICT",
        mtls_ports=((8080, "PERMISSIVE"),),
    )


def test_names_for_telemetry_fall_back_to_the_owner() -> None:
    found = _workload(o.pod("web-1", "10.0.0.1", labels={}))
    assert (found.app, found.version, found.workload) == ("web-1", "", "web-1")


def test_capture_is_read_from_annotations() -> None:
    annotations = {
        "weft.dev/excludeInboundPorts": "9100-9110,9090",
        "weft.dev/excludeOutboundPorts": "25",
        "weft.dev/excludeOutboundIPRanges": "fd00::/8,10.0.0.0/8",
        "weft.dev/preserveSource": "false",
        "weft.dev/netns": "lab-1",
    }
    assert _workload(o.pod("web", "10.0.0.1", annotations=annotations)).capture == Capture(
        exclude_inbound_ports=((9090, 9090), (9100, 9110)),
        exclude_outbound_ports=((25, 25),),
        exclude_outbound_networks=("10.0.0.0/8", "fd00::/8"),
        preserve_source=False,
        netns="lab-1",
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weft.dev/excludeInboundPorts", "all"),
        ("weft.dev/excludeOutboundIPRanges", "everything"),
        ("weft.dev/preserveSource", "no"),
        ("weft.dev/netns", "../x"),
    ],
)
def test_a_broken_annotation_excludes_nothing(key: str, value: str) -> None:
    assert _workload(o.pod("web", "10.0.0.1", annotations={key: value})).capture == Capture()


def test_inbound_ports_of_containers_and_services() -> None:
    ports: list[o.Doc] = [
        {"containerPort": 8080, "name": "http"},
        {"containerPort": 9090, "name": "metrics"},
        {"containerPort": 53, "name": "dns", "protocol": "UDP"},
    ]
    body = o.pod("web", "10.0.0.1", ports=ports)
    found = _workload(
        body, _lead(8080), _lead(8080, "shop/alias"), _lead(8081, protocol="grpc"), _lead(9090, protocol="auto")
    )
    assert found.ports == (
        InboundPort(port=8080, protocol="http", services=("shop/alias", "shop/web")),
        InboundPort(port=8081, protocol="grpc", services=("shop/web",)),
        InboundPort(port=9090, protocol="auto", services=("shop/web",)),
    )


def test_declarations_that_differ_leave_it_to_the_bytes_and_opaque_ports_are_tcp() -> None:
    body = o.pod("web", "10.0.0.1", ports=[{"containerPort": 8080, "name": "http"}])
    assert _workload(body, _lead(8080, protocol="grpc")).ports[0].protocol == "auto"
    opaque = o.pod(
        "web", "10.0.0.1", annotations={"weft.dev/opaquePorts": "8080"}, ports=[{"containerPort": 8080, "name": "http"}]
    )
    assert _workload(opaque, _lead(8080)).ports[0].protocol == "tcp"


def _probes(*containers: o.Doc, init: tuple[o.Doc, ...] = ()) -> tuple[list[Probe], list[str]]:
    item = decode_object(
        o.pod("web", "10.0.0.1", spec={"containers": list(containers), "initContainers": list(init)}), "x"
    )
    assert isinstance(item, Pod)
    probes, problems = find_probes(item, "x")
    return list(probes), [problem.message for problem in problems]


def _get(path: str | None = None, port: int | str = 8080, **more: str) -> o.Doc:
    return {"httpGet": {"port": port, **({"path": path} if path is not None else {}), **more}}


def test_probes_of_all_kinds_and_containers() -> None:
    main: o.Doc = {
        "name": "main",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "startupProbe": _get("/start", "http"),
        "livenessProbe": _get("/live?x=1"),
        "readinessProbe": {"grpc": {"port": 9090, "service": "shop"}},
    }
    side: o.Doc = {
        "name": "side",
        "livenessProbe": {"tcpSocket": {"port": 7070}},
        "readinessProbe": {"exec": {"command": ["x"]}},
    }
    init: o.Doc = {"name": "sidecar", "restartPolicy": "Always", "startupProbe": _get(port=6060)}
    assert _probes(main, side, init=(init,)) == (
        [
            Probe(kind="http", port=6060, path="/"),
            Probe(kind="tcp", port=7070),
            Probe(kind="http", port=8080, path="/live?x=1"),
            Probe(kind="http", port=8080, path="/start"),
            Probe(kind="grpc", port=9090, path="shop"),
        ],
        [],
    )


def test_a_path_without_a_slash_gets_one_and_equal_probes_are_one() -> None:
    found, _ = _probes({"name": "a", "livenessProbe": _get("healthz"), "readinessProbe": _get("/healthz")})
    assert found == [Probe(kind="http", port=8080, path="/healthz")]


def test_a_name_is_one_of_the_same_container_first() -> None:
    first: o.Doc = {"name": "a", "ports": [{"containerPort": 1111, "name": "http"}]}
    second: o.Doc = {
        "name": "b",
        "ports": [{"containerPort": 2222, "name": "http"}],
        "livenessProbe": _get("/", "http"),
    }
    assert _probes(first, second)[0] == [Probe(kind="http", port=2222, path="/")]


def test_probes_to_other_hosts_do_not_reach_the_pod() -> None:
    elsewhere: o.Doc = {
        "name": "a",
        "livenessProbe": _get("/", host="example.com"),
        "readinessProbe": {"tcpSocket": {"port": 1, "host": "example.com"}},
    }
    assert _probes(elsewhere) == ([], [])


def test_probes_that_cannot_be_recognised_are_warned_of() -> None:
    container: o.Doc = {
        "name": "a",
        "startupProbe": _get("/", "nope"),
        "livenessProbe": _get("/", scheme="HTTPS"),
        "readinessProbe": {"tcpSocket": {"port": 0}},
    }
    found, messages = _probes(container)
    assert found == []
    assert ["'nope'" in messages[0], "HTTPS" in messages[1], "port 0" in messages[2]] == [True, True, True]
