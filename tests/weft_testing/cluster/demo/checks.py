"""The checks: each is a claim of the mesh on a cluster, what it should come to, and what it came to."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from weft_lab.demonstration.checks import Check
from weft_lab.demonstration.stage import Answer, curl, host
from weft_lab.demonstration.wire import WireTap
from weft_testing.cluster.demo.scene import CLIENT_NODE, MESH_LABEL, SERVER_NODE, STRICT, TOUR, tour
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import NAMESPACE

EXAMPLE: Final = Path(__file__).resolve().parents[4] / "manifests" / "examples" / "foo-at-10-qps.yaml"
POLICY: Final = "backend/web-foo-at-10"
API: Final = "http://api.backend"
RATE_PER_S: Final = 10
BURST: Final = 10
LOAD_S: Final = 4
TOLERANCE: Final = 3
"""Requests: the clock of the load and of the bucket do not start together."""
MUTUAL_S: Final = 10.0
"""From the label to mutual TLS, at most."""
WAIT_S: Final = 90
_WEB: Final = "spiffe://cluster.local/ns/shop/sa/web"


def all_checks(stage: Stage) -> Iterator[Check]:
    """Run every check, in the order of the table."""
    yield from installed(stage)
    yield from labelled(stage)
    yield from policy(stage)
    yield from strict(stage)


# -- the installation ---------------------------------------------------------------------------------------------


def installed(stage: Stage) -> Iterator[Check]:
    """The chart as it is: operator and agents ready, its own test passed."""
    k = (f"--namespace={NAMESPACE}",)
    deployment = stage.kubectl.get(*k, "deployment", "weft-operator")["status"]
    yield _equal(
        "operator replicas ready", "2 of 2", f"{deployment.get('readyReplicas', 0)} of {deployment['replicas']}"
    )
    agents = stage.kubectl.get(*k, "daemonset", "weft-agent")["status"]
    nodes = len(stage.cluster.nodes)
    yield _equal("agents ready", f"{nodes} of {nodes} nodes", f"{agents.get('numberReady', 0)} of {nodes} nodes")
    tested = stage.helm("test", "weft", *k)
    yield Check("helm test", "Succeeded", "Succeeded" if "Succeeded" in tested else tested[-60:], "Succeeded" in tested)


# -- a namespace gets its label -----------------------------------------------------------------------------------


def labelled(stage: Stage) -> Iterator[Check]:
    """Running pods: plaintext before the label, mutual TLS after it, nothing restarted; the server sees the client."""
    stage.apply(*tour())
    _ready(stage, TOUR, "pod/client", "pod/server")
    addresses, client = stage.addresses("server", TOUR), stage.addresses("client", TOUR)
    yield from _on_the_wire(stage, "before the label: a call between the nodes", addresses[4], readable=True)
    stage.kubectl("label", "namespace", TOUR, f"{MESH_LABEL}=enabled")
    begun = time.monotonic()
    mutual = _until(lambda: _counts_mutual(stage, addresses[4]), MUTUAL_S * 3)
    took = time.monotonic() - begun
    yield Check(
        "label on the namespace → mutual TLS", f"within {MUTUAL_S:.0f} s", f"{took:.1f} s" if mutual else "not at all",
        mutual and took <= MUTUAL_S,
    )  # fmt: skip
    yield from _on_the_wire(stage, "after the label: the same call", addresses[4], readable=False)
    for family in (4, 6):
        answer = _get(stage, "client", f"http://{host(addresses[family])}:8080/hello", TOUR)
        yield _equal(
            f"cross node, IPv{family}: server sees the client", f"200, {client[family]}", _status_and_peer(answer)
        )
    by_name = _status_and_peer(_get(stage, "client", f"http://server.{TOUR}/hello", TOUR))
    seen = by_name.removeprefix("200, ")
    yield Check("cross node, by Service name", "200, the client", by_name, seen in client.values())
    said = secrets.token_hex(8)
    answer = stage.in_pod("client", "weft-demo", "tcp", "--send", said, f"server.{TOUR}", "7000", namespace=TOUR)
    measured = "the line comes back" if answer.text.strip() == said else answer.errors[-60:]
    yield _equal("cross node, raw TCP", "the line comes back", measured)


def _on_the_wire(stage: Stage, name: str, address: str, *, readable: bool) -> Iterator[Check]:
    secret = secrets.token_hex(12)
    with WireTap(stage, CLIENT_NODE) as tap:
        _get(stage, "client", f"http://{address}:8080/{secret}", TOUR)
    seen, records = tap.wire.shows(secret), tap.wire.tls_records
    expected = "readable on the wire" if readable else "0 times readable, TLS records > 0"
    passed = seen > 0 if readable else seen == 0 and records > 0
    yield Check(name, expected, f"{seen} times readable, {records} TLS records", passed)


def _counts_mutual(stage: Stage, address: str) -> bool:
    """Whether a call that is made now is counted as mutual TLS by the server's agent."""
    labels = {
        "reporter": "destination", "connection_security_policy": "mutual_tls", "destination_workload_namespace": TOUR,
        "source_principal": f"spiffe://cluster.local/ns/{TOUR}/sa/default",
    }  # fmt: skip
    before = stage.count(SERVER_NODE, "istio_requests_total", labels)
    _get(stage, "client", f"http://{address}:8080/mutual", TOUR)
    return stage.count(SERVER_NODE, "istio_requests_total", labels) > before


