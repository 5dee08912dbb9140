"""Gateway API routes through real agents: what an HTTPRoute or TCPRoute says is what a client sees, rule by rule."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from weft_contract.limits import Limits
from weft_testing.lab import REPOSITORY, LiveLab, run_weft

pytestmark = pytest.mark.netns

GET = ("python", "-m", "weft_lab.demo", "get")
TCP = ("python", "-m", "weft_lab.demo", "tcp")
MORE = """
apiVersion: v1
kind: Namespace
metadata: {name: abroad, labels: {weft.dev/mesh: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: abroad, labels: {app: client}}
spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: abroad, labels: {app: server}}
spec: {containers: [{name: m, image: weft.dev/demo, args: [serve, --port, "8080"]}]}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: abroad}
spec: {selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: routes}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: shared, namespace: routes}
spec: {selector: {app: web, version: v1}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: routes, labels: {app: one}}
spec: {containers: [{name: m, image: weft.dev/demo, args: [tcp-echo, --banner, one]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: routes, labels: {app: two}}
spec: {containers: [{name: m, image: weft.dev/demo, args: [tcp-echo, --banner, two]}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: routes}
spec: {selector: {app: one}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: routes}
spec: {selector: {app: two}, ports: [{name: tcp, port: 9000}]}
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as the client printed it."""

    status: int
    headers: dict[str, str]
    seen: dict[str, object]
    """What the server says it saw; empty where the answer is not the demo server's."""

    @property
    def version(self) -> str:
        """`v1` or `v2`: which Deployment answered."""
        found = re.match(r"web-(v\d)-", str(self.seen.get("pod", "")))
        return found[1] if found else str(self.seen.get("pod", ""))


@pytest.fixture(scope="module")
def lab(mesh: LiveLab) -> Iterator[LiveLab]:
    mesh.ok("apply", "-f", str(REPOSITORY / "manifests" / "examples" / "routes.yaml"))
    mesh.apply(MORE)
    mesh.ok("wait", "all", "--timeout", "60s", timeout_s=90)
    yield mesh
    mesh.ok("delete", "namespace", "routes", "abroad", "--grace-period", "0")


def _ask(lab: LiveLab, *words: str, namespace: str = "routes") -> Reply:
    ran = lab.exec("client", *GET, "-i", *words, namespace=namespace)
    head, _, body = ran.out.partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    seen = json.loads(body) if body.startswith("{") else {}
    return Reply(int(first.split()[1]), headers, seen)


def _shares(lab: LiveLab, url: str, count: int, namespace: str = "routes") -> Counter[str]:
    """Count answers of one connection's requests by version, or by status where it is not 200."""
    out = lab.exec("client", *GET, "-n", str(count), url, namespace=namespace).out
    shares = Counter(found[1] for found in re.finditer(r'"pod": "(?:web-)?(\w+)', out))
    shares.update(status for status in re.findall(r"^HTTP (\d+)", out, re.MULTILINE) if status != "200")
    return shares


def _refusals(lab: LiveLab) -> str:
    """Return why the agents refused or failed anything so far, for the message of an assertion."""
    found = []
    for node in ("node-1", "node-2"):
        ran = lab.weft("node-exec", node, "--", "curl", "-sS", "-m", "5", "http://127.0.0.1:15020/metrics")
        names = ("weft_refusals_total", "weft_retries_total", "weft_handshake_failures_total")
        found += [f"{node}: {line}" for line in ran.out.splitlines() if line.startswith(names)] or [ran.err]
    return "\n".join(found)


def _route(lab: LiveLab, rules: str, *, name: str = "own", namespace: str = "routes", parent: str = "shared") -> None:
    lab.ok(
        "apply",
        "--wait",
        "-f",
        "-",
        text=f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {parent}, namespace: routes, port: 80}}]
  rules: {rules}
""",
    )


@pytest.mark.parametrize(
    ("words", "version", "path"),
    [
        (("http://web/v2/list?a=b",), "v2", "/list?a=b"),
        (("http://web/v2",), "v2", "/"),
        (("http://web/v22",), "v1", "/v22"),
        (("http://web/?beta=1",), "v2", "/?beta=1"),
        (("http://web/?beta=2",), "v1", "/?beta=2"),
        (("-H", "X-Beta: true", "http://web/x"), "v2", "/x"),
        (("-H", "X-Beta: truer", "http://web/x"), "v1", "/x"),
        (("-d", "1", "http://web/orders"), "v2", "/orders"),
        (("http://web/orders",), "v1", "/orders"),
        (("http://web/anything-else",), "v1", "/anything-else"),
    ],
)
def test_matches_send_requests_where_the_example_says(
    lab: LiveLab, words: tuple[str, ...], version: str, path: str
) -> None:
    reply = _ask(lab, *words)
    assert (reply.status, reply.version, reply.seen["path"]) == (200, version, path)


def test_headers_are_changed_on_the_way_there_and_back(lab: LiveLab) -> None:
    reply = _ask(lab, "-d", "1", "-H", "x-debug: on", "-H", "x-route: forged", "http://web/orders")
    headers = reply.seen["headers"]
    assert isinstance(headers, dict)
    assert headers["x-route"] == "orders"
    assert "x-debug" not in headers
    assert reply.headers["x-served-by"] == "weft"


def test_a_redirect_is_answered_without_a_server(lab: LiveLab) -> None:
    reply = _ask(lab, "http://web/old?page=2")
    assert (reply.status, reply.headers["location"]) == (301, "http://web/v2?page=2")


def test_redirects_change_scheme_host_port_and_prefix(lab: LiveLab) -> None:
    filters = (
        "{type: RequestRedirect, requestRedirect: {scheme: https, hostname: example.org, port: 8443, statusCode: 308, "
        "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}"
    )
    _route(lab, f"[{{matches: [{{path: {{value: /old}}}}], filters: [{filters}]}}]")
    reply = _ask(lab, "http://shared/old/a?b=c")
    assert (reply.status, reply.headers["location"]) == (308, "https://example.org:8443/new/a?b=c")
    assert _ask(lab, "http://shared/elsewhere").status == 404, "no rule takes it"


def test_a_rewrite_changes_host_and_whole_path(lab: LiveLab) -> None:
    rewrite = (
        "{type: URLRewrite, urlRewrite: {hostname: inner.example, path: {type: ReplaceFullPath, replaceFullPath: /z}}}"
    )
    _route(lab, f"[{{filters: [{rewrite}], backendRefs: [{{name: web-v2, port: 80}}]}}]")
    reply = _ask(lab, "http://shared/a/b?q=1")
    headers = reply.seen["headers"]
    assert isinstance(headers, dict)
    assert (reply.version, reply.seen["path"], headers["host"]) == ("v2", "/z?q=1", "inner.example")


def test_a_backend_has_filters_of_its_own(lab: LiveLab) -> None:
    filters = (
        "{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: set-cookie, value: canary=1}]}}, "
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-canary, value: 'yes'}]}}"
    )
    _route(
        lab,
        f"[{{backendRefs: [{{name: web-v2, port: 80, filters: [{filters}]}}, {{name: web, port: 80, weight: 0}}]}}]",
    )
    reply = _ask(lab, "http://shared/")
    headers = reply.seen["headers"]
    assert isinstance(headers, dict)
    assert (reply.version, headers["x-canary"], reply.headers["set-cookie"]) == ("v2", "yes", "canary=1")


def test_weights_share_requests(lab: LiveLab) -> None:
    _route(lab, "[{backendRefs: [{name: web, port: 80, weight: 90}, {name: web-v2, port: 80, weight: 10}]}]")
    shares = _shares(lab, "http://shared/", 400)
    assert set(shares) == {"v1", "v2"}
    assert 10 <= shares["v2"] <= 70, f"five standard deviations around 40: {shares}"


def test_a_backend_without_endpoints_answers_503_for_its_share_alone(lab: LiveLab) -> None:
    _route(lab, "[{backendRefs: [{name: web, port: 80}, {name: nobody, port: 80}]}]")
    shares = _shares(lab, "http://shared/", 200)
    assert set(shares) == {"v1", "503"}
    assert 64 <= shares["503"] <= 136, f"five standard deviations around 100: {shares}"


def test_a_backend_that_does_not_exist_answers_500_for_its_share_alone(lab: LiveLab) -> None:
    _route(lab, "[{backendRefs: [{name: web, port: 80}, {name: gone, port: 80}]}]")
    shares = _shares(lab, "http://shared/", 200)
    assert set(shares) == {"v1", "500"}
    assert 64 <= shares["500"] <= 136, f"five standard deviations around 100: {shares}"


def test_another_namespaces_backend_needs_its_grant(lab: LiveLab) -> None:
    _route(lab, "[{backendRefs: [{name: server, namespace: abroad, port: 80}]}]")
    assert _ask(lab, "http://shared/").status == 500
    lab.ok(
        "apply",
        "--wait",
        "-f",
        "-",
        text="""
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: from-routes, namespace: abroad}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: routes}]
  to: [{group: "", kind: Service, name: server}]
