"""Services for pods outside the mesh and for nodes: both families, every backend, hairpin, refusal, names."""

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from weft_lab.client import Client
from weft_testing.lab import LiveLab

pytestmark = pytest.mark.netns

SYN_RETRY_MS = 1000
"""A SYN that nobody answers is sent again after this long (tcp(7)): whoever waits longer was not refused but ignored."""

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: services}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: services}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: m
        image: weft.dev/demo
        args: [serve, --port, "8080"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: services}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: services}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: services}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 9000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: services}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: m, image: weft.dev/demo, args: [tcp-echo]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: services}
spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: default}
spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}
"""


@pytest.fixture(scope="module")
def lab(plain: LiveLab) -> Iterator[LiveLab]:
    plain.apply(OBJECTS)
    plain.ok("wait", "all", "-n", "services", "--timeout", "30s")
    plain.ok("wait", "pod/client", "--timeout", "30s")
    yield plain
    plain.ok("delete", "namespace", "services", "--grace-period", "0")
    plain.ok("delete", "pod", "client", "--grace-period", "0")


def addresses(lab: LiveLab, name: str) -> list[str]:
    spec = lab.document("service", name, "services")["spec"]
    assert isinstance(spec, dict)
    found: list[str] = spec["clusterIPs"]
    return found


def url(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def fetch(
    lab: LiveLab, where: str, place: str = "client", count: int = 1, namespace: str = "services"
) -> list[dict[str, object]]:
    """Fetch a URL with a new connection each time, and return what the servers saw."""
    words = ("python", "-m", "weft_lab.demo", "get", "--close", "-n", str(count), where)
    ran = lab.exec(place, *words, namespace=namespace)
    assert ran.status == 0, ran.err + lab.dump()
    return [json.loads(part) for part in ran.out.split("HTTP 200 OK\n")[1:]]


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_every_backend_is_reached_with_the_clients_own_address(lab: LiveLab, family: int) -> None:
    seen = fetch(lab, url(addresses(lab, "web")[family]), count=40)
    client = lab.document("pod", "client", "services")["status"]
    assert isinstance(client, dict)
    assert {item["peer"] for item in seen} == {client["podIPs"][family]["ip"]}
    assert sorted(Counter(str(item["pod"]) for item in seen).values())[0] >= 5, "both are picked often"
    assert {item["node"] for item in seen} == {"node-1", "node-2"}


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
@pytest.mark.parametrize("node", ["node-1", "node-2"])
def test_nodes_reach_services_too(lab: LiveLab, node: str, family: int) -> None:
    fetch_often = "for i in 1 2 3 4 5 6; do curl -sSg -m 5 $0 || exit 1; done"
    ran = lab.weft("node-exec", node, "--", "sh", "-c", fetch_often, url(addresses(lab, "web")[family]))
    assert ran.status == 0, ran.err
    assert ran.out.count('"pod": "web-') == 6


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_a_pod_reaches_itself_through_its_service(lab: LiveLab, family: int) -> None:
    name = lab.exec("deploy/web", "hostname", namespace="services").out.strip()
    seen = fetch(lab, url(addresses(lab, "web")[family]), place=name, count=20)
    assert name in {item["pod"] for item in seen}


@pytest.mark.parametrize("place", ["pod", "node"])
@pytest.mark.parametrize("name", ["nobody", "web"])
def test_what_nobody_serves_is_refused_at_once(lab: LiveLab, place: str, name: str) -> None:
    for address in addresses(lab, name):
        where = url(address).replace("/", "/", 1) if name == "nobody" else url(address)[:-1] + ":81/"
        words = ("curl", "-sSg", "-m", "5", where)
        ran = (
            lab.exec("client", *words, namespace="services")
            if place == "pod"
            else lab.weft("node-exec", "node-1", "--", *words)
        )
        assert ran.status == 7, ran.err
        waited = re.search(r"after (\d+) ms", ran.err)
        assert "refused" in ran.err or (waited is not None and int(waited[1]) < SYN_RETRY_MS), ran.err


@pytest.mark.parametrize("name", ["web", "web.services", "web.services.svc", "web.services.svc.cluster.local"])
def test_names_of_services(lab: LiveLab, name: str) -> None:
    assert fetch(lab, f"http://{name}/")[0]["path"] == "/"
    out = lab.exec("client", "getent", "ahosts", name, namespace="services").out
    assert set(addresses(lab, "web")) <= set(out.split())


def test_short_names_are_for_the_own_namespace_only(lab: LiveLab) -> None:
    assert lab.exec("client", "getent", "hosts", "web").status == 2
    assert fetch(lab, "http://web.services/", namespace="default")


def test_headless_services_and_the_names_of_their_pods(lab: LiveLab) -> None:
    status = lab.document("pod", "db-1", "services")["status"]
    assert isinstance(status, dict)
    assert status["podIP"] in lab.exec("client", "getent", "ahostsv4", "db", namespace="services").out
    for name in ("db-1.db.services", "db-1.db.services.svc.cluster.local"):
        words = ("python", "-m", "weft_lab.demo", "tcp", name, "9000", "--send", "hi")
        assert lab.exec("client", *words, namespace="services").out == "hi\n"


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_datagrams_are_translated_too(lab: LiveLab, family: int) -> None:
    serve = (
        "import socket\ns = socket.create_server(('::', 53), family=socket.AF_INET6, dualstack_ipv6=True)"
        "\nu = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(('::', 5353))"
        "\nwhile True: d, a = u.recvfrom(99); u.sendto(d.upper(), a)"
    )
    container: dict[str, object] = {"name": "m", "image": "weft.dev/demo", "command": ["python", "-c", serve]}
    container |= {"readinessProbe": {"tcpSocket": {"port": 53}, "periodSeconds": 1}}
    metadata = {"name": "udp", "namespace": "services", "labels": {"app": "udp"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    ports = [{"port": 5300, "targetPort": 5353, "protocol": "UDP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": "udp"}, "ports": ports},
    }
    lab.apply(f"{json.dumps(pod)}\n---\n{json.dumps(service)}")
    lab.ok("wait", "pod/udp", "-n", "services", "--timeout", "20s")
    ask = (
        "import socket, sys\nwhere = socket.getaddrinfo(sys.argv[1], 5300, type=socket.SOCK_DGRAM)[0]"
        "\nu = socket.socket(*where[:3]); u.settimeout(0.3); u.connect(where[4])"
        "\nfor _ in range(20):\n  try:\n    u.send(b'hello'); print(u.recv(99).decode()); break\n  except OSError: pass"
    )
    ran = lab.exec("client", "python", "-c", ask, addresses(lab, "udp")[family], namespace="services")
    assert ran.out == "HELLO\n", ran.err


def test_unknown_names_fail_at_once(lab: LiveLab) -> None:
    ran = lab.exec("client", "sh", "-c", "getent hosts nosuch.example; echo $?", namespace="services")
    assert ran.out == "2\n"


def test_scaling_to_nobody_and_back_changes_translation(lab: LiveLab) -> None:
    scaled = (
        OBJECTS.split("---")[1]
        .replace("name: web, namespace", "name: web2, namespace")
        .replace("app: web", "app: web2")
    )
    service = OBJECTS.split("---")[2].replace("name: web,", "name: web2,").replace("app: web", "app: web2")
    lab.apply(scaled.replace("replicas: 2", "replicas: 0") + "---" + service)
    lab.ok("wait", "deploy/web2", "-n", "services")
    assert lab.exec("client", "curl", "-sS", "http://web2/", namespace="services").status == 7
    lab.apply(scaled)
    lab.ok("wait", "deploy/web2", "-n", "services", "--timeout", "20s")
    client, revision = Client(lab.name), 0
    for _ in range(50):
        if lab.exec("client", "curl", "-sS", "http://web2/", namespace="services").status == 0:
            return
        revision = client.watch(revision, 0.2)
    raise AssertionError("the Service never got its backends back")


def test_a_rolling_update_loses_nothing_that_is_asked_of_ready_pods(lab: LiveLab) -> None:
    """New pods take over while old ones sleep in their preStop hook: every request is answered."""
    rolling = (
        OBJECTS.split("---")[1]
        .replace("name: web, namespace", "name: roll, namespace")
        .replace("app: web", "app: roll")
        .replace(
            "        readinessProbe", "        lifecycle: {preStop: {sleep: {seconds: 1}}}\n        readinessProbe"
        )
    )
    service = OBJECTS.split("---")[2].replace("name: web,", "name: roll,").replace("app: web", "app: roll")
    lab.apply(rolling + "---" + service)
    lab.ok("wait", "deploy/roll", "-n", "services", "--timeout", "20s")
    before = {str(item["pod"]) for item in fetch(lab, "http://roll/", count=20)}
    lab.apply(rolling.replace("image: weft.dev/demo", "image: weft.dev/demo:v2"))
    ran = lab.exec(
        "client", "python", "-m", "weft_lab.demo", "load", "--rps", "50", "--duration", "4", "-H", "Connection: close",
        "http://roll/", namespace="services",
    )  # fmt: skip
    found = json.loads(ran.out)
    assert found["statuses"] == {"200": 200}, ran.out
    lab.ok("wait", "deploy/roll", "-n", "services", "--timeout", "20s")
    after = {str(item["pod"]) for item in fetch(lab, "http://roll/", count=20)}
    assert not before & after
