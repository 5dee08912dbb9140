"""The checks: each is a claim of the mesh, what it should come to, and what it came to."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from weft_lab.demonstration.stage import Answer, Family, Stage, curl, host
from weft_lab.demonstration.wire import WireTap

POLICY: Final = "demo/a-may-foo-at-10"
RATE_PER_S: Final = 10
BURST: Final = 10
LOAD_S: Final = 4
TOLERANCE: Final = 3
"""Requests: the clock of the load and of the bucket do not start together."""


class Check(msgspec.Struct, frozen=True):
    """One line of the table."""

    name: str
    expected: str
    measured: str
    passed: bool


def all_checks(stage: Stage) -> Iterator[Check]:
    """Run every check, in the order of the table."""
    yield from calls(stage)
    yield from wire(stage)
    yield from policy(stage)
    yield from strict(stage)


# -- calls ----------------------------------------------------------------------------------------------------------


def calls(stage: Stage) -> Iterator[Check]:
    """Unmodified clients, every way to name a server, both families; the server sees the client's own address."""
    client = stage.addresses("pods", "a")
    for where, server in (("same node", "near"), ("cross node", "far")):
        for kind, port, target in (("services", 80, "service IP"), ("pods", 8080, "pod IP")):
            addresses = stage.addresses(kind, server)  # type: ignore[arg-type]  # one of the two literals above
            for family in (4, 6):
                yield _http_call(stage, f"{where}, {target}, IPv{family}", addresses[family], port, client[family])
        yield _name_call(stage, f"{where}, by name", server, client)
        yield _tcp_call(stage, f"{where}, raw TCP, service IP", stage.addresses("services", server)[4])


def _http_call(stage: Stage, name: str, address: str, port: int, client: str) -> Check:
    answer = stage.in_pod("a", *curl("-w", "\n%{http_code}", f"http://{host(address)}:{port}/hello"))
    status, seen = _status_and_peer(answer)
    return Check(name, f"200, server sees {client}", f"{status}, server sees {seen}", (status, seen) == ("200", client))


def _name_call(stage: Stage, name: str, server: str, client: dict[Family, str]) -> Check:
    answer = stage.in_pod("a", *curl("-w", "\n%{http_code}", f"http://{server}.demo.svc.cluster.local/hello"))
    status, seen = _status_and_peer(answer)
    passed = status == "200" and seen in client.values()
    return Check(name, "200, server sees the client", f"{status}, server sees {seen}", passed)


def _tcp_call(stage: Stage, name: str, address: str) -> Check:
    said = secrets.token_hex(8)
    answer = stage.in_pod("a", *DEMO, "tcp", "--send", said, address, "7000")
    got = answer.text.strip() or answer.errors.strip()[-60:]
    return Check(name, "the line comes back", "the line comes back" if got == said else f"got {got!r}", got == said)


DEMO: Final = ("weft-demo",)
"""The demo image's own program, as it is called inside its containers."""


def _status_and_peer(answer: Answer) -> tuple[str, str]:
    body, _, status = answer.text.rpartition("\n")
    try:
        document: Any = json.loads(body)
        return status, str(document["peer"])
    except (ValueError, KeyError, TypeError):
        return status or f"curl {answer.status}", (answer.errors.strip() or body.strip())[:80]


# -- the wire -------------------------------------------------------------------------------------------------------