""",
    )
    reply = _ask(lab, "http://shared/")
    assert (reply.status, reply.version) == (200, "server")


def test_the_more_specific_match_wins_whatever_the_order(lab: LiveLab) -> None:
    def rule(match: str, code: int) -> str:
        redirect = f"{{type: RequestRedirect, requestRedirect: {{statusCode: {code}}}}}"
        return f"{{matches: [{match}], filters: [{redirect}]}}"

    rules = [
        rule("{path: {value: /}}", 301),
        rule("{path: {value: /a}}", 302),
        rule("{path: {value: /a}, method: HEAD}", 303),
        rule("{path: {value: /a}, headers: [{name: x-h, value: h}]}", 307),
        rule("{path: {type: Exact, value: /a/b}}", 308),
    ]
    for ordered in (rules, rules[::-1]):
        _route(lab, f"[{', '.join(ordered)}]")
        asked = {
            "http://shared/z": 301, "http://shared/a/c": 302, "http://shared/ab": 301, "http://shared/a/b": 308,
        }  # fmt: skip
        assert {url: _ask(lab, url).status for url in asked} == asked
        assert _ask(lab, "-X", "HEAD", "http://shared/a").status == 303
        assert _ask(lab, "-H", "x-h: h", "http://shared/a").status == 307


def test_patterns_are_re2_and_match_the_whole_path(lab: LiveLab) -> None:
    match = "{path: {type: RegularExpression, value: '/item/[0-9]+'}}"
    _route(lab, f"[{{matches: [{match}], backendRefs: [{{name: web-v2, port: 80}}]}}, {{}}]")
    paths = ("/item/12", "/item/12/more", "/item/x")
    assert [_ask(lab, f"http://shared{path}").version for path in paths] == ["v2", "v1", "v1"]


@pytest.mark.parametrize("name", ["request", "backendRequest"])
def test_timeouts_end_an_exchange_with_504(lab: LiveLab, name: str) -> None:
    _route(lab, f"[{{timeouts: {{{name}: 300ms}}, backendRefs: [{{name: web-v2, port: 80}}]}}]")
    assert _ask(lab, "http://shared/delay/3").status == 504
    assert _ask(lab, "http://shared/delay/0.01").status == 200


def test_the_request_timeout_holds_over_the_longer_patience_for_a_backend(lab: LiveLab) -> None:
    reply = _ask(lab, "http://web/delay/5")
    assert reply.status == 504


def test_a_service_has_timeouts_by_annotation_where_no_route_is_attached(lab: LiveLab) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: quick, namespace: routes, annotations: {timeout.weft.dev/request: 300ms}}
spec: {selector: {app: web, version: v1}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
    lab.ok("apply", "--wait", "-f", "-", text=service)
    assert _ask(lab, "http://quick/delay/3").status == 504
    assert _ask(lab, "http://quick/delay/0.01").status == 200


def test_a_service_has_a_rate_limit_by_annotation(lab: LiveLab) -> None:
    service = """