# -- policy ---------------------------------------------------------------------------------------------------------


def policy(stage: Stage) -> Iterator[Check]:
    """The example as it is: web may call api only on /foo and only at 10 per second."""
    stage.apply_file(EXAMPLE)
    for namespace, name, node in (
        ("shop", "web", CLIENT_NODE),
        ("shop", "batch", CLIENT_NODE),
        ("backend", "api", SERVER_NODE),
    ):
        placed = {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}}
        stage.kubectl(f"--namespace={namespace}", "patch", f"deployment/{name}", f"--patch={json.dumps(placed)}")
    for namespace, name in (("shop", "web"), ("shop", "batch"), ("backend", "api")):
        stage.kubectl(f"--namespace={namespace}", "rollout", "status", f"deployment/{name}", f"--timeout={WAIT_S}s")
    web, batch = stage.pod_of("web", "shop"), stage.pod_of("batch", "shop")
    _until(lambda: " 200 " in _get(stage, web, f"{API}/foo", "shop", "-i").text, MUTUAL_S)
    gate = stage.kubectl.get("--namespace=shop", "pod", web)["spec"]["initContainers"][0]["name"]
    yield _equal("first init container of a pod of the mesh", "weft-gate", gate)
    yield _programmed(stage)
    stage.in_pod(
        web, "weft-demo", "load", "--rps", "1", "--duration", "2", f"{API}/bar", namespace="shop"
    )  # the bucket fills
    load = stage.in_pod(
        web, "weft-demo", "load", "--rps", "40", "--duration", str(LOAD_S), "--connections", "4", f"{API}/foo",
        namespace="shop", timeout_s=60,
    )  # fmt: skip
    yield _rate_check(load)
    limited = stage.in_pod(web, "weft-demo", "get", "-i", "-n", "30", f"{API}/foo", namespace="shop")
    named = "retry-after:" in limited.text.lower() and POLICY in limited.text and " 429 " in limited.text
    yield Check("web→api /foo beyond 10/s", "429 with Retry-After, policy named", _refusal(limited.text, "429"), named)
    for name, pod, path in (("web→api /bar", web, "/bar"), ("batch→api /foo", batch, "/foo")):
        text = _get(stage, pod, f"{API}{path}", "shop", "-i").text
        yield Check(name, f"403 naming {POLICY}", _refusal(text, "403"), " 403 " in text and POLICY in text)
    labels = {"reporter": "destination", "source_principal": _WEB, "connection_security_policy": "mutual_tls"}
    counted = stage.count(SERVER_NODE, "istio_requests_total", labels)
    yield Check(
        "requests that api's agent counted as web's identity", "> 50 over mutual TLS", f"{counted:.0f}", counted > 50
    )


