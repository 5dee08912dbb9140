"""Micro benchmark of decisions: µs per policy, routing and balancing step, ms per snapshot. Run it alone on a core.

    PYTHONPATH=agent:tests python perf/micro/decisions.py

Prints one line per case, best of seven rounds (CPU time of this process), with the loop's own cost taken off.
"""

import time
from collections.abc import Callable
from random import Random

from weft_contract.resources import Backend, Endpoint
from weft_core.balance import States, pick, state_of
from weft_core.decision import Denied
from weft_core.facts import ConnectionFacts
from weft_core.policy import ConnectionPolicy, InboundPolicy, gcra
from weft_core.routing import Forward, apply_request
from weft_core.snapshot import SnapshotBuilder
from weft_testing.decisions import facts, identity, inbound, policy, request, rule, source, to, when
from weft_testing.node_resources import large, members
from weft_testing.routes import http_route, leads, match, router

ROUNDS = 7
LOOPS = 20_000


def measure(name: str, step: Callable[[], object], loops: int = LOOPS) -> None:
    def empty() -> None:
        return None

    floor = min(_spent(empty, loops) for _ in range(ROUNDS))
    best = min(_spent(step, loops) for _ in range(ROUNDS))
    print(f"{name:62} {(best - floor) / loops * 1e6:8.2f} us")


def _spent(step: Callable[[], object], loops: int) -> float:
    start = time.process_time()
    for _ in range(loops):
        step()
    return time.process_time() - start


def admitted(applied: InboundPolicy, connection: ConnectionFacts) -> ConnectionPolicy:
    found = applied.admit(connection)
    assert not isinstance(found, Denied)
    return found


def policies() -> None:
    caller = facts(identity())
    many = [rule(source(f"cluster.local/ns/n{index}/sa/a"), to(f"/p{index}*")) for index in range(20)]
    asked = request("GET /p19/x", headers=tuple((b"h%d" % index, b"v") for index in range(10)))
    constant = admitted(inbound(policy("ALLOW", rule(source(namespaces=("shop",))))), caller)
    cached = admitted(inbound(policy("ALLOW", *[rule(to(f"/p{index}*")) for index in range(20)])), caller)
    by_header = admitted(inbound(policy("ALLOW", rule(to("/p19*"), when("request.headers[h9]", "v")))), caller)
    wide = inbound(policy("ALLOW", *many))
    measure("policy: request, decision is a constant", lambda: constant.request(asked))
    measure("policy: request, remembered by (method, host, path)", lambda: cached.request(asked))
    measure("policy: the same without facts (`cached`)", lambda: cached.cached(b"GET", b"web.shop", b"/p19/x"))
    measure("policy: request, matched (20 path rules, the last matches)", lambda: cached.decide(asked))
    measure("policy: request, matched (one path, one header of ten)", lambda: by_header.request(asked))
    measure("policy: admit, remembered caller", lambda: wide.admit(caller))
    measure("policy: admit, new caller (20 rules)", lambda: wide.narrow(caller), 2000)
    measure("rate limit: one gcra step", lambda: gcra(5.0, 5.0, 10.0, 10))


def routes() -> None:
    asked = request("GET /r19/x", headers=((b"accept", b"*/*"),))
    none = router()
    shared = (Backend(service="shop/v1", port=80, weight=90), Backend(service="shop/v2", port=80, weight=10))
    many = router(http_route(*[leads(match(f"/r{index}"), to=shared) for index in range(20)]))
    headed = router(http_route(leads(match("/r19", headers=("x-a=1",))), leads(match("/r19"))))
    measure("routing: no route attached", lambda: none.route(asked, 7))
    measure("routing: 20 rules, remembered, 90/10", lambda: many.route(asked, 7))
    measure("routing: the same without facts (`cached`)", lambda: many.cached(b"GET", b"/r19/x", 7))
    measure("routing: two rules, one by header", lambda: headed.route(asked, 7))
    plain = many.route(asked, 7)
    assert isinstance(plain, Forward)
    measure("rewrite: nothing to change", lambda: apply_request(plain, b"/r19/x", b"a: b\r\n", b"h"))


def balancing() -> None:
    rng = Random(1)
    states: States = {}
    endpoints = tuple(Endpoint(address=f"10.0.0.{index}", port=8080) for index in range(10))
    for endpoint in endpoints:
        state_of(states, endpoint).active = rng.randrange(5)
    numbers = iter([rng.getrandbits(32) for _ in range(LOOPS * ROUNDS * 3)])
    for algorithm in ("LEAST_REQUEST", "RANDOM", "ROUND_ROBIN"):
        measure(
            f"balance: {algorithm} of 10",
            lambda chosen=algorithm: pick(endpoints, chosen, states, next(numbers), now=5.0),  # type: ignore[misc] # default binds the loop variable
        )


def snapshots() -> None:
    resources = large()
    builder = SnapshotBuilder()
    start = time.process_time()
    builder.apply(resources, whole=True)
    print(
        f"{'snapshot: 5 000 Services, 20 000 endpoints from nothing':62} {(time.process_time() - start) * 1e3:8.1f} ms"
    )
    spent = []
    for index in range(20):
        start = time.process_time()
        builder.apply([members(index, 3)])
        spent.append(time.process_time() - start)
    spent.sort()
    print(f"{'snapshot: one changed Endpoints among them (median of 20)':62} {spent[10] * 1e3:8.2f} ms")
    start = time.process_time()
    builder.apply(resources, whole=True)
    print(f"{'snapshot: the whole again, nearly unchanged':62} {(time.process_time() - start) * 1e3:8.1f} ms")


if __name__ == "__main__":
    policies()
    routes()
    balancing()
    snapshots()