apiVersion: v1
kind: Service
metadata:
  name: limited
  namespace: abroad
  annotations: {ratelimit.weft.dev/requestsPerSecond: "0.01", ratelimit.weft.dev/burst: "2"}
spec: {selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
    lab.ok("apply", "--wait", "-f", "-", text=service)
    replies = [_ask(lab, "http://limited/", namespace="abroad") for _ in range(3)]
    lab.ok("delete", "service", "limited", "-n", "abroad", "--wait")
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert "abroad/service:limited" in str(replies[2].headers), replies[2].headers
    assert _ask(lab, "http://server/", namespace="abroad").status == 200, "the limit went with its Service"


def test_a_timeout_leaves_a_connection_that_switched_protocols_alone(lab: LiveLab) -> None:
    _route(lab, "[{timeouts: {backendRequest: 400ms}, backendRefs: [{name: web-v2, port: 80}]}]")
    code = (
        "import socket, time\n"
        "s = socket.create_connection(('shared', 80))\n"
        "s.sendall(b'GET /upgrade HTTP/1.1\\r\\nhost: shared\\r\\nconnection: upgrade\\r\\nupgrade: echo\\r\\n\\r\\n')\n"
        "assert b' 101 ' in s.recv(65536)\n"
        "time.sleep(0.8)\n"
        "s.sendall(b'still here')\n"
        "print(s.recv(65536).decode())\n"
    )
    ran = lab.exec("client", "python", "-c", code, namespace="routes")
    assert ran.out == "still here\n", ran.err


def test_a_consumer_route_holds_for_clients_of_its_own_namespace_alone(lab: LiveLab) -> None:
    _route(lab, "[{backendRefs: [{name: web, port: 80}]}]")
    filters = "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: consumer}]}}"
    _route(lab, f"[{{filters: [{filters}]}}]", name="consumer", namespace="abroad")
    url = "http://shared.routes/"
    assert _ask(lab, url, namespace="abroad").headers["x-by"] == "consumer"
    assert "x-by" not in _ask(lab, url).headers
    lab.ok("delete", "httproute", "consumer", "-n", "abroad")


def test_a_tcp_route_shares_connections_by_weight(lab: LiveLab) -> None:
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: banners, namespace: routes}
spec:
  parentRefs: [{group: "", kind: Service, name: one, port: 9000}]
  rules: [{backendRefs: [%s]}]