def _programmed(stage: Stage) -> Check:
    """Look until it is so: replicas tell each other about once a second how far their nodes have come."""

    def condition() -> dict[str, Any]:
        found: dict[str, Any] = stage.conditions("authorizationpolicies", "web-foo-at-10", "backend").get(
            "Programmed", {}
        )
        return found

    true = _until(lambda: condition().get("status") == "True", MUTUAL_S)
    last = condition()
    measured = f"{last.get('status')}, {last.get('message')}"[:80]
    return Check("condition Programmed of the policy", "True, n of n nodes", measured, true)


def _rate_check(answer: Answer) -> Check:
    allowed = BURST + RATE_PER_S * LOAD_S
    name, expected = (
        "web→api /foo at 40/s",
        f"200: {allowed} ± {TOLERANCE} of {40 * LOAD_S} in {LOAD_S} s, the rest 429",
    )
    try:
        codes = {str(code): int(count) for code, count in json.loads(answer.text)["statuses"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Check(name, expected, (answer.errors or answer.text)[:100], passed=False)
    measured = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
    return Check(
        name, expected, measured, abs(codes.get("200", 0) - allowed) <= TOLERANCE and set(codes) == {"200", "429"}
    )


# -- strict ---------------------------------------------------------------------------------------------------------


def strict(stage: Stage) -> Iterator[Check]:
    """Plaintext from outside the mesh is refused, the kubelet's probe is answered."""
    stage.apply(STRICT)
    api = stage.pod_of("api", "backend")
    addresses = stage.addresses(api, "backend")
    for family in (4, 6):
        url = f"http://{host(addresses[family])}:8080/foo"
        refused = _until(lambda url=url: _get(stage, "outsider", url, "outside").status in (52, 56), MUTUAL_S)  # type: ignore[misc]  # a default binds the loop's value
        yield Check(
            f"plaintext from an unmeshed pod under STRICT, IPv{family}", "connection reset",
            "connection reset" if refused else "answered", refused,
        )  # fmt: skip
    status = stage.kubectl.get("--namespace=backend", "pod", api)["status"]
    ready = next(each["status"] for each in status["conditions"] if each["type"] == "Ready")
    yield _equal("api's readiness by the kubelet's probe", "True", ready)


# -- words ----------------------------------------------------------------------------------------------------------


def _ready(stage: Stage, namespace: str, *pods: str) -> None:
    stage.kubectl(f"--namespace={namespace}", "wait", "--for=condition=Ready", f"--timeout={WAIT_S}s", *pods)


def _get(stage: Stage, pod: str, url: str, namespace: str, *more: str) -> Answer:
    return stage.in_pod(pod, *curl("-w", "\n%{http_code}", *more, url), namespace=namespace)


def _status_and_peer(answer: Answer) -> str:
    body, _, status = answer.text.rpartition("\n")
    try:
        return f"{status}, {json.loads(body)['peer']}"
    except (ValueError, KeyError, TypeError):
        return f"{status or f'curl {answer.status}'}, {(answer.errors.strip() or body.strip())[:80]}"


def _equal(name: str, expected: str, measured: str) -> Check:
    return Check(name, expected, measured, expected == measured)


def _refusal(text: str, status: str) -> str:
    lines = text.splitlines()
    reason = next((line for line in lines if line.startswith(f"weft: {status}")), "")
    retry = next((line for line in lines if line.lower().startswith("retry-after:")), "")
    measured = "; ".join(part for part in (retry, reason.removeprefix("weft: ")) if part)
    return measured[:150] or (lines[0] if lines else "no answer")[:80]


def _until(true: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
    return True