def wire(stage: Stage) -> Iterator[Check]:
    """Nothing of a request can be read between the nodes, and the capture would show it if it could."""
    secret, control = secrets.token_hex(12), secrets.token_hex(12)
    far, plain = stage.addresses("services", "far"), stage.addresses("pods", "plain", "outside")
    with WireTap(stage, "node-1") as tap:
        for family in (4, 6):
            stage.in_pod("a", *curl(f"http://{host(far[family])}/{secret}"))
        stage.in_pod("a", *DEMO, "tcp", "--send", secret, far[4], "7000")
        stage.in_pod("stranger", *curl(f"http://{plain[4]}:8080/{control}"), namespace="outside")
    seen, shown = tap.wire.shows(secret), tap.wire.shows(control)
    records = tap.wire.tls_records
    yield Check(
        "packets between the nodes: plaintext of three meshed calls",
        "0 times readable, TLS records > 0",
        f"{seen} times readable in {tap.wire.bytes_captured} bytes, {records} TLS records",
        seen == 0 and records > 0,
    )
    yield Check(
        "the same capture shows an unmeshed call (control)",
        "readable",
        f"{shown} times readable",
        shown > 0,
    )


# -- policy ---------------------------------------------------------------------------------------------------------


def policy(stage: Stage) -> Iterator[Check]:
    """A may call B only on /foo and only at 10 per second."""
    address = stage.addresses("services", "b")[4]
    load = stage.in_pod(
        "a", *DEMO, "load", "--rps", "40", "--duration", str(LOAD_S), "--connections", "4", f"http://{address}/foo",
        timeout_s=60,
    )  # fmt: skip
    yield _rate_check(load)
    limited = stage.in_pod("a", *DEMO, "get", "-i", "-n", "30", f"http://{address}/foo")
    named = "retry-after:" in limited.text.lower() and POLICY in limited.text
    yield Check(
        "A→B /foo beyond 10/s", "429 with Retry-After, policy named", _first_refusal(limited.text, "429"),
        named and " 429 " in limited.text,
    )  # fmt: skip
    for name, pod, path in (("A→B /bar", "a", "/bar"), ("C→B /foo", "c", "/foo")):
        answer = stage.in_pod(pod, *curl("-i", f"http://{address}{path}"))
        passed = " 403 " in answer.text and POLICY in answer.text
        yield Check(name, f"403 naming {POLICY}", _first_refusal(answer.text, "403"), passed)


def _rate_check(answer: Answer) -> Check:
    allowed = BURST + RATE_PER_S * LOAD_S
    expected = f"200: {allowed} ± {TOLERANCE} of {40 * LOAD_S} in {LOAD_S} s, the rest 429"
    try:
        codes = {str(code): int(count) for code, count in json.loads(answer.text)["statuses"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Check("A→B /foo at 40/s", expected, (answer.errors or answer.text)[:100], passed=False)
    passed = abs(codes.get("200", 0) - allowed) <= TOLERANCE and set(codes) == {"200", "429"}
    measured = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
    return Check("A→B /foo at 40/s", expected, measured, passed)


def _first_refusal(text: str, status: str) -> str:
    lines = text.splitlines()
    reason = next((line for line in lines if line.startswith(f"weft: {status}")), "")
    retry = next((line for line in lines if line.lower().startswith("retry-after:")), "")
    measured = "; ".join(part for part in (retry, reason.removeprefix("weft: ")) if part)
    return measured[:150] or (lines[0] if lines else "no answer")[:80]


# -- strict ---------------------------------------------------------------------------------------------------------


def strict(stage: Stage) -> Iterator[Check]:
    """Plaintext from outside the mesh is refused, the kubelet's probe is answered."""
    far = stage.addresses("pods", "far")
    for family in (4, 6):
        answer = stage.in_pod("stranger", *curl(f"http://{host(far[family])}:8080/hello"), namespace="outside")
        refused = answer.status in (52, 56)
        yield Check(
            f"plaintext from an unmeshed pod, IPv{family}", "connection reset",
            "connection reset" if refused else f"curl {answer.status}: {answer.text[:60]}", refused,
        )  # fmt: skip
    probe = stage.on_node("node-2", *curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{far[4]}:8080/healthz"))
    other = stage.on_node("node-2", *curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{far[4]}:8080/hello"))
    yield Check("probe from the pod's own node", "200", probe.text, probe.text == "200")
    yield Check("anything else from that node, plaintext", "403", other.text, other.text == "403")
