"""Names: every form that a cluster's DNS would answer, and only for those who may use it short."""

from weft_lab.model.pod import HostAlias
from weft_lab.plan.endpoints import slices
from weft_lab.plan.hostnames import HostEntry, entries_for, fixed_entries, hostname, resolv_conf, service_entries
from weft_lab.plan.view import View
from weft_testing.lab import one, pod, view

SERVICE = (
    "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ipFamilies: [IPv4, IPv6], "
    "clusterIP: 10.128.0.10, clusterIPs: [10.128.0.10, 'fd57::a'], ports: [{port: 80}]}}"
)
HEADLESS = (
    "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, "
    "spec: {clusterIP: None, ipFamilies: [IPv4], selector: {app: db}}}"
)
FORMS = ("web.shop.svc.cluster.local", "web.shop.svc", "web.shop")


def test_a_service_has_all_its_names_for_its_own_namespace() -> None:
    found = entries_for("shop", service_entries(view([one(SERVICE)])))
    assert found == [HostEntry("10.128.0.10", (*FORMS, "web")), HostEntry("fd57::a", (*FORMS, "web"))]


def test_others_do_not_have_the_short_name() -> None:
    found = entries_for("else", service_entries(view([one(SERVICE)])))
    assert [entry.names for entry in found] == [FORMS, FORMS]


def test_a_headless_service_stands_for_its_ready_pods_and_their_names() -> None:
    pods = [
        pod("db-0", labels={"app": "db"}, addresses=("10.0.0.1",), ready=True, hostname="db-0", subdomain="db"),
        pod("db-1", labels={"app": "db"}, addresses=("10.0.0.2",), ready=False, hostname="db-1", subdomain="db"),
        pod("x", labels={"app": "db"}, addresses=("10.0.0.3",), ready=True, hostname="x", subdomain="other"),
    ]
    first = view([one(HEADLESS), *pods])
    found = entries_for("shop", service_entries(View({**first.objects, **slices(first)})))
    assert {(entry.address, entry.names[0]) for entry in found} == {
        ("10.0.0.1", "db.shop.svc.cluster.local"),
        ("10.0.0.1", "db-0.db.shop.svc.cluster.local"),
        ("10.0.0.3", "db.shop.svc.cluster.local"),
    }


def test_a_pod_knows_itself_loopback_and_its_aliases() -> None:
    made = pod(
        "db-0", addresses=("10.0.0.1", "fd57::1"), hostname="db-0", subdomain="db",
        host_aliases=(HostAlias(ip="1.2.3.4", hostnames=("a", "b")), HostAlias(ip="1.2.3.5")),
    )  # fmt: skip
    own = ("db-0.db.shop.svc.cluster.local", "db-0")
    assert fixed_entries(made)[2:] == [
        HostEntry("10.0.0.1", own), HostEntry("fd57::1", own), HostEntry("1.2.3.4", ("a", "b")),
    ]  # fmt: skip
    assert fixed_entries(made)[0] == HostEntry("127.0.0.1", ("localhost",))


def test_a_pod_on_the_nodes_network_does_not_claim_the_nodes_address() -> None:
    made = pod("agent", addresses=("10.64.255.1",), host_network=True)
    assert all("agent" not in entry.names for entry in fixed_entries(made))


def test_host_names_fit_what_linux_takes() -> None:
    assert hostname(pod("a" * 80)) == "a" * 63
    assert hostname(pod("a" * 62 + "-b")) == "a" * 62


def test_resolv_conf_searches_as_a_kubelet_says() -> None:
    assert resolv_conf("shop") == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 127.0.0.1\noptions ndots:5 timeout:1 attempts:1\n"
    )
