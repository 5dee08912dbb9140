"""Following a call through routes, backends and policies: shares, refusals, redirects, callers and targets outside the mesh."""

from pathlib import Path

import pytest

from weft_cli.explain.answer import Answer, Leg
from weft_cli.explain.imagine import imagine
from weft_cli.explain.journey import Asked, Journey
from weft_cli.explain.question import read_caller, read_target
from weft_cli.explain.show import lines
from weft_cli.explain.world import World
from weft_cli.output import CommandError
from weft_operator.compile import read_documents
from weft_testing.lab import REPOSITORY

EXAMPLES = REPOSITORY / "manifests" / "examples"
MORE = """
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: outside}
spec: {containers: [{name: m, image: a}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: outside}
spec: {selector: {app: none}, ports: [{port: 80}, {port: 81}]}
---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: no-list, namespace: routes}
spec:
  selector: {matchLabels: {version: v2}}
  action: DENY
  rules: [{to: [{operation: {paths: [/list]}}]}]
"""


def world(*names: str, more: str = "") -> World:
    texts = [(name, (EXAMPLES / f"{name}.yaml").read_text()) for name in names]
    parsed = read_documents([*texts, ("more", more)])
    assert parsed.complete
    return World(imagine(parsed.documents))


def ask(
    there: World, caller: str, target: str, *, method: str = "GET", path: str = "", opaque: bool = False, **headers: str
) -> Answer:
    where = read_target(target, "default")
    fields = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    asked = Asked(method=method, path=path or where.path or "/", host="", headers=fields, opaque=opaque)
    return Journey(there, read_caller(caller, "default"), asked).to(where)


def only(answer: Answer) -> Leg:
    (leg,) = answer.legs
    return leg


def test_the_policy_that_lets_a_call_pass_is_named_with_its_rate() -> None:
    answer = ask(world("foo-at-10-qps"), "shop/web", "http://api.backend/foo")
    (landing,) = only(answer).landings
    assert (answer.verdict, landing.verdict, landing.policy, landing.rule) == (
        "allowed", "allowed", "backend/web-foo-at-10", "rules[0]",
    )  # fmt: skip
    assert landing.limits == ("10/s by backend/web-foo-at-10 rules[0]",)


@pytest.mark.parametrize(
    ("caller", "path", "why"), [("shop/web", "/bar", "wants path /foo"), ("shop/batch", "/foo", "principal")]
)
def test_a_refusal_names_policy_rule_and_the_condition_that_failed(caller: str, path: str, why: str) -> None:
    answer = ask(world("foo-at-10-qps"), caller, "backend/api", path=path)
    (landing,) = only(answer).landings
    assert (answer.verdict, landing.status, landing.policy) == ("refused", 403, "backend/web-foo-at-10")
    assert why in landing.message
    assert any(why in line for line in lines(answer, wide=False))


def test_weights_become_shares() -> None:
    answer = ask(world("canary"), "canary/client", "http://web.canary/")
    assert [(leg.to, leg.share, leg.rule) for leg in answer.legs] == [
        ("canary/web-v1:80", 0.9, "by-weight"),
        ("canary/web-v2:80", 0.1, "by-weight"),
    ]
    answer = ask(world("canary"), "canary/client", "http://web.canary/", x_canary="yes")
    assert [(leg.to, leg.share, leg.rule) for leg in answer.legs] == [("canary/web-v2:80", 1.0, "asked-for")]


def test_policy_judges_the_request_as_it_was_rewritten() -> None:
    there = world("routes", more=MORE)
    answer = ask(there, "routes/client", "http://web.routes/v2/list")
    leg = only(answer)
    assert leg.detail == "path becomes /list"
    assert (answer.verdict, leg.landings[0].policy) == ("refused", "routes/no-list")
    assert ask(there, "routes/client", "http://web.routes/v2/other").verdict == "allowed"


def test_redirects_timeouts_and_missing_backends_are_told() -> None:
    there = world("routes")
    leg = only(ask(there, "routes/client", "http://web.routes/old?a=b"))
    assert (leg.action, leg.status, leg.detail) == ("redirect", 301, "Location: http://web.routes/v2?a=b")
    leg = only(ask(there, "routes/client", "http://web.routes/delay/5"))
    assert leg.detail == "request may take 10 s; each attempt may take 1 s"
    there_is, there_is_none = "- {name: web, port: 80}\n---", "- {name: gone, port: 80}\n---"
    broken = (EXAMPLES / "routes.yaml").read_text().replace(there_is, there_is_none)
    parsed = read_documents([("broken", broken)])
    leg = only(ask(World(imagine(parsed.documents)), "routes/client", "http://web.routes/"))
    assert (leg.action, leg.status) == ("refuse", 500)
    assert "routes/gone" in leg.detail


def test_callers_outside_the_mesh_have_no_identity_and_no_routes() -> None:
    answer = ask(world("foo-at-10-qps", more=MORE), "outside/stranger", "backend/api")
    assert (answer.identity, answer.verdict) == ("", "refused")
    leg = only(answer)
    assert "plaintext" in leg.detail
    assert leg.landings[0].transport == "plaintext"


def test_a_caller_that_opted_in_and_is_not_in_yet_is_warned_of() -> None:
    pending = """
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: canary}
spec: {nodeName: "", containers: [{name: m, image: a}]}
status: {phase: Pending, podIP: 192.0.2.200}
"""
    answer = ask(world("canary", more=pending), "canary/late", "canary/web")
    assert answer.warnings == (
        "pod canary/late opted in, but is Pending and has no place in the mesh yet: the answer is that of a stranger",
    )
    assert ask(world("canary"), "canary/client", "canary/web").warnings == ()


def test_targets_outside_the_mesh_are_passed_on() -> None:
    there = world("canary", more=MORE)
    answer = ask(there, "canary/client", "outside/elsewhere:80")
    assert answer.verdict == "allowed"
    assert "not in the mesh" in only(answer).landings[0].transport
    answer = ask(there, "canary/client", "203.0.113.7:443")
    assert "nobody authorises" in only(answer).landings[0].transport


def test_opaque_connections_are_judged_as_such() -> None:
    answer = ask(world("foo-at-10-qps"), "shop/web", "backend/api", opaque=True)
    assert answer.request == ""
    assert only(answer).landings[0].reason == "l7_rule_on_opaque_connection"


@pytest.mark.parametrize(
    ("caller", "target", "said"),
    [
        ("canary/clint", "canary/web", "did you mean client"),
        ("nowhere/web", "canary/web", "there are no pods in namespace nowhere"),
        ("canary/client", "outside/elsewhere", "say which port"),
        ("canary/client", "canary/web:81", "no TCP port 81; there are 80"),
        ("canary/client", "svc/none", "there is no Service none"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(caller: str, target: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        ask(world("canary", more=MORE), caller, target)


def test_a_request_that_agents_refuse_to_read_is_refused_here_too() -> None:
    with pytest.raises(CommandError, match="agents refuse such a request with 400"):
        ask(world("canary"), "canary/client", "canary/web", path="/a%00b")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_client_of_every_example_can_ask(path: Path) -> None:
    there = world(path.stem)
    for key in there.members:
        for service in there.services.values():
            target = read_target(
                f"svc/{service.metadata.name}:{service.spec.ports[0].port}", service.metadata.namespace
            )
            asked = Asked(method="GET", path="/", host="", headers=(), opaque=False)
            answer = Journey(there, read_caller(key, ""), asked).to(target)
            assert answer.legs
            assert list(lines(answer, wide=True))
