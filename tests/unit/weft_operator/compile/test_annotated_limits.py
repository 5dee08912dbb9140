"""Rate limits out of a Service's annotations: the same resources as the RateLimitPolicy that says the same."""

from typing import Any

import pytest

from weft_contract.resources import RateLimit, RateLimitPolicy, Workload
from weft_operator.compile import Compiled
from weft_testing import objects as o

RATE, BURST = "ratelimit.weft.dev/requestsPerSecond", "ratelimit.weft.dev/burst"
HTTP = {"port": 80, "targetPort": 8080, "name": "http"}


def compiled(annotations: dict[str, str], *more: o.Doc) -> Compiled:
    return o.compiled(
        o.namespace("shop"),
        o.node("n1", "172.16.0.1"),
        o.pod("web", "10.0.0.1"),
        o.service("web", HTTP, annotations=annotations),
        *more,
    )


def resources(found: Compiled, kind: type[Any]) -> list[Any]:
    return [entry.spec for entry in found.nodes["n1"].resources if isinstance(entry.spec, kind)]


def test_it_is_the_limit_of_a_policy_on_the_service() -> None:
    found = compiled({RATE: "2.5", BURST: "7"})
    (limit,) = resources(found, RateLimitPolicy)
    assert (limit.namespace, limit.name) == ("shop", "service:web")
    assert limit.total == RateLimit(requests_per_second=2.5, burst=7, per="total")
    target = {"targetRefs": [{"kind": "Service", "name": "web"}]}
    written = {**target, "total": {"requestsPerSecond": 2.5, "burst": 7}}
    (workload,) = resources(found, Workload)
    (same,) = resources(compiled({}, o.policy("RateLimitPolicy", "web", written)), Workload)
    assert workload.rate_limits == ("shop/service:web",)
    (scope,), (same_scope,) = workload.port_scopes, same.port_scopes
    assert scope.ports == same_scope.ports, "on the ports that the Service leads to"


def test_the_burst_is_one_second_s_worth_unless_it_is_said_and_can_be_read() -> None:
    for annotations in ({RATE: "2.5"}, {RATE: "2.5", BURST: "many"}):
        (limit,) = resources(compiled(annotations), RateLimitPolicy)
        assert limit.total.burst == 3


@pytest.mark.parametrize("annotations", [{}, {BURST: "5"}, {RATE: "fast"}, {RATE: ""}, {RATE: "0"}])
def test_without_a_rate_there_is_no_limit_and_what_is_wrong_is_the_service_s_problem(
    annotations: dict[str, str],
) -> None:
    found = compiled(annotations)
    assert resources(found, RateLimitPolicy) == []
    assert [problem.subject for problem in found.problems] == ["Service shop/web"] * bool(annotations)


def test_it_holds_beside_a_policy_and_has_no_result_of_its_own() -> None:
    written = o.policy("RateLimitPolicy", "web", {"total": {"requestsPerSecond": 9}})
    found = compiled({RATE: "1"}, written)
    assert {limit.name for limit in resources(found, RateLimitPolicy)} == {"service:web", "web"}
    assert [(item.kind, item.name) for item in found.results] == [("RateLimitPolicy", "web")]