"""

    def banners(backends: str, count: int) -> Counter[str]:
        lab.ok("apply", "--wait", "-f", "-", text=route % backends)
        code = (
            "import socket\n"
            f"for _ in range({count}):\n"
            "  with socket.create_connection(('one', 9000)) as s:\n"
            "    try: print(s.recv(16).decode().strip() or 'closed')\n"
            "    except ConnectionError: print('reset')\n"
        )
        return Counter(lab.exec("client", "python", "-c", code, namespace="routes").out.split())

    assert banners("{name: two, port: 9000}", 5) == {"two": 5}
    shares = banners("{name: one, port: 9000, weight: 1}, {name: two, port: 9000, weight: 3}", 120)
    assert set(shares) == {"one", "two"}, _refusals(lab)
    assert 8 <= shares["one"] <= 54, f"five standard deviations around 30: {shares}"
    lab.ok("delete", "tcproute", "banners", "-n", "routes")


def test_a_greeting_waits_for_a_caller_that_may_be_an_agent(lab: LiveLab) -> None:
    """An application that speaks first may be quicker than a ClientHello: nothing of it goes out in the clear before that."""
    pod = json.loads(lab.ok("get", "pods", "-n", "routes", "-l", "app=two", "-o", "json"))["items"][0]
    code = (
        "import socket, time\n"
        f"with socket.create_connection(({pod['status']['podIP']!r}, 9000), 5) as s:\n"
        "  began = time.monotonic()\n"
        "  said = s.recv(16).decode().strip()\n"
        "  print(said, time.monotonic() - began)\n"
    )
    ran = lab.weft("node-exec", "node-1", "--", sys.executable, "-c", code)
    said, elapsed_s = ran.out.split()
    assert said == "two"
    assert float(elapsed_s) >= Limits().detect_timeout_s - 0.02, "the connection began a little before"


@pytest.mark.parametrize(
    ("url", "status", "to"),
    [
        ("http://web.routes/v2/list", 200, "routes/web-v2:80"),
        ("http://web.routes/other", 200, "routes/web:80"),
        ("http://web.routes/old", 301, ""),
        ("http://nobody.routes/", 503, "routes/nobody:80"),
    ],
)
def test_explain_says_what_happens(lab: LiveLab, url: str, status: int, to: str) -> None:
    happened = _ask(lab, url).status
    ran = run_weft("explain", "--lab", lab.name, "routes/client", url, "-o", "json")
    answer = json.loads(ran.out)
    (leg,) = answer["legs"]
    said = leg["status"] or 200
    assert (happened, said, leg["to"]) == (status, status, to), ran.out + ran.err
    assert ran.status == (0 if status < 400 else 1)


def test_what_is_not_carried_out_is_said_and_refused(lab: LiveLab) -> None:
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: web-v2, port: 80}}}"
    text = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: mirrored, namespace: routes}}
spec:
  parentRefs: [{{group: "", kind: Service, name: shared, port: 80}}]
  rules: [{{filters: [{mirror}], backendRefs: [{{name: web, port: 80}}]}}]
"""
    ran = lab.weft("apply", "-f", "-", text=text)
    assert ran.status == 1
    assert "RequestMirror" in ran.err
    assert "UnsupportedValue" in ran.err
